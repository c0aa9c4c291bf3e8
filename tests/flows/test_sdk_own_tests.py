"""The SDK's own unit tests, unmodified, against this program."""

import unittest

import pytest
from eas_prediction import test_queue_client as own

from services import echo_service

# It wants a model whose answer has two members; an engine that echoes cannot give that.
NEEDS_ANOTHER_MODEL = {"test_watch_with_inference_service_sync"}

NAMES = unittest.TestLoader().getTestCaseNames(own.QueueClientTestCase)


@pytest.mark.limit(300)
@pytest.mark.parametrize("name", [name for name in NAMES if name not in NEEDS_ANOTHER_MODEL])
def test_the_sdk_passes_its_own_test(start, monkeypatch, name):
    """Written for the cloud's service, passed here; each on a fresh server."""
    server = start(echo_service(milliseconds=0))
    monkeypatch.setattr(own, "QueueEndpoint", f"{server.host}:{server.port}")
    monkeypatch.setattr(own, "QueueName", "echo_async")
    monkeypatch.setattr(own, "SinkQueueName", "echo_async/sink")
    monkeypatch.setattr(own, "QueueToken", server.token)
    monkeypatch.setattr(own, "input_queue", None)
    monkeypatch.setattr(own, "sink_queue", None)
    outcome = unittest.TestResult()
    own.QueueClientTestCase(name).run(outcome)
    assert outcome.testsRun == 1
    problems = [text for _, text in outcome.errors + outcome.failures]
    assert problems == []
