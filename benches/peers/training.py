#!/usr/bin/env python3
"""Steps of training a LoRA with PyTorch, diffusers and PEFT, for a comparison with ../training.rs.

Two bases: `demo`, the checkpoint of the demo pack, with 4 pictures a step and rank 16; and `sd15`, networks of the
sizes of Stable Diffusion 1.5 with random weights, with 1 picture and rank 128. Alpha is half of the rank, and
all layers of the transformer blocks and of the text encoder have an adapter. Latents, noise and captions are
random. A step is all of it: the text encoder on one caption for each picture, the UNet, the loss, the gradient,
its clipping, and AdamW.

Each measurement runs in a process of its own and prints one line of JSON: `name`, `ms_per_step` (the median,
after a step that does not count), `min_ms`, `iterations`, `peak_memory_bytes`, `order`. The memory is the most that
the process ever had, libraries included. On a GPU it is what the GPU has given away at the end, the driver's share
and other processes included, for the pool keeps what it has had; `allocated_bytes` is then the most that
tensors needed. The order of the numbers of feature maps, contiguous or channels_last, is the faster one of both.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

DEMO = Path(__file__).resolve().parents[2] / "assets" / "demo" / "pack" / "Stable-diffusion" / "demo"
# Pictures a step, the rank, and the sides of the latents.
BASES = {"demo": (4, 16, [32]), "sd15": (1, 128, [32, 64])}
ORDERS = ["contiguous", "channels_last"]
DTYPES = {"f32": "float32", "bf16": "bfloat16"}
TARGETS = {
    "unet": ["to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2", "proj_in", "proj_out"],
    "text_encoder": ["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"],
}
RATES = {"unet": 1e-4, "text_encoder": 5e-5}


def networks(arguments):
    """UNet and text encoder."""
    from diffusers import UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    if arguments.base == "demo":
        return {
            "unet": UNet2DConditionModel.from_pretrained(DEMO / "unet"),
            "text_encoder": CLIPTextModel.from_pretrained(DEMO / "text_encoder"),
        }
    unet = UNet2DConditionModel(
        sample_size=64, cross_attention_dim=768, attention_head_dim=8,
        block_out_channels=(320, 640, 1280, 1280), layers_per_block=2)
    text = CLIPTextModel(CLIPTextConfig(
        vocab_size=49408, hidden_size=768, intermediate_size=3072, num_hidden_layers=12,
        num_attention_heads=12, max_position_embeddings=77, hidden_act="quick_gelu",
        bos_token_id=49406, eos_token_id=49407, pad_token_id=1))
    return {"unet": unet, "text_encoder": text}


class Training:
    """Frozen networks, the adapters on them, and their optimiser."""

    def __init__(self, arguments):
        import torch
        from diffusers import DDPMScheduler
        from peft import LoraConfig, inject_adapter_in_model

        self.batch, self.side, self.device = arguments.batch, arguments.latent[0], arguments.device
        self.kind = getattr(torch, DTYPES[arguments.dtype])
        order = torch.channels_last if arguments.order == "channels_last" else torch.contiguous_format
        nets = networks(arguments)
        groups = []
        for part, net in nets.items():
            # Checkpointing wants a network in training; none of these has dropout.
            net.requires_grad_(False).train()
            net.to(self.device, self.kind)
            if part == "unet":
                net.to(memory_format=order)
            config = LoraConfig(
                r=arguments.rank, lora_alpha=arguments.rank / 2, lora_dropout=0.0, target_modules=TARGETS[part])
            inject_adapter_in_model(config, net)
            factors = [one for one in net.parameters() if one.requires_grad]
            for one in factors:
                one.data = one.data.float()
            groups.append({"params": factors, "lr": RATES[part]})
        if arguments.checkpointing:
            nets["unet"].enable_gradient_checkpointing()
            nets["text_encoder"].activation_checkpointing_enable({"use_reentrant": False})
        self.unet, self.text = nets["unet"], nets["text_encoder"]
        self.optimiser = torch.optim.AdamW(groups, weight_decay=1e-2, fused=True)
        self.factors = [one for group in groups for one in group["params"]]
        self.vocabulary = self.text.config.vocab_size
        self.schedule = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")

    def step(self):
        import torch

        shape = self.batch, 4, self.side, self.side
        latents = torch.randn(shape, device=self.device)
        noise = torch.randn(shape, device=self.device)
        timesteps = torch.randint(0, 1000, (self.batch,), device=self.device)
        tokens = torch.randint(0, self.vocabulary, (self.batch, 77), device=self.device)
        noisy = self.schedule.add_noise(latents, noise, timesteps).to(self.kind)
        mixed = self.kind != torch.float32
        with torch.autocast(self.device.partition(":")[0], self.kind, enabled=mixed):
            text = self.text(tokens).last_hidden_state
            predicted = self.unet(noisy, timesteps, text).sample
        loss = torch.nn.functional.mse_loss(predicted.float(), noise)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.factors, 1.0)
        self.optimiser.step()
        self.optimiser.zero_grad()
        return loss.item()


def measure(arguments):
    """One measurement, in this process."""
    import torch
    from diffusers.utils import logging

    logging.set_verbosity_error()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(1)
    cuda = arguments.device.startswith("cuda")
    if cuda:
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.allow_tf32 = True
        torch.backends.cudnn.benchmark = True
    training = Training(arguments)
    times = []
    for number in range(1 + arguments.steps):
        start = time.perf_counter()
        # The loss comes to the CPU, so a GPU is done but for the optimiser, which the next step waits for.
        training.step()
        if cuda:
            torch.cuda.synchronize()
        times.append((time.perf_counter() - start) * 1000)
        print(f"{name(arguments)}, {arguments.order}, step {number}: {times[-1]:.1f} ms", file=sys.stderr)
    row = {"name": name(arguments), "ms_per_step": statistics.median(times[1:]), "min_ms": min(times[1:]),
           "iterations": arguments.steps, "peak_memory_bytes": peak(), "order": arguments.order}
    if cuda:
        free, all_of_it = torch.cuda.mem_get_info()
        row |= {"peak_memory_bytes": all_of_it - free, "allocated_bytes": torch.cuda.max_memory_allocated()}
    print(json.dumps(row | about(arguments)))


def name(arguments):
    """The name that the other side has for it as well."""
    base = {"demo": "demo pack", "sd15": "SD 1.5"}[arguments.base]
    side = arguments.latent[0]
    more = ", checkpointing" if arguments.checkpointing else ""
    return f"LoRA step, {base}, latents {side} x {side}, batch {arguments.batch}, rank {arguments.rank}{more}"


def about(arguments):
    import diffusers
    import peft
    import torch

    return {"threads": torch.get_num_threads(), "device": arguments.device, "dtype": arguments.dtype,
            "torch": torch.__version__, "diffusers": diffusers.__version__, "peft": peft.__version__}


def peak():
    """The most memory that this process has had."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return None


def run(arguments):
    """All measurements, each in a process of its own."""
    for base, (batch, rank, sides) in BASES.items():
        if arguments.base not in (None, base):
            continue
        for side in arguments.latent or sides:
            rows = []
            for order in [arguments.order] if arguments.order else ORDERS:
                command = [
                    sys.executable, __file__, "--alone", "--base", base, "--latent", str(side), "--order", order,
                    "--batch", str(arguments.batch or batch), "--rank", str(arguments.rank or rank),
                    "--steps", str(arguments.steps), "--threads", str(arguments.threads),
                    "--device", arguments.device, "--dtype", arguments.dtype]
                command += ["--checkpointing"] if arguments.checkpointing else []
                result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
                rows.append(json.loads(result.stdout.splitlines()[-1]))
            print(json.dumps(min(rows, key=lambda row: row["ms_per_step"])), flush=True)


def read_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--base", choices=list(BASES), help="measure this alone")
    parser.add_argument("--latent", type=int, nargs="+", metavar="SIDE",
                        help="sides of the latents (32 for demo; 32 and 64 for sd15)")
    parser.add_argument("--batch", type=int, help="pictures a step (4 for demo, 1 for sd15)")
    parser.add_argument("--rank", type=int, help="rank, twice alpha (16 for demo, 128 for sd15)")
    parser.add_argument("--steps", type=int, default=5, help="steps that count (5)")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)),
                        help="threads (as many as cores)")
    parser.add_argument("--order", choices=ORDERS, help="this one instead of the faster one of both")
    parser.add_argument("--device", default="cpu", help="such as cuda (cpu)")
    parser.add_argument("--dtype", choices=list(DTYPES), default="f32",
                        help="with bf16 the base is stored in it and autocast is on; adapters stay f32 (f32)")
    parser.add_argument("--checkpointing", action="store_true", help="compute activations a second time")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def main():
    arguments = read_arguments()
    if arguments.alone:
        measure(arguments)
    else:
        run(arguments)


if __name__ == "__main__":
    main()
