"""Making pictures with the unmodified WebUI client."""

import base64
import io

import pytest
from PIL import Image, ImageDraw

from photog_process import TOKEN
from services import picture_service, queue_service
from webui import SMALL, client


@pytest.fixture(scope="module")
def studio(start_shared):
    """A server with the small networks."""
    return start_shared(picture_service(), pictures=True)


@pytest.fixture
def api(studio):
    return client(studio)


def post(server, route, body, **more):
    return server.http("POST", f"/sdapi/v1/{route}", json=body, **more)


def sink_length(server):
    return server.http("GET", "photog_sd/sink", {"_attrs_": "true"}).json()["stream.length"]


def half_mask(side):
    """White on the right half: what is to be new."""
    mask = Image.new("L", (side, side))
    ImageDraw.Draw(mask).rectangle((side // 2, 0, side, side), fill=255)
    return mask


def test_txt2img_gives_a_picture_that_says_what_it_was_made_of(api):
    """The picture has the size asked for, its text the prompt and seed, `info` the seed."""
    result = api.txt2img(prompt="a cat", negative_prompt="a dog", seed=5, **SMALL)
    assert result.image.size == (64, 64)
    assert result.info["seed"] == 5
    text = result.image.info["parameters"]
    assert text.startswith("a cat") and "Seed: 5" in text and "Steps: 2" in text
    assert result.parameters["prompt"] == "a cat"


def test_a_batch_gives_a_picture_for_each_round_and_seed(api):
    """`n_iter` rounds of `batch_size` pictures, each with a seed of its own."""
    result = api.txt2img(prompt="a cat", seed=5, n_iter=2, batch_size=1, **SMALL)
    assert result.info["all_seeds"] == [5, 6]
    # With more than one picture the WebUI may put a grid before them.
    assert len(result.images) >= 2


def test_img2img_with_a_mask_changes_only_what_is_masked(api):
    """Far from the mask the picture stays as it was."""
    picture = Image.linear_gradient("L").resize((64, 64)).convert("RGB")
    result = api.img2img(
        images=[picture], mask_image=half_mask(64), mask_blur=0, inpaint_full_res=False,
        prompt="a cat", seed=5, denoising_strength=0.8, **SMALL,
    )
    assert result.image.size == (64, 64)
    assert result.image.getpixel((2, 40)) == picture.getpixel((2, 40))


def test_every_sampler_of_the_list_can_be_used(api):
    """The names in the list are those that requests know."""
    for name in api.util_get_sampler_names():
        result = api.txt2img(prompt="a cat", seed=5, sampler_name=name, **SMALL)
        assert f"Sampler: {name}" in result.image.info["parameters"]


def test_a_lora_in_the_prompt_is_used(api):
    """`<lora:name:1>` changes the picture and not the prompt's words."""
    plain = api.txt2img(prompt="a cat", seed=5, **SMALL)
    changed = api.txt2img(prompt="a cat <lora:tiny_lora_kohya:1>", seed=5, **SMALL)
    assert changed.image.tobytes() != plain.image.tobytes()
    again = api.txt2img(prompt="a cat <lora:tiny_lora_kohya:1>", seed=5, **SMALL)
    assert changed.image.tobytes() == again.image.tobytes()


def test_the_answer_names_the_job_and_leaves_nothing_behind(studio):
    """`X-Photog-Job` is in the job list, `X-Process-Time` is seconds, and the sink is empty."""
    answer = post(studio, "txt2img", {"prompt": "a cat", "seed": 5, **SMALL})
    assert answer.status_code == 200
    assert float(answer.headers["X-Process-Time"]) > 0
    job = studio.http("GET", "/api/jobs/" + answer.headers["X-Photog-Job"]).json()
    assert (job["service"], job["state"]) == ("photog_sd", "done")
    assert sink_length(studio) == "0"


def test_what_is_left_out_or_null_has_its_default(studio):
    """`null` and a missing member mean the same."""
    sent = {"prompt": "a cat", "seed": 5, "sampler_name": None, "scheduler": None, "styles": None,
            "override_settings": {}, "alwayson_scripts": {}, "script_args": [], **SMALL}
    with_nulls = post(studio, "txt2img", sent)
    without = post(studio, "txt2img", {"prompt": "a cat", "seed": 5, **SMALL})
    assert with_nulls.json()["images"] == without.json()["images"]


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"null", b"{", b'{"force_task_id": 3}', b'{"force_task_id": "' + b"x" * 300 + b'"}']
)
def test_a_body_that_is_no_object_is_refused_in_the_form_of_the_webui(studio, body):
    """422 with `error`, `detail`, `body` and `errors`; no job is made."""
    answer = studio.http("POST", "/sdapi/v1/txt2img", data=body)
    assert answer.status_code == 422
    assert set(answer.json()) == {"error", "detail", "body", "errors"}
    assert "X-Photog-Job" not in answer.headers


@pytest.mark.parametrize(
    "wrong", [{"sampler_name": "nope"}, {"steps": "many"}, {"script_name": "nope"}, {"width": 1e9}]
)
def test_a_request_that_cannot_be_done_fails_with_a_reason(studio, wrong):
    """A failure is a status of the client's fault and a text, never 202; nothing is left behind."""
    answer = post(studio, "txt2img", {"prompt": "a cat", **SMALL, **wrong})
    assert 400 <= answer.status_code < 500
    assert answer.json()["detail"]
    assert sink_length(studio) == "0"


def test_an_id_gets_the_answer_of_the_job_that_has_it(studio):
    """Two requests with one id at once are one job."""
    import concurrent.futures

    body = {"prompt": "a cat", "force_task_id": "task(twice)", "width": 64, "height": 64, "steps": 20}
    with concurrent.futures.ThreadPoolExecutor() as pool:
        both = [pool.submit(post, studio, "txt2img", body) for _ in range(2)]
        answers = [future.result() for future in both]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json()["images"] == answers[1].json()["images"]
    jobs = studio.http("GET", "/api/jobs", {"service": "photog_sd", "limit": "100"}).json()["jobs"]
    assert len([job for job in jobs if job["request_id"] == "task(twice)"]) == 1
    assert sink_length(studio) == "0"


def test_extras_change_the_size_without_a_network(api):
    """A factor, a frame, and several pictures at once."""
    picture = Image.linear_gradient("L").resize((40, 24)).convert("RGB")
    doubled = api.extra_single_image(picture, upscaler_1="Lanczos", upscaling_resize=2)
    assert doubled.image.size == (80, 48)
    framed = api.extra_single_image(
        picture, upscaler_1="Nearest", resize_mode=1, upscaling_resize_w=64, upscaling_resize_h=64
    )
    assert framed.image.size == (64, 64)
    batch = api.extra_batch_images([picture, doubled.image], upscaler_1="Lanczos", upscaling_resize=2)
    assert [image.size for image in batch.images] == [(80, 48), (160, 96)]
    with pytest.raises(RuntimeError, match="upscaler_1"):
        api.extra_single_image(picture, upscaler_1="R-ESRGAN 4x+")


def test_png_info_reads_what_txt2img_wrote(api):
    """The text as it is, and its names and values."""
    made = api.txt2img(prompt="a cat", seed=5, **SMALL).image
    found = api.png_info(made)
    assert found.info == made.info["parameters"]
    assert found.parameters["Prompt"] == "a cat"
    assert found.parameters["Seed"] == "5"


def test_png_info_of_a_picture_without_a_text_is_empty(studio):
    """And what is no picture, or only the address of one, is refused."""
    file = io.BytesIO()
    Image.new("RGB", (4, 4)).save(file, "PNG")
    image = base64.b64encode(file.getvalue()).decode()
    answer = post(studio, "png-info", {"image": image})
    assert (answer.status_code, answer.json()["info"], answer.json()["items"]) == (200, "", {})
    for wrong in ["aGVsbG8=", "http://127.0.0.1:1/a.png"]:
        assert post(studio, "png-info", {"image": wrong}).status_code == 400


def test_the_token_is_the_password(studio):
    """Basic authentication with the token opens; another password gets 401 and the scheme."""
    url = studio.url("/sdapi/v1/samplers")
    import requests

    with requests.Session() as session:
        session.trust_env = False
        assert session.get(url, auth=("anna", TOKEN), timeout=30).status_code == 200
        for auth in [("anna", "wrong"), (TOKEN, "anna"), None]:
            refused = session.get(url, auth=auth, timeout=30)
            assert refused.status_code == 401
            assert refused.headers["WWW-Authenticate"] == "Basic"


def test_without_a_service_that_makes_pictures_the_answer_names_it(start):
    """503 with the missing service's name; lists work all the same."""
    server = start(queue_service())
    answer = post(server, "txt2img", {"prompt": "a cat"})
    assert answer.status_code == 503
    assert "photog_sd" in answer.json()["detail"]
    assert server.http("GET", "/sdapi/v1/progress").json()["state"]["job_count"] == 0
    assert server.http("POST", "/sdapi/v1/interrupt").json() == {}


def test_what_is_not_done_here_says_so_by_its_name(studio):
    """Each route of the WebUI answers, none with 404 by accident."""
    for route in ["interrogate", "create/embedding", "create/hypernetwork", "train/embedding",
                  "train/hypernetwork"]:
        answer = post(studio, route, {})
        assert answer.status_code == 501
        assert route in answer.json()["detail"]
    for route in ["server-kill", "server-restart", "server-stop"]:
        answer = post(studio, route, {})
        assert answer.status_code == 404
        assert route in answer.json()["detail"]
