"""Putting and getting with the unmodified SDK client."""

import re
import threading
import uuid

import pytest

from services import queue_service


@pytest.mark.parametrize(
    "data", [b"plain", bytes(range(256)), b"", bytes(1024 * 1024)], ids=["text", "any", "empty", "1MiB"]
)
def test_every_body_comes_back_byte_for_byte(queue, data):
    """An entry's data is any bytes, also none at all, and is returned unchanged."""
    index, _ = queue.put(data)
    [frame] = queue.get(index=index)
    assert frame.data == data


def test_a_text_is_stored_as_utf8(queue):
    """A `str` goes out as UTF-8 and is not changed on the way."""
    index, _ = queue.put("Grüße, 你好, 🙂")
    [frame] = queue.get(index=index)
    assert frame.data.decode("utf-8") == "Grüße, 你好, 🙂"


def test_indexes_are_decimal_texts_that_start_at_one_and_rise(queue, sink):
    """Each queue counts its own entries from 1; the text has no sign, zero or newline around it."""
    indexes = [queue.put("x")[0] for _ in range(5)]
    assert all(re.fullmatch("[1-9][0-9]*", index) for index in indexes)
    assert indexes[0] == "1"
    assert sorted(set(map(int, indexes))) == list(map(int, indexes))
    assert sink.put("x")[0] == "1"


def test_a_put_without_request_id_gets_a_new_uuid(queue):
    """The server makes a request id of UUID form, a new one for each put, and tags the entry with it."""
    made = [queue.put("x") for _ in range(3)]
    assert len({str(uuid.UUID(request_id)) for _, request_id in made}) == 3
    for index, request_id in made:
        [frame] = queue.get(index=index, auto_delete=False)
        assert dict(frame.tags) == {"requestId": request_id}
        assert frame.message == ""


def test_a_request_id_of_the_caller_is_kept(queue):
    """A given tag `requestId` is echoed in the answer and stays with the entry."""
    index, request_id = queue.put("x", {"requestId": "mine-1"})
    assert request_id == "mine-1"
    [frame] = queue.get(index=index)
    assert frame.tags["requestId"] == "mine-1"


def test_a_request_id_may_be_used_twice(queue):
    """Request ids are no unique keys: both entries are kept and both are found."""
    queue.put("a", {"requestId": "same"})
    queue.put("b", {"requestId": "same"})
    frames = queue.get(request_id="same", length=2)
    assert [frame.data for frame in frames] == [b"a", b"b"]


def test_tags_come_back_as_they_were_given(queue):
    """Every parameter without a leading underscore is a tag, spaces and signs included."""
    tags = {"task_id": "a b+c", "größe": "ü&=%?/#", "empty": "", "taskType": "query"}
    index, request_id = queue.put("x", tags)
    [frame] = queue.get(index=index)
    assert dict(frame.tags) == tags | {"requestId": request_id}


def test_reserved_parameters_never_become_tags(queue):
    """`_priority_` sets the priority, an unknown reserved word is ignored; neither is a tag."""
    index, request_id = queue.put("x", {"_priority_": "1", "_of_the_future_": "y", "kind": "z"})
    [frame] = queue.get(index=index)
    assert dict(frame.tags) == {"requestId": request_id, "kind": "z"}


def test_get_starts_at_the_index_and_stops_at_the_length(queue):
    """Entries come in index order from `index` on, that one included, `length` at most."""
    indexes = [int(queue.put(str(number))[0]) for number in range(5)]
    frames = queue.get(index=indexes[1], length=3, auto_delete=False)
    assert [frame.index for frame in frames] == indexes[1:4]
    assert [frame.data for frame in frames] == [b"1", b"2", b"3"]
    [first] = queue.get(auto_delete=False)
    assert first.index == indexes[0]


def test_get_with_auto_delete_removes_and_without_it_keeps(queue):
    """`auto_delete=False` leaves the entry; the default takes it out, and only what was returned."""
    queue.put("a")
    queue.put("b")
    assert [frame.data for frame in queue.get(auto_delete=False)] == [b"a"]
    assert [frame.data for frame in queue.get()] == [b"a"]
    assert [frame.data for frame in queue.get(auto_delete=True)] == [b"b"]
    assert queue.get(timeout="0s") == []


def test_get_at_minus_one_is_the_newest(queue):
    """Index -1 names the newest entry."""
    for text in ("a", "b", "c"):
        queue.put(text)
    [frame] = queue.get(index=-1, auto_delete=False)
    assert frame.data == b"c"


def test_get_by_request_id_searches_the_whole_queue(queue):
    """The entry of a request is found behind any number of others."""
    for number in range(200):
        queue.put(str(number))
    _, request_id = queue.put("wanted")
    for number in range(20):
        queue.put(str(number))
    [frame] = queue.get(request_id=request_id)
    assert frame.data == b"wanted"
    assert queue.get(request_id=request_id, timeout="0s") == []


def test_get_by_tags_needs_all_of_them_with_equal_values(queue):
    """Only entries that have every given tag with an equal value are returned."""
    queue.put("1", {"kind": "a"})
    queue.put("2", {"kind": "b", "size": "l"})
    queue.put("3", {"kind": "a", "size": "l"})
    found = queue.get(length=10, timeout="0s", auto_delete=False, tags={"kind": "a", "size": "l"})
    assert [frame.data for frame in found] == [b"3"]
    found = queue.get(length=10, timeout="0s", auto_delete=False, tags={"kind": "a"})
    assert [frame.data for frame in found] == [b"1", b"3"]
    assert queue.get(timeout="0s", tags={"kind": "A"}) == []


def test_priority_does_not_change_the_order_of_get(queue):
    """Get reads by index; priority counts for delivery only."""
    queue.put("normal")
    queue.put("high", {"_priority_": "1"})
    assert [frame.data for frame in queue.get(length=2)] == [b"normal", b"high"]


def test_an_empty_queue_gives_an_empty_list(queue):
    """Nothing found is an empty list for the SDK, with and without a wait."""
    assert queue.get(timeout="0s") == []
    assert queue.get(timeout="200ms") == []


def test_a_wait_that_ends_returns_what_there_is(queue):
    """Fewer entries than asked for are returned when the time is up."""
    queue.put("only")
    assert [frame.data for frame in queue.get(length=3, timeout="200ms")] == [b"only"]


def test_the_default_wait_is_shorter_than_the_default_socket_limit(queue):
    """The SDK waits 5 s by default and its socket 5 s as well; the answer has to come before that."""
    queue.set_retry_count(0)
    assert queue.get() == []


def test_a_waiting_get_is_woken_by_a_put(photog, queue):
    """A get that waits for a minute returns as soon as somebody puts a matching entry."""
    waiter = photog.client("queue_try")
    waiter.set_timeout(70_000)
    got = []
    thread = threading.Thread(
        target=lambda: got.extend(waiter.get(timeout="60s", tags={"for": "waiter"})), daemon=True
    )
    thread.start()
    queue.put("not this one", {"for": "others"})
    queue.put("this one", {"for": "waiter"})
    thread.join(30)
    assert not thread.is_alive()
    assert [frame.data for frame in got] == [b"this one"]


def test_of_two_waiting_gets_each_entry_goes_to_one(photog, queue):
    """Two callers that wait for the same entries with deletion never both get one entry."""
    got = []

    def wait():
        client = photog.client("queue_try")
        client.set_timeout(70_000)
        got.extend(frame.data for frame in client.get(timeout="60s"))

    threads = [threading.Thread(target=wait, daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    queue.put("a")
    queue.put("b")
    for thread in threads:
        thread.join(30)
    assert sorted(got) == [b"a", b"b"]


def test_the_largest_payload_is_accepted_and_one_byte_more_is_not(start):
    """Exactly `max_payload_size_kb` x 1024 bytes are accepted; what is refused is not stored."""
    server = start(queue_service(source={"max_payload_size_kb": 64}))
    queue = server.client("queue_try")
    limit = int(queue.attributes()["meta.maxPayloadBytes"])
    assert limit == 64 * 1024
    queue.put(bytes(limit))
    with pytest.raises(Exception) as refusal:
        queue.put(bytes(limit + 1))
    assert refusal.value.code == 413
    assert queue.attributes()["stream.length"] == "1"


def test_concurrent_puts_lose_nothing_and_share_no_index(photog, queue):
    """Puts from several threads get distinct indexes and all of them are in the queue."""
    made = []

    def put_some(name):
        client = photog.client("queue_try")
        for number in range(25):
            made.append((int(client.put(f"{name}-{number}")[0]), f"{name}-{number}".encode()))

    threads = [threading.Thread(target=put_some, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stored = [(frame.index, frame.data) for frame in queue.get(length=1000, timeout="0s")]
    assert len(stored) == 100
    assert stored == sorted(made)
