"""Where a head is and how it is turned: from head coordinates to the scene.

Head coordinates: the head is 2 high, from the crown at y = -1 to the chin at y = 1; x to the right of
the picture, y down, z to the viewer; the middle of the head is the origin. The eyes lie at y = 0.
"""

import numpy as np

# Half axes of the head's surface: how the face curves back to the sides and up and down.
WIDE, HIGH, DEEP = 0.86, 1.22, 0.64


class Pose:
    """A turned head in the scene. Angles in degrees; `size` is half the head's height in scene units.

    Positive yaw turns to the picture's right, positive pitch down, positive roll clockwise.
    """

    def __init__(self, centre, size, yaw, pitch, roll):
        self.centre = np.asarray(centre, float)
        self.size = size
        self.yaw, self.pitch, self.roll = (float(np.radians(angle)) for angle in (yaw, pitch, roll))
        sy, cy = np.sin(self.yaw), np.cos(self.yaw)
        sp, cp = np.sin(self.pitch), np.cos(self.pitch)
        sr, cr = np.sin(self.roll), np.cos(self.roll)
        about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
        about_x = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
        self.turn = about_y @ about_x
        self.roll_matrix = np.array([[cr, -sr], [sr, cr]])

    def project(self, points):
        """Scene points [..., 2] of head points [..., 3]."""
        turned = np.asarray(points) @ self.turn.T
        return self.centre + self.size * turned[..., :2] @ self.roll_matrix.T

    def upright_axes(self):
        """Scene vectors of the picture plane, tilted with the head but not turned, as columns."""
        return self.size * self.roll_matrix

    def surface(self, x, y, lift=0.0):
        """A place on the face: its scene point, and the scene vectors along x and y as columns."""
        z, zx, zy = depth(x, y)
        tangents = np.array([[1, 0], [0, 1], [zx, zy]])
        axes = self.size * self.roll_matrix @ (self.turn @ tangents)[:2]
        return self.project(np.array([x, y, z + lift])), axes


def depth(x, y):
    """z of the face at (x, y), and its slopes along x and y."""
    inside = max(1 - (x / WIDE) ** 2 - (y / HIGH) ** 2, 0.12)
    z = DEEP * np.sqrt(inside)
    return z, -DEEP * DEEP * x / (WIDE * WIDE * z), -DEEP * DEEP * y / (HIGH * HIGH * z)
