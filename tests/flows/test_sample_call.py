"""The source document's sample call against the built-in services."""

import ast
import json
import os
import pathlib
import subprocess
import sys
import uuid

import pytest

from waiting import until

SAMPLE = pathlib.Path(__file__).with_name("sample_call.py")


@pytest.fixture
def photog(start):
    """A server without `--service` and without any network: the services of the source document."""
    return start(environment={"PHOTOG_PACK": "none"})


def result(server, name, request_id):
    sink = server.client(f"{name}/sink")
    return until(lambda: sink.get(request_id=request_id, timeout="1s"), 60)[0]


def run_sample(photog):
    """Runs the sample as printed, judges what it prints and gives the entry of its answer."""
    run = subprocess.run(
        [sys.executable, SAMPLE, f"{photog.host}:{photog.port}", photog.token],
        capture_output=True,
        text=True,
        timeout=60,
        env=dict(os.environ),
        check=False,
    )
    assert run.returncode == 0, run.stderr
    first, attributes = run.stdout.splitlines()
    index, request_id = first.split()
    assert index == "1"
    assert str(uuid.UUID(request_id)) == request_id
    attributes = ast.literal_eval(attributes)
    assert attributes["meta.maxPayloadBytes"] == str(20_480 * 1024)
    assert attributes["stream.length"] in ("0", "1")

    frame = result(photog, "photog_check", request_id)
    assert frame.tags["requestId"] == request_id
    return frame


def test_the_sample_call_runs_as_printed_and_is_answered(start):
    """The sample prints index, request id and attributes, and its photos get their verdicts."""
    frame = run_sample(start(models=True))
    assert dict(frame.tags) == {"requestId": frame.tags["requestId"], "taskType": "query"}
    answer = json.loads(frame.data)
    assert (answer["code"], answer["message"]) == ("OK", "success")
    assert answer["request_id"] == 12345 and isinstance(answer["request_id"], int)
    assert answer["images"] == ["xx.jpg", "xx.jpg"]
    assert answer["cost_time"] >= 0
    assert answer["same_person"] is None
    assert answer["check_results"] == [
        {"url": "xx.jpg", "code": 2, "frontal": False, "message": "image download failed"}
    ] * 2


def test_on_a_fresh_machine_the_sample_call_is_told_what_is_missing(photog):
    """Where no pack is wanted, the same call runs, and its answer says which file to bring."""
    frame = run_sample(photog)
    answer = json.loads(frame.data)
    assert answer["code"] not in ("OK", "INTERNAL_ERROR")
    assert "face-detector" in answer["message"]
    assert answer["request_id"] == 12345 and isinstance(answer["request_id"], int)
    assert frame.tags["lastCode"] == "503"


def test_a_request_id_keeps_its_json_type(photog):
    """The caller's own id comes back as it was given; without one there is a UUID."""
    queue = photog.client("photog_check")
    for own in (7, "seven"):
        _, request_id = queue.put(json.dumps({"request_id": own, "images": ["xx.jpg"]}))
        assert json.loads(result(photog, "photog_check", request_id).data)["request_id"] == own
    _, request_id = queue.put(json.dumps({"images": ["xx.jpg"]}))
    uuid.UUID(json.loads(result(photog, "photog_check", request_id).data)["request_id"])


@pytest.mark.parametrize(
    ("service", "request_body"),
    [
        ("photog_train_pmml", {"request_id": 1, "model_id": "anna", "images": ["xx.jpg"] * 5}),
        ("photog_pre_pmml", {"request_id": 1, "model_id": "anna", "template_image": "xx.jpg"}),
    ],
)
def test_without_a_base_model_training_and_prediction_say_so(photog, service, request_body):
    """On a fresh machine the answer names what is missing instead of ending in silence."""
    _, request_id = photog.client(service).put(json.dumps(request_body), {"taskType": "query"})
    frame = result(photog, service, request_id)
    answer = json.loads(frame.data)
    assert answer["code"] == "BASE_MODEL_MISSING"
    assert answer["message"]
    assert answer["request_id"] == 1
    assert frame.tags["lastCode"] == "503"
