"""Makes the demo checkpoint from nothing: draws pictures, learns the vocabulary, trains the autoencoder
and its decoder once more, encodes, trains the UNet, packs. One command, which goes on where it was stopped:

    python -m forge.train.all            (options: --processes, --vae-steps, --unet-steps)

Each stage is a program of its own and can be run alone.
"""

import argparse
import subprocess
import sys

from . import pictures, tokenizer, unet, vae
from .common import work


def stages(asked):
    """What has to run, in order: the module, its arguments, and whether it is done already. The
    trainings know by themselves when they are."""
    processes = ["--processes", str(asked.processes)]
    return [
        ("pictures", processes, lambda: pictures.is_complete("train") and pictures.is_complete("unseen")),
        ("tokenizer", [], lambda: (tokenizer.folder() / "merges.txt").exists()),
        ("vae", [*processes, "--steps", str(asked.vae_steps)], lambda: False),
        ("decoder", processes, lambda: False),
        ("latents", processes, lambda: False),
        ("unet", [*processes, "--steps", str(asked.unet_steps)], lambda: False),
    ]


def run(module, arguments):
    print(f"== {module} {' '.join(arguments)}", flush=True)
    result = subprocess.run([sys.executable, "-m", module, *arguments], check=False)
    if result.returncode:
        raise SystemExit(f"{module} failed; run this again to go on")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--vae-steps", type=int, default=vae.STEPS)
    parser.add_argument("--unet-steps", type=int, default=unet.STEPS)
    parser.add_argument("--no-pack", action="store_true")
    asked = parser.parse_args()
    print(f"work folder: {work()}", flush=True)
    for name, arguments, is_done in stages(asked):
        if not is_done():
            run(f"forge.train.{name}", arguments)
    if not asked.no_pack:
        run("forge.pack_checkpoint", [])


if __name__ == "__main__":
    main()
