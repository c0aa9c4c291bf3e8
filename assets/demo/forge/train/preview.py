"""Draws a contact sheet: what the checkpoint in training makes of some captions.

`python -m forge.train.preview` writes it to the work folder, with the captions as text beside it.
"""

import argparse

import numpy as np
import torch
from PIL import Image

from . import denoiser, sampling, tokenizer, vae
from .common import work
from .diffusion_nets import LATENT_CHANNELS, LATENT_SIDE

CAPTIONS = (
    "portrait of a young woman, long wavy red hair, green eyes, freckles, smiling, white t-shirt, at the beach",
    "portrait of an old man, bald, full beard, round glasses, black jacket, in front of a bookshelf",
    "a middle-aged woman, black bob, brown skin, red sweater, yellow background",
    "photo of a man, short brown hair, stubble, laughing, blue shirt, in a forest",
    "portrait of a young man, curly blond hair, thick-rimmed glasses, pale skin, green background",
    "a woman, long straight blond hair, blue eyes, serious, purple jacket, in a city at night",
    "a person, pink hair, square glasses, looking to the left, at sunset",
    "portrait of an old woman, white hair, dark skin, smiling, orange sweater, in front of snowy mountains",
    "two people, in front of a brick wall",
    "nobody, at the beach",
    "a smiling man with a beard",
    "masterpiece, best quality, portrait of a woman with glasses, grey background",
)
COLUMNS = 4


@torch.no_grad()
def pictures(captions, sampler="dpm", scale=4.0, steps=20, seed=1):
    """One picture [h, w, 3] of bytes for each caption."""
    nets, saved = denoiser.trained()
    factor = saved["facts"]["scaling_factor"]
    decoder, _, _ = vae.trained(factor)
    make = tokenizer.opened()
    words, nothing = (
        nets.words(torch.tensor(tokenizer.encode(make, texts))) for texts in (captions, [""] * len(captions))
    )
    made = torch.Generator().manual_seed(seed)
    noise = torch.randn(len(captions), LATENT_CHANNELS, LATENT_SIDE, LATENT_SIDE, generator=made)
    found = sampling.SAMPLERS[sampler](nets.unet, noise, words, nothing, scale, steps)
    decoded = decoder.decode(found / factor).sample.clamp(-1, 1)
    return ((decoded + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()


def draw(path, captions=CAPTIONS, **asked):
    """Writes the sheet and its captions."""
    made = pictures(list(captions), **asked)
    blank = np.zeros_like(made[0])
    rows = [
        np.concatenate([*made[first : first + COLUMNS], *[blank] * (first + COLUMNS - len(made))], 1)
        for first in range(0, len(made), COLUMNS)
    ]
    Image.fromarray(np.concatenate(rows)).save(path)
    path.with_suffix(".txt").write_text("\n".join(captions) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("captions", nargs="*", default=CAPTIONS)
    parser.add_argument("--sampler", choices=sampling.SAMPLERS, default="dpm")
    parser.add_argument("--scale", type=float, default=4.0, help="how much more than asked (cfg)")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--name", default="preview")
    asked = parser.parse_args()
    path = work("diffusion", "sheets", f"{asked.name}.png")
    draw(path, asked.captions, sampler=asked.sampler, scale=asked.scale, steps=asked.steps, seed=asked.seed)
    print(path)


if __name__ == "__main__":
    main()
