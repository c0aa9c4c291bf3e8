"""What the SDK client can learn about a queue, and deleting, truncating and committing."""

import re

import pytest

from services import queue_service
from waiting import until
from watching import watching

GO_DURATION = r"(?:\d+(?:\.\d+)?(?:h|ms|m|us|µs|ns|s))+"


def length(client):
    return int(client.attributes()["stream.length"])


def consumers(client):
    """The `consumers.list` lines, in order."""
    attributes = client.attributes()
    found = []
    while (line := attributes.get(f"consumers.list.[{len(found)}]")) is not None:
        found.append(line)
    return found


def indexes(client):
    return [frame.index for frame in client.get(length=1000, timeout="0s", auto_delete=False)]


def test_search_says_how_many_wait_before_an_entry(queue):
    """A waiting entry: not pending, the number before it, and the caller's own name."""
    first, _ = queue.put("a")
    second, _ = queue.put("b")
    own = f"eas.{queue.uid}"
    assert queue.search(first) == {"IsPending": False, "WaitCount": 0, "ConsumerId": own}
    assert queue.search(int(second)) == {"IsPending": False, "WaitCount": 1, "ConsumerId": own}


def test_search_counts_higher_priorities_as_before(queue):
    """An entry of high priority is delivered first, so the others wait for one more."""
    first, _ = queue.put("a")
    second, _ = queue.put("b")
    high, _ = queue.put("c", {"_priority_": "1"})
    counts = [queue.search(index)["WaitCount"] for index in (high, first, second)]
    assert counts == [0, 1, 2]


def test_search_names_the_holder_of_a_pending_entry(photog, queue):
    """A pending entry: the holder's name and no wait; seen by the holder's group only."""
    first, _ = queue.put("a")
    second, _ = queue.put("b")
    holder = photog.client("queue_try", uid="holder")
    with watching(holder) as frames:
        assert next(frames).index == int(first)
        assert queue.search(first) == {"IsPending": True, "WaitCount": 0, "ConsumerId": "eas.holder"}
        assert queue.search(second)["IsPending"] is False
        assert queue.search(second)["WaitCount"] == 0
        stranger = photog.client("queue_try", gid="strangers")
        assert stranger.search(first)["IsPending"] is False


def test_search_of_a_missing_entry_is_an_empty_object(queue):
    """An entry that is gone or never was gives `{}`."""
    index, _ = queue.put("a")
    queue.delete(index)
    assert queue.search(index) == {}
    assert queue.search(987_654) == {}


@pytest.mark.parametrize("name", ["queue_try", "queue_try/sink"])
def test_the_attributes_of_a_fresh_queue(photog, name):
    """All keys that clients read are there, all values are texts, an empty queue has entry 0."""
    attributes = photog.client(name).attributes()
    assert all(isinstance(value, str) for value in attributes.values())
    assert attributes["meta.backend"]
    assert attributes["meta.name"].startswith("queue_try")
    assert attributes["meta.state"] == "Normal"
    assert attributes["meta.maxPayloadBytes"] == str(20_480 * 1024)
    assert attributes["meta.header.user"] == "X-EAS-QueueService-Redis-Uid"
    assert attributes["meta.header.group"] == "X-EAS-QueueService-Redis-Gid"
    assert re.fullmatch(r"[A-Za-z0-9-]+", attributes["meta.header.priority"])
    assert int(attributes["stream.approxMaxLength"]) > 0
    assert attributes["stream.length"] == "0"
    assert attributes["stream.firstEntry"] == attributes["stream.lastEntry"] == "0"
    assert attributes["consumers.stats.total"] == attributes["consumers.status.total"] == "0"
    assert "consumers.list.[0]" not in attributes


def test_the_attributes_follow_what_is_in_the_queue(queue):
    """Length, first and last entry are those of the entries now in the queue."""
    made = [queue.put("x")[0] for _ in range(3)]
    queue.delete(made[0])
    attributes = queue.attributes()
    assert attributes["stream.length"] == "2"
    assert attributes["stream.firstEntry"] == made[1]
    assert attributes["stream.lastEntry"] == made[2]


def test_the_attributes_describe_each_consumer(photog, queue):
    """A consumer's line has its group, user, pending entries, window and free slots."""
    queue.put("a", {"kind": "x", "size": "l"})
    watcher = photog.client("queue_try", uid="u1")
    with watching(watcher, window=3, tags={"size": "l", "kind": "x"}) as frames:
        next(frames)
        attributes = queue.attributes()
        assert attributes["consumers.stats.total"] == attributes["consumers.status.total"] == "1"
        assert re.fullmatch(
            r"Id: eas\.u1, Index: \d+, Pending: 1, Status: Running, "
            rf"Idle: {GO_DURATION}, Window: 3, Slots: 2, AutoCommit: false, "
            r"Tags: tags\[kind=x size=l\]",
            attributes["consumers.list.[0]"],
        )
        assert attributes["groups.list.[0]"].startswith("Id: eas")


def test_a_consumer_with_auto_commit_has_no_window(photog, queue):
    """With auto-commit the line shows window 0 and slots 0, and no tags when there is no filter."""
    queue.put("a")
    with watching(photog.client("queue_try", uid="u2"), window=3, auto_commit=True) as frames:
        next(frames)
        [line] = consumers(queue)
        assert re.search(r"Window: 0, Slots: 0, AutoCommit: true$", line)


def test_a_consumer_that_left_is_not_shown_as_running(photog, queue):
    """After the link has ended the consumer is listed as having left, or not at all."""
    queue.put("a")
    with watching(photog.client("queue_try", uid="u3")) as frames:
        next(frames)
        assert "Status: Running" in consumers(queue)[0]
    until(lambda: not any("Status: Running" in line for line in consumers(queue)))
    for line in consumers(queue):
        assert re.search(r"Status: (Leaving|Exit|Complete)", line)


def test_delete_takes_one_index_or_a_list(queue):
    """Deleted entries are gone at once and the answer is `OK`; the others stay."""
    made = [queue.put("x")[0] for _ in range(4)]
    assert queue.delete(made[0]) == "OK"
    assert queue.delete([made[2], int(made[3])]) == "OK"
    assert indexes(queue) == [int(made[1])]


def test_deleting_and_committing_what_is_gone_is_success(queue):
    """The HTTP library of the SDK repeats DELETE and PUT, so doing it again has to succeed."""
    index, _ = queue.put("x")
    assert queue.delete(index) == "OK"
    assert queue.delete(index) == "OK"
    assert queue.commit(index) == b"OK"
    assert queue.commit(987_654) == b"OK"


def test_a_deleted_entry_frees_the_window(photog, queue):
    """An entry that is pending and gets deleted lets the next one out; a late commit is harmless."""
    first, _ = queue.put("a")
    second, _ = queue.put("b")
    with watching(photog.client("queue_try")) as frames:
        assert next(frames).index == int(first)
        queue.delete(first)
        assert next(frames).index == int(second)
        assert queue.commit(first) == b"OK"


def test_get_sees_and_may_delete_a_pending_entry(photog, queue):
    """Get ignores consumers: it returns an entry that somebody works on."""
    queue.put("a")
    with watching(photog.client("queue_try")) as frames:
        held = next(frames)
        [frame] = queue.get()
        assert frame.index == held.index
        assert queue.commit(held.index) == b"OK"
        assert length(queue) == 0


def test_truncate_removes_below_the_index(queue):
    """Entries with an index below the given one go, that one stays; going beyond the end empties."""
    made = [int(queue.put("x")[0]) for _ in range(5)]
    queue.truncate(made[3])
    assert indexes(queue) == made[3:]
    queue.truncate(int(queue.attributes()["stream.lastEntry"]) + 1)
    assert length(queue) == 0
    queue.truncate(1_000_000)
    assert int(queue.put("x")[0]) == made[-1] + 1


def test_truncate_leaves_the_other_queue_alone(queue, sink):
    """Input queue and sink are two queues."""
    queue.put("in")
    sink.put("out")
    queue.truncate(1000)
    assert (length(queue), length(sink)) == (0, 1)


def test_commit_takes_one_index_or_a_list(queue):
    """A commit of a waiting entry marks it done; with no other group it leaves the queue."""
    made = [queue.put("x")[0] for _ in range(4)]
    assert queue.commit(made[0]) == b"OK"
    assert queue.commit([made[1], int(made[2])]) == b"OK"
    assert indexes(queue) == [int(made[3])]


def test_a_commit_of_one_group_keeps_the_entry_for_another(photog, queue):
    """Every group gets its own copy of the stream while it has a consumer."""
    index, _ = queue.put("a")
    red, blue = (photog.client("queue_try", gid=group) for group in ("red", "blue"))
    with watching(red) as red_frames, watching(blue) as blue_frames:
        assert next(red_frames).index == int(index)
        assert next(blue_frames).index == int(index)
        red.commit(index)
        assert length(queue) == 1
        blue.commit(index)
        until(lambda: length(queue) == 0)


def test_a_group_that_left_is_forgotten_after_its_grace(start):
    """Once `group_grace_seconds` have passed, a group without consumers holds nothing back."""
    server = start(queue_service(group_grace_seconds=1))
    queue = server.client("queue_try")
    index, _ = queue.put("a")
    stray, worker = (server.client("queue_try", gid=group) for group in ("stray", "worker"))
    with watching(stray) as frames:
        next(frames)
    with watching(worker) as frames:
        next(frames)
        worker.commit(index)
        until(lambda: length(queue) == 0)


def test_the_index_counter_survives_an_empty_queue_and_a_restart(photog, queue):
    """Indexes are never used twice, also when the queue was emptied and the program restarted."""
    for _ in range(3):
        queue.put("x")
    queue.truncate(1000)
    photog.stop()
    photog.start()
    assert queue.put("y")[0] == "4"


def test_entries_survive_an_orderly_restart_with_everything(photog, queue):
    """Data, tags, request id and index are the same after a restart."""
    index, request_id = queue.put(b"\x00\xff", {"task_id": "t"})
    photog.stop()
    photog.start()
    [frame] = queue.get()
    assert (frame.index, frame.data) == (int(index), b"\x00\xff")
    assert dict(frame.tags) == {"requestId": request_id, "task_id": "t"}
