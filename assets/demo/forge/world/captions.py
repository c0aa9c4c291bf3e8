"""What a caption says of a scene. Parts are left out and reordered, as people write."""

import numpy as np

LIGHT_WORDS = {
    "soft": "soft light",
    "left": "light from the left",
    "right": "light from the right",
    "warm": "warm light",
    "dim": "dim light",
}
PLACE_WORDS = {
    "beach": "at the beach",
    "forest": "in a forest",
    "night city": "in a city at night",
    "brick wall": "in front of a brick wall",
    "sunset": "at sunset",
    "snowy mountains": "in front of snowy mountains",
    "bookshelf": "in front of a bookshelf",
    "window": "beside a window",
}
ARTICLE_AN = ("a", "e", "i", "o", "u")


def caption(scene, seed, *, full=False):
    """A sentence for the scene. `full` names everything and in a fixed order."""
    rng = np.random.default_rng([4242, seed])
    keep = (lambda share: True) if full else (lambda share: rng.random() < share)
    parts = []
    if not scene.sitters:
        parts.append("nobody" if full or rng.random() < 0.5 else "an empty scene")
    elif len(scene.sitters) > 1:
        count = {2: "two", 3: "three", 4: "four"}.get(len(scene.sitters), "many")
        parts.append(f"{count} people")
    else:
        parts += sitter_parts(scene.sitters[0], rng, keep, full)
    if keep(0.9):
        parts.append(background_words(scene))
    if scene.light != "soft" and keep(0.6):
        parts.append(LIGHT_WORDS[scene.light])
    return ", ".join(parts)


def background_words(scene):
    """Where it is, or before which colour."""
    if scene.background == "plain":
        return f"{scene.plain_word} background"
    return PLACE_WORDS[scene.background]


def sitter_parts(sitter, rng, keep, full):
    """What is said of one person, the person first."""
    person = sitter.person
    opening = "portrait of " if full or rng.random() < 0.6 else ("photo of " if rng.random() < 0.4 else "")
    subject = person.kind if keep(0.9) else "person"
    if keep(0.6):
        subject = f"{person.age} {subject}"
    head = f"{opening}{article(subject)} {subject}"
    parts = [f"{person.hair_word} hair" if not keep(0.75) else hair_words(person)] if keep(0.93) else []
    if person.hair == "bald":
        parts = ["bald"] if keep(0.93) else []
    if person.glasses != "none" and keep(0.95):
        parts.append(f"{person.glasses} glasses" if keep(0.7) else "glasses")
    if person.beard != "none" and keep(0.9):
        parts.append({"full": "full beard"}.get(person.beard, person.beard))
    if keep(0.5):
        parts.append(f"{person.skin} skin")
    if keep(0.45):
        parts.append(f"{person.eyes} eyes")
    if keep(0.3):
        parts.append(f"{person.face} face")
    if person.freckles and keep(0.7):
        parts.append("freckles")
    if sitter.expression != "neutral" and keep(0.8):
        parts.append(sitter.expression)
    if abs(sitter.yaw) > 18 and keep(0.7):
        parts.append("looking to the right" if sitter.yaw > 0 else "looking to the left")
    if keep(0.75):
        parts.append(f"{sitter.cloth_word} {sitter.clothes}")
    if not full:
        rng.shuffle(parts)
    return [head, *parts]


def hair_words(person):
    """Style and colour of the hair."""
    nouns = {"bob": "bob", "fringed": "hair with a fringe"}
    if person.hair in nouns:
        return f"{person.hair_word} {nouns[person.hair]}"
    return f"{person.hair} {person.hair_word} hair"


def article(words):
    """`a` or `an`."""
    return "an" if words[0] in ARTICLE_AN else "a"
