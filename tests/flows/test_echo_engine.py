"""From a put to its result in the sink, through the diagnostic engine of both service types."""

import base64
import json

import pytest

from services import echo_job, echo_service, queue_service
from waiting import until


def length(client):
    return int(client.attributes()["stream.length"])


def poll(server, name, request_id, **params):
    """Asks a sink the way plain pollers do: no `Accept`, `_raw_=false`, a bare number of seconds."""
    query = {"requestId": request_id, "_timeout_": "5", "_raw_": "false"} | params
    return server.http("GET", f"{name}/sink", query)


def result(server, name, request_id, seconds=20):
    """The one sink entry of a request, as the SDK reads it."""
    sink = server.client(f"{name}/sink")
    return until(lambda: sink.get(request_id=request_id, timeout="1s"), seconds)[0]


def test_a_result_carries_the_tags_and_the_id_of_its_request(echo):
    """The sink entry has the request's tags, its id, the engine's answer and an index of its own."""
    server, name = echo
    queue = server.client(name)
    queue.put("EMPTY")
    index, request_id = queue.put("hello", {"task_id": "t-1", "taskType": "query"})
    frame = result(server, name, request_id)
    assert frame.data == b"hello"
    assert dict(frame.tags) == {"requestId": request_id, "task_id": "t-1", "taskType": "query"}
    assert (index, frame.index) == ("2", 1)


def test_the_request_leaves_the_input_queue(echo):
    """The input entry is committed once its result is stored."""
    server, name = echo
    queue = server.client(name)
    index, request_id = queue.put("hello")
    result(server, name, request_id)
    until(lambda: queue.search(index) == {})
    assert length(queue) == 0


@pytest.mark.parametrize("status", [400, 503])
def test_a_failing_model_answers_with_its_status_in_a_tag(echo, status):
    """Another status than 200 becomes the tag `lastCode`; the data is the error body."""
    server, name = echo
    _, request_id = server.client(name).put(f"FAIL {status}", {"task_id": "t"})
    frame = result(server, name, request_id)
    assert frame.data == b"failed"
    assert dict(frame.tags) == {"requestId": request_id, "task_id": "t", "lastCode": str(status)}


def test_an_empty_answer_writes_nothing_to_the_sink(echo):
    """The request is done and gone, and the sink stays empty."""
    server, name = echo
    queue = server.client(name)
    queue.put("EMPTY")
    until(lambda: length(queue) == 0)
    assert length(server.client(f"{name}/sink")) == 0


def test_a_panic_in_the_engine_is_an_interrupted_result(echo):
    """The request that broke the engine gets its result, and the next one is worked on."""
    server, name = echo
    queue = server.client(name)
    _, broken = queue.put("PANIC", {"task_id": "t"})
    _, next_one = queue.put("still here")
    frame = result(server, name, broken)
    assert json.loads(frame.data)["code"] == "INTERRUPTED"
    assert dict(frame.tags) == {"requestId": broken, "task_id": "t", "lastCode": "500"}
    assert result(server, name, next_one).data == b"still here"


def test_every_request_ends_in_exactly_one_result(echo):
    """Thirty requests, good and failing ones, give thirty results."""
    server, name = echo
    queue = server.client(name)
    sent = {queue.put("FAIL 500" if number % 5 == 0 else f"{number}")[1] for number in range(30)}
    sink = server.client(f"{name}/sink")
    until(lambda: length(sink) >= 30 and length(queue) == 0, 60)
    results = [frame.tags["requestId"] for frame in sink.get(length=100, timeout="0s")]
    assert len(results) == 30
    assert set(results) == sent


def test_a_plain_poller_reads_json(echo):
    """`_raw_=false` without an `Accept` of ours gives an array of objects, data in base64."""
    server, name = echo
    _, request_id = server.client(name).put("hello", {"task_id": "t"})
    answer = until(lambda: (got := poll(server, name, request_id)).status_code == 200 and got)
    [entry] = answer.json()
    assert entry["tags"] == {"requestId": request_id, "task_id": "t"}
    assert base64.b64decode(entry["data"], validate=True) == b"hello"
    assert isinstance(entry["index"], int)
    assert "message" not in entry


def test_a_plain_poller_takes_the_result_out_by_default(echo):
    """Without `_auto_delete_` a get deletes; the next poll finds nothing: 204 and no body."""
    server, name = echo
    _, request_id = server.client(name).put("hello")
    until(lambda: poll(server, name, request_id).status_code == 200)
    again = poll(server, name, request_id, _timeout_="0")
    assert (again.status_code, again.content) == (204, b"")


def test_a_raw_get_is_the_bare_data(echo):
    """A plain request without `_raw_` for one entry gives its data and its id in the header."""
    server, name = echo
    _, request_id = server.client(name).put(b"\x00\xffbare")
    query = {"requestId": request_id, "_timeout_": "5s"}
    answer = until(
        lambda: (got := server.http("GET", f"{name}/sink", query)).status_code == 200 and got
    )
    assert answer.content == b"\x00\xffbare"
    assert answer.headers["X-Eas-Queueservice-Request-Id"] == request_id


def test_a_raw_get_of_several_entries_is_a_list(echo):
    """More than one entry does not fit a bare body and is wrapped."""
    server, name = echo
    sink = server.client(f"{name}/sink")
    sink.put("a")
    sink.put("b")
    query = {"_raw_": "true", "_length_": "2", "_timeout_": "5s"}
    entries = server.http("GET", f"{name}/sink", query).json()
    assert [base64.b64decode(entry["data"]) for entry in entries] == [b"a", b"b"]


def test_a_path_below_the_input_queue_is_for_the_model_alone(echo):
    """A POST to a longer path is a put; the path does not become a tag."""
    server, name = echo
    answer = server.http("POST", f"{name}/videox_fun/infer_forward", {"task_id": "7"}, data=b"deep")
    assert answer.status_code == 200
    request_id = answer.headers["X-Eas-Queueservice-Request-Id"]
    frame = result(server, name, request_id)
    assert frame.data == b"deep"
    assert dict(frame.tags) == {"requestId": request_id, "task_id": "7"}


def test_the_engine_works_under_the_name_of_the_service(start):
    """The engine's group is the service name, so a search in that group sees it working."""
    server = start(echo_service(milliseconds=1500))
    queue = server.client("echo_async", gid="echo_async")
    index, request_id = queue.put("slow")
    found = until(lambda: (state := queue.search(index)).get("IsPending") and state)
    assert found["ConsumerId"].startswith("echo_async.")
    assert result(server, "echo_async", request_id).data == b"slow"


def test_work_past_keepalive_ends_in_a_timeout_result(start):
    """A request that takes longer than `keepalive` gets a `TIMEOUT` result, status 408."""
    server = start(echo_service(milliseconds=60_000, keepalive=300))
    _, request_id = server.client("echo_async").put("endless", {"task_id": "t"})
    frame = result(server, "echo_async", request_id)
    assert json.loads(frame.data)["code"] == "TIMEOUT"
    assert dict(frame.tags) == {"requestId": request_id, "task_id": "t", "lastCode": "408"}
    until(lambda: length(server.client("echo_async")) == 0)


def test_a_result_beyond_the_sink_limit_is_replaced_and_not_dropped(start):
    """An answer larger than the sink accepts becomes a `RESULT_TOO_LARGE` result."""
    server = start(echo_service(sink={"max_payload_size_kb": 1}))
    _, request_id = server.client("echo_async").put(bytes(2048))
    frame = result(server, "echo_async", request_id)
    assert json.loads(frame.data)["code"] == "RESULT_TOO_LARGE"
    assert frame.tags["lastCode"] == "413"


def test_a_full_sink_holds_the_engine_back(start):
    """While the sink is full no request is lost or refused; reading the sink lets the work go on."""
    server = start(echo_service(milliseconds=1, sink={"max_entries": 1}))
    queue, sink = server.client("echo_async"), server.client("echo_async/sink")
    sent = [queue.put(text)[1] for text in ("a", "b", "c", "d")]
    until(lambda: length(sink) == 1)
    assert length(queue) >= 2
    got = []
    while len(got) < len(sent):
        got += until(lambda: sink.get(timeout="1s"))
        assert length(sink) <= 1
    assert sorted(frame.tags["requestId"] for frame in got) == sorted(sent)


def test_high_priority_is_worked_on_first(start):
    """Of what waits, the entry of high priority is taken first."""
    server = start(echo_service(milliseconds=1000))
    queue = server.client("echo_async", gid="echo_async")
    index, _ = queue.put("running")
    until(lambda: queue.search(index).get("IsPending"))
    queue.put("normal")
    queue.put("high", {"_priority_": "1"})
    sink = server.client("echo_async/sink")
    until(lambda: length(sink) == 3)
    assert [frame.data for frame in sink.get(length=3)] == [b"running", b"high", b"normal"]


def test_the_services_of_the_program_are_listed(start):
    """`GET /api/services` names each service with its role and type."""
    server = start(echo_service(), echo_job(), queue_service())
    listed = server.http("GET", "/api/services").json()["services"]
    kinds = {service["name"]: (service["role"], service["type"]) for service in listed}
    assert kinds["echo_async"] == ("echo", "Async")
    assert kinds["echo_job"] == ("echo", "ScalableJob")
    assert kinds["queue_try"][1] == "Queue"


def test_the_group_of_the_workers_is_not_open_to_watchers(echo):
    """A watcher under the service's own name would take entries that the engine owes a result."""
    server, name = echo
    query = {"_watch_": "true", "_index_": "0", "_window_": "1"}
    refused = server.http("GET", name, query, {"X-EAS-QueueService-Redis-Gid": name})
    assert refused.status_code == 409
    assert "workers" in refused.text


def test_a_failure_is_told_even_to_the_smallest_sink(start):
    """Where the text of a failure does not fit, it is cut; the request still ends."""
    server = start(echo_service(milliseconds=1, sink={"max_payload_size_kb": 1}))
    _, sent = server.client("echo_async").put("x" * 2000)
    frame = result(server, "echo_async", sent)
    assert frame.tags["lastCode"] == "413"
    assert b"RESULT_TOO_LARGE" in frame.data
