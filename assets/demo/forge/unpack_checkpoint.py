"""Makes the work folder's tokenizer and checkpoints anew from the packed checkpoint, so that its UNet can be
trained further on a machine that has nothing but the repository.

    python -m forge.unpack_checkpoint
    python -m forge.train.pictures
    python -m forge.train.latents
    python -m forge.train.unet --continue STEPS

The packed weights are the averaged ones, in 16 bits; what the optimisers knew is not in the pack and is
learned again within some hundred steps. It begins only where nothing of another checkpoint is left.
"""

import argparse
import json
import shutil
from pathlib import Path

from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextModel

from .pack_checkpoint import OUT
from .train import denoiser, latents, tokenizer, unet, vae
from .train.common import Ema, save, snapshot, work
from .train.parallel import Team


def checkpoint(net, optimiser, decay, step):
    """What a checkpoint holds after `step` steps whose last weights are those of `net`."""
    ema = Ema(net, decay)
    # The mean goes on as one over very many steps, not as one that has just begun.
    ema.steps = max(step, round(1 / (1 - decay)) * 10)
    return snapshot(step, net=net, ema=ema, optimiser=optimiser)


def unpack(pack):
    """Writes all checkpoints."""
    for file in (pack / "tokenizer").iterdir():
        shutil.copyfile(file, tokenizer.folder() / file.name)
    packed = AutoencoderKL.from_pretrained(pack / "vae").float()
    steps = vae.STEPS
    save(vae.checkpoint(), checkpoint(packed, vae.optimiser_of(packed), vae.DECAY, steps) | {"steps": steps})
    facts = {"encoder": vae.identity(packed.state_dict()), "scaling_factor": packed.config.scaling_factor}
    latents.place("facts.json").write_text(json.dumps(facts))
    nets = denoiser.Denoiser(len(tokenizer.opened()))
    nets.unet.load_state_dict(UNet2DConditionModel.from_pretrained(pack / "unet").float().state_dict())
    nets.text.load_state_dict(CLIPTextModel.from_pretrained(pack / "text_encoder").float().state_dict())
    begun = checkpoint(nets, unet.optimiser_of(nets, Team()), unet.DECAY, 0)
    save(denoiser.checkpoint(), begun | {"planned": 0, "facts": facts})


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pack", type=Path, default=OUT, help="the checkpoint's folder")
    pack = parser.parse_args().pack
    folder = work("diffusion", "unet.pt").parent
    if any(folder.iterdir()):
        raise SystemExit(f"{folder} holds another checkpoint; move it away to begin from the pack")
    unpack(pack)
    print(f"unpacked {pack.name}: go on with python -m forge.train.latents")


if __name__ == "__main__":
    main()
