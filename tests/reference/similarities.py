"""Writes fixtures/similarities.json: points, and the similarity that scikit-image finds between them.

    python tests/reference/similarities.py

Each case has the points it begins with, the points it aims at, and the similarity as scale times cosine,
scale times sine, shift to the right and shift down.
"""

import json
from pathlib import Path

import numpy as np
from skimage.transform import SimilarityTransform

OUT = Path(__file__).resolve().parent / "fixtures" / "similarities.json"

# Where the five points of a face are in an aligned crop of 112 pixels a side.
FACE = np.array([
    [38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041],
])


def moved(points, scale, degrees, shift):
    turn = np.deg2rad(degrees)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return scale * points @ rotation.T + shift


def cases():
    random = np.random.default_rng(1)
    yield "exact", FACE, moved(FACE, 2.5, 30, [100, -40])
    yield "upside down", FACE, moved(FACE, 0.3, 180, [700, 900])
    yield "a face that is not the template", moved(FACE, 3.1, -17, [420, 305]) + random.normal(0, 6, FACE.shape), FACE
    yield "far away", moved(FACE, 0.01, 3, [1e5, 1e5]) + random.normal(0, 0.02, FACE.shape), FACE
    yield "mirrored", FACE * [-1, 1] + random.normal(0, 2, FACE.shape), FACE
    yield "two points", FACE[:2], np.array([[10.0, 20.0], [30.0, 5.0]])
    yield "many", random.uniform(0, 640, (30, 2)), random.uniform(0, 640, (30, 2))


def main():
    found = []
    for name, start, end in cases():
        matrix = SimilarityTransform.from_estimate(start, end).params
        assert np.allclose(matrix[:2, :2], [[matrix[0, 0], -matrix[1, 0]], [matrix[1, 0], matrix[0, 0]]])
        similarity = [matrix[0, 0], matrix[1, 0], matrix[0, 2], matrix[1, 2]]
        found.append({"name": name, "from": start.tolist(), "to": end.tolist(), "similarity": similarity})
    OUT.write_text("[\n" + ",\n".join(json.dumps(case) for case in found) + "\n]\n")
    print(f"{OUT.name}: {len(found)} cases, {OUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
