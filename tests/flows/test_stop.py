"""Stopping: in good order, at once, and by force."""

import contextlib
import json
import os
import signal
import struct
import subprocess
import threading

import pytest
import requests
import websocket

from services import echo_service, queue_service
from waiting import until


def put_status(server):
    """The status of one more put, or `None` when nobody listens any more."""
    with contextlib.suppress(requests.ConnectionError):
        return server.http("POST", "echo_async", data=b"late").status_code
    return None


def start_work(server, data="work", tags=None):
    """Puts an entry and waits until the engine has it in hand; gives its request id."""
    queue = server.client("echo_async", gid="echo_async")
    index, request_id = queue.put(data, tags or {})
    until(lambda: queue.search(index).get("IsPending"))
    return request_id


def result(server, request_id):
    sink = server.client("echo_async/sink")
    return until(lambda: sink.get(request_id=request_id, timeout="1s"))[0]


def code_of(frame):
    return json.loads(frame.data)["code"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_server_ends_with_zero(photog, number):
    """Both signals end the program in good order, with links of clients still open."""
    photog.client("queue_try").put("x")
    photog.stop(number)


def test_a_stop_refuses_new_work_and_finishes_what_runs(start):
    """After SIGTERM puts get 503, the running job ends with its real result, the exit code is 0."""
    server = start(echo_service(milliseconds=1500))
    request_id = start_work(server, "finished", {"task_id": "t"})
    server.send_signal(signal.SIGTERM)
    until(lambda: put_status(server) == 503, 10)
    assert server.wait() == 0
    server.start()
    frame = result(server, request_id)
    assert frame.data == b"finished"
    assert dict(frame.tags) == {"requestId": request_id, "task_id": "t"}


def test_a_refusal_while_stopping_has_no_retry_after(start):
    """The 503 is plain text and does not make the SDK's HTTP library sleep and repeat."""
    server = start(echo_service(milliseconds=1500))
    start_work(server)
    server.send_signal(signal.SIGTERM)

    def refusals():
        answer = server.http("POST", "echo_async", data=b"x")
        return [answer] if answer.status_code == 503 else []

    [answer] = until(refusals, 10)
    assert "Retry-After" not in answer.headers
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert answer.text
    assert server.wait() == 0


def test_what_waits_at_a_stop_is_done_after_the_next_start(start):
    """Entries that no slot had taken stay in their place and are worked on later."""
    server = start(echo_service(milliseconds=1500))
    start_work(server)
    _, waiting = server.client("echo_async").put("waits")
    server.stop()
    server.start()
    assert result(server, waiting).data == b"waits"


def test_a_second_signal_stops_at_once_and_the_caller_learns_of_it(start):
    """The job in hand is cut off; with no delivery left its result is `INTERRUPTED`."""
    server = start(echo_service(milliseconds=600_000))
    request_id = start_work(server, tags={"task_id": "t"})
    _, waiting = server.client("echo_async").put("waits")
    server.send_signal(signal.SIGTERM)
    until(lambda: put_status(server) == 503)
    server.send_signal(signal.SIGTERM)
    assert server.wait() >= 0, "ended by the signal itself"
    server.configure([echo_service()])
    server.start()
    frame = result(server, request_id)
    assert code_of(frame) == "INTERRUPTED"
    assert dict(frame.tags) == {"requestId": request_id, "task_id": "t", "lastCode": "500"}
    assert result(server, waiting).data == b"waits"


def test_a_job_cut_off_by_force_is_interrupted_when_no_delivery_is_left(start):
    """After SIGKILL with `max_delivery` 1 the next start writes an `INTERRUPTED` result, once."""
    server = start(echo_service(milliseconds=600_000))
    request_id = start_work(server)
    server.kill()
    server.configure([echo_service()])
    server.start()
    assert code_of(result(server, request_id)) == "INTERRUPTED"
    until(lambda: server.client("echo_async").attributes()["stream.length"] == "0")
    assert server.client("echo_async/sink").get(timeout="0s") == []


def test_a_job_cut_off_by_force_runs_again_when_deliveries_are_left(start):
    """After SIGKILL with `max_delivery` 3 the entry goes back to its place and is worked on."""
    server = start(echo_service(milliseconds=600_000, max_delivery=3))
    request_id = start_work(server, "again")
    server.kill()
    server.configure([echo_service(max_delivery=3)])
    server.start()
    assert result(server, request_id).data == b"again"


def test_a_stop_ends_watchers_with_close_code_1001(photog):
    """Watchers never leave by themselves; the server ends their links, so the stop is not held up."""
    photog.client("queue_try").put("x")
    address = photog.url("queue_try").replace("http://", "ws://") + "?_watch_=true&_index_=0&_window_=1"
    connection = websocket.create_connection(
        address, header={"Authorization": photog.token}, timeout=30
    )
    connection.recv()
    photog.send_signal(signal.SIGTERM)
    opcode, content = connection.recv_data(control_frame=True)
    while opcode in (websocket.ABNF.OPCODE_PING, websocket.ABNF.OPCODE_PONG):
        opcode, content = connection.recv_data(control_frame=True)
    assert opcode == websocket.ABNF.OPCODE_CLOSE
    assert struct.unpack(">H", content[:2]) == (1001,)
    connection.abort()
    assert photog.wait() == 0


def test_a_stop_does_not_wait_for_a_long_poll(photog):
    """A get that waits for a minute is ended by the stop."""
    ended = threading.Event()

    def wait():
        with contextlib.suppress(requests.RequestException):
            photog.http("GET", "queue_try", {"_timeout_": "60s"}, timeout=70)
        ended.set()

    threading.Thread(target=wait, daemon=True).start()
    # A round trip of another caller: the waiting request was sent before it.
    photog.client("queue_try").attributes()
    photog.stop()
    assert ended.wait(10)


@pytest.mark.limit(120)
def test_a_kill_in_the_middle_loses_no_acknowledged_put(start):
    """Every put that was answered is there after SIGKILL, whatever was under way."""
    server = start(queue_service())
    acknowledged = []
    enough = threading.Event()

    def put_until_killed(name):
        client = server.client("queue_try")
        client.set_retry_count(0)
        number = 0
        # The SDK reports the lost server in several ways; each one ends this writer.
        with contextlib.suppress(Exception):
            while True:
                text = f"{name}-{number}"
                index, _ = client.put(text)
                acknowledged.append((int(index), text.encode()))
                number += 1
                if len(acknowledged) >= 200:
                    enough.set()

    writers = [threading.Thread(target=put_until_killed, args=(name,)) for name in "abcd"]
    for writer in writers:
        writer.start()
    assert enough.wait(60)
    server.kill()
    for writer in writers:
        writer.join(30)
    server.start()
    frames = server.client("queue_try").get(length=100_000, timeout="0s", auto_delete=False)
    kept = {frame.index: frame.data for frame in frames}
    assert [entry for entry in acknowledged if kept.get(entry[0]) != entry[1]] == []


def test_a_second_server_on_the_same_data_is_refused(photog):
    """Two programs on one data folder would destroy each other's queues: the second says so."""
    command = [os.environ["PHOTOG_BIN"], "serve", "--listen", "127.0.0.1:0", "--token", "t"]
    command += ["--data-dir", str(photog.folder / "data")]
    second = subprocess.run(
        command, capture_output=True, text=True, timeout=30, check=False, cwd=photog.folder
    )
    assert second.returncode == 1
    assert "photog listening" not in second.stdout
    assert second.stderr.strip()
    assert photog.client("queue_try").put("x")[0] == "1"
