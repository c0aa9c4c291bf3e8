"""The face embedding of the demo pack: 112 x 112 pixels to 128 numbers, whose direction is the person.

Promises: input RGB, (value - 127.5) / 127.5; the output is not brought to unit length, photog does that.
Ordinary convolutions on few places: on a CPU they are several times as fast to train as depthwise ones.
"""

import torch
from torch import nn
from torch.nn import functional

from .onnx_graph import Graph, folded

LENGTH = 128
SIDE = 112
FIRST = 32
WIDTHS = (32, 96, 128)


class Convolution(nn.Module):
    """3x3, norm."""

    def __init__(self, inputs, outputs, stride=1):
        super().__init__()
        self.stride = stride
        self.conv = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x):
        return self.norm(self.conv(x))

    def write(self, graph, x):
        return graph.conv(x, *folded(self.conv, self.norm), stride=self.stride, pad=1)


class Residual(nn.Module):
    """Two convolutions added to what goes in."""

    def __init__(self, width):
        super().__init__()
        self.one, self.two = Convolution(width, width), Convolution(width, width)
        nn.init.zeros_(self.two.norm.weight)

    def forward(self, x):
        return functional.relu(x + self.two(functional.relu(self.one(x), inplace=True)))

    def write(self, graph, x):
        inner = graph.node("Relu", [self.one.write(graph, x)])
        return graph.node("Relu", [graph.node("Add", [x, self.two.write(graph, inner)])])


class Embedding(nn.Module):
    """Gives rows of `LENGTH` numbers."""

    def __init__(self):
        super().__init__()
        # From pixels to a stride of 4 in one step: nothing is computed on the full picture.
        self.first = nn.Conv2d(3, FIRST, 6, 4, 2, bias=False)
        self.first_norm = nn.BatchNorm2d(FIRST)
        body = []
        width = FIRST
        for at, wide in enumerate(WIDTHS):
            if at:
                body += [Convolution(width, wide, 2), nn.ReLU()]
            body.append(Residual(wide))
            width = wide
        self.body = nn.Sequential(*body)
        # Each channel has weights of its own for each of the 7 x 7 places.
        self.place = nn.Conv2d(width, width, 7, groups=width, bias=False)
        self.place_norm = nn.BatchNorm2d(width)
        self.last = nn.Linear(width, LENGTH, bias=False)
        self.last_norm = nn.BatchNorm1d(LENGTH)

    def forward(self, x):
        x = functional.relu(self.first_norm(self.first(x)), inplace=True)
        x = self.place_norm(self.place(self.body(x)))
        return self.last_norm(self.last(x.flatten(1))).float()

    def write(self, path, half):
        """Writes it as ONNX."""
        graph = Graph("demo-embedding", ["batch", 3, SIDE, SIDE], half)
        x = graph.conv("input", *folded(self.first, self.first_norm), stride=4, pad=2)
        x = graph.node("Relu", [x])
        for layer in self.body:
            x = graph.node("Relu", [x]) if isinstance(layer, nn.ReLU) else layer.write(graph, x)
        weight, bias = folded(self.place, self.place_norm)
        x = graph.conv(x, weight, bias, groups=len(weight))
        x = graph.node("Flatten", [x], axis=1)
        graph.dense(x, *folded(self.last, self.last_norm), output="embedding")
        graph.promise("embedding", ["batch", LENGTH])
        graph.save(path)


class Margin(nn.Module):
    """Softmax over the people of the training, in which the right one has to win by an angle.

    `cos(angle + turn) - gap` in place of the right one's cosine, times `scale`."""

    def __init__(self, people, scale=32.0):
        super().__init__()
        self.people = nn.Parameter(torch.randn(people, LENGTH))
        self.scale = scale

    def forward(self, rows, labels, turn, gap=0.0):
        cosines = functional.normalize(rows) @ functional.normalize(self.people).T
        own = cosines.gather(1, labels[:, None])
        sine = (1 - own * own).clamp(min=1e-6).sqrt()
        harder = own * torch.cos(turn) - sine * torch.sin(turn) - gap
        logits = self.scale * cosines.scatter(1, labels[:, None], torch.minimum(harder, own))
        return functional.cross_entropy(logits, labels), (cosines.argmax(1) == labels).float().mean()
