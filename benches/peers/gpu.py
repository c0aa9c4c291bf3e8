#!/usr/bin/env python3
"""The networks of Stable Diffusion 1.5 with diffusers on an NVIDIA GPU, for a comparison with ../gpu.

Half precision, channels_last, eager and with torch.compile, the same sizes and the same names of steps.
Prints one JSON object. The weights are those that `gpu --weights DIR` wrote (--weights DIR), or random.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

DTYPES = ["bfloat16", "float16"]
SIDES = [64, 96]
BATCHES = [1, 2, 8]
STEPS = 20
PICTURE_STEPS = 30
GUIDANCE = 7.0
TOKENS = 77
TEXT_WIDTH = 768


class Models:
    """UNet, VAE and text encoder on the GPU."""

    def __init__(self, arguments, dtype):
        import torch
        from diffusers import AutoencoderKL, EulerDiscreteScheduler, UNet2DConditionModel
        from transformers import CLIPTextConfig, CLIPTextModel

        self.device, self.dtype = arguments.device, dtype
        if arguments.weights:
            options = {"torch_dtype": dtype}
            unet = UNet2DConditionModel.from_pretrained(arguments.weights / "unet", **options)
            vae = AutoencoderKL.from_pretrained(arguments.weights / "vae", **options)
            text = CLIPTextModel.from_pretrained(arguments.weights / "text_encoder", **options)
        else:
            unet = UNet2DConditionModel(
                sample_size=64, cross_attention_dim=TEXT_WIDTH, attention_head_dim=8,
                block_out_channels=(320, 640, 1280, 1280), layers_per_block=2)
            vae = AutoencoderKL(
                block_out_channels=(128, 256, 512, 512), layers_per_block=2, latent_channels=4,
                sample_size=512, down_block_types=["DownEncoderBlock2D"] * 4,
                up_block_types=["UpDecoderBlock2D"] * 4)
            text = CLIPTextModel(CLIPTextConfig(
                vocab_size=49408, hidden_size=TEXT_WIDTH, intermediate_size=3072, num_hidden_layers=12,
                num_attention_heads=12, max_position_embeddings=TOKENS, hidden_act="quick_gelu",
                bos_token_id=49406, eos_token_id=49407, pad_token_id=1))
        last = torch.channels_last
        self.unet = unet.eval().to(self.device, dtype, memory_format=last)
        self.vae = vae.eval().to(self.device, dtype, memory_format=last)
        self.text = text.eval().to(self.device, dtype)
        self.scheduler = EulerDiscreteScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
        self.tokens = torch.randint(0, 49000, (2, TOKENS), device=self.device)

    def compile(self, mode):
        import torch

        # Sizes are those of a running service: few and known.
        self.unet = torch.compile(self.unet, mode=mode, dynamic=False)
        self.vae.decode = torch.compile(self.vae.decode, mode=mode, dynamic=False)

    def encode(self):
        return self.text(self.tokens).last_hidden_state

    def noise(self, batch, side):
        import torch

        noise = torch.randn(batch, 4, side, side, device=self.device, dtype=self.dtype)
        return noise.contiguous(memory_format=torch.channels_last)

    def sample(self, side, batch, steps, texts):
        """A run with Euler's method whose passes have `batch` latents, two halves for each picture."""
        pictures = max(1, batch // 2)
        self.scheduler.set_timesteps(steps, device=self.device)
        texts = texts[:1] if batch == 1 else texts.repeat_interleave(pictures, dim=0)
        latents = self.noise(pictures, side) * self.scheduler.init_noise_sigma
        for timestep in self.scheduler.timesteps:
            taken = latents if batch == 1 else latents.repeat(2, 1, 1, 1)
            taken = self.scheduler.scale_model_input(taken, timestep)
            answer = self.unet(taken, timestep, encoder_hidden_states=texts, return_dict=False)[0]
            if batch > 1:
                shown, kept_out = answer.chunk(2)
                answer = kept_out + GUIDANCE * (shown - kept_out)
            latents = self.scheduler.step(answer, timestep, latents, return_dict=False)[0]
        return latents

    def decode(self, latents):
        """A picture as bytes in ordinary memory."""
        import torch

        picture = self.vae.decode(latents / self.vae.config.scaling_factor, return_dict=False)[0]
        picture = ((picture.float() + 1) * 127.5).clamp(0, 255).to(torch.uint8)
        return picture.permute(0, 2, 3, 1).cpu()


def measure(name, rounds, action, divide=1):
    """Median and least time of `action`, after two that do not count: the first compiles."""
    import torch

    times = []
    for round_ in range(rounds + 2):
        torch.cuda.synchronize()
        start = time.perf_counter()
        action()
        torch.cuda.synchronize()
        if round_ > 1:
            times.append((time.perf_counter() - start) * 1000 / divide)
    row = {"name": name, "median_ms": statistics.median(times), "min_ms": min(times), "iterations": rounds}
    print(f"{name}: {row['median_ms']:.2f} ms", file=sys.stderr)
    return row


def measure_all(arguments, models):
    texts = models.encode()
    memory = {"loaded": used(arguments)}
    rows = [
        measure(f"picture of 512 x 512, {PICTURE_STEPS} steps", arguments.rounds,
                lambda: models.decode(models.sample(64, 2, PICTURE_STEPS, models.encode()))),
    ]
    latents = models.noise(1, 64)
    rows.append(measure("VAE decode, 512 x 512", 2 * arguments.rounds, lambda: models.decode(latents)))
    memory["one picture of 512 x 512"] = used(arguments)
    for side in SIDES:
        for batch in BATCHES:
            rows.append(measure(
                f"UNet step, batch {batch}, latents {side} x {side}", arguments.rounds,
                lambda side=side, batch=batch: models.sample(side, batch, STEPS, texts).float().cpu(),
                divide=STEPS))
            memory[f"UNet, batch {batch}, {8 * side} x {8 * side}"] = used(arguments)
    return rows, memory


def used(arguments):
    """Memory in use on the GPU by all processes, in MiB; the pool keeps what it has had."""
    index = arguments.device.partition(":")[2] or "0"
    command = ["nvidia-smi", f"--id={index}", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    try:
        return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    except (OSError, ValueError, subprocess.CalledProcessError):
        return None


def begin(arguments):
    """Loads and takes two steps; for the measurement of the start."""
    import torch

    start = time.perf_counter()
    models = Models(arguments, getattr(torch, arguments.dtype))
    if arguments.compiled:
        models.compile(arguments.mode)
    torch.cuda.synchronize()
    loaded = time.perf_counter()
    texts = models.encode()
    torch.cuda.synchronize()
    ready = time.perf_counter()
    models.sample(64, 2, 1, texts).float().cpu()
    first = time.perf_counter()
    models.sample(64, 2, 1, texts).float().cpu()
    second = time.perf_counter()
    print(json.dumps({
        "load_seconds": loaded - start,
        "first_step_seconds": first - ready,
        "load_texts_and_first_step_seconds": first - start,
        "second_step_seconds": second - first,
    }))


def start(arguments, compiled):
    """A new process without anything kept, and one after it. The time has the imports in it."""
    command = [sys.executable, __file__, "--begin", "--device", arguments.device, "--dtype",
               arguments.dtype, "--mode", arguments.mode]
    if arguments.weights:
        command += ["--weights", str(arguments.weights)]
    if compiled:
        command.append("--compiled")
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        kept = os.environ | {
            "TORCHINDUCTOR_CACHE_DIR": f"{folder}/inductor", "TRITON_CACHE_DIR": f"{folder}/triton",
            "CUDA_CACHE_PATH": f"{folder}/driver",
        }
        for name in ["cold", "warm"]:
            print(f"{name} start, {'compiled' if compiled else 'eager'}", file=sys.stderr)
            begun = time.perf_counter()
            result = subprocess.run(command, env=kept, stdout=subprocess.PIPE, text=True, check=True)
            figures[f"start_{name}"] = json.loads(result.stdout.splitlines()[-1]) | {
                "process_seconds": time.perf_counter() - begun}
    return figures


def run(arguments):
    import diffusers
    import torch

    torch.manual_seed(1)
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    about = {
        "gpu": torch.cuda.get_device_name(arguments.device),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "diffusers": diffusers.__version__,
        "python": platform.python_version(),
        "dtype": arguments.dtype,
        "compile_mode": arguments.mode,
    }
    ways = {}
    for name, compiled in [("eager", False), ("compiled", True)]:
        if arguments.way not in (None, name):
            continue
        ways[name] = {} if arguments.no_start else start(arguments, compiled)
        torch.cuda.empty_cache()
        models = Models(arguments, getattr(torch, arguments.dtype))
        if compiled:
            models.compile(arguments.mode)
        rows, memory = measure_all(arguments, models)
        ways[name] |= {"rows": rows, "memory_mib": memory}
        del models
    print(json.dumps(about | ways, indent=1))


def read_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--dtype", choices=DTYPES, default="bfloat16")
    parser.add_argument("--way", choices=["eager", "compiled"], help="measure this alone")
    parser.add_argument("--mode", default="default", help="of torch.compile, such as max-autotune")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each step (5)")
    parser.add_argument("--weights", type=Path, help="folder that `gpu --weights` wrote")
    parser.add_argument("--no-start", action="store_true", help="leave the starts of processes out")
    parser.add_argument("--begin", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--compiled", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def main():
    arguments = read_arguments()
    import torch

    if not torch.cuda.is_available():
        raise SystemExit("PyTorch finds no GPU: nothing was measured")
    with torch.inference_mode():
        if arguments.begin:
            begin(arguments)
        else:
            run(arguments)


if __name__ == "__main__":
    main()
