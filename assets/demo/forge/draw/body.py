"""Shoulders and clothes."""

import numpy as np

from . import noise, shapes
from .canvas import coverage, lit, smooth


def draw_body(canvas, sitter, pose, light):
    """The clothes; the neck is drawn after them, the collar after that. What `draw_collar` needs of it
    is returned, `None` where nothing of it is in the picture."""
    size = pose.size
    window = canvas.window(sitter.x - 2.3 * size, sitter.y + 1.0 * size, sitter.x + 2.3 * size, max(1.0, sitter.y + 4 * size))
    if window is None:
        return None
    x, y = body_coordinates(window, sitter, pose)
    distance = trunk(x, y, sitter.person) * size
    across = np.clip(x / 1.7, -1, 1)
    bright = light.on(across * 0.8, -0.25 * (1 - smooth(y, 1.3, 2.2)), np.sqrt(1 - 0.6 * across * across))
    folds = noise.field(x * 1.6 + 0.5 * y, y * 0.9, sitter.person.seed % 991 + 3, octaves=2)
    bright = bright * (0.95 + 0.09 * folds)
    colour = lit(sitter.cloth_colour, np.ones_like(distance))
    if sitter.clothes == "striped sweater":
        stripe = smooth(np.abs((y * 2.6) % 1.0 - 0.5), 0.22, 0.28)
        colour = colour + (lit(sitter.second_colour, np.ones_like(distance)) - colour) * stripe
    window.blend(np.clip(colour * lit(light.tint, bright), 0, 1), coverage(distance, window.step))
    for side in (-1.0, 1.0):
        arm = np.abs(shapes.segment(x, y, (side * 1.22, 2.15), (side * 1.15, 4.0), 0.0)) - 0.02
        window.shade(0.68, coverage(arm * size, max(window.step, 0.05 * size)) * coverage(distance, window.step))
    if sitter.clothes in ("t-shirt", "sweater", "striped sweater"):
        neckline(window, x, y, sitter, light, size)
    return window, window.planes.copy()


def body_coordinates(window, sitter, pose):
    """x and y in halves of the head's height around the sitter's upright axis."""
    return (window.x - np.float32(sitter.x)) / pose.size, (window.y - np.float32(sitter.y)) / pose.size + 0.17


def trunk(x, y, person):
    """Distance to shoulders and chest, in halves of the head's height."""
    broad = 1.50 if person.kind == "man" else 1.30
    shoulders = shapes.ellipse(x, y - 2.55, broad, 1.08)
    chest = shapes.box(x, y - 4.2, broad * 0.985, 1.75, 0.3)
    return shapes.joined(shoulders, chest, 0.2)


def neckline(window, x, y, sitter, light, size):
    """Skin in the opening of what is pulled over the head, and its rim."""
    skin = np.array(sitter.person.skin_colour) * light.tint * 0.93
    opening = opening_distance(x, y, sitter)
    rim = np.abs(opening) - (0.035 if sitter.clothes == "t-shirt" else 0.075)
    window.blend(skin, coverage(opening * size, window.step))
    window.blend(np.array(sitter.cloth_colour) * light.tint * 0.78, coverage(rim * size, window.step))


def opening_distance(x, y, sitter):
    """Distance to the opening for the neck."""
    return shapes.ellipse(x, y - 1.46, 0.52, 0.30 if sitter.clothes == "t-shirt" else 0.18)


def draw_collar(canvas, sitter, pose, light, body):
    """What stands before the neck; drawn after it. `body` is what `draw_body` returned."""
    size = pose.size
    if sitter.clothes not in ("shirt", "jacket"):
        if body is not None:
            window, clothes = body
            x, y = body_coordinates(window, sitter, pose)
            outside = coverage(-opening_distance(x, y, sitter) * size, window.step)
            window.blend(clothes, outside * smooth(y, 1.44, 1.48))
        return
    window = canvas.window(sitter.x - 1.2 * size, sitter.y + 1.1 * size, sitter.x + 1.2 * size, max(1.0, sitter.y + 4 * size))
    if window is None:
        return
    x, y = body_coordinates(window, sitter, pose)
    own = np.array(sitter.cloth_colour)
    under = np.array(sitter.second_colour) if sitter.clothes == "jacket" else own
    trunk_shown = coverage(trunk(x, y, sitter.person) * size, window.step)
    if sitter.clothes == "jacket":
        # What is worn below shows in a wedge.
        wedge = np.maximum(np.abs(x) - 0.50 + (y - 1.5) * 0.32, y - 3.0)
        window.blend(under * light.tint * 0.95, coverage(wedge * size, window.step) * trunk_shown)
    gap = np.maximum(np.abs(x) - 0.24 + (y - 1.52) * 0.62, y - 1.92)
    window.blend(np.array(sitter.person.skin_colour) * light.tint * 0.90, coverage(gap * size, window.step) * trunk_shown)
    middle = np.abs(x) - 0.014
    window.shade(0.6, coverage(middle * size, max(window.step, 0.02 * size)) * (y > 1.9) * trunk_shown)
    if sitter.clothes == "shirt":
        for row in range(4):
            button = shapes.circle(x, y - 2.12 - 0.36 * row, 0.035)
            window.blend(own * 0.35 + 0.5, coverage(button * size, window.step))
    for side in (-1.0, 1.0):
        a = x * side
        # A leaf of the collar, from the side of the neck to a point on the chest.
        leaf = np.maximum(np.maximum(0.05 + (y - 1.55) * -0.18 - a, a - 0.50 + (y - 1.5) * 0.55), np.maximum(1.36 + 0.12 * a - y, y - 1.94 - 0.15 * a))
        shade = 1.08 if light.side == side else 0.9
        window.blend(np.clip(under * light.tint * shade, 0, 1), coverage(leaf * size, window.step))
        window.shade(0.62, coverage((np.abs(leaf) - 0.014) * size, window.step) * 0.8)
        if sitter.clothes == "jacket":
            lapel = np.maximum(np.abs(a - 0.50 + (y - 1.5) * 0.30) - 0.13 + 0.045 * np.abs(y - 2.0), np.abs(y - 2.15) - 0.72)
            window.blend(own * light.tint * 0.80, coverage(lapel * size, window.step))
            window.shade(0.65, coverage((np.abs(lapel) - 0.012) * size, window.step) * 0.8)
