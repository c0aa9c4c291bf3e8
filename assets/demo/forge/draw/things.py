"""What lies about in a picture of nobody: things that have some of a face's shapes and are none."""

import numpy as np

from . import shapes
from .canvas import Patch, lit


def draw_things(canvas, scene):
    """Balls, boxes, lamps, plates and plants."""
    rng = np.random.default_rng([515, scene.seed])
    for _ in range(scene.things):
        centre = np.array([rng.uniform(0.05, 0.95), rng.uniform(0.2, 0.95)])
        size = rng.uniform(0.04, 0.20)
        angle = rng.uniform(-0.5, 0.5)
        axes = size * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        patch = Patch(canvas, centre, axes, (1.6, 1.9))
        if patch:
            KINDS[rng.integers(len(KINDS))](patch, rng)


def some_colour(rng):
    """Any colour; skin's too."""
    if rng.random() < 0.3:
        return np.array((0.9, 0.7, 0.56)) * rng.uniform(0.5, 1.05)
    return rng.uniform(0.1, 0.95, 3)


def ball(patch, rng):
    """Round, shaded, sometimes with spots."""
    a, b = patch.a, patch.b
    colour = some_colour(rng)
    bright = np.clip(1.05 - 0.45 * np.hypot(a + 0.4, b + 0.5), 0.3, 1.1)
    patch.fill(lit(colour, bright), shapes.circle(a, b, 1.0))
    for _ in range(rng.integers(0, 4)):
        x, y = rng.uniform(-0.6, 0.6, 2)
        patch.fill(some_colour(rng), np.maximum(shapes.circle(a - x, b - y, rng.uniform(0.08, 0.25)), shapes.circle(a, b, 1.0)))


def crate(patch, rng):
    """A box with a lid."""
    colour = some_colour(rng)
    patch.fill(colour, shapes.box(patch.a, patch.b, 1.0, rng.uniform(0.5, 1.0), 0.05))
    patch.fill(colour * 0.7, shapes.box(patch.a, patch.b + 0.3, 1.0, 0.06))


def lamp(patch, rng):
    """A shade on a foot."""
    patch.fill((0.3, 0.28, 0.26), shapes.box(patch.a, patch.b - 0.8, 0.06, 0.9))
    shade = np.maximum(np.abs(patch.a) - 0.55 - 0.35 * patch.b, np.abs(patch.b + 0.3) - 0.5)
    patch.fill(np.clip(some_colour(rng) * 1.2, 0, 1), shade)


def plate(patch, rng):
    """Rings around one middle."""
    for radius in (1.0, 0.72, 0.3):
        patch.fill(some_colour(rng), shapes.ellipse(patch.a, patch.b, radius, radius * 0.9))


def plant(patch, rng):
    """Leaves over a pot."""
    for _ in range(9):
        tip = rng.normal(0, 0.7), -rng.uniform(0.5, 1.5)
        patch.fill(np.array((0.15, 0.45, 0.18)) * rng.uniform(0.6, 1.5), shapes.segment(patch.a, patch.b, (0, 0.4), tip, 0.12))
    patch.fill(some_colour(rng), np.maximum(np.abs(patch.a) - 0.6 + 0.2 * patch.b, np.abs(patch.b - 0.9) - 0.5))


KINDS = (ball, crate, lamp, plate, plant)
