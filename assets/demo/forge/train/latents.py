"""Brings pictures and captions into the form that the UNet is trained on: latents (mean and spread, as
the trained autoencoder sees them) of each picture and of its mirror image, the tokens of some
captions of both, and where the heads are.

All pictures come first, then all mirror images, so that the UNet can begin before the second half is
there. A row that is done is never made again, so a killed run goes on; when the autoencoder has been
trained on since, everything is made anew. Run as `python -m forge.train.latents`.
"""

import argparse
import json
import time

import numpy as np
import torch
from numpy.lib.format import open_memmap

from . import parallel, pictures, tokenizer, vae, wording
from .common import device, halved, work
from .diffusion_nets import LATENT_CHANNELS, LATENT_SIDE, TOKENS

BATCH = 16
# Rows from which the spread of latents is taken.
ROWS_OF_SCALE = 256
# Texts that stand for "nothing asked".
EMPTY_TEXTS = 512
# People of a picture at most.
HEADS = 2
SHAPES = {
    "mean": (np.float16, (2, LATENT_CHANNELS, LATENT_SIDE, LATENT_SIDE)),
    "spread": (np.float16, (2, LATENT_CHANNELS, LATENT_SIDE, LATENT_SIDE)),
    "done": (np.uint8, (2,)),
    "tokens": (np.uint16, (2, pictures.CAPTIONS, TOKENS)),
    # Middle of a head from the left and from the top, and half its height, in parts of the side; 0 where
    # there is none.
    "heads": (np.float32, (2, HEADS, 3)),
}


def place(name):
    return work("diffusion", f"latents-{name}")


def opened(name, mode="r"):
    """An array with one row for each picture, in it the picture and its mirror image."""
    path = place(f"{name}.npy")
    if not path.exists():
        if mode == "r":
            raise SystemExit("first run python -m forge.train.latents")
        kind, shape = SHAPES[name]
        open_memmap(path, mode="w+", dtype=kind, shape=(pictures.KINDS["train"][0], *shape))
    return np.load(path, mmap_mode=mode)


def facts():
    """What is known of the latents: `encoder`, the identity of what made them, and `scaling_factor`; nothing
    before they are begun."""
    path = place("facts.json")
    return json.loads(path.read_text()) if path.exists() else {}


@torch.no_grad()
def scale():
    """What latents are multiplied by, so that their variance is 1."""
    made = torch.Generator().manual_seed(24)
    net = vae.trained()[0].to(device())
    pixels, done = pictures.opened("train")
    values = []
    for rows in np.array_split(np.flatnonzero(done)[:ROWS_OF_SCALE], ROWS_OF_SCALE // BATCH):
        with halved():
            found = net.encode(vae.as_numbers(pixels[rows]).to(device())).latent_dist
        mean, spread = found.mean.float().cpu(), found.logvar.float().mul(0.5).exp().cpu()
        values.append(mean + spread * torch.randn(mean.shape, generator=made))
    return round(1 / float(torch.cat(values).std()), 5)


@torch.no_grad()
def encode(part, parts, sides):
    """Makes the rows of one of several processes: pictures and, where `sides` is 2, mirror images."""
    torch.set_num_threads(1)
    net = vae.trained()[0].to(device())
    pixels, drawn = pictures.opened("train")
    mean, spread, done = (opened(name, "r+") for name in ("mean", "spread", "done"))
    started, made = time.monotonic(), 0
    for side in range(sides):
        rows = np.flatnonzero((done[:, side] == 0) & (drawn == 1))[part::parts]
        for first in range(0, len(rows), BATCH):
            some = rows[first : first + BATCH]
            picture = vae.as_numbers(pixels[some])
            if side:
                picture = picture.flip(-1)
            with halved():
                found = net.encode(picture.to(device())).latent_dist
            mean[some, side] = found.mean.float().cpu().numpy()
            spread[some, side] = found.logvar.float().mul(0.5).exp().cpu().numpy()
            done[some, side] = 1
            made += len(some)
            if part == 0 and first % (BATCH * 40) == 0:
                rate = made / (time.monotonic() - started)
                print(f"side {side}: {first} of {len(rows)}, {rate:.1f} a second and process", flush=True)


def write_tokens():
    """Encodes captions of all pictures and mirror images, and texts that ask for nothing."""
    make = tokenizer.opened()
    tokens = opened("tokens", "r+")
    for row in range(len(tokens)):
        rng = np.random.default_rng([22, row])
        texts = pictures.captions("train", row)
        both = [wording.variant(text, rng) for text in texts]
        both += [wording.variant(pictures.mirrored(text), rng) for text in texts]
        tokens[row] = np.array(tokenizer.encode(make, both)).reshape(tokens.shape[1:])
    tokens.flush()
    rng = np.random.default_rng(23)
    texts = [wording.empty(rng) for _ in range(EMPTY_TEXTS)]
    np.save(place("empty.npy"), np.array(tokenizer.encode(make, texts), np.uint16))
    place("tokens.done").write_text(tokenizer.identity())


def write_heads():
    """Notes where the heads of all pictures and mirror images are."""
    heads = opened("heads", "r+")
    for row in range(len(heads)):
        for index, one in enumerate(pictures.drawn_scene("train", row).sitters):
            heads[row, :, index] = (one.x, one.y, one.size), (1 - one.x, one.y, one.size)
    heads.flush()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--sides", type=int, choices=(1, 2), default=2, help="1 leaves the mirror images out")
    parser.add_argument("--tokens", action="store_true", help="captions and heads only")
    asked = parser.parse_args()
    if not place("tokens.done").exists() or place("tokens.done").read_text() != tokenizer.identity():
        write_tokens()
        print("captions are encoded", flush=True)
    if not place("heads.done").exists():
        write_heads()
        place("heads.done").touch()
    if asked.tokens:
        return
    _, _, encoder = vae.trained()
    if facts().get("encoder") != encoder:
        for name in ("mean", "spread", "done"):
            place(f"{name}.npy").unlink(missing_ok=True)
        place("facts.json").write_text(json.dumps({"encoder": encoder, "scaling_factor": scale()}))
    print(facts(), flush=True)
    for name in ("mean", "spread", "done"):
        opened(name, "r+")
    parallel.start(encode, asked.processes, asked.sides)


if __name__ == "__main__":
    main()
