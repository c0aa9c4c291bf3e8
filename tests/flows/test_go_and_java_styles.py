"""What the Go and Java clients do and the Python one does not: raw HTTP and plain WebSockets."""

import contextlib
import http.client
import struct
import threading

import pytest
import websocket
from eas_prediction.queue_types.queueservice_pb2 import (
    AttributesProto,
    DataFrameListProto,
    DataFrameProto,
)

from services import queue_service
from waiting import until

PROTOBUF = "application/vnd.google.protobuf"
REAR = {"X-EAS-QueueService-Access-Rear": "true"}
USER = "X-EAS-QueueService-Redis-Uid"
GROUP = "X-EAS-QueueService-Redis-Gid"


def identity(uid, gid="eas"):
    return {USER: uid, GROUP: gid}


def put(server, data, params=None, name="queue_try", headers=None):
    """Puts by plain HTTP; gives the index and the request id."""
    answer = server.http("POST", name, params, headers, data=data)
    assert answer.status_code == 200, answer.text
    return int(answer.text), answer.headers["X-Eas-Queueservice-Request-Id"]


def entries(server, params=None, name="queue_try", headers=None):
    """What a get finds now, without taking it out."""
    query = {"_length_": "100", "_raw_": "false", "_auto_delete_": "false", "_timeout_": "0s"}
    answer = server.http("GET", name, query | (params or {}), {"Accept": PROTOBUF} | (headers or {}))
    found = DataFrameListProto()
    found.ParseFromString(answer.content)
    return list(found.index)


def hand_back(server, index, form=None, gid="eas"):
    """A negative commit as Go and Java send it."""
    return server.http(
        "PUT", "queue_try", {"_indexes_": str(index), "_negative_": "true"}, identity("x", gid), data=form
    )


@contextlib.contextmanager
def link(server, uid, name="queue_try", window=1, **params):
    """A WebSocket watcher without an SDK."""
    query = {"_watch_": "true", "_index_": "0", "_window_": str(window)} | params
    address = server.url(name).replace("http://", "ws://")
    address += "?" + "&".join(f"{key}={value}" for key, value in query.items())
    headers = identity(uid) | {"Authorization": server.token, "Accept": PROTOBUF}
    connection = websocket.create_connection(address, header=headers, timeout=30)
    try:
        yield connection
    finally:
        connection.close(timeout=1)


def receive(connection):
    opcode, content = connection.recv_data()
    assert opcode == websocket.ABNF.OPCODE_BINARY
    frame = DataFrameProto()
    frame.ParseFromString(content)
    return frame


def refusal(server, uid="u", **params):
    """The status with which a watch handshake is refused."""
    with pytest.raises(websocket.WebSocketBadStatusException) as refused:
        with link(server, uid, **params):
            pass
    return refused.value.status_code


# Go


def test_go_reads_the_header_names_from_protobuf_attributes(photog):
    """With `Accept` protobuf the attributes are a map of strings that names the identity headers."""
    answer = photog.http("GET", "queue_try", {"_attrs_": "true"}, {"Accept": PROTOBUF})
    assert answer.status_code == 200
    message = AttributesProto()
    message.ParseFromString(answer.content)
    assert message.attributes["meta.header.user"] == USER
    assert message.attributes["meta.header.group"] == GROUP
    assert dict(message.attributes).keys() >= {
        "meta.backend", "meta.name", "meta.state", "meta.maxPayloadBytes", "meta.header.priority",
        "stream.length", "stream.approxMaxLength", "stream.firstEntry", "stream.lastEntry",
    }  # fmt: skip


def test_the_protobuf_list_is_the_published_one(photog):
    """The bytes of a list with one frame are those that every client's parser was made for."""
    put(photog, b"hi", {"requestId": "r"})
    query = {"_raw_": "false", "_timeout_": "5s"}
    answer = photog.http("GET", "queue_try", query, {"Accept": PROTOBUF})
    frame = bytes.fromhex("0801 120e 0a09 726571756573744964 120172 1a02 6869")
    assert answer.content == b"\x0a" + bytes([len(frame)]) + frame


def test_a_get_that_finds_nothing_is_204_for_every_codec(photog):
    """Nothing found has no body: not 404 and not an empty list."""
    for headers in ({}, {"Accept": PROTOBUF}, {"Accept": "application/json"}):
        for raw in ("false", "true"):
            query = {"_timeout_": "0s", "_raw_": raw}
            answer = photog.http("GET", "queue_try", query, headers)
            assert (answer.status_code, answer.content) == (204, b"")


def test_a_watch_without_upgrade_is_a_stream_of_framed_chunks(photog):
    """Plain HTTP watchers get each frame as a 4-byte big-endian length and that many bytes."""
    made = [put(photog, text)[0] for text in (b"a", b"b")]
    connection = http.client.HTTPConnection(photog.host, photog.port, timeout=30)
    headers = identity("go") | {"Authorization": photog.token, "Accept": PROTOBUF}
    path = "/api/predict/queue_try?_watch_=true&_index_=0&_window_=5&_index_only_=false&_auto_commit_=false"
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    assert answer.status == 200
    assert answer.getheader("Transfer-Encoding") == "chunked"

    def next_frame():
        (size,) = struct.unpack(">I", answer.read(4))
        frame = DataFrameProto()
        frame.ParseFromString(answer.read(size))
        return frame

    assert [next_frame().index for _ in made] == made
    # Each frame is flushed by itself: this one comes while the stream stays open.
    later, _ = put(photog, b"c")
    assert next_frame().index == later
    connection.close()
    until(lambda: entries_pending(photog) == 0)


def entries_pending(server):
    attributes = server.http("GET", "queue_try", {"_attrs_": "true"}).json()
    lines = [line for key, line in attributes.items() if key.startswith("consumers.list.")]
    return sum("Pending: 0" not in line for line in lines if "Status: Running" in line)


def test_go_sends_the_priority_in_the_header_that_the_attributes_name(photog):
    """The header named by `meta.header.priority` sets the priority of a put."""
    attributes = photog.http("GET", "queue_try", {"_attrs_": "true"}).json()
    put(photog, b"normal")
    put(photog, b"high", headers={attributes["meta.header.priority"]: "1"})
    with link(photog, "u") as watcher:
        assert receive(watcher).data == b"high"


def test_the_rear_queue_is_a_queue_of_its_own(photog):
    """With the rear header the same address is another queue, with its own content and all verbs."""
    index, request_id = put(photog, b"behind", headers=REAR)
    assert entries(photog) == []
    [found] = entries(photog, {"requestId": request_id}, headers=REAR)
    assert (found.index, found.data) == (index, b"behind")
    count = photog.http("GET", "queue_try", {"_count_": "true"}, REAR)
    assert count.text == "1"
    assert photog.http("DELETE", "queue_try", {"_indexes_": str(index)}, REAR).text == "OK"
    assert entries(photog, headers=REAR) == []


# Java


def test_count_gives_a_number_and_can_be_narrowed(photog):
    """`_count_` counts all entries, those of one priority, or those with the given tags."""
    put(photog, b"1", {"kind": "a"})
    put(photog, b"2", {"kind": "b"})
    put(photog, b"3", {"kind": "a", "_priority_": "1"})

    def count(**params):
        answer = photog.http("GET", "queue_try", {"_count_": "true"} | params)
        assert answer.status_code == 200
        return answer.text

    assert count() == "3"
    assert count(kind="a") == "2"
    assert count(_priority_="1") == "1"
    assert count(_priority_="0", kind="b") == "1"
    assert count(kind="c") == "0"


@pytest.mark.parametrize("form", [None, {"_code_": "Busy", "_reason_": "come back later"}, {"_code_": "503"}])
def test_a_negative_commit_hands_the_entry_out_again(photog, form):
    """An entry that was handed back is pushed again; code and reason may be missing."""
    index, _ = put(photog, b"again")
    with link(photog, "u") as watcher:
        assert receive(watcher).index == index
        answer = hand_back(photog, index, form)
        assert (answer.status_code, answer.text) == (200, "OK")
        assert receive(watcher).index == index


def test_an_entry_handed_back_comes_before_newer_ones(photog):
    """It has the smaller index, so it goes first."""
    made = [put(photog, text)[0] for text in (b"a", b"b")]
    with link(photog, "u") as watcher:
        assert receive(watcher).index == made[0]
        hand_back(photog, made[0])
        assert receive(watcher).index == made[0]


def test_a_consumer_that_says_shutdown_gets_nothing_more(photog):
    """After `Shutdown` the entry goes to another consumer of the group."""
    index, _ = put(photog, b"work")
    with link(photog, "leaving") as leaving:
        assert receive(leaving).index == index
        answer = photog.http(
            "PUT", "queue_try", {"_indexes_": str(index), "_negative_": "true"},
            identity("leaving"), data={"_code_": "Shutdown", "_reason_": "update"},
        )  # fmt: skip
        assert answer.status_code == 200
        with link(photog, "fresh") as fresh:
            assert receive(fresh).index == index


def test_handing_back_what_is_not_pending_is_success(photog):
    """Indexes that are not pending for the group are ignored."""
    index, _ = put(photog, b"waiting")
    for unknown in (index, 4711):
        answer = hand_back(photog, unknown)
        assert (answer.status_code, answer.text) == (200, "OK")
    assert [entry.index for entry in entries(photog)] == [index]


def test_an_entry_handed_out_too_often_moves_to_the_rear_queue(start):
    """With `max_delivery` 1 a negative commit ends in the rear queue, with tags and a reason."""
    server = start(queue_service(max_delivery=1))
    index, request_id = put(server, b"poison", {"kind": "k"})
    with link(server, "u") as watcher:
        assert receive(watcher).index == index
        hand_back(server, index, {"_code_": "Broken", "_reason_": "cannot read it"})
        until(lambda: entries(server, headers=REAR))
    [dead] = entries(server, headers=REAR)
    assert dead.data == b"poison"
    assert dict(dead.tags) == {"requestId": request_id, "kind": "k"}
    assert dead.message
    assert entries(server) == []


def test_a_lost_link_counts_as_a_delivery(start):
    """With `max_delivery` 2 the second lost link moves the entry to the rear queue."""
    server = start(queue_service(max_delivery=2))
    index, _ = put(server, b"poison")
    for uid in ("first", "second"):
        with link(server, uid) as watcher:
            assert receive(watcher).index == index
    until(lambda: entries(server, headers=REAR))
    assert entries(server) == []


def test_the_policy_drop_keeps_no_dead_entries(start):
    """With `dead_message_policy` `Drop` the entry is deleted and the rear queue stays empty."""
    server = start(queue_service(max_delivery=1, dead_message_policy="Drop"))
    index, _ = put(server, b"poison")
    with link(server, "u") as watcher:
        assert receive(watcher).index == index
        hand_back(server, index)
        until(lambda: entries(server) == [])
    assert entries(server, headers=REAR) == []


def test_no_limit_on_deliveries_with_zero(start):
    """`max_delivery` 0 hands an entry out again and again."""
    server = start(queue_service(max_delivery=0))
    index, _ = put(server, b"stubborn")
    with link(server, "u") as watcher:
        for _ in range(12):
            assert receive(watcher).index == index
            hand_back(server, index)


def test_a_ping_is_answered_with_its_payload(photog):
    """Java drops a link that does not answer its pings."""
    with link(photog, "u") as watcher:
        for payload in (b"ping", b""):
            watcher.ping(payload)
            opcode, content = watcher.recv_data(control_frame=True)
            while opcode == websocket.ABNF.OPCODE_PING:
                opcode, content = watcher.recv_data(control_frame=True)
            assert (opcode, content) == (websocket.ABNF.OPCODE_PONG, payload)


@pytest.mark.parametrize(
    ("params", "status"),
    [
        ({"window": 0}, 400),
        ({"window": -1}, 400),
        ({"window": "many"}, 400),
        ({"_index_": "x"}, 400),
        ({"_index_": "-7"}, 400),
        ({"name": "no_such_service"}, 404),
    ],
)
def test_a_watch_is_refused_with_a_status_in_the_handshake(photog, params, status):
    """Clients reconnect at once after accept-then-close, so a refusal is an HTTP status."""
    assert refusal(photog, **params) == status


def test_a_user_id_in_use_is_409_and_free_again_afterwards(photog):
    """The newcomer is refused while the older link shows life and let in once that has ended."""
    with link(photog, "twin") as first:
        answers_pings = threading.Thread(target=read_until_closed, args=(first,), daemon=True)
        answers_pings.start()
        assert refusal(photog, "twin") == 409
        first.abort()
        answers_pings.join(10)
    index, _ = put(photog, b"x")
    with link(photog, "twin") as second:
        assert receive(second).index == index


def read_until_closed(connection):
    with contextlib.suppress(websocket.WebSocketException, OSError):
        while True:
            connection.recv()


def test_a_watcher_without_identity_gets_one(photog):
    """Without user and group headers the consumer is in `default_group` under a made-up id."""
    put(photog, b"x")
    address = photog.url("queue_try").replace("http://", "ws://") + "?_watch_=true&_index_=0"
    headers = {"Authorization": photog.token, "Accept": PROTOBUF}
    connection = websocket.create_connection(address, header=headers, timeout=30)
    receive(connection)
    attributes = photog.http("GET", "queue_try", {"_attrs_": "true"}).json()
    assert attributes["consumers.list.[0]"].startswith("Id: default_group.")
    assert "Window: 1," in attributes["consumers.list.[0]"]
    connection.close(timeout=1)


@pytest.mark.parametrize("query", [{"_eos_": "true"}, {"_eos_": "true", "_force_": "true"}])
def test_a_client_cannot_end_a_queue(photog, query):
    """`_eos_` is refused with 405: a durable queue is not closed for ever by one caller."""
    put(photog, b"stays")
    refused = photog.http("POST", "queue_try", query)
    assert refused.status_code == 405
    assert "ended" in refused.text
    assert [entry.index for entry in entries(photog)] == [1]
    assert photog.http("POST", "queue_try", data=b"next").status_code == 200
