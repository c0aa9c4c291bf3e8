"""Verdicts of `photog_check` on pictures that are really there."""

import base64

import pytest

from checking import NO_FACE, TOO_SMALL, UNREACHABLE, UNREADABLE, check, codes
from picture_server import serving
from pictures import png, png_that_claims
from waiting import until

# Nobody is on these pictures, so this is what follows once file and size are found to be in order.
IN_ORDER = NO_FACE


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
    with serving(pages) as server:
        yield server


@pytest.fixture(scope="module")
def open_photog(start_shared):
    """The built-in services with the guard against private networks off."""
    return start_shared(environment={"PHOTOG_ALLOW_PRIVATE_NETWORKS": "true"}, models=True)


@pytest.fixture
def guarded(start):
    """The same with the guard on, as it is unless configured otherwise."""
    return start(models=True)


def verdicts(server, images):
    """The verdicts on `images`, in order."""
    return codes(check(server, images))


def test_pictures_on_a_private_network_are_refused_by_default(guarded, pictures):
    """The guard is on unless configured otherwise, and the picture's host is never asked."""
    pictures.asked.clear()
    assert verdicts(guarded, [pictures.url("/good.png")]) == [UNREACHABLE]
    assert pictures.asked == []


@pytest.mark.parametrize(
    ("path", "verdict"),
    [
        ("/good.png", IN_ORDER),
        ("/wide.png", IN_ORDER),
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
    """Larger than 512 x 512 is in order, exactly that is not; what is no picture is unreadable."""
    assert verdicts(open_photog, [pictures.url(path)]) == [verdict]


def test_verdicts_are_in_the_order_of_the_addresses(open_photog, pictures):
    """One verdict per address, in order; bad pictures do not spoil the call."""
    images = [pictures.url(path) for path in ("/garbage.jpg", "/good.png", "/none", "/edge.png")]
    assert verdicts(open_photog, images) == [UNREADABLE, IN_ORDER, UNREACHABLE, TOO_SMALL]


def test_a_picture_that_claims_to_be_huge_is_not_unpacked(open_photog, pictures):
    """A small file that names 3.6 thousand million pixels is refused before memory is taken."""
    before = open_photog.anonymous_memory()
    [verdict] = verdicts(open_photog, [pictures.url("/claims.png")])
    assert verdict in (UNREACHABLE, UNREADABLE)
    assert open_photog.anonymous_memory() - before < 512 << 20


def test_a_picture_without_end_is_cut_off(open_photog, pictures):
    """A body over the size limit is not read to its end."""
    pictures.asked.clear()
    assert verdicts(open_photog, [pictures.url("/endless")]) == [UNREACHABLE]
    until(lambda: "/endless was cut off" in pictures.asked)


def test_a_redirect_is_followed_and_a_loop_is_not(open_photog, pictures):
    """A few redirects are followed; one that never ends is unreachable."""
    assert verdicts(open_photog, [pictures.url("/to?/to?/good.png")]) == [IN_ORDER]
    pictures.asked.clear()
    assert verdicts(open_photog, [pictures.url("/loop")]) == [UNREACHABLE]
    assert 1 < len(pictures.asked) <= 50


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/a.png"])
def test_a_redirect_out_of_http_is_not_followed(open_photog, pictures, target):
    """A redirect leads to other web addresses only, never to files of this machine."""
    assert verdicts(open_photog, [pictures.url(f"/to?{target}")]) == [UNREACHABLE]


@pytest.mark.parametrize(
    ("content", "verdict"),
    [(png(513, 513), IN_ORDER), (png(512, 512), TOO_SMALL), (b"not a picture", UNREADABLE)],
    ids=["large", "edge", "garbage"],
)
def test_a_data_url_needs_no_network(open_photog, content, verdict):
    """A `data:` URL carries the picture itself."""
    address = "data:image/png;base64," + base64.b64encode(content).decode()
    assert verdicts(open_photog, [address]) == [verdict]


def test_a_data_url_is_judged_with_the_guard_on(guarded):
    """The guard concerns addresses, not pictures that came with the request."""
    address = "data:image/png;base64," + base64.b64encode(png(513, 513)).decode()
    assert verdicts(guarded, [address]) == [IN_ORDER]
