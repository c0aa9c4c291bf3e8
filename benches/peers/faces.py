"""The face benchmark with onnxruntime and OpenCV, beside which photog's own stands.

    python benches/peers/faces.py --data ../shared/data --threads 2

Times, in milliseconds, on the same model files: the detector at 640 pixels, the embedding and the quality
of one 112 x 112 crop, and the whole check of a 12-megapixel JPEG (decode, detect, align, embed, score).
Its steps are those of photog's check; where OpenCV has a faster way that serves the same purpose, that is
taken: pictures are halved by averaging as long as that leads towards the size wanted, and only the
surroundings of a face are shrunk before the alignment.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import onnxruntime

DETECTOR = "models/yunet_n/original/yunet_n_dynamic.onnx"
EMBEDDER = "models/mobilefacenet/mobilefacenet.onnx"
QUALITY = "models/lightqnet_050/lightqnet_050.onnx"
# A photo of one person from a phone, 3024 x 4032, and the part of it that becomes 4000 x 3000.
PORTRAIT = "images/persons/p01/04.jpg"
PORTRAIT_ROWS = (800, 3068)
PHOTO_SIZE = (4000, 3000)
PHOTO_QUALITY = 90

LONG_SIDE = 640
SCORE_MIN = 0.6
OVERLAP_MAX = 0.3
# Where eyes, nose and mouth corners are put in a crop of 112 x 112.
TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
CROP = 112
# Mean and spread of the embedding's input, in the order red, green, blue, on 0..255.
MEAN = np.array([0.485, 0.456, 0.406], np.float32) * 255
SPREAD = np.array([0.229, 0.224, 0.225], np.float32) * 255


class Models:
    """The three networks."""

    def __init__(self, data, threads, spin):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        # Threads that wait in a loop take the cores from the steps between the networks.
        options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spin else "0")
        # Unused weights of a file are no concern of the one who runs it.
        options.log_severity_level = 3

        def load(file):
            return onnxruntime.InferenceSession(
                str(data / file), options, providers=["CPUExecutionProvider"]
            )

        self.detector, self.embedder, self.quality = load(DETECTOR), load(EMBEDDER), load(QUALITY)
        self.outputs = [one.name for one in self.detector.get_outputs()]

    def detect(self, picture):
        """The faces of a BGR picture as rows: score, box, five points; in its pixels, best first."""
        values, scale = detector_input(picture)
        named = dict(zip(self.outputs, self.detector.run(None, {"input": values})))
        faces = decode(named, values.shape[3])
        faces[:, 1:] *= np.tile(scale, 7)
        return faces

    def embed(self, crop):
        """The embedding of a BGR crop, of length 1."""
        vector = self.embedder.run(None, {"input": embedder_input(crop)})[0][0]
        return vector / np.linalg.norm(vector)

    def score(self, crop):
        """The quality of a BGR crop, 0 to 1."""
        return float(self.quality.run(None, {"input": quality_input(crop)})[0][0, 0])

    def check(self, path):
        """Everything that is measured about the largest face of a photo; none without a face."""
        picture = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
        faces = self.detect(picture)
        if not len(faces):
            return None
        face = max(faces, key=lambda row: (row[3] - row[1]) * (row[4] - row[2]))
        crop = align(picture, face[5:].reshape(5, 2))
        sharpness = cv2.Laplacian(cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY), cv2.CV_32F).var()
        return self.embed(crop), self.score(crop), float(sharpness), len(faces)


def detector_input(picture):
    """The picture at 640 pixels, black up to multiples of 32, and picture pixels per pixel of it."""
    height, width = picture.shape[:2]
    shrink = min(1, LONG_SIDE / max(height, width))
    size = round(width * shrink), round(height * shrink)
    while picture.shape[0] >= 2 * size[1] and picture.shape[1] >= 2 * size[0]:
        half = picture.shape[1] // 2, picture.shape[0] // 2
        picture = cv2.resize(picture, half, interpolation=cv2.INTER_AREA)
    if size != picture.shape[1::-1]:
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    right, below = -size[0] % 32, -size[1] % 32
    if right or below:
        picture = cv2.copyMakeBorder(picture, 0, below, 0, right, cv2.BORDER_CONSTANT)
    values = np.ascontiguousarray(picture.transpose(2, 0, 1), np.float32)[None]
    return values, np.array([width / size[0], height / size[1]])


def decode(named, width):
    """The faces in the detector's outputs for an input of this width."""
    found = []
    for stride in [8, 16, 32]:
        cls, obj, bbox, kps = (named[f"{kind}_{stride}"][0] for kind in ("cls", "obj", "bbox", "kps"))
        score = np.sqrt(cls[:, 0] * obj[:, 0])
        keep = np.flatnonzero(score >= SCORE_MIN)
        row, column = np.divmod(keep, width // stride)
        cell = np.stack([column, row], 1)
        centre = (bbox[keep, :2] + cell) * stride
        half = np.exp(bbox[keep, 2:]) * stride / 2
        points = (kps[keep].reshape(-1, 5, 2) + cell[:, None]) * stride
        parts = [score[keep, None], centre - half, centre + half, points.reshape(-1, 10)]
        found.append(np.concatenate(parts, 1))
    faces = np.concatenate(found)
    faces = faces[np.argsort(-faces[:, 0], kind="stable")]
    kept = []
    for face in faces:
        if all(overlap(face[1:5], other[1:5]) <= OVERLAP_MAX for other in kept):
            kept.append(face)
    return np.array(kept).reshape(-1, 15)


def overlap(a, b):
    """Common area of two boxes over the area of both."""
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    common = max(0, sides[0]) * max(0, sides[1])
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b))
    return common / (areas - common)


def align(picture, points):
    """The face at these points, turned and scaled into a crop of 112 x 112."""
    matrix = similarity(points)
    scale = np.hypot(matrix[0, 0], matrix[1, 0])
    shrink = 1
    while scale * shrink < 0.5:
        shrink *= 2
    if shrink > 1:
        # Only what the crop shows, and a margin for the border of the shrunk pixels.
        corners = np.array([[0, 0], [CROP, 0], [0, CROP], [CROP, CROP]]) - matrix[:, 2]
        corners = corners @ np.linalg.inv(matrix[:, :2]).T
        height, width = picture.shape[:2]
        low = np.clip(corners.min(0) - 2 * shrink, 0, [width - 1, height - 1]).astype(int)
        high = np.clip(corners.max(0) + 2 * shrink, 1, [width, height]).astype(int)
        low -= low % shrink
        part = picture[low[1] : high[1], low[0] : high[0]]
        size = max(1, part.shape[1] // shrink), max(1, part.shape[0] // shrink)
        part = part[: size[1] * shrink, : size[0] * shrink]
        picture = cv2.resize(part, size, interpolation=cv2.INTER_AREA)
        matrix = similarity((points - low + 0.5) / shrink - 0.5)
    return cv2.warpAffine(picture, matrix, (CROP, CROP), flags=cv2.INTER_LINEAR)


def similarity(points):
    """The turn, scale and shift that bring the points nearest to the template, as 2 x 3."""
    source = points @ [1, 1j]
    target = TEMPLATE @ [1, 1j]
    centred = source - source.mean()
    turn = (centred.conj() @ (target - target.mean())) / (abs(centred) ** 2).sum()
    shift = target.mean() - turn * source.mean()
    return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])


def embedder_input(crop):
    values = (crop[:, :, ::-1].astype(np.float32) - MEAN) / SPREAD
    return np.ascontiguousarray(values.transpose(2, 0, 1))[None]


def quality_input(crop):
    small = cv2.resize(crop, (96, 96), interpolation=cv2.INTER_LINEAR)
    values = (small.astype(np.float32) - 128) / 128
    return np.ascontiguousarray(values.transpose(2, 0, 1))[None]


def make_photo(data, path):
    """A JPEG of 12 megapixels with one face, enlarged from a photo of the test data."""
    picture = cv2.imread(str(data / PORTRAIT))
    first, last = PORTRAIT_ROWS
    large = cv2.resize(picture[first:last], PHOTO_SIZE, interpolation=cv2.INTER_CUBIC)
    if not cv2.imwrite(str(path), large, [cv2.IMWRITE_JPEG_QUALITY, PHOTO_QUALITY]):
        raise SystemExit(f"{path} could not be written; name a .jpg file in a folder that is there")


def measure(name, action, iterations):
    """Median and least time of `action` after a warm-up of a tenth, at least twice."""
    for _ in range(max(2, iterations // 10)):
        action()
    times = []
    for _ in range(iterations):
        start = time.perf_counter()
        action()
        times.append((time.perf_counter() - start) * 1000)
    return {"name": name, "median_ms": statistics.median(times), "min_ms": min(times),
            "iterations": iterations}


def measure_all(models, data, photo, iterations):
    portrait = cv2.imread(str(data / PORTRAIT))
    tall, _ = detector_input(portrait)
    square = np.zeros((1, 3, LONG_SIDE, LONG_SIDE), np.float32)
    square[:, :, : tall.shape[2], : tall.shape[3]] = tall
    crop = align(portrait, models.detect(portrait)[0, 5:].reshape(5, 2))
    face, small = embedder_input(crop), quality_input(crop)
    few = max(3, iterations // 5)
    return [
        measure(f"detector network, {tall.shape[3]} x {tall.shape[2]}",
                lambda: models.detector.run(None, {"input": tall}), iterations),
        measure("detector network, 640 x 640",
                lambda: models.detector.run(None, {"input": square}), iterations),
        measure("detection with resize and decoding, 3024 x 4032",
                lambda: models.detect(portrait), iterations),
        measure("embedding network, one crop",
                lambda: models.embedder.run(None, {"input": face}), iterations),
        measure("quality network, one crop",
                lambda: models.quality.run(None, {"input": small}), iterations),
        measure("whole check of the photo", lambda: models.check(photo), few),
        measure("of which decoding the JPEG",
                lambda: cv2.imdecode(np.fromfile(photo, np.uint8), cv2.IMREAD_COLOR), few),
    ]


def peak_of_check(arguments, photo):
    """Largest resident memory, in MB, of a process that loads the models and checks the photo thrice."""
    command = [sys.executable, __file__, "--data", str(arguments.data), "--photo", str(photo)]
    subprocess.run([*command, "--threads", str(arguments.threads), "--check-only"], check=True)
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e6


def read_arguments():
    default = os.environ.get("PHOTOG_TEST_DATA", "../shared/data")
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, default=Path(default),
                        help="folder with models and photos (PHOTOG_TEST_DATA, or ../shared/data)")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)),
                        help="threads of onnxruntime and of OpenCV (as many as cores)")
    parser.add_argument("--iterations", type=int, default=50, help="runs of each network (50)")
    parser.add_argument("--photo", type=Path, help="JPEG of the whole check (made when left out)")
    parser.add_argument("--spin", action="store_true",
                        help="let onnxruntime's threads wait in a loop, as they do without this script")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    parser.add_argument("--make-photo", type=Path, metavar="OUT.jpg",
                        help="only write the JPEG of 4000 x 3000 that the check is measured on")
    parser.add_argument("--check-only", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if not (arguments.data / DETECTOR).is_file():
        parser.error(f"there is no {DETECTOR} below {arguments.data}; name the test data with --data")
    return arguments


def main():
    arguments = read_arguments()
    if arguments.make_photo:
        return make_photo(arguments.data, arguments.make_photo)
    cv2.setNumThreads(arguments.threads)
    models = Models(arguments.data, arguments.threads, arguments.spin)
    if arguments.check_only:
        for _ in range(3):
            models.check(arguments.photo)
        return None
    with tempfile.TemporaryDirectory() as folder:
        photo = arguments.photo
        if photo is None:
            photo = Path(folder) / "photo.jpg"
            make_photo(arguments.data, photo)
        result = models.check(photo)
        if result is None:
            raise SystemExit(f"no face was found in {photo}; name a portrait with --photo")
        rows = measure_all(models, arguments.data, photo, arguments.iterations)
        peak = peak_of_check(arguments, photo)
        height, width = cv2.imread(str(photo)).shape[:2]
    report(arguments, rows, peak, (width, height), result)
    return None


def report(arguments, rows, peak, size, result):
    _, quality, sharpness, faces = result
    about = {
        "threads": arguments.threads,
        "waiting_in_a_loop": arguments.spin,
        "onnxruntime": onnxruntime.__version__,
        "opencv": cv2.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "photo": f"{size[0]} x {size[1]}, {faces} face(s), quality {quality:.3f}, sharpness {sharpness:.0f}",
        "peak_resident_mb": round(peak, 1),
    }
    if arguments.json:
        print(json.dumps(about | {"rows": rows}, indent=1))
        return
    for name, value in about.items():
        print(f"- {name.replace('_', ' ')}: {value}")
    print("\n| step | median ms | least ms | runs |\n| --- | ---: | ---: | ---: |")
    for row in rows:
        print(f"| {row['name']} | {row['median_ms']:.2f} | {row['min_ms']:.2f} | {row['iterations']} |")


if __name__ == "__main__":
    main()
