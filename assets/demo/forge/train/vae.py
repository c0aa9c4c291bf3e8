"""Trains the autoencoder of the demo checkpoint on the pictures of `pictures.py`.

It begins as a codec of mean colours (`vae_start.py`). It learns on pieces of pictures, as these are far
quicker than whole ones; the pieces grow, because norms are taken over the whole picture. What is asked
of it, besides a likeness:

- edges as sharp as in the picture (differences of neighbours are compared too);
- latents that are about normal (a light KL term), and little disturbed by noise, so that the decoder
  forgives what the UNet does not hit;
- latents that mean the same at half the size: decoded, they are the picture at half the size. Such
  latents have less fine structure and are learned sooner by the UNet.

`python -m forge.train.vae` trains, and measures at the end; `--measure` measures only.
"""

import hashlib

import numpy as np
import torch
from torch.nn import functional

from . import parallel, pictures, vae_start
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
from .diffusion_nets import SIDE, autoencoder

RATE, DECAY, STEPS = 8e-4, 0.998, 7000
# Sides of the pieces, how many pieces of a batch of 12 there are then, and until which part of the training.
STAGES = ((64, 12, 0.45), (96, 12, 0.8), (192, 3, 1.0))
EDGES, KL = 1.0, 6e-4
# The KL term grows from nothing over this part of the training.
KL_GROWS = 0.1
# Spread of the noise on latents that the decoder has to forgive, as a part of the latents' own; the
# encoder's own choice is far less.
NOISE = 0.06


def checkpoint():
    return work("diffusion", "vae.pt")


class Pieces:
    """Random pieces of the pictures that are drawn so far."""

    def __init__(self, batch, seed):
        self.pixels, self.done = pictures.opened("train")
        self.batch = batch
        self.rng = np.random.default_rng(seed)
        self.refresh()

    def refresh(self):
        self.rows = np.flatnonzero(self.done)

    def take(self, share):
        """A batch [n, 3, side, side] of numbers from -1 to 1, as it is after a share of the training."""
        side, count = next(stage[:2] for stage in STAGES if share < stage[2])
        count = max(1, self.batch * count // 12)
        pieces = np.empty((count, side, side, 3), np.uint8)
        for at in range(count):
            # The sum of two numbers: the middle of the picture, where faces are, more often than its rim.
            x, y = (int(value) for value in self.rng.integers(0, SIDE - side + 1, (2, 2)).sum(0) // 2)
            piece = self.pixels[self.rng.choice(self.rows), y : y + side, x : x + side]
            pieces[at] = piece[:, ::-1] if self.rng.random() < 0.5 else piece
        return as_numbers(pieces)


def as_numbers(pixels):
    """Bytes [n, h, w, 3] as numbers [n, 3, h, w] from -1 to 1."""
    values = torch.from_numpy(np.array(pixels)).permute(0, 3, 1, 2)
    return values.to(torch.float32).div_(127.5).sub_(1).contiguous()


def edges(one, two):
    """How far differences of neighbours are apart, at full and at half size."""
    apart = one - two
    total = 0.0
    for _ in range(2):
        total = total + (apart[:, :, 1:] - apart[:, :, :-1]).abs().mean()
        total = total + (apart[..., 1:] - apart[..., :-1]).abs().mean()
        apart = functional.avg_pool2d(apart, 2)
    return total / 2


def losses(net, picture, half):
    """The losses by name. `half` decodes the latents at half the size."""
    with halved():
        found = net.encode(picture).latent_dist
        mean, log_variance = found.mean.float(), found.logvar.float()
        spread = (log_variance.exp() + (NOISE * mean.detach().std()).square()).sqrt()
        latent = mean + spread * torch.randn_like(mean)
        if half:
            latent = functional.avg_pool2d(latent, 2)
            picture = functional.avg_pool2d(picture, 2)
        decoded = net.decode(latent).sample.float()
    kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()
    return {
        "likeness": (decoded - picture).abs().mean(),
        "edges": edges(decoded, picture),
        "kl": kl,
    }


def optimiser_of(net):
    return torch.optim.AdamW(net.parameters(), lr=RATE, betas=(0.9, 0.99), weight_decay=1e-4, fused=True)


def identity(state):
    """What tells this encoder's latents from those of another one: a hash of its weights."""
    digest = hashlib.sha256()
    for name in sorted(state):
        if name.startswith(("encoder.", "quant_conv.")):
            digest.update(state[name].numpy().tobytes())
    return digest.hexdigest()[:16]


def train(team, asked):
    prepare(asked.threads)
    net = autoencoder().train()
    vae_start.begin(net)
    net.to(device())
    optimiser = optimiser_of(net)
    ema, is_over = Ema(net, DECAY), False
    saved = None if asked.fresh else load(checkpoint())
    step = restored(saved, net=net, ema=ema, optimiser=optimiser)
    pieces = Pieces(asked.batch // team.size, seed=[31, step, team.rank])
    torch.manual_seed(1000 + step + 7919 * team.rank)
    progress = Progress("vae", step, asked.steps, asked.minutes) if team.is_first else None
    while step < asked.steps and not is_over:
        share = step / asked.steps
        set_rate(optimiser, RATE * cosine_rate(step, asked.steps))
        kl = KL * min(1.0, share / KL_GROWS)
        picture = pieces.take(share).to(device())
        found = losses(net, picture, half=step % 4 == 3)
        (found["likeness"] + EDGES * found["edges"] + kl * found["kl"]).backward()
        is_over = team.share(net.parameters(), progress is not None and progress.is_over)
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        step += 1
        if not team.is_first:
            continue
        ema.update(net)
        progress.tell(len(picture) * team.size, **{name: value.detach() for name, value in found.items()})
        if progress.is_time_to_save():
            now = snapshot(step, net=net, ema=ema, optimiser=optimiser)
            save(checkpoint(), now | {"steps": asked.steps})


def trained(scaling_factor=1.0, polished=True):
    """The autoencoder with the averaged weights, how far it was trained (0 to 1), and its encoder's identity.
    Its decoder is that which `decoder.py` has trained on, where there is one and `polished` asks for it."""
    saved = load(checkpoint())
    if saved is None:
        raise SystemExit("first run python -m forge.train.vae")
    net = autoencoder(scaling_factor)
    state = saved["ema"]["state"]
    encoder = identity(state)
    more = load(work("diffusion", "decoder.pt")) if polished else None
    if more and more["encoder"] == encoder:
        state = state | more["ema"]["state"]
    net.load_state_dict(state)
    return net.eval(), saved["step"] / saved["steps"], encoder


@torch.no_grad()
def measure(count=192):
    """Prints how well pictures of unseen people survive the way to latents and back, whole pictures and
    their middles (where the face is), and what the latents are like."""
    torch.set_num_threads(2)
    net, _, _ = trained()
    pixels, _ = pictures.opened("unseen")
    whole, middle, sharp, means, spreads = [], [], [], [], []
    for first in range(0, count, 8):
        picture = as_numbers(pixels[first : first + 8])
        found = net.encode(picture).latent_dist
        decoded = net.decode(found.mean).sample.clamp(-1, 1)
        error = (decoded - picture).square() / 4
        whole += (-10 * error.mean((1, 2, 3)).log10()).tolist()
        middle += (-10 * error[..., 48:184, 64:192].mean((1, 2, 3)).log10()).tolist()
        gone = (decoded[..., 1:] - decoded[..., :-1]).abs().mean() / (picture[..., 1:] - picture[..., :-1]).abs().mean()
        sharp.append(float(gone))
        means.append(found.mean)
        spreads.append(found.std)
    means, spreads = torch.cat(means), torch.cat(spreads)
    deviation = (means.var((0, 2, 3)) + spreads.square().mean((0, 2, 3))).sqrt()
    print(f"round trip of {count} pictures of unseen people: {np.mean(whole):.2f} dB")
    print(f"  worst tenth {np.mean(sorted(whole)[: count // 10]):.2f} dB, middles {np.mean(middle):.2f} dB")
    print(f"  differences of neighbours are {np.mean(sharp):.3f} of those in the pictures")
    print(f"latents by channel: mean {rounded(means.mean((0, 2, 3)))}, deviation {rounded(deviation)}")
    print(f"  of this chosen by the encoder's own noise {rounded(spreads.mean((0, 2, 3)))}")


def rounded(values):
    return " ".join(f"{float(value):.3f}" for value in values)


def main():
    parser = arguments(__doc__.splitlines()[0], steps=STEPS, batch=12)
    parser.add_argument("--processes", type=int, default=2, help="share each batch")
    parser.add_argument("--measure", action="store_true", help="measure only")
    asked = parser.parse_args()
    if not asked.measure:
        parallel.train(train, asked.processes, asked)
    if trained()[1] >= 1:
        measure()


if __name__ == "__main__":
    main()
