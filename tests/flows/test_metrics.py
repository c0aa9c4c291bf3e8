"""`/metrics` as the parsers of Prometheus' own client library read it."""

import pytest
from prometheus_client import parser
from prometheus_client.openmetrics import parser as openmetrics_parser

from services import echo_service
from waiting import until

OPEN_METRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
PLAIN = "text/plain; version=0.0.4; charset=utf-8"
FAMILIES = {
    "photog_build": "gauge",
    "photog_slots": "gauge",
    "photog_jobs": "gauge",
    "photog_results": "gauge",
    "photog_queue_bytes": "gauge",
    "photog_dead_letters": "gauge",
    "photog_puts": "counter",
    "photog_jobs_ended": "counter",
    "photog_commit_seconds": "histogram",
    "photog_commit_rows": "histogram",
    "photog_queue_wait_seconds": "histogram",
    "photog_job_seconds": "histogram",
}


@pytest.fixture
def busy(start):
    """A server that has done one job."""
    server = start(echo_service())
    _, request_id = server.client("echo_async").put("x")
    sink = server.client("echo_async/sink")
    until(lambda: sink.get(request_id=request_id, timeout="1s"))
    return server


@pytest.mark.parametrize(
    ("accept", "kind", "parse"),
    [
        (OPEN_METRICS, OPEN_METRICS, openmetrics_parser.text_string_to_metric_families),
        ("text/plain;version=0.0.4", PLAIN, parser.text_string_to_metric_families),
        ("*/*", PLAIN, parser.text_string_to_metric_families),
    ],
)
def test_both_text_forms_are_what_their_content_type_says(busy, accept, kind, parse):
    """Every family has its type, help and samples in the form that the client asked for."""
    answer = busy.http("GET", "/metrics", headers={"Accept": accept})
    assert answer.headers["Content-Type"] == kind
    families = {family.name: family for family in parse(answer.text)}
    assert {name: family.type for name, family in families.items()} == FAMILIES
    assert all(family.documentation and family.samples for family in families.values())
    [puts] = families["photog_puts"].samples
    assert (puts.name, puts.labels, puts.value) == ("photog_puts_total", {"service": "echo_async"}, 1)
    [ended] = families["photog_jobs_ended"].samples
    assert (ended.labels, ended.value) == ({"service": "echo_async", "code": "OK"}, 1)
