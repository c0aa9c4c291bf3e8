"""Fixtures: the running program, and a time limit for every test."""

import os
import signal

import pytest

import samples
import webui
from photog_process import Photog
from services import echo_job, echo_service, queue_service

TEST_SECONDS = 90

_servers = []


def pytest_configure():
    if not os.access(os.environ.get("PHOTOG_BIN", ""), os.X_OK):
        raise pytest.UsageError(
            "PHOTOG_BIN has to name the program under test; tests/run.sh builds it and sets this"
        )
    # All traffic of the tests stays on this machine.
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "*"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.failed:
        for server in _servers:
            report.sections.append((f"photog on port {server.port}", server.stderr_tail()))
    return report


@pytest.fixture(autouse=True)
def time_limit(request):
    """Ends a test that waits for ever, also inside the SDK, which catches every `Exception`."""
    marker = request.node.get_closest_marker("limit")
    seconds = marker.args[0] if marker else TEST_SECONDS

    def give_up(_number, _frame):
        pytest.fail(f"not done within {seconds} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module")
def start_shared(tmp_path_factory):
    """Starts servers that live as long as the test module."""
    yield from _starter(tmp_path_factory)


@pytest.fixture
def start(tmp_path_factory):
    """Starts servers that live as long as the test: `start(service, ..., environment={...})`.

    With `models=True` the real networks lie in the data folder; without the test data the test is
    then skipped. With `pictures=True` the small networks that make pictures lie there.
    """
    yield from _starter(tmp_path_factory)


def _starter(tmp_path_factory):
    mine = []

    def start(*services, environment=None, models=False, pictures=False):
        server = Photog(tmp_path_factory.mktemp("photog"), services, environment)
        if models:
            samples.install_models(server.data_folder)
        if pictures:
            webui.install_networks(server.data_folder)
        mine.append(server)
        _servers.append(server)
        return server.start()

    yield start
    try:
        for server in mine:
            server.close()
    finally:
        for server in mine:
            if server.running:
                server.kill()
            _servers.remove(server)


@pytest.fixture
def photog(start):
    """A server with the service `queue_try`: two queues without a worker."""
    return start(queue_service())


@pytest.fixture
def queue(photog):
    """SDK client of the input queue of `queue_try`."""
    return photog.client("queue_try")


@pytest.fixture
def sink(photog):
    """SDK client of the sink of `queue_try`."""
    return photog.client("queue_try/sink")


@pytest.fixture(params=["echo_async", "echo_job"])
def echo(request, start):
    """A server with an echo engine, and the engine's service name: once `Async`, once a Scalable Job."""
    service = echo_service() if request.param == "echo_async" else echo_job()
    return start(service), request.param
