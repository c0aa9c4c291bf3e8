"""Requests of `photog_pre_pmml`, small enough that two cores are done in seconds."""

import base64
import io
import json
import pathlib

from PIL import Image

from training import data_address, drawn, train
from waiting import until

TEMPLATES = pathlib.Path(__file__).resolve().parents[2] / "assets" / "demo" / "templates"
SERVICE = "photog_pre_pmml"
ANSWER_SECONDS = 80
# A few steps, of which the strengths take a part.
SMALL = {"first_diffusion_steps": 4, "second_diffusion_steps": 3, "seed": 5}


def template(name):
    """A template of the demo pack as a `data:` URL."""
    return data_address((TEMPLATES / name).read_bytes())


def train_people(server, *names):
    """Trains people as fast as can be."""
    for name in names:
        result = train(server, name, drawn(name, 1, 2), validation=False)
        assert result["code"] == "OK", result


def put(server, persons, template_image, request_id=None, **configure):
    """Puts a request; gives the job's id and the request id of its entry."""
    body = {
        "request_id": request_id or f"for {persons}",
        "model_id": persons,
        "template_image": template_image,
        "configure": SMALL | configure,
    }
    index, request_id = server.client(SERVICE).put(json.dumps(body), {"taskType": "query"})
    return f"{SERVICE}-{index}", request_id


def answer(server, request_id, seconds=ANSWER_SECONDS):
    """The only result of a request, which is taken."""
    sink = server.client(f"{SERVICE}/sink")
    [frame] = until(lambda: sink.get(request_id=request_id, timeout="1s"), seconds)
    return json.loads(frame.data)


def portrait(server, persons, template_image, **configure):
    """The answer to a request."""
    _, request_id = put(server, persons, template_image, **configure)
    return answer(server, request_id)


def file_of(result):
    """The bytes of the portrait's file."""
    assert result["code"] == "OK", result
    return base64.b64decode(result["image"], validate=True)


def picture_of(result):
    """The portrait."""
    return Image.open(io.BytesIO(file_of(result)))


def predict_service(name=SERVICE, slot_memory_mib=0, **autoscaler):
    """The service as the cloud has it, with its autoscaler."""
    service = {
        "metadata": {
            "name": name,
            "type": "ScalableJob",
            "instance": 1,
            "photog_slot_memory_mib": slot_memory_mib,
            "rpc": {"keepalive": 3_600_000, "worker_threads": 1},
        },
        "queue": {"max_delivery": 1},
    }
    if autoscaler:
        service["autoscaler"] = autoscaler
    return service


