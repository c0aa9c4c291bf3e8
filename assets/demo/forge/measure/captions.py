"""Writes the captions by which generated pictures are measured, with what they name.

    python -m forge.measure.captions > ../../benches/demo/captions.json

Each is a caption as in training, of a person that training never saw, and is taken only if it names
the hair (or that there is none), the glasses if there are any, and the background.
"""

import json

import numpy as np

from ..world import UNSEEN, caption, person, scene
from ..world.captions import background_words
from .judge import BACKGROUNDS, GLASSES, HAIR, truth

COUNT = 100
FIRST_SCENE = 8_000_000


def names_all(text, shown):
    """Whether the caption says what is asked for."""
    hair, has_glasses, _ = truth(shown)
    hair = HAIR[hair]
    has_hair = any(hair in part and (hair == "bald" or "hair" in part or "bob" in part) for part in text.split(", "))
    return has_hair and background_words(shown) in text and ("glasses" in text) == bool(has_glasses)


def main():
    """Prints them as JSON, one a line."""
    rng = np.random.default_rng(FIRST_SCENE)
    rows = []
    for index in range(COUNT):
        shown = scene([person(UNSEEN[int(rng.integers(len(UNSEEN)))])], FIRST_SCENE + index)
        texts = (caption(shown, seed) for seed in range(1000 * index, 1000 * index + 1000))
        text = next(text for text in texts if names_all(text, shown))
        hair, glasses, background = truth(shown)
        row = {"text": text, "hair": HAIR[hair], "glasses": GLASSES[glasses], "background": BACKGROUNDS[background]}
        rows.append(json.dumps(row))
    print("[\n" + ",\n".join(rows) + "\n]")


if __name__ == "__main__":
    main()
