"""Where the light comes from, and how bright a surface is in it."""

from dataclasses import dataclass

import numpy as np

DIRECTIONS = {
    "soft": (-0.15, -0.55, 0.80),
    "left": (-0.80, -0.35, 0.45),
    "right": (0.80, -0.35, 0.45),
    "warm": (0.35, -0.35, 0.80),
    "dim": (-0.2, -0.7, 0.55),
}
AMBIENT = {"soft": 0.66, "left": 0.46, "right": 0.46, "warm": 0.62, "dim": 0.42}
TINTS = {
    "soft": (1.0, 1.0, 1.0),
    "left": (1.02, 1.0, 0.97),
    "right": (1.02, 1.0, 0.97),
    "warm": (1.10, 0.98, 0.80),
    "dim": (0.74, 0.78, 0.88),
}


@dataclass(frozen=True)
class Light:
    """A far light; `direction` points to it."""

    direction: np.ndarray
    ambient: float
    tint: np.ndarray

    @classmethod
    def of(cls, word):
        """The light of this name."""
        direction = np.array(DIRECTIONS[word])
        return cls(direction / np.linalg.norm(direction), AMBIENT[word], np.array(TINTS[word]))

    def on(self, nx, ny, nz, wrap=0.25):
        """Brightness of a surface with these normals, about 0.4 to 1.1."""
        x, y, z = self.direction.astype(np.float32)
        facing = (nx * x + ny * y + nz * z + wrap) / (1 + wrap)
        return self.ambient + (1.12 - self.ambient) * np.maximum(facing, 0)

    @property
    def side(self):
        """-1 where it comes from the left, 1 from the right."""
        return 1.0 if self.direction[0] > 0 else -1.0
