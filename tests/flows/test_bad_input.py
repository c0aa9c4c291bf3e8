"""Requests that lie, drip, never end or never read: the server stays up and bounded."""

import contextlib
import json
import select
import socket
import struct
import time

import pytest
import websocket

from services import queue_service
from waiting import until

SHORT_LIMITS = {"PHOTOG_HEADER_TIMEOUT_SECONDS": "1", "PHOTOG_BODY_TIMEOUT_SECONDS": "1"}
MIB = 1 << 20


@pytest.fixture
def impatient(start):
    """A server that waits one second for a request, and takes 64 KiB."""
    return start(queue_service(source={"max_payload_size_kb": 64}), environment=SHORT_LIMITS)


def connect(server):
    return socket.create_connection((server.host, server.port), timeout=30)


def head(server, *fields, method="POST"):
    """A request head without its closing empty line."""
    lines = [f"{method} /api/predict/queue_try HTTP/1.1", f"Host: {server.host}"]
    lines += [f"Authorization: {server.token}", *fields]
    return "\r\n".join(lines).encode()


def answer_of(connection):
    """Everything until the server closes; a reset counts as a close."""
    received = b""
    with contextlib.suppress(ConnectionResetError, BrokenPipeError):
        while block := connection.recv(65_536):
            received += block
    return received


def status_of(answer):
    """The status of the first answer, or `None` when the server only closed."""
    return int(answer.split(b" ", 2)[1]) if answer else None


def stored(server):
    return int(server.http("GET", "queue_try", {"_count_": "true"}).text)


def send_while_silent(connection, blocks, pause=0.1):
    """Sends block after block until the server answers or closes; gives the bytes sent."""
    sent = 0
    for block in blocks:
        readable, _, _ = select.select([connection], [], [], pause)
        if readable:
            break
        try:
            connection.sendall(block)
        except (BrokenPipeError, ConnectionResetError):
            break
        sent += len(block)
    return sent


def drip(seconds=30):
    """One byte at a time for longer than any server should wait."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        yield b"x"


def test_a_body_shorter_than_announced_stores_nothing(photog):
    """The link ends before the announced length: there is no entry, and the server goes on."""
    with connect(photog) as connection:
        connection.sendall(head(photog, "Content-Length: 100") + b"\r\n\r\n0123456789")
        connection.shutdown(socket.SHUT_WR)
        assert status_of(answer_of(connection)) in (None, 400)
    assert stored(photog) == 0


def test_bytes_beyond_the_announced_length_are_no_part_of_the_entry(photog):
    """What follows the body is read as the next request, which is none: refused and closed."""
    with connect(photog) as connection:
        connection.sendall(head(photog, "Content-Length: 5") + b"\r\n\r\nhello, this is too much\r\n\r\n")
        answer = answer_of(connection)
    assert status_of(answer) == 200
    assert b"HTTP/1.1 200" not in answer[12:]
    assert [frame.data for frame in photog.client("queue_try").get(length=9, timeout="0s")] == [b"hello"]


@pytest.mark.parametrize(
    "fields",
    [
        ["Content-Length: -1"],
        ["Content-Length: many"],
        ["Content-Length: 99999999999999999999999999"],
        ["Content-Length: 5", "Content-Length: 6"],
        ["Transfer-Encoding: chunked, gzip"],
        ["Bad Header Name: x"],
    ],
)
def test_a_nonsense_head_is_refused(photog, fields):
    """A head that cannot be right is refused with a 4xx or the link is closed; nothing is stored."""
    with connect(photog) as connection:
        connection.sendall(head(photog, *fields) + b"\r\n\r\nhello")
        connection.shutdown(socket.SHUT_WR)
        status = status_of(answer_of(connection))
    assert status is None or 400 <= status < 500
    assert stored(photog) == 0


def test_two_ways_to_tell_the_length_do_not_smuggle_a_request(photog):
    """With both a length and chunks at most one entry is stored, and no hidden request runs."""
    with connect(photog) as connection:
        hidden = head(photog, "Content-Length: 6") + b"\r\n\r\nhidden"
        fields = [f"Content-Length: {len(hidden) + 5}", "Transfer-Encoding: chunked"]
        connection.sendall(head(photog, *fields) + b"\r\n\r\n0\r\n\r\n" + hidden)
        connection.shutdown(socket.SHUT_WR)
        answer_of(connection)
    queue = photog.client("queue_try")
    assert b"hidden" not in [frame.data for frame in queue.get(length=9, timeout="0s")]


def test_broken_chunks_store_nothing(photog):
    """A chunk without a proper size ends the request."""
    with connect(photog) as connection:
        connection.sendall(head(photog, "Transfer-Encoding: chunked") + b"\r\n\r\nzz\r\nhello\r\n0\r\n\r\n")
        connection.shutdown(socket.SHUT_WR)
        assert status_of(answer_of(connection)) in (None, 400)
    assert stored(photog) == 0


def test_a_head_that_drips_is_cut_off(impatient):
    """A head that comes byte by byte is answered with 408 or closed at the limit."""
    with connect(impatient) as connection:
        connection.sendall(head(impatient, "X-Slow: "))
        send_while_silent(connection, drip())
        assert status_of(answer_of(connection)) in (None, 408)
    assert stored(impatient) == 0


def test_a_head_that_stops_is_cut_off(impatient):
    """A link that says half a head and then nothing does not stay for ever."""
    with connect(impatient) as connection:
        connection.sendall(head(impatient, "X-Half"))
        assert status_of(answer_of(connection)) in (None, 408)


def test_a_body_that_drips_is_cut_off(impatient):
    """A body that comes byte by byte is answered with 408 or closed at the limit."""
    with connect(impatient) as connection:
        connection.sendall(head(impatient, "Content-Length: 1000") + b"\r\n\r\n")
        send_while_silent(connection, drip())
        assert status_of(answer_of(connection)) in (None, 408)
    assert stored(impatient) == 0


def test_a_head_without_end_is_refused(photog):
    """A head of many megabytes is refused long before it is all read."""
    block = b"X-Long: " + b"x" * 8000 + b"\r\n"
    with connect(photog) as connection:
        connection.sendall(head(photog) + b"\r\n")
        sent = send_while_silent(connection, (block for _ in range(8000)), pause=0)
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_WR)
        status = status_of(answer_of(connection))
    assert status in (None, 400, 431)
    assert sent < 32 * MIB
    assert stored(photog) == 0


def test_a_huge_announced_body_is_refused_before_it_comes(start):
    """The length alone is enough for 413; the server does not wait for ten gigabytes."""
    server = start(queue_service(source={"max_payload_size_kb": 64}))
    with connect(server) as connection:
        connection.sendall(head(server, f"Content-Length: {10 << 30}") + b"\r\n\r\n")
        first = connection.recv(65_536)
    assert status_of(first) == 413
    assert stored(server) == 0


def test_an_oversized_body_in_chunks_is_refused_before_it_ends(start):
    """Without a length the body is counted while it comes; the rest is not taken."""
    server = start(queue_service(source={"max_payload_size_kb": 64}))
    before = server.anonymous_memory()
    chunk = b"10000\r\n" + bytes(65_536) + b"\r\n"
    with connect(server) as connection:
        connection.sendall(head(server, "Transfer-Encoding: chunked") + b"\r\n\r\n")
        sent = send_while_silent(connection, (chunk for _ in range(2048)), pause=0)
        status = status_of(answer_of(connection))
    assert status in (None, 413)
    assert sent < 64 * MIB
    assert server.anonymous_memory() - before < 32 * MIB
    assert stored(server) == 0


def test_an_upload_somewhat_too_large_gets_its_413(start):
    """A body up to a few times the limit is read and thrown away, so that the refusal arrives."""
    server = start(queue_service(source={"max_payload_size_kb": 1024}))
    answer = server.http("POST", "queue_try", data=bytes(2 * MIB))
    assert answer.status_code == 413
    assert stored(server) == 0


@pytest.mark.parametrize(
    "garbage", [b"\x00" * 64, b"\r\n\r\n", b"GET\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]
)
def test_what_is_no_http_closes_the_link_only(impatient, garbage):
    """Noise on the port is refused or closed; the next caller is served."""
    with connect(impatient) as connection:
        connection.sendall(garbage)
        connection.shutdown(socket.SHUT_WR)
        status = status_of(answer_of(connection))
    assert status is None or 400 <= status < 600
    assert stored(impatient) == 0


def test_many_idle_links_keep_nobody_out(photog):
    """Two hundred links that say nothing do not stop a caller."""
    with contextlib.ExitStack() as links:
        for _ in range(200):
            links.enter_context(connect(photog))
        assert photog.client("queue_try").put("x")[0] == "1"


INVALID_JSON = [
    b"",
    b"{",
    b"[]",
    b'"text"',
    b"null",
    b"12345",
    b"\xff\xfe",
    b"\x0a\xff\xff\xff\x0f",
    b'{"images": ["x"]} tail',
    b"[" * 100_000,
    b'{"images":' * 50_000,
]
INVALID_PARAMETER = [
    {},
    {"images": "xx.jpg"},
    {"images": []},
    {"images": [1]},
    {"images": None},
    {"images": ["xx.jpg"] * 101},
    {"images": ["xx.jpg"], "configure": 3},
    {"images": ["xx.jpg"], "configure": {"face_reconize": "yes"}},
    {"images": ["xx.jpg"], "request_id": [1]},
]


@pytest.fixture(scope="module")
def built_in(start_shared):
    return start_shared()


def verdict_on(server, body, tags=None):
    """Code of the result of `photog_check` for a body, and the tag `lastCode`."""
    _, request_id = server.client("photog_check").put(body, tags or {})
    sink = server.client("photog_check/sink")
    [frame] = until(lambda: sink.get(request_id=request_id, timeout="1s"))
    answer = json.loads(frame.data)
    assert answer["message"]
    return answer["code"], frame.tags["lastCode"]


@pytest.mark.parametrize("body", INVALID_JSON, ids=range(len(INVALID_JSON)))
def test_a_payload_that_is_no_json_object_ends_in_a_result(built_in, body):
    """Whatever is put, also protobuf or endless nesting, is answered in the sink."""
    assert verdict_on(built_in, body) == ("INVALID_JSON", "400")


@pytest.mark.parametrize("body", INVALID_PARAMETER, ids=range(len(INVALID_PARAMETER)))
def test_a_payload_with_wrong_members_ends_in_a_result(built_in, body):
    """A missing or wrong member is named in the result."""
    assert verdict_on(built_in, json.dumps(body)) == ("INVALID_PARAMETER", "400")


def test_an_unknown_task_type_is_refused_in_a_result(built_in):
    """`taskType` is `query` or absent."""
    body = json.dumps({"images": ["xx.jpg"]})
    code = verdict_on(built_in, body, {"taskType": "command"})
    assert code == ("UNSUPPORTED_TASK_TYPE", "400")


def raw_watch(server, uid, receive_buffer=None, **params):
    """A WebSocket watcher; with a small receive buffer it soon holds the server back."""
    query = {"_watch_": "true", "_index_": "0", "_window_": "1000"} | params
    address = server.url("queue_try").replace("http://", "ws://") + "?"
    address += "&".join(f"{key}={value}" for key, value in query.items())
    headers = {
        "Authorization": server.token,
        "Accept": "application/vnd.google.protobuf",
        "X-EAS-QueueService-Redis-Uid": uid,
        "X-EAS-QueueService-Redis-Gid": uid,
    }
    options = [(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)] if receive_buffer else []
    return websocket.create_connection(address, header=headers, timeout=30, sockopt=options)


@pytest.mark.parametrize("auto_commit", ["false", "true"])
def test_a_watcher_that_stops_reading_holds_nobody_else_back(photog, auto_commit):
    """Others are served and memory stays bounded while two watchers do not read a byte."""
    queue = photog.client("queue_try")
    for _ in range(64):
        queue.put(bytes(2 * MIB), {"for": "watchers"})
    before = photog.anonymous_memory()
    filters = {"for": "watchers", "_auto_commit_": auto_commit}
    stalled = [raw_watch(photog, uid, 4096, **filters) for uid in ("mute", "deaf")]
    for number in range(20):
        index, _ = queue.put(str(number))
        [frame] = queue.get(index=index)
        assert frame.data == str(number).encode()
    growth = photog.anonymous_memory() - before
    for connection in stalled:
        connection.abort()
    assert growth < 64 * MIB, f"{growth >> 20} MiB more for watchers that do not read"


def masked(opcode, payload, length=None):
    """A client frame; `length` may lie about the payload."""
    claimed = len(payload) if length is None else length
    return bytes([0x80 | opcode, 0x80 | 127]) + struct.pack(">Q", claimed) + bytes(4) + payload


@pytest.mark.parametrize(
    "frame",
    [
        masked(2, b"", length=1 << 40),
        masked(9, b"x" * 200),
        b"\xff\xff" + bytes(12),
        b"\x82\x05hello",
        masked(1, b"\xff\xfe"),
    ],
    ids=["one-terabyte", "long-ping", "reserved-bits", "unmasked", "text-not-utf8"],
)
def test_a_broken_websocket_frame_ends_that_link_only(photog, frame):
    """What no WebSocket client may send costs the sender its link; what it held is handed on."""
    index, _ = photog.client("queue_try").put("x")
    bad = raw_watch(photog, "bad", _window_="1")
    bad.recv()
    bad.sock.sendall(frame)
    bad.sock.shutdown(socket.SHUT_WR)
    answer_of(bad.sock)
    good = raw_watch(photog, "bad", _window_="1")
    good.recv()
    assert photog.client("queue_try", gid="bad").search(index)["IsPending"] is True
    good.close(timeout=1)
