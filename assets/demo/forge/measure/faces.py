"""Measures the detector and the embedding of the demo pack on people that training never saw.

`python -m forge.measure.faces render --out DIR` draws the pictures and writes what is true about them to
`DIR/truth.json`, so that anything can be measured on them:

    {"pictures": [{"file", "set", "faces": [{"person", "box": [x0, y0, x1, y1], "points": [[x, y] x 5]}]}],
     "pairs": [[picture, picture, same as 0 or 1]]}

with places in pixels (the first pixel's middle is 0.5), `set` one of photos-640, photos-256 and
people, and pairs by number of the picture in the list; those of `people` show one face each.

`python -m forge.measure.faces measure DIR --models FOLDER` runs both networks over them with onnxruntime
and prints the figures. photog's own figures over the same pictures should be the same.
"""

import argparse
import json
import multiprocessing
from pathlib import Path

import cv2
import numpy as np

from ..world import TRAINING, UNSEEN, person, render, scene
from ..train.data_faces import located
from .networks import Detector, Embedding
from .scores import detection, verification

# Seeds of scenes that nothing else uses.
SEED = 900_000_000
PHOTOS = 300
PICTURES_EACH = 5
PAIRS = 5000
SCORE, OVERLAP = 0.6, 0.3
# Faces below this count for average precision only where they are asked for at all.
SCORE_LEAST = 0.02


def tasks(people, count):
    """What has to be drawn: (file, set, people, seed of the scene, side)."""
    rng = np.random.default_rng(77)
    listed = []
    for side in (640, 256):
        for index in range(PHOTOS):
            sitters = rng.choice([0, 1, 2, 3, 4], p=[0.25, 0.45, 0.16, 0.08, 0.06])
            seeds = [int(seed) for seed in rng.choice(people, sitters, replace=False)]
            name = f"photos-{side}"
            listed.append((f"{name}/{index:04}.jpg", name, seeds, SEED + side * 10_000 + index, side))
    for index in range(count * PICTURES_EACH):
        seed = int(people[index % count])
        listed.append((f"people/{index:05}.jpg", "people", [seed], SEED + 50_000_000 + index, 256))
    return listed


def pairs(first, count):
    """Pairs of pictures of `people`, which begin at number `first`, as many of one person as of two."""
    rng = np.random.default_rng(78)
    chosen = set()
    wanted = min(PAIRS, count * PICTURES_EACH)
    while len(chosen) < wanted:
        one, shots = rng.integers(count), rng.choice(PICTURES_EACH, 2, replace=False)
        a, b = sorted(int(first + shot * count + one) for shot in shots)
        chosen.add((a, b, 1))
    while len(chosen) < 2 * wanted:
        (one, other), shots = rng.choice(count, 2, replace=False), rng.integers(0, PICTURES_EACH, 2)
        a, b = sorted((int(first + shots[0] * count + one), int(first + shots[1] * count + other)))
        chosen.add((a, b, 0))
    return sorted(chosen)


def short(numbers):
    """Numbers as a list with three digits after the point."""
    return np.round(np.asarray(numbers, float), 3).tolist()


def draw(task):
    """Draws one picture to its file, where it is not there yet, and says where its faces are."""
    (file, name, seeds, seed, side), folder = task
    drawn = scene([person(one) for one in seeds], seed)
    path = Path(folder, file)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        pixels = render(drawn, side, side).pixels[..., ::-1]
        beside = path.with_suffix(".part.jpg")
        cv2.imwrite(str(beside), pixels, [cv2.IMWRITE_JPEG_QUALITY, 95])
        beside.rename(path)
    faces = [
        {"person": face.person, "box": short(np.multiply(face.box, side)), "points": short(face.points * side)}
        for face in sorted(located(drawn), key=lambda face: face.box[0])
    ]
    return {"file": file, "set": name, "faces": faces}


def render_set(asked):
    people = np.array(TRAINING if asked.training else UNSEEN)
    count = min(asked.people, len(people))
    listed = tasks(people, count)
    # Pictures that are there already have to be those that are asked for.
    about, there = {"training": asked.training, "people": count, "seed": SEED}, Path(asked.out, "drawn.json")
    if there.exists() and json.loads(there.read_text()) != about:
        raise SystemExit(f"{asked.out} holds other pictures; choose another folder")
    there.parent.mkdir(parents=True, exist_ok=True)
    there.write_text(json.dumps(about))
    with multiprocessing.get_context("fork").Pool(asked.processes) as pool:
        pictures = pool.map(draw, [(task, asked.out) for task in listed], chunksize=16)
    truth = {"pictures": pictures, "pairs": pairs(2 * PHOTOS, count)}
    Path(asked.out, "truth.json").write_text(json.dumps(truth))
    print(f"{len(pictures)} pictures in {asked.out}")


def read(folder, picture):
    """RGB pixels of a picture of the set."""
    return cv2.imread(str(Path(folder, picture["file"])), cv2.IMREAD_COLOR)[..., ::-1]


def true_faces(picture):
    """Boxes and points as [n, 14]."""
    rows = [[*face["box"], *np.ravel(face["points"])] for face in picture["faces"]]
    return np.array(rows, float).reshape(-1, 14)


def tell(title, figures):
    """Prints figures, one a line."""
    print(title)
    for name, value in figures.items():
        print(f"  {name}: {value:.4f}" if isinstance(value, float) else f"  {name}: {value}")


def measure(asked):
    truth = json.loads(Path(asked.folder, "truth.json").read_text())
    detector = Detector(Path(asked.models, "demo-detector.onnx"))
    for name in ("photos-640", "photos-256"):
        listed = [picture for picture in truth["pictures"] if picture["set"] == name]
        results = [
            (detector.faces(read(asked.folder, picture), SCORE_LEAST, OVERLAP), true_faces(picture))
            for picture in listed
        ]
        tell(f"{name}, faces of score {SCORE} and more", detection(results, SCORE))
    if not Path(asked.models, "demo-embedding.onnx").exists():
        return
    embedding = Embedding(Path(asked.models, "demo-embedding.onnx"))
    by_truth, by_detector, lost = {}, {}, 0
    for number, picture in enumerate(truth["pictures"]):
        if picture["set"] != "people":
            continue
        photo, true = read(asked.folder, picture), true_faces(picture)
        by_truth[number] = embedding.of(photo, true[0, 4:14].reshape(5, 2))
        found = detector.faces(photo, SCORE, OVERLAP)
        if len(found):
            largest = found[np.argmax((found[:, 2:4] - found[:, :2]).prod(1))]
            by_detector[number] = embedding.of(photo, largest[4:14].reshape(5, 2))
        else:
            lost += 1
    for title, rows in (("true points", by_truth), ("found points", by_detector)):
        cosines = {0: [], 1: []}
        for a, b, same in truth["pairs"]:
            # A face that is not found is like nobody.
            cosines[same].append(float(rows[a] @ rows[b]) if a in rows and b in rows else -1.0)
        tell(f"people, {title}", verification(np.array(cosines[1]), np.array(cosines[0]), asked.threshold))
    print(f"people without a found face: {lost} of {len(by_truth)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    drawing = commands.add_parser("render", help="draw the pictures")
    drawing.add_argument("--out", required=True)
    drawing.add_argument("--people", type=int, default=1000)
    drawing.add_argument("--processes", type=int, default=2)
    drawing.add_argument("--training", action="store_true", help="people of the training, to choose a threshold")
    drawing.set_defaults(run=render_set)
    measuring = commands.add_parser("measure", help="print the figures")
    measuring.add_argument("folder")
    measuring.add_argument("--models", required=True, help="folder with the .onnx files")
    measuring.add_argument("--threshold", type=float, default=None, help="least cosine of one person")
    measuring.set_defaults(run=measure)
    asked = parser.parse_args()
    asked.run(asked)


if __name__ == "__main__":
    main()
