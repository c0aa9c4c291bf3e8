"""Small ONNX models with random weights, and what onnxruntime makes of them, in one file.

The file is a safetensors file. For each case it holds `<case>/model` (the bytes of the .onnx file),
`<case>/in/<i>/<name>` and `<case>/out/<i>/<name>` (f32, `i` counts from 0 in the order of the graph).
Its metadata name the command that made it, onnxruntime's version and the cases (a JSON list of names).
"""

import contextlib
import json
import os
import sys
import zlib
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

FIXTURES = Path(__file__).resolve().parent / "fixtures"

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL

# Which version of the file format goes with an operator set, so that older readers take the files.
IR_VERSION = 8


class Graph:
    """A model that is being built node by node; values are named by strings."""

    def __init__(self, name, opset):
        self.name = name
        self.opset = opset
        self.random = np.random.default_rng(zlib.crc32(name.encode()))
        self.nodes, self.initializers = [], []
        self.inputs, self.outputs, self.spans, self.values = [], [], {}, {}
        self._count = 0

    def input(self, name, shape, free=None, low=None, high=None):
        """An input with random values: normal, or even between `low` and `high`.

        `free` maps an axis to the name that stands in the file instead of its size.
        """
        dims = [(free or {}).get(axis, size) for axis, size in enumerate(shape)]
        self.inputs.append(helper.make_tensor_value_info(name, FLOAT, dims))
        self.spans[name] = low, high
        self.values[name] = self.numbers(shape, low, high)
        return name

    def given(self, name, values):
        """An input with these values."""
        self.input(name, np.shape(values))
        self.values[name] = np.asarray(values, np.float32)
        return name

    def numbers(self, shape, low=None, high=None):
        if low is None:
            return self.random.standard_normal(shape).astype(np.float32)
        return self.random.uniform(low, high, shape).astype(np.float32)

    def fresh(self, kind):
        self._count += 1
        return f"{kind}_{self._count}"

    def weight(self, values, kind="w"):
        """Numbers in the file: an array, or the shape of random ones as a tuple."""
        if isinstance(values, tuple):
            # Of a size that keeps the values of a deep network near 1.
            fan_in = max(1, int(np.prod(values[1:])))
            values = self.numbers(values) / np.float32(np.sqrt(fan_in))
        name = self.fresh(kind)
        self.initializers.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def floats(self, *values):
        """A list of 32-bit floats in the file."""
        return self.weight(np.array(values, np.float32))

    def ints(self, *values):
        """A list of 64-bit integers in the file."""
        return self.weight(np.array(values, np.int64))

    def scalar(self, value, kind=np.float32):
        """One number without axes in the file."""
        return self.weight(np.array(value, kind))

    def constant(self, values):
        """An array that a `Constant` node holds."""
        return self.node("Constant", value=numpy_helper.from_array(np.asarray(values)))

    def node(self, operator, *inputs, outputs=1, **attributes):
        """One node; gives the name of its output, or a list of names when there are several."""
        names = [self.fresh(operator.lower()) for _ in range(outputs)]
        self.nodes.append(
            helper.make_node(operator, list(inputs), names, name=self.fresh("n"), **attributes)
        )
        return names[0] if outputs == 1 else names

    def output(self, value, name=None):
        """Makes `value` an output, under `name` when given."""
        if name is not None:
            for node in self.nodes:
                node.output[:] = [name if one == value else one for one in node.output]
                node.input[:] = [name if one == value else one for one in node.input]
            value = name
        self.outputs.append(value)

    def cast_output(self, value):
        """Makes integers or truth values an output, as floats."""
        self.output(self.node("Cast", value, to=FLOAT))

    def model(self):
        """The finished file; sizes of outputs that only the run shows are left open."""
        used = {name for node in self.nodes for name in node.input}
        assert used >= {one.name for one in self.initializers}, f"{self.name}: an unused weight"
        outputs = [helper.make_tensor_value_info(name, FLOAT, None) for name in self.outputs]
        graph = helper.make_graph(self.nodes, self.name, self.inputs, outputs, self.initializers)
        model = onnx.shape_inference.infer_shapes(self._wrap(graph), strict_mode=True)
        results = run(model.SerializeToString(), self.outputs, self.values)
        for declared, found, result in zip(graph.output, model.graph.output, results):
            if found.type.tensor_type.HasField("shape"):
                declared.CopyFrom(found)
            else:
                dims = [None] * result.ndim
                declared.CopyFrom(helper.make_tensor_value_info(found.name, FLOAT, dims))
        model = self._wrap(graph)
        onnx.checker.check_model(model, full_check=True)
        return model

    def _wrap(self, graph):
        return helper.make_model(
            graph,
            producer_name="photog-reference",
            ir_version=IR_VERSION,
            opset_imports=[helper.make_opsetid("", self.opset)],
        )


class Fixture:
    """The cases of one file."""

    def __init__(self, file):
        self.path = FIXTURES / file
        self.cases, self.tensors, self.operators = [], {}, set()

    @contextlib.contextmanager
    def case(self, name, opset=17):
        """A case of one model and one set of inputs, built inside the `with`."""
        graph = Graph(name, opset)
        yield graph
        self.add(name, graph.model(), graph.values)

    def add(self, name, model, values):
        """Runs `model` on `values` and keeps everything under `name`."""
        assert name not in self.cases, name
        self.cases.append(name)
        self.operators |= {node.op_type for node in model.graph.node}
        data = model.SerializeToString()
        self.tensors[f"{name}/model"] = np.frombuffer(data, np.uint8)
        names = [one.name for one in model.graph.output]
        for index, one in enumerate(model.graph.input):
            self.tensors[f"{name}/in/{index}/{one.name}"] = values[one.name]
        for index, (one, result) in enumerate(zip(names, run(data, names, values))):
            assert result.dtype == np.float32, (name, one, result.dtype)
            assert np.isfinite(result).all(), (name, one)
            self.tensors[f"{name}/out/{index}/{one}"] = np.ascontiguousarray(result)

    def write(self):
        """Writes the file and says what is in it."""
        self.path.parent.mkdir(exist_ok=True)
        metadata = {
            "command": "python tests/reference/" + os.path.basename(sys.argv[0]),
            "onnxruntime": onnxruntime.__version__,
            "onnx": onnx.__version__,
            "numpy": np.__version__,
            "cases": json.dumps(self.cases),
        }
        data = safetensors(self.tensors, metadata)
        self.path.write_bytes(data)
        print(f"{self.path.name}: {len(self.cases)} cases, {len(data)} bytes")
        print("operators:", " ".join(sorted(self.operators)))


def run(data, names, values):
    """The outputs of a model, computed without rewriting the graph and on one thread."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3  # not the advice on unused nodes, which are part of one case
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return session.run(names, values)


def safetensors(tensors, metadata):
    """A safetensors file. The library's writer orders the metadata anew each time; this one does not."""
    kinds = {np.dtype(np.float32): "F32", np.dtype(np.uint8): "U8"}
    # Floats first, so that each begins at a multiple of its size.
    names = sorted(tensors, key=lambda name: (-tensors[name].itemsize, name))
    header, blocks, end = {"__metadata__": metadata}, [], 0
    for name in names:
        block = tensors[name].tobytes()
        start, end = end, end + len(block)
        shape = list(tensors[name].shape)
        kind = kinds[tensors[name].dtype]
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [start, end]}
        blocks.append(block)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + b"".join(blocks)
