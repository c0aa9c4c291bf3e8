"""The face detector of the demo pack: three grids of cells with the outputs of YuNet, from a small
network of depthwise and pointwise convolutions.

Promises: input BGR, 0 to 255, both sides multiples of 32; per grid `cls`, `obj` (0 to 1), `bbox` and
`kps` that are decoded as `src/models/face/yunet.rs` says.
"""

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from .onnx_graph import Graph, folded

STRIDES = (8, 16, 32)
# cls, obj, bbox, kps
KINDS = (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10))
FIRST, EARLY, WIDE = 24, 32, 64
# The network itself works on numbers of about 1.
INPUT_SCALE = 1 / 64


class Block(nn.Module):
    """Depthwise, pointwise, norm, ReLU."""

    def __init__(self, inputs, outputs, stride=1, side=3):
        super().__init__()
        self.stride, self.pad = stride, side // 2
        self.near = nn.Conv2d(inputs, inputs, side, stride, self.pad, groups=inputs, bias=False)
        self.mix = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x):
        return functional.relu(self.norm(self.mix(self.near(x))), inplace=True)

    def write(self, graph, x):
        near, _ = folded(self.near)
        x = graph.conv(x, near, stride=self.stride, pad=self.pad, groups=len(near))
        return graph.node("Relu", [graph.conv(x, *folded(self.mix, self.norm))])


class Detector(nn.Module):
    """Gives for each picture a row of 16 numbers (cls and obj as logits) per cell of each grid."""

    def __init__(self):
        super().__init__()
        # From pixels to a stride of 4 in one step: nothing is computed on the full picture.
        self.first = nn.Conv2d(3, FIRST, 6, 4, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(FIRST)
        self.early = nn.Sequential(Block(FIRST, EARLY), Block(EARLY, EARLY))
        self.down = nn.ModuleList(
            [
                nn.Sequential(Block(EARLY, WIDE, 2), Block(WIDE, WIDE)),
                nn.Sequential(Block(WIDE, WIDE, 2), Block(WIDE, WIDE), Block(WIDE, WIDE)),
                nn.Sequential(Block(WIDE, WIDE, 2), Block(WIDE, WIDE)),
            ]
        )
        # A near face is many cells wide, and its points lie far from the middle.
        self.joint = nn.ModuleList([Block(WIDE, WIDE, side=side) for side in (3, 5, 5)])
        self.head = nn.ModuleList([Block(WIDE, WIDE, side=side) for side in (3, 5, 5)])
        self.last = nn.ModuleList([nn.Conv2d(WIDE, 16, 1) for _ in STRIDES])
        for last in self.last:
            nn.init.normal_(last.weight, std=0.01)
            with torch.no_grad():
                # Faces are rare; boxes start as two cells around the cell's middle.
                last.bias.copy_(torch.tensor([-4.0] * 2 + [0.5, 0.5, 0.7, 0.7] + [0.0] * 10))

    def forward(self, x):
        x = functional.relu(self.first_norm(self.first(x * INPUT_SCALE)), inplace=True)
        x = self.early(x)
        levels = []
        for down in self.down:
            x = down(x)
            levels.append(x)
        above = None
        rows = [None] * len(STRIDES)
        for at in reversed(range(len(STRIDES))):
            x = levels[at] if above is None else levels[at] + functional.interpolate(above, scale_factor=2.0)
            above = self.joint[at](x)
            rows[at] = self.last[at](self.head[at](above)).flatten(2).transpose(1, 2)
        rows = torch.cat(rows, 1).float()
        # The network tells points relative to the box and in its size, which is the same for near and
        # far faces; the output has them in cells.
        middle, size = rows[..., 2:4], rows[..., 4:6].clamp(-4, 5).exp()
        points = rows[..., 6:].unflatten(-1, (5, 2)) * size.unsqueeze(-2) + middle.unsqueeze(-2)
        return torch.cat([rows[..., :6], points.flatten(-2)], -1)

    def write(self, path, half):
        """Writes it as ONNX."""
        graph = Graph("demo-detector", ["batch", 3, "height", "width"], half)
        weight, bias = folded(self.first, self.first_norm)
        x = graph.conv("input", weight * INPUT_SCALE, bias, stride=4, pad=1)
        x = graph.node("Relu", [x])
        for block in self.early:
            x = block.write(graph, x)
        levels = []
        for down in self.down:
            for block in down:
                x = block.write(graph, x)
            levels.append(x)
        above = None
        for at in reversed(range(len(STRIDES))):
            x = levels[at] if above is None else graph.node("Add", [levels[at], graph.twice(above)])
            above = self.joint[at].write(graph, x)
            self.write_last(graph, at, self.head[at].write(graph, above))
        for kind, channels in KINDS:
            for stride in STRIDES:
                graph.promise(f"{kind}_{stride}", ["batch", f"cells_{stride}", channels])
        graph.save(path)

    def write_last(self, graph, at, x):
        """The four outputs of a grid."""
        weight, bias = folded(self.last[at])
        start, parts = 0, {}
        for kind, channels in KINDS:
            part = slice(start, start + channels)
            parts[kind] = graph.conv(x, weight[part], bias[part])
            start += channels
        for kind in ("cls", "obj"):
            parts[kind] = graph.node("Sigmoid", [parts[kind]])
        # Middle and size of the box for each of the ten numbers of the points.
        choose = np.zeros((20, 4, 1, 1), np.float32)
        choose[np.arange(20), [0, 1] * 5 + [2, 3] * 5] = 1
        middle, size = graph.conv(parts["bbox"], choose[:10]), graph.conv(parts["bbox"], choose[10:])
        wide = graph.node("Mul", [parts["kps"], graph.node("Exp", [size])])
        parts["kps"] = graph.node("Add", [middle, wide])
        for kind, channels in KINDS:
            graph.cells(parts[kind], channels, f"{kind}_{STRIDES[at]}")


def cells(height, width):
    """Column, row and stride of each cell, as [cells, 3], in the order of the network's rows."""
    grids = []
    for stride in STRIDES:
        rows, columns = np.mgrid[: height // stride, : width // stride]
        grids.append(np.stack([columns.ravel(), rows.ravel(), np.full(columns.size, stride)], 1))
    return np.concatenate(grids).astype(np.float32)


def decoded(rows, grid):
    """Boxes (x0, y0, x1, y1) and points [..., 5, 2] in pixels, from the last 14 of a cell's 16 numbers.

    `grid` is that of `cells`, for as many cells. Takes torch tensors."""
    corner, stride = grid[..., :2], grid[..., 2:]
    middle = (corner + rows[..., 2:4]) * stride
    half = rows[..., 4:6].clamp(-4, 5).exp() * stride / 2
    points = (rows[..., 6:].unflatten(-1, (5, 2)) + corner.unsqueeze(-2)) * stride.unsqueeze(-1)
    return torch.cat([middle - half, middle + half], -1), points
