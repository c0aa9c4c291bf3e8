"""Writes fixtures/diffusion/demo.safetensors and demo.json: pictures of the demo pack's checkpoint by diffusers.

The folder is opened as it lies in the pack, by `StableDiffusionPipeline.from_pretrained` with nothing
replaced but the kind of floats, and run with its own scheduler from the WebUI's noise. The files are laid
out as those of `diffusion_pictures.py`. To be run anew when the pack's networks change.
"""

import json
from pathlib import Path

import numpy as np
import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline

from diffusion_fixture import FIXTURES, Fixture, picture_bytes, plain_attention, sampled, settle

PACK = Path(__file__).resolve().parents[2] / "assets" / "demo" / "pack"
BASE = {"sampler_name": "DDIM", "batch_size": 1, "width": 256, "height": 256, "steps": 20}
REQUESTS = [
    BASE
    | {
        "name": "woman",
        "prompt": "portrait of a young woman, long wavy red hair, green eyes, smiling, white t-shirt, at the beach",
        "negative_prompt": "",
        "seed": 20,
        "cfg_scale": 5.0,
    },
    BASE
    | {
        "name": "man",
        "prompt": "an old man, bald, round glasses, in front of a bookshelf",
        "negative_prompt": "smiling",
        "seed": 21,
        "cfg_scale": 3.0,
        "width": 192,
        "height": 256,
    },
]


def main():
    settle()
    pipe = StableDiffusionPipeline.from_pretrained(PACK / "Stable-diffusion" / "demo", dtype=torch.float32)
    assert isinstance(pipe.scheduler, DDIMScheduler), pipe.scheduler
    pipe.set_progress_bar_config(disable=True)
    plain_attention(pipe.unet)
    plain_attention(pipe.vae)
    fixture = Fixture("demo.safetensors")
    for request in REQUESTS:
        given = {field: request[field] for field in ("prompt", "negative_prompt")}
        latent = sampled(pipe, request, **given)
        decoded = pipe.vae.decode(latent / pipe.vae.config.scaling_factor).sample
        fixture.add(f"{request['name']}.latent", latent)
        fixture.add(f"{request['name']}.picture", picture_bytes(decoded), np.uint8)
    fixture.write()
    path = FIXTURES / "demo.json"
    path.write_text(json.dumps(REQUESTS, indent=1) + "\n")
    print(f"{path.name}: {len(REQUESTS)} requests, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
