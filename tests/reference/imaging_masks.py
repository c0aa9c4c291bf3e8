"""Writes fixtures/imaging_masks.safetensors: edges, blurs, other sizes, fillings,
colours and texts of pictures.

    python tests/reference/imaging_masks.py

OpenCV and Pillow make every expected value; this script only calls them in the order that the web UI does.
Pillow has to be older than 13: the web UI's gives pictures their new width first and their new height then,
and from version 13 on the order depends on the sizes, which changes what is rounded.
All tensors are u8, pictures as [rows, columns, 3] and masks as [rows, columns]. A name says what was done,
to what, with which numbers: `canny/wide/100_200`, `gauss/small_mask/4_1.5`, `fit/wide/2_40x64`. The
metadata hold the versions and, as JSON, the texts that were written into the `file/...` tensors.
"""

import io
import json
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import PIL
from PIL import Image, ImageFilter, ImageOps, PngImagePlugin
from safetensors.numpy import save_file

OUT = Path(__file__).resolve().parent / "fixtures" / "imaging_masks.safetensors"
tensors = {}
assert int(PIL.__version__.split(".")[0]) < 13, "Pillow 13 resizes in another order; install Pillow 12"


def keep(name, values):
    values = np.ascontiguousarray(np.asarray(values))
    assert values.dtype == np.uint8, name
    tensors[name] = values
    return values


def picture(width, height, seed):
    """Slopes of three colours with a disc, a bar and noise on them."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width].astype(np.float64)
    slopes = [255 * x / max(width, 2), 255 * y / max(height, 2), 128 + 90 * np.sin(x / 5) * np.cos(y / 7)]
    values = np.stack(slopes, axis=-1)
    disc = (x - width * 0.6) ** 2 + (y - height * 0.45) ** 2 < (min(width, height) * 0.28) ** 2
    values[disc] = [200, 60, 90]
    values[(np.abs(x - y - 3) < 2)] = [20, 30, 220]
    values += random.normal(0, 9, values.shape)
    return np.clip(values, 0, 255).astype(np.uint8)


def mask(width, height, seed):
    """A box and a disc, with a grey edge and a few loose pixels."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width].astype(np.float64)
    values = np.zeros((height, width))
    values[height // 3:height // 3 + 9, 5:width // 2] = 255
    values[(x - width * 0.7) ** 2 + (y - height * 0.55) ** 2 < (min(width, height) * 0.24) ** 2] = 255
    values[height // 3 - 1, 5:width // 2] = 97
    values[random.random(values.shape) < 0.004] = 180
    return values.astype(np.uint8)


PICTURES = {
    "small": picture(37, 29, 1), "wide": picture(64, 48, 2),
    "dot": picture(1, 1, 3), "line": picture(9, 1, 4), "column": picture(1, 8, 5), "two": picture(2, 3, 6),
}
MASKS = {"small_mask": mask(37, 29, 7), "wide_mask": mask(64, 48, 8), "row_mask": mask(19, 1, 9) | 40}

for name, values in [*PICTURES.items(), *MASKS.items()]:
    keep(name, values)


def canny():
    for name in PICTURES:
        for low, high in [(100, 200), (20.7, 61.2), (300, 90)]:
            if name in ("small", "wide") or (low, high) == (20.7, 61.2):
                keep(f"canny/{name}/{low}_{high}", cv2.Canny(PICTURES[name], low, high))
    # Few grey levels, so that many neighbours are equally steep.
    flat = keep("flat", PICTURES["small"] // 64 * 64)
    keep("canny/flat/50_150", cv2.Canny(flat, 50, 150))


def web_ui_blur(values, sigma_x, sigma_y):
    for sigma, across in [(sigma_x, True), (sigma_y, False)]:
        if sigma > 0:
            taps = 2 * int(2.5 * sigma + 0.5) + 1
            values = cv2.GaussianBlur(values, (taps, 1) if across else (1, taps), sigma)
    return values


def blurs():
    for x, y in [(4, 4), (8, 8), (0.3, 1), (1.5, 0), (33, 20), (64, 100)]:
        keep(f"gauss/small_mask/{x}_{y}", web_ui_blur(MASKS["small_mask"], x, y))
    keep("gauss/wide_mask/4_12.25", web_ui_blur(MASKS["wide_mask"], 4, 12.25))
    keep("gauss/row_mask/2_2", web_ui_blur(MASKS["row_mask"], 2, 2))
    for size in [4, 15, 17, 32, 101]:
        keep(f"box/small_mask/{size}", cv2.blur(MASKS["small_mask"], (size, size)))


def morphology():
    sides = {"small_mask": [2, 3, 4, 9, 16, 64], "wide_mask": [7, 32], "row_mask": [3, 4, 32]}
    for name, side in [(name, side) for name in sides for side in sides[name]]:
        kernel = np.ones((side, side), np.uint8)
        keep(f"dilate/{name}/{side}", cv2.dilate(MASKS[name], kernel))
        keep(f"erode/{name}/{side}", cv2.erode(MASKS[name], kernel))
        keep(f"close/{name}/{side}", cv2.morphologyEx(MASKS[name], cv2.MORPH_CLOSE, kernel))


def resizes():
    for kernel in ["lanczos", "bicubic"]:
        way = getattr(Image.Resampling, kernel.upper())
        for name, size in [("small", (20, 33)), ("small", (41, 11)), ("column", (3, 5)), ("dot", (3, 2))]:
            made = Image.fromarray(PICTURES[name]).resize(size, way)
            keep(f"{kernel}/{name}/{size[0]}x{size[1]}", made)
    for size in [(8, 6), (5, 7), (21, 50)]:
        made = Image.fromarray(MASKS["wide_mask"]).convert("RGB").resize(size)
        share = np.array(made, np.float32)[:, :, 0] / 255
        keep(f"latent/wide_mask/{size[0]}x{size[1]}", np.around(share).astype(np.uint8))
        keep(f"latent_levels/wide_mask/{size[0]}x{size[1]}", np.array(made)[:, :, 0])


def fit(source, mode, width, height):
    """`source` in a frame of this size: 0 stretched, 1 cut, 2 with its outermost lines continued."""
    lanczos = Image.Resampling.LANCZOS
    if mode == 0:
        return source.resize((width, height), lanczos)
    wider = width / height > source.width / source.height
    by_height = (source.width * height // source.height, height)
    by_width = (width, source.height * width // source.width)
    scaled = source.resize(by_width if wider == (mode == 1) else by_height, lanczos)
    frame = Image.new("RGB", (width, height))
    left, top = width // 2 - scaled.width // 2, height // 2 - scaled.height // 2
    frame.paste(scaled, (left, top))
    if mode == 2:
        # The web UI leaves an odd line at the bottom or right black; here it belongs to the border.
        low, right = top + scaled.height, left + scaled.width
        for line, box in [
            ((0, 0, scaled.width, 0), (0, 0, width, top)),
            ((0, scaled.height, scaled.width, scaled.height), (0, low, width, height)),
            ((0, 0, 0, scaled.height), (0, 0, left, height)),
            ((scaled.width, 0, scaled.width, scaled.height), (right, 0, width, height)),
        ]:
            size = (box[2] - box[0], box[3] - box[1])
            if min(size) > 0 and size != frame.size:
                frame.paste(scaled.resize(size, box=line), box)
    return frame


def fits():
    for mode in range(3):
        for name, size in [("small", (40, 24)), ("small", (21, 36)), ("column", (12, 9)), ("two", (5, 14))]:
            keep(f"fit/{name}/{mode}_{size[0]}x{size[1]}", fit(Image.fromarray(PICTURES[name]), mode, *size))
    for mode, size in [(1, (30, 40)), (2, (25, 37))]:
        made = fit(Image.fromarray(MASKS["small_mask"]), mode, *size).convert("L")
        keep(f"fit_mask/small_mask/{mode}_{size[0]}x{size[1]}", made)


def without(source, hidden):
    """The premultiplied picture that is left where nothing is hidden."""
    left = Image.new("RGBa", source.size)
    left.paste(source.convert("RGBA").convert("RGBa"), mask=ImageOps.invert(hidden))
    return left


def filled(source, hidden):
    around = without(source, hidden)
    made = Image.new("RGBA", source.size)
    for radius, times in {256: 1, 64: 1, 16: 2, 4: 4, 2: 2, 0: 1}.items():
        layer = around.filter(ImageFilter.GaussianBlur(radius)).convert("RGBA")
        for _ in range(times):
            made.alpha_composite(layer)
    return made.convert("RGB")


def overlaid(source, new, hidden):
    made = new.convert("RGBA")
    made.alpha_composite(without(source, hidden).convert("RGBA"))
    return made.convert("RGB")


def compositions():
    for name in ["small", "wide"]:
        source = Image.fromarray(PICTURES[name])
        blurred = web_ui_blur(MASKS[f"{name}_mask"], 4, 4)
        keep(f"fill/{name}/4", filled(source, Image.fromarray(blurred)))
    keep("fill/small/0", filled(Image.fromarray(PICTURES["small"]), Image.fromarray(MASKS["small_mask"])))
    source = Image.fromarray(PICTURES["wide"])
    blurred = web_ui_blur(MASKS["wide_mask"], 3, 3)
    doubled = np.clip(blurred.astype(np.float32) * 2, 0, 255).astype(np.uint8)
    keep("opacity/wide_mask/3", 255 - doubled)
    new = ImageOps.mirror(source)
    keep("overlay/wide/3", overlaid(source, new, Image.fromarray(doubled)))
    # A generated crop of another size and shape comes back to a place of the picture.
    left, top, width, height = 11, 7, 40, 33
    box = np.zeros((48, 64), np.uint8)
    box[10:30, 15:44] = 200
    generated = Image.fromarray(PICTURES["small"])
    base = Image.new("RGB", source.size)
    base.paste(fit(generated, 1, width, height), (left, top))
    keep("box", box)
    keep(f"paste/wide/{left}_{top}_{width}_{height}", overlaid(source, base, Image.fromarray(box)))
    colours = Image.fromarray(PICTURES["small"])
    keep("grey/small", colours.convert("L"))


def lightness(values):
    return cv2.cvtColor(values, cv2.COLOR_RGB2LAB)


def statistics(values, part=None):
    """Mean and deviation of each channel, rounded to two decimals."""
    return [np.around(numbers.ravel(), 2) for numbers in cv2.meanStdDev(lightness(values), mask=part)]


def colors():
    levels = np.arange(16, dtype=np.uint8) * 17
    every = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(64, 64, 3)
    keep("colors/lab", lightness(every))
    keep("colors/rgb", cv2.cvtColor(every, cv2.COLOR_LAB2RGB))
    flat = tensors["flat"]
    for name, values, part in [
        ("small/whole", PICTURES["small"], None),
        ("small/part", PICTURES["small"], (MASKS["small_mask"] > 127).astype(np.uint8)),
        ("flat/whole", flat, None),
    ]:
        hundredths = np.rint(np.concatenate(statistics(values, part)) * 100).astype("<u2")
        keep(f"statistics/{name}", hundredths.view(np.uint8))
    dark = keep("dark", (picture(37, 29, 10) * [0.5, 0.3, 0.25] + [5, 20, 40]).astype(np.uint8))
    for name, source, like, example in [
        ("small", PICTURES["small"], "dark", dark), ("dark", dark, "small", PICTURES["small"]),
        ("dark", dark, "wide", PICTURES["wide"]), ("flat", flat, "dark", dark),
    ]:
        (mean, deviation), (new_mean, new_deviation) = statistics(source), statistics(example)
        moved = np.clip((lightness(source) - mean) * (new_deviation / deviation) + new_mean, 0, 255)
        made = cv2.cvtColor(cv2.convertScaleAbs(moved), cv2.COLOR_LAB2RGB)
        keep(f"transfer/{name}/{like}", made)


def credentials():
    """What a packet of photog says to an XML parser, and files that Pillow puts it into."""
    packet = (OUT.parent / "credentials.xmp").read_bytes()
    words = {element.tag.split("}")[1]: element.text for element in ElementTree.fromstring(packet).iter()}
    model = '"café" <写真> & ]]> \ufffd'
    assert words["CreatorTool"] == "photog 0.1.0"
    assert words["CreateDate"] == "2025-03-01T12:00:00Z"
    assert words["DigitalSourceType"].endswith("/compositeWithTrainedAlgorithmicMedia")
    assert words["AISystemUsed"] == model
    assert words["li"] == f"Made by photog 0.1.0 with the model {model}, seed -42"
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", packet.decode())
    for name, kind, more in [
        ("plain_jpeg", "JPEG", {}), ("xmp_jpeg", "JPEG", {"xmp": packet}), ("xmp_png", "PNG", {"pnginfo": info}),
    ]:
        file = io.BytesIO()
        Image.fromarray(PICTURES["two"]).save(file, kind, **more)
        assert Image.open(file).info.get("xmp", packet) == packet
        keep(f"file/{name}", np.frombuffer(file.getvalue(), np.uint8))


def texts():
    items = {
        "parameters": "a café, 1girl\nNegative prompt: blurry\nSteps: 20, Sampler: Euler a, Seed: 1",
        "Software": "photog ✓ 写真",
        "Comment": "long " * 300,
        "Raw": "packed, ünicode → " * 40,
    }
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", items["parameters"])
    info.add_text("Software", items["Software"])
    info.add_text("Comment", items["Comment"], zip=True)
    info.add_itxt("Raw", items["Raw"], lang="de", tkey="Roh", zip=True)
    file = io.BytesIO()
    Image.fromarray(PICTURES["two"]).save(file, "PNG", pnginfo=info)
    keep("file/png", np.frombuffer(file.getvalue(), np.uint8))

    exif = Image.Exif()
    exif[0x0131] = "a camera"
    exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + items["Software"].encode("utf-16-be")
    for kind in ["JPEG", "PNG"]:
        file = io.BytesIO()
        Image.fromarray(PICTURES["two"]).save(file, kind, exif=exif)
        keep(f"file/exif_{kind.lower()}", np.frombuffer(file.getvalue(), np.uint8))
    return items


def main():
    for make in [canny, blurs, morphology, resizes, fits, compositions, colors, credentials]:
        make()
    items = texts()
    metadata = {
        "made_by": "tests/reference/imaging_masks.py",
        "versions": f"opencv {cv2.__version__}, Pillow {PIL.__version__}, numpy {np.__version__}",
        "texts": json.dumps(items),
    }
    save_file(tensors, OUT, metadata)
    print(f"{OUT.name}: {len(tensors)} tensors, {OUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
