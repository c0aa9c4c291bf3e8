"""The hosted API with its unmodified Python client: who may call, and photos that are checked."""

import base64
import contextlib
import http.client
import io
import json
import socket
import time

import pytest
from PIL import Image

from checking import NO_FACE, TOO_SMALL, UNREADABLE, USABLE, as_told
from hosted import APPS, OTHER, STUDIO, Hosted, ask, data, refusal, signature
from photog_process import TOKEN
from training import data_address, drawn
from waiting import until

CHECK = "/api/v1/aigc_images/check"
JOB = "/api/v1/async_jobs/42"
OPEN = APPS | {"PHOTOG_PACK": "demo", "PHOTOG_ALLOW_PRIVATE_NETWORKS": "true"}


@pytest.fixture(scope="module")
def studio(start_shared):
    """The built-in services with the demo pack, for two apps."""
    return start_shared(environment=APPS | {"PHOTOG_PACK": "demo"})


def jpeg(picture):
    file = io.BytesIO()
    picture.save(file, "JPEG")
    return data_address(file.getvalue())


def checked(hosted, images, configure=None, service=""):
    found = data(hosted.images.aigc_images_check(images, service, configure))
    assert found["images"] == [as_told(image) for image in images]
    assert isinstance(found["request_id"], str) and found["cost_time"] >= 0
    assert [verdict["url"] for verdict in found["check_results"]] == found["images"]
    return found


@contextlib.contextmanager
def endless_photo():
    """The address of a photo that never arrives."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        yield f"http://127.0.0.1:{silent.getsockname()[1]}/1.jpg"


def jobs(server, state):
    return server.http("GET", "/api/jobs", {"state": state}).json()["jobs"]


def nothing_in_the_sink(server):
    return server.http("GET", "photog_check/sink", {"_timeout_": "0s"}).status_code == 204


def test_photos_are_judged(studio):
    """Verdicts are data whatever they say, and nothing of the call stays in the sink."""
    grey = Image.linear_gradient("L").resize((700, 700)).convert("RGB")
    unreadable = "data:image/jpeg;base64," + base64.b64encode(b"no picture").decode()
    images = [*drawn("alma", 1), jpeg(grey), jpeg(grey.resize((64, 64))), unreadable]
    found = checked(Hosted(studio), images)
    verdicts = [verdict["code"] for verdict in found["check_results"]]
    assert verdicts == [USABLE, NO_FACE, TOO_SMALL, UNREADABLE]
    assert found["check_results"][0]["frontal"] is True
    assert "demo pack" in found["warnings"][0]
    assert nothing_in_the_sink(studio)


def test_options_reach_the_service(studio):
    pair = drawn("alma", 1) + drawn("bruno", 1)
    found = checked(Hosted(studio), pair, {"face_reconize": True}, "photog_check")
    assert found["same_person"] is False
    assert checked(Hosted(studio), pair)["same_person"] is None


def test_a_request_that_the_service_refuses_is_an_exception(studio):
    hosted = Hosted(studio)
    assert refusal(hosted.images.aigc_images_check, [], "", None)[:2] == (400, "INVALID_PARAMETER")
    broken = ask(studio, "POST", CHECK, b"[]")
    assert (broken.status_code, broken.json()["code"]) == (400, "INVALID_JSON")
    other = json.dumps({"action": "AIGCImageTrain", "images": ["x"]}).encode()
    other = ask(studio, "POST", CHECK, other)
    assert (other.status_code, other.json()["code"]) == (400, "INVALID_PARAMETER")


def test_a_model_name_is_the_name_of_a_service_of_the_role(studio):
    hosted = Hosted(studio)
    for name in ("photog_infer_test2", "photog_train_pmml"):
        status, code, text = refusal(hosted.images.aigc_images_check, drawn("alma", 1), name, None)
        assert (status, code) == (404, "SERVICE_NOT_FOUND")
        assert "photog_check" in text
    status, code, _ = refusal(hosted.images.aigc_images_create, "x", "y", "photog_check", None)
    assert (status, code) == (404, "SERVICE_NOT_FOUND")


def test_a_wrong_token_is_refused(studio):
    for call, arguments in (
        ("check", (drawn("alma", 1), "", None)),
        ("train", (drawn("alma", 1), "", None)),
        ("create", ("anna", "template", "", None)),
    ):
        images = Hosted(studio, (STUDIO[0], OTHER[1])).images
        status, code, _ = refusal(getattr(images, f"aigc_images_{call}"), *arguments)
        assert (status, code) == (401, "SIGN_ERROR")
    jobs = Hosted(studio, (STUDIO[0], "")).jobs
    assert refusal(jobs.get_async_job_with_id, 1)[:2] == (401, "SIGN_ERROR")
    assert refusal(jobs.get_batch_job_with_id, 1)[:2] == (401, "SIGN_ERROR")


def test_an_unknown_app_is_refused(studio):
    images = Hosted(studio, ("nobody", STUDIO[1])).images
    status, code, _ = refusal(images.aigc_images_check, drawn("alma", 1), "", None)
    assert (status, code) == (401, "APPID_NOT_FOUND")


def test_the_token_of_the_server_is_no_signature(studio):
    answer = studio.http("POST", JOB, headers={"Authorization": TOKEN})
    assert (answer.status_code, answer.json()["code"]) == (401, "SIGN_ERROR")
    assert studio.http("POST", JOB, headers={"Authorization": ""}).status_code == 401


def test_without_an_app_the_answer_says_how_to_name_one(start):
    hosted = Hosted(start())
    status, code, text = refusal(hosted.images.aigc_images_check, drawn("alma", 1), "", None)
    assert (status, code) == (401, "APPID_NOT_FOUND")
    assert "PHOTOG_APPS" in text


def test_each_client_signs_in_its_own_way(studio):
    """Go ends a body with a newline, Go, Java and PHP sign an empty one for jobs, Python `{}`."""
    body = json.dumps({"images": drawn("alma", 1)}).encode() + b"\n"
    assert ask(studio, "POST", CHECK, body).status_code == 200
    for sent in (b"", b"{}"):
        answer = ask(studio, "POST", JOB, sent)
        assert (answer.status_code, answer.json()["code"]) == (404, "JOB_NOT_FOUND")
    assert ask(studio, "GET", JOB).status_code == 404
    # A query is signed sorted by name, without the parameter that may hold a signature.
    sorted_path = f"{JOB}?a=1&b=2"
    assert ask(studio, "POST", f"{JOB}?b=2&sign=x&a=1", signed=sorted_path).status_code == 404
    assert ask(studio, "POST", f"{JOB}?b=3&a=1", signed=sorted_path).status_code == 401
    assert ask(studio, "POST", JOB, signed="/api/v1/async_jobs/43").status_code == 401


def test_there_are_no_batches(studio):
    refused = refusal(Hosted(studio).jobs.get_batch_job_with_id, 3)
    assert refused[:2] == (404, "BATCH_NOT_FOUND")


def test_a_stated_time_is_looked_at_if_that_is_configured(start):
    server = start(environment=APPS | {"PHOTOG_APP_CLOCK_SECONDS": "300"})
    now = int(time.time())
    for seconds, status in ((now, 404), (now - 200, 404), (now - 4000, 401), (now + 4000, 401)):
        answer = ask(server, "POST", JOB, headers={"X-Request-Time": str(seconds)})
        assert answer.status_code == status, answer.text
    assert ask(server, "POST", JOB).status_code == 404


def test_a_client_that_goes_away_takes_its_job_along(start):
    server = start(environment=OPEN)
    with endless_photo() as photo:
        body = json.dumps({"images": [photo]}).encode()
        sign = f"{STUDIO[0]}:{signature(STUDIO[1], 'POST', CHECK, body)}"
        connection = http.client.HTTPConnection(server.host, server.port, timeout=60)
        connection.request("POST", CHECK, body, {"Authorization": sign})
        [job] = until(lambda: jobs(server, "running"))
        connection.close()
        [ended] = until(lambda: jobs(server, "cancelled"))
    assert (ended["id"], ended["code"]) == (job["id"], "CANCELLED")
    assert until(lambda: nothing_in_the_sink(server))


def test_a_call_takes_no_longer_than_keepalive(start):
    service = {
        "metadata": {
            "name": "photog_check",
            "type": "Async",
            "instance": 1,
            "rpc": {"keepalive": 1000},
        }
    }
    server = start(service, environment=OPEN)
    with endless_photo() as photo:
        refused = refusal(Hosted(server).images.aigc_images_check, [photo], "", None)
        assert refused[:2] == (408, "TIMEOUT")
        until(lambda: not jobs(server, "running"))
    assert until(lambda: nothing_in_the_sink(server))


def test_tokens_of_apps_are_shown_nowhere(studio):
    checked(Hosted(studio, OTHER), drawn("alma", 1))
    shown = studio.stderr_path.read_text() + studio.http("GET", "/api/services").text
    assert STUDIO[1] not in shown and OTHER[1] not in shown
