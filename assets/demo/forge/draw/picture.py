"""Puts the parts of a scene together, from the back to the front, and says where the faces are."""

from dataclasses import dataclass

import numpy as np

from . import backgrounds, body, camera, features, glasses, hair, head, marks, things
from .canvas import Canvas
from .form import ANGLES, outline
from .light import Light
from .pose import Pose

# Where a face's box begins: the forehead, as detectors are taught; hair is no part of it.
FOREHEAD = -0.60


@dataclass(frozen=True)
class Face:
    """A face as it is seen, in pixels where the first pixel's centre is (0.5, 0.5).

    `box` is (x0, y0, x1, y1); `points` [5, 2] are both eyes, the tip of the nose and both corners of
    the mouth, the picture's left one first; `person` is the seed of who it is.
    """

    box: tuple
    points: np.ndarray
    person: int


@dataclass(frozen=True)
class Picture:
    """`pixels` uint8 [h, w, 3] RGB, and its faces from left to right."""

    pixels: np.ndarray
    faces: list


def render(scene, width, height, view=(0.0, 0.0, 1.0, 1.0), aspect=None):
    """Draws the scene, or only the part `view` (x0, y0, x1, y1 as parts of it, may reach beyond).

    `aspect` is width by height of the whole scene; that of the picture if it is left out.
    """
    canvas = Canvas(width, height, view, aspect)
    light = Light.of(scene.light)
    backgrounds.draw_background(canvas, scene)
    canvas.planes *= (0.45 + 0.55 * light.tint).astype(np.float32)[:, None, None]
    if not scene.sitters:
        things.draw_things(canvas, scene)
    faces = [draw_sitter(canvas, sitter, light) for sitter in scene.sitters]
    pixels = camera.photograph(canvas.planes, scene, canvas.step)
    return Picture(pixels, sorted(faces, key=lambda face: face.box[0]))


def pose_of(sitter):
    """How a sitter's head is turned, and where it is."""
    return Pose((sitter.x, sitter.y), sitter.size, sitter.yaw, sitter.pitch, sitter.roll)


def draw_sitter(canvas, sitter, light):
    """Draws one person and tells where the face is."""
    pose = pose_of(sitter)
    on_head = hair.Hair(sitter, pose, light)
    on_head.draw_behind(canvas)
    clothes = body.draw_body(canvas, sitter, pose, light)
    head.draw_neck(canvas, sitter, pose, light)
    body.draw_collar(canvas, sitter, pose, light, clothes)
    head.draw_ears(canvas, sitter, pose, light)
    head.draw_head(canvas, sitter, pose, light)
    marks.draw_freckles(canvas, sitter, pose, light)
    marks.draw_lines(canvas, sitter, pose, light)
    marks.draw_mouth_shadow(canvas, sitter, pose)
    features.draw_eyes(canvas, sitter, pose, light)
    marks.draw_beard(canvas, sitter, pose, light)
    features.draw_nose(canvas, sitter, pose, light)
    features.draw_mouth(canvas, sitter, pose, light)
    features.draw_brows(canvas, sitter, pose, light)
    glasses.draw_arms(canvas, sitter, pose, light)
    on_head.draw_locks(canvas)
    on_head.draw_cap(canvas)
    glasses.draw_glasses(canvas, sitter, pose, light)
    return face_of(canvas, sitter, pose)


def face_of(canvas, sitter, pose):
    """Box and points of a sitter's face."""
    person = sitter.person
    eyes = [origin for _, origin, _ in features.eye_frames(pose, person)]
    nose = features.nose_frame(pose, person)[0]
    corners = features.mouth_corners(pose, person, sitter.expression)
    points = canvas.to_pixels(np.array([*eyes, nose, *corners]))
    radius = outline(person)
    rim = np.stack([np.cos(ANGLES) * radius, np.sin(ANGLES) * radius], -1)
    rim[:, 1] = np.maximum(rim[:, 1], FOREHEAD)
    # The outline moves with the turn of the head, as `Form.locate` has it.
    turned, nodded = np.sin(pose.yaw), np.sin(pose.pitch)
    rim[:, 0] = rim[:, 0] * (1 + 0.05 * abs(turned)) + turned * (0.06 + 0.10 * np.clip(rim[:, 1], -0.6, 1.1))
    rim[:, 1] += nodded * 0.10
    seen = canvas.to_pixels(pose.centre + rim @ pose.upright_axes().T)
    (x0, y0), (x1, y1) = seen.min(axis=0), seen.max(axis=0)
    return Face((float(x0), float(y0), float(x1), float(y1)), points.astype(np.float32), person.seed)
