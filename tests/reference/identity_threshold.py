"""Prints what each identity threshold would do to the photos of the test data, as Markdown.

    python tests/reference/identity_threshold.py ../shared/data

All pairs of the embeddings that the test data holds, one for the largest face of each photo of a known
person: a false reject is a pair of the same person below the threshold, a false accept is a pair of two
persons at or above it.
"""

import json
import os
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

# From loose to strict, with the best threshold of these very photos (0.31) and the one that is usual for
# another embedding of the same kind (0.363).
THRESHOLDS = [0.20, 0.25, 0.30, 0.31, 0.35, 0.363, 0.40, 0.45, 0.50, 0.55, 0.60]


def pairs(data):
    """The cosines of the pairs of the same person and of those of two persons."""
    golden = data / "golden"
    files = json.loads((golden / "embeddings_index.json").read_text())["files"]
    vectors = load_file(golden / "embeddings.safetensors")["normalised"]
    manifest = json.loads((data / "manifest.json").read_text())
    persons = {one["file"]: one.get("identity") for one in manifest["images"]}
    known = [at for at, file in enumerate(files) if file.startswith("images/persons/")]
    names = np.array([persons[files[at]] for at in known])
    cosines = vectors[known] @ vectors[known].T
    first, second = np.triu_indices(len(known), 1)
    same = names[first] == names[second]
    values = cosines[first, second]
    return len(known), len(set(names)), values[same], values[~same]


def share(count, total):
    return f"{count} of {total} ({100 * count / total:.2f} %)"


def main():
    default = os.environ.get("PHOTOG_TEST_DATA", "../shared/data")
    data = Path(sys.argv[1] if len(sys.argv) > 1 else default)
    if not (data / "manifest.json").is_file():
        raise SystemExit(f"{data} is not the test data; name its folder as the first argument")
    photos, persons, same, different = pairs(data)
    print(f"{photos} photos of {persons} persons: {len(same)} pairs of the same person (cosine "
          f"{same.min():.3f} to {same.max():.3f}, mean {same.mean():.3f}), {len(different)} pairs of two "
          f"persons ({different.min():.3f} to {different.max():.3f}, mean {different.mean():.3f}).\n")
    print("| threshold | false rejects | false accepts |\n| ---: | ---: | ---: |")
    for threshold in THRESHOLDS:
        rejects, accepts = (same < threshold).sum(), (different >= threshold).sum()
        print(f"| {threshold:g} | {share(rejects, len(same))} | {share(accepts, len(different))} |")


if __name__ == "__main__":
    main()
