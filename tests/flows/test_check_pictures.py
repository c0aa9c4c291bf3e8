"""Verdicts of `photog_check` on pictures that are really there."""

import base64
import http.server
import json
import threading

import pytest

from pictures import png, png_that_claims
from waiting import until

USABLE, UNREACHABLE, UNREADABLE, TOO_SMALL = 1, 2, 3, 4

# The limit of a request's pictures is far below this.
ENDLESS_BYTES = 1 << 30


class PictureServer(http.server.ThreadingHTTPServer):
    """Serves the given pages on loopback and remembers what was asked for."""

    daemon_threads = True

    def __init__(self, pages):
        super().__init__(("127.0.0.1", 0), Pages)
        self.pages = pages
        self.asked = []

    def url(self, path):
        return f"http://127.0.0.1:{self.server_port}{path}"


class Pages(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        if self.path == "/endless":
            return self.send_endless()
        if self.path == "/loop":
            return self.send_redirect("/loop")
        if self.path.startswith("/to?"):
            return self.send_redirect(self.path.removeprefix("/to?"))
        body = self.server.pages.get(self.path)
        self.send_response(404 if body is None else 200)
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        self.wfile.write(body or b"")

    def send_redirect(self, target):
        self.send_response(302)
        self.send_header("Location", target)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def send_endless(self):
        self.send_response(200)
        self.end_headers()
        block = bytes(1 << 20)
        try:
            for _ in range(ENDLESS_BYTES // len(block)):
                self.wfile.write(block)
        except OSError:
            self.server.asked.append("/endless was cut off")

    def log_message(self, *_arguments):
        """The tests read `asked` instead."""


@pytest.fixture(scope="module")
def pictures():
    """A loopback server with good and bad pictures."""
    good = png(513, 513)
    pages = {
        "/good.png": good,
        "/wide.png": png(600, 513),
        "/edge.png": png(512, 512),
        "/low.png": png(513, 512),
        "/narrow.png": png(512, 513),
        "/garbage.jpg": b"this is not a picture",
        "/empty.png": b"",
        "/cut.png": good[: len(good) // 2],
        "/animation.gif": b"GIF89a" + bytes(64),
        "/claims.png": png_that_claims(60_000, 60_000),
    }
    server = PictureServer(pages)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def open_photog(start_shared):
    """The built-in services with the guard against private networks off."""
    return start_shared(environment={"PHOTOG_ALLOW_PRIVATE_NETWORKS": "true"})


def check(server, images):
    """The verdicts on `images`, in order, after judging the frame around them."""
    _, request_id = server.client("photog_check").put(
        json.dumps({"request_id": 1, "images": images})
    )
    sink = server.client("photog_check/sink")
    [frame] = until(lambda: sink.get(request_id=request_id, timeout="1s"), 80)
    answer = json.loads(frame.data)
    assert (answer["code"], answer["message"]) == ("OK", "success")
    assert [verdict["url"] for verdict in answer["check_results"]] == answer["images"]
    assert answer["images"] == images
    return [verdict["code"] for verdict in answer["check_results"]]


def test_pictures_on_a_private_network_are_refused_by_default(start, pictures):
    """The guard is on unless configured otherwise, and the picture's host is never asked."""
    pictures.asked.clear()
    assert check(start(), [pictures.url("/good.png")]) == [UNREACHABLE]
    assert pictures.asked == []


@pytest.mark.parametrize(
    ("path", "verdict"),
    [
        ("/good.png", USABLE),
        ("/wide.png", USABLE),
        ("/edge.png", TOO_SMALL),
        ("/low.png", TOO_SMALL),
        ("/narrow.png", TOO_SMALL),
        ("/garbage.jpg", UNREADABLE),
        ("/empty.png", UNREADABLE),
        ("/cut.png", UNREADABLE),
        ("/animation.gif", UNREADABLE),
        ("/missing.png", UNREACHABLE),
    ],
)
def test_verdict_on_a_fetched_picture(open_photog, pictures, path, verdict):
    """Larger than 512 x 512 is usable, exactly that is not; what is no picture is unreadable."""
    assert check(open_photog, [pictures.url(path)]) == [verdict]


def test_verdicts_are_in_the_order_of_the_addresses(open_photog, pictures):
    """One verdict per address, in order; bad pictures do not spoil the call."""
    images = [pictures.url(path) for path in ("/garbage.jpg", "/good.png", "/none", "/edge.png")]
    assert check(open_photog, images) == [UNREADABLE, USABLE, UNREACHABLE, TOO_SMALL]


def test_a_picture_that_claims_to_be_huge_is_not_unpacked(open_photog, pictures):
    """A small file that names 3.6 thousand million pixels is refused before memory is taken."""
    before = open_photog.anonymous_memory()
    [verdict] = check(open_photog, [pictures.url("/claims.png")])
    assert verdict in (UNREACHABLE, UNREADABLE)
    assert open_photog.anonymous_memory() - before < 512 << 20


def test_a_picture_without_end_is_cut_off(open_photog, pictures):
    """A body over the size limit is not read to its end."""
    pictures.asked.clear()
    assert check(open_photog, [pictures.url("/endless")]) == [UNREACHABLE]
    until(lambda: "/endless was cut off" in pictures.asked)


def test_a_redirect_is_followed_and_a_loop_is_not(open_photog, pictures):
    """A few redirects are followed; one that never ends is unreachable."""
    assert check(open_photog, [pictures.url("/to?/to?/good.png")]) == [USABLE]
    pictures.asked.clear()
    assert check(open_photog, [pictures.url("/loop")]) == [UNREACHABLE]
    assert 1 < len(pictures.asked) <= 50


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/a.png"])
def test_a_redirect_out_of_http_is_not_followed(open_photog, pictures, target):
    """A redirect leads to other web addresses only, never to files of this machine."""
    assert check(open_photog, [pictures.url(f"/to?{target}")]) == [UNREACHABLE]


@pytest.mark.parametrize(
    ("content", "verdict"),
    [(png(513, 513), USABLE), (png(512, 512), TOO_SMALL), (b"not a picture", UNREADABLE)],
    ids=["large", "edge", "garbage"],
)
def test_a_data_url_needs_no_network(open_photog, content, verdict):
    """A `data:` URL carries the picture itself."""
    address = "data:image/png;base64," + base64.b64encode(content).decode()
    assert check(open_photog, [address]) == [verdict]


def test_a_data_url_is_judged_with_the_guard_on(start):
    """The guard concerns addresses, not pictures that came with the request."""
    address = "data:image/png;base64," + base64.b64encode(png(513, 513)).decode()
    assert check(start(), [address]) == [USABLE]
