"""Draws what the small Stable Diffusion is trained on into the work folder, once: pictures of
256 x 256 and a few captions of each.

`train`:  the training people, mostly alone; the first thousands of rows have everybody once.
`unseen`: people that training never sees, for measuring the autoencoder.

Rows of .npy files that some processes fill; a row that is done is never drawn again, so a killed
run goes on where it was. Captions follow from the scene alone and are made anew when asked for.
Run as `python -m forge.train.pictures`.
"""

import argparse
import multiprocessing
import re
import time

import numpy as np
from numpy.lib.format import open_memmap

from ..world import TRAINING, UNSEEN, caption, person, render, scene
from .common import work

SIDE = 256
# Rows, seeds of people, and the first seed of their scenes (far from those of other data sets).
KINDS = {
    "train": (24_000, TRAINING, 70_000_000),
    "unseen": (512, UNSEEN, 80_000_000),
}
# How many people are in a picture.
ALONE, TWO = 0.90, 0.05
CAPTIONS = 6


def drawn_scene(kind, index):
    """The scene of a row."""
    _, seeds, first = KINDS[kind]
    rng = np.random.default_rng([21, first, index])
    share = rng.random()
    people = [person(seeds[index % len(seeds)])] if share < ALONE + TWO else []
    if ALONE <= share < ALONE + TWO:
        people.append(person(int(rng.choice(seeds))))
        rng.shuffle(people)
    return scene(people, first + index)


def captions(kind, index):
    """Some sentences for a row, the first of them complete."""
    drawn = drawn_scene(kind, index)
    seed = drawn.seed * CAPTIONS
    texts = [caption(drawn, seed, full=True)]
    texts += [caption(drawn, seed + number) for number in range(1, CAPTIONS)]
    return texts


def mirrored(text):
    """The caption of the mirror image: left and right change places."""
    other = {"left": "right", "right": "left"}
    return re.sub(r"\b(left|right)\b", lambda found: other[found[0]], text)


def opened(kind, mode="r"):
    """Pixels and which rows are done; made where they are missing and `mode` is r+."""
    count = KINDS[kind][0]
    arrays = []
    for part, shape in (("pixels", (count, SIDE, SIDE, 3)), ("done", (count,))):
        path = work("pictures", f"{kind}-{part}.npy")
        if not path.exists():
            if mode == "r":
                raise SystemExit("first run python -m forge.train.pictures")
            open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
        arrays.append(np.load(path, mmap_mode=mode))
    return arrays


def fill(kind, part, parts):
    """Draws the rows of one of several processes."""
    pixels, done = opened(kind, "r+")
    started, drawn = time.monotonic(), 0
    for index in range(part, len(done), parts):
        if done[index]:
            continue
        pixels[index] = render(drawn_scene(kind, index), SIDE, SIDE).pixels
        done[index] = 1
        drawn += 1
        if part == 0 and drawn % 500 == 0:
            rate = drawn / (time.monotonic() - started)
            print(f"{kind}: row {index} of {len(done)}, {rate:.1f} a second and process", flush=True)


def is_complete(kind):
    """Whether all rows are drawn."""
    path = work("pictures", f"{kind}-done.npy")
    return path.exists() and bool(np.load(path, mmap_mode="r").all())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--fresh", action="store_true", help="forget what was drawn")
    asked = parser.parse_args()
    for kind in ("unseen", "train"):
        if asked.fresh:
            for path in work("pictures", kind).parent.glob(f"{kind}-*.npy"):
                path.unlink()
            if kind == "train":
                # What was made of them.
                for path in [*work("diffusion", "x").parent.glob("latents-*"), work("faces", "pictures-points.npy")]:
                    path.unlink(missing_ok=True)
        if is_complete(kind):
            continue
        opened(kind, "r+")
        context = multiprocessing.get_context("fork")
        jobs = [context.Process(target=fill, args=(kind, part, asked.processes)) for part in range(asked.processes)]
        for job in jobs:
            job.start()
        for job in jobs:
            job.join()
        if any(job.exitcode for job in jobs):
            raise SystemExit(f"drawing {kind} failed; run it again to go on")


if __name__ == "__main__":
    main()
