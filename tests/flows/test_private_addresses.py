"""Picture addresses that lead into private networks or to this machine's files."""

import contextlib
import select
import socket

import pytest

from checking import NO_FACE, UNREACHABLE, check
from pictures import png

CHECK_WITH_MOUNT = {
    "metadata": {"name": "photog_check", "type": "Async", "instance": 1, "photog_role": "check"},
    "queue": {"max_delivery": 1},
    "storage": [
        {"mount_path": "/photog_oss", "oss": {"path": "oss://examplebucket/", "readOnly": False}}
    ],
}


@pytest.fixture
def trap():
    """A listening socket on loopback that nobody may ever connect to."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


@pytest.fixture
def trap_6():
    """The same on `::1`; `None` on a machine without IPv6."""
    with contextlib.ExitStack() as stack:
        try:
            listener = stack.enter_context(socket.create_server(("::1", 0), family=socket.AF_INET6))
        except OSError:
            listener = None
        yield listener


@pytest.fixture
def photog(start):
    """The built-in services, with the networks without which no picture is asked for."""
    return start(models=True)


def verdicts(server, images):
    """The verdict on each address."""
    answer = check(server, images)
    return {verdict["url"]: verdict["code"] for verdict in answer["check_results"]}


def untouched(listener):
    """True when nobody is waiting to be accepted."""
    return select.select([listener], [], [], 0)[0] == []


def test_every_spelling_of_loopback_is_refused_without_a_connection(photog, trap, trap_6):
    """Names, decimal, octal, hexadecimal, short and IPv6 forms: verdict 2 and no connection."""
    port = trap.getsockname()[1]
    hosts = [
        "127.0.0.1", "127.0.0.2", "127.1", "127.0.0.1.", "localhost", "LOCALHOST", "localhost.",
        "2130706433", "0x7f000001", "0x7f.0.0.1", "017700000001", "0177.0.0.1", "0.0.0.0", "0",
        "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[0:0:0:0:0:ffff:127.0.0.1]", "[::127.0.0.1]",
        "user@127.0.0.1", "example.com@127.0.0.1", "１２７.0.0.1", "127。0。0。1", "%31%32%37.0.0.1",
    ]  # fmt: skip
    images = [f"http://{host}:{port}/a.png" for host in hosts]
    images += [f"https://127.0.0.1:{port}/a.png", f"HTTP://127.0.0.1:{port}/a.png"]
    images += [f"http:\\\\127.0.0.1:{port}\\a.png", f"//127.0.0.1:{port}/a.png"]
    if trap_6:
        port_6 = trap_6.getsockname()[1]
        images += [f"http://[::1]:{port_6}/a.png", f"http://[0:0:0:0:0:0:0:1]:{port_6}/a.png"]
        images += [f"http://[::]:{port_6}/a.png"]
    found = verdicts(photog, images)
    assert {image: code for image, code in found.items() if code != UNREACHABLE} == {}
    assert untouched(trap)
    assert trap_6 is None or untouched(trap_6)


def test_private_networks_are_refused(photog):
    """Private, link-local, shared, multicast and reserved ranges, and the cloud's metadata host."""
    hosts = [
        "10.0.0.1", "10.255.255.254", "172.16.0.1", "172.31.255.254", "192.168.0.1", "100.64.0.1",
        "169.254.169.254", "2852039166", "0xa9fea9fe", "[::ffff:169.254.169.254]",
        "[::ffff:10.0.0.1]", "[64:ff9b::10.0.0.1]", "[2002:0a00:0001::1]",
        "[fc00::1]", "[fd12:3456::1]", "[fe80::1]", "[fec0::1]", "[ff02::1]",
        "0.1.2.3", "192.0.0.1", "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1",
        "224.0.0.1", "240.0.0.1", "255.255.255.255", "100.100.100.200",
    ]  # fmt: skip
    images = [f"http://{host}/latest/meta-data/" for host in hosts]
    found = verdicts(photog, images)
    assert {image: code for image, code in found.items() if code != UNREACHABLE} == {}


def test_files_of_this_machine_are_not_read(photog, tmp_path):
    """Paths outside the mounts are unreachable: never opened, not even judged as unreadable."""
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"no picture")
    images = [
        "/etc/passwd", "file:///etc/passwd", "file://localhost/etc/passwd", "../../../../etc/passwd",
        "/photog_oss/../../../../../../etc/passwd", "/photog_oss//etc/passwd", "photog_oss/../x.png",
        "oss://examplebucket/../../../../../etc/passwd", "oss://another-bucket/a.png", "oss://",
        str(secret), f"file://{secret}", f"/photog_oss/../{secret}",
        "ftp://127.0.0.1/a.png", "gopher://127.0.0.1/a.png", "dict://127.0.0.1:11211/", "jar:file:///x",
        "", " ", "http://", "https:///a.png", "http://:80/", "http://[::1", "http://a b/", "\x00",
    ]  # fmt: skip
    found = verdicts(photog, images)
    assert {image: code for image, code in found.items() if code != UNREACHABLE} == {}


def test_files_below_the_mount_are_read_and_links_out_of_it_are_not(start):
    """A picture below the mount is judged (nobody is on it); a link does not open what lies outside."""
    server = start(CHECK_WITH_MOUNT, models=True)
    mount = server.folder / "data" / "examplebucket"
    mount.mkdir(parents=True, exist_ok=True)
    (mount / "good.png").write_bytes(png(513, 513))
    outside = server.folder / "outside"
    outside.mkdir()
    (outside / "good.png").write_bytes(png(513, 513))
    (mount / "way-out").symlink_to(outside)
    (mount / "link.png").symlink_to(outside / "good.png")
    inside = ["/photog_oss/good.png", "oss://examplebucket/good.png"]
    leading_out = [
        "/photog_oss/way-out/good.png", "oss://examplebucket/way-out/good.png",
        "/photog_oss/link.png", "/photog_oss/../outside/good.png",
        "oss://examplebucket/../../outside/good.png", f"/photog_oss/{outside}/good.png",
        "/photog_oss/missing.png", "/photog_oss/", "/photog_oss",
    ]  # fmt: skip
    found = verdicts(server, inside + leading_out)
    assert {address: found[address] for address in inside} == dict.fromkeys(inside, NO_FACE)
    assert {address: found[address] for address in leading_out} == dict.fromkeys(
        leading_out, UNREACHABLE
    )
