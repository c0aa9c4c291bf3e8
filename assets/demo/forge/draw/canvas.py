"""The pixels of a picture while it is drawn, and where they lie in the scene.

Scene coordinates: x to the right, y down, the picture is 1 high and centred at (0.5, 0.5). Shapes are
given by signed distances (below 0 inside), so that any size of picture is drawn sharp and smooth.
"""

import numpy as np


class Canvas:
    """Planes [3, h, w] of red, green and blue, 0 to 1, of one view of a scene.

    Planes, because numpy is several times as fast over rows of pixels as over three channels.
    """

    def __init__(self, width, height, view=(0.0, 0.0, 1.0, 1.0), aspect=None):
        aspect = width / height if aspect is None else aspect
        x0, y0, x1, y1 = view
        left = 0.5 - aspect / 2
        self.width, self.height = width, height
        self.origin = np.array([left + x0 * aspect, y0])
        self.scale = np.array([(x1 - x0) * aspect / width, (y1 - y0) / height])
        # Scene units of one pixel.
        self.step = float(self.scale.mean())
        self.xs = (self.origin[0] + (np.arange(width) + 0.5) * self.scale[0]).astype(np.float32)
        self.ys = (self.origin[1] + (np.arange(height) + 0.5) * self.scale[1]).astype(np.float32)
        self.planes = np.zeros((3, height, width), np.float32)

    def to_pixels(self, points):
        """Scene points [..., 2] in pixels, where the first pixel's centre is (0.5, 0.5)."""
        return (np.asarray(points) - self.origin) / self.scale

    def window(self, x0, y0, x1, y1):
        """The part of the canvas that covers this box of the scene; `None` if there is none."""
        (left, top) = np.floor(self.to_pixels((x0, y0))).astype(int) - 1
        (right, bottom) = np.ceil(self.to_pixels((x1, y1))).astype(int) + 2
        left, top = max(left, 0), max(top, 0)
        right, bottom = min(right, self.width), min(bottom, self.height)
        if left >= right or top >= bottom:
            return None
        return Window(self, slice(top, bottom), slice(left, right))

    def whole(self):
        """All of it."""
        return Window(self, slice(0, self.height), slice(0, self.width))


class Window:
    """A part of a canvas. `x` [1, w] and `y` [h, 1] are in scene units."""

    def __init__(self, canvas, rows, columns):
        self.rows, self.columns = rows, columns
        self.x = canvas.xs[None, columns]
        self.y = canvas.ys[rows, None]
        self.step = canvas.step
        self.planes = canvas.planes[:, rows, columns]

    def blend(self, colour, alpha):
        """Puts a colour ([3] or [3, h, w]) over the pixels, as far as alpha [h, w] says."""
        for plane, value in zip(self.planes, np.asarray(colour, np.float32), strict=True):
            plane += (value - plane) * alpha

    def shade(self, factor, alpha):
        """Multiplies the pixels by a factor ([3] or number), as far as alpha [h, w] says."""
        for plane, value in zip(self.planes, np.broadcast_to(np.float32(factor), 3), strict=True):
            plane *= 1 + (value - 1) * alpha


class Patch:
    """A window seen in the coordinates (a, b) of a flat, tilted piece of a surface.

    `origin` [2] is its middle in the scene, `axes` [2, 2] has the scene vectors of a and b as columns;
    `reach` (a, b) is how far it goes from its middle.
    """

    def __init__(self, canvas, origin, axes, reach):
        axes = np.asarray(axes, float)
        corners = np.array([[i * reach[0], j * reach[1]] for i in (-1, 1) for j in (-1, 1)])
        spread = np.abs(corners @ axes.T).max(axis=0)
        self.window = canvas.window(*(origin - spread), *(origin + spread))
        if self.window is None:
            return
        inverse = np.linalg.inv(axes).astype(np.float32)
        x, y = self.window.x - np.float32(origin[0]), self.window.y - np.float32(origin[1])
        self.a = inverse[0, 0] * x + inverse[0, 1] * y
        self.b = inverse[1, 0] * x + inverse[1, 1] * y
        self.step = float(canvas.step / np.sqrt(max(abs(np.linalg.det(axes)), 1e-9)))

    def __bool__(self):
        return self.window is not None

    def fill(self, colour, distance, opacity=1.0, softness=0.0):
        """Paints where the distance is below 0; the edge is `softness` wide, at least a pixel."""
        self.window.blend(colour, coverage(distance, max(self.step, softness)) * opacity)

    def shade(self, factor, distance, opacity=1.0, softness=0.0):
        """The same with a factor instead of a colour."""
        self.window.shade(factor, coverage(distance, max(self.step, softness)) * opacity)


def lit(colour, bright):
    """A colour [3] under a brightness [h, w]: [3, h, w]."""
    return np.asarray(colour, np.float32)[:, None, None] * np.asarray(bright, np.float32)


def coverage(distance, width):
    """How much of a pixel lies inside, 0 to 1, where the edge is so wide."""
    return np.clip(0.5 - distance / width, 0, 1)


def smooth(value, low, high):
    """0 below `low`, 1 above `high`, smooth between."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)
