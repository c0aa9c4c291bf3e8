"""How far pictures are, and ending them early, with the unmodified WebUI client."""

import base64
import socket

import pytest

from services import picture_service
from waiting import until
from webui import Request, client, jobs

# Long enough to be looked at while it runs, on any machine.
LONG = {"width": 64, "height": 64, "steps": 150, "n_iter": 20, "seed": 5}


@pytest.fixture
def studio(start):
    """A server with the small networks."""
    return start(picture_service(), pictures=True)


@pytest.fixture
def api(studio):
    return client(studio)


def progress(server, **query):
    return server.http("GET", "/sdapi/v1/progress", query).json()


def is_idle(found):
    return found["progress"] == 0 and found["state"]["job_count"] == 0


def wait_until_ready(api):
    """What scripts do that wait until the WebUI has finished."""
    until(lambda: is_idle(api.get_progress()))


def test_progress_rises_while_a_picture_is_made_and_is_zero_again(studio, api):
    """Steps are counted; a picture of the unfinished work is there for those who look."""
    assert is_idle(api.get_progress())
    request = Request(studio, prompt="a cat", **LONG)
    first = until(lambda: (now := api.get_progress())["state"]["sampling_step"] > 0 and now)
    assert 0 < first["progress"] < 1
    assert first["eta_relative"] > 0
    assert first["state"]["sampling_steps"] == 150
    assert first["state"]["job_count"] == 20
    later = until(lambda: (now := api.get_progress())["progress"] > first["progress"] and now)
    assert later["state"]["job_timestamp"] == first["state"]["job_timestamp"]
    seen = until(lambda: api.get_progress()["current_image"])
    assert base64.b64decode(seen).startswith(b"\x89PNG")
    assert progress(studio, skip_current_image="true")["current_image"] is None
    api.interrupt()
    assert request.done().status_code == 200
    wait_until_ready(api)


def test_interrupt_ends_a_job_with_what_it_has(studio, api):
    """The answer is a success with fewer pictures than were asked for."""
    request = Request(studio, prompt="a cat", **LONG)
    until(lambda: api.get_progress()["state"]["sampling_step"] > 0)
    assert api.interrupt() == {}
    answer = request.done()
    assert answer.status_code == 200
    assert 1 <= len(answer.json()["images"]) < 20


def test_skip_goes_on_with_the_next_round(studio, api):
    """Every round gives a picture, however early it was ended."""
    request = Request(studio, prompt="a cat", **(LONG | {"n_iter": 2}))
    for round_number in [0, 1]:
        until(lambda: api.get_progress()["state"]["job_no"] == round_number)
        until(lambda: api.get_progress()["state"]["sampling_step"] > 0)
        assert api.skip() is None
    answer = request.done()
    assert answer.status_code == 200
    assert len(answer.json()["images"]) >= 2


def test_two_clients_see_and_end_their_own_jobs(studio):
    """By the id of its task each has its own progress, and ending one leaves the other alone."""
    first = Request(studio, prompt="a cat", force_task_id="first", **LONG)
    until(lambda: progress(studio, id_task="first")["progress"] > 0)
    second = Request(studio, prompt="a dog", force_task_id="second", **LONG)
    until(lambda: jobs(studio, "waiting"))
    waiting = progress(studio, id_task="second")
    assert is_idle(waiting)
    assert waiting["textinfo"].startswith("Queued")
    job = jobs(studio, "running")[0]["id"]
    assert progress(studio, job=job)["state"]["sampling_steps"] == 150
    studio.http("POST", "/sdapi/v1/interrupt", {"id_task": "first"})
    assert first.done().headers["X-Photog-Job"] == job
    until(lambda: progress(studio, id_task="second")["progress"] > 0)
    assert is_idle(progress(studio, id_task="first"))
    assert second.answer is None
    other = jobs(studio, "running")[0]["id"]
    studio.http("POST", "/sdapi/v1/interrupt", {"job": other})
    assert second.done().status_code == 200


def test_interrupting_a_task_that_waits_cancels_it(studio, api):
    """Its caller hears that at once; an unknown task is 404."""
    first = Request(studio, prompt="a cat", **LONG)
    until(lambda: api.get_progress()["progress"] > 0)
    second = Request(studio, prompt="a dog", force_task_id="second", **LONG)
    until(lambda: jobs(studio, "waiting"))
    assert studio.http("POST", "/sdapi/v1/interrupt", {"id_task": "second"}).status_code == 200
    answer = second.done()
    assert (answer.status_code, answer.json()["error"]) == (499, "CANCELLED")
    assert studio.http("POST", "/sdapi/v1/interrupt", {"id_task": "nobody"}).status_code == 404
    assert studio.http("POST", "/sdapi/v1/skip", {"id_task": "nobody"}).status_code == 404
    api.interrupt()
    first.done()


def test_pages_ask_for_the_progress_of_their_task(studio, api):
    """`/internal/progress` says where a task stands, before, while and after it runs."""

    def ask(**body):
        return studio.http("POST", "/internal/progress", json=body).json()

    before = ask(id_task="mine")
    assert (before["active"], before["queued"], before["completed"]) == (False, False, False)
    request = Request(studio, prompt="a cat", force_task_id="mine", **LONG)
    seen = until(lambda: (now := ask(id_task="mine"))["live_preview"] and now)
    assert seen["active"] and seen["progress"] > 0
    assert seen["live_preview"].startswith("data:image/png;base64,")
    api.interrupt()
    request.done()
    assert ask(id_task="mine")["completed"]


def abandon(server, body):
    """Sends a request and goes away as soon as it runs."""
    text = body.encode()
    head = (
        "POST /sdapi/v1/txt2img HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Authorization: {server.token}\r\nContent-Length: {len(text)}\r\n\r\n"
    )
    connection = socket.create_connection((server.host, server.port))
    connection.sendall(head.encode() + text)
    until(lambda: jobs(server, "running"))
    connection.close()


def test_a_job_goes_with_its_client(studio):
    """Nobody else would take its answer, so it is cancelled and its result is removed."""
    abandon(studio, '{"prompt": "a cat", "width": 64, "height": 64, "steps": 150, "n_iter": 20}')
    until(lambda: jobs(studio, "cancelled"))
    attributes = lambda: studio.http("GET", "photog_sd/sink", {"_attrs_": "true"}).json()
    until(lambda: attributes()["stream.length"] == "0")


def test_a_job_with_an_id_waits_for_its_client(studio):
    """It is done all the same, and who asks for the id again gets its pictures, once."""
    body = '{"prompt": "a cat", "width": 64, "height": 64, "steps": 40, "force_task_id": "mine"}'
    abandon(studio, body)
    until(lambda: jobs(studio, "done"))
    again = studio.http("POST", "/sdapi/v1/txt2img", data=body)
    assert again.status_code == 200
    assert len(jobs(studio, "done")) == 1
    third = studio.http("POST", "/sdapi/v1/txt2img", data=body)
    assert third.json()["images"]
    assert len(jobs(studio, "done")) == 2


def test_a_stopping_server_finishes_what_runs_and_refuses_the_rest(studio, api):
    """The running job is answered; the one that waits hears 503 and is not left for later."""
    import signal

    short = LONG | {"n_iter": 2}
    first = Request(studio, prompt="a cat", **short)
    until(lambda: api.get_progress()["progress"] > 0)
    second = Request(studio, prompt="a dog", **short)
    until(lambda: jobs(studio, "waiting"))
    studio.send_signal(signal.SIGTERM)
    assert second.done().status_code == 503
    assert first.done().status_code == 200
    assert studio.wait() == 0
    studio.start()
    assert jobs(studio, "waiting") + jobs(studio, "running") == []
