"""Writes tests/fixtures/models/*.onnx: classifiers so small and so plain that a test can tell their answers by hand.

`colours` passes pixels through unchanged up to `relu` and scores the mean colour; its last class ties with its second.
`colours_pair` is the same with the batch fixed at two. `slow` computes for as long as the brightest pixel says: not at
all for a black image. `leaky` has an operator without a gradient. Run from the repository's root with Python's onnx 1.23: python tests/goldens/classifiers.py
"""

import pathlib

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

MODELS = pathlib.Path(__file__).resolve().parent.parent / "fixtures" / "models"
SIDE = 8
# Rows are classes (red, green, blue, lime), columns the mean of red, green and blue, 0 to 255.
CLASSES = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 1, 0]], dtype=np.float32) / 64
# Rounds of the slow model's loop per level of the brightest pixel.
ROUNDS_PER_LEVEL = 8000


def node(operator, inputs, output, **attributes):
    return helper.make_node(operator, inputs.split(), [output], **attributes)


def tensor(name, values):
    return numpy_helper.from_array(np.asarray(values), name)


def head(features):
    """Global average pooling, a matrix and a softmax over a map of three channels."""
    return [
        node("GlobalAveragePool", features, "mean"),
        node("Flatten", "mean", "embedding"),
        node("Gemm", "embedding classes", "logits", transB=1),
        node("Softmax", "logits", "scores", axis=1),
    ]


def write(name, nodes, tensors, batch="batch"):
    value = lambda name, *shape: helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, *shape])
    graph = helper.make_graph(
        nodes, name, [value("image", 3, SIDE, SIDE)], [value("scores", 4)], [tensor("classes", CLASSES), *tensors]
    )
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    onnx.checker.check_model(model, full_check=True)
    (MODELS / f"{name}.onnx").write_bytes(model.SerializeToString(deterministic=True))


def colours(name, batch):
    tensors = [
        tensor("identity", np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1)),
        # Powers of two: `dim` is `conv` again, bit for bit, while `bright` is more than float16 holds.
        tensor("up", np.float32(1024)),
        tensor("down", np.float32(1 / 1024)),
    ]
    nodes = [
        node("Conv", "image identity", "conv"),
        node("Mul", "conv up", "bright"),
        node("Mul", "bright down", "dim"),
        node("Relu", "dim", "relu"),
    ]
    write(name, nodes + head("relu"), tensors, batch)


def leaky():
    """Two convolutions with an operator between them that graft knows no gradient of."""
    tensors = [
        tensor("first", np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1)),
        tensor("second", np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1)),
    ]
    nodes = [
        node("Conv", "image first", "conv"),
        node("LeakyRelu", "conv", "leaky"),
        node("Conv", "leaky second", "conv_1"),
    ]
    write("leaky", nodes + head("conv_1"), tensors)


def slow():
    any_shape = [None] * 4
    body = helper.make_graph(
        [node("Identity", "going", "goes_on"), node("Tanh", "map", "next_map")],
        "round",
        [
            helper.make_tensor_value_info("round", TensorProto.INT64, []),
            helper.make_tensor_value_info("going", TensorProto.BOOL, []),
            helper.make_tensor_value_info("map", TensorProto.FLOAT, any_shape),
        ],
        [
            helper.make_tensor_value_info("goes_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next_map", TensorProto.FLOAT, any_shape),
        ],
    )
    nodes = [
        node("ReduceMax", "image", "peak", keepdims=0),
        node("Mul", "peak rounds_per_level", "product"),
        node("Cast", "product", "rounds", to=TensorProto.INT64),
        node("Loop", "rounds yes image", "looped", body=body),
    ]
    tensors = [tensor("rounds_per_level", np.float32(ROUNDS_PER_LEVEL)), tensor("yes", np.array(True))]
    write("slow", nodes + head("looped"), tensors)


if __name__ == "__main__":
    MODELS.mkdir(exist_ok=True)
    colours("colours", "batch")
    colours("colours_pair", 2)
    leaky()
    slow()
