"""Writes fixtures/diffusion/tiny and its kin: a Stable Diffusion 1.x in miniature, with random weights.

- `tiny/`: text encoder, UNet, autoencoder, scheduler and tokenizer in the folder layout of diffusers;
- `tiny_single.safetensors`: the same weights in one file, under the names of the first release (LDM). Its
  metadata hold the configurations, which a file of the usual size does not need: `photog.unet_config`,
  `photog.vae_config`, `photog.text_config`, `photog.scheduler_config`;
- `tiny_controlnet/`: a ControlNet for it;
- `tiny_embedding_webui.safetensors` (one vector, `emb_params`) and `tiny_embedding_diffusers.safetensors`
  (two vectors under the name of the token): textual inversions;
- `tiny_v_prediction.json`: the scheduler's configuration for a model that predicts velocity.

Weights are rounded to 16-bit floats. Their scales keep the values inside the networks near 1; what
is zero before training (the last convolutions, the ControlNet's "zero convolutions") is random
too, for a zero hides mistakes. `--single OUT` writes the single file to another place and nothing else.
"""

import argparse
import json
import shutil
from pathlib import Path

import numpy as np
import torch
from diffusers import (
    AutoencoderKL,
    ControlNetModel,
    DDIMScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from diffusers.loaders import single_file_utils
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from diffusion_fixture import FIXTURES, TINY, generator, load, normal, settle, write

WORDS = """
a an the of in on at by with and or for to from into is are was not no very more most
portrait photo picture painting drawing sketch image studio camera lens light lighting shadow shadows
face faces person people man woman girl boy child old young head hair eyes eye nose mouth smile smiling
skin hand hands body shirt dress suit jacket hat glasses beard neck shoulders
red green blue yellow white black brown grey golden silver dark bright warm cold soft sharp
cat dog horse bird tree trees forest mountain mountains river sea ocean sky clouds sunset sunrise
city street house garden flower flowers window door wall room background foreground
beautiful detailed highly realistic quality masterpiece best worst low high resolution blurry deformed
ugly noise watermark text signature cropped extra fingers limbs bad anatomy
standing sitting looking wearing holding walking running front side view close closeup full half
oil watercolor digital cinematic vintage modern film style colour color colors
morning evening night day winter summer spring autumn snow rain fog wind fire water earth
""".split()
MERGES = 320

# What the tokenizer turns bytes into: printable characters stay, the others move above 255.
PRINTABLE = [*range(33, 127), *range(161, 173), *range(174, 256)]


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--single", metavar="OUT", type=Path)
    single = options.parse_args().single
    settle()
    vocabulary, merges = byte_pairs()
    nets = networks(len(vocabulary))
    write_single(single or FIXTURES / "tiny_single.safetensors", nets)
    if single:
        return
    shutil.rmtree(TINY, ignore_errors=True)
    write_tokenizer(TINY / "tokenizer", vocabulary, merges)
    write_folder(nets)
    write_controlnet(nets["unet"])
    write_embeddings(nets["text_encoder"].config.hidden_size)
    files_for_all()
    velocity = json.loads((TINY / "scheduler" / "scheduler_config.json").read_text())
    velocity["prediction_type"] = "v_prediction"
    (FIXTURES / "tiny_v_prediction.json").write_text(json.dumps(velocity, indent=2) + "\n")
    for one in sorted(FIXTURES.rglob("tiny*")):
        files = [one] if one.is_file() else [file for file in one.rglob("*") if file.is_file()]
        print(f"{one.name}: {sum(file.stat().st_size for file in files)} bytes")


def files_for_all():
    """The libraries write weights that only their owner may read."""
    for file in FIXTURES.rglob("*.safetensors"):
        file.chmod(0o644)


def byte_pairs():
    """The vocabulary and the merges: the pair that is most frequent in `WORDS` is joined first."""
    moved = iter(range(256, 512))
    symbols = {byte: chr(byte) if byte in PRINTABLE else chr(next(moved)) for byte in range(256)}
    letters = [symbols[byte] for byte in PRINTABLE]
    letters += [symbols[byte] for byte in range(256) if byte not in PRINTABLE]
    words = [[*word[:-1], word[-1] + "</w>"] for word in WORDS]
    merges = []
    while len(merges) < MERGES:
        counts = {}
        for word in words:
            for pair in zip(word, word[1:]):
                counts[pair] = counts.get(pair, 0) + 1
        pair = min(counts, key=lambda pair: (-counts[pair], pair))
        merges.append(pair)
        words = [join(word, pair) for word in words]
    names = letters + [letter + "</w>" for letter in letters] + ["".join(pair) for pair in merges]
    names += ["<|startoftext|>", "<|endoftext|>"]
    assert len(set(names)) == len(names)
    return {name: index for index, name in enumerate(names)}, merges


def join(word, pair):
    """`word` with each occurrence of the neighbours `pair` as one symbol."""
    joined = []
    for symbol in word:
        if joined and (joined[-1], symbol) == pair:
            joined[-1] += symbol
        else:
            joined.append(symbol)
    return joined


def networks(vocabulary_size):
    """The three networks with random weights, rounded to 16-bit floats."""
    unet = UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        norm_num_groups=4,
        attention_head_dim=2,  # the number of heads, in spite of its name
        cross_attention_dim=24,
    )
    vae = AutoencoderKL(
        in_channels=3,
        out_channels=3,
        sample_size=64,
        block_out_channels=(8, 8, 16, 16),
        layers_per_block=1,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        norm_num_groups=4,
        latent_channels=4,
        scaling_factor=0.18215,
    )
    encoder = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=vocabulary_size,
            hidden_size=24,
            intermediate_size=48,
            num_hidden_layers=3,
            num_attention_heads=2,
            max_position_embeddings=77,
            hidden_act="quick_gelu",
            projection_dim=24,
            bos_token_id=vocabulary_size - 2,
            eos_token_id=vocabulary_size - 1,
            pad_token_id=vocabulary_size - 1,
        )
    )
    nets = {"unet": unet.eval(), "vae": vae.eval(), "text_encoder": encoder.eval()}
    for part, net in nets.items():
        randomise(net, part)
    x, text, picture = (normal("level/unet", 1, 4, 16, 16), normal("level/text", 1, 77, 24),
                        normal("level/picture", 1, 3, 64, 64) / 2)
    level(unet.conv_out, lambda: unet(x, 500, text).sample, 1.0)
    level(vae.quant_conv, lambda: vae.encode(picture).latent_dist.parameters, 1.0)
    # Half of the width of a picture's range, so that few values are cut off.
    level(vae.decoder.conv_out, lambda: vae.decode(normal("level/latent", 1, 4, 8, 8)).sample, 0.5)
    for net in nets.values():
        net.half().float()
    return nets


def randomise(net, part):
    """Gives each parameter random values; the seed is its name."""
    for name, values in net.named_parameters():
        random = generator(f"{part}/{name}")
        if "norm" in name and name.endswith("weight"):
            numbers = random.uniform(0.8, 1.2, values.shape)
        elif "embedding.weight" in name:
            numbers = random.standard_normal(values.shape) * 0.5
        elif values.ndim == 1:
            numbers = random.standard_normal(values.shape) * 0.1
        else:
            fan_in = int(np.prod(values.shape[1:]))
            numbers = random.standard_normal(values.shape) * gain(name) / np.sqrt(fan_in)
        if name.endswith("final_layer_norm.bias"):
            # A rule on weighted prompts divides by the mean of the encoded text, so it is not near zero.
            numbers += 0.3
        values.copy_(torch.from_numpy(numbers.astype(np.float32)))


def gain(name):
    """How much larger a layer's output is than its input, about: more where the path is a weak one."""
    if "attn2" in name or "time_emb" in name or "cond_embedding" in name:
        return 1.6
    return 0.8


def level(layer, run, spread):
    """Scales the last layer so that the standard deviation of the output is `spread`."""
    layer.weight.mul_(spread / run().std())
    layer.bias.mul_(spread)


def write_tokenizer(folder, vocabulary, merges):
    """The four files of a CLIP tokenizer, as the published checkpoints have them."""
    folder.mkdir(parents=True)
    special = {
        name: {"content": content, "lstrip": False, "normalized": True, "rstrip": False,
               "single_word": False}
        for name, content in [
            ("bos_token", "<|startoftext|>"),
            ("eos_token", "<|endoftext|>"),
            ("unk_token", "<|endoftext|>"),
        ]
    }
    special["pad_token"] = "<|endoftext|>"
    added = {name: value for name, value in special.items() if isinstance(value, dict)}
    config = {
        "add_prefix_space": False,
        **{name: {"__type": "AddedToken", **value} for name, value in added.items()},
        "do_lower_case": True,
        "errors": "replace",
        "model_max_length": 77,
        "pad_token": "<|endoftext|>",
        "tokenizer_class": "CLIPTokenizer",
    }
    text = json.dumps(vocabulary, ensure_ascii=False, separators=(",", ":"))
    (folder / "vocab.json").write_text(text)
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n")
    (folder / "special_tokens_map.json").write_text(json.dumps(special, indent=2) + "\n")
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")
    made = CLIPTokenizer.from_pretrained(folder)
    ids = made("a portrait", padding="max_length", max_length=77).input_ids
    assert (ids[0], ids[-1], len(ids)) == (len(vocabulary) - 2, len(vocabulary) - 1, 77), ids


def schedule():
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )


def write_folder(nets):
    """The checkpoint as diffusers saves it."""
    made = CLIPTokenizer.from_pretrained(TINY / "tokenizer")
    pipeline = StableDiffusionPipeline(
        **nets,
        tokenizer=made,
        scheduler=schedule(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    kept = {file.name: file.read_bytes() for file in (TINY / "tokenizer").iterdir()}
    pipeline.to(torch.float16).save_pretrained(TINY, safe_serialization=True)
    pipeline.to(torch.float32)
    # As files were published: the libraries of today leave out the prefix of the text encoder's names and
    # keep the tokenizer in one file instead of four.
    place = TINY / "text_encoder" / "model.safetensors"
    states = text_state(nets["text_encoder"])
    states = {name: values.numpy().astype(np.float16) for name, values in states.items()}
    write(place, states, {"format": "pt"})
    shutil.rmtree(TINY / "tokenizer")
    (TINY / "tokenizer").mkdir()
    for name, data in kept.items():
        (TINY / "tokenizer" / name).write_bytes(data)
    for part, net in nets.items():
        again = load(part).state_dict()
        assert all(torch.equal(again[name], values) for name, values in net.state_dict().items()), part


def write_single(path, nets):
    """The three networks in one file, under LDM names."""
    tensors = {}
    unet = nets["unet"]
    for name, values in unet.state_dict().items():
        tensors["model.diffusion_model." + ldm_unet(name, unet.config)] = values
    vae = nets["vae"]
    for name, values in vae.state_dict().items():
        name = ldm_vae(name, len(vae.config.block_out_channels))
        if "mid.attn_1" in name and name.endswith("weight") and values.ndim == 2:
            values = values[:, :, None, None]
        tensors["first_stage_model." + name] = values
    for name, values in text_state(nets["text_encoder"]).items():
        tensors["cond_stage_model.transformer." + name] = values
    check_single(tensors, nets)
    arrays = {name: values.numpy().astype(np.float16) for name, values in tensors.items()}
    # Published files have this one too; nothing needs it.
    positions = "cond_stage_model.transformer.text_model.embeddings.position_ids"
    arrays[positions] = np.arange(77, dtype=np.int64)[None]
    configurations = {
        "photog.unet_config": json.loads(unet.to_json_string()),
        "photog.vae_config": json.loads(vae.to_json_string()),
        "photog.text_config": json.loads(nets["text_encoder"].config.to_json_string(use_diff=False)),
        "photog.scheduler_config": json.loads(schedule().to_json_string()),
    }
    texts = {name: json.dumps(value, separators=(",", ":")) for name, value in configurations.items()}
    write(path, arrays, texts)


def text_state(text):
    """The weights of the text encoder under the names of the published files."""
    return {
        name if name.startswith("text_model.") else "text_model." + name: values
        for name, values in text.state_dict().items()
    }


RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}


def ldm_unet(name, config):
    """The LDM name of a weight of the UNet."""
    start = {
        "time_embedding.linear_1": "time_embed.0",
        "time_embedding.linear_2": "time_embed.2",
        "conv_in": "input_blocks.0.0",
        "conv_norm_out": "out.0",
        "conv_out": "out.2",
    }
    for ours, theirs in start.items():
        if name.startswith(ours + "."):
            return theirs + name[len(ours):]
    part, *rest = name.split(".")
    if part == "mid_block":
        kind, index, *rest = rest
        place = "middle_block.1" if kind == "attentions" else f"middle_block.{2 * int(index)}"
    else:
        block, kind, index, *rest = rest
        place = ldm_place(part, int(block), kind, int(index), config)
        if kind in ("downsamplers", "upsamplers"):
            rest = ["op" if kind == "downsamplers" else "conv", *rest[1:]]
    if kind == "resnets":
        rest = [RESNET[rest[0]], *rest[1:]]
    return ".".join([place, *rest])


def ldm_place(part, block, kind, index, config):
    """The place of a layer of a level in LDM's list of blocks."""
    layers = config.layers_per_block
    if part == "down_blocks":
        if kind == "downsamplers":
            return f"input_blocks.{(block + 1) * (layers + 1)}.0"
        return f"input_blocks.{1 + block * (layers + 1) + index}.{int(kind == 'attentions')}"
    if kind == "upsamplers":
        attends = config.up_block_types[block].startswith("CrossAttn")
        return f"output_blocks.{block * (layers + 1) + layers}.{2 if attends else 1}"
    return f"output_blocks.{block * (layers + 1) + index}.{int(kind == 'attentions')}"


VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out": "proj_out"}


def ldm_vae(name, levels):
    """The LDM name of a weight of the autoencoder."""
    part, *rest = name.split(".")
    if part in ("quant_conv", "post_quant_conv"):
        return name
    if rest[0] == "mid_block":
        if rest[1] == "resnets":
            rest = ["mid", f"block_{int(rest[2]) + 1}", *rest[3:]]
        else:
            rest = ["mid", "attn_1", VAE_ATTENTION[rest[3]], rest[-1]]
    elif rest[0] in ("down_blocks", "up_blocks"):
        side = rest[0].split("_")[0]
        level = int(rest[1]) if side == "down" else levels - 1 - int(rest[1])
        if rest[2] == "resnets":
            rest = [side, str(level), "block", *rest[3:]]
        else:
            rest = [side, str(level), side + "sample", *rest[4:]]
    rest = ["nin_shortcut" if one == "conv_shortcut" else one for one in rest]
    rest = ["norm_out" if one == "conv_norm_out" else one for one in rest]
    return ".".join([part, *rest])


def check_single(tensors, nets):
    """Reads the LDM names back by the converters of diffusers and compares."""
    unet, vae = (dict(nets[part].config) for part in ("unet", "vae"))
    found = {
        "unet": single_file_utils.convert_ldm_unet_checkpoint(dict(tensors), unet),
        "vae": single_file_utils.convert_ldm_vae_checkpoint(dict(tensors), vae),
        "text_encoder": single_file_utils.convert_ldm_clip_checkpoint(dict(tensors)),
    }
    for part, states in found.items():
        wanted = text_state(nets[part]) if part == "text_encoder" else nets[part].state_dict()
        assert states.keys() == wanted.keys(), states.keys() ^ wanted.keys()
        for name, values in wanted.items():
            assert torch.equal(states[name].reshape(values.shape), values), name


def write_controlnet(unet):
    """A ControlNet for the UNet."""
    net = ControlNetModel(
        in_channels=4,
        conditioning_channels=3,
        block_out_channels=unet.config.block_out_channels,
        layers_per_block=unet.config.layers_per_block,
        down_block_types=unet.config.down_block_types,
        norm_num_groups=unet.config.norm_num_groups,
        attention_head_dim=unet.config.attention_head_dim,
        cross_attention_dim=unet.config.cross_attention_dim,
        conditioning_embedding_out_channels=(4, 8, 8, 16),
    ).eval()
    randomise(net, "controlnet")
    net.half().save_pretrained(FIXTURES / "tiny_controlnet", safe_serialization=True)


def write_embeddings(size):
    """A textual inversion in each of the two usual forms."""
    one = generator("embedding/one").standard_normal((1, size)).astype(np.float16)
    write(FIXTURES / "tiny_embedding_webui.safetensors", {"emb_params": one / np.float16(2)})
    two = generator("embedding/two").standard_normal((2, size)).astype(np.float16)
    write(FIXTURES / "tiny_embedding_diffusers.safetensors", {"<two-vectors>": two / np.float16(2)})


if __name__ == "__main__":
    main()
