"""What is behind the people: plain colours and places, a little out of focus."""

import numpy as np

from . import noise
from .canvas import coverage, lit, smooth


BOOKS = (
    (0.62, 0.16, 0.14),
    (0.14, 0.28, 0.50),
    (0.18, 0.42, 0.26),
    (0.80, 0.66, 0.36),
    (0.42, 0.26, 0.46),
    (0.86, 0.82, 0.72),
    (0.30, 0.24, 0.20),
)


def draw_background(canvas, scene):
    """Fills the whole canvas."""
    window = canvas.whole()
    rng = np.random.default_rng([911, scene.seed])
    if scene.background == "plain":
        window.planes[:] = plain(window, rng, scene.plain_colour)
        return
    if scene.background in DETAILED:
        DETAILED[scene.background](canvas, rng)
    else:
        PLACES[scene.background](window, rng)


def ramp(t, *stops):
    """A colour [3, h, w] along stops of (place, colour)."""
    t = np.asarray(t, np.float32)
    places = [place for place, _ in stops]
    return np.stack([np.interp(t, places, [colour[i] for _, colour in stops]) for i in range(3)]).astype(np.float32)


def plain(window, rng, colour):
    """A studio wall: one colour, lighter on one side."""
    x, y = np.broadcast_arrays(window.x, window.y)
    angle = rng.uniform(0, 2 * np.pi)
    side = (x - 0.5) * np.cos(angle) + (y - 0.5) * np.sin(angle)
    corner = (x - 0.5) ** 2 + (y - 0.5) ** 2
    bright = 1 + rng.uniform(0.03, 0.12) * side - rng.uniform(0.05, 0.22) * corner
    return np.clip(lit(colour, bright), 0, 1)


def put_box(canvas, colour, left, top, right, bottom, soft, opacity=1.0):
    """An upright rectangle with soft edges."""
    window = canvas.window(left - soft, top - soft, right + soft, bottom + soft)
    if window is not None:
        across = np.maximum(left - window.x, window.x - right)
        put(window, colour, np.maximum(across, np.maximum(top - window.y, window.y - bottom)), soft, opacity)


def put(window, colour, distance, soft, opacity=1.0):
    """A shape with a soft edge."""
    window.blend(colour, coverage(distance, max(soft, window.step)) * opacity)


def beach(window, rng):
    """Sky, sea and sand."""
    horizon, shore = rng.uniform(0.38, 0.50), rng.uniform(0.66, 0.78)
    x, y = np.broadcast_arrays(window.x, window.y)
    window.planes[:] = ramp(y / horizon, (0.0, (0.36, 0.65, 0.94)), (1.0, (0.82, 0.92, 0.98)))
    for _ in range(rng.integers(0, 4)):
        cloud(window, rng, horizon)
    sea = ramp((y - horizon) / (shore - horizon), (0.0, (0.10, 0.42, 0.66)), (1.0, (0.30, 0.74, 0.78)))
    ripple = 1 + 0.06 * noise.wave(y * 55, int(rng.integers(1e6)))
    put(window, sea * ripple.astype(np.float32), horizon - y, 0.008)
    edge = shore + 0.018 * np.sin(x * 7 + rng.uniform(0, 6))
    put(window, (0.95, 0.97, 0.96), edge - 0.022 - y, 0.02)
    put(window, ramp((y - shore) / 0.3, (0.0, (0.86, 0.76, 0.56)), (1.0, (0.94, 0.86, 0.66))), edge - y, 0.012)


def cloud(window, rng, horizon):
    """A few white puffs."""
    cx, cy = rng.uniform(-0.1, 1.1), rng.uniform(0.04, horizon * 0.7)
    for _ in range(4):
        ox, oy, r = rng.normal(0, 0.055), rng.normal(0, 0.014), rng.uniform(0.03, 0.065)
        put(window, (0.98, 0.98, 1.0), np.hypot(window.x - cx - ox, (window.y - cy - oy) * 1.7) - r, 0.05, 0.75)


def forest(window, rng):
    """Trunks between leaves, light from above."""
    x, y = np.broadcast_arrays(window.x, window.y)
    leaves = noise.field(x * 7, y * 7, int(rng.integers(1e6)), octaves=2)
    light = smooth(y, 0.75, -0.1)
    window.planes[:] = ramp(0.5 + 0.42 * leaves + 0.25 * (light - 0.5), (0.0, (0.05, 0.20, 0.08)), (0.55, (0.16, 0.42, 0.16)), (1.0, (0.56, 0.76, 0.32)))
    put(window, (0.22, 0.30, 0.12), 0.86 + 0.02 * np.sin(x * 9) - y, 0.05)
    for _ in range(rng.integers(3, 7)):
        cx, half = rng.uniform(-0.05, 1.05), rng.uniform(0.016, 0.05)
        bark = np.array((0.30, 0.20, 0.13)) * rng.uniform(0.7, 1.25)
        put(window, bark, np.abs(x - cx - 0.03 * np.sin(y * 3 + cx * 9)) - half * (0.8 + 0.4 * y), 0.012)


def night_city(canvas, rng):
    """Dark houses with lit windows, and round lights out of focus."""
    whole = canvas.whole()
    _, y = np.broadcast_arrays(whole.x, whole.y)
    whole.planes[:] = ramp(y, (0.0, (0.03, 0.04, 0.13)), (0.75, (0.16, 0.12, 0.30)), (1.0, (0.08, 0.07, 0.14)))
    left = -0.1
    while left < 1.1:
        wide, top = rng.uniform(0.12, 0.24), rng.uniform(0.12, 0.5)
        tone = np.array((0.07, 0.08, 0.14)) * rng.uniform(0.7, 1.5)
        put_box(canvas, tone, left, top, left + wide, 1.1, 0.006)
        for row in range(int((0.95 - top) / 0.075)):
            for column in range(max(1, int(wide / 0.06))):
                if rng.random() < 0.42:
                    x, y = left + 0.03 + column * 0.06, top + 0.05 + row * 0.075
                    put_box(canvas, (0.98, 0.84, 0.46), x - 0.013, y - 0.018, x + 0.013, y + 0.018, 0.012, rng.uniform(0.6, 1.0))
        left += wide + rng.uniform(0.0, 0.03)
    for _ in range(rng.integers(4, 9)):
        colour = ((1.0, 0.72, 0.30), (1.0, 0.36, 0.30), (0.40, 0.70, 1.0), (1.0, 0.9, 0.7))[rng.integers(4)]
        x, y, radius = rng.uniform(0, 1), rng.uniform(0.45, 0.95), rng.uniform(0.018, 0.045)
        window = canvas.window(x - 0.07, y - 0.07, x + 0.07, y + 0.07)
        opacity = rng.uniform(0.35, 0.75)
        if window is not None:
            put(window, colour, np.hypot(window.x - x, window.y - y) - radius, 0.012, opacity)


def brick_wall(window, rng):
    """Rows of bricks, each of another tone."""
    x, y = np.broadcast_arrays(window.x, window.y)
    high = rng.uniform(0.062, 0.085)
    wide = high * 2.4
    row = np.floor(y / high)
    shifted = x / wide + 0.5 * (row % 2) + rng.uniform(0, 1)
    column = np.floor(shifted)
    tones = rng.uniform(0.80, 1.16, 256).astype(np.float32)
    tone = tones[(row * 37 + column * 11).astype(int) & 255]
    base = np.array((0.66, 0.30, 0.22)) * rng.uniform(0.85, 1.1)
    window.planes[:] = np.clip(lit(base, tone), 0, 1)
    across = np.minimum((shifted - column) * wide, (1 - shifted + column) * wide)
    along = np.minimum(y - row * high, (row + 1) * high - y)
    put(window, (0.80, 0.75, 0.69), np.minimum(across, along) - 0.0065, 0.006)
    window.shade(0.72, smooth(np.hypot(x - 0.5, y - 0.4), 0.35, 0.95) * 0.6)


def sunset(window, rng):
    """A low sun in an orange sky over dark hills."""
    horizon = rng.uniform(0.60, 0.72)
    x, y = np.broadcast_arrays(window.x, window.y)
    window.planes[:] = ramp(y / horizon, (0.0, (0.30, 0.20, 0.50)), (0.45, (0.86, 0.36, 0.42)), (0.8, (0.99, 0.60, 0.26)), (1.0, (1.0, 0.82, 0.42)))
    sx = rng.choice((rng.uniform(0.05, 0.28), rng.uniform(0.72, 0.95)))
    away = np.hypot(x - sx, y - horizon + 0.07)
    window.blend((1.0, 0.92, 0.62), np.exp(-((away / 0.16) ** 2)) * 0.75)
    put(window, (1.0, 0.97, 0.82), away - 0.055, 0.01)
    for layer in range(2):
        ridge = horizon + 0.06 * layer + 0.03 * np.sin(x * rng.uniform(4, 8) + rng.uniform(0, 6))
        put(window, np.array((0.26, 0.13, 0.26)) * (1 - 0.4 * layer), ridge - y, 0.008)


def snowy_mountains(window, rng):
    """White peaks before a clear sky, snow in front."""
    x, y = np.broadcast_arrays(window.x, window.y)
    window.planes[:] = ramp(y / 0.6, (0.0, (0.42, 0.66, 0.92)), (1.0, (0.84, 0.92, 0.98)))
    for layer in range(3):
        base = 0.62 + 0.10 * layer
        ridge = np.full(x.shape, base, np.float32)
        for _ in range(4):
            peak, tall, wide = rng.uniform(-0.1, 1.1), rng.uniform(0.12, 0.34) * (1 - 0.25 * layer), rng.uniform(0.16, 0.32)
            ridge = np.minimum(ridge, base - tall * np.maximum(1 - np.abs(x - peak) / wide, 0))
        rough = 0.03 * noise.wave(x * 16, int(rng.integers(1e6)))
        rock = np.array((0.40, 0.46, 0.58)) * (1 - 0.14 * layer)
        put(window, rock, ridge - y, 0.006)
        put(window, (0.96, 0.97, 1.0), np.maximum(ridge - y, y - ridge - 0.09 - rough), 0.008)
    put(window, (0.93, 0.95, 0.99), 0.88 + 0.02 * np.sin(x * 5 + rng.uniform(0, 6)) - y, 0.02)


def bookshelf(canvas, rng):
    """Shelves with the backs of books."""
    canvas.planes[:] = np.array((0.22, 0.13, 0.08), np.float32)[:, None, None]
    high = rng.uniform(0.22, 0.27)
    bottom = high - rng.uniform(0, high)
    while bottom < 1 + high:
        left = -0.05
        while left < 1.05:
            wide, tall = rng.uniform(0.026, 0.060), high * rng.uniform(0.62, 0.88)
            colour = np.array(BOOKS[rng.integers(len(BOOKS))]) * rng.uniform(0.8, 1.15)
            right, foot = left + wide - 0.003, bottom - 0.022
            put_box(canvas, colour, left, foot - tall, right, foot, 0.004)
            if rng.random() < 0.5:
                put_box(canvas, (0.92, 0.84, 0.60), left, foot - tall * 0.8, right, foot - tall * 0.8 + 0.016, 0.004, 0.8)
            left += wide
        put_box(canvas, (0.48, 0.31, 0.19), -1.0, bottom - 0.022, 2.0, bottom + 0.002, 0.004)
        bottom += high


def beside_window(window, rng):
    """A light window with a cross in a warm wall, and a curtain."""
    x, y = np.broadcast_arrays(window.x, window.y)
    wall = np.array((0.84, 0.76, 0.66)) * rng.uniform(0.9, 1.05)
    window.planes[:] = np.clip(lit(wall, 1.05 - 0.2 * y), 0, 1)
    left = rng.choice((0.04, 0.50)) + rng.uniform(-0.03, 0.03)
    right, top, bottom = left + 0.44, rng.uniform(0.04, 0.10), rng.uniform(0.70, 0.80)
    cx, cy, half_x, half_y = (left + right) / 2, (top + bottom) / 2, (right - left) / 2, (bottom - top) / 2
    pane = np.maximum(np.abs(x - cx) - half_x, np.abs(y - cy) - half_y)
    put(window, (0.96, 0.96, 0.94), pane - 0.022, 0.006)
    outside = ramp(y, (0.0, (0.70, 0.86, 0.98)), (0.55, (0.90, 0.96, 0.99)), (0.62, (0.60, 0.80, 0.52)), (1.0, (0.46, 0.70, 0.42)))
    put(window, outside, pane, 0.006)
    bars = np.minimum(np.abs(x - cx), np.abs(y - cy)) - 0.010
    put(window, (0.95, 0.95, 0.93), np.maximum(bars, pane), 0.006)
    side = left if rng.random() < 0.5 else right
    curtain = np.abs(x - side) - 0.075 - 0.02 * y
    tone = np.array(((0.78, 0.34, 0.30), (0.36, 0.50, 0.62), (0.88, 0.80, 0.60))[rng.integers(3)])
    folds = 0.92 + 0.10 * np.sin((x - side) * 110)
    put(window, lit(tone, folds), curtain, 0.006)


# Those that are drawn over the whole canvas, and those of many small things.
PLACES = {
    "beach": beach,
    "forest": forest,
    "brick wall": brick_wall,
    "sunset": sunset,
    "snowy mountains": snowy_mountains,
    "window": beside_window,
}
DETAILED = {"night city": night_city, "bookshelf": bookshelf}
