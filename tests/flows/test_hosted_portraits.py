"""Portraits through the hosted API with its unmodified Python client."""

import base64
import io

import pytest
from PIL import Image

from hosted import APPS, Hosted, data, refusal
from portraits import SMALL, TEMPLATES, template, train_people
from training import SMALL as SMALL_TRAINING
from training import drawn


@pytest.fixture(scope="module")
def studio(start_shared):
    """The built-in services with the demo pack, for two apps, and two people."""
    server = start_shared(environment=APPS | {"PHOTOG_PACK": "demo"})
    train_people(server, "alma", "bruno")
    return server


def nothing_in_the_sink(server):
    answer = server.http("GET", "photog_pre_pmml/sink", {"_timeout_": "0s"})
    return answer.status_code == 204


def picture_of(found):
    return Image.open(io.BytesIO(base64.b64decode(found["image"], validate=True)))


def test_a_portrait_of_one_person(studio):
    """The picture is in the answer, and nothing of the call stays in the sink."""
    images = Hosted(studio).images
    found = data(images.aigc_images_create("alma", template("one.jpg"), "", SMALL))
    assert found["cost_time"] > 0
    assert picture_of(found).size == Image.open(TEMPLATES / "one.jpg").size
    assert nothing_in_the_sink(studio)


def test_a_portrait_of_two_people(studio):
    """Faces are counted from left to right."""
    images = Hosted(studio).images
    people = ["bruno", "alma"]
    found = data(
        images.aigc_images_create_by_multi_model_ids(people, template("two.jpg"), "", SMALL)
    )
    assert picture_of(found).size == Image.open(TEMPLATES / "two.jpg").size
    assert found["model_ids"] == people


def test_whom_the_hosted_api_trained_it_puts_into_a_template(studio):
    """The model's id is that of the training's answer."""
    hosted = Hosted(studio)
    configure = SMALL_TRAINING | {"validation": False}
    trained = hosted.train(drawn("carla", 1, 2), configure)
    assert hosted.ended(trained["job_id"])["state"] == 2
    model = trained["model_id"]
    found = data(hosted.images.aigc_images_create(model, template("one.jpg"), "", SMALL))
    assert found["model_ids"] == [model]


def test_each_failure_is_that_of_the_call(studio):
    """With its code and its status, and nothing of it stays in the sink."""
    images = Hosted(studio).images
    one, several = images.aigc_images_create, images.aigc_images_create_by_multi_model_ids
    for call, who, picture, status, code in (
        (one, "nobody", template("one.jpg"), 404, "MODEL_NOT_FOUND"),
        (several, ["nobody", "none"], template("two.jpg"), 404, "MODEL_NOT_FOUND"),
        (one, "alma", template("nobody.jpg"), 422, "NO_FACE_IN_TEMPLATE"),
        (one, "alma", template("two.jpg"), 422, "FACE_COUNT_MISMATCH"),
        (several, ["alma", "bruno"], template("one.jpg"), 422, "FACE_COUNT_MISMATCH"),
        (one, "alma", "xx.jpg", 400, "IMAGE_DOWNLOAD_FAILED"),
    ):
        assert refusal(call, who, picture, "", SMALL)[:2] == (status, code)
    assert nothing_in_the_sink(studio)
