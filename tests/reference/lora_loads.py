"""Has diffusers load a LoRA file that photog wrote, and paint with it.

    python tests/reference/lora_loads.py check LORA
    python tests/reference/lora_loads.py make LORA OUT.safetensors [--png PICTURE] [--against PICTURE]

`check` fails unless each tensor of the file ends in a layer: for each module of the file the networks must have
an adapter of those very numbers and of the scale alpha / rank, and no other adapter; and the libraries must have
had nothing to say, as they do of keys that they do not know.

`make` does the same, and then paints `REQUEST` with the adapter at full weight, from the WebUI's noise and by
the checkpoint's own scheduler. It writes OUT.safetensors with `lora.latent` (f32) and `lora.picture` (bytes), and
beside it OUT.json with the request, both laid out as those of `demo_pictures.py`; the request names the file, so
that one belongs into the same folder. `--png` writes the picture as well; `--against` tells its likeness to a
picture of 256 x 256 that photog painted. How much the adapter matters is told in each case: the likeness to what
the checkpoint paints without it.

The checkpoint is that of the demo pack, or the folder that `--checkpoint` names.
"""

import argparse
import json
import logging
import warnings
from pathlib import Path

import diffusers
import numpy as np
import torch
import transformers
from diffusers import StableDiffusionPipeline
from PIL import Image
from safetensors.torch import load_file

from demo_pictures import BASE, PACK
from diffusion_fixture import Fixture, picture_bytes, plain_attention, sampled, settle

# `BASE` says DDIM, 20 steps, 256 x 256.
REQUEST = BASE | {
    "name": "lora",
    "prompt": "portrait of a young woman, long wavy red hair, green eyes, smiling, white t-shirt, at the beach",
    "negative_prompt": "",
    "seed": 22,
    "cfg_scale": 5.0,
    "lora_weight": 1.0,
}
PREFIXES = {"unet": "lora_unet_", "text_encoder": "lora_te_text_model_"}
ENDS = "lora_down.weight", "lora_up.weight", "alpha"


def main():
    options = read_options()
    settle()
    pipe = StableDiffusionPipeline.from_pretrained(options.checkpoint, dtype=torch.float32, safety_checker=None)
    pipe.set_progress_bar_config(disable=True)
    plain_attention(pipe.unet)
    plain_attention(pipe.vae)
    make = options.do == "make"
    plain = paint(pipe)[1] if make else None
    load(pipe, options.lora)
    check(pipe, options.lora)
    if make:
        keep(pipe, options, plain)


def read_options():
    options = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    kinds = options.add_subparsers(dest="do", required=True)
    for name in ("check", "make"):
        kind = kinds.add_parser(name)
        kind.add_argument("lora", metavar="LORA", type=Path)
        kind.add_argument("--checkpoint", metavar="FOLDER", type=Path, default=PACK / "Stable-diffusion" / "demo")
        if name == "make":
            kind.add_argument("out", metavar="OUT", type=Path)
            kind.add_argument("--png", metavar="PICTURE", type=Path)
            kind.add_argument("--against", metavar="PICTURE", type=Path)
    return options.parse_args()


def load(pipe, file):
    """Adds the adapter to the networks; whatever the libraries say meanwhile is an error."""
    said = []

    class Listener(logging.Handler):
        def emit(self, record):
            said.append(record.getMessage())

    listener = Listener(logging.WARNING)
    loggers = [logging.getLogger(name) for name in ("diffusers", "peft", "transformers")]
    for logger in loggers:
        logger.addHandler(listener)
    with warnings.catch_warnings(record=True) as more:
        warnings.simplefilter("always")
        pipe.load_lora_weights(str(file.parent), weight_name=file.name, adapter_name="one")
    for logger in loggers:
        logger.removeHandler(listener)
    said += [str(one.message) for one in more]
    # A network that the file says nothing about is none of its mistakes.
    names = load_file(file)
    for part, prefix in PREFIXES.items():
        if not any(name.startswith(prefix) for name in names):
            said = [text for text in said if not (text.startswith("No LoRA keys") and f"prefix='{part}'" in text)]
    if said:
        raise SystemExit("\n".join([f"{file.name} was loaded with these remarks:", *said]))


def check(pipe, file):
    """Holds the adapters of the networks against the file."""
    tensors = load_file(file)
    left, modules = dict(tensors), 0
    for part, prefix in PREFIXES.items():
        count = modules
        for path, layer in getattr(pipe, part).named_modules():
            if not hasattr(layer, "lora_A") or "one" not in layer.lora_A:
                continue
            name = prefix + path.removeprefix("text_model.").replace(".", "_")
            down, up, alpha = (taken(left, f"{name}.{end}") for end in ENDS)
            for ours, theirs in ((down, layer.lora_A["one"]), (up, layer.lora_B["one"])):
                expect(torch.equal(ours.float(), theirs.weight), f"{name} has other numbers in the network")
            scale = layer.scaling["one"]
            expect(alpha.shape == () and abs(scale - alpha.item() / down.shape[0]) <= 1e-6 * abs(scale),
                   f"{name} has alpha {alpha} and rank {down.shape[0]}, but the scale {scale} in the network")
            expect(layer.active_adapters == ["one"] and not layer.disable_adapters, f"{name} is not in use")
            modules += 1
        print(f"{part}: {modules - count} layers have an adapter")
    expect(modules > 0, "no layer has an adapter")
    expect(not left, f"no layer took {len(left)} tensors: {' '.join(sorted(left)[:10])}")
    print(f"{file.name}: all {len(tensors)} tensors are in use")


def taken(left, name):
    expect(name in left, f"a layer has an adapter, but the file has no {name}")
    return left.pop(name)


def expect(holds, text):
    if not holds:
        raise SystemExit(text)


def paint(pipe):
    """The latents of the request, and its picture."""
    given = {field: REQUEST[field] for field in ("prompt", "negative_prompt")}
    latent = sampled(pipe, REQUEST, **given)
    return latent, picture_bytes(pipe.vae.decode(latent / pipe.vae.config.scaling_factor).sample)


def keep(pipe, options, plain):
    """Paints with the adapter, and writes what came of it."""
    pipe.set_adapters("one", REQUEST["lora_weight"])
    latent, picture = paint(pipe)
    print(f"likeness to the picture without the adapter: {likeness(picture, plain):.1f} dB")
    fixture = Fixture(options.out.absolute())
    fixture.add("lora.latent", latent)
    fixture.add("lora.picture", picture, np.uint8)
    fixture.write()
    path = options.out.with_suffix(".json")
    path.write_text(json.dumps([REQUEST | {"lora": options.lora.name}], indent=1) + "\n")
    if options.png:
        Image.fromarray(picture[0]).save(options.png)
    if options.against:
        photogs = np.asarray(Image.open(options.against).convert("RGB"))
        expect(photogs.shape == picture[0].shape, f"{options.against} has the shape {photogs.shape}")
        print(f"likeness to {options.against.name}: {likeness(picture, photogs):.1f} dB")


def likeness(one, other):
    """Peak signal to noise ratio in decibels."""
    apart = np.square(one.astype(np.float64) - other).mean()
    return 10 * np.log10(255.0**2 / max(apart, 1e-10))


if __name__ == "__main__":
    # A bar for each network that is loaded would stand between the lines.
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    main()
