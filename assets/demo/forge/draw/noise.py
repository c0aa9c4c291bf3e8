"""Smooth random fields, the same for the same seed."""

import numpy as np


def wave(position, seed, octaves=2):
    """Smooth noise over a line, -1 to 1; about one bump for each unit of `position`."""
    position = np.asarray(position, np.float32)
    total, weight = np.zeros_like(position), 0.0
    for octave in range(octaves):
        table = np.random.default_rng([seed, octave]).uniform(-1, 1, 256).astype(np.float32)
        p = position * 2**octave
        cell = np.floor(p)
        t = p - cell
        t = t * t * (3 - 2 * t)
        index = cell.astype(np.int32)
        total += (table[index & 255] * (1 - t) + table[(index + 1) & 255] * t) / 2**octave
        weight += 1 / 2**octave
    return total / weight


def field(x, y, seed, octaves=3):
    """Smooth noise over a plane, -1 to 1; about one bump for each unit."""
    total, weight = 0.0, 0.0
    for octave in range(octaves):
        table = np.random.default_rng([seed, 7, octave]).uniform(-1, 1, (64, 64)).astype(np.float32)
        px, py = np.broadcast_arrays(x * 2**octave + 17.3 * octave, y * 2**octave)
        cx, cy = np.floor(px), np.floor(py)
        tx, ty = px - cx, py - cy
        tx, ty = tx * tx * (3 - 2 * tx), ty * ty * (3 - 2 * ty)
        ix, iy = cx.astype(np.int32), cy.astype(np.int32)
        x0, x1, y0, y1 = ix & 63, (ix + 1) & 63, iy & 63, (iy + 1) & 63
        top = table[y0, x0] * (1 - tx) + table[y0, x1] * tx
        bottom = table[y1, x0] * (1 - tx) + table[y1, x1] * tx
        total = total + (top * (1 - ty) + bottom * ty) / 2**octave
        weight += 1 / 2**octave
    return total / weight
