"""Parameters, headers and answers of the queue protocol, case by case."""

import json
import socket

import pytest

from services import echo_service, queue_service

MALFORMED = {
    "GET": [
        "_index_=abc",
        "_index_=-2",
        "_index_=1.5",
        "_index_=99999999999999999999999999",
        "_length_=abc",
        "_length_=-1",
        "_length_=99999999999999999999999999",
        "_timeout_=soon",
        "_timeout_=5x",
        "_timeout_=1.2.3s",
        "_timeout_=-5s",
        "_timeout_=NaN",
        "_timeout_=inf",
        "_timeout_=s",
        "_auto_delete_=maybe",
        "_raw_=maybe",
        "_search_=true",
        "_search_=true&_index_=abc",
        "_search_=true&_index_=-1",
        "_watch_=true&_window_=0",
        "_watch_=true&_window_=-3",
        "_watch_=true&_window_=abc",
        "_watch_=true&_index_=abc",
        "_count_=true&_priority_=high",
        "tag=%ff%fe",
        "%c3=x",
    ],
    "POST": ["_priority_=high", "_priority_=99999999999999999999999999", "tag=%ff", "%ff=tag"],
    "PUT": [
        "",
        "_indexes_=",
        "_indexes_=abc",
        "_indexes_=-1",
        "_indexes_=1,,2",
        "_indexes_=1%2C",
        "_indexes_=1%3B2",
        "_indexes_=1,99999999999999999999999999",
        "_indexes_=abc&_negative_=true",
    ],
    "DELETE": [
        "",
        "_indexes_=abc",
        "_indexes_=1,-2",
        "_trunc_=true",
        "_trunc_=true&_index_=abc",
        "_trunc_=true&_index_=-5",
        "_trunc_=true&_index_=99999999999999999999999999",
    ],
}


@pytest.fixture(scope="module")
def shared(start_shared):
    return start_shared(queue_service(), queue_service("small", source={"max_payload_size_kb": 1, "max_entries": 1}))


def exchange(server, method, target, headers=(), body=b""):
    """One request written by hand; gives status, headers (lower-case names) and body."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {server.host}", "Connection: close"]
    lines += [f"Content-Length: {len(body)}", *headers]
    request = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body
    with socket.create_connection((server.host, server.port), timeout=30) as connection:
        connection.sendall(request)
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    head, _, content = answer.partition(b"\r\n\r\n")
    status, *fields = head.decode("latin-1").split("\r\n")
    named = (field.partition(":") for field in fields)
    return int(status.split()[1]), {n.lower(): v.strip() for n, _, v in named}, content


def authorized(server):
    return [f"Authorization: {server.token}"]


def assert_plain_refusal(status, headers, content, expected):
    assert status == expected
    assert "retry-after" not in headers
    assert "content-encoding" not in headers
    assert headers["content-type"].startswith("text/plain")
    assert content.strip(), "a refusal says why"
    with pytest.raises(ValueError):
        json.loads(content)


@pytest.mark.parametrize(
    ("method", "query"), [(method, query) for method, queries in MALFORMED.items() for query in queries]
)
def test_a_malformed_parameter_is_400_and_says_why(shared, method, query):
    """Nothing malformed is guessed at; the refusal is plain text."""
    answer = exchange(shared, method, f"/api/predict/queue_try?{query}", authorized(shared))
    assert_plain_refusal(*answer, expected=400)


def test_malformed_requests_changed_nothing(photog):
    """None of the refused requests stored, removed or committed anything."""
    photog.http("POST", "queue_try", data=b"stays")
    for method, queries in MALFORMED.items():
        for query in queries:
            exchange(photog, method, f"/api/predict/queue_try?{query}", authorized(photog))
    assert photog.http("GET", "queue_try", {"_count_": "true"}).text == "1"


@pytest.mark.parametrize(
    "timeout",
    ["0", "5", "0s", "5s", "1m30s", "500ms", "1.5s", "1h0m0s", "100us", "100µs", "10ns", "9999h", "0.5"],
)
def test_every_form_of_a_wait_is_understood(shared, timeout):
    """Go durations, bare seconds and longer waits than the limit; what is there comes at once."""
    shared.http("POST", "queue_try", data=b"there")
    answer = shared.http("GET", "queue_try", {"_timeout_": timeout, "_raw_": "true"})
    assert (answer.status_code, answer.content) == (200, b"there")


@pytest.mark.parametrize("query", [{}, {"_timeout_": "0"}, {"_timeout_": "0s"}, {"_timeout_": "1ms"}])
def test_an_absent_wait_is_no_wait(shared, query):
    """Without `_timeout_` an empty queue is answered with 204."""
    answer = shared.http("GET", "queue_try/sink", query)
    assert (answer.status_code, answer.content) == (204, b"")


def test_the_answer_to_a_put_is_the_bare_index(photog):
    """Status 200, the index as decimal text without a newline, the request id in a header."""
    status, headers, content = exchange(photog, "POST", "/api/predict/queue_try", authorized(photog), b"x")
    assert (status, content) == (200, b"1")
    assert headers["x-eas-queueservice-request-id"]
    assert "content-encoding" not in headers


def test_query_decoding_knows_plus_and_percent(photog):
    """`+` and `%20` are both a space, as form encoding has it."""
    exchange(photog, "POST", "/api/predict/queue_try?a=x+y%20z&b=1%2B1&%C3%BC=%C3%9F", authorized(photog))
    [entry] = photog.http("GET", "queue_try", {"_raw_": "false"}).json()
    tags = entry["tags"]
    tags.pop("requestId")
    assert tags == {"a": "x y z", "b": "1+1", "ü": "ß"}


@pytest.mark.parametrize("separator", [",", "%2C", "%2c"])
def test_index_lists_may_have_their_comma_escaped(photog, separator):
    """All three SDKs send the comma of `_indexes_` as `%2C`."""
    for _ in range(3):
        photog.http("POST", "queue_try", data=b"x")
    target = f"/api/predict/queue_try?_indexes_=1{separator}3"
    status, _, content = exchange(photog, "DELETE", target, authorized(photog))
    assert (status, content) == (200, b"OK")
    assert photog.http("GET", "queue_try", {"_count_": "true"}).text == "1"


def test_several_flags_follow_their_order(shared):
    """Attributes before search before count before watch."""
    query = {"_attrs_": "true", "_search_": "true", "_count_": "true", "_watch_": "true", "_index_": "1"}
    assert "meta.state" in shared.http("GET", "queue_try", query).json()
    query.pop("_attrs_")
    missing = shared.http("GET", "queue_try", query | {"_index_": "987654"})
    assert (missing.status_code, missing.text.strip()) == (404, "no data in stream")
    query.pop("_search_")
    assert shared.http("GET", "queue_try", query).text.isdigit()


def test_a_query_beyond_its_limit_is_400(shared):
    """Tags are small; a query string of more than 16 KiB is refused."""
    ok = exchange(shared, "POST", "/api/predict/queue_try?t=" + "x" * 15_000, authorized(shared))
    assert ok[0] == 200
    refused = exchange(shared, "POST", "/api/predict/queue_try?t=" + "x" * 17_000, authorized(shared))
    assert_plain_refusal(*refused, expected=400)


@pytest.mark.parametrize("token", ["Bearer flow-test-token", "flow-test-token"])
def test_a_bearer_token_is_as_good_as_a_bare_one(shared, token):
    """The token works with and without the scheme word."""
    answer = shared.http("GET", "queue_try", {"_count_": "true"}, {"Authorization": token})
    assert answer.status_code == 200


@pytest.mark.parametrize("field", [None, "", "Bearer", "Bearer wrong", "Basic flow-test-token", "EAS AAAA"])
def test_other_authorizations_are_401(shared, field):
    """Everything else opens nothing and learns nothing."""
    headers = [] if field is None else [f"Authorization: {field}"]
    for method, query in [("GET", "_attrs_=true"), ("POST", ""), ("PUT", "_indexes_=1"), ("DELETE", "_indexes_=1")]:
        answer = exchange(shared, method, f"/api/predict/queue_try?{query}", headers)
        assert_plain_refusal(*answer, expected=401)


@pytest.mark.parametrize("method", ["PATCH", "TRACE", "BREW"])
@pytest.mark.parametrize("name", ["queue_try", "queue_try/sink"])
def test_an_unknown_method_is_405(shared, method, name):
    """Queues know GET, POST, PUT and DELETE."""
    answer = exchange(shared, method, f"/api/predict/{name}", authorized(shared))
    assert_plain_refusal(*answer, expected=405)


def test_a_path_below_the_input_queue_is_for_post_only(shared):
    """GET, PUT and DELETE have no meaning below the queue itself."""
    for method in ("GET", "PUT", "DELETE"):
        status, headers, _ = exchange(shared, method, "/api/predict/queue_try/deeper", authorized(shared))
        assert status in (404, 405)
        assert "retry-after" not in headers


@pytest.mark.parametrize("path", ["/api/predict/no_such_service", "/api/predict/no_such_service/sink", "/api/predict/%ff"])
def test_an_unknown_service_is_404_in_plain_text(shared, path):
    """An unknown name, also an undecodable one, is a plain refusal."""
    status, headers, content = exchange(shared, "GET", path, authorized(shared))
    assert status == 404 or (status == 400 and "%ff" in path)
    assert_plain_refusal(status, headers, content, expected=status)


def test_too_large_and_too_full_are_plain_refusals_without_retry_after(shared):
    """413 and 450 carry no `Retry-After`: the SDK's HTTP library would multiply the request."""
    too_large = exchange(shared, "POST", "/api/predict/small", authorized(shared), bytes(1025))
    assert_plain_refusal(*too_large, expected=413)
    assert exchange(shared, "POST", "/api/predict/small", authorized(shared), bytes(1024))[0] == 200
    too_full = exchange(shared, "POST", "/api/predict/small", authorized(shared), b"x")
    assert_plain_refusal(*too_full, expected=450)


def test_a_rate_limit_is_429_without_retry_after(start):
    """Above `rate_limit` puts per second the refusal is 429."""
    service = echo_service()
    service["metadata"]["rpc"]["rate_limit"] = 1
    server = start(service)
    answers = [exchange(server, "POST", "/api/predict/echo_async", authorized(server), b"x") for _ in range(30)]
    refused = [answer for answer in answers if answer[0] != 200]
    assert answers[0][0] == 200
    assert refused
    for answer in refused:
        assert_plain_refusal(*answer, expected=429)
