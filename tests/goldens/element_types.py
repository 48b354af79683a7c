"""Writes tests/fixtures/models/{half_convolutions,double_dense,bfloat16_weights}.onnx: classifiers that compute or store in other types.

`half_convolutions` is float16 from its first convolution to its softmax, with batch normalisations and a residual block, as
onnxconverter-common leaves models; `double_dense` has a hidden layer in float64 between a float32 convolution and a float32
classifier; `bfloat16_weights` stores bfloat16 and casts it on the way in.
Run from the repository's root with Python's onnx 1.23 and numpy: python tests/goldens/element_types.py
"""

import pathlib

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

MODELS = pathlib.Path(__file__).resolve().parent.parent / "fixtures" / "models"
SIDE = 32
CLASSES = 5
RANDOM = np.random.default_rng(12)


def node(operator, inputs, output, **attributes):
    return helper.make_node(operator, inputs.split(), [output], **attributes)


def drawn(name, *shape, scale=0.3, kind=np.float32):
    return numpy_helper.from_array(RANDOM.normal(0, scale, shape).astype(kind), name)


def write(name, nodes, tensors):
    value = lambda name, *shape: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *shape])
    graph = helper.make_graph(nodes, name, [value("image", 3, SIDE, SIDE)], [value("scores", CLASSES)], tensors)
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    onnx.checker.check_model(model, full_check=True)
    (MODELS / f"{name}.onnx").write_bytes(model.SerializeToString(deterministic=True))


def half_convolutions():
    half = np.float16

    def normalised(index, channels):
        statistics = [
            drawn(f"gamma{index}", channels, kind=half),
            drawn(f"beta{index}", channels, kind=half),
            drawn(f"mean{index}", channels, scale=0.1, kind=half),
            numpy_helper.from_array(RANDOM.uniform(0.5, 1.5, channels).astype(half), f"variance{index}"),
        ]
        return node("BatchNormalization", f"conv{index} " + " ".join(one.name for one in statistics), f"norm{index}"), statistics

    norms = [normalised(index, 8) for index in range(3)]
    nodes = [
        node("Cast", "image", "half", to=TensorProto.FLOAT16),
        node("Conv", "half kernel0", "conv0", strides=[2, 2], pads=[1] * 4),
        norms[0][0],
        node("Relu", "norm0", "relu0"),
        node("Conv", "relu0 kernel1", "conv1", pads=[1] * 4),
        norms[1][0],
        node("Relu", "norm1", "relu1"),
        node("Conv", "relu1 kernel2", "conv2", pads=[1] * 4),
        norms[2][0],
        node("Add", "norm2 relu0", "sum"),
        node("Relu", "sum", "relu2"),
        node("GlobalAveragePool", "relu2", "pooled"),
        node("Flatten", "pooled", "features"),
        node("Gemm", "features matrix bias", "logits"),
        node("Softmax", "logits", "probabilities", axis=1),
        node("Cast", "probabilities", "scores", to=TensorProto.FLOAT),
    ]
    tensors = [drawn("kernel0", 8, 3, 3, 3, kind=half)]
    tensors += [drawn(f"kernel{index}", 8, 8, 3, 3, scale=0.1, kind=half) for index in (1, 2)]
    tensors += [drawn("matrix", 8, CLASSES, kind=half), drawn("bias", CLASSES, kind=half)]
    write("half_convolutions", nodes, tensors + [tensor for _, statistics in norms for tensor in statistics])


def double_dense():
    nodes = [
        node("Conv", "image kernel", "conv", strides=[2, 2]),
        node("Relu", "conv", "relu"),
        node("GlobalAveragePool", "relu", "pooled"),
        node("Flatten", "pooled", "vector"),
        node("Cast", "vector", "double", to=TensorProto.DOUBLE),
        node("Gemm", "double hidden", "wide"),
        node("Cast", "wide", "features", to=TensorProto.FLOAT),
        node("Gemm", "features matrix", "logits"),
        node("Softmax", "logits", "scores", axis=1),
    ]
    tensors = [drawn("kernel", 8, 3, 3, 3), drawn("hidden", 8, 6, kind=np.float64), drawn("matrix", 6, CLASSES)]
    write("double_dense", nodes, tensors)


def bfloat16_weights():
    def short(name, *shape):
        values = RANDOM.normal(0, 0.3, shape).astype(np.float32)
        # The upper half of a float32.
        raw = (values.view(np.uint32) >> 16).astype(np.uint16).tobytes()
        return helper.make_tensor(name, TensorProto.BFLOAT16, shape, raw, raw=True)

    nodes = [
        node("Cast", "kernel", "kernel32", to=TensorProto.FLOAT),
        node("Cast", "matrix", "matrix32", to=TensorProto.FLOAT),
        node("Conv", "image kernel32", "conv", strides=[2, 2]),
        node("Relu", "conv", "relu"),
        node("GlobalAveragePool", "relu", "pooled"),
        node("Flatten", "pooled", "features"),
        node("MatMul", "features matrix32", "logits"),
        node("Softmax", "logits", "scores", axis=1),
    ]
    write("bfloat16_weights", nodes, [short("kernel", 8, 3, 3, 3), short("matrix", 8, CLASSES)])


if __name__ == "__main__":
    half_convolutions()
    double_dense()
    bfloat16_weights()
