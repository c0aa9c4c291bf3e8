"""Glasses: a frame a little before the face, so that it moves against it as the head turns."""

import numpy as np

from . import shapes
from .canvas import Patch, coverage


def draw_arms(canvas, sitter, pose, light):
    """From the lenses to the ears; drawn before the hair, which covers them."""
    person = sitter.person
    if person.glasses == "none":
        return
    turned = float(np.sin(pose.yaw))
    y = person.eye_height + 0.015
    for side in (-1.0, 1.0):
        # The head hides the arm of the side that is turned away.
        if side * turned > 0.10:
            continue
        hinge = pose.surface(side * (person.eye_distance + 0.22), y - 0.03, lift=0.08)[0]
        ear = pose.project(np.array([side * 0.68 * person.cheek, y - 0.02, -0.05]))
        stroke(canvas, hinge, ear, 0.016 * pose.size, tinted(person, light))


def tinted(person, light):
    """The frame's colour in this light."""
    return np.array(person.frame_colour) * (0.35 + 0.65 * light.tint)


def draw_glasses(canvas, sitter, pose, light):
    """Two lenses and the bridge between them."""
    person = sitter.person
    if person.glasses == "none":
        return
    frame = tinted(person, light)
    thick = {"round": 0.020, "square": 0.022, "thick-rimmed": 0.042}[person.glasses]
    y = person.eye_height + 0.015
    inner = []
    for side in (-1.0, 1.0):
        origin, axes = pose.surface(side * person.eye_distance, y, lift=0.14)
        # A lens is flat: it leans only half as far back as the face does.
        flat = pose.size * pose.roll_matrix @ pose.turn[:2, :2]
        axes = (0.4 * axes + 0.6 * flat) * np.array([side, 1.0])
        inner.append(origin + axes @ np.array([-0.2, -0.03]))
        patch = Patch(canvas, origin, axes, (0.36, 0.34))
        if not patch:
            continue
        lens = lens_distance(person.glasses, patch.a, patch.b)
        patch.window.blend((0.92, 0.96, 1.0), coverage(lens, patch.step) * 0.10)
        glare = shapes.segment(patch.a * side, patch.b, (-0.04, -0.13), (-0.13, -0.02), 0.016)
        patch.window.blend((1, 1, 1), coverage(glare, max(patch.step, 0.03)) * coverage(lens, patch.step) * 0.35)
        patch.fill(frame, np.abs(lens) - thick)
    stroke(canvas, inner[0], inner[1], 0.018 * pose.size, frame)


def lens_distance(kind, a, b):
    """Distance to the rim of a lens; a points outwards."""
    if kind == "round":
        return shapes.circle(a, b, 0.205)
    if kind == "square":
        return shapes.box(a, b, 0.215, 0.155, 0.05)
    return shapes.box(a, b + 0.06 * a, 0.215, 0.17, 0.10)


def stroke(canvas, start, end, radius, colour):
    """A straight piece of the frame between two scene points."""
    low, high = np.minimum(start, end) - 2 * radius, np.maximum(start, end) + 2 * radius
    window = canvas.window(*low, *high)
    if window is not None:
        distance = shapes.segment(window.x, window.y, start, end, radius)
        window.blend(colour, coverage(distance, window.step))
