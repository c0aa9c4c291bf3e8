"""Requests of `photog_train_pmml`, small enough that two cores are done in seconds."""

import base64
import contextlib
import json
import pathlib

from waiting import until

PEOPLE = pathlib.Path(__file__).resolve().parents[2] / "assets" / "demo" / "people"
# A few steps of a small LoRA on small pictures, with a checkpoint after every other one.
SMALL = {
    "resolution": 64,
    "rank": 4,
    "max_train_steps": 4,
    "val_and_checkpointing_steps": 2,
    "gradient_accumulation_steps": 1,
}
# More steps than anybody waits for.
ENDLESS = SMALL | {"max_train_steps": 100_000, "steps_per_photos": 10_000, "validation": False}
SERVICE = "photog_train_pmml"
ANSWER_SECONDS = 80


def data_address(photo):
    """The bytes of a JPEG file as a `data:` URL."""
    return "data:image/jpeg;base64," + base64.b64encode(photo).decode()


def drawn(person, *numbers):
    """Photos of a drawn person, as `data:` URLs."""
    return [data_address((PEOPLE / person / f"{number}.jpg").read_bytes()) for number in numbers]


def train_service(**autoscaler):
    """The service as the cloud has it, with its autoscaler."""
    service = {
        "metadata": {
            "name": SERVICE,
            "type": "Async",
            "instance": 1,
            "rpc": {"keepalive": 3_600_000, "worker_threads": 1},
        },
        "queue": {"max_delivery": 1},
    }
    if autoscaler:
        service["autoscaler"] = autoscaler
    return service


def put(server, model_id, images, **configure):
    """Puts a request; gives the job's id and the request id of its entry."""
    body = {
        "request_id": f"for {model_id}",
        "model_id": model_id,
        "images": images,
        "configure": SMALL | configure,
    }
    index, request_id = server.client(SERVICE).put(json.dumps(body), {"taskType": "query"})
    return f"{SERVICE}-{index}", request_id


def answer(server, request_id):
    """The only result of a request, which is taken."""
    sink = server.client(f"{SERVICE}/sink")
    [frame] = until(lambda: sink.get(request_id=request_id, timeout="1s"), ANSWER_SECONDS)
    return json.loads(frame.data)


def train(server, model_id, images, **configure):
    """The answer to a request."""
    _, request_id = put(server, model_id, images, **configure)
    return answer(server, request_id)


def job(server, name):
    """A job of `/api/jobs`."""
    found = server.http("GET", f"/api/jobs/{name}")
    assert found.status_code == 200, found.text
    return found.json()


def until_trained_with(server, name, seconds=60):
    """The job, once the first step of its training is done."""

    def has_steps():
        found = job(server, name)
        assert found["state"] in ("waiting", "running"), found
        return found if found["training"] and found["training"]["step"] > 0 else None

    return until(has_steps, seconds)


@contextlib.contextmanager
def running_trainings(server):
    """Those of each `status` event of the stream, as they come."""
    with server.http("GET", "/api/events", stream=True, timeout=60) as stream:
        events = (
            json.loads(line.removeprefix(b"data: "))
            for line in stream.iter_lines()
            if line.startswith(b"data: {")
        )
        yield (
            job
            for event in events
            for service in event["services"]
            for job in service["running"]
            if job["training"]
        )


def files_of(server, model_id):
    """Every file of the data folder that is of a person."""
    return [
        path
        for path in server.data_folder.rglob("*")
        if path.is_file() and model_id in str(path.relative_to(server.data_folder))
    ]
