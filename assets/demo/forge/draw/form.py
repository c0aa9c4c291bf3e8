"""The form of a head: its outline as it is seen, and for each pixel the place on the head."""

import numpy as np

# How far the skull's surface goes to the viewer, for telling places on it.
ROUND = 0.82
ANGLES = np.linspace(-np.pi, np.pi, 361)


class Form:
    """Outline of a turned head with something on it: `thickness` maps the angle on the picture plane
    (radians, 0 to the right, pi / 2 down) to how much farther than the skin it reaches."""

    def __init__(self, person, pose, thickness=None):
        self.pose = pose
        radius = outline(person)
        if thickness is not None:
            radius = radius * (1 + thickness(ANGLES))
        self.radius = radius.astype(np.float32)

    def locate(self, u, v):
        """What the pixels at (u, v) of the upright plane show; see `Places`."""
        turned, nodded = float(np.sin(self.pose.yaw)), float(np.sin(self.pose.pitch))
        u = u - turned * (0.06 + 0.10 * np.clip(v, -0.6, 1.1))
        v = v - nodded * 0.10
        # The cheek of the far side is flatter, and the back of the head shows on the near side.
        u = u / (1 + 0.05 * abs(turned))
        angle = np.arctan2(v, u)
        index = (angle + np.float32(np.pi)) * np.float32(180 / np.pi)
        low = np.clip(index.astype(np.int32), 0, 359)
        part = index - low
        radius = self.radius[low] * (1 - part) + self.radius[low + 1] * part
        slope = (self.radius[low + 1] - self.radius[low]) * np.float32(180 / np.pi) / radius
        reach = np.hypot(u, v)
        q = reach / radius
        return Places(self.pose, u, v, angle, q, (reach - radius) / np.sqrt(1 + slope * slope))


class Places:
    """For each pixel: `distance` to the outline (below 0 inside), normals (nx, ny, nz), and the place
    (x, y, z) in head coordinates, with `azimuth` around the head's axis (0 at the nose, radians)."""

    def __init__(self, pose, u, v, angle, q, distance):
        self.distance = distance
        q = np.clip(q, 0, 1)
        # Flatter than a ball in the middle, as faces are.
        bend = q * q * (0.45 + 0.55 * q)
        self.nx, self.ny = np.cos(angle) * bend, np.sin(angle) * bend
        self.nz = np.sqrt(np.maximum(1 - bend * bend, 0))
        depth = ROUND * np.sqrt(np.maximum(1 - q * q, 0))
        back = pose.turn.T.astype(np.float32)
        self.x = back[0, 0] * u + back[0, 1] * v + back[0, 2] * depth
        self.y = back[1, 0] * u + back[1, 1] * v + back[1, 2] * depth
        self.z = back[2, 0] * u + back[2, 1] * v + back[2, 2] * depth
        self.azimuth = np.arctan2(self.x, self.z)


def outline(person):
    """Distance of the skin's outline from the head's middle, for each of `ANGLES`."""
    cheek, jaw = person.cheek, person.jaw
    right = np.array([
        (0.0, -1.0 * person.forehead),
        (0.36, -0.94 * person.forehead),
        (0.62, -0.68 * person.forehead),
        (0.715 * (0.5 + 0.5 * cheek), -0.28),
        (0.715 * cheek, 0.06),
        (0.665 * (0.4 * cheek + 0.6 * jaw), 0.38),
        (0.53 * jaw, 0.66),
        (0.30 * person.chin_width * (0.5 + 0.5 * jaw), 0.90 * person.chin_length),
        (0.14 * person.chin_width, 0.985 * person.chin_length),
        (0.0, 1.0 * person.chin_length),
    ])
    angles = np.arctan2(right[:, 1], right[:, 0])
    radii = np.hypot(right[:, 0], right[:, 1])
    # The left side mirrors the right one.
    mirrored = np.where(ANGLES > np.pi / 2, np.pi - ANGLES, np.where(ANGLES < -np.pi / 2, -np.pi - ANGLES, ANGLES))
    table = np.interp(mirrored, angles, radii)
    kernel = np.exp(-0.5 * (np.arange(-15, 16) / 5.5) ** 2)
    ring = np.concatenate([table[-16:-1], table, table[1:16]])
    return np.convolve(ring, kernel / kernel.sum(), "valid")
