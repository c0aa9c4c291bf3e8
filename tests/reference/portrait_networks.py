"""Writes fixtures/portrait_networks.safetensors: networks that portraits are finished with, and what
onnxruntime, numpy, OpenCV and Pillow make of pictures with them, from the picture to the picture.

    python tests/reference/portrait_networks.py

The networks have the operators and the form of inputs and outputs of the real ones (BiSeNet, Real-ESRGAN,
inswapper), with few channels and random weights. All tensors are u8 but `person` and `points` (f32): the `.onnx` files
as `<name>/model`, pictures as [rows, columns, 3], masks as [rows, columns]. What is done to pictures before
and after the networks stands in the functions below.
"""

import json
import os
import sys

import cv2
import numpy as np
import onnx
import onnxruntime
import PIL
from PIL import Image

from onnx_fixture import FIXTURES, run, safetensors
from onnx_networks import FLOOR, PICTURE, Net, bisenet, srvgg

OUT = FIXTURES / "portrait_networks.safetensors"
tensors = {}

TEMPLATE = np.array([[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655],
                     [70.7299, 92.2041]])


def keep(name, values, kind=np.uint8):
    values = np.ascontiguousarray(np.asarray(values))
    assert values.dtype == kind, name
    tensors[name] = values
    return values


def keep_model(name, net):
    data = net.model().SerializeToString()
    keep(f"{name}/model", np.frombuffer(data, np.uint8))
    return data


def picture(width, height, seed):
    """Smooth colours with a light oval, two dark discs and a bar in it."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width].astype(np.float64)
    waves = [np.sin(x / 17 + seed) * np.cos(y / 13), np.cos(x / 23 - y / 19), np.sin((x + y) / 29)]
    values = 110 + 60 * np.stack(waves, axis=-1)
    u, v = (x - width * 0.5) / width, (y - height * 0.52) / height
    values[(u / 0.3) ** 2 + (v / 0.4) ** 2 < 1] = [215, 170, 150]
    for side in [-1, 1]:
        values[((u - side * 0.12) / 0.05) ** 2 + ((v + 0.1) / 0.04) ** 2 < 1] = [50, 40, 35]
    values[(abs(u) < 0.1) & (abs(v - 0.2) < 0.02)] = [170, 60, 70]
    values = cv2.GaussianBlur(values, (0, 0), 1.5) + random.normal(0, 2, values.shape)
    return np.clip(np.round(values), 0, 255).astype(np.uint8)


def planes(values, mean, scale):
    """Pixels as the network takes them."""
    values = (values.astype(np.float32) - np.float32(mean)) * np.float32(scale)
    return np.ascontiguousarray(values.transpose(2, 0, 1)[None])


def pixels(output):
    """Channels of 0 to 1 as pixels."""
    values = np.clip(np.round(output[0].transpose(1, 2, 0) * 255), 0, 255)
    return values.astype(np.uint8)


def parsing():
    """The classes, of which every fourth row and column is kept, and a mask made smaller by Pillow."""
    # Of some names, this one's random weights see most classes.
    net = bisenet("parsing_9", (1, 3, 512, 512), None, 19)
    data = keep_model("parsing", net)
    seen = keep("parsing/picture", picture(150, 110, 3))
    seen = np.array(Image.fromarray(seen).resize((512, 512), Image.BILINEAR))
    mean = 255 * np.array([0.485, 0.456, 0.406])
    scale = 1 / (255 * np.array([0.229, 0.224, 0.225]))
    [scores] = run(data, ["out"], {"input": planes(seen, mean, scale)})
    classes = scores[0].argmax(0).astype(np.uint8)
    counts = np.bincount(classes.ravel(), minlength=19)
    print("pixels of each class:", counts.tolist())
    keep("parsing/classes", classes[::4, ::4])
    wanted = np.argsort(counts)[-2:]
    keep("parsing/wanted", wanted.astype(np.uint8))
    plane = (np.isin(classes, wanted) * 255).astype(np.uint8)
    keep("parsing/mask", np.array(Image.fromarray(plane).resize((150, 110), Image.BILINEAR)))
    # In a larger size OpenCV's interpolation is the reference's.
    small = keep("parsing/small", np.random.default_rng(5).integers(0, 19, (9, 12)).astype(np.uint8))
    plane = (np.isin(small, [1, 10, 12]) * 255).astype(np.uint8)
    keep("parsing/large_mask", cv2.resize(plane, (61, 50)))


def rrdb():
    """Real-ESRGAN: dense blocks whose sums are damped, enlarged by repetition before convolutions."""
    net = Net("rrdb", 17)
    first = net.conv(net.picture("input", (1, 3, 32, 32), PICTURE, 0, 1), 8)

    def damped(x, y):
        return net.node("Add", net.node("Mul", y, net.constant(np.array(0.2, np.float32))), x)

    def dense(x):
        values = [x]
        for _ in range(4):
            y = net.conv(net.concat(*values) if len(values) > 1 else x, 4)
            values.append(net.node("LeakyRelu", y, alpha=0.2))
        return damped(x, net.conv(net.concat(*values), 8))

    x = damped(first, dense(dense(dense(first))))
    x = net.node("Add", net.conv(x, 8), first)
    for _ in range(2):
        scales = net.constant(np.array([1, 1, 2, 2], np.float32))
        x = net.node("Resize", x, "", scales, cubic_coeff_a=-0.75, **FLOOR)
        x = net.node("LeakyRelu", net.conv(x, 8), alpha=0.2)
    x = net.conv(net.node("LeakyRelu", net.conv(x, 8), alpha=0.2), 3, gain=0.05)
    half = net.constant(np.array(0.5, np.float32))
    net.output(net.node("Add", x, half), "output")
    return net


def enlarging():
    """A picture in one tile, filled up to 64 x 32 by its outermost pixels; and one that a network of
    64 x 64 sees in tiles, which the same network for any size makes in one piece."""
    data = keep_model("rrdb", rrdb())
    seen = keep("rrdb/picture", picture(40, 30, 7))
    filled = np.pad(seen, ((0, 2), (0, 24), (0, 0)), mode="edge")
    [output] = run(data, ["output"], {"input": planes(filled, 0, 1 / 255)})
    keep("rrdb/enlarged", pixels(output)[: 4 * 30, : 4 * 40])

    keep_model("tiles", srvgg("tiles", (1, 3, 64, 64), None, 2))
    free = keep_model("whole", srvgg("tiles", (1, 3, 64, 64), PICTURE, 2))
    seen = keep("tiles/picture", picture(100, 70, 8))
    [output] = run(free, ["output"], {"input": planes(seen, 0, 1 / 255)})
    keep("tiles/enlarged", pixels(output))
    keep_model("triple", srvgg("triple", (1, 3, 16, 16), PICTURE, 3))


def inswapper():
    """A face and a person to a face: mirrored borders, normalisation from single operators whose scale and
    shift come from the person, enlarged by interpolation."""
    net = Net("inswapper", 11)
    x = net.picture("target", (1, 3, 128, 128), None, 0, 1)
    person = net.picture("source", (1, 512))

    def mirrored(x, by):
        return net.node("Pad", x, net.ints(0, 0, by, by, 0, 0, by, by), mode="reflect")

    def leaky(x):
        return net.node("LeakyRelu", x, alpha=0.2)

    def styled(x):
        centred = net.node("Sub", x, net.node("ReduceMean", x, axes=[2, 3], keepdims=1))
        square = net.node("ReduceMean", net.node("Mul", centred, centred), axes=[2, 3], keepdims=1)
        root = net.node("Sqrt", net.node("Add", square, net.scalar(1e-8)))
        even = net.node("Mul", centred, net.node("Div", net.scalar(1.0), root))
        channels = net.channels[x]
        style = net.node("Gemm", person, net.weight((2 * channels, 512)), net.weight((2 * channels,)),
                         alpha=1.0, beta=1.0, transB=1)
        style = net.node("Unsqueeze", net.node("Unsqueeze", style, axes=[2]), axes=[3])
        scale = net.node("Slice", style, net.ints(0), net.ints(channels), net.ints(1))
        shift = net.node("Slice", style, net.ints(channels), net.ints(2 * channels), net.ints(1))
        y = net.node("Add", net.node("Mul", even, scale), shift)
        net.channels[y] = channels
        return y

    x = leaky(net.conv(mirrored(x, 3), 4, 7, pads=[0] * 4))
    x = leaky(net.conv(x, 6, 3, 2))
    for _ in range(2):
        y = net.node("Relu", styled(net.conv(mirrored(x, 1), 6, pads=[0] * 4)))
        x = net.node("Add", x, styled(net.conv(mirrored(y, 1), 6, pads=[0] * 4)))
    x = net.node("Resize", x, net.floats(), net.floats(1, 1, 2, 2), mode="linear",
                 coordinate_transformation_mode="pytorch_half_pixel", nearest_mode="floor",
                 cubic_coeff_a=-0.75)
    x = net.node("Tanh", net.conv(mirrored(leaky(net.conv(x, 4)), 3), 3, 7, pads=[0] * 4, gain=0.3))
    x = net.node("Div", net.node("Add", x, net.scalar(1.0)), net.scalar(2.0))
    net.output(x, "output")
    return net


def matrix():
    """The matrix of 512 x 512 that the test adds to the file as its last weights."""
    row, column = np.mgrid[:512, :512]
    return (((7 * row + 13 * column + row * column) % 31 - 15) / 64).astype(np.float32)


def similarity(points, places):
    """Umeyama's similarity without mirroring, as a matrix of 2 x 3."""
    p, q = [values[:, 0] + 1j * values[:, 1] for values in (points, places)]
    a = np.sum(np.conj(p - p.mean()) * (q - q.mean())) / np.sum(np.abs(p - p.mean()) ** 2)
    b = q.mean() - a * p.mean()
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])


def fusion():
    """As InsightFace's inswapper pastes back, but with rounding where it cuts fractions off."""
    data = keep_model("inswapper", inswapper())
    seen = keep("inswapper/picture", picture(190, 160, 11))
    random = np.random.default_rng(12)
    person = random.standard_normal(512).astype(np.float32)
    keep("inswapper/person", person, np.float32)
    # A face that is turned and reaches over the left border.
    turn = 0.95 * np.exp(0.3j)
    there = (TEMPLATE[:, 0] - 56) + 1j * (TEMPLATE[:, 1] - 72)
    there = there * turn + (62 + 84j)
    points = np.stack([there.real, there.imag], axis=1) + random.normal(0, 0.7, (5, 2))
    points = keep("inswapper/points", points.astype(np.float32), np.float32).astype(np.float64)

    place = similarity(points, TEMPLATE + [8, 0])
    crop = cv2.warpAffine(seen, place, (128, 128), borderValue=0)
    unit = person.astype(np.float64) / np.linalg.norm(person.astype(np.float64))
    for name, latent in [("plain", unit), ("mapped", unit @ matrix().astype(np.float64))]:
        latent = (latent / np.linalg.norm(latent)).astype(np.float32)[None]
        [output] = run(data, ["output"], {"target": planes(crop, 0, 1 / 255), "source": latent})
        fake = pixels(output)
        back = cv2.invertAffineTransform(place)
        size = (seen.shape[1], seen.shape[0])
        fake = cv2.warpAffine(fake, back, size, borderValue=0)
        white = cv2.warpAffine(np.full((128, 128), 255, np.uint8), back, size, borderValue=0)
        mask = np.where(white > 20, 255, 0).astype(np.uint8)
        rows, columns = np.where(mask == 255)
        side = int(np.sqrt((rows.max() - rows.min()) * (columns.max() - columns.min())))
        k = max(side // 10, 10)
        mask = cv2.erode(mask, np.ones((k, k), np.uint8))
        reach = max(side // 20, 5)
        mask = cv2.GaussianBlur(mask, (2 * reach + 1, 2 * reach + 1), 0)
        share = mask[..., None].astype(np.float64) / 255
        fused = np.round(share * fake + (1 - share) * seen).astype(np.uint8)
        keep(f"inswapper/{name}", fused)
    keep("inswapper/mask", mask)


def main():
    parsing()
    enlarging()
    fusion()
    metadata = {
        "command": "python tests/reference/" + os.path.basename(sys.argv[0]),
        "versions": json.dumps({
            "onnxruntime": onnxruntime.__version__, "onnx": onnx.__version__, "numpy": np.__version__,
            "opencv": cv2.__version__, "pillow": PIL.__version__,
        }),
    }
    data = safetensors(tensors, metadata)
    OUT.write_bytes(data)
    print(f"{OUT.name}: {len(tensors)} tensors, {len(data)} bytes")


if __name__ == "__main__":
    main()
