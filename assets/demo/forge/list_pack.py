"""Writes size and hash of the pack's networks into photog's list, after they have been made anew.

    python -m forge.list_pack ../../models.toml

The hash of a file is its SHA-256, and that of a folder the SHA-256 of what `sha256sum` prints for its
`.safetensors` files. A test of photog holds the list against the pack.
"""

import argparse
import hashlib
import re
from pathlib import Path

PACK = Path(__file__).resolve().parents[1] / "pack"
NETWORKS = {
    "demo-detector": "photog/demo-detector.onnx",
    "demo-embedding": "photog/demo-embedding.onnx",
    "demo": "Stable-diffusion/demo",
}
BYTES_MAX = 16 << 20


def identity(place):
    """Size in bytes and hash of a file or folder."""
    if place.is_file():
        return place.stat().st_size, sha256(place.read_bytes())
    files = sorted((file.relative_to(place).as_posix(), file) for file in place.rglob("*") if file.is_file())
    sums = [f"{sha256(file.read_bytes())}  {name}\n" for name, file in files if name.endswith(".safetensors")]
    return sum(file.stat().st_size for _, file in files), sha256("".join(sums).encode())


def sha256(data):
    """As small hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def main():
    """Changes the list in its place."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("list", type=Path)
    listed = parser.parse_args().list
    text, total = listed.read_text(), 0
    for name, path in NETWORKS.items():
        size, hashed = identity(PACK / path)
        entry = re.compile(rf'(name = "{name}"\n(?:(?!\[\[).*\n)*?)size = \d+\nsha256 = "\w+"')
        text, count = entry.subn(rf'\g<1>size = {size}\nsha256 = "{hashed}"', text)
        if count != 1:
            raise SystemExit(f"{listed} has no entry {name} with a size and a hash")
        print(f"{name}: {size} bytes, {hashed}")
        total += size
    if total > BYTES_MAX:
        raise SystemExit(f"the pack has {total} bytes, which is more than {BYTES_MAX}")
    listed.write_text(text)


if __name__ == "__main__":
    main()
