"""Renders what the two face networks are trained on into the work folder, once.

`scenes`: pictures of 320 x 320 with nobody to four people, whole or zoomed to a face.
`crops`:  pictures of 144 x 144 around the face of a person, a number of them for each training person.

Rows of .npy files that two processes fill; a row that is done is never drawn again, so a killed run
goes on where it was. Run as `python -m forge.train.data_faces scenes` and `... crops`.
"""

import argparse
import multiprocessing
import time

import numpy as np
from numpy.lib.format import open_memmap

from ..draw.canvas import Canvas
from ..draw.picture import face_of, pose_of
from ..world import TRAINING, person, render, scene
from .align import SIDE, similarity
from .common import work

SCENES, SCENE_SIDE, FACES_MAX = 7000, 320, 4
CROPS_EACH, CROP_SIDE = 6, 144
# A crop shows so much more than the aligned face, for jitter of the points and turned heads.
CROP_SPACE = 1.3
# Seeds of scenes: far from those that captions and measurements use.
SCENE_SEED, CROP_SEED = 50_000_000, 60_000_000


def scene_row(index):
    """Pixels, and rows of box, points and person for each face."""
    rng = np.random.default_rng([11, index])
    count = rng.choice([0, 1, 2, 3, 4], p=[0.24, 0.46, 0.16, 0.08, 0.06])
    people = [person(int(seed)) for seed in rng.choice(TRAINING, count, replace=False)]
    # Poses of scenes are mild; some of these are not, so that no network is lost at the edge.
    drawn = scene(people, SCENE_SEED + index, turn=float(rng.choice([1.0, 1.6], p=[0.7, 0.3])))
    view = (0, 0, 1, 1)
    if count and rng.random() < 0.4:
        # Sharp and near: one face takes a third of the picture to nearly all of it.
        face = rng.choice(len(people))
        view = zoomed(rng, located(drawn)[face])
    elif not count and rng.random() < 0.4:
        side = rng.uniform(0.3, 0.8)
        x, y = rng.uniform(0, 1 - side, 2)
        view = (x, y, x + side, y + side)
    picture = render(drawn, SCENE_SIDE, SCENE_SIDE, view=view)
    faces = np.full((FACES_MAX, 15), np.nan, np.float32)
    for row, face in zip(faces, picture.faces, strict=False):
        row[:4], row[4:14], row[14] = face.box, np.ravel(face.points), face.person
    return picture.pixels, faces


def located(drawn):
    """The faces of a square picture of side 1, without drawing it."""
    canvas = Canvas(1, 1, (0.0, 0.0, 1.0, 1.0), None)
    return [face_of(canvas, one, pose_of(one)) for one in drawn.sitters]


def zoomed(rng, face):
    """A square part of the picture around a face, in fractions of it."""
    x0, y0, x1, y1 = face.box
    size = max(x1 - x0, y1 - y0)
    span = size / rng.uniform(0.35, 1.0)
    middle = np.array([x0 + x1, y0 + y1]) / 2 + rng.uniform(-0.5, 0.5, 2) * max(span - size, 0.1 * size)
    return (*(middle - span / 2), *(middle + span / 2))


def crop_row(index):
    """Pixels and points of one face."""
    rng = np.random.default_rng([12, index])
    # One crop of everybody first, then another of everybody, so that a part is good for a start.
    pixels, points = face_crop(TRAINING[index % len(TRAINING)], CROP_SEED + index, rng)
    return pixels, points.astype(np.float32)


def face_crop(seed, scene_seed, rng):
    """The face of a person in a random scene, somewhat larger than the aligned crop, with its points."""
    sitters = [person(seed)]
    if rng.random() < 0.15:
        sitters.append(person(int(rng.choice(TRAINING))))
        rng.shuffle(sitters)
    drawn = scene(sitters, scene_seed)
    face = next(face for face in located(drawn) if face.person == seed)
    matrix = similarity(np.array(face.points, float))
    scale = np.hypot(*matrix[:, 0])
    middle = np.linalg.inv(matrix[:, :2]) @ ((SIDE - 1) / 2 - matrix[:, 2])
    half = CROP_SPACE * SIDE / scale / 2
    picture = render(drawn, CROP_SIDE, CROP_SIDE, view=(*(middle - half), *(middle + half)))
    face = next(face for face in picture.faces if face.person == seed)
    return picture.pixels, np.array(face.points)


KINDS = {
    "scenes": (scene_row, SCENES, (SCENE_SIDE, SCENE_SIDE, 3), (FACES_MAX, 15)),
    "crops": (crop_row, CROPS_EACH * len(TRAINING), (CROP_SIDE, CROP_SIDE, 3), (5, 2)),
}


def opened(kind, mode="r"):
    """Pixels, labels and which rows are done; made where they are missing and `mode` is r+."""
    _, count, pixels, labels = KINDS[kind]
    arrays = []
    for part, shape, dtype in (
        ("pixels", (count, *pixels), np.uint8),
        ("labels", (count, *labels), np.float32),
        ("done", (count,), np.uint8),
    ):
        path = work("faces", f"{kind}-{part}.npy")
        if not path.exists():
            if mode == "r":
                raise SystemExit(f"first run python -m forge.train.data_faces {kind}")
            open_memmap(path, mode="w+", dtype=dtype, shape=shape)
        arrays.append(np.load(path, mmap_mode=mode))
    return arrays


def fill(kind, part, parts, limit):
    """Draws the rows of one of several processes."""
    draw = KINDS[kind][0]
    pixels, labels, done = opened(kind, "r+")
    started, drawn = time.monotonic(), 0
    for index in range(part, min(limit or len(done), len(done)), parts):
        if done[index]:
            continue
        pixels[index], labels[index] = draw(index)
        done[index] = 1
        drawn += 1
        if part == 0 and drawn % 500 == 0:
            rate = drawn / (time.monotonic() - started)
            print(f"{kind}: row {index} of {len(done)}, {rate:.1f} a second and process", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--fresh", action="store_true", help="forget what was drawn")
    parser.add_argument("--limit", type=int, default=None, help="only the first rows")
    asked = parser.parse_args()
    if asked.fresh:
        for path in work("faces", asked.kind).parent.glob(f"{asked.kind}-*.npy"):
            path.unlink()
    opened(asked.kind, "r+")
    context = multiprocessing.get_context("fork")
    jobs = [
        context.Process(target=fill, args=(asked.kind, part, asked.processes, asked.limit))
        for part in range(asked.processes)
    ]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    if any(job.exitcode for job in jobs):
        raise SystemExit("a process failed")
    print(f"{asked.kind}: {int(opened(asked.kind)[2].sum())} rows are done")


if __name__ == "__main__":
    main()
