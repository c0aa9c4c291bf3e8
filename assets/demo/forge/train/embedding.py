"""Trains the face embedding of the demo pack: `python -m forge.train.embedding`.

Needs `python -m forge.train.data_faces crops`. With `--export DIR` it writes `demo-embedding.onnx`
there from the last checkpoint and compares it with torch. How good it is says `forge.measure.faces`.
"""

from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from ..world import TRAINING
from .common import (
    Ema,
    Progress,
    arguments,
    cosine_rate,
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
from .embedding_data import Crops, traits
from .embedding_net import LENGTH, Embedding, Margin
from .export import compared

RATE, DECAY = 2e-3, 0.998
# The angle by which the right person has to win, reached after a third of the training.
TURN = 0.35
# Weight of telling a person's traits from the embedding: it teaches what to look at from the start.
TRAIT = 1.0


class Trainee(nn.Module):
    """The network with what only training needs."""

    def __init__(self, people, known):
        super().__init__()
        self.net = Embedding()
        self.margin = Margin(people)
        self.traits = nn.Linear(LENGTH, known)

    def forward(self, x, labels, known, turn):
        with halved():
            rows = self.net(x)
        people, right = self.margin(rows, labels, turn)
        told = self.traits(functional.normalize(rows) * LENGTH**0.5)
        return people, functional.smooth_l1_loss(told, known), right


def train(asked):
    prepare(asked.threads)
    known = here(traits())
    trainee = Trainee(len(TRAINING), known.shape[1]).to(device(), memory_format=torch.channels_last)
    ema = Ema(trainee.net, DECAY)
    optimiser = torch.optim.AdamW(trainee.parameters(), lr=RATE, weight_decay=0.02)
    path = work("checkpoints", "embedding.pt")
    saved = None if asked.fresh else load(path)
    step = restored(saved, trainee=trainee, ema=ema, optimiser=optimiser)
    data = Crops()
    progress = Progress("embedding", step, asked.steps, asked.minutes)
    progress.say(f"embedding: {sum(p.numel() for p in trainee.net.parameters())} numbers, from step {step}")
    while not progress.is_over:
        step = progress.step
        turn = torch.tensor(TURN * min(1.0, 3 * step / asked.steps), device=device())
        if step % 200 == 0:
            data.look()
        pictures, labels = data.batch(np.random.default_rng([42, step]), asked.batch)
        x = (here(pictures).permute(0, 3, 1, 2).float() - 127.5) / 127.5
        labels = here(labels)
        set_rate(optimiser, RATE * cosine_rate(step, asked.steps))
        people, told, right = trainee(x, labels, known[labels], turn)
        optimiser.zero_grad(set_to_none=True)
        (people + TRAIT * told).backward()
        torch.nn.utils.clip_grad_norm_(trainee.parameters(), 5.0)
        optimiser.step()
        ema.update(trainee.net)
        progress.tell(len(x), people=people.item(), traits=told.item(), right=right.item())
        if progress.is_time_to_save():
            save(path, snapshot(progress.step, trainee=trainee, ema=ema, optimiser=optimiser))


def export(folder):
    """Writes the ONNX file and holds it against torch."""
    saved = load(work("checkpoints", "embedding.pt"))
    if saved is None:
        raise SystemExit("there is no checkpoint to export")
    net = Embedding()
    net.load_state_dict(saved["ema"]["state"])
    net.eval()
    path = Path(folder, "demo-embedding.onnx")
    net.write(path, half=True)
    compared(path, lambda x: [net(x)], ["embedding"], [(1, 3, 112, 112), (3, 3, 112, 112)], 1.0)


def main():
    asked = arguments(__doc__.splitlines()[0], steps=6000, batch=64).parse_args()
    if asked.export:
        export(asked.export)
    else:
        train(asked)


if __name__ == "__main__":
    main()
