"""The shared test data: real networks, real photos, and pictures made from these."""

import io
import os
import pathlib
import shutil
import struct
import zlib

import pytest
from PIL import Image, ImageFilter

_ROOT = pathlib.Path(__file__).resolve().parents[2]
# As in the tests of the library: a relative path starts at the root of the checkout.
_DATA = _ROOT / (os.environ.get("PHOTOG_TEST_DATA") or "../shared/data")

# Where each network lies in the test data; photog knows it by its file name.
_MODELS = [
    "models/yunet_n/original/yunet_n_dynamic.onnx",
    "models/mobilefacenet/mobilefacenet.onnx",
    "models/lightqnet_050/lightqnet_050.onnx",
]
_MODEL_FOLDER = "webui/models/photog"

_ORIENTATION = 0x0112
# How a picture has to be stored so that it is upright once the orientation is applied.
_STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def need_data():
    """Skips the test, with the reason, on a machine without the test data."""
    if not (_DATA / "manifest.json").is_file():
        pytest.skip(f"no test data in {_DATA}; PHOTOG_TEST_DATA names its folder")


def install_models(data_folder):
    """Puts the real networks where photog looks for them."""
    need_data()
    folder = data_folder / _MODEL_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for model in _MODELS:
        shutil.copy(_DATA / model, folder)


def photo_bytes(name):
    """The untouched file of a photo such as `persons/p02/04.jpg`."""
    need_data()
    return (_DATA / "images" / name).read_bytes()


def photo(name):
    """The same as an RGB picture, without a colour profile that other forms would inherit."""
    picture = Image.open(io.BytesIO(photo_bytes(name))).convert("RGB")
    picture.info.clear()
    return picture


def jpeg(picture, **options):
    """The JPEG file of a picture; `options` are those of Pillow."""
    return _file(picture, "JPEG", **({"quality": 92} | options))


def png(picture, **options):
    """The PNG file of a picture."""
    return _file(picture, "PNG", **options)


def _file(picture, form, **options):
    file = io.BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()


def with_orientation(picture, orientation):
    """A JPEG that is stored turned or mirrored, and says so: upright once that is applied."""
    turn = _STORED[orientation]
    exif = Image.Exif()
    exif[_ORIENTATION] = orientation
    return jpeg(picture if turn is None else picture.transpose(turn), exif=exif)


def png_16_bit(picture):
    """An RGB PNG of 16 bits a channel, which Pillow does not write."""
    width, height = picture.size
    values = picture.tobytes()
    wide = bytearray(2 * len(values))
    # The same byte twice is the 8-bit value times 257: white stays white.
    wide[0::2] = wide[1::2] = values
    row = 6 * width
    rows = b"".join(b"\x00" + wide[start : start + row] for start in range(0, len(wide), row))
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows, 1)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    )


def with_transparent_rim(picture):
    """An RGBA picture whose face is opaque and whose rim is not there at all."""
    alpha = Image.new("L", picture.size, 0)
    width, height = picture.size
    alpha.paste(255, (width // 16, height // 16, width - width // 16, height - height // 16))
    whole = picture.copy()
    whole.putalpha(alpha)
    return whole


def on_canvas(picture, size, share):
    """The picture, `share` as wide as a light grey canvas, in the middle of it."""
    canvas = Image.new("RGB", size, (208, 208, 208))
    width = round(size[0] * share)
    small = picture.resize((width, round(picture.height * width / picture.width)))
    canvas.paste(small, ((size[0] - small.width) // 2, (size[1] - small.height) // 2))
    return canvas


def blurred(picture):
    """As out of focus as no training photo may be: a radius of 2.5 % of the width."""
    return picture.filter(ImageFilter.GaussianBlur(picture.width * 0.025))


def darkened(picture):
    """As dark as a photo without any light."""
    return picture.point(lambda value: round(value * 0.06))
