"""Trains the decoder of the autoencoder further, mostly on faces, with the encoder as it is. Latents that were
made before stay valid, so this may run beside the training of the UNet.

`python -m forge.train.decoder`; what comes of it is used wherever the autoencoder is.
"""

import numpy as np
import torch

from . import parallel, pictures, vae
from .common import (
    Ema,
    Progress,
    arguments,
    cosine_rate,
    device,
    halved,
    load,
    prepare,
    restored,
    save,
    set_rate,
    snapshot,
    work,
)
from .diffusion_nets import SIDE

RATE, DECAY = 5e-4, 0.998
PIECE = 128
# Share of the pieces that have a head in their middle.
FACES = 0.75


def checkpoint():
    return work("diffusion", "decoder.pt")


class FacePieces:
    """Random pieces of the pictures, most of them around a head."""

    def __init__(self, batch, seed):
        self.pixels, done = pictures.opened("train")
        self.rows = np.flatnonzero(done)
        self.batch = batch
        self.rng = np.random.default_rng(seed)

    def corner(self, row):
        """Where a piece of a picture begins."""
        sitters = pictures.drawn_scene("train", row).sitters
        free = SIDE - PIECE
        if not sitters or self.rng.random() >= FACES:
            return self.rng.integers(0, free + 1, 2)
        one = sitters[self.rng.integers(len(sitters))]
        middle = np.array([one.x, one.y]) * SIDE + self.rng.normal(0, 14, 2)
        return np.clip(middle - PIECE / 2, 0, free).astype(int)

    def take(self):
        """A batch [n, 3, side, side] of numbers from -1 to 1."""
        pieces = np.empty((self.batch, PIECE, PIECE, 3), np.uint8)
        for at, row in enumerate(self.rng.choice(self.rows, self.batch)):
            x, y = self.corner(row)
            piece = self.pixels[row, y : y + PIECE, x : x + PIECE]
            pieces[at] = piece[:, ::-1] if self.rng.random() < 0.5 else piece
        return vae.as_numbers(pieces)


def trained_parts(net):
    return torch.nn.ModuleDict({"decoder": net.decoder, "post_quant_conv": net.post_quant_conv})


def losses(net, picture):
    """Likeness and edges of the picture that comes out of latents with some noise."""
    with halved():
        with torch.no_grad():
            mean = net.encode(picture).latent_dist.mean.float()
            latent = mean + vae.NOISE * mean.std() * torch.randn_like(mean)
        decoded = net.decode(latent).sample.float()
    return (decoded - picture).abs().mean(), vae.edges(decoded, picture)


def train(team, asked):
    prepare(asked.threads)
    net, _, encoder = vae.trained(polished=False)
    parts = trained_parts(net.to(device()).train().requires_grad_(False)).requires_grad_(True)
    optimiser = torch.optim.AdamW(parts.parameters(), lr=RATE, betas=(0.9, 0.99), weight_decay=1e-4, fused=True)
    ema, is_over = Ema(parts, DECAY), False
    saved = None if asked.fresh else load(checkpoint())
    if saved and saved["encoder"] != encoder:
        saved = None
    step = restored(saved, net=parts, ema=ema, optimiser=optimiser)
    pieces = FacePieces(asked.batch // team.size, seed=[33, step, team.rank])
    torch.manual_seed(3000 + step + 7919 * team.rank)
    progress = Progress("decoder", step, asked.steps, asked.minutes) if team.is_first else None
    while step < asked.steps and not is_over:
        set_rate(optimiser, RATE * cosine_rate(step, asked.steps))
        likeness, edges = losses(net, pieces.take().to(device()))
        (likeness + vae.EDGES * edges).backward()
        is_over = team.share(parts.parameters(), progress is not None and progress.is_over)
        torch.nn.utils.clip_grad_norm_(parts.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        step += 1
        if not team.is_first:
            continue
        ema.update(parts)
        progress.tell(pieces.batch * team.size, likeness=likeness.detach(), edges=edges.detach())
        if progress.is_time_to_save():
            now = snapshot(step, net=parts, ema=ema, optimiser=optimiser)
            save(checkpoint(), now | {"encoder": encoder})


def main():
    parser = arguments(__doc__.splitlines()[0], steps=2000, batch=6)
    parser.add_argument("--processes", type=int, default=2, help="share each batch")
    asked = parser.parse_args()
    parallel.train(train, asked.processes, asked)
    vae.measure()


if __name__ == "__main__":
    main()
