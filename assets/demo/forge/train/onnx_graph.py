"""Writes a network as an ONNX file, operator by operator.

Written by hand instead of by torch's exporter, so that the file holds nothing but what photog's own
executor and every other one understand: few kinds of operators, short names, weights inline, batch
norms folded, and weights stored with 16 bits and a Cast where that is asked for (executors fold the
Cast when they load the file, so it costs nothing later).
"""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17


def folded(conv, norm=None):
    """Weights and bias of a convolution (or linear layer) with the batch norm behind it folded in.

    `bias` is None where there is none."""
    weight = conv.weight.detach().double()
    bias = None if conv.bias is None else conv.bias.detach().double()
    if norm is not None:
        scale = norm.weight.detach().double() / (norm.running_var.double() + norm.eps).sqrt()
        shift = norm.bias.detach().double() - norm.running_mean.double() * scale
        weight = weight * scale.reshape(-1, *[1] * (weight.dim() - 1))
        bias = shift if bias is None else bias * scale + shift
    return weight.float().numpy(), None if bias is None else bias.float().numpy()


class Graph:
    """Nodes in the order in which they are added. Every method returns the name of its result."""

    def __init__(self, name, shape, half):
        self.name, self.half = name, half
        self.nodes, self.weights, self.outputs = [], [], []
        self.input = helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)

    def node(self, kind, inputs, output=None, **attributes):
        output = output or f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def constant(self, values):
        """A weight; floats may be stored with 16 bits."""
        values = np.asarray(values)
        name = f"w{len(self.weights)}"
        # Biases are few and may be large, so they stay as they are.
        if self.half and values.dtype == np.float32 and values.ndim > 1:
            self.weights.append(numpy_helper.from_array(values.astype(np.float16), name))
            return self.node("Cast", [name], output=f"{name}f", to=TensorProto.FLOAT)
        self.weights.append(numpy_helper.from_array(values, name))
        return name

    def conv(self, x, weight, bias=None, stride=1, pad=0, groups=1):
        inputs = [x, self.constant(weight)]
        if bias is not None:
            inputs.append(self.constant(bias))
        return self.node(
            "Conv", inputs, kernel_shape=weight.shape[2:], strides=[stride] * 2, pads=[pad] * 4, group=groups
        )

    def dense(self, x, weight, bias, output=None):
        """`x W^T + b` for rows of numbers."""
        inputs = [x, self.constant(weight), self.constant(bias)]
        return self.node("Gemm", inputs, output=output, transB=1)

    def twice(self, x):
        """Both sides doubled, each pixel four times."""
        scales = self.constant(np.array([1, 1, 2, 2], np.float32))
        mode = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        return self.node("Resize", [x, "", scales], mode="nearest", **mode)

    def cells(self, x, channels, output):
        """`[n, channels, h, w]` as the output `[n, h * w, channels]`."""
        x = self.node("Transpose", [x], perm=[0, 2, 3, 1])
        shape = self.constant(np.array([0, -1, channels], np.int64))
        return self.node("Reshape", [x, shape], output=output)

    def promise(self, name, shape):
        """Declares an output."""
        self.outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))

    def save(self, path):
        graph = helper.make_graph(self.nodes, self.name, [self.input], self.outputs, self.weights)
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="photog forge", ir_version=8
        )
        onnx.checker.check_model(model, full_check=True)
        onnx.save(model, str(path))
