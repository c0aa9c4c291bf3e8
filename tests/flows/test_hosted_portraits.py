"""Portraits through the hosted API with its unmodified Python client."""

import pytest

from hosted import APPS, Hosted, refusal
from training import drawn


@pytest.fixture(scope="module")
def studio(start_shared):
    """The built-in services with the demo pack, for two apps."""
    return start_shared(environment=APPS | {"PHOTOG_PACK": "demo"})


def test_a_portrait_of_nobody_is_refused(studio):
    """The failure of the job is the failure of the call, and nothing of it stays in the sink."""
    images = Hosted(studio).images
    [template] = drawn("carla", 1)
    for call, who in (
        (images.aigc_images_create, "nobody"),
        (images.aigc_images_create_by_multi_model_ids, ["nobody", "none"]),
    ):
        status, code, _ = refusal(call, who, template, "", None)
        assert (status, code) in ((404, "MODEL_NOT_FOUND"), (503, "BASE_MODEL_MISSING"))
    assert studio.http("GET", "photog_pre_pmml/sink", {"_timeout_": "0s"}).status_code == 204
