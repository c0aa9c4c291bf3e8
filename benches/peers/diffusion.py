#!/usr/bin/env python3
"""The networks of Stable Diffusion 1.5 with PyTorch on the CPU, for a comparison with ../diffusion.rs.

Random weights in 32-bit floats, the modules of diffusers and transformers, the same sizes and the same
names of steps. Each step is measured with contiguous weights and with channels_last, and the better of
both counts. With --against it starts another program and itself in turn and prints ratios.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time

GUIDED = [(1, "batch 1"), (2, "batch 2")]
ATTENTION = [(4096, 40), (1024, 80)]
HEADS = 8
TOKENS = 77
TEXT_WIDTH = 768


def measure(name, rounds, action):
    """Median and least time of `action`, after one that does not count."""
    action()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        action()
        times.append((time.perf_counter() - start) * 1000)
    return {"name": name, "median_ms": statistics.median(times), "min_ms": min(times),
            "iterations": rounds}


def better(name, rounds, module, inputs, call):
    """The faster one of both orders of numbers, by its median."""
    import torch

    rows = []
    for order in (torch.contiguous_format, torch.channels_last):
        module.to(memory_format=order)
        ordered = [one.contiguous(memory_format=order) if one.dim() == 4 else one for one in inputs]
        row = measure(name, rounds, lambda ordered=ordered: call(module, ordered))
        row["order"] = str(order).removeprefix("torch.")
        print(f"{name}, {row['order']}: {row['median_ms']:.1f} ms", file=sys.stderr)
        rows.append(row)
    return min(rows, key=lambda row: row["median_ms"])


def unet_rows(side, rounds):
    import torch
    from diffusers import UNet2DConditionModel

    unet = UNet2DConditionModel(
        sample_size=64, cross_attention_dim=TEXT_WIDTH, attention_head_dim=8,
        block_out_channels=(320, 640, 1280, 1280), layers_per_block=2,
    ).eval()
    for batch, name in GUIDED:
        inputs = [torch.randn(batch, 4, side, side), torch.randn(batch, TOKENS, TEXT_WIDTH)]
        yield better(f"UNet step, {name}, latents {side} x {side}", rounds, unet, inputs,
                     lambda unet, inputs: unet(inputs[0], 321, encoder_hidden_states=inputs[1]).sample)


def decode_rows(side, rounds):
    import torch
    from diffusers import AutoencoderKL

    vae = AutoencoderKL(
        block_out_channels=(128, 256, 512, 512), layers_per_block=2, latent_channels=4, sample_size=512,
        down_block_types=["DownEncoderBlock2D"] * 4, up_block_types=["UpDecoderBlock2D"] * 4,
    ).eval()
    pixels = 8 * side

    def decode(vae, inputs):
        picture = vae.decode(inputs[0] / vae.config.scaling_factor).sample
        # As the other side, which gives bytes.
        return ((picture + 1) * 127.5).clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()

    yield better(f"VAE decode, {pixels} x {pixels}", rounds, vae, [torch.randn(1, 4, side, side)], decode)


def text_rows(_side, rounds):
    import torch
    from transformers import CLIPTextConfig, CLIPTextModel

    config = CLIPTextConfig(
        vocab_size=49408, hidden_size=TEXT_WIDTH, intermediate_size=3072, num_hidden_layers=12,
        num_attention_heads=12, max_position_embeddings=TOKENS, hidden_act="quick_gelu",
        bos_token_id=49406, eos_token_id=49407, pad_token_id=1,
    )
    encoder = CLIPTextModel(config).eval()
    tokens = torch.randint(0, 49000, (1, TOKENS))
    tokens[0, 0], tokens[0, -1] = 49406, 49407
    yield measure(f"text encoding, {TOKENS} tokens", 4 * rounds,
                  lambda: encoder(tokens).last_hidden_state)


def attention_rows(_side, rounds):
    import torch
    from torch.nn.functional import scaled_dot_product_attention

    for tokens, head in ATTENTION:
        query, key, value = (torch.randn(1, HEADS, tokens, head) for _ in range(3))
        yield measure(f"attention, {HEADS} heads x {tokens} x {head}", 4 * rounds,
                      lambda q=query, k=key, v=value: scaled_dot_product_attention(q, k, v))


QUESTIONS = {"unet": unet_rows, "decode": decode_rows, "text": text_rows, "attention": attention_rows}


def run(arguments):
    import diffusers
    import torch
    import transformers

    torch.set_num_threads(arguments.threads)
    torch.manual_seed(1)
    rows = []
    with torch.inference_mode():
        for name, question in QUESTIONS.items():
            if arguments.only in (None, name):
                rows.extend(question(arguments.latent, arguments.rounds))
    about = {
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "diffusers": diffusers.__version__,
        "transformers": transformers.__version__,
        "python": platform.python_version(),
        "precision": "32-bit floats",
    }
    if arguments.json:
        print(json.dumps(about | {"rows": rows}, indent=1))
        return
    for name, value in about.items():
        print(f"- {name}: {value}")
    print("\n| step | median ms | least ms | runs | order |\n| --- | ---: | ---: | ---: | --- |")
    for row in rows:
        print(f"| {row['name']} | {row['median_ms']:.2f} | {row['min_ms']:.2f} | {row['iterations']} "
              f"| {row.get('order', '')} |")


def compare(arguments):
    """Runs both sides in turn, and prints how many times as fast the other program is, per turn."""
    ours = arguments.against + ["--json", "--latent", str(arguments.latent), "--rounds",
                                str(arguments.rounds), "--threads", str(arguments.threads)]
    theirs = [sys.executable, __file__, "--json", "--latent", str(arguments.latent), "--rounds",
              str(arguments.rounds), "--threads", str(arguments.threads)]
    if arguments.only:
        ours += ["--only", arguments.only]
        theirs += ["--only", arguments.only]
    turns = []
    for turn in range(arguments.turns):
        print(f"turn {turn + 1} of {arguments.turns}", file=sys.stderr)
        turns.append([medians(command) for command in (ours, theirs)])
    print("| step | photog ms | PyTorch ms | photog is times as fast | per turn |")
    print("| --- | ---: | ---: | ---: | --- |")
    for name in turns[0][0]:
        pairs = [(mine[name], other[name]) for mine, other in turns]
        ratios = [other / mine for mine, other in pairs]
        middle = [statistics.median(side) for side in zip(*pairs)]
        print(f"| {name} | {middle[0]:.2f} | {middle[1]:.2f} | {statistics.median(ratios):.2f} "
              f"| {', '.join(f'{ratio:.2f}' for ratio in ratios)} |")


def medians(command):
    # A missed goal ends with 1 too; what counts is whether there are figures.
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    try:
        return {row["name"]: row["median_ms"] for row in json.loads(result.stdout)["rows"]}
    except (ValueError, KeyError):
        raise SystemExit(f"{command[0]} gave no figures; see above") from None


def read_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)),
                        help="threads (as many as cores)")
    parser.add_argument("--latent", type=int, choices=[32, 64], default=64,
                        help="side of the latents: 64 for pictures of 512 x 512")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each step (5)")
    parser.add_argument("--only", choices=list(QUESTIONS), help="ask this alone")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    parser.add_argument("--turns", type=int, default=3, help="with --against: turns of both sides (3)")
    parser.add_argument("--against", nargs=argparse.REMAINDER, metavar="PROGRAM",
                        help="last: a command that takes the same options and prints the same JSON")
    return parser.parse_args()


def main():
    arguments = read_arguments()
    if arguments.against:
        compare(arguments)
    else:
        run(arguments)


if __name__ == "__main__":
    main()
