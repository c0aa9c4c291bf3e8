"""Draws the photos of the sample people and the templates that come with the demo pack.

    python -m forge.samples --out .

Nobody of them is among the people of training. Beside each picture's folder a `faces.json` says where
the faces are, for tests: `file`, and for each face `person`, `box` and `points` in pixels.
"""

import argparse
import json
from pathlib import Path

import cv2

from .world import person, render, scene

# Name and seed.
PEOPLE = {"alma": 1_000_907, "bruno": 1_000_940, "carla": 1_000_921}
PHOTOS = 8
PHOTO_SIZE = 768
# How the photos of one person differ: where they are, and how far the head is turned.
SETTINGS = (
    ("grey", 0),
    ("beach", -9),
    ("bookshelf", 12),
    ("white", -16),
    ("forest", 5),
    ("brick wall", -4),
    ("window", 19),
    ("blue", 8),
)
# File, people, background, yaw, width, height.
TEMPLATES = (
    ("one.jpg", (1_000_931,), "sunset", 4, 768, 768),
    ("two.jpg", (1_000_942, 1_000_909), "snowy mountains", 0, 1024, 768),
    ("turned.jpg", (1_000_926,), "bookshelf", 41, 768, 768),
    ("nobody.jpg", (), "forest", 0, 768, 768),
)
FIRST_SCENE = 9_000_000


def main():
    """Draws all of them below the folder `--out`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("."))
    out = parser.parse_args().out
    seed = FIRST_SCENE
    for name, who in PEOPLE.items():
        pictures = []
        for number, (background, yaw) in enumerate(SETTINGS, 1):
            seed += 1
            shown = scene([person(who)], seed, yaw=yaw, background=background, turn=0.8)
            pictures.append((f"{number}.jpg", render(shown, PHOTO_SIZE, PHOTO_SIZE)))
        save(out / "people" / name, pictures)
    pictures = []
    for file, people, background, yaw, width, height in TEMPLATES:
        seed += 1
        shown = scene([person(one) for one in people], seed, yaw=yaw, background=background)
        pictures.append((file, render(shown, width, height)))
    save(out / "templates", pictures)


def save(folder, pictures):
    """Writes pictures as JPEG, and what is in them."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for file, picture in pictures:
        options = [cv2.IMWRITE_JPEG_QUALITY, 90]
        if not cv2.imwrite(str(folder / file), picture.pixels[..., ::-1], options):
            raise SystemExit(f"{folder / file} cannot be written")
        faces = [
            {
                "person": face.person,
                "box": [round(value, 2) for value in face.box],
                "points": [[round(float(value), 2) for value in point] for point in face.points],
            }
            for face in picture.faces
        ]
        rows.append({"file": file, "faces": faces})
    lines = ",\n".join(json.dumps(row) for row in rows)
    (folder / "faces.json").write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
