"""Small pictures made without a picture library."""

import struct
import zlib


def png(width, height):
    """An RGB PNG of that size with a soft gradient; `width` and `height` in pixels."""
    row = b"\x00" + bytes(value for x in range(width) for value in (x % 256, 96, 160))
    return _assemble(width, height, zlib.compress(row * height))


def png_that_claims(width, height):
    """A PNG whose header names that size while there are hardly any pixels in it."""
    return _assemble(width, height, zlib.compress(b"\x00" * 16))


def _assemble(width, height, pixels):
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    signature = b"\x89PNG\r\n\x1a\n"
    return signature + _chunk(b"IHDR", header) + _chunk(b"IDAT", pixels) + _chunk(b"IEND", b"")


def _chunk(kind, content):
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)
