"""Writes fixtures/onnx_networks.safetensors: miniatures of whole networks.

Each has the blocks, operators, operator set, free axes and outputs of the network it is named after, with
few channels and random weights. A network that takes pictures of any size is run on two sizes; then the
cases are `<network>@<height>x<width>`, followed by `_batch_2` for two pictures at once. See
onnx_fixture.py for the form of the file.
"""

import numpy as np

from onnx_fixture import FLOAT, INT64, Fixture, Graph

fixture = Fixture("onnx_networks.safetensors")

PICTURE = {0: "batch", 2: "height", 3: "width"}
BATCH = {0: "batch"}
FLOOR = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}


class Net(Graph):
    """A graph that knows the number of channels of its values."""

    def __init__(self, name, opset):
        super().__init__(name, opset)
        self.channels = {}

    def picture(self, name, shape, free=None, low=None, high=None):
        self.channels[name] = shape[1]
        return self.input(name, shape, free, low, high)

    def node(self, operator, *inputs, outputs=1, **attributes):
        name = super().node(operator, *inputs, outputs=outputs, **attributes)
        if outputs == 1 and inputs:
            self.channels[name] = self.channels.get(inputs[0])
        return name

    def conv(self, x, out, kernel=3, stride=1, bias=True, group=1, dilation=1, pads=None,
             gain=1):
        """A convolution, with a border that keeps the size unless `pads` is given.

        `gain` is the variance of its output for an input of the variance 1.
        """
        channels = self.channels[x]
        group = channels if group == "each" else group
        border = [dilation * (kernel // 2)] * 4 if pads is None else pads
        weights = self.numbers((out, channels // group, kernel, kernel))
        weights *= np.float32(np.sqrt(gain / weights[0].size))
        inputs = [x, self.weight(weights)] + ([self.weight((out,), "b")] if bias else [])
        y = self.node("Conv", *inputs, dilations=[dilation] * 2, group=group,
                      kernel_shape=[kernel] * 2, pads=border, strides=[stride] * 2)
        self.channels[y] = out
        return y

    def conv_relu(self, x, out, kernel=3, stride=1, **more):
        return self.node("Relu", self.conv(x, out, kernel, stride, gain=2, **more))

    def norm(self, x, epsilon=1e-5, **more):
        """A batch normalisation."""
        channels = self.channels[x]
        spans = [(0.7, 1.3), (-0.2, 0.2), (-0.2, 0.2), (0.6, 1.4)]
        values = [self.weight(self.numbers((channels,), *span)) for span in spans]
        return self.node("BatchNormalization", x, *values, epsilon=epsilon, momentum=0.9, **more)

    def prelu(self, x, axes=(1, 1)):
        slopes = self.numbers((self.channels[x], *axes), 0.05, 0.4)
        return self.node("PRelu", x, self.weight(slopes))

    def concat(self, *values):
        joined = self.node("Concat", *values, axis=1)
        self.channels[joined] = sum(self.channels[value] for value in values)
        return joined

    def side(self, x, axis):
        """Height or width of `x`, as older exporters write it: a list of one integer."""
        index = self.constant(np.array(axis, np.int64))
        return self.node("Unsqueeze", self.node("Gather", self.node("Shape", x), index, axis=0), axes=[0])

    def resize_like(self, x, other, **attributes):
        """`x` in the height and width of `other`; operator set 11."""
        sides = self.node("Concat", self.side(other, 2), self.side(other, 3), axis=0)
        sides = self.node("Cast", sides, to=INT64)
        front = self.node("Slice", self.node("Shape", x), self.ints(0), self.ints(2), self.ints(0))
        sizes = self.node("Concat", front, sides, axis=0)
        return self.node("Resize", x, self.floats(), self.floats(), sizes, **attributes)

    def rows_of(self, x, columns, perm, first):
        """Every pixel's values as rows of `columns`, below the sizes `first`: computed or known."""
        moved = self.node("Transpose", x, perm=perm)
        if isinstance(first, str):
            sizes = self.node("Concat", first, self.ints(-1), self.ints(columns), axis=0)
        else:
            sizes = self.ints(*first, -1, columns)
        return self.node("Reshape", moved, sizes)


def add(net, *sizes):
    """Adds the network once as it was built, or once for each size (batch, height, width)."""
    model = net.model()
    [(name, built)] = net.values.items()
    if not sizes:
        fixture.add(net.name, model, {name: built})
    for batch, height, width in sizes:
        case = f"{net.name}@{height}x{width}" + (f"_batch_{batch}" if batch > 1 else "")
        values = net.numbers((batch, built.shape[1], height, width), *net.spans[name])
        fixture.add(case, model, {name: values})


def yunet(name, shape, free):
    """Detector without anchors: blocks of a pointwise and a depthwise convolution."""
    net = Net(name, 11)
    x = net.picture("input", shape, free, 0, 4)

    def block(x, out, active=True):
        follow = net.conv_relu if active else net.conv
        return follow(net.conv(x, out, 1), out, 3, group="each")

    def pool(x):
        return net.node("MaxPool", x, ceil_mode=0, kernel_shape=[2, 2], pads=[0] * 4, strides=[2, 2])

    x = pool(block(net.conv_relu(x, 8, 3, 2), 8))
    x = block(block(x, 8), 9)
    x = pool(block(block(x, 9), 9))
    levels = []
    for last in [False, False, True]:
        x = block(block(x, 9), 9)
        levels.append(x)
        x = x if last else pool(x)
    scales = net.floats(1, 1, 2, 2)
    for at in [2, 1, 0]:
        if at < 2:
            up = net.node("Resize", levels[at + 1], net.floats(), scales, cubic_coeff_a=-0.75, **FLOOR)
            levels[at] = net.node("Add", levels[at], up)
        levels[at] = block(levels[at], 9)
    shared = [block(level, 9) for level in levels]
    for kind, columns in [("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)]:
        for level, stride in zip(shared, [8, 16, 32]):
            y = block(level, columns, active=False)
            if free:
                index = net.constant(np.array(0, np.int64))
                batch = net.node("Gather", net.node("Shape", y), index, axis=0)
                first = net.node("Unsqueeze", batch, axes=[0])
            else:
                first = (1,)
            y = net.rows_of(y, columns, [0, 2, 3, 1], first)
            y = net.node("Sigmoid", y) if kind in ("cls", "obj") else y
            net.output(y, f"{kind}_{stride}")
    return net


def scrfd():
    """Detector with two anchors a cell: residual trunk, paths up and down, heads shared by name only."""
    net = Net("scrfd", 11)
    x = net.picture("input.1", (1, 3, 32, 64), {2: "height", 3: "width"})
    x = net.conv_relu(net.conv_relu(net.conv_relu(x, 4, 3, 2), 4), 5)
    x = net.node("MaxPool", x, ceil_mode=0, kernel_shape=[3, 3], pads=[1] * 4, strides=[2, 2])

    def residual(x, out, stride):
        y = net.conv(net.conv_relu(x, out, 3, stride), out)
        if stride > 1:
            x = net.node("AveragePool", x, ceil_mode=1, kernel_shape=[2, 2], pads=[0] * 4, strides=[2, 2])
        if stride > 1 or net.channels[x] != out:
            x = net.conv(x, out, 1)
        return net.node("Relu", net.node("Add", y, x))

    levels = []
    for out, stride in [(5, 1), (6, 2), (7, 2), (8, 2)]:
        x = residual(residual(x, out, stride), out, 1)
        levels.append(x)
    paths = [net.conv(level, 5, 1) for level in levels[1:]]
    for at in [1, 0]:
        up = net.resize_like(paths[at + 1], paths[at], cubic_coeff_a=-0.75, **FLOOR)
        paths[at] = net.node("Add", paths[at], up)
    paths = [net.conv(path, 5) for path in paths]
    for at in [1, 2]:
        paths[at] = net.node("Add", paths[at], net.conv(paths[at - 1], 5, 3, 2))
    paths = [paths[0]] + [net.conv(path, 5) for path in paths[1:]]
    stems = [net.conv_relu(net.conv_relu(path, 5), 5) for path in paths]
    for kind, columns in [("score", 1), ("bbox", 4), ("kps", 10)]:
        for stem, stride in zip(stems, [8, 16, 32]):
            y = net.conv(stem, 2 * columns)
            if kind == "bbox":
                y = net.node("Mul", y, net.scalar(0.9))
            y = net.rows_of(y, columns, [2, 3, 0, 1], ())
            net.output(net.node("Sigmoid", y) if kind == "score" else y, f"{kind}_{stride}")
    return net


def iresnet():
    """Embedding: residual blocks with normalisation first and slopes, then a matrix."""
    net = Net("iresnet", 11)
    x = net.picture("input.1", (1, 3, 32, 32), BATCH)
    x = net.prelu(net.norm(net.conv(x, 6, bias=False)))

    def block(x, out, stride):
        y = net.norm(net.conv(net.norm(x), out, bias=False))
        y = net.norm(net.conv(net.prelu(y), out, 3, stride, bias=False))
        if stride > 1 or net.channels[x] != out:
            x = net.norm(net.conv(x, out, 1, stride, bias=False))
        return net.node("Add", y, x)

    for out, stride in [(6, 2), (6, 1), (8, 2), (8, 1), (8, 2), (10, 2)]:
        x = block(x, out, stride)
    x = net.node("Flatten", net.norm(x), axis=1)
    x = net.node("Gemm", x, net.weight((24, 10 * 4)), net.weight((24,)), alpha=1.0, beta=1.0, transB=1)
    net.channels[x] = 24
    net.output(net.norm(x), "embedding")
    return net


def sface():
    """Embedding: separable convolutions with slopes; bytes are brought to -1..1 inside the file."""
    net = Net("sface", 8)
    x = net.picture("data", (1, 3, 32, 32), None, 0, 255)
    x = net.node("Mul", net.node("Sub", x, net.floats(127.5)), net.floats(0.0078125))

    def unit(x, out, kernel, stride=1, **more):
        x = net.conv(x, out, kernel, stride, bias=False, **more)
        return net.prelu(net.norm(x, 1e-3, spatial=1))

    x = unit(x, 8, 3)
    for out, stride in [(8, 1), (10, 2), (10, 1), (12, 2), (12, 1), (16, 2)]:
        x = unit(unit(x, net.channels[x], 3, stride, group="each"), out, 1)
    x = net.norm(x, 2e-5, spatial=1)
    x = net.node("Flatten", net.node("Dropout", x, ratio=0.4))
    x = net.node("Gemm", x, net.weight((24, 16 * 16)), net.weight((24,)), transB=1)
    net.channels[x] = 24
    net.output(net.norm(x, 2e-5, spatial=1), "fc1")
    return net


def mobilefacenet():
    """Embedding: inverted residuals; a depthwise kernel as large as the picture before the end."""
    net = Net("mobilefacenet", 17)
    x = net.picture("input", (1, 3, 32, 32), BATCH)

    def unit(x, out, kernel, stride=1, **more):
        bounds = [net.constant(np.array(bound, np.float32)) for bound in (0, 6)]
        return net.node("Clip", net.conv(x, out, kernel, stride, **more), *bounds)

    x = net.conv_relu(net.conv_relu(unit(x, 8, 3, 2), 8, 3, group="each"), 8, 1)
    for wider, out, stride in [(2, 8, 2), (2, 8, 1), (4, 12, 2), (2, 12, 1), (4, 12, 2), (2, 12, 1)]:
        middle = wider * net.channels[x]
        y = net.conv(unit(unit(x, middle, 1), middle, 3, stride, group="each"), out, 1)
        x = net.node("Add", x, y) if stride == 1 else y
    x = net.conv(unit(x, 40, 1), 40, 2, group="each", pads=[0] * 4)
    net.output(net.node("Flatten", net.conv(x, 32, 1), axis=1), "embedding")
    return net


def lightqnet():
    """Quality: inverted residuals whose border is padded after the picture only, to one score."""
    net = Net("lightqnet", 17)
    x = net.conv_relu(net.picture("input", (1, 3, 32, 32), BATCH), 6)

    def depthwise(x, stride):
        channels = net.channels[x]
        if stride == 1:
            return net.conv_relu(x, channels, 3, group="each")
        x = net.node("Pad", x, net.constant(np.array([0, 0, 0, 0, 0, 0, 1, 1], np.int64)))
        return net.conv_relu(x, channels, 3, 2, group="each", pads=[0] * 4)

    x = net.conv(depthwise(x, 2), 6, 1)
    for out, stride in [(8, 2), (8, 1), (10, 2), (10, 1), (12, 2), (12, 1)]:
        y = net.conv(depthwise(net.conv_relu(x, 3 * net.channels[x], 1), stride), out, 1)
        x = net.node("Add", x, y) if stride == 1 else y
    x = net.node("Flatten", net.node("GlobalAveragePool", net.conv_relu(x, 36, 1)), axis=1)
    x = net.node("Gemm", x, net.weight((1, 36)), net.weight((1,)), alpha=1.0, beta=1.0, transB=1)
    net.output(net.node("Sigmoid", x), "score")
    return net


def bisenet(name="bisenet", shape=(1, 3, 32, 64), free=PICTURE, classes=2):
    """Face parsing: attention by the mean of the whole picture, three outputs in the input's size."""
    net = Net(name, 11)
    picture = net.picture("input", shape, free)
    x = net.conv_relu(picture, 4, 7, 2)
    x = net.node("MaxPool", x, ceil_mode=0, kernel_shape=[3, 3], pads=[1] * 4, strides=[2, 2])

    def residual(x, out, stride):
        y = net.conv(net.conv_relu(x, out, 3, stride), out)
        if stride > 1 or net.channels[x] != out:
            x = net.conv(x, out, 1, stride)
        return net.node("Relu", net.node("Add", x, y))

    levels = []
    for out, stride in [(4, 1), (5, 2), (6, 2), (8, 2)]:
        x = residual(x, out, stride)
        levels.append(x)
    _, level_8, level_16, level_32 = levels

    def attend(x, out):
        x = net.conv_relu(x, out)
        y = net.conv(net.node("GlobalAveragePool", x), out, 1, bias=False)
        return net.node("Mul", x, net.node("Sigmoid", net.norm(y)))

    mean = net.conv_relu(net.node("GlobalAveragePool", level_32), 5, 1)
    mean = net.resize_like(mean, level_32, **FLOOR)
    deep = net.node("Add", attend(level_32, 5), mean)
    deep = net.conv_relu(net.resize_like(deep, level_16, **FLOOR), 5)
    wide = net.node("Add", attend(level_16, 5), deep)
    wide = net.conv_relu(net.resize_like(wide, level_8, **FLOOR), 5)
    fused = net.conv_relu(net.concat(level_8, wide), 8, 1)
    gate = net.conv(net.node("ReduceMean", fused, axes=[2, 3], keepdims=1), 2, 1, bias=False)
    gate = net.node("Sigmoid", net.conv(net.node("Relu", gate), 8, 1, bias=False))
    fused = net.node("Add", net.node("Mul", fused, gate), fused)
    corners = {"mode": "linear", "coordinate_transformation_mode": "align_corners"}
    for name, x in [("out", fused), ("out16", wide), ("out32", deep)]:
        y = net.conv(net.conv_relu(x, 6), classes, 1, bias=False)
        net.output(net.resize_like(y, picture, cubic_coeff_a=-0.75, nearest_mode="floor", **corners), name)
    return net


def u2net():
    """Saliency: U-shaped blocks inside a U, pools that round up, one fused and six side outputs."""
    net = Net("u2net", 11)
    linear = {"mode": "linear", "coordinate_transformation_mode": "pytorch_half_pixel"}
    middle, wide = 2, 4

    def like(x, other):
        return net.resize_like(x, other, cubic_coeff_a=-0.75, nearest_mode="floor", **linear)

    def pool(x):
        return net.node("MaxPool", x, ceil_mode=1, kernel_shape=[2, 2], pads=[0] * 4, strides=[2, 2])

    def block(x, depth):
        first = net.conv_relu(x, wide)
        levels = [net.conv_relu(first, middle)]
        for _ in range(depth - 2):
            levels.append(net.conv_relu(pool(levels[-1]), middle))
        y = net.conv_relu(levels[-1], middle, dilation=2)
        for at in range(depth - 2, -1, -1):
            y = net.concat(y if at == depth - 2 else like(y, levels[at]), levels[at])
            y = net.conv_relu(y, middle if at else wide)
        return net.node("Add", y, first)

    def flat_block(x):
        """The same without pools: the dilation grows instead."""
        first = net.conv_relu(x, wide)
        levels = [net.conv_relu(first, middle)]
        for dilation in [2, 4]:
            levels.append(net.conv_relu(levels[-1], middle, dilation=dilation))
        y = net.conv_relu(levels[-1], middle, dilation=8)
        for at, dilation in [(2, 4), (1, 2), (0, 1)]:
            y = net.conv_relu(net.concat(y, levels[at]), middle if at else wide, dilation=dilation)
        return net.node("Add", y, first)

    x = net.picture("input", (1, 3, 32, 32), PICTURE)
    encoders = [block(x, 7)]
    for depth in [6, 5, 4, None, None]:
        y = pool(encoders[-1])
        encoders.append(block(y, depth) if depth else flat_block(y))
    decoders = [encoders[5]]
    for at, depth in [(4, None), (3, 4), (2, 5), (1, 6), (0, 7)]:
        y = net.concat(like(decoders[0], encoders[at]), encoders[at])
        decoders.insert(0, block(y, depth) if depth else flat_block(y))
    sides = [net.conv(decoder, 1) for decoder in decoders]
    sides = sides[:1] + [like(side, sides[0]) for side in sides[1:]]
    fused = net.conv(net.concat(*sides), 1, 1)
    for at, y in enumerate([fused, *sides]):
        net.output(net.node("Sigmoid", y), f"d{at}")
    return net


def srvgg(name="srvgg", shape=(1, 3, 12, 10), free=PICTURE, scale=4):
    """Super-resolution: convolutions with slopes, channels to pixels, plus the enlarged input."""
    net = Net(name, 17)
    picture = net.picture("input", shape, free, 0, 1)
    x = net.prelu(net.conv(picture, 8))
    for _ in range(3):
        x = net.prelu(net.conv(x, 8))
    x = net.node("DepthToSpace", net.conv(x, 3 * scale**2), blocksize=scale, mode="CRD")
    scales = net.constant(np.array([1, 1, scale, scale], np.float32))
    up = net.node("Resize", picture, "", scales, cubic_coeff_a=-0.75, **FLOOR)
    net.output(net.node("Add", x, up), "output")
    return net


def retinaface():
    """Detector with priors: three context modules, levels after one another, softmax over two classes."""
    net = Net("retinaface", 17)
    x = net.picture("input", (1, 3, 64, 64), PICTURE)

    def unit(x, out, kernel=3, stride=1, active=True, **more):
        x = net.conv(x, out, kernel, stride, **more)
        return net.node("LeakyRelu", x, alpha=0.1) if active else x

    x = unit(x, 6, 3, 2)
    levels = []
    for stage in [[(6, 1), (8, 2), (8, 2)], [(10, 2), (10, 1)], [(12, 2), (12, 1)]]:
        for out, stride in stage:
            x = unit(unit(x, net.channels[x], 3, stride, group="each"), out, 1)
        levels.append(x)
    paths = [unit(level, 8, 1) for level in levels]
    for at in [1, 0]:
        scales = net.constant(np.array([1, 1, 2, 2], np.float32))
        up = net.node("Resize", paths[at + 1], "", scales, cubic_coeff_a=-0.75, **FLOOR)
        paths[at] = unit(net.node("Add", paths[at], up), 8)
    contexts = []
    for path in paths:
        b = unit(path, 2)
        d = unit(b, 2)
        parts = [unit(path, 4, active=False), unit(b, 2, active=False), unit(d, 2, active=False)]
        contexts.append(net.node("Relu", net.concat(*parts)))
    for name, columns in [("loc", 4), ("conf", 2), ("landm", 10)]:
        rows = []
        for context in contexts:
            y = net.node("Transpose", net.conv(context, 2 * columns, 1), perm=[0, 2, 3, 1])
            rows.append(net.node("Reshape", y, net.constant(np.array([0, -1, columns], np.int64))))
        y = net.node("Concat", *rows, axis=1)
        net.output(net.node("Softmax", y, axis=2) if name == "conf" else y, name)
    return net


def sinet():
    """Segmentation: channel shuffle, two branches of different scale, gates, enlarged by corners."""
    net = Net("sinet", 17)
    x = net.picture("input", (1, 3, 32, 32), BATCH)
    corners = {"mode": "linear", "coordinate_transformation_mode": "align_corners"}

    def up(x, factor):
        scales = net.constant(np.array([1, 1, factor, factor], np.float32))
        return net.node("Resize", x, "", scales, cubic_coeff_a=-0.75, nearest_mode="floor", **corners)

    def squeeze(x, out):
        channels = net.channels[x]
        x = net.conv(x, channels, 3, 2, bias=False, group="each")
        gate = net.node("Flatten", net.node("GlobalAveragePool", x), axis=1)
        for _ in range(2):
            weights = [net.weight((channels, channels)), net.weight((channels,))]
            gate = net.node("Gemm", gate, *weights, alpha=1.0, beta=1.0, transB=1)
            net.channels[gate] = channels
            gate = net.prelu(gate, ())
        for axis in [2, 3]:
            gate = net.node("Unsqueeze", gate, net.constant(np.array([axis], np.int64)))
        return net.prelu(net.conv(net.node("Mul", x, gate), out, 1))

    def branch(x, kernel, shrink):
        if shrink > 1:
            x = net.node("AveragePool", x, ceil_mode=0, count_include_pad=1,
                         kernel_shape=[shrink] * 2, pads=[0] * 4, strides=[shrink] * 2)
        x = net.prelu(net.conv(x, net.channels[x], kernel, group="each"))
        x = net.conv(x, 4, 1, bias=False)
        return net.norm(up(x, shrink) if shrink > 1 else x, 1e-3, training_mode=0)

    def shuffled(x, out, height, width):
        x = net.conv(x, out, 1, bias=False, group=2)
        x = net.node("Reshape", x, net.constant(np.array([-1, 2, out // 2, height, width])), allowzero=0)
        x = net.node("Transpose", x, perm=[0, 2, 1, 3, 4])
        x = net.node("Reshape", x, net.constant(np.array([-1, out, height, width])), allowzero=0)
        net.channels[x] = out
        return x

    x = squeeze(net.prelu(net.conv(x, 6, 3, 2)), 8)
    y = shuffled(x, 8, 8, 8)
    y = net.node("Add", net.concat(branch(y, 3, 1), branch(y, 5, 2)), x)
    y = net.prelu(net.norm(y, 1e-3, training_mode=0))
    classes = net.norm(up(net.conv(net.concat(x, y), 2, 1, bias=False), 2), 1e-3, training_mode=0)
    most = net.node("ReduceMax", net.node("Softmax", classes, axis=1), axes=[1], keepdims=1)
    gate = net.node("Sub", net.constant(np.array(1, np.float32)), most)
    fine = net.node("Add", net.node("Mul", classes, gate), classes)
    net.channels[fine] = 2
    net.output(net.conv(up(fine, 2), 2, bias=False), "logits")
    return net


def taesd_decoder():
    """Latents to a picture: soft bounds, residual blocks, enlarged by repetition."""
    net = Net("taesd_decoder", 17)
    x = net.picture("latent", (1, 4, 4, 4), PICTURE)
    three = [net.constant(np.array(3, np.float32)) for _ in range(2)]
    x = net.node("Mul", net.node("Tanh", net.node("Div", x, three[0])), three[1])
    x = net.conv_relu(x, 8)

    def block(x):
        y = net.conv(net.conv_relu(net.conv_relu(x, 8), 8), 8)
        return net.node("Relu", net.node("Add", y, x))

    for _ in range(2):
        scales = net.constant(np.array([1, 1, 2, 2], np.float32))
        x = net.node("Resize", block(x), "", scales, cubic_coeff_a=-0.75, **FLOOR)
        x = net.conv(x, 8, bias=False)
    net.output(net.conv(block(x), 3), "image")
    return net


def main():
    add(yunet("yunet_fixed", (1, 3, 64, 64), None))
    add(yunet("yunet_dynamic", (1, 3, 32, 64), PICTURE), (1, 32, 64), (2, 64, 32))
    add(scrfd(), (1, 32, 64), (1, 64, 32))
    add(iresnet(), (1, 32, 32), (2, 32, 32))
    add(sface())
    add(mobilefacenet(), (2, 32, 32))
    add(lightqnet(), (2, 32, 32))
    add(bisenet(), (1, 32, 64), (1, 64, 32))
    add(u2net(), (1, 32, 32), (1, 25, 35))
    add(srvgg(), (1, 12, 10), (2, 5, 7))
    add(retinaface(), (1, 32, 64), (2, 32, 32))
    add(sinet(), (2, 32, 32))
    add(taesd_decoder(), (1, 4, 4), (2, 3, 5))
    fixture.write()


if __name__ == "__main__":
    main()
