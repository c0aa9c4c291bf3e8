"""Training pictures for the embedding: rendered faces, aligned by points that are a little off and
spoiled, and the traits of the people."""

from dataclasses import fields

import cv2
import numpy as np

from ..world import TRAINING, person
from . import pictures
from .align import SIDE, similarity, swapped, warp
from .augment import fast_noise, spoil, waves
from .common import work
from .data_faces import located, opened

# What differs from picture to picture is drawn for each crop; these parts may be hidden, so that no
# single trait decides: (x0, y0, x1, y1) in an aligned crop.
REGIONS = ((22, 36, 90, 66), (20, 0, 92, 34), (30, 78, 82, 112), (0, 0, 30, 112), (82, 0, 112, 112), (40, 55, 72, 84))


class Crops:
    """Draws batches from the crops that are rendered, and from the faces of the pictures that are
    rendered for the diffusion networks, where those are there."""

    def __init__(self):
        # Of each source: pixels, points, which person a row is, and which rows can be used.
        self.sources = [sharp_crops(), whole_pictures()]
        self.look()

    def look(self):
        """Finds out which rows there are: more may be drawn while a training runs."""
        usable = [np.flatnonzero(source[3]) if source else [] for source in self.sources]
        self.rows = np.array([(at, row) for at, rows in enumerate(usable) for row in rows])

    def batch(self, rng, count):
        """Pictures RGB uint8 [n, 112, 112, 3] and which person each is."""
        crops, people = [], []
        for at, row in self.rows[rng.choice(len(self.rows), count, replace=False)]:
            pixels, points, person_of, _ = self.sources[at]
            crops.append(spoiled(rng, pixels[row], points[row].astype(float)))
            people.append(person_of[row])
        return np.stack(crops), np.array(people)


def sharp_crops():
    """Faces drawn close."""
    pixels, points, done = opened("crops")
    return pixels, points, np.arange(len(done)) % len(TRAINING), done


def whole_pictures():
    """Portraits as the diffusion networks learn them; None where they are not drawn."""
    if not pictures.is_complete("train"):
        return None
    pixels, done = pictures.opened("train")
    path = work("faces", "pictures-points.npy")
    if not path.exists():
        points = np.full((len(done), 5, 2), np.nan, np.float32)
        for row in range(len(done)):
            faces = located(pictures.drawn_scene("train", row))
            if len(faces) == 1:
                points[row] = faces[0].points * pictures.SIDE
        np.save(path, points)
    points = np.load(path)
    return pixels, points, np.arange(len(done)) % len(TRAINING), np.isfinite(points[:, 0, 0])


def spoiled(rng, pixels, points):
    """One crop as a detector and a camera may have given it."""
    if rng.random() < 0.5:
        pixels = pixels[:, ::-1]
        points = swapped(np.stack([pixels.shape[1] - points[:, 0], points[:, 1]], -1))
    # Each point is off, and all of them together.
    spread = rng.choice([0.0, 0.02, 0.05], p=[0.25, 0.5, 0.25])
    off = points + rng.normal(0, spread * 60, (5, 2)) + rng.normal(0, spread * 30, 2)
    matrix = similarity(off)
    crop = warp(np.ascontiguousarray(pixels), matrix)
    if rng.random() < 0.2:
        crop, _ = waves(rng, crop, points[:0], rng.uniform(14, 40), 2.0)
    crop = spoil(rng, crop, SIDE, strength=0.8)
    if rng.random() < 0.3:
        crop = hidden(rng, crop)
    return crop


def hidden(rng, crop):
    """A part of the face covered by one colour or by noise."""
    crop = crop.copy()
    if rng.random() < 0.6:
        x0, y0, x1, y1 = REGIONS[rng.integers(len(REGIONS))]
        x0, y0, x1, y1 = (np.array([x0, y0, x1, y1]) + rng.integers(-6, 7, 4)).clip(0, SIDE)
    else:
        width, height = rng.integers(15, 50, 2)
        x0, y0 = rng.integers(0, SIDE - width), rng.integers(0, SIDE - height)
        x1, y1 = x0 + width, y0 + height
    if x1 <= x0 or y1 <= y0:
        return crop
    patch = crop[y0:y1, x0:x1]
    if rng.random() < 0.5:
        patch[:] = rng.integers(0, 256, 3)
    elif rng.random() < 0.5:
        patch[:] = cv2.GaussianBlur(patch, (0, 0), 8)
    else:
        patch[:] = np.clip(128 + fast_noise(rng, patch.shape, 50), 0, 255)
    return crop


def traits():
    """What is known of each training person as numbers [people, traits] of mean 0 and spread 1: numbers as
    they are, one column for each word.

    Which side a parting or a mole is on is left out, since pictures are mirrored."""
    people = [person(seed) for seed in TRAINING]
    columns = []
    for field in fields(people[0]):
        if field.name in ("seed", "parting", "mole"):
            continue
        values = [getattr(one, field.name) for one in people]
        if isinstance(values[0], str):
            columns += [[float(value == word) for value in values] for word in sorted(set(values))]
        elif isinstance(values[0], tuple):
            columns += list(zip(*values, strict=True))
        else:
            columns.append(values)
    columns.append([float(one.mole is not None) for one in people])
    table = np.array(columns, np.float32).T
    return (table - table.mean(0)) / table.std(0).clip(1e-3)
