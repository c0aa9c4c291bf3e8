"""Signed distances of plain shapes: below 0 inside. All take arrays [h, w] of coordinates."""

import numpy as np


def circle(x, y, radius):
    """Around (0, 0)."""
    return np.hypot(x, y) - radius


def ellipse(x, y, rx, ry):
    """Around (0, 0); the distance is right near the edge."""
    k = np.hypot(x / rx, y / ry)
    slope = np.hypot(x / (rx * rx), y / (ry * ry))
    return k * (k - 1) / np.maximum(slope, 1e-6)


def box(x, y, half_width, half_height, radius=0.0):
    """Around (0, 0), with round corners."""
    dx = np.abs(x) - (half_width - radius)
    dy = np.abs(y) - (half_height - radius)
    outside = np.hypot(np.maximum(dx, 0), np.maximum(dy, 0))
    return outside + np.minimum(np.maximum(dx, dy), 0) - radius


def segment(x, y, start, end, radius):
    """A stroke with round ends."""
    sx, sy = start
    dx, dy = end[0] - sx, end[1] - sy
    t = np.clip(((x - sx) * dx + (y - sy) * dy) / (dx * dx + dy * dy + 1e-12), 0, 1)
    return np.hypot(x - sx - t * dx, y - sy - t * dy) - radius


def bow(x, y, half_width, rise, radius):
    """A stroke along the parabola from (-half_width, 0) over (0, -rise) to (half_width, 0).

    `radius` may be a function of x / half_width, for strokes that taper.
    """
    t = np.clip(x / half_width, -1, 1)
    slope = 2 * rise * t / half_width
    across = (y + rise * (1 - t * t)) / np.sqrt(1 + slope * slope)
    beyond = np.maximum(np.abs(x) - half_width, 0)
    thick = radius(t) if callable(radius) else radius
    return np.hypot(across, beyond) - thick


def almond(x, y, half_width, above, below):
    """Between two parabolas that meet at (-half_width, 0) and (half_width, 0)."""
    t = x / half_width
    curve = 1 - t * t
    top = -(y + above * curve) / np.sqrt(1 + (2 * above * t / half_width) ** 2)
    bottom = (y - below * curve) / np.sqrt(1 + (2 * below * t / half_width) ** 2)
    return np.maximum(top, bottom)


def joined(one, other, blend):
    """Both shapes with a rounded joint."""
    h = np.clip(0.5 + 0.5 * (other - one) / blend, 0, 1)
    return other * (1 - h) + one * h - blend * h * (1 - h)
