"""Watching with the unmodified SDK client."""

import re
import threading

import pytest
import websocket
from eas_prediction import PredictException

from waiting import until
from watching import watching


def put_numbers(client, count, tags=None):
    """Puts `count` entries and returns their indexes."""
    return [int(client.put(str(number), tags or {})[0]) for number in range(count)]


def length(client):
    return int(client.attributes()["stream.length"])


def consumer_line(client, uid):
    attributes = client.attributes()
    lines = [line for key, line in attributes.items() if key.startswith("consumers.list.")]
    return next((line for line in lines if f".{uid}," in line), "")


def pending(client, uid):
    found = re.search(r"Pending: (\d+)", consumer_line(client, uid))
    return int(found[1]) if found else 0


def running(client, uid):
    return "Status: Running" in consumer_line(client, uid)


def test_a_watcher_gets_everything_in_order(photog, queue):
    """Entries arrive in index order with their data and tags, and commits empty the queue."""
    made = put_numbers(queue, 10, {"kind": "n"})
    with watching(queue, window=5) as frames:
        for number, index in enumerate(made):
            frame = next(frames)
            assert (frame.index, frame.data) == (index, str(number).encode())
            assert frame.tags["kind"] == "n"
            queue.commit(frame.index)
    assert length(queue) == 0


def test_a_large_entry_arrives_whole(queue):
    """A frame may be many megabytes."""
    data = bytes(range(256)) * 4096 * 8
    queue.put(data)
    with watching(queue) as frames:
        assert next(frames).data == data


def test_never_more_pending_than_the_window(photog, queue):
    """A consumer holds at most its window; each commit lets exactly one more out."""
    made = put_numbers(queue, 8)
    watcher = photog.client("queue_try", uid="narrow")
    with watching(watcher, window=3) as frames:
        held = [next(frames).index for _ in range(3)]
        assert held == made[:3]
        for upcoming in made[3:]:
            assert pending(queue, "narrow") == 3
            assert "Slots: 0" in consumer_line(queue, "narrow")
            assert queue.search(upcoming)["IsPending"] is False
            watcher.commit(held.pop(0))
            held.append(next(frames).index)
            assert held[-1] == upcoming


def test_index_only_frames_have_no_data(queue):
    """With `index_only` a frame has index and tags and no data."""
    index, request_id = queue.put("heavy", {"kind": "n"})
    with watching(queue, index_only=True) as frames:
        frame = next(frames)
    assert (frame.index, frame.data) == (int(index), b"")
    assert dict(frame.tags) == {"requestId": request_id, "kind": "n"}


def test_auto_commit_ignores_the_window_and_empties_the_queue(queue):
    """With `auto_commit` an entry is done once it was sent, however small the window is."""
    made = put_numbers(queue, 20)
    with watching(queue, window=2, auto_commit=True) as frames:
        assert [next(frames).index for _ in made] == made
        until(lambda: length(queue) == 0)


def test_a_watcher_with_tags_gets_only_what_has_them_all(queue):
    """Entries that do not match stay waiting and block nobody."""
    queue.put("1", {"kind": "b"})
    queue.put("2", {"kind": "a"})
    queue.put("3", {"kind": "a", "size": "l"})
    queue.put("4", {"kind": "b", "size": "l"})
    queue.put("5", {"kind": "a", "size": "l", "more": "x"})
    with watching(queue, window=5, auto_commit=True, tags={"kind": "a", "size": "l"}) as frames:
        assert [next(frames).data for _ in range(2)] == [b"3", b"5"]
        until(lambda: length(queue) == 3)
    kept = queue.get(length=10, timeout="0s")
    assert [frame.data for frame in kept] == [b"1", b"2", b"4"]


def test_the_start_index_is_a_lower_bound(queue):
    """Only entries from that index on are pushed; the older ones stay in the queue."""
    made = put_numbers(queue, 5)
    with watching(queue, index=made[3], window=5, auto_commit=True) as frames:
        assert [next(frames).index for _ in range(2)] == made[3:]
        until(lambda: length(queue) == 3)


def test_start_index_minus_one_means_only_what_comes_later(photog, queue):
    """With -1 everything that is in the queue now is ignored."""
    put_numbers(queue, 3)

    def put_when_the_watcher_is_there():
        other = photog.client("queue_try")
        until(lambda: running(other, "late"))
        other.put("later")

    thread = threading.Thread(target=put_when_the_watcher_is_there, daemon=True)
    thread.start()
    with watching(photog.client("queue_try", uid="late"), index=-1, window=5) as frames:
        assert next(frames).data == b"later"
    thread.join()


def test_high_priority_is_pushed_first(queue):
    """`_priority_` 1 overtakes what waits; equals keep their order."""
    for text, tags in [("a", {}), ("b", {}), ("c", {"_priority_": "1"}), ("d", {"_priority_": "1"})]:
        queue.put(text, tags)
    with watching(queue) as frames:
        order = []
        for _ in range(4):
            frame = next(frames)
            order.append(frame.data)
            queue.commit(frame.index)
    assert order == [b"c", b"d", b"a", b"b"]


def test_inside_a_group_the_load_is_spread(photog, queue):
    """Of two consumers of one group each gets a share and no entry goes to both."""
    made = put_numbers(queue, 4)
    first, second = photog.client("queue_try", uid="w1"), photog.client("queue_try", uid="w2")
    with watching(first, window=2) as left, watching(second, window=2) as right:
        taken = [next(left).index for _ in range(2)] + [next(right).index for _ in range(2)]
    assert sorted(taken) == made


def test_a_lost_link_hands_its_entries_to_the_others(photog, queue):
    """What a consumer held when it left is pushed to another one of its group."""
    made = put_numbers(queue, 2)
    with watching(photog.client("queue_try", uid="leaves"), window=2) as frames:
        assert [next(frames).index for _ in range(2)] == made
    with watching(photog.client("queue_try", uid="stays"), window=2) as frames:
        assert [next(frames).index for _ in range(2)] == made


def test_the_same_client_may_watch_again_after_close(queue):
    """A returning user id is let in as soon as its old link is gone."""
    made = put_numbers(queue, 3)
    for index in made:
        with watching(queue) as frames:
            frame = next(frames)
            assert frame.index == index
            queue.commit(frame.index)
    assert length(queue) == 0


def test_a_second_watcher_of_one_client_is_refused_by_the_sdk(queue):
    """One client has one watcher at a time; the first one goes on."""
    made = put_numbers(queue, 2)
    with watching(queue, window=2) as frames:
        assert next(frames).index == made[0]
        with pytest.raises(PredictException) as refusal:
            next(queue.watch(0, 1).run())
        assert refusal.value.code == 400
        assert next(frames).index == made[1]


def test_a_user_id_in_use_is_refused_in_the_handshake(photog, queue):
    """A second client with the same user id and group gets 409 while the first link lives."""
    made = put_numbers(queue, 2)
    first, twin = (photog.client("queue_try", uid="twin") for _ in range(2))
    with watching(first, window=2) as frames:
        assert next(frames).index == made[0]
        with pytest.raises(websocket.WebSocketBadStatusException) as refusal:
            next(twin.watch(0, 1).run())
        assert refusal.value.status_code == 409
        assert next(frames).index == made[1]


def test_the_same_user_id_in_two_groups_is_fine(photog, queue):
    """User ids are unique inside a group only."""
    index, _ = queue.put("a")
    red, blue = (photog.client("queue_try", uid="same", gid=group) for group in ("red", "blue"))
    with watching(red) as left, watching(blue) as right:
        assert next(left).index == next(right).index == int(index)


def test_a_watcher_comes_back_after_the_server_was_killed(photog, queue):
    """After SIGKILL and a restart the watcher goes on by itself.

    What was not committed comes again, what was committed does not.
    """
    made = put_numbers(queue, 4)
    watcher = photog.client("queue_try", uid="returns")
    with watching(watcher, window=2) as frames:
        assert [next(frames).index for _ in range(2)] == made[:2]
        assert watcher.commit(made[0]) == b"OK"
        assert next(frames).index == made[2]
        photog.kill()
        photog.start()
        again = [next(frames).index for _ in range(2)]
        assert again == made[1:3]
        watcher.commit(again)
        assert next(frames).index == made[3]
        watcher.commit(made[3])
        assert length(queue) == 0


def test_a_watcher_comes_back_after_an_orderly_restart(photog, queue):
    """A stop in good order ends the link actively; the SDK reconnects when the port is back."""
    made = put_numbers(queue, 2)
    with watching(photog.client("queue_try", uid="returns"), window=2) as frames:
        assert [next(frames).index for _ in range(2)] == made
        photog.stop()
        photog.start()
        assert [next(frames).index for _ in range(2)] == made


def test_watching_the_sink_works_the_same(sink):
    """Input queue and sink speak the same protocol."""
    made = put_numbers(sink, 3)
    with watching(sink, window=3) as frames:
        assert [next(frames).index for _ in made] == made
