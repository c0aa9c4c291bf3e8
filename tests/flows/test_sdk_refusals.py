"""Refusals as the SDK client shows them, and the addresses it can be given."""

import pytest
import websocket
from eas_prediction import PredictClient, PredictException, QueueClient, StringRequest

from services import queue_service

VERBS = {
    "put": lambda client: client.put("x"),
    "get": lambda client: client.get(timeout="0s"),
    "attributes": lambda client: client.attributes(),
    "commit": lambda client: client.commit(1),
    "delete": lambda client: client.delete(1),
    "truncate": lambda client: client.truncate(1),
}


@pytest.fixture(scope="module")
def shared(start_shared):
    return start_shared(queue_service())


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("token", ["", "wrong", "flow-test-toke", "flow-test-token2"])
def test_a_wrong_token_is_401_on_every_verb(shared, verb, token):
    """Only the whole token opens a queue."""
    with pytest.raises(PredictException) as refusal:
        VERBS[verb](shared.client("queue_try", token=token))
    assert refusal.value.code == 401


def test_a_wrong_token_is_401_in_the_watch_handshake(shared):
    """A watcher is refused by an HTTP status, never accepted and closed."""
    with pytest.raises(websocket.WebSocketBadStatusException) as refusal:
        next(shared.client("queue_try", token="wrong").watch(0, 1).run())
    assert refusal.value.status_code == 401


@pytest.mark.parametrize("verb", VERBS)
def test_an_unknown_service_is_404(shared, verb):
    """A service that does not exist is 404 for every verb."""
    with pytest.raises(PredictException) as refusal:
        VERBS[verb](shared.client("no_such_service"))
    assert refusal.value.code == 404


def test_watching_an_unknown_service_is_404(shared):
    """Also the handshake says so."""
    with pytest.raises(websocket.WebSocketBadStatusException) as refusal:
        next(shared.client("no_such_service").watch(0, 1).run())
    assert refusal.value.status_code == 404


def test_a_full_queue_is_450_and_stores_nothing(start):
    """Beyond `max_entries` a put is refused with 450; after a get there is room again."""
    queue = start(queue_service(source={"max_entries": 2})).client("queue_try")
    queue.put("a")
    queue.put("b")
    with pytest.raises(PredictException) as refusal:
        queue.put("c")
    assert refusal.value.code == 450
    assert queue.attributes()["stream.length"] == "2"
    assert [frame.data for frame in queue.get()] == [b"a"]
    queue.put("d")


def test_a_full_sink_with_auto_evict_drops_its_oldest(start):
    """`auto_evict` on the sink makes room instead of refusing."""
    sink = start(queue_service(sink={"max_entries": 2, "auto_evict": True})).client("queue_try/sink")
    for text in ("a", "b", "c"):
        sink.put(text)
    assert [frame.data for frame in sink.get(length=5, timeout="0s")] == [b"b", b"c"]


def test_auto_evict_never_drops_an_undelivered_request(start):
    """On the input queue `auto_evict` refuses: nobody has seen those entries yet."""
    server = start(queue_service(source={"max_entries": 2, "auto_evict": True}))
    queue = server.client("queue_try")
    queue.put("a")
    queue.put("b")
    with pytest.raises(PredictException) as refusal:
        queue.put("c")
    assert refusal.value.code == 450


def test_a_custom_url_leads_to_the_queue(shared):
    """`init(custom_url=...)` replaces the whole address."""
    queue = shared.client("anything", custom_url=shared.url("queue_try/sink"))
    index, _ = queue.put("through a custom address")
    [frame] = shared.client("queue_try/sink").get(index=index)
    assert frame.data == b"through a custom address"


def test_the_path_suffix_sink_leads_to_the_sink(shared):
    """`init(path_suffix='sink')` and the service name with `/sink` are the same queue."""
    index, _ = shared.client("queue_try", path_suffix="sink").put("by suffix")
    [frame] = shared.client("queue_try/sink").get(index=index)
    assert frame.data == b"by suffix"


def test_a_scheme_and_a_trailing_slash_in_the_endpoint_are_fine(shared):
    """The SDK strips one slash and keeps `http://`; the path that it makes exists."""
    client = QueueClient(f"http://{shared.host}:{shared.port}/", "queue_try")
    client.set_token(shared.token)
    client.init()
    assert client.attributes()["meta.state"] == "Normal"
    client.destroy()


def test_the_older_name_with_a_group_leads_to_the_service(shared):
    """`<group>.<service>` is the older form of a service's address."""
    index, _ = shared.client("test_group.queue_try").put("by the older name")
    [frame] = shared.client("queue_try").get(index=index)
    assert frame.data == b"by the older name"


def synchronous(server, token):
    client = PredictClient(f"{server.host}:{server.port}", "queue_try")
    client.set_token(token)
    client.init()
    return client


def test_the_signature_of_the_synchronous_client_is_accepted(shared):
    """`PredictClient` signs instead of sending the token; its date is local time and not checked."""
    client = synchronous(shared, shared.token)
    assert client.predict(StringRequest("signed")).response_data.isdigit()
    client.destroy()
    [frame] = shared.client("queue_try").get(index=-1)
    assert frame.data == b"signed"


def test_a_signature_with_another_token_is_401(shared):
    """A signature made with a wrong key opens nothing."""
    client = synchronous(shared, "another-token")
    with pytest.raises(PredictException) as refusal:
        client.predict(StringRequest("signed"))
    assert refusal.value.code == 401
    client.destroy()


def test_a_service_may_have_its_own_token(start):
    """The `token` of a service's JSON opens that service and no other one."""
    own = queue_service() | {"token": "own-token"}
    server = start(own, queue_service("other_queue"))
    assert server.client("queue_try", token="own-token").put("x")[0] == "1"
    assert server.client("queue_try").put("x")[0] == "2"
    with pytest.raises(PredictException) as refusal:
        server.client("other_queue", token="own-token").put("x")
    assert refusal.value.code == 401
