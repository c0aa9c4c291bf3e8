"""Trains the judge: a network that tells hair, glasses and background of a picture, so that it can be
counted how often a generated picture shows what its caption says.

    python -m forge.measure.judge --export ../../benches/demo

Input [n, 3, 160, 160], RGB, (value - 127.5) / 127.5; outputs `hair`, `glasses` and `background`, one
number for each of `HAIR`, `GLASSES` and `BACKGROUNDS` (judge.json has them), the largest one counts. It is
no part of the pack, saw people of training only, and its own accuracy on people it never saw is printed at
the end.
"""

import json
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from ..train import augment, common
from ..train.export import compared
from ..train.onnx_graph import Graph, folded
from ..world import TRAINING, UNSEEN, person, render, scene
from ..world.people import HAIR_COLOURS
from ..world.scenes import PLACES, PLAIN_COLOURS

SIDE = 160
HAIR = (*HAIR_COLOURS, "bald")
GLASSES = ("none", "glasses")
BACKGROUNDS = (*PLAIN_COLOURS, *PLACES)
HEADS = {"hair": HAIR, "glasses": GLASSES, "background": BACKGROUNDS}
# Pictures for training and for measuring; scenes of the two differ.
COUNT, MEASURED = 10_000, 1_000
FIRST_SCENE, FIRST_MEASURED = 5_000_000, 5_500_000
WIDTHS = (24, 32, 64, 96)


class Judge(nn.Module):
    """Plain convolutions, the mean over all places and the largest value of any, and one layer a head."""

    def __init__(self):
        super().__init__()
        layers, width = [], 3
        for wide in WIDTHS:
            layers += [nn.Conv2d(width, wide, 3, 2, 1, bias=False), nn.BatchNorm2d(wide), nn.ReLU(inplace=True)]
            layers += [nn.Conv2d(wide, wide, 3, 1, 1, bias=False), nn.BatchNorm2d(wide), nn.ReLU(inplace=True)]
            width = wide
        self.body = nn.Sequential(*layers)
        self.heads = nn.ModuleDict({name: nn.Linear(2 * width, len(words)) for name, words in HEADS.items()})

    def forward(self, x):
        x = self.body(x)
        x = torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1).float()
        return [head(x) for head in self.heads.values()]

    def write(self, path):
        """Writes it as ONNX."""
        graph = Graph("judge", ["batch", 3, SIDE, SIDE], half=True)
        x = "input"
        for index in range(0, len(self.body), 3):
            weight, bias = folded(self.body[index], self.body[index + 1])
            x = graph.node("Relu", [graph.conv(x, weight, bias, stride=self.body[index].stride[0], pad=1)])
        pools = [graph.node("Flatten", [graph.node(kind, [x])], axis=1) for kind in ("GlobalAveragePool", "GlobalMaxPool")]
        x = graph.node("Concat", pools, axis=1)
        for name, head in self.heads.items():
            graph.dense(x, *folded(head), output=name)
            graph.promise(name, ["batch", len(HEADS[name])])
        graph.save(path)


def pictures(name, people, first, count):
    """Rendered pictures uint8 [count, side, side, 3] and their labels [count, heads], kept in the work folder."""
    path = common.work("judge", f"{name}.npz")
    if path.exists():
        kept = np.load(path)
        return kept["pixels"], kept["labels"]
    rng = np.random.default_rng(first)
    pixels, labels = np.empty((count, SIDE, SIDE, 3), np.uint8), np.empty((count, len(HEADS)), np.int64)
    for index in range(count):
        shown = scene([person(people[int(rng.integers(len(people)))])], first + index)
        pixels[index] = render(shown, SIDE, SIDE).pixels
        labels[index] = truth(shown)
    beside = path.with_name(f"{path.stem}.part.npz")
    np.savez(beside, pixels=pixels, labels=labels)
    beside.rename(path)
    return pixels, labels


def truth(shown):
    """What the judge should say of a scene of one person, as places in `HEADS`."""
    who = shown.sitters[0].person
    background = shown.plain_word if shown.background == "plain" else shown.background
    hair = "bald" if who.hair == "bald" else who.hair_word
    return HAIR.index(hair), int(who.glasses != "none"), BACKGROUNDS.index(background)


def batch(rng, pixels, labels, size):
    """Some pictures, made a little worse, half of them mirrored."""
    chosen = rng.integers(0, len(pixels), size)
    rows = []
    for index in chosen:
        picture = pixels[index][:, ::-1] if rng.random() < 0.5 else pixels[index]
        picture = np.ascontiguousarray(picture)
        for worse in (augment.smoothed, augment.stained, augment.grainy):
            if rng.random() < 0.25:
                picture = worse(rng, picture)
        if rng.random() < 0.35:
            picture = augment.blurred(rng, picture, 1.4)
        rows.append(picture)
    return prepared(np.stack(rows)), torch.from_numpy(labels[chosen])


def prepared(pixels):
    """The network's input of uint8 pictures [n, h, w, 3]."""
    x = torch.from_numpy(pixels).permute(0, 3, 1, 2).float()
    return ((x - 127.5) / 127.5).contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def accuracy(net):
    """Shares of right answers about people that were never seen."""
    pixels, labels = pictures("unseen", UNSEEN, FIRST_MEASURED, MEASURED)
    net.eval()
    right = np.zeros(len(HEADS))
    for start in range(0, MEASURED, 50):
        for head, logits in enumerate(net(prepared(pixels[start : start + 50]))):
            right[head] += (logits.argmax(1).numpy() == labels[start : start + 50, head]).sum()
    return dict(zip(HEADS, (right / MEASURED).round(4).tolist(), strict=True))


def main():
    """Trains it, or writes what was trained."""
    options = common.arguments(__doc__, steps=1400, batch=48).parse_args()
    common.prepare(options.threads, seed=41)
    net = Judge().to(memory_format=torch.channels_last)
    path = common.work("judge", "checkpoint.pt")
    saved = None if options.fresh else common.load(path)
    if options.export:
        if saved is None:
            raise SystemExit("there is no checkpoint to export; train it first")
        net.load_state_dict(saved["net"])
        print("right on unseen people:", accuracy(net))
        file = Path(options.export) / "judge.onnx"
        file.parent.mkdir(parents=True, exist_ok=True)
        net.write(file)
        words = {name: list(words) for name, words in HEADS.items()}
        file.with_suffix(".json").write_text(json.dumps(words, indent=1) + "\n")
        compared(file, net, list(HEADS), [(2, 3, SIDE, SIDE)], high=1)
        return
    pixels, labels = pictures("training", TRAINING, FIRST_SCENE, COUNT)
    optimiser = torch.optim.AdamW(net.parameters(), 2e-3, weight_decay=0.02)
    start = common.restored(saved, net=net, optimiser=optimiser)
    progress = common.Progress("judge", start, options.steps, options.minutes)
    rng = np.random.default_rng([41, start])
    while not progress.is_over:
        net.train()
        x, wanted = batch(rng, pixels, labels, options.batch)
        common.set_rate(optimiser, 2e-3 * common.cosine_rate(progress.step, options.steps))
        with common.halved():
            answers = net(x)
        loss = sum(functional.cross_entropy(logits, wanted[:, head]) for head, logits in enumerate(answers))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        progress.tell(options.batch, loss=loss.item())
        if progress.is_time_to_save():
            common.save(path, common.snapshot(progress.step, net=net, optimiser=optimiser))
    progress.say(f"right on unseen people: {accuracy(net)}")


if __name__ == "__main__":
    main()
