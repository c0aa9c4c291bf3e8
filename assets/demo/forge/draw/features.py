"""Eyes, brows, nose and mouth, each on its own tilted piece of the face."""

import numpy as np

from . import shapes
from .canvas import Patch, coverage, lit, smooth

# How open the eyes are, how far up the corners of the mouth go, how open and how much wider it is.
EXPRESSIONS = {
    "neutral": (1.0, 0.012, 0.0, 1.0),
    "smiling": (0.86, 0.062, 0.0, 1.14),
    "laughing": (0.72, 0.070, 0.105, 1.18),
    "serious": (0.88, -0.028, 0.0, 0.94),
    "surprised": (1.28, 0.0, 0.125, 0.80),
}
BROW_LIFTS = {"surprised": 0.065, "serious": -0.022, "laughing": 0.012}


def eye_frames(pose, person):
    """(side, scene point, axes) of the eyes; the first axis points outwards."""
    frames = []
    for side in (-1.0, 1.0):
        origin, axes = pose.surface(side * person.eye_distance, person.eye_height, lift=-0.02)
        frames.append((side, origin, axes * np.array([side, 1.0])))
    return frames


def mouth_frame(pose, person):
    """Scene point and axes of the middle of the mouth."""
    return pose.surface(0.0, person.mouth_height * person.chin_length, lift=0.02)


def nose_frame(pose, person):
    """Scene point and axes of the tip of the nose, which sticks out."""
    return pose.surface(0.0, person.nose_length + person.eye_height, lift=0.12 * person.nose_tip)


def draw_eyes(canvas, sitter, pose, light):
    """Both eyes with lids and lashes."""
    person = sitter.person
    openness = EXPRESSIONS[sitter.expression][0]
    wide = 0.135 * person.eye_size
    above = 0.082 * person.eye_size * openness * (1 - 0.25 * person.lid)
    below = 0.052 * person.eye_size * (0.5 + 0.5 * openness)
    skin = np.array(person.skin_colour) * light.tint
    white = np.array((0.95, 0.94, 0.92)) * (0.45 + 0.55 * light.tint)
    for side, origin, axes in eye_frames(pose, person):
        patch = Patch(canvas, origin, axes, (0.32, 0.26))
        if not patch:
            continue
        a, b = patch.a, patch.b + person.eye_tilt * patch.a
        opening = shapes.almond(a, b, wide, above, below)
        patch.fill(white, opening)
        iris = np.array(person.eye_colour)
        ax, by = a - sitter.gaze[0] * 0.045 * side, b - sitter.gaze[1] * 0.03 + 0.008
        radius = 0.064 * (0.55 + 0.45 * person.eye_size)
        seen = coverage(opening, patch.step)
        ring = shapes.circle(ax, by, radius)
        patch.window.blend(iris * light.tint * 0.52, coverage(ring, patch.step) * seen)
        inner = np.clip(1.25 + 0.6 * (by + radius) / radius, 0.8, 1.5)
        patch.window.blend(lit(iris * light.tint, inner), coverage(ring + 0.013, patch.step) * seen)
        patch.window.blend((0.03, 0.03, 0.03), coverage(shapes.circle(ax, by, radius * 0.45), patch.step) * seen)
        # The upper lid throws a shadow on the eye.
        shadow = smooth(-(b + above * (1 - (a / wide) ** 2)), -0.05, 0.0)
        patch.window.shade(0.62, seen * shadow)
        spark = shapes.circle(ax * side - light.side * 0.022, by + 0.024, 0.0135)
        patch.window.blend((1.0, 1.0, 1.0), coverage(spark, patch.step) * seen * 0.95)
        lash = 0.010 + 0.010 * person.lashes
        patch.fill((0.10, 0.07, 0.06), shapes.bow(a, b, wide * 1.02, above, lambda t: lash * (1.05 - 0.3 * t * t)))
        if person.lashes > 0.5:
            for index in range(3):
                start = wide * (0.62 + 0.17 * index)
                root = -above * (1 - (start / wide) ** 2)
                tip = (start + 0.035 + 0.012 * index, root - 0.035 * person.lashes)
                patch.fill((0.08, 0.06, 0.06), shapes.segment(a, b, (start, root), tip, 0.007))
        patch.fill(skin * 0.55, shapes.bow(a, b, wide * 0.9, -below, 0.006), 0.55, 0.012)
        crease = shapes.bow(a, b + 0.035 + 0.03 * (1 - person.lid), wide * 1.0, above * 0.95, 0.008)
        patch.fill(skin * 0.62, crease, 0.75, 0.016)


def draw_brows(canvas, sitter, pose, light):
    """Both brows, of the hair's colour or darker."""
    person = sitter.person
    colour = np.array(person.hair_colour)
    if person.hair_word in ("white", "grey"):
        colour = colour * 0.8
    elif person.hair_word in ("blue", "pink"):
        colour = np.array((0.20, 0.14, 0.11))
    else:
        colour = colour * 0.66
    lift = BROW_LIFTS.get(sitter.expression, 0.0)
    height = person.eye_height - person.brow_height - lift
    for side in (-1.0, 1.0):
        origin, axes = pose.surface(side * person.eye_distance * 1.04, height, lift=0.03)
        patch = Patch(canvas, origin, axes * np.array([side, 1.0]), (0.34, 0.22))
        if not patch:
            continue
        a, b = patch.a, patch.b + person.brow_tilt * 0.5 * patch.a
        thick = 0.034 * person.brow_weight
        distance = shapes.bow(a, b, 0.185, person.brow_arch, lambda t: thick * (0.80 - 0.42 * t))
        patch.fill(colour * light.tint, distance, 0.92, 0.018)


def draw_nose(canvas, sitter, pose, light):
    """Bridge, tip, wings and nostrils, mostly by their shades."""
    person = sitter.person
    origin, axes = nose_frame(pose, person)
    patch = Patch(canvas, origin, axes, (0.42, 0.62))
    if not patch:
        return
    a, b = patch.a, patch.b
    width, length = person.nose_width, person.nose_length
    turned = float(np.sin(pose.yaw))
    # The bridge: a dark side away from the light, a light ridge.
    along = np.clip((b + length) / length, 0, 1)
    ridge = -turned * 0.13 * (1 - along)
    across = a - ridge
    half = 0.042 + (width * 0.62 - 0.042) * along * along
    fade = smooth(b, -length * 0.95, -length * 0.5) * (1 - smooth(b, 0.0, 0.05))
    shaded = np.exp(-(((across + light.side * half * 1.15) / (0.055 + 0.03 * along)) ** 2))
    patch.window.shade((0.74, 0.66, 0.63), shaded * fade * 0.75)
    lit = np.exp(-((across / 0.032) ** 2)) * fade
    patch.window.shade(1.13, lit * 0.8)
    # Tip and wings.
    tip = np.hypot(a / (width * 0.75), (b + 0.01) / 0.075)
    patch.window.shade((1.10, 1.05, 1.04), (1 - smooth(tip, 0.0, 1.0)) * 0.8)
    below = shapes.bow(a, b - 0.058, width * 0.80, -0.028, 0.013)
    patch.shade((0.60, 0.50, 0.48), below, 0.8, 0.03)
    for side in (-1.0, 1.0):
        wing = shapes.ellipse(a - side * width * 0.98, b - 0.012, 0.018, 0.055)
        patch.shade((0.62, 0.52, 0.50), wing, 0.8, 0.028)
        nostril = shapes.ellipse(a - side * width * 0.48, b - 0.047, width * 0.25, 0.017)
        patch.shade((0.30, 0.20, 0.19), nostril, 0.9, 0.014)
    under = np.hypot(a / (width * 1.2), (b - 0.10) / 0.06)
    patch.window.shade((0.84, 0.76, 0.74), (1 - smooth(under, 0.2, 1.1)) * 0.65)


def mouth_corners(pose, person, expression):
    """Scene points of the corners, left and right in the picture."""
    _, rise, _, widen = EXPRESSIONS[expression]
    origin, axes = mouth_frame(pose, person)
    half = person.mouth_width * widen
    return [origin + axes @ np.array([side * half, -rise * 0.75]) for side in (-1.0, 1.0)]


def draw_mouth(canvas, sitter, pose, light):
    """Lips, teeth where it is open, and the line between."""
    person = sitter.person
    _, rise, gap, widen = EXPRESSIONS[sitter.expression]
    half = person.mouth_width * widen
    origin, axes = mouth_frame(pose, person)
    patch = Patch(canvas, origin, axes, (half + 0.14, 0.36))
    if not patch:
        return
    a, b = patch.a, patch.b
    t = a / half
    arch = np.maximum(1 - t * t, 0)
    middle = -rise * (t * t - 0.25)
    inner_top = middle - 0.22 * gap * arch
    inner_bottom = middle + 0.78 * gap * arch
    dip = 1 - 0.32 * np.exp(-((t / 0.16) ** 2))
    outer_top = inner_top - person.lip_upper * np.sqrt(arch) * dip * (1.15 - 0.35 * t * t)
    outer_bottom = inner_bottom + person.lip_lower * arch**0.75
    ends = (np.abs(t) - 1) * half
    lip = np.array(person.lip_colour) * light.tint
    soft = 0.010
    under = np.hypot(a / (half * 0.62), (b - (gap * 0.78 + person.lip_lower + 0.055)) / 0.045)
    patch.window.shade((0.82, 0.75, 0.73), (1 - smooth(under, 0.1, 1.1)) * 0.7)
    upper = np.maximum(np.maximum(outer_top - b, b - inner_top), ends)
    lower = np.maximum(np.maximum(inner_bottom - b, b - outer_bottom), ends)
    patch.fill(lip * 0.86, upper, 0.95, soft)
    patch.fill(lip * 1.04, lower, 0.95, soft)
    gleam = np.hypot(a / (half * 0.4), (b - (inner_bottom + person.lip_lower * 0.42)) / (person.lip_lower * 0.36 + 0.004))
    patch.window.blend(np.minimum(lip * 1.5 + 0.08, 1), (1 - smooth(gleam, 0.1, 1.0)) * 0.35)
    if gap:
        hole = np.maximum(np.maximum(inner_top - b, b - inner_bottom), ends)
        patch.fill((0.20, 0.05, 0.06), hole)
        if sitter.expression == "laughing":
            teeth = np.maximum(np.maximum(inner_top - b, b - (inner_top + 0.62 * gap * arch)), ends)
            patch.fill(np.array((0.96, 0.95, 0.92)) * (0.4 + 0.6 * light.tint), teeth)
    else:
        line = np.maximum(np.abs(b - middle) - 0.008, ends)
        patch.fill(lip * 0.38, line, 0.95, 0.008)
    for side in (-1.0, 1.0):
        corner = np.hypot((a - side * half) / 0.03, (b + rise * 0.75) / 0.026)
        patch.window.shade((0.66, 0.56, 0.54), (1 - smooth(corner, 0.2, 1.0)) * 0.8)
