"""Trainings through the hosted API with its unmodified Python client: jobs that are asked for."""

import json
import uuid

import pytest

from hosted import APPS, FAILED, OTHER, RUNS, SUCCEEDED, Hosted, ask, refusal
from training import ENDLESS, SERVICE, SMALL, data_address, drawn, train_service, until_trained_with
from waiting import until

PACK = APPS | {"PHOTOG_PACK": "demo"}


@pytest.fixture(scope="module")
def studio(start_shared):
    """A service that trains one at a time, with the demo pack, for two apps."""
    return start_shared(train_service(), environment=PACK)


def trained(server):
    return [person["model_id"] for person in server.http("GET", "/api/people").json()["people"]]


def in_queue(server, job):
    """The job of the queue that stands behind a hosted one."""
    jobs = server.http("GET", "/api/jobs", {"service": SERVICE, "limit": "100"}).json()["jobs"]
    [found] = [other for other in jobs if other["request_id"] == job["request_id"]]
    return found["id"]


def cancel(server, job):
    assert server.http("POST", f"/api/jobs/{in_queue(server, job)}/cancel").status_code == 200


def test_a_person_is_trained(studio):
    """From photos to a LoRA under the id that was told at once; the sink never had the result."""
    hosted = Hosted(studio)
    photos = drawn("alma", 1, 2, 3)
    began = hosted.train(photos, SMALL)
    assert 0 < began["job_id"] < 2**31
    assert str(uuid.UUID(began["model_id"])) == began["model_id"]
    job = hosted.ended(began["job_id"])
    assert (job["state"], job["message"]) == (SUCCEEDED, "success"), job
    result = json.loads(job["Result"])
    assert (result["code"], result["model_id"]) == ("OK", began["model_id"])
    assert (result["used_images"], result["train_steps"]) == (3, SMALL["max_train_steps"])
    assert result["request_id"] == job["request_id"]
    assert began["model_id"] in trained(studio)
    assert studio.http("GET", f"{SERVICE}/sink", {"_timeout_": "0s"}).status_code == 204
    # Asked again, and with the verb that changes nothing, it says the same.
    assert hosted.job(began["job_id"]) == job
    again = ask(studio, "GET", f"/api/v1/async_jobs/{began['job_id']}").json()
    assert again["data"]["job"] == job


def test_an_app_sees_its_own_jobs_only(studio):
    number = Hosted(studio).train(drawn("alma", 1), SMALL)["job_id"]
    other = Hosted(studio, OTHER)
    assert refusal(other.jobs.get_async_job_with_id, number)[:2] == (404, "JOB_NOT_FOUND")
    assert other.train(drawn("alma", 1), SMALL)["job_id"] > number
    for unknown in (0, -1, 2**31 - 1, 2**31, "x"):
        refused = refusal(other.jobs.get_async_job_with_id, unknown)
        assert refused[:2] == (404, "JOB_NOT_FOUND"), unknown


def test_photos_that_cannot_be_used_fail_the_job(studio):
    hosted = Hosted(studio)
    job = hosted.ended(hosted.train([data_address(b"no picture")], SMALL)["job_id"])
    result = json.loads(job["result"])
    assert (job["state"], result["code"]) == (FAILED, "NO_USABLE_IMAGE")
    assert job["message"] == result["message"]


def test_a_request_without_photos_makes_no_job(studio):
    train = Hosted(studio).images.aigc_images_train
    assert refusal(train, [], "", None)[:2] == (400, "INVALID_PARAMETER")
    assert refusal(train, [1], "", None)[:2] == (400, "INVALID_PARAMETER")
    assert refusal(train, drawn("alma", 1), "photog_check", None)[:2] == (404, "SERVICE_NOT_FOUND")


def test_what_is_cancelled_or_deleted_ends_and_can_be_tried_again(start):
    server = start(train_service(), environment=PACK)
    hosted = Hosted(server)
    first, second, third = (
        hosted.train(drawn("alma", 1), configure)["job_id"] for configure in (ENDLESS, SMALL, SMALL)
    )
    until(lambda: hosted.job(first)["message"] == "running")
    assert (hosted.job(second)["state"], hosted.job(second)["message"]) == (RUNS, "waiting")
    assert hosted.job(second)["Result"] == ""

    waits = hosted.job(third)
    index = in_queue(server, waits).rsplit("-", 1)[1]
    assert server.http("DELETE", SERVICE, {"_indexes_": index}).status_code == 200
    assert hosted.job(third)["state"] == FAILED
    assert "deleted" in hosted.job(third)["message"]

    cancel(server, hosted.job(second))
    job = hosted.ended(second)
    assert (job["state"], json.loads(job["Result"])["code"]) == (FAILED, "CANCELLED")
    cancel(server, hosted.job(first))
    assert hosted.ended(first)["state"] == FAILED

    retried = server.http("POST", f"/api/jobs/{in_queue(server, job)}/retry")
    assert retried.status_code == 200, retried.text
    assert hosted.ended(second)["state"] == SUCCEEDED


def test_jobs_outlive_the_program(start):
    """One that was in work ends as interrupted, one that waited is done, one that was done stays so."""
    server = start(train_service(), environment=PACK)
    hosted = Hosted(server)
    done = hosted.train(drawn("alma", 1), SMALL)["job_id"]
    done = hosted.ended(done)
    assert done["state"] == SUCCEEDED
    works = hosted.train(drawn("alma", 1), ENDLESS)["job_id"]
    waits = hosted.train(drawn("bruno", 1), SMALL)
    until_trained_with(server, in_queue(server, hosted.job(works)))
    server.kill()
    server.start()
    hosted = Hosted(server)
    assert hosted.job(done["id"]) == done
    job = hosted.ended(works)
    assert (job["state"], json.loads(job["Result"])["code"]) == (FAILED, "INTERRUPTED")
    assert hosted.ended(waits["job_id"])["state"] == SUCCEEDED
    assert waits["model_id"] in trained(server)
    server.stop()
    server.start()
    assert Hosted(server).job(done["id"]) == done
