"""A scene: who is in a picture, and everything about it that is not the person's own."""

from dataclasses import dataclass

import numpy as np

from .people import clip, pick

EXPRESSIONS = {"neutral": 0.34, "smiling": 0.34, "laughing": 0.14, "serious": 0.10, "surprised": 0.08}
CLOTHES = {"t-shirt": 0.26, "shirt": 0.22, "jacket": 0.2, "sweater": 0.2, "striped sweater": 0.12}
CLOTH_COLOURS = {
    "white": (0.93, 0.93, 0.92),
    "black": (0.10, 0.10, 0.12),
    "red": (0.78, 0.12, 0.14),
    "blue": (0.14, 0.30, 0.68),
    "green": (0.13, 0.50, 0.28),
    "yellow": (0.94, 0.78, 0.18),
    "purple": (0.46, 0.22, 0.60),
    "orange": (0.92, 0.48, 0.12),
}
PLAIN_COLOURS = {
    "white": (0.95, 0.95, 0.95),
    "grey": (0.58, 0.59, 0.61),
    "blue": (0.30, 0.50, 0.82),
    "green": (0.36, 0.66, 0.42),
    "yellow": (0.95, 0.83, 0.42),
    "red": (0.76, 0.22, 0.22),
    "purple": (0.58, 0.42, 0.74),
}
PLACES = ("beach", "forest", "night city", "brick wall", "sunset", "snowy mountains", "bookshelf", "window")
LIGHTS = {"soft": 0.5, "left": 0.17, "right": 0.17, "warm": 0.08, "dim": 0.08}


@dataclass(frozen=True)
class Sitter:
    """A person in a scene. Angles in degrees, places and sizes in parts of the picture's height."""

    person: object
    x: float
    y: float  # of the head's middle
    size: float  # half the head's height
    yaw: float
    pitch: float
    roll: float
    expression: str
    gaze: tuple
    clothes: str
    cloth_word: str
    cloth_colour: tuple
    second_colour: tuple


@dataclass(frozen=True)
class Scene:
    """All of a picture."""

    seed: int
    sitters: tuple  # from the back to the front
    background: str  # "plain" or one of `PLACES`
    plain_word: str
    plain_colour: tuple
    light: str
    exposure: float
    warmth: float
    blur: float  # in thousandths of the picture's height
    noise: float
    things: int  # how many things lie about, in a picture of nobody


def scene(people, seed, *, yaw=None, background=None, turn=1.0):
    """A scene of these people, the rest drawn from the seed. `yaw` sets how far they turn; `turn`
    scales how much their poses vary."""
    rng = np.random.default_rng([77001, seed])
    if background is None:
        background = "plain" if rng.random() < 0.42 else PLACES[rng.integers(len(PLACES))]
    plain_word = pick(rng, dict.fromkeys(PLAIN_COLOURS, 1.0))
    if background in PLAIN_COLOURS:
        background, plain_word = "plain", background
    plain = tuple(clip(c + rng.normal(0, 0.02), 0, 1) for c in PLAIN_COLOURS[plain_word])
    spots = places(rng, len(people))
    sitters = tuple(sitter(rng, one, spot, yaw, turn) for one, spot in zip(people, spots, strict=True))
    return Scene(
        seed=seed,
        sitters=sitters,
        background=background,
        plain_word=plain_word,
        plain_colour=plain,
        light=pick(rng, LIGHTS),
        exposure=clip(rng.normal(1.0, 0.05), 0.86, 1.12),
        warmth=float(rng.normal(0, 0.018)),
        blur=max(0.0, float(rng.normal(0.6, 0.6))),
        noise=float(rng.uniform(0.002, 0.008)),
        things=int(rng.integers(2, 7)),
    )


def places(rng, count):
    """(x, y, size) of each head, so that heads do not hide each other."""
    if count == 1:
        size = clip(rng.normal(0.285, 0.05), 0.17, 0.38)
        return [(0.5 + rng.normal(0, 0.045), clip(rng.normal(0.46, 0.03), size + 0.06, 0.58), size)]
    spots = []
    for index in range(count):
        size = clip(rng.normal(0.36 / count + 0.02, 0.012), 0.06, 0.24)
        x = 0.5 + (index - (count - 1) / 2) * (0.92 / count) + rng.normal(0, 0.01)
        spots.append((x, clip(rng.normal(0.47, 0.04), size + 0.1, 0.6), size))
    return spots


def sitter(rng, person, spot, yaw, turn):
    """A person at a place, with a pose, an expression and clothes."""
    clothes = pick(rng, CLOTHES)
    words = list(CLOTH_COLOURS)
    first, second = rng.choice(len(words), 2, replace=False)
    x, y, size = spot
    if yaw is None:
        yaw = rng.normal(0, 15) if rng.random() < 0.85 else rng.uniform(-42, 42)
    return Sitter(
        person=person,
        x=float(x),
        y=float(y),
        size=float(size),
        yaw=clip(yaw * turn, -45, 45),
        pitch=clip(rng.normal(0, 5) * turn, -14, 14),
        roll=clip(rng.normal(0, 6) * turn, -20, 20),
        expression=pick(rng, EXPRESSIONS),
        gaze=(float(rng.normal(0, 0.25)), float(rng.normal(0, 0.12))),
        clothes=clothes,
        cloth_word=words[first],
        cloth_colour=tuple(clip(c + rng.normal(0, 0.02), 0, 1) for c in CLOTH_COLOURS[words[first]]),
        second_colour=CLOTH_COLOURS[words[second]],
    )
