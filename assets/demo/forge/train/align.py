"""Brings a face to 112 x 112 by its five points, as `src/models/face/align.rs` does.

The similarity is the one of least squares to the usual template; pixels are centred at whole numbers,
sampled bilinearly, black outside.
"""

import cv2
import numpy as np

SIDE = 112
TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
# Below this scale the photo is first shrunk by powers of two.
SCALE_MIN = 0.5


def similarity(points):
    """The 2x3 matrix that brings `points` closest to the template."""
    from_mean, to_mean = points.mean(0), TEMPLATE.mean(0)
    p = (points - from_mean) @ (1, 1j)
    q = (TEMPLATE - to_mean) @ (1, 1j)
    a = (p.conj() @ q) / (p.conj() @ p).real
    turn = np.array([[a.real, -a.imag], [a.imag, a.real]])
    return np.hstack([turn, (to_mean - turn @ from_mean)[:, None]])


def align(photo, points):
    """The face of the photo (uint8 [h, w, 3]) with these points as [112, 112, 3]."""
    points = np.asarray(points, float)
    matrix = similarity(points)
    halvings = 0
    while np.hypot(*matrix[:, 0]) * 2**halvings < SCALE_MIN:
        halvings += 1
    if halvings:
        height, width = photo.shape[:2]
        size = [max(int(np.round(side / 2**halvings)), 1) for side in (width, height)]
        photo = cv2.resize(photo, size, interpolation=cv2.INTER_AREA)
        matrix = similarity(points * (size[0] / width, size[1] / height))
    return warp(photo, matrix)


def warp(photo, matrix):
    """What the matrix brings into the crop."""
    return cv2.warpAffine(photo, matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)


def swapped(points):
    """The points of a mirrored face in their order again: left and right change places."""
    return points[..., [1, 0, 2, 4, 3], :]
