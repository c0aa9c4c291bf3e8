"""Names and shapes of all tensors of Stable Diffusion networks, by both spellings, in one text file.

    python tests/reference/layouts.py

The networks are built by diffusers and transformers without memory for their weights: those of SD 1.5,
and small ones of an odd shape. The names of the original code are made by the rules below and held against
diffusers' own converters, which turn them back; a name that they do not turn into the name that it came
from, or that they drop, stops the script.

The file has a line for each section, `= <model> <network> <config.json>`, and then a line for each tensor in
the order of the names: how many signs its name shares with the last one, the rest of the name, the same for
the name of the original code, and the shape, between tabs.
"""

import json
import os
import re
from pathlib import Path

import torch
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from diffusers.loaders.single_file_utils import (
    convert_controlnet_checkpoint, convert_ldm_clip_checkpoint, convert_ldm_unet_checkpoint,
    convert_ldm_vae_checkpoint)
from transformers import CLIPTextConfig, CLIPTextModel

FIXTURE = Path(__file__).resolve().parent / "fixtures" / "layouts.txt"

MODELS = {
    # The configurations that come with Stable Diffusion v1-5 and its ControlNets 1.1.
    "sd15": {
        "unet": dict(sample_size=64, cross_attention_dim=768, attention_head_dim=8),
        "vae": dict(block_out_channels=(128, 256, 512, 512), layers_per_block=2, sample_size=512,
                    down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4),
        "text": dict(hidden_size=768, intermediate_size=3072, num_attention_heads=12, projection_dim=768),
        "control_net": dict(cross_attention_dim=768, attention_head_dim=8),
    },
    # Another count of levels and of layers, attention below only, widths that occur once.
    "odd": {
        "unet": dict(sample_size=8, block_out_channels=(16, 48), layers_per_block=1, cross_attention_dim=40,
                     attention_head_dim=4, norm_num_groups=8,
                     down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
                     up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), in_channels=9),
        "vae": dict(block_out_channels=(16, 24, 48), layers_per_block=1, sample_size=32, norm_num_groups=8,
                    down_block_types=("DownEncoderBlock2D",) * 3, up_block_types=("UpDecoderBlock2D",) * 3),
        "text": dict(hidden_size=40, intermediate_size=72, num_attention_heads=5, num_hidden_layers=3,
                     vocab_size=101, max_position_embeddings=19, projection_dim=40),
        "control_net": dict(block_out_channels=(16, 48), layers_per_block=1, cross_attention_dim=40,
                            attention_head_dim=4, norm_num_groups=8, conditioning_embedding_out_channels=(8, 12, 16, 24),
                            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D")),
    },
}

RESNET = {"norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1",
          "norm2": "out_layers.0", "conv2": "out_layers.3", "conv_shortcut": "skip_connection"}


def unet_name(name, config, has_attention):
    """The original code's name of a tensor of a UNet or ControlNet."""
    layers = config["layers_per_block"]
    hint = len(config.get("conditioning_embedding_out_channels") or [1])

    def block(found):
        """The number of a block among all of its half, from its level and its place there."""
        return int(found[1]) * (layers + 1) + int(found[2])

    rules = [
        (r"time_embedding\.linear_(\d)", lambda m: f"time_embed.{2 * int(m[1]) - 2}"),
        (r"conv_in\b", lambda m: "input_blocks.0.0"),
        (r"conv_norm_out", lambda m: "out.0"),
        (r"conv_out\b", lambda m: "out.2"),
        (r"down_blocks\.(\d+)\.resnets\.(\d+)", lambda m: f"input_blocks.{1 + block(m)}.0"),
        (r"down_blocks\.(\d+)\.attentions\.(\d+)", lambda m: f"input_blocks.{1 + block(m)}.1"),
        (r"down_blocks\.(\d+)\.downsamplers\.0\.conv", lambda m: f"input_blocks.{(int(m[1]) + 1) * (layers + 1)}.0.op"),
        (r"mid_block\.resnets\.(\d)", lambda m: f"middle_block.{2 * int(m[1])}"),
        (r"mid_block\.attentions\.0", lambda m: "middle_block.1"),
        (r"up_blocks\.(\d+)\.resnets\.(\d+)", lambda m: f"output_blocks.{block(m)}.0"),
        (r"up_blocks\.(\d+)\.attentions\.(\d+)", lambda m: f"output_blocks.{block(m)}.1"),
        (r"up_blocks\.(\d+)\.upsamplers\.0",
         lambda m: f"output_blocks.{int(m[1]) * (layers + 1) + layers}.{1 + has_attention[-1 - int(m[1])]}"),
        (r"controlnet_down_blocks\.(\d+)", lambda m: f"zero_convs.{m[1]}.0"),
        (r"controlnet_mid_block", lambda m: "middle_block_out.0"),
        (r"controlnet_cond_embedding\.conv_in", lambda m: "input_hint_block.0"),
        (r"controlnet_cond_embedding\.blocks\.(\d+)", lambda m: f"input_hint_block.{2 * int(m[1]) + 2}"),
        (r"controlnet_cond_embedding\.conv_out", lambda m: f"input_hint_block.{4 * hint - 2}"),
    ]
    new = apply(rules, name)
    if ".resnets." in name:
        new = re.sub(r"\.(%s)\." % "|".join(RESNET), lambda m: f".{RESNET[m[1]]}.", new)
    return new


def vae_name(name, config):
    """The original code's name of a tensor of a VAE."""
    last = len(config["block_out_channels"]) - 1
    name = apply([
        (r"encoder\.down_blocks\.(\d+)", lambda m: f"encoder.down.{m[1]}"),
        (r"decoder\.up_blocks\.(\d+)", lambda m: f"decoder.up.{last - int(m[1])}"),
        (r"(en|de)coder\.mid_block\.resnets\.(\d)", lambda m: f"{m[1]}coder.mid.block_{int(m[2]) + 1}"),
        (r"(en|de)coder\.mid_block\.attentions\.0", lambda m: f"{m[1]}coder.mid.attn_1"),
        (r"(en|de)coder\.conv_norm_out", lambda m: f"{m[1]}coder.norm_out"),
        (r"", lambda m: ""),
    ], name)
    for old, new in [(".resnets.", ".block."), ("samplers.0.", "sample."), ("conv_shortcut", "nin_shortcut"),
                     ("group_norm", "norm"), ("to_q", "q"), ("to_k", "k"), ("to_v", "v"), ("to_out.0", "proj_out")]:
        name = name.replace(old, new)
    return name


def apply(rules, name):
    """The name with its begin changed by the first rule that fits."""
    for pattern, change in rules:
        found = re.match(pattern, name)
        if found:
            return change(found) + name[found.end():]
    raise SystemExit(f"no rule for {name}")


def check(pairs, convert, prefix):
    """That diffusers turns the original code's names into those that they came from."""
    marks = {prefix + old: torch.tensor([float(at)]) for at, (_, old, _) in enumerate(pairs)}
    back = {name: int(mark) for name, mark in convert(marks).items() if mark is not None}
    wanted = {name: at for at, (name, _, _) in enumerate(pairs)}
    if back != wanted:
        wrong = [name for name in back.keys() | wanted.keys() if back.get(name) != wanted.get(name)]
        raise SystemExit(f"diffusers sees it otherwise: {wrong[:10]}")


def sections(models):
    for model, configs in models.items():
        with torch.device("meta"):
            unet = UNet2DConditionModel(**configs["unet"])
            vae = AutoencoderKL(**configs["vae"])
            control_net = ControlNetModel(**configs["control_net"])
            text = CLIPTextModel(CLIPTextConfig(**configs["text"]))
        for network, module, prefix, convert in [
                ("unet", unet, "model.diffusion_model.", convert_ldm_unet_checkpoint),
                ("control_net", control_net, "control_model.", convert_controlnet_checkpoint)]:
            attention = ["CrossAttn" in block for block in module.config["down_block_types"]]
            pairs = [(name, unet_name(name, module.config, attention), shape) for name, shape in tensors(module)]
            check(pairs, lambda marks: convert(marks, dict(module.config)), prefix)
            pairs = [(name, prefix + old, shape) for name, old, shape in pairs]
            yield model, network, dict(module.config), pairs
        prefix = "first_stage_model."
        pairs = [(name, vae_name(name, vae.config), shape) for name, shape in tensors(vae)]
        check(pairs, lambda marks: convert_ldm_vae_checkpoint(marks, dict(vae.config)), prefix)
        # The original code has convolutions of 1 x 1 where diffusers has linear layers.
        pairs = [(name, prefix + old, shape + [1, 1] if ".attn_1." in old and len(shape) == 2 else shape)
                 for name, old, shape in pairs]
        yield model, "vae", dict(vae.config), pairs
        # Since version 5 transformers leaves `text_model.` out; the files that are about have it.
        prefix = "cond_stage_model.transformer."
        pairs = [("text_model." + name.removeprefix("text_model."),) * 2 + (shape,) for name, shape in tensors(text)]
        check(pairs, convert_ldm_clip_checkpoint, prefix)
        yield model, "text", text.config.to_dict(), [(name, prefix + old, shape) for name, old, shape in pairs]


def tensors(module):
    return [(name, list(tensor.shape)) for name, tensor in module.state_dict().items()]


def main():
    lines = []
    for model, network, config, pairs in sections(MODELS):
        config = {key: value for key, value in config.items() if not key.startswith("_")}
        lines.append(f"= {model} {network} {json.dumps(config)}")
        last = ("", "")
        for name, old, shape in sorted(pairs):
            rests = []
            for text, before in zip((name, old), last):
                shared = len(os.path.commonprefix([text, before]))
                rests += [str(shared), text[shared:]]
            lines.append("\t".join([*rests, "x".join(map(str, shape))]))
            last = (name, old)
        print(f"{model} {network}: {len(pairs)} tensors")
    FIXTURE.write_text("\n".join(lines) + "\n")
    print(f"{FIXTURE}: {FIXTURE.stat().st_size} bytes")


if __name__ == "__main__":
    main()
