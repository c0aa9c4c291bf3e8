"""Lays the pictures that the bench kept side by side, for the eye.

    python -m forge.measure.sheet DIR contact-sheet.jpg

`DIR` is that of `cargo bench --bench demo -- --pictures --keep DIR`. The first pictures are shown, not the
best ones.
"""

import argparse
from pathlib import Path

from PIL import Image

COLUMNS, ROWS = 8, 4
SIDE = 192


def main():
    """Writes the sheet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    asked = parser.parse_args()
    files = sorted(asked.folder.glob("*.png"))[: COLUMNS * ROWS]
    if len(files) < COLUMNS * ROWS:
        raise SystemExit(f"{asked.folder} has {len(files)} pictures, {COLUMNS * ROWS} are needed")
    sheet = Image.new("RGB", (COLUMNS * SIDE, ROWS * SIDE))
    for index, file in enumerate(files):
        picture = Image.open(file).convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
        sheet.paste(picture, (index % COLUMNS * SIDE, index // COLUMNS * SIDE))
    sheet.save(asked.out, quality=90)
    print(f"{asked.out}: {len(files)} pictures, {asked.out.stat().st_size / 1000:.0f} KB")


if __name__ == "__main__":
    main()
