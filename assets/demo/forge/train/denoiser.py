"""Text encoder and UNet, which are trained together, and their checkpoint."""

import torch

from . import tokenizer
from .common import load, work
from .diffusion_nets import text_encoder, unet


def checkpoint():
    return work("diffusion", "unet.pt")


class Denoiser(torch.nn.Module):
    """Both networks as one."""

    def __init__(self, vocabulary):
        super().__init__()
        self.text, self.unet = text_encoder(vocabulary), unet()

    def words(self, tokens):
        """Tokens [n, 77] to what the UNet attends to."""
        return self.text(tokens).last_hidden_state


def trained():
    """Text encoder and UNet with the averaged weights."""
    saved = load(checkpoint())
    if saved is None:
        raise SystemExit("first run python -m forge.train.unet")
    nets = Denoiser(len(tokenizer.opened()))
    nets.load_state_dict(saved["ema"]["state"])
    return nets.eval(), saved
