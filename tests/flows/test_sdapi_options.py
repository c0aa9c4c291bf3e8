"""Options and lists of the WebUI, with its unmodified client."""

import pytest

from services import picture_service
from waiting import until
from webui import SMALL, client


@pytest.fixture
def studio(start):
    """A server with the small networks."""
    return start(picture_service(), pictures=True)


@pytest.fixture
def api(studio):
    return client(studio)


def test_the_checkpoint_of_the_options_is_one_of_the_list(api):
    """Title and hash agree, and a checkpoint is chosen by the title that is most like a name."""
    titles = api.util_get_model_names()
    assert len(titles) == 2
    assert api.util_get_current_model() in titles
    for name in ["tiny_other", "tiny"]:
        api.util_set_model(name)
        current = api.util_get_current_model()
        assert current in api.util_get_model_names()
        assert current == name or current.startswith(f"{name} [")
        hashes = {model["title"]: model["sha256"] for model in api.get_sd_models()}
        assert api.get_options()["sd_checkpoint_hash"] == (hashes[current] or "")


def test_the_chosen_checkpoint_makes_the_picture(api):
    """Its name is in the picture's text."""
    api.util_set_model("tiny_other")
    assert "Model: tiny_other" in api.txt2img(prompt="a cat", seed=5, **SMALL).image.info["parameters"]


def test_options_are_kept_over_a_restart(studio, api):
    """Known and unknown ones; the rest has its default."""
    api.set_options({"CLIP_stop_at_last_layers": 2, "mine": {"a": [1]}})
    studio.stop()
    studio.start()
    options = client(studio).get_options()
    assert options["CLIP_stop_at_last_layers"] == 2
    assert options["mine"] == {"a": [1]}
    assert options["samples_format"] == "png"


@pytest.mark.parametrize(
    ("wrong", "status"),
    [
        ({"sd_model_checkpoint": "nope"}, 404),
        ({"CLIP_stop_at_last_layers": "two"}, 422),
        ({"mine": "x" * 300_000}, 413),
        ([], 422),
    ],
)
def test_of_wrong_options_none_is_set(studio, api, wrong, status):
    """The refusal has the WebUI's form and nothing has changed."""
    before = api.get_options()
    if isinstance(wrong, dict):
        wrong = {"jpeg_quality": 90, **wrong}
    answer = studio.http("POST", "/sdapi/v1/options", json=wrong)
    assert answer.status_code == status
    assert set(answer.json()) == {"error", "detail", "body", "errors"}
    assert api.get_options() == before


def test_lists_have_the_forms_that_the_client_reads(api):
    """Networks that are there are listed; what there is none of is an empty list, never 404."""
    assert "Euler a" in api.util_get_sampler_names()
    assert "karras" in api.util_get_scheduler_names()
    assert [lora["name"] for lora in api.get_loras()] == ["tiny_lora_kohya"]
    assert {"None", "Lanczos", "Nearest"} <= {each["name"] for each in api.get_upscalers()}
    assert {"name": "Latent"} in api.get_latent_upscale_modes()
    assert api.get_scripts() == {"txt2img": [], "img2img": []}
    assert set(api.get_embeddings()) == {"loaded", "skipped"}
    assert set(api.get_memory()) == {"ram", "cuda"}
    assert api.get_cmd_flags()["api"] is True
    assert isinstance(api.get_sd_vae(), list)
    for empty in [api.get_hypernetworks, api.get_face_restorers, api.get_realesrgan_models,
                  api.get_prompt_styles, api.get_artists, api.get_artist_categories]:
        assert empty() == []


def test_networks_are_looked_for_again_and_let_go_of(studio, api):
    """The routes answer as the WebUI's do."""
    assert api.refresh_checkpoints() is None
    for route in ["refresh-vae", "refresh-loras"]:
        assert studio.http("POST", f"/sdapi/v1/{route}").json() is None
    for route in ["unload-checkpoint", "reload-checkpoint"]:
        assert studio.http("POST", f"/sdapi/v1/{route}").json() == {}


def test_the_service_is_listed_among_the_built_in_ones(start):
    """Without any service given, `photog_sd` runs beside the portrait services."""
    server = start()
    listed = server.http("GET", "/api/services").json()["services"]
    names = [service["name"] for service in listed]
    assert names == ["photog_check", "photog_train_pmml", "photog_pre_pmml", "photog_sd"]
    until(lambda: "photog_sd" in server.http("GET", "/readyz").json()["services"])
