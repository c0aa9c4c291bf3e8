"""A server whose data folder holds no models: it works with the demo pack, and says so."""

import base64
import io
import json
import pathlib
import shutil

import pytest
from PIL import Image

import samples
import webui
from checking import ask
from waiting import until

NOTICE = "made with the demo pack"
PEOPLE = pathlib.Path(__file__).resolve().parents[2] / "assets" / "demo" / "people"
SMALL = {"width": 128, "height": 128, "steps": 2, "seed": 5}


@pytest.fixture(scope="module")
def fresh(start_shared):
    """The built-in services on an empty data folder, with no setting of its own."""
    return start_shared()


def drawn(person="alma", number=1):
    """A photo of a drawn person, as a `data:` URL."""
    photo = (PEOPLE / person / f"{number}.jpg").read_bytes()
    return "data:image/jpeg;base64," + base64.b64encode(photo).decode()


def readiness(server):
    return server.http("GET", "/readyz").json()


def picture(server, **more):
    answer = server.http("POST", "/sdapi/v1/txt2img", json={"prompt": "a portrait"} | SMALL | more)
    assert answer.status_code == 200, answer.text
    answer = answer.json()
    [image] = answer["images"]
    return Image.open(io.BytesIO(base64.b64decode(image))), json.loads(answer["info"])


def test_the_server_says_that_it_works_with_the_pack(start):
    """In the line after the address, in the log, and in `/readyz`, where nothing is missing."""
    server = start()
    assert NOTICE in server.next_line()
    assert NOTICE in server.stderr_tail()
    ready = readiness(server)
    assert ready["pack"] == "demo"
    [warning] = ready["warnings"]
    assert NOTICE in warning and "photog models pull" in warning
    for name in ("photog_check", "photog_train_pmml", "photog_sd"):
        assert ready["services"][name] == {"able": True, "reason": None}


def test_a_picture_is_made_and_says_what_made_it(fresh):
    """The WebUI's answer has the notice among the comments; the model is listed with its hash."""
    image, info = picture(fresh)
    assert image.size == (128, 128)
    assert info["sd_model_name"] == "demo"
    assert NOTICE in info["comments"][0]
    [model] = fresh.http("GET", "/sdapi/v1/sd-models").json()
    assert model["model_name"] == "demo"
    assert model["title"] == f"demo [{model['hash']}]"
    assert model["sha256"].startswith(model["hash"]) and info["sd_model_hash"] == model["hash"]
    # Under each of its names, and the same picture with the same seed.
    for name in (model["title"], model["hash"], "Demo"):
        again, _ = picture(fresh, override_settings={"sd_model_checkpoint": name})
        assert again.tobytes() == image.tobytes()
    assert fresh.http("POST", "/sdapi/v1/refresh-checkpoints").status_code == 200
    assert fresh.http("POST", "/sdapi/v1/unload-checkpoint").status_code == 200
    assert picture(fresh)[0].tobytes() == image.tobytes()


def test_photos_get_their_verdicts_with_a_warning(fresh):
    """The request is answered as with real networks, and the first warning says what judged it."""
    photos = [drawn("alma", number) for number in range(1, 9)]
    answer, _ = ask(fresh, photos, face_reconize=True)
    assert answer["code"] == "OK"
    assert [verdict["code"] for verdict in answer["check_results"]] == [1] * 8
    assert answer["same_person"] is True
    assert NOTICE in answer["warnings"][0]
    answer, _ = ask(fresh, [drawn("alma"), drawn("bruno")], face_reconize=True)
    assert answer["same_person"] is False


def test_the_pack_goes_with_the_first_model_and_needs_no_restart(start):
    """A checkpoint that is copied into the data folder is used by the next request."""
    server = start()
    assert readiness(server)["pack"] == "demo"
    tiny = server.data_folder / "webui/models/Stable-diffusion/tiny"
    shutil.copytree(webui.FIXTURES / "tiny", tiny)
    _, info = picture(server, **webui.SMALL)
    assert (info["sd_model_name"], info["comments"]) == ("tiny", [])
    # Now nothing of the pack is used, so that nobody takes its verdicts for those of a real network.
    ready = readiness(server)
    assert (ready["pack"], ready["warnings"]) == (None, [])
    answer, _ = ask(server, [drawn()])
    assert answer["code"] == "BASE_MODEL_MISSING"
    shutil.rmtree(tiny)
    assert until(lambda: readiness(server)["pack"] == "demo")


def test_a_task_that_waits_is_made_with_what_is_there_when_its_turn_comes(start):
    """Where nobody chose a checkpoint, that of the pack is no part of the task."""
    server = start()
    first = webui.Request(server, **SMALL | {"steps": 150, "n_iter": 20})
    until(lambda: server.http("GET", "/sdapi/v1/progress").json()["state"]["sampling_step"] > 0)
    second = webui.Request(server, **webui.SMALL)
    until(lambda: webui.jobs(server, "waiting"))
    tiny = server.data_folder / "webui/models/Stable-diffusion/tiny"
    shutil.copytree(webui.FIXTURES / "tiny", tiny)
    assert server.http("POST", "/sdapi/v1/interrupt").status_code == 200
    assert json.loads(first.done().json()["info"])["sd_model_name"] == "demo"
    answer = second.done().json()
    assert json.loads(answer["info"])["sd_model_name"] == "tiny", answer


def test_real_networks_take_the_place_of_the_packs(start):
    """Verdicts carry no warning once they are there."""
    server = start()
    answer, _ = ask(server, [drawn()])
    assert NOTICE in answer["warnings"][0]
    samples.install_models(server.data_folder)
    answer, _ = ask(server, [drawn()])
    assert NOTICE not in json.dumps(answer)


def test_a_pack_that_is_named_is_used_whatever_the_folder_holds(start):
    """Its checkpoint is the only one; LoRAs of the data folder stay."""
    server = start(environment={"PHOTOG_PACK": "demo"}, pictures=True)
    [model] = server.http("GET", "/sdapi/v1/sd-models").json()
    assert model["model_name"] == "demo"
    [lora] = server.http("GET", "/sdapi/v1/loras").json()
    assert lora["name"] == "tiny_lora_kohya"
    assert readiness(server)["pack"] == "demo"
