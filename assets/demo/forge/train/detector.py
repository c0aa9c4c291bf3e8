"""Trains the face detector of the demo pack: `python -m forge.train.detector`.

Needs `python -m forge.train.data_faces scenes`. With `--export DIR` it writes `demo-detector.onnx`
there from the last checkpoint and compares it with torch. How good it is says `forge.measure.faces`.
"""

from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from .common import (
    Ema,
    Progress,
    arguments,
    cosine_rate,
    device,
    here,
    load,
    prepare,
    restored,
    save,
    set_rate,
    snapshot,
    work,
)
from .detector_data import IGNORED, POSITIVE, Canvases
from .detector_net import KINDS, STRIDES, Detector, decoded
from .export import compared

RATE, DECAY = 3e-3, 0.998
# Weights of the losses.
CLASS, OBJECT, BOX, POINT = 1.0, 1.0, 2.0, 10.0


def overlap(boxes, others):
    """IoU of boxes and the part of the smallest box around both that neither covers, row by row."""
    low, high = torch.maximum(boxes[:, :2], others[:, :2]), torch.minimum(boxes[:, 2:], others[:, 2:])
    common = (high - low).clamp(min=0).prod(1)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(1) + (others[:, 2:] - others[:, :2]).prod(1) - common
    around = torch.maximum(boxes[:, 2:], others[:, 2:]) - torch.minimum(boxes[:, :2], others[:, :2])
    around = around.prod(1)
    return common / area, (around - area) / around


def losses(rows, wanted, grid):
    """The four losses of a batch: `rows` from the network, `wanted` from `targets`."""
    label = wanted[..., 0]
    positive = label == POSITIVE
    counts = label != IGNORED
    found = positive.sum().clamp(min=1)
    boxes, points = decoded(rows[positive], grid.expand(*label.shape, 3)[positive])
    true_boxes, true_points = wanted[..., 1:5][positive], wanted[..., 5:][positive].unflatten(-1, (5, 2))
    size = (true_boxes[:, 2:] - true_boxes[:, :2]).prod(1).sqrt()
    iou, apart = overlap(boxes, true_boxes)
    # How well a cell's box fits is what its class says, so that the best of a face's cells is kept.
    quality = torch.zeros_like(label)
    quality[positive] = iou.detach().clamp(0, 1)
    sure = rows[..., 0].sigmoid()
    class_loss = functional.binary_cross_entropy_with_logits(rows[..., 0], quality, reduction="none")
    class_loss = (class_loss * (quality - sure).detach().abs().pow(1.5) * counts).sum() / found
    sure = rows[..., 1].sigmoid()
    truth = positive.float()
    object_loss = functional.binary_cross_entropy_with_logits(rows[..., 1], truth, reduction="none")
    object_loss = (object_loss * (truth - sure).detach().abs().pow(1.5) * counts).sum() / found
    box_loss = (1 - iou + apart).sum() / found
    corners = ((boxes - true_boxes).abs().mean(1) / size).sum() / found
    point_loss = ((points - true_points).abs().mean((1, 2)) / size).sum() / found
    return class_loss, object_loss, box_loss + 2 * corners, point_loss


def train(asked):
    prepare(asked.threads)
    net = Detector().to(device(), memory_format=torch.channels_last)
    ema = Ema(net, DECAY)
    optimiser = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=1e-4)
    path = work("checkpoints", "detector.pt")
    saved = None if asked.fresh else load(path)
    step = restored(saved, net=net, ema=ema, optimiser=optimiser)
    data = Canvases()
    progress = Progress("detector", step, asked.steps, asked.minutes)
    progress.say(f"detector: {sum(p.numel() for p in net.parameters())} numbers, from step {step}")
    while not progress.is_over:
        step = progress.step
        rng = np.random.default_rng([31, step])
        pictures, wanted, grid = data.batch(rng, asked.batch * 320 * 320)
        x = here(pictures).permute(0, 3, 1, 2).float()
        set_rate(optimiser, RATE * cosine_rate(step, asked.steps))
        parts = losses(net(x), here(wanted), here(grid))
        loss = sum(weight * part for weight, part in zip((CLASS, OBJECT, BOX, POINT), parts, strict=True))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 10.0)
        optimiser.step()
        ema.update(net)
        names = ("class", "object", "box", "point")
        progress.tell(len(x), **dict(zip(names, (part.item() for part in parts), strict=True)))
        if progress.is_time_to_save():
            save(path, snapshot(progress.step, net=net, ema=ema, optimiser=optimiser))


def trained():
    """The network with the averaged weights of the checkpoint."""
    saved = load(work("checkpoints", "detector.pt"))
    if saved is None:
        raise SystemExit("there is no checkpoint to export")
    net = Detector()
    net.load_state_dict(saved["ema"]["state"])
    return net.eval()


def export(folder):
    """Writes the ONNX file and holds it against torch."""
    net = trained()
    path = Path(folder, "demo-detector.onnx")
    net.write(path, half=True)
    names = [f"{kind}_{stride}" for stride in STRIDES for kind, _ in KINDS]

    def reference(x):
        height, width = x.shape[2:]
        outputs = []
        rows = net(x).split([height // stride * (width // stride) for stride in STRIDES], 1)
        for level in rows:
            parts = level.split([channels for _, channels in KINDS], 2)
            outputs += [parts[0].sigmoid(), parts[1].sigmoid(), *parts[2:]]
        return outputs

    compared(path, reference, names, [(1, 3, 320, 320), (1, 3, 256, 352)], 255.0)


def main():
    asked = arguments(__doc__.splitlines()[0], steps=9000, batch=8).parse_args()
    if asked.export:
        export(asked.export)
    else:
        train(asked)


if __name__ == "__main__":
    main()
