"""Writes fixtures/onnx_operators.safetensors: each operator by itself, with its variants.

The operators and attributes are those of the networks that photog runs (face detectors, embeddings,
quality, segmentation, super-resolution) in the operator sets that their files have. See onnx_fixture.py
for the form of the file.
"""

import numpy as np
from onnx import numpy_helper

from onnx_fixture import BOOL, FLOAT, INT64, Fixture

fixture = Fixture("onnx_operators.safetensors")

ANY_SIZE = {0: "batch", 2: "height", 3: "width"}


def one(name, operator, shape, *weights, opset=17, free=None, low=None, high=None, **attributes):
    """A case of one node on one random input.

    `weights` are further inputs: arrays, shapes of random ones as tuples, or "" for none.
    """
    with fixture.case(name, opset) as g:
        x = g.input("x", shape, free, low, high)
        rest = ["" if isinstance(each, str) else g.weight(each) for each in weights]
        g.output(g.node(operator, x, *rest, **attributes))


def ints(*values):
    return np.array(values, np.int64)


def floats(*values):
    return np.array(values, np.float32)


def number(value, kind=np.float32):
    return np.array(value, kind)


def convolutions():
    def conv(name, shape, outputs, kernel, bias=True, group=1, opset=17, free=None, **attributes):
        kernel = kernel if isinstance(kernel, tuple) else (kernel, kernel)
        weights = [(outputs, shape[1] // group, *kernel)] + [(outputs,)] * bias
        one(f"conv_{name}", "Conv", shape, *weights, opset=opset, free=free,
            group=group, kernel_shape=list(kernel), **attributes)

    conv("1x1", (1, 16, 5, 7), 24, 1)
    conv("1x1_of_one_pixel", (1, 32, 1, 1), 10, 1)
    conv("1x1_odd_channels", (1, 7, 5, 6), 13, 1)
    conv("1x1_without_bias", (2, 8, 3, 4), 8, 1, bias=False)
    conv("1x1_stride_2", (1, 8, 9, 8), 12, 1, strides=[2, 2])
    conv("3x3", (1, 8, 5, 6), 16, 3, pads=[1, 1, 1, 1], strides=[1, 1], dilations=[1, 1])
    conv("3x3_without_border", (1, 5, 8, 7), 9, 3)
    conv("3x3_batch_of_2", (2, 4, 5, 7), 6, 3, pads=[1, 1, 1, 1])
    conv("3x3_stride_2", (1, 3, 10, 12), 8, 3, pads=[1, 1, 1, 1], strides=[2, 2])
    conv("3x3_stride_2_odd_size", (1, 3, 9, 7), 8, 3, pads=[1, 1, 1, 1], strides=[2, 2])
    conv("3x3_without_bias", (1, 5, 6, 7), 6, 3, bias=False, pads=[1, 1, 1, 1])
    conv("3x3_one_channel", (1, 1, 9, 9), 1, 3, pads=[1, 1, 1, 1])
    conv("3x3_wide_to_one_panel", (1, 6, 3, 29), 10, 3, pads=[1, 1, 1, 1])
    conv("3x3_wide_to_two_panels", (1, 6, 3, 29), 25, 3, pads=[1, 1, 1, 1])
    conv("3x3_wide_to_three_panels", (1, 6, 3, 19), 41, 3, pads=[1, 1, 1, 1])
    conv("3x3_wide_to_five_panels", (1, 6, 3, 19), 70, 3, pads=[1, 1, 1, 1])
    conv("3x3_odd_channels", (1, 13, 4, 5), 5, 3, pads=[1, 1, 1, 1])
    conv("3x3_on_one_pixel", (1, 4, 1, 1), 6, 3, pads=[1, 1, 1, 1])
    conv("3x3_asymmetric_border", (1, 4, 8, 9), 6, 3, pads=[0, 0, 1, 1], strides=[2, 2])
    conv("3x3_uneven_border", (1, 4, 6, 7), 5, 3, pads=[2, 0, 1, 3])
    conv("3x3_dilated_2", (1, 4, 9, 8), 4, 3, pads=[2, 2, 2, 2], dilations=[2, 2])
    conv("3x3_dilated_4", (1, 2, 12, 11), 3, 3, pads=[4, 4, 4, 4], dilations=[4, 4])
    conv("3x3_dilated_8_beyond_the_picture", (1, 4, 5, 6), 4, 3, pads=[8, 8, 8, 8], dilations=[8, 8])
    conv("5x5", (1, 3, 7, 8), 5, 5, pads=[2, 2, 2, 2])
    conv("7x7_stride_2", (1, 3, 14, 12), 4, 7, pads=[3, 3, 3, 3], strides=[2, 2])
    conv("kernel_of_the_whole_picture", (1, 3, 7, 7), 4, 7)
    conv("1x3", (1, 4, 7, 9), 6, (1, 3), pads=[0, 1, 0, 1])
    conv("3x1_uneven_stride", (1, 4, 9, 8), 6, (3, 1), pads=[1, 0, 1, 0], strides=[2, 1])
    conv("3x3_many_channels", (1, 20, 3, 4), 18, 3, pads=[1, 1, 1, 1])
    conv("1x1_many_channels", (1, 36, 3, 3), 40, 1)
    conv("larger_picture", (1, 1, 33, 40), 1, 3, pads=[1, 1, 1, 1])
    conv("same_upper", (1, 4, 9, 8), 6, 3, auto_pad="SAME_UPPER", strides=[2, 2])
    conv("same_upper_even_kernel", (1, 3, 7, 7), 4, 2, auto_pad="SAME_UPPER")
    conv("same_lower", (1, 4, 9, 8), 6, 3, auto_pad="SAME_LOWER", strides=[2, 2])
    conv("valid", (1, 4, 9, 8), 6, 3, auto_pad="VALID", strides=[2, 2])
    conv("any_size", (2, 3, 7, 6), 4, 3, free=ANY_SIZE, pads=[1, 1, 1, 1], strides=[2, 2])
    conv("opset_11", (1, 3, 4, 5), 4, 3, opset=11, pads=[1, 1, 1, 1])
    conv("opset_9", (1, 3, 4, 5), 4, 3, opset=9, pads=[1, 1, 1, 1])

    def depthwise(name, shape, kernel, **attributes):
        conv(f"depthwise_{name}", shape, shape[1], kernel, group=shape[1], **attributes)

    depthwise("3x3", (1, 16, 6, 7), 3, pads=[1, 1, 1, 1])
    depthwise("3x3_stride_2", (1, 16, 8, 6), 3, pads=[1, 1, 1, 1], strides=[2, 2])
    depthwise("3x3_stride_2_odd_size", (1, 8, 9, 7), 3, pads=[1, 1, 1, 1], strides=[2, 2])
    depthwise("3x3_stride_2_without_border", (1, 8, 9, 7), 3, strides=[2, 2])
    depthwise("3x3_stride_2_border_after", (1, 8, 8, 6), 3, pads=[0, 0, 1, 1], strides=[2, 2])
    depthwise("3x3_without_bias", (1, 8, 7, 6), 3, bias=False, pads=[1, 1, 1, 1])
    depthwise("3x3_odd_channels", (2, 11, 5, 6), 3, pads=[1, 1, 1, 1])
    depthwise("3x3_four_channels", (1, 4, 5, 5), 3, pads=[1, 1, 1, 1])
    depthwise("3x3_ten_channels", (1, 10, 5, 7), 3, pads=[1, 1, 1, 1])
    depthwise("3x3_one_channel", (1, 1, 6, 7), 3, pads=[1, 1, 1, 1])
    depthwise("3x3_one_pixel", (1, 8, 1, 1), 3, pads=[1, 1, 1, 1])
    depthwise("3x3_one_row", (1, 8, 1, 9), 3, pads=[1, 1, 1, 1])
    depthwise("3x3_dilated", (1, 4, 7, 8), 3, pads=[2, 2, 2, 2], dilations=[2, 2])
    depthwise("5x5", (1, 8, 7, 6), 5, pads=[2, 2, 2, 2])
    depthwise("5x5_stride_2", (1, 8, 7, 6), 5, pads=[2, 2, 2, 2], strides=[2, 2])
    depthwise("3x3_wide", (1, 20, 4, 29), 3, pads=[1, 1, 1, 1])
    depthwise("3x3_wide_stride_2", (1, 20, 5, 37), 3, pads=[1, 1, 1, 1], strides=[2, 2])
    depthwise("5x5_wide", (1, 20, 5, 21), 5, pads=[2, 2, 2, 2])
    depthwise("7x7_to_one_pixel", (1, 8, 7, 7), 7, bias=False)
    conv("depthwise_two_outputs_a_channel", (1, 6, 5, 4), 12, 3, group=6, pads=[1, 1, 1, 1])
    conv("grouped_2", (1, 8, 7, 6), 12, 1, group=2)
    conv("grouped_4", (1, 16, 4, 5), 8, 3, group=4, pads=[1, 1, 1, 1])

    with fixture.case("conv_then_relu") as g:
        y = g.node("Conv", g.input("x", (1, 8, 4, 5)), g.weight((6, 8, 3, 3)), pads=[1] * 4)
        g.output(g.node("Relu", y))
    with fixture.case("conv_depthwise_then_relu6") as g:
        x = g.input("x", (1, 8, 5, 6))
        y = g.node("Conv", x, g.weight((8, 1, 3, 3)), g.weight((8,)), group=8, pads=[1] * 4)
        bounds = [g.constant(number(0)), g.constant(number(6))]
        g.output(g.node("Clip", g.node("Mul", y, g.scalar(8)), *bounds))
    with fixture.case("conv_pointwise_then_depthwise") as g:
        # The block of YuNet: 1x1, then 3x3 on each channel by itself.
        x = g.input("x", (1, 16, 5, 7), ANY_SIZE)
        y = g.node("Conv", x, g.weight((24, 16, 1, 1)), g.weight((24,)))
        y = g.node("Conv", y, g.weight((24, 1, 3, 3)), g.weight((24,)), group=24, pads=[1] * 4)
        g.output(g.node("Relu", y))
    with fixture.case("conv_read_twice") as g:
        # Its output is needed without the activation as well, so the two must not become one.
        y = g.node("Conv", g.input("x", (1, 4, 6, 6)), g.weight((8, 4, 1, 1)))
        g.output(g.node("Relu", y), "active")
        g.output(y, "plain")
    with fixture.case("conv_pointwise_read_by_depthwise_and_outside") as g:
        # The two cannot become one, since what lies between them is asked for.
        y = g.node("Conv", g.input("x", (1, 8, 4, 5)), g.weight((16, 8, 1, 1)))
        g.output(g.node("Conv", y, g.weight((16, 1, 3, 3)), group=16, pads=[1] * 4))
        g.output(y, "between")
    with fixture.case("conv_of_one_pixel_added_to_a_picture") as g:
        # A context block: what the whole picture says is added to each of its places.
        x = g.input("x", (2, 6, 4, 5))
        y = g.node("Conv", g.node("GlobalAveragePool", x), g.weight((6, 6, 1, 1)), g.weight((6,)))
        g.output(g.node("Relu", g.node("Add", x, y)))
    with fixture.case("conv_plus_a_number_for_each_channel") as g:
        x = g.input("x", (1, 6, 4, 5))
        means = g.node("Squeeze", g.node("GlobalMaxPool", x), g.ints(0))
        y = g.node("Conv", x, g.weight((6, 6, 3, 3)), pads=[1] * 4)
        g.output(g.node("Add", means, y))
    with fixture.case("conv_weights_from_another_node") as g:
        weights = g.node("Mul", g.weight((6, 4, 3, 3)), g.scalar(0.5))
        g.output(g.node("Conv", g.input("x", (1, 4, 6, 7)), weights, pads=[1] * 4))


def statistics(g, channels):
    """Scale, bias, mean and variance of a batch normalisation."""
    spans = [(0.5, 1.5), (-1, 1), (-1, 1), (0.2, 2)]
    return [g.weight(g.numbers((channels,), *span)) for span in spans]


def normalisations():
    for name, shape, opset in [("", (2, 6, 3, 4), 17), ("_of_vectors", (3, 16), 17),
                               ("_opset_9", (1, 6, 5, 4), 9), ("_opset_11", (1, 5, 3, 4), 11)]:
        with fixture.case(f"batch_normalization{name}", opset) as g:
            x = g.input("x", shape)
            g.output(g.node("BatchNormalization", x, *statistics(g, shape[1]), epsilon=1e-3))
    with fixture.case("batch_normalization_default_epsilon") as g:
        g.output(g.node("BatchNormalization", g.input("x", (1, 4, 3, 3)), *statistics(g, 4)))
    for name, group, bias in [("conv", 1, False), ("conv_with_bias", 1, True), ("depthwise", 8, True)]:
        with fixture.case(f"batch_normalization_after_{name}") as g:
            x = g.input("x", (1, 8, 4, 5))
            weights = [g.weight(each) for each in [(8, 8 // group, 3, 3)] + [(8,)] * bias]
            y = g.node("Conv", x, *weights, group=group, pads=[1] * 4)
            y = g.node("BatchNormalization", y, *statistics(g, 8), momentum=0.9, training_mode=0)
            g.output(g.node("Relu", y))
    with fixture.case("batch_normalization_before_conv") as g:
        # The border is padded after the normalisation, so the two cannot become one convolution.
        x = g.node("BatchNormalization", g.input("x", (1, 6, 4, 5)), *statistics(g, 6))
        g.output(g.node("Conv", x, g.weight((4, 6, 3, 3)), pads=[1] * 4))
    with fixture.case("batch_normalization_after_gemm") as g:
        y = g.node("Gemm", g.input("x", (2, 12)), g.weight((8, 12)), g.weight((8,)), transB=1)
        g.output(g.node("BatchNormalization", y, *statistics(g, 8), epsilon=2e-5))
    with fixture.case("batch_normalization_then_prelu") as g:
        y = g.node("BatchNormalization", g.input("x", (1, 6, 4, 5)), *statistics(g, 6), epsilon=1e-3)
        g.output(g.node("PRelu", y, g.weight((6, 1, 1))))
    one("instance_normalization", "InstanceNormalization", (2, 4, 5, 6), (4,), (4,), epsilon=1e-4)


def activations():
    shape = (1, 4, 5, 6)
    one("relu", "Relu", shape)
    one("leaky_relu", "LeakyRelu", shape, alpha=0.1)
    one("leaky_relu_default", "LeakyRelu", shape)
    one("sigmoid", "Sigmoid", shape, low=-12, high=12)
    one("tanh", "Tanh", shape, low=-6, high=6)
    one("erf", "Erf", shape, low=-3, high=3)
    one("hard_sigmoid", "HardSigmoid", shape, low=-4, high=4)
    one("hard_sigmoid_sixth", "HardSigmoid", shape, low=-4, high=4, alpha=1 / 6, beta=0.5)
    one("hard_swish", "HardSwish", shape, low=-5, high=5)
    one("prelu_of_channels", "PRelu", shape, (4, 1, 1))
    one("prelu_of_channels_opset_9", "PRelu", shape, (4, 1, 1), opset=9)
    one("prelu_of_one_channel", "PRelu", (1, 1, 5, 6), (1, 1, 1))
    one("prelu_of_all", "PRelu", shape, (1,))
    one("prelu_of_all_with_axes", "PRelu", shape, (1, 1, 1))
    one("prelu_of_vectors", "PRelu", (3, 8), (8,))
    one("prelu_of_the_last_axis", "PRelu", (1, 2, 3, 4), (4,))
    with fixture.case("prelu_after_conv") as g:
        y = g.node("Conv", g.input("x", (1, 4, 5, 6)), g.weight((10, 4, 3, 3)), pads=[1] * 4)
        g.output(g.node("PRelu", y, g.weight((10, 1, 1))))
    one("clip", "Clip", shape, number(-0.5), number(0.75))
    one("clip_from_below", "Clip", shape, number(-0.25))
    one("clip_from_above", "Clip", shape, "", number(0.5))
    one("clip_opset_6", "Clip", shape, opset=9, min=0.0, max=0.6)
    one("clip_opset_11", "Clip", shape, number(0), number(6), opset=11)
    one("softmax_opset_11", "Softmax", (2, 3, 4), opset=11)
    one("softmax_opset_11_axis_2", "Softmax", (2, 3, 4), opset=11, axis=2)
    one("softmax_opset_11_all", "Softmax", (2, 3, 4), opset=11, axis=0)
    one("softmax_opset_13", "Softmax", (2, 3, 4))
    one("softmax_of_channels", "Softmax", (1, 2, 5, 6), axis=1)
    one("softmax_of_anchors", "Softmax", (2, 9, 2), axis=2)
    one("softmax_of_large_numbers", "Softmax", (2, 5), axis=-1, low=-400, high=400)
    with fixture.case("gelu_from_erf") as g:
        x = g.input("x", (2, 9))
        y = g.node("Erf", g.node("Div", x, g.scalar(np.sqrt(2))))
        y = g.node("Mul", x, g.node("Add", y, g.scalar(1)))
        g.output(g.node("Mul", y, g.scalar(0.5)))
    with fixture.case("softplus_tail_of_tanh") as g:
        # The entrance of TAESD's decoder.
        y = g.node("Tanh", g.node("Div", g.input("x", (1, 4, 3, 5), low=-9, high=9), g.scalar(3)))
        g.output(g.node("Mul", y, g.scalar(3)))


def arithmetic():
    signs = {"Add": (None, None), "Sub": (None, None), "Mul": (None, None), "Div": (0.5, 2)}
    for operator, (low, high) in signs.items():
        name = operator.lower()
        for kind, left, right in [("same", (2, 3, 4), (2, 3, 4)), ("channels", (1, 3, 4, 5), (1, 3, 1, 1)),
                                  ("outer", (4, 1), (1, 5)), ("fewer_axes", (2, 3, 4), (4,)),
                                  ("more_axes", (3, 1), (2, 1, 4))]:
            with fixture.case(f"{name}_{kind}") as g:
                g.output(g.node(operator, g.input("a", left), g.input("b", right, None, low, high)))
        one(f"{name}_constant", operator, (1, 3, 2, 2), number(0.25))
        with fixture.case(f"{name}_constant_first") as g:
            x = g.input("x", (1, 3, 2, 2), None, low, high)
            g.output(g.node(operator, g.weight(floats(0.5).reshape(1, 1, 1)), x))
    with fixture.case("integers") as g:
        a = g.node("Cast", g.given("a", [7, -7, 9, -9, 5]), to=INT64)
        b = g.node("Cast", g.given("b", [2, 2, -4, -4, 5]), to=INT64)
        for operator in signs:
            g.cast_output(g.node(operator, a, b))
    one("pow_2", "Pow", (2, 5), number(2))
    one("pow_half", "Pow", (2, 5), number(0.5), low=0.1, high=4)
    one("pow_integer_exponent", "Pow", (2, 5), number(3, np.int64))
    with fixture.case("pow_of_each") as g:
        g.output(g.node("Pow", g.input("a", (2, 4), low=0.2, high=3), g.input("b", (4,))))
    one("sqrt", "Sqrt", (2, 5), low=0, high=9)
    one("exp", "Exp", (2, 5))
    one("log", "Log", (2, 5), low=0.1, high=9)
    one("neg", "Neg", (2, 5))
    one("abs", "Abs", (2, 5))
    one("floor", "Floor", (2, 5), low=-4, high=4)
    one("ceil", "Ceil", (2, 5), low=-4, high=4)
    one("reciprocal", "Reciprocal", (2, 5), low=0.2, high=4)
    for operator in ["Min", "Max"]:
        name = operator.lower()
        one(f"{name}_of_one", operator, (2, 3))
        with fixture.case(f"{name}_of_three") as g:
            inputs = [g.input("a", (2, 3)), g.input("b", (3,)), g.input("c", (2, 1))]
            g.output(g.node(operator, *inputs))
        with fixture.case(f"{name}_of_far_numbers") as g:
            a = g.given("a", [[5, -5], [1e8, 3e38]])
            g.output(g.node(operator, a, g.weight(floats(-3.4e38, 1.5))))
            g.output(g.node(operator, a, g.weight(floats(1.25))))
    with fixture.case("pow_of_constants") as g:
        powers = g.node("Pow", g.weight(floats(2, 0.5, 3)), g.ints(3, -1, 0))
        g.output(g.node("Mul", g.input("x", (2, 3)), powers))
    with fixture.case("comparisons") as g:
        a, b = g.given("a", [1, 2, 3, 4]), g.given("b", [1, 3, 2, 4])
        for operator in ["Equal", "Less", "Greater"]:
            g.cast_output(g.node(operator, a, b))
    with fixture.case("where") as g:
        a, b = g.input("a", (2, 1, 3)), g.input("b", (4, 1))
        g.output(g.node("Where", g.node("Greater", a, g.scalar(0)), a, b))
    with fixture.case("range") as g:
        limit = g.node("Squeeze", g.node("Shape", g.input("x", (2, 5), {1: "n"}), start=1))
        steps = g.node("Range", g.scalar(0, np.int64), limit, g.scalar(1, np.int64))
        g.cast_output(steps)
        down = g.node("Range", g.scalar(2.5), g.scalar(-1), g.scalar(-0.5))
        g.output(down)


def products():
    for name, a, b, c, attributes in [
        ("", (3, 5), (5, 4), (4,), {}),
        ("_trans_b", (2, 12), (6, 12), (6,), {"transB": 1, "alpha": 1.0, "beta": 1.0}),
        ("_trans_a", (5, 3), (5, 4), (3, 4), {"transA": 1}),
        ("_trans_both", (5, 3), (4, 5), (1,), {"transA": 1, "transB": 1}),
        ("_alpha_beta", (3, 5), (5, 4), (3, 1), {"alpha": 0.25, "beta": -1.5}),
        ("_without_c", (3, 5), (5, 4), None, {"alpha": 2.0}),
        ("_one_row", (1, 40), (17, 40), (17,), {"transB": 1}),
    ]:
        one(f"gemm{name}", "Gemm", a, b, *([] if c is None else [c]), **attributes)
    one("gemm_opset_9", "Gemm", (2, 7), (3, 7), (3,), opset=9, transB=1)
    one("gemm_any_batch", "Gemm", (3, 7), (3, 7), (3,), free={0: "batch"}, transB=1)
    for name, a, b in [("", (3, 5), (5, 4)), ("_batched", (2, 3, 4), (2, 4, 5)),
                       ("_one_matrix_for_all", (2, 3, 4), (4, 5)), ("_broadcast", (2, 1, 3, 4), (3, 4, 2)),
                       ("_vector_first", (4,), (4, 3)), ("_vector_last", (3, 4), (4,))]:
        with fixture.case(f"matmul{name}") as g:
            g.output(g.node("MatMul", g.input("a", a), g.input("b", b)))
    with fixture.case("flatten_then_gemm") as g:
        x = g.node("Flatten", g.input("x", (2, 4, 3, 3), {0: "batch"}), axis=1)
        g.output(g.node("Gemm", x, g.weight((5, 36)), g.weight((5,)), transB=1))


def poolings():
    shape = (1, 3, 9, 8)
    window = {"kernel_shape": [2, 2], "strides": [2, 2]}
    border = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}
    for operator in ["MaxPool", "AveragePool"]:
        name = "max_pool" if operator == "MaxPool" else "average_pool"
        one(f"{name}_2x2", operator, shape, pads=[0, 0, 0, 0], ceil_mode=0, **window)
        one(f"{name}_2x2_opset_11", operator, (1, 3, 8, 6), opset=11, **window)
        one(f"{name}_ceil", operator, (1, 3, 9, 7), ceil_mode=1, **window)
        one(f"{name}_3x3", operator, shape, **border)
        one(f"{name}_3x3_ceil", operator, (1, 3, 8, 10), ceil_mode=1, **border)
        one(f"{name}_3x3_ceil_without_border", operator, (1, 3, 8, 10), ceil_mode=1,
            kernel_shape=[3, 3], strides=[2, 2])
        one(f"{name}_3x3_stride_1", operator, shape, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
        one(f"{name}_4x4", operator, (1, 3, 12, 8), kernel_shape=[4, 4], strides=[4, 4])
        one(f"{name}_uneven", operator, shape, kernel_shape=[3, 2], strides=[1, 2], pads=[1, 0, 0, 1])
        one(f"{name}_same_upper", operator, shape, kernel_shape=[3, 3], strides=[2, 2],
            auto_pad="SAME_UPPER")
        one(f"{name}_any_size", operator, (2, 3, 7, 6), free=ANY_SIZE, ceil_mode=1, **window)
    one("max_pool_5x5_stride_1", "MaxPool", shape, kernel_shape=[5, 5], pads=[2, 2, 2, 2])
    one("max_pool_of_negatives", "MaxPool", shape, low=-9, high=-1, **border)
    one("average_pool_count_border", "AveragePool", shape, count_include_pad=1, **border)
    one("average_pool_count_border_ceil", "AveragePool", (1, 3, 8, 10), count_include_pad=1,
        ceil_mode=1, **border)
    one("average_pool_whole", "AveragePool", (2, 3, 6, 6), kernel_shape=[6, 6])
    one("global_average_pool", "GlobalAveragePool", (2, 5, 6, 7))
    one("global_average_pool_one_pixel", "GlobalAveragePool", (1, 5, 1, 1))
    one("global_max_pool", "GlobalMaxPool", (2, 5, 6, 7))


def resizes():
    shape = (1, 2, 5, 6)
    floor = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    twice = floats(1, 1, 2, 2)
    for name, scales in [("2", twice), ("4", floats(1, 1, 4, 4)), ("2_and_3", floats(1, 1, 2, 3)),
                         ("half", floats(1, 1, 0.5, 0.5)), ("1.5", floats(1, 1, 1.5, 1.5))]:
        one(f"resize_nearest_{name}", "Resize", shape, "", scales, cubic_coeff_a=-0.75, **floor)
    # The empty region of YuNet's file: there, but without values.
    one("resize_nearest_empty_region_opset_11", "Resize", shape, floats(), twice, opset=11, **floor)
    one("resize_nearest_any_size", "Resize", (2, 2, 3, 4), "", twice, free=ANY_SIZE, **floor)
    one("resize_nearest_opset_10", "Resize", shape, twice, opset=10, mode="nearest")
    one("resize_linear_opset_10", "Resize", shape, twice, opset=10, mode="linear")
    one("resize_nearest_to_size", "Resize", shape, "", "", ints(1, 2, 10, 12), **floor)
    one("resize_nearest_to_odd_size", "Resize", shape, "", "", ints(1, 2, 9, 11), **floor)
    one("resize_nearest_smaller_size", "Resize", shape, "", "", ints(1, 2, 3, 4), **floor)
    one("resize_nearest_default", "Resize", shape, "", twice)
    one("resize_nearest_half_pixel_prefer_ceil", "Resize", shape, "", floats(1, 1, 1.6, 1.6),
        mode="nearest", nearest_mode="round_prefer_ceil")
    one("resize_nearest_half_pixel_ceil", "Resize", shape, "", twice, mode="nearest", nearest_mode="ceil")
    one("resize_nearest_align_corners", "Resize", shape, "", "", ints(1, 2, 9, 11), mode="nearest",
        coordinate_transformation_mode="align_corners", nearest_mode="floor")
    for mode in ["align_corners", "half_pixel", "pytorch_half_pixel", "asymmetric"]:
        linear = {"mode": "linear", "coordinate_transformation_mode": mode}
        name = f"resize_linear_{mode}"
        one(name, "Resize", shape, "", twice, nearest_mode="floor", **linear)
        one(f"{name}_4", "Resize", (1, 1, 3, 4), "", floats(1, 1, 4, 4), **linear)
        one(f"{name}_smaller", "Resize", (1, 2, 8, 9), "", floats(1, 1, 0.5, 0.4), **linear)
        one(f"{name}_to_size", "Resize", shape, "", "", ints(1, 2, 7, 13), **linear)
        one(f"{name}_to_smaller_size", "Resize", (1, 2, 9, 12), "", "", ints(1, 2, 4, 5), **linear)
        one(f"{name}_from_one_pixel", "Resize", (1, 2, 1, 1), "", "", ints(1, 2, 4, 3), **linear)
        one(f"{name}_to_one_pixel", "Resize", shape, "", "", ints(1, 2, 1, 1), **linear)
        one(f"{name}_opset_11", "Resize", shape, floats(), floats(), ints(1, 2, 10, 9), opset=11, **linear)
    for mode in ["nearest", "linear"]:
        one(f"upsample_{mode}_opset_9", "Upsample", shape, twice, opset=9, mode=mode)
    one("upsample_uneven_opset_9", "Upsample", shape, floats(1, 1, 3, 1), opset=9, mode="nearest")
    with fixture.case("resize_to_the_size_of_another", 11) as g:
        # The way of U2-Net and BiSeNet: batch and channels of one, height and width of the other.
        x, y = g.input("x", (1, 3, 4, 5), ANY_SIZE), g.input("y", (1, 2, 9, 7), {2: "h", 3: "w"})
        front = g.node("Slice", g.node("Shape", x), g.ints(0), g.ints(2), g.ints(0))
        back = g.node("Slice", g.node("Shape", y), g.ints(2), g.ints(4), g.ints(0))
        sizes = g.node("Concat", front, back, axis=0)
        linear = {"mode": "linear", "coordinate_transformation_mode": "pytorch_half_pixel"}
        g.output(g.node("Resize", x, g.floats(), g.floats(), sizes, cubic_coeff_a=-0.75, **linear))


def layouts():
    shape = (2, 3, 4, 5)
    for axis in [0, 1, 3, -1]:
        with fixture.case(f"concat_axis_{axis}".replace("-", "minus_")) as g:
            second = [size + (at == axis % 4) for at, size in enumerate(shape)]
            inputs = [g.input("a", shape), g.input("b", tuple(second)), "a"]
            g.output(g.node("Concat", *inputs, axis=axis))
    one("concat_of_one", "Concat", shape, axis=1)
    one("concat_with_an_empty_one", "Concat", (1, 3, 2, 2), floats().reshape(1, 0, 2, 2), axis=1)
    with fixture.case("concat_of_large_constants") as g:
        # More numbers than a shape has.
        planes = [g.node("ConstantOfShape", g.ints(1, 1, 250, 200), value=value)
                  for value in [numpy_helper.from_array(floats(number)) for number in (1, 3)]]
        means = g.node("ReduceMean", g.node("Concat", *planes, axis=1), axes=[2, 3], keepdims=1)
        g.output(g.node("Mul", g.input("x", (1, 2, 2, 3)), means))
    one("slice_opset_9", "Slice", shape, opset=9, axes=[1, 3], starts=[1, -4], ends=[3, -1])
    one("slice_opset_9_without_axes", "Slice", shape, opset=9, starts=[0, 1], ends=[2, 9000])
    far = 2**63 - 1
    one("slice_opset_10", "Slice", shape, ints(1), ints(3), ints(2), opset=10)
    one("slice_without_axes", "Slice", shape, ints(0, 1), ints(2, 3))
    one("slice_steps", "Slice", shape, ints(0, 1), ints(far, far), ints(2, 3), ints(2, 2))
    one("slice_backwards", "Slice", shape, ints(-1), ints(-far), ints(3), ints(-1))
    one("slice_backwards_by_2", "Slice", shape, ints(4), ints(0), ints(-1), ints(-2))
    one("slice_backwards_from_before_the_start", "Slice", shape, ints(-100), ints(-1000), ints(3),
        ints(-1))
    one("slice_negative_bounds", "Slice", shape, ints(-3, -2), ints(-1, far), ints(2, -1))
    one("slice_beyond_the_end", "Slice", shape, ints(1), ints(100), ints(0))
    for name, opset, sizes, axis in [("opset_11", 11, [1, 3, 2], 1), ("opset_11_equal", 11, None, 1),
                                     ("opset_13", 13, [4, 2], -1), ("opset_13_equal", 13, None, 1),
                                     ("opset_18_uneven", 18, None, 1)]:
        with fixture.case(f"split_{name}", opset) as g:
            x = g.input("x", (2, 7 if opset == 18 else 6, 6))
            count = len(sizes) if sizes else 3
            attributes = {"axis": axis}
            inputs = [x] + ([g.ints(*sizes)] if sizes and opset >= 13 else [])
            if sizes and opset < 13:
                attributes["split"] = sizes
            if opset >= 18:
                attributes["num_outputs"] = count
            for part in g.node("Split", *inputs, outputs=count, **attributes):
                g.output(part)
    ones = (1, 3, 1, 4)
    one("squeeze_opset_11", "Squeeze", ones, opset=11, axes=[0, 2])
    one("squeeze_opset_11_all", "Squeeze", ones, opset=11)
    one("squeeze", "Squeeze", ones, ints(-2))
    one("squeeze_all", "Squeeze", ones)
    one("unsqueeze_opset_11", "Unsqueeze", (3, 4), opset=11, axes=[0, 3])
    one("unsqueeze", "Unsqueeze", (3, 4), ints(1))
    one("unsqueeze_from_the_end", "Unsqueeze", (3, 4), ints(-1, 0))
    one("reshape", "Reshape", shape, ints(6, 20))
    one("reshape_rest", "Reshape", shape, ints(2, -1))
    one("reshape_copy_and_rest", "Reshape", shape, ints(0, -1, 5))
    one("reshape_copy", "Reshape", shape, ints(0, 0, 20), allowzero=0)
    one("reshape_to_5_axes", "Reshape", (1, 6, 4, 5), ints(-1, 2, 3, 4, 5))
    one("reshape_any_batch", "Reshape", (2, 4, 3, 2), ints(0, -1, 2), free=ANY_SIZE)
    for axis in [0, 1, 2, 4, -1]:
        one(f"flatten_axis_{axis}".replace("-", "minus_"), "Flatten", shape, axis=axis)
    one("flatten_default_opset_9", "Flatten", shape, opset=9)
    one("transpose_reversed", "Transpose", (2, 3, 4))
    one("transpose_channels_last", "Transpose", shape, perm=[0, 2, 3, 1])
    one("transpose_channels_first", "Transpose", shape, perm=[0, 3, 1, 2])
    one("transpose_matrix", "Transpose", (5, 4), perm=[1, 0])
    one("transpose_shuffle", "Transpose", (1, 2, 3, 2, 4), perm=[0, 2, 1, 3, 4])
    one("transpose_heads", "Transpose", shape, perm=[0, 2, 1, 3])
    with fixture.case("channel_shuffle") as g:
        x = g.node("Reshape", g.input("x", (1, 8, 3, 4)), g.ints(-1, 2, 4, 3, 4))
        x = g.node("Transpose", x, perm=[0, 2, 1, 3, 4])
        g.output(g.node("Reshape", x, g.ints(-1, 8, 3, 4)))
    one("gather", "Gather", (5, 4), ints(3, 0, -1))
    one("gather_axis_1", "Gather", (2, 5, 3), ints(4, 1), axis=1)
    one("gather_one", "Gather", (2, 5, 3), number(2, np.int64), axis=-1)
    one("gather_matrix_of_indices", "Gather", (5, 3), np.array([[0, 2], [4, 1]], np.int64))
    for mode in ["DCR", "CRD"]:
        one(f"depth_to_space_{mode.lower()}", "DepthToSpace", (2, 12, 3, 4), blocksize=2, mode=mode)
    one("depth_to_space_4", "DepthToSpace", (1, 48, 2, 3), blocksize=4, mode="CRD")
    one("depth_to_space_default_opset_9", "DepthToSpace", (1, 8, 2, 3), opset=9, blocksize=2)
    one("space_to_depth", "SpaceToDepth", (1, 3, 4, 6), blocksize=2)
    one("pad_opset_9", "Pad", shape, opset=9, pads=[0, 0, 1, 2, 0, 0, 0, 1])
    one("pad_opset_9_value", "Pad", shape, opset=9, pads=[0, 1, 0, 0, 0, 0, 2, 0], value=0.5)
    one("pad_opset_9_reflect", "Pad", shape, opset=9, pads=[0, 0, 1, 2, 0, 0, 3, 1], mode="reflect")
    after = ints(0, 0, 0, 0, 0, 0, 1, 1)
    one("pad", "Pad", shape, after)
    one("pad_value", "Pad", shape, ints(1, 0, 1, 0, 0, 2, 0, 1), number(-1.5))
    one("pad_reflect", "Pad", shape, ints(0, 0, 3, 2, 0, 0, 1, 4), mode="reflect")
    one("pad_edge", "Pad", shape, ints(0, 0, 3, 2, 0, 0, 1, 6), mode="edge")
    one("pad_negative", "Pad", shape, ints(0, 0, -1, 0, 0, 0, 1, -2))
    with fixture.case("pad_then_depthwise") as g:
        # The stride-2 layers of LightQNet.
        x = g.node("Pad", g.input("x", (1, 8, 8, 6)), g.constant(after))
        g.output(g.node("Conv", x, g.weight((8, 1, 3, 3)), g.weight((8,)), group=8, strides=[2, 2]))
    with fixture.case("pad_then_conv_with_a_border") as g:
        x = g.node("Pad", g.input("x", (1, 3, 5, 4)), g.constant(ints(0, 0, 2, 1, 0, 0, 0, 3)))
        g.output(g.node("Conv", x, g.weight((5, 3, 3, 3)), pads=[0, 1, 1, 0], strides=[1, 2]))
    # What is no border of zeros for one convolution must stay.
    with fixture.case("pad_with_a_value_then_conv") as g:
        x = g.input("x", (1, 3, 5, 4))
        x = g.node("Pad", x, g.constant(after), g.constant(number(0.5)))
        g.output(g.node("Conv", x, g.weight((5, 3, 3, 3))))
    with fixture.case("pad_of_channels_then_conv") as g:
        x = g.node("Pad", g.input("x", (1, 3, 5, 4)), g.constant(ints(0, 1, 0, 0, 0, 0, 1, 1)))
        g.output(g.node("Conv", x, g.weight((5, 4, 3, 3))))
    with fixture.case("pad_that_crops_then_conv") as g:
        x = g.node("Pad", g.input("x", (1, 3, 6, 7)), g.constant(ints(0, 0, -1, 1, 0, 0, 1, -2)))
        g.output(g.node("Conv", x, g.weight((5, 3, 3, 3))))
    with fixture.case("pad_read_twice") as g:
        x = g.node("Pad", g.input("x", (1, 3, 5, 4)), g.constant(after))
        g.output(g.node("Conv", x, g.weight((5, 3, 3, 3))), "convolved")
        g.output(x, "padded")
    one("expand", "Expand", (3, 1), ints(2, 3, 4))
    one("expand_by_ones", "Expand", (3, 4), ints(1, 1))
    one("identity", "Identity", (2, 3))


def reductions():
    shape = (2, 3, 4, 5)
    for operator in ["ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd"]:
        name = "reduce_" + operator.removeprefix("Reduce").lower()
        by_input = 13 if operator == "ReduceSum" else 18
        one(f"{name}_attribute", operator, shape, opset=11, axes=[1], keepdims=1)
        one(f"{name}_attribute_dropped", operator, shape, opset=11, axes=[-2, 3], keepdims=0)
        one(f"{name}_attribute_all", operator, shape, opset=11)
        one(f"{name}_input", operator, shape, ints(2, 3), opset=by_input)
        one(f"{name}_input_dropped", operator, shape, ints(-1), opset=by_input, keepdims=0)
        one(f"{name}_input_none", operator, shape, opset=by_input)
        one(f"{name}_input_noop", operator, shape, opset=by_input, noop_with_empty_axes=1)
    with fixture.case("l2_norm") as g:
        x = g.input("x", (2, 9))
        length = g.node("Sqrt", g.node("ReduceSum", g.node("Mul", x, x), g.ints(1)))
        g.output(g.node("Div", x, length))


def shapes():
    x_free = {0: "batch", 2: "h", 3: "w"}
    with fixture.case("shape", 15) as g:
        x = g.input("x", (2, 3, 4, 5), x_free)
        for bounds in [{}, {"start": 2}, {"start": -1}, {"start": 1, "end": -1}]:
            g.cast_output(g.node("Shape", x, **bounds))
    with fixture.case("shape_of_a_fixed_input", 11) as g:
        g.cast_output(g.node("Shape", g.input("x", (2, 3, 4))))
    with fixture.case("head_of_yunet", 11) as g:
        x = g.node("Transpose", g.input("x", (2, 4, 3, 5), x_free), perm=[0, 2, 3, 1])
        batch = g.node("Gather", g.node("Shape", "x"), g.constant(number(0, np.int64)), axis=0)
        batch = g.node("Unsqueeze", batch, axes=[0])
        sizes = g.node("Concat", batch, g.ints(-1), g.ints(4), axis=0)
        g.output(g.node("Sigmoid", g.node("Reshape", x, sizes)))
    with fixture.case("size_times_two", 11) as g:
        # The way of older exporters to double a picture: integers to floats and back.
        x = g.input("x", (1, 2, 3, 5), x_free)
        sides = []
        for axis in [2, 3]:
            side = g.node("Gather", g.node("Shape", x), g.constant(number(axis, np.int64)), axis=0)
            side = g.node("Mul", g.node("Cast", side, to=FLOAT), g.constant(number(2)))
            side = g.node("Cast", g.node("Floor", side), to=INT64)
            sides.append(g.node("Unsqueeze", side, axes=[0]))
        front = g.node("Slice", g.node("Shape", x), g.ints(0), g.ints(2), g.ints(0))
        sizes = g.node("Concat", front, *sides, axis=0)
        g.output(g.node("Resize", x, g.floats(), g.floats(), sizes, mode="nearest",
                        coordinate_transformation_mode="asymmetric", nearest_mode="floor"))
    with fixture.case("reshape_by_the_channels_of_another", 13) as g:
        x = g.input("x", (2, 6, 2, 2), x_free)
        channels = g.node("Div", g.node("Shape", x), g.ints(1, 2, 1, 1))
        sizes = g.node("Concat", g.node("Slice", channels, g.ints(0), g.ints(2)), g.ints(-1), axis=0)
        g.output(g.node("Reshape", x, sizes))
    with fixture.case("constant_of_shape") as g:
        x = g.input("x", (2, 3), {0: "n"})
        g.output(g.node("Add", g.node("ConstantOfShape", g.node("Shape", x)), x))
    with fixture.case("expand_to_the_shape_of_another") as g:
        x, y = g.input("x", (1, 3), None), g.input("y", (4, 3), {0: "n"})
        g.output(g.node("Expand", x, g.node("Shape", y)))
    with fixture.case("constants") as g:
        x = g.input("x", (2,))
        for value in [{"value_float": 1.5}, {"value_floats": [0.5, -2.0]}]:
            g.output(g.node("Add", x, g.node("Constant", **value)))
        for value in [{"value_int": 3}, {"value_ints": [4, -5]}]:
            g.output(g.node("Add", x, g.node("Cast", g.node("Constant", **value), to=FLOAT)))
    with fixture.case("cast") as g:
        x = g.given("x", [-2.75, -0.5, 0, 0.5, 3.99, 100.25])
        g.cast_output(g.node("Cast", x, to=INT64))
        g.cast_output(g.node("Cast", x, to=BOOL))
        g.output(g.node("Cast", x, to=FLOAT))
    with fixture.case("cast_opset_9", 9) as g:
        g.cast_output(g.node("Cast", g.given("x", [-1.5, 2.5]), to=INT64))
    one("dropout_opset_7", "Dropout", (2, 3), opset=7, ratio=0.4)
    one("dropout_opset_10", "Dropout", (2, 3), opset=10, ratio=0.4)
    one("dropout_opset_13", "Dropout", (2, 3), number(0.4), opset=13)
    with fixture.case("dropout_with_its_mask") as g:
        x, off = g.input("x", (2, 3)), g.weight(np.array(False))
        g.output(g.node("Dropout", x, g.scalar(0.4), off, outputs=2)[0])
    with fixture.case("shape_with_an_empty_part") as g:
        x = g.input("x", (2, 3, 4), {0: "n"})
        nothing = g.node("Slice", g.node("Shape", x), g.ints(1), g.ints(1))
        sizes = g.node("Concat", g.node("Shape", x, end=1), nothing, g.ints(-1), axis=0)
        g.output(g.node("Reshape", x, sizes))
    with fixture.case("several_inputs_and_outputs") as g:
        # An output that another node reads as well, and a node whose output nobody reads.
        a, b = g.input("a", (2, 3)), g.input("b", (3,))
        g.node("Relu", a)
        total = g.node("Add", a, b)
        g.output(total, "total")
        g.output(g.node("Relu", "total"), "active")
    with fixture.case("diamond") as g:
        x = g.input("x", (1, 4, 5, 5))
        left, right = g.node("Relu", x), g.node("Sigmoid", x)
        g.output(g.node("Add", g.node("Mul", left, right), left))


def main():
    for part in [convolutions, normalisations, activations, arithmetic, products, poolings, resizes,
                 layouts, reductions, shapes]:
        part()
    fixture.write()


if __name__ == "__main__":
    main()
