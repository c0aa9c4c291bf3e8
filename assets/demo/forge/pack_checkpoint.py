"""Writes the demo checkpoint from the work folder: a folder in diffusers' layout with 16-bit weights, as
photog and diffusers read it. Run as `python -m forge.pack_checkpoint` (`--out` for another place).

What it writes is opened again with diffusers and compared with what went in.
"""

import argparse
import json
import shutil
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPTextModel, CLIPTokenizer

from .train import denoiser, sampling, tokenizer, vae
from .train.diffusion_nets import weights

OUT = Path(__file__).resolve().parents[1] / "pack" / "Stable-diffusion" / "demo"
BYTES_MAX = 12_000_000
PARTS = {
    "scheduler": ("diffusers", "DDIMScheduler"),
    "text_encoder": ("transformers", "CLIPTextModel"),
    "tokenizer": ("transformers", "CLIPTokenizer"),
    "unet": ("diffusers", "UNet2DConditionModel"),
    "vae": ("diffusers", "AutoencoderKL"),
}
ABSENT = ("feature_extractor", "image_encoder", "safety_checker")


def networks():
    """The trained networks with 16-bit weights."""
    nets, saved = denoiser.trained()
    decoder, _, encoder = vae.trained(saved["facts"]["scaling_factor"])
    if saved["facts"]["encoder"] != encoder:
        raise SystemExit("the UNet was trained on latents of another autoencoder; train it with --fresh")
    made = {"unet": nets.unet, "vae": decoder, "text_encoder": nets.text}
    for part, net in made.items():
        if not all(value.isfinite().all() for value in net.half().state_dict().values()):
            raise SystemExit(f"{part} has numbers beyond the range of 16-bit floats")
    return made


def write(out, made):
    """Writes them to a folder, which is new."""
    out.mkdir(parents=True)
    for part in ("unet", "vae"):
        made[part].save_pretrained(out / part, safe_serialization=True)
    write_text(out / "text_encoder", made["text_encoder"])
    shutil.copytree(tokenizer.folder(), out / "tokenizer")
    schedule().save_pretrained(out / "scheduler")
    index = {"_class_name": "StableDiffusionPipeline", "_diffusers_version": "0.30.0"}
    index |= {part: [None, None] for part in ABSENT} | {part: list(kind) for part, kind in PARTS.items()}
    (out / "model_index.json").write_text(json.dumps(index | {"requires_safety_checker": False}, indent=2) + "\n")
    for file in out.rglob("*"):
        file.chmod(0o755 if file.is_dir() else 0o644)


def write_text(place, net):
    """The text encoder under the names that published checkpoints have; today's transformers leaves
    the first part of them out."""
    place.mkdir()
    state = {
        name if name.startswith("text_model.") else f"text_model.{name}": value.contiguous()
        for name, value in net.state_dict().items()
        if not name.endswith("position_ids")
    }
    save_file(state, place / "model.safetensors", {"format": "pt"})
    config = net.config.to_dict() | {"architectures": ["CLIPTextModel"], "dtype": "float16"}
    config = {name: value for name, value in config.items() if not name.startswith("_") and value is not None}
    (place / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def schedule():
    return DDIMScheduler(
        num_train_timesteps=sampling.STEPS,
        beta_start=sampling.BETAS[0],
        beta_end=sampling.BETAS[1],
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )


def check(out, made):
    """That the folder opens and holds what went in."""
    kinds = {"unet": UNet2DConditionModel, "vae": AutoencoderKL, "text_encoder": CLIPTextModel}
    for part, kind in kinds.items():
        again = kind.from_pretrained(out / part).half().state_dict()
        before = made[part].state_dict()
        if again.keys() != before.keys() or not all(torch.equal(again[name], before[name]) for name in before):
            raise SystemExit(f"{part} is not what was written")
    again = CLIPTokenizer.from_pretrained(out / "tokenizer")
    if len(again) != made["text_encoder"].config.vocab_size:
        raise SystemExit("tokenizer and text encoder have not the same number of tokens")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=OUT)
    out = parser.parse_args().out
    made = networks()
    beside = out.with_name(f"{out.name}.part")
    shutil.rmtree(beside, ignore_errors=True)
    write(beside, made)
    check(beside, made)
    shutil.rmtree(out, ignore_errors=True)
    beside.rename(out)
    for part, net in made.items():
        print(f"{part}: {weights(net) / 1e6:.3f} million numbers")
    total = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    print(f"{out.name}: {total / 1e6:.2f} MB")
    if total > BYTES_MAX:
        raise SystemExit(f"more than {BYTES_MAX / 1e6} MB")


if __name__ == "__main__":
    main()
