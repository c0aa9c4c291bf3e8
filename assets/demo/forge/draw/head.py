"""Head, ears and neck: skin without its features."""

import numpy as np

from . import shapes
from .canvas import Patch, coverage, lit, smooth
from .form import Form


def draw_neck(canvas, sitter, pose, light):
    """From below the head to the shoulders; drawn before the head."""
    person = sitter.person
    skin = np.array(person.skin_colour)
    top = pose.project(np.array([0.0, 0.55, -0.15]))
    base = np.array([pose.centre[0] * 0.4 + sitter.x * 0.6, sitter.y + 1.42 * pose.size])
    half = 0.37 * person.neck * pose.size
    window = canvas.window(min(top[0], base[0]) - 2 * half, top[1] - half, max(top[0], base[0]) + 2 * half, base[1] + 2 * half)
    if window is None:
        return
    t = np.clip((window.y - top[1]) / max(base[1] - top[1], 1e-6), 0, 1)
    middle = top[0] + (base[0] - top[0]) * t
    wide = half * (1 + 0.35 * smooth(t, 0.6, 1.0))
    across = (window.x - middle) / wide
    distance = np.maximum((np.abs(across) - 1) * wide, window.y - base[1] - 0.3 * half)
    bright = light.on(across * 0.8, 0.1, np.sqrt(np.maximum(1 - 0.64 * across * across, 0)))
    under = 1 - 0.30 * (1 - smooth(window.y, pose.centre[1] + 0.95 * pose.size, pose.centre[1] + 1.4 * pose.size))
    window.blend(lit(skin * light.tint * 0.97, bright * under), coverage(distance, window.step))


def draw_ears(canvas, sitter, pose, light):
    """Both, where hair does not cover them later; drawn before the head."""
    person = sitter.person
    skin = np.array(person.skin_colour) * light.tint
    for side in (-1.0, 1.0):
        centre = pose.project(np.array([side * 0.70 * person.cheek, 0.06, -0.12]))
        near = 1 + 0.5 * side * -np.sin(pose.yaw)
        axes = pose.upright_axes() * np.array([max(near, 0.3) * side, 1.0])
        size = person.ear_size
        patch = Patch(canvas, centre, axes, (0.3 * size, 0.4 * size))
        if not patch:
            continue
        outer = shapes.ellipse(patch.a - 0.02, patch.b + 0.12 * patch.a, 0.12 * size, 0.22 * size)
        patch.fill(skin * light.on(side * 0.6, 0.0, 0.7) * 0.96, outer)
        inner = shapes.ellipse(patch.a - 0.03, patch.b + 0.02, 0.055 * size, 0.13 * size)
        patch.shade((0.76, 0.66, 0.62), inner, 0.8, 0.06)


def draw_head(canvas, sitter, pose, light):
    """The skin of the face and skull, with the shades of its form."""
    person = sitter.person
    patch = Patch(canvas, pose.centre, pose.upright_axes(), (1.05, 1.25))
    if not patch:
        return
    places = Form(person, pose).locate(patch.a, patch.b)
    skin = np.array(person.skin_colour) * light.tint
    bright = light.on(places.nx, places.ny, places.nz)
    inside = coverage(places.distance, patch.step)
    patch.window.blend(lit(skin, bright), inside)
    # Edges turn away from the light and are a little redder.
    rim = smooth(1 - places.nz, 0.35, 0.95)
    patch.window.shade((0.86, 0.76, 0.72), inside * rim * 0.7)
    # Sockets of the eyes, and the hollow below the cheekbones.
    for side in (-1.0, 1.0):
        socket = np.hypot((places.x - side * person.eye_distance) / 0.24, (places.y - person.eye_height + 0.05) / 0.15)
        patch.window.shade((0.87, 0.80, 0.78), inside * (1 - smooth(socket, 0.3, 1.25)) * 0.75)
        hollow = np.hypot((places.x - side * 0.46) / 0.17, (places.y - 0.50) / 0.24)
        patch.window.shade((0.93, 0.89, 0.88), inside * (1 - smooth(hollow, 0.1, 1.0)) * 0.6)
        blush = np.hypot((places.x - side * 0.40) / 0.22, (places.y - 0.30) / 0.17)
        patch.window.shade((1.04, 0.80, 0.80), inside * (1 - smooth(blush, 0.0, 1.1)) * person.blush * 0.75)
