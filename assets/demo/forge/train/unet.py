"""Trains the UNet of the demo checkpoint and, with it, the text encoder, on cached latents.

Each step takes random pictures or mirror images, near heads more often than small ones, one of their captions
(one in ten says nothing, which is what guidance needs), a random amount of noise, middling ones more often,
and asks for that noise. Its error counts less where there is little noise (min-SNR) and more in the middle
of a head, where eyes and mouth are small and a wrong one is seen first. Averaged weights are what is
used afterwards.

`python -m forge.train.unet` trains `--steps` steps; `--continue STEPS` goes on so far beyond them with a lower rate
that falls again. The checkpoint is kept every few minutes; a contact sheet is drawn now and then.
"""

import numpy as np
import torch
from torch.nn import functional

from . import latents, parallel, preview, sampling, tokenizer
from .common import (
    Ema,
    Progress,
    arguments,
    device,
    halved,
    here,
    load,
    prepare,
    restored,
    save,
    set_rate,
    snapshot,
    work,
)
from .denoiser import Denoiser, checkpoint
from .diffusion_nets import LATENT_SIDE
from .muon import Both

RATE, DECAY, WARM, STEPS = 6e-4, 0.998, 200, 5800
# The rate at the end of the training, and where a continued one begins, as parts of the highest.
LAST, AGAIN = 0.03, 0.5
NOTHING_ASKED = 0.10
GAMMA = 5.0
# How much more errors count in the middle of a head, and how far around it, in parts of half its height.
FACE, AROUND = 4.0, 0.45
# Noise of the whole latent at once, so that the UNet does not trust in the mean of what it gets: at the
# highest noise of this schedule a trace of the picture's mean is left, which sampling does not give.
OFFSET = 0.05
# A picture of one person is shown in proportion to e to so many times half the head's height (in parts of the
# picture's): a portrait is near, and near eyes are easier to learn.
NEAR = 20.0
# Noise of the middle of the schedule decides where eyes and mouths are. There it is asked 1 / (1 - MIDDLE) times as
# often as evenly, at the ends 1 / (1 + MIDDLE) times.
MIDDLE = 0.5
SHEET_EVERY = 500
# After so many steps it looks for latents that have come since.
REFRESH_EVERY = 200


class Samples:
    """Random latents with tokens of one of their captions."""

    def __init__(self, batch, seed):
        self.scale = latents.facts()["scaling_factor"]
        self.mean, self.spread, self.done, self.tokens, self.heads = map(
            latents.opened, ("mean", "spread", "done", "tokens", "heads")
        )
        self.empty = np.load(latents.place("empty.npy"))
        self.batch, self.rng = batch, np.random.default_rng(seed)
        self.refresh()

    def refresh(self):
        """Looks again which latents there are, and how often each is shown."""
        self.pairs = np.argwhere(self.done)
        sizes = self.heads[self.pairs[:, 0], self.pairs[:, 1], :, 2]
        is_alone = (sizes > 0).sum(1) == 1
        often = np.ones(len(sizes))
        near = np.exp(NEAR * sizes[is_alone, 0].astype(float))
        often[is_alone] = near / near.mean()
        self.often = often / often.sum()

    def take(self):
        """Latents of variance 1, tokens, steps of the noise schedule, and what errors count at each place."""
        rows, sides = self.pairs[self.rng.choice(len(self.pairs), self.batch, p=self.often)].T
        order = np.argsort(rows)
        rows, sides = rows[order], sides[order]
        mean, spread = (here(array[rows, sides].astype(np.float32)) for array in (self.mean, self.spread))
        clean = (mean + spread * torch.randn_like(mean)) * self.scale
        tokens = self.tokens[rows, sides, self.rng.integers(0, self.tokens.shape[2], self.batch)].astype(np.int64)
        silent = self.rng.random(self.batch) < NOTHING_ASKED
        tokens[silent] = self.empty[self.rng.integers(0, len(self.empty), silent.sum())]
        # One step from each part of the schedule, so that batches are alike.
        share = (self.rng.permutation(self.batch) + self.rng.random(self.batch)) / self.batch
        steps = (share + MIDDLE / (2 * np.pi) * np.sin(2 * np.pi * share)) * sampling.STEPS
        return clean, here(tokens), here(steps.astype(np.int64)), importance(here(self.heads[rows, sides]))


def importance(heads):
    """What an error counts at each place of latents [n, 1, side, side], 1 in the mean; for heads [n, count, 3]."""
    x, y, size = (part[..., None, None] for part in heads.unbind(-1))
    at = (torch.arange(LATENT_SIDE, device=heads.device) + 0.5) / LATENT_SIDE
    far = ((at - x) ** 2 + (at[:, None] - y) ** 2) / (AROUND * size) ** 2
    counts = 1 + FACE * torch.exp(-far / 2).where(size > 0, 0).amax(1, keepdim=True)
    return counts / counts.mean((2, 3), keepdim=True)


def rate(step, steps):
    """The learning rate: up, then down as a cosine; beyond the planned steps down once more."""
    planned, total = steps
    if step < planned:
        high, share = min(1.0, (step + 1) / WARM), step / planned
    else:
        high, share = AGAIN * min(1.0, (step - planned + 1) / WARM), (step - planned) / max(1, total - planned)
    return RATE * (LAST + (high - LAST) * (0.5 + 0.5 * np.cos(np.pi * min(share, 1.0))))


def optimiser_of(nets, team):
    """Of all weights; those that words and latents enter by, or noise leaves by, are not between layers."""
    ends = ("embedding", "conv_in", "conv_out")
    return Both(
        nets.named_parameters(),
        lr=RATE,
        betas=(0.9, 0.99),
        weight_decay=0.01,
        is_between=lambda name, value: value.ndim >= 2 and not any(end in name for end in ends),
        team=team,
    )


def losses(nets, batch, kept):
    """The error in the noise: weighted, and as it is."""
    clean, tokens, steps, counts = batch
    noise = torch.randn_like(clean) + OFFSET * torch.randn(*clean.shape[:2], 1, 1, device=clean.device)
    share = kept[steps].view(-1, 1, 1, 1)
    noisy = share.sqrt() * clean + (1 - share).sqrt() * noise
    with halved():
        seen = nets.unet(noisy, steps, nets.words(tokens)).sample
    error = functional.mse_loss(seen.float(), noise, reduction="none")
    ratio = kept[steps] / (1 - kept[steps])
    weighted = (error * counts).mean((1, 2, 3)) * ratio.clamp(max=GAMMA) / ratio
    return weighted.mean(), error.mean()


def train(team, asked):
    prepare(asked.threads)
    nets = Denoiser(len(tokenizer.opened())).to(device()).train()
    optimiser = optimiser_of(nets, team)
    ema, is_over = Ema(nets, DECAY), False
    saved = None if asked.fresh else load(checkpoint())
    if saved and saved["facts"] != latents.facts():
        raise SystemExit("the latents are no more those of the checkpoint; begin with --fresh")
    if saved and not asked.more and saved["step"] > saved["planned"]:
        raise SystemExit("the training goes on beyond its planned end already; say how far with --continue")
    step = restored(saved, net=nets, ema=ema, optimiser=optimiser)
    planned = saved["planned"] if saved and asked.more else asked.steps
    total = planned + asked.more
    samples = Samples(asked.batch // team.size, seed=[32, step, team.rank])
    torch.manual_seed(2000 + step + 7919 * team.rank)
    kept = sampling.kept().float().to(device())
    progress = Progress("unet", step, total, asked.minutes) if team.is_first else None
    while step < total and not is_over:
        set_rate(optimiser, rate(step, (planned, total)))
        weighted, error = losses(nets, samples.take(), kept)
        weighted.backward()
        is_over = team.share(nets.parameters(), progress is not None and progress.is_over)
        torch.nn.utils.clip_grad_norm_(nets.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        step += 1
        if step % REFRESH_EVERY == 0:
            samples.refresh()
        if not team.is_first:
            continue
        ema.update(nets)
        progress.tell(asked.batch, loss=weighted.detach(), noise=error.detach())
        is_for_sheet = step % SHEET_EVERY == 0 or step == total
        if progress.is_time_to_save() or is_for_sheet:
            now = snapshot(step, net=nets, ema=ema, optimiser=optimiser)
            save(checkpoint(), now | {"planned": planned, "facts": latents.facts()})
        if is_for_sheet:
            preview.draw(work("diffusion", "sheets", f"{step:06}.png"))


def main():
    parser = arguments(__doc__.splitlines()[0], steps=STEPS, batch=32)
    parser.add_argument(
        "--continue",
        dest="more",
        type=int,
        default=0,
        metavar="STEPS",
        help="train so many steps beyond the planned end, all in all",
    )
    parser.add_argument("--processes", type=int, default=2, help="share each batch")
    asked = parser.parse_args()
    parallel.train(train, asked.processes, asked)


if __name__ == "__main__":
    main()
