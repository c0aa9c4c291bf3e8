"""Invented people: a person is a set of traits, drawn from a seed.

A trait is either a word that a caption names (hair colour, glasses) or a number around 0 or 1 that
only shows. The same seed gives the same person, whatever else changes in a picture.
"""

from dataclasses import dataclass

import numpy as np

# People for training, and people that training never sees.
TRAINING = range(0, 4000)
UNSEEN = range(1_000_000, 1_001_000)

HAIR_COLOURS = {
    "black": (0.07, 0.06, 0.07),
    "brown": (0.36, 0.20, 0.10),
    "blond": (0.88, 0.72, 0.38),
    "red": (0.74, 0.26, 0.08),
    "grey": (0.52, 0.53, 0.55),
    "white": (0.92, 0.92, 0.90),
    "blue": (0.13, 0.33, 0.78),
    "pink": (0.93, 0.42, 0.66),
}
SKINS = {
    "pale": (0.97, 0.84, 0.76),
    "fair": (0.93, 0.75, 0.62),
    "tan": (0.82, 0.60, 0.44),
    "brown": (0.62, 0.42, 0.29),
    "dark": (0.40, 0.26, 0.18),
}
EYE_COLOURS = {
    "brown": (0.34, 0.19, 0.08),
    "blue": (0.20, 0.46, 0.80),
    "green": (0.22, 0.52, 0.28),
    "grey": (0.48, 0.54, 0.58),
    "amber": (0.72, 0.46, 0.10),
}
FACES = ("round", "oval", "square", "long", "heart-shaped")
HAIR_STYLES = {
    # word: (share among men, share among women)
    "bald": (0.10, 0.0),
    "shaved": (0.12, 0.02),
    "short": (0.26, 0.08),
    "side-parted": (0.20, 0.05),
    "spiky": (0.12, 0.03),
    "curly": (0.12, 0.15),
    "bob": (0.02, 0.18),
    "fringed": (0.02, 0.14),
    "long straight": (0.03, 0.17),
    "long wavy": (0.01, 0.12),
    "tied-up": (0.0, 0.06),
}
BEARDS = {"none": 0.46, "stubble": 0.14, "moustache": 0.12, "goatee": 0.11, "full": 0.17}
GLASSES = {"none": 0.58, "round": 0.16, "square": 0.16, "thick-rimmed": 0.10}
FRAME_COLOURS = ((0.08, 0.08, 0.09), (0.42, 0.22, 0.10), (0.55, 0.08, 0.10), (0.62, 0.62, 0.66), (0.10, 0.20, 0.45))
LIPS_PAINTED = ((0.75, 0.10, 0.16), (0.80, 0.30, 0.42), (0.48, 0.10, 0.22))


@dataclass(frozen=True)
class Person:
    """What stays the same in all pictures of a person. Colours are RGB, 0 to 1."""

    seed: int
    kind: str  # "man" or "woman"
    age: str  # "young", "middle-aged" or "old"
    face: str
    skin: str
    skin_colour: tuple
    hair: str
    hair_word: str
    hair_colour: tuple
    hair_volume: float  # about 1
    hairline: float  # of a receding or low hairline, about 0
    parting: float  # -1 left, 1 right
    beard: str
    glasses: str
    frame_colour: tuple
    eyes: str
    eye_colour: tuple
    eye_size: float
    eye_distance: float
    eye_tilt: float
    eye_height: float
    lid: float  # how heavy the upper lid is, 0 to 1
    brow_weight: float
    brow_arch: float
    brow_height: float
    brow_tilt: float
    nose_length: float
    nose_width: float
    nose_tip: float
    mouth_width: float
    lip_upper: float
    lip_lower: float
    mouth_height: float
    lip_colour: tuple
    lashes: float
    cheek: float  # width at the cheeks, about 1
    jaw: float
    chin_width: float
    chin_length: float
    forehead: float
    ear_size: float
    freckles: float  # 0 for none
    lines: float  # of age, 0 to 1
    blush: float
    mole: tuple  # (x, y) on the face, or None
    neck: float


def person(seed):
    """The person of this seed."""
    rng = np.random.default_rng([20240611, seed])
    kind = "woman" if rng.random() < 0.5 else "man"
    is_man = kind == "man"
    age = pick(rng, {"young": 0.45, "middle-aged": 0.3, "old": 0.25})
    skin = pick(rng, dict.fromkeys(SKINS, 1.0))
    skin_colour = vary(rng, SKINS[skin], 0.035)
    hair = pick(rng, {word: shares[not is_man] for word, shares in HAIR_STYLES.items()})
    hair_word = pick(rng, hair_shares(age, skin))
    face = FACES[rng.integers(len(FACES))]
    cheek, jaw, chin_width, chin_length = face_form(rng, face, is_man)
    beard = pick(rng, BEARDS) if is_man else "none"
    glasses = pick(rng, GLASSES)
    eyes = pick(rng, eye_shares(skin))
    painted = not is_man and rng.random() < 0.55
    lip = LIPS_PAINTED[rng.integers(len(LIPS_PAINTED))] if painted else natural_lip(skin_colour)
    near = rng.normal
    return Person(
        seed=seed,
        kind=kind,
        age=age,
        face=face,
        skin=skin,
        skin_colour=skin_colour,
        hair=hair,
        hair_word=hair_word,
        hair_colour=vary(rng, HAIR_COLOURS[hair_word], 0.03),
        hair_volume=clip(near(1.0, 0.22), 0.55, 1.6),
        hairline=clip(near(0.06 if is_man and age != "young" else 0.0, 0.06), -0.12, 0.2),
        parting=float(rng.choice((-1.0, 1.0))),
        beard=beard,
        glasses=glasses,
        frame_colour=FRAME_COLOURS[rng.integers(len(FRAME_COLOURS))],
        eyes=eyes,
        eye_colour=vary(rng, EYE_COLOURS[eyes], 0.03),
        eye_size=clip(near(1.0 if is_man else 1.1, 0.12), 0.72, 1.42),
        eye_distance=clip(near(0.300, 0.022), 0.25, 0.35),
        eye_tilt=clip(near(0.0 if is_man else 0.05, 0.09), -0.22, 0.25),
        eye_height=clip(near(0.0, 0.03), -0.07, 0.07),
        lid=clip(near(0.35, 0.25), 0.0, 1.0),
        brow_weight=clip(near(1.2 if is_man else 0.75, 0.28), 0.35, 2.0),
        brow_arch=clip(near(0.05 if is_man else 0.08, 0.03), 0.0, 0.15),
        brow_height=clip(near(0.225, 0.03), 0.16, 0.30),
        brow_tilt=clip(near(0.0, 0.12), -0.3, 0.3),
        nose_length=clip(near(0.40, 0.045), 0.29, 0.50),
        nose_width=clip(near(0.15 if is_man else 0.13, 0.024), 0.085, 0.21),
        nose_tip=clip(near(1.0, 0.2), 0.6, 1.5),
        mouth_width=clip(near(0.235, 0.03), 0.165, 0.315),
        lip_upper=clip(near(0.040 if is_man else 0.050, 0.013), 0.016, 0.085),
        lip_lower=clip(near(0.060 if is_man else 0.072, 0.016), 0.025, 0.115),
        mouth_height=clip(near(0.645, 0.025), 0.59, 0.70),
        lip_colour=vary(rng, lip, 0.03),
        lashes=0.25 if is_man else clip(near(0.9, 0.2), 0.4, 1.3),
        cheek=cheek,
        jaw=jaw,
        chin_width=chin_width,
        chin_length=chin_length,
        forehead=clip(near(1.0, 0.05), 0.88, 1.12),
        ear_size=clip(near(1.0, 0.15), 0.65, 1.4),
        freckles=float(rng.uniform(0.5, 1.0)) if rng.random() < freckle_share(skin) else 0.0,
        lines={"young": 0.0, "middle-aged": 0.45, "old": 1.0}[age] * clip(near(0.9, 0.15), 0.5, 1.2),
        blush=clip(near(0.35 if is_man else 0.6, 0.25), 0.0, 1.0),
        mole=mole(rng),
        neck=clip(near(1.0 if is_man else 0.82, 0.08), 0.65, 1.2),
    )


def pick(rng, shares):
    """One of the words, by its share; the shares need not sum to 1."""
    words = list(shares)
    weights = np.array([shares[word] for word in words], float)
    return words[rng.choice(len(words), p=weights / weights.sum())]


def clip(value, low, high):
    """A plain number within bounds."""
    return float(min(max(value, low), high))


def vary(rng, colour, spread):
    """A colour near this one: its lightness and each channel differ a little."""
    light = rng.normal(0, spread)
    return tuple(clip(channel + light + rng.normal(0, spread / 2), 0.02, 0.98) for channel in colour)


def hair_shares(age, skin):
    """How often each hair colour is found at this age."""
    shares = {"black": 1.0, "brown": 1.0, "blond": 1.0, "red": 0.9, "blue": 0.5, "pink": 0.5, "grey": 0.1, "white": 0.1}
    if skin in ("brown", "dark"):
        shares |= {"black": 1.6, "blond": 0.6, "red": 0.6}
    if age == "old":
        shares = {word: share * 0.35 for word, share in shares.items()} | {"grey": 1.6, "white": 1.6}
    return shares


def eye_shares(skin):
    """How often each eye colour is found with this skin."""
    if skin in ("brown", "dark"):
        return {"brown": 1.0, "amber": 0.4, "green": 0.25, "grey": 0.15, "blue": 0.15}
    return dict.fromkeys(EYE_COLOURS, 1.0)


def freckle_share(skin):
    """How many people of this skin have freckles."""
    return {"pale": 0.4, "fair": 0.3, "tan": 0.15}.get(skin, 0.0)


def natural_lip(skin):
    """The colour of lips that are not painted."""
    red, green, blue = skin
    return (red * 0.84, green * 0.62, blue * 0.64)


def face_form(rng, face, is_man):
    """Widths of cheek, jaw and chin, and how far down the chin goes, all about 1."""
    cheek, jaw, chin_width, chin_length = {
        "round": (1.07, 1.05, 1.10, 0.94),
        "oval": (1.00, 0.96, 0.95, 1.00),
        "square": (1.01, 1.14, 1.35, 0.98),
        "long": (0.92, 0.95, 0.98, 1.08),
        "heart-shaped": (1.05, 0.88, 0.68, 1.02),
    }[face]
    return (
        clip(rng.normal(cheek, 0.02), 0.86, 1.14),
        clip(rng.normal(jaw * (1.03 if is_man else 0.97), 0.03), 0.8, 1.25),
        clip(rng.normal(chin_width * (1.06 if is_man else 0.94), 0.06), 0.55, 1.5),
        clip(rng.normal(chin_length, 0.015), 0.9, 1.12),
    )


def mole(rng):
    """Where a mole is, for one in four."""
    if rng.random() > 0.25:
        return None
    side = rng.choice((-1.0, 1.0))
    return (float(side * rng.uniform(0.2, 0.42)), float(rng.uniform(0.2, 0.75)))
