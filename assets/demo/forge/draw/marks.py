"""What else is on the skin: beard, freckles, lines of age, a mole."""

import numpy as np

from . import noise, shapes
from .canvas import Patch, coverage, lit, smooth
from .features import EXPRESSIONS, mouth_frame
from .form import Form


def draw_beard(canvas, sitter, pose, light):
    """Drawn before the mouth. Its colour is a little darker than the hair's."""
    person = sitter.person
    if person.beard == "none":
        return
    growth = 0.10 if person.beard == "full" else 0.0
    form = Form(person, pose, lambda angle: growth * smooth(np.sin(angle), 0.35, 0.95))
    patch = Patch(canvas, pose.centre, pose.upright_axes(), (1.05, 1.35))
    if not patch:
        return
    places = form.locate(patch.a, patch.b)
    colour = np.array(person.hair_colour) * (0.82 if person.hair_word not in ("black", "white") else 0.95)
    # A full turn to the side has the ear at 1.35 radians.
    around = np.abs(places.azimuth)
    lip = person.mouth_height * person.chin_length
    if person.beard in ("full", "stubble"):
        edge = np.interp(around, [0.0, 0.25, 0.42, 0.75, 1.1, 1.4, 3.2], [lip - 0.14, lip - 0.13, lip - 0.10, 0.42, 0.12, -0.05, 0.5]).astype(np.float32)
        depth = places.y - edge
    elif person.beard == "goatee":
        chin = np.hypot(places.x / 0.26, (places.y - (lip + 0.20)) / 0.19)
        sides = np.maximum(np.abs(np.abs(places.x) - 0.25) - 0.045, np.abs(places.y - lip - 0.02) - 0.15)
        depth = np.maximum(np.maximum((1 - chin) * 0.2, -sides), moustache(places, lip, 0.25))
    else:
        depth = moustache(places, lip, 0.30)
    strength = {"stubble": 0.34, "full": 0.97, "goatee": 0.95, "moustache": 0.97}[person.beard]
    alpha = smooth(depth, -0.02, 0.05) * strength * coverage(places.distance, patch.step)
    streak = noise.wave(places.azimuth * 26 + places.y * 3, person.seed % 9973 + 5)
    bright = light.on(places.nx, places.ny, places.nz) * (0.9 + 0.16 * streak)
    patch.window.blend(lit(colour * light.tint, bright), alpha)


def moustache(places, lip, half):
    """How deep inside a moustache the places are."""
    t = np.abs(places.x) / half
    top = lip - 0.150 + 0.10 * t * t
    bottom = lip - 0.045 + 0.10 * t * t
    return np.minimum(np.minimum(places.y - top, bottom - places.y), (1 - t) * half)


def draw_freckles(canvas, sitter, pose, light):
    """The same ones in every picture of the person."""
    person = sitter.person
    rng = np.random.default_rng([31, person.seed])
    if person.freckles:
        colour = np.array(person.skin_colour) * (0.66, 0.52, 0.44) * light.tint
        for _ in range(int(46 * person.freckles)):
            x, y = rng.normal(0, 0.27), rng.normal(0.24, 0.10)
            spot(canvas, pose, x, y, rng.uniform(0.010, 0.021), colour, rng.uniform(0.5, 0.95))
    if person.mole:
        spot(canvas, pose, *person.mole, 0.026, np.array((0.20, 0.11, 0.08)) * light.tint, 0.95)


def spot(canvas, pose, x, y, radius, colour, opacity):
    """A round spot on the skin."""
    if abs(x) > 0.62 or not -0.3 < y < 0.85:
        return
    origin, axes = pose.surface(x, y)
    patch = Patch(canvas, origin, axes, (0.06, 0.06))
    if patch:
        patch.fill(colour, shapes.circle(patch.a, patch.b, radius), opacity, 0.012)


def draw_lines(canvas, sitter, pose, light):
    """Lines of age: forehead, beside the eyes, under them, and from nose to mouth."""
    person = sitter.person
    strength = person.lines
    _, _, _, widen = EXPRESSIONS[sitter.expression]
    # A smile pushes the cheeks up.
    fold = max(strength, 0.35 if widen > 1.1 else 0.0)
    if fold == 0:
        return
    dark = np.array(person.skin_colour) * (0.62, 0.52, 0.48) * light.tint
    for side in (-1.0, 1.0):
        origin, axes = pose.surface(side * 0.27, 0.50)
        patch = Patch(canvas, origin, axes * np.array([side, 1.0]), (0.2, 0.26))
        if patch:
            crease = shapes.bow(patch.b, -(patch.a - 0.25 * patch.b), 0.17, 0.045, 0.008)
            patch.fill(dark, crease, 0.8 * fold, 0.022)
        if not strength:
            continue
        origin, axes = pose.surface(side * person.eye_distance, person.eye_height + 0.14)
        patch = Patch(canvas, origin, axes * np.array([side, 1.0]), (0.2, 0.12))
        if patch:
            patch.fill(dark, shapes.bow(patch.a, patch.b, 0.13, -0.04, 0.007), 0.75 * strength, 0.02)
        origin, axes = pose.surface(side * (person.eye_distance + 0.2), person.eye_height)
        patch = Patch(canvas, origin, axes * np.array([side, 1.0]), (0.14, 0.14))
        if patch:
            for slope in (-0.06, 0.0, 0.06):
                ray = shapes.segment(patch.a, patch.b, (-0.02, slope * 0.5), (0.075, slope * 1.6), 0.006)
                patch.fill(dark, ray, 0.65 * strength, 0.014)
    if strength:
        for index in range(3 if strength > 0.7 else 2):
            origin, axes = pose.surface(0.0, -0.36 - 0.095 * index)
            patch = Patch(canvas, origin, axes, (0.45, 0.12))
            if patch:
                crease = shapes.bow(patch.a, patch.b, 0.32 - 0.03 * index, 0.022, lambda t: 0.009 * (1 - 0.6 * t * t))
                patch.fill(dark, crease, 0.62 * strength, 0.018)


def draw_mouth_shadow(canvas, sitter, pose):
    """A soft shade between nose and lip, so that lips stand out on any skin."""
    origin, axes = mouth_frame(pose, sitter.person)
    patch = Patch(canvas, origin, axes, (0.2, 0.3))
    if patch:
        groove = np.hypot(patch.a / 0.05, (patch.b + 0.13) / 0.07)
        patch.window.shade((0.88, 0.82, 0.80), (1 - smooth(groove, 0.1, 1.0)) * 0.5)
