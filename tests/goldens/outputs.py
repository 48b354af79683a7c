"""Writes tests/fixtures/models/out_*.onnx, and outputs.json with what each of them says of outputs.png.

Small classifiers of 32 x 32 images over 0 to 1 with every form of output that graft knows, among them int8 models as
onnxruntime.quantization makes them, and graphs that are no classifiers. Quantised weights have 7 bits: with 8, sums saturate on
processors without VNNI, and ONNX Runtime gives other scores there. The scores are computed here with numpy from ONNX Runtime's
own numbers. The models without `out_` and outputs.png came from elsewhere; this script only runs them.
Run from the repository's root with Python's onnx 1.23, onnxruntime 1.32, numpy and pillow: python tests/goldens/outputs.py
"""

import json
import pathlib
import tempfile

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static
from PIL import Image

MODELS = pathlib.Path(__file__).resolve().parent.parent / "fixtures" / "models"
IMAGE = np.asarray(Image.open(MODELS / "outputs.png").convert("RGB"), np.float32)
INPUT = (IMAGE * np.float32(1 / 255)).transpose(2, 0, 1)[None]
RANDOM = np.random.default_rng(11)
TRUNK = {
    "kernel": RANDOM.normal(0, 0.4, (8, 3, 3, 3)).astype(np.float32),
    "matrix": RANDOM.normal(0, 4, (8, 5)).astype(np.float32),
    "column": RANDOM.normal(0, 4, (8, 1)).astype(np.float32),
    "last": np.array([-1]),
    "second": np.array([1]),
    "one": np.float32(1),
}
# Two classifiers' weights in an ensemble, and which of five classes two coarser ones hold.
WEIGHTS = {
    "weights": np.float32([[[0.4, 0.6]]]),
    "coarse": np.float32([[1, 0], [0, 1], [1, 0], [0, 1], [1, 0]]),
    "zero": np.int64(0),
    "first": np.array([0]),
    "from": np.array([1]),
    "to": np.array([5]),
}


def node(operator, inputs, outputs, domain="", **attributes):
    return helper.make_node(operator, inputs.split(), outputs.split(), domain=domain, **attributes)


def model(tail, outputs, opset=17):
    """The trunk up to `logits` of five classes, `logit` of one and the map `relu`, then the nodes `tail`."""
    nodes = [
        node("Conv", "image kernel", "conv", strides=[2, 2]),
        node("Relu", "conv", "relu"),
        node("GlobalAveragePool", "relu", "mean"),
        node("Flatten", "mean", "features"),
        node("MatMul", "features matrix", "logits"),
        node("MatMul", "features column", "logit"),
        *tail,
    ]
    needed, kept = {name for name, *_ in outputs}, []
    for made in reversed(nodes):
        if needed & set(made.output):
            needed |= set(made.input)
            kept.insert(0, made)
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in TRUNK.items() if name in needed]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, 32, 32])
    values = [v if isinstance(v, onnx.ValueInfoProto) else helper.make_tensor_value_info(v[0], v[1], v[2]) for v in map(typed, outputs)]
    graph = helper.make_graph(kept, "outputs", [image], values, tensors)
    domains = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, ir_version=8, opset_imports=domains)


def typed(output):
    name, kind, shape = output
    if kind != "maps":
        return output
    mapped = helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
    return helper.make_value_info(name, helper.make_sequence_type_proto(mapped))


def floats(name, *shape):
    return [(name, TensorProto.FLOAT, ["N", *(shape or (5,))])]


class Calibration(CalibrationDataReader):
    def __init__(self):
        images = [INPUT, *(RANDOM.random((8, 1, 3, 32, 32), np.float32))]
        self.images = iter([{"image": image.reshape(1, 3, 32, 32)} for image in images])

    def get_next(self):
        return next(self.images, None)


def quantized(source, **options):
    with tempfile.TemporaryDirectory() as folder:
        paths = [f"{folder}/float.onnx", f"{folder}/int8.onnx"]
        onnx.save(source, paths[0])
        if options:
            quantize_static(paths[0], paths[1], Calibration(), **options)
        else:
            quantize_dynamic(paths[0], paths[1], reduce_range=True)
        return onnx.load(paths[1])


def without_last_dequantize(source):
    """The model with its quantised tensor as its output: uint8 or int8."""
    last = source.graph.node[-1]
    assert last.op_type == "DequantizeLinear", last.op_type
    zero = next(tensor for tensor in source.graph.initializer if tensor.name == last.input[2])
    source.graph.node.remove(last)
    source.graph.output[0].CopyFrom(helper.make_tensor_value_info(last.input[0], zero.data_type, ["N", 5]))
    return source


def classifiers():
    """Name, model, and the kind of its output."""
    softmax = node("Softmax", "logits", "p", axis=1)
    exp = [node("ReduceMax", "logits", "m", axes=[1]), node("Sub", "logits m", "d"), node("Exp", "d", "e"), node("ReduceSum", "e last", "s")]
    sigmoid = [node("Neg", "logits", "n"), node("Exp", "n", "e"), node("Add", "e one", "s"), node("Div", "one s", "y")]
    columns = [node("Sigmoid", "logit", "p"), node("Sub", "one p", "q"), node("Concat", "q p", "y", axis=1)]
    both = dict(per_channel=True, weight_type=QuantType.QInt8, reduce_range=True)
    static, signed = dict(activation_type=QuantType.QUInt8, **both), dict(activation_type=QuantType.QInt8, **both)
    operators, qdq = dict(quant_format=QuantFormat.QOperator), dict(quant_format=QuantFormat.QDQ)
    scored = model([softmax], floats("p"))
    plain = model([], floats("logits"))
    yield "log_softmax", model([node("LogSoftmax", "logits", "y")], floats("y")), "log_probabilities"
    yield "softmax_written_out", model([*exp, node("Div", "e s", "y")], floats("y")), "probabilities"
    yield "log_softmax_written_out", model([*exp, node("Log", "s", "l"), node("Sub", "d l", "y")], floats("y")), "log_probabilities"
    yield "softmax_of_opset_11", model([node("Softmax", "logits", "y")], floats("y"), 11), "probabilities"
    yield "softmax_over_channels", model([node("Conv", "image wide", "map"), node("Softmax", "map", "p", axis=1), node("GlobalAveragePool", "p", "a"), node("Flatten", "a", "y")], floats("y")), "probabilities"
    yield "multi_label", model([node("Sigmoid", "logits", "y")], floats("y")), "independent"
    yield "sigmoid_written_out", model(sigmoid, floats("y")), "independent"
    yield "binary_columns", model(columns, floats("y", 2)), "probabilities"
    yield "one_logit", model([], floats("logit", 1)), "binary_logit"
    yield "float64", model([softmax, node("Cast", "p", "y", to=TensorProto.DOUBLE)], [("y", TensorProto.DOUBLE, ["N", 5])]), "probabilities"
    yield "unknown_operators", model([node("Softmax", "logits", "p", axis=1), node("Pow", "p one", "y")], floats("y")), "probabilities"
    members = [softmax, node("Mul", "logits half", "l2"), node("Softmax", "l2", "p2", axis=1), node("Unsqueeze", "p second", "m1"), node("Unsqueeze", "p2 second", "m2"), node("Concat", "m1 m2", "members", axis=1)]
    yield "ensemble_by_matrix", model([*members, node("MatMul", "weights members", "w"), node("Squeeze", "w second", "y")], floats("y")), "probabilities"
    yield "coarse_classes", model([softmax, node("MatMul", "p coarse", "y")], floats("y", 2)), "probabilities"
    yield "log_softmax_sliced", model([node("LogSoftmax", "logits", "l"), node("Slice", "l from to second", "y")], floats("y", 4)), "log_probabilities"
    yield "sums_over_the_batch", model([node("CumSum", "logits zero", "s"), node("Softmax", "s", "y", axis=1)], floats("y")), "probabilities"
    yield "first_of_the_batch", model([node("Slice", "logits first second first", "s"), node("Softmax", "s", "y", axis=1)], floats("y")), "probabilities"
    yield "dynamic_int8", quantized(plain), "logits"
    for name, kind, options in [("u8s8", static, operators), ("s8s8", signed, operators), ("qdq_u8s8", static, qdq), ("qdq_s8s8", signed, qdq)]:
        yield f"{name}_softmax", quantized(scored, **kind, **options), "probabilities"
        yield f"{name}_logits", quantized(plain, **kind, **options), "logits"
    yield "u8s8_uint8_output", without_last_dequantize(quantized(scored, **static, **operators)), "probabilities"
    yield "s8s8_int8_output", without_last_dequantize(quantized(scored, **signed, **operators)), "probabilities"


def others():
    """Name, model, and words of the refusal."""
    integers = lambda name, *shape: [(name, TensorProto.INT64, ["N", *shape])]
    label = node("ArgMax", "logits", "label", axis=1, keepdims=0)
    maps = node("ZipMap", "logits", "maps", "ai.onnx.ml", classlabels_int64s=[0, 1, 2, 3, 4])
    yield "label", model([label], integers("label")), "`label` is int64, which ArgMax makes of `logits`: numbers of classes"
    yield "zip_map", model([maps], [("maps", "maps", None)]), "`maps` is a sequence of maps, which ZipMap makes of `logits`"
    yield "label_and_scores", model([label, node("Softmax", "logits", "p")], [*integers("label"), *floats("p")]), "`label` (int64 N), `p` (float32 N×5)"
    yield "boxes", model([node("Reshape", "relu rows", "boxes")], floats("boxes", 300, 6)), "`boxes` is a table of 300×6 an image"
    yield "squeezed", model([node("Squeeze", "logits", "y")], [("y", TensorProto.FLOAT, ["C"])]), "which must come first"
    yield "one_softmax", model([node("Softmax", "logit", "y", axis=1)], floats("y", 1)), "a softmax over a single value"
    yield "label_as_float", model([node("ArgMax", "logits", "label", axis=1, keepdims=1), node("Cast", "label", "y", to=TensorProto.FLOAT)], floats("y", 1)), "`y` is the number of a class (ArgMax), not its score"
    yield "best_score", model([node("Softmax", "logits", "p", axis=1), node("ReduceMax", "p", "y", axes=[1])], floats("y", 1)), "`y` is the score of one class alone"
    yield "unit_length", model([node("LpNormalization", "logits", "y", axis=1, p=2)], floats("y")), "`y` is scaled to a length of 1, as embeddings are"
    norm = [node("Mul", "logits logits", "squares"), node("ReduceSum", "squares second", "sum"), node("Sqrt", "sum", "length"), node("Div", "logits length", "y")]
    yield "unit_length_written_out", model(norm, floats("y")), "`y` is scaled to a length of 1, as embeddings are"
    yield "softmax_over_the_batch", model([node("Softmax", "logits", "y", axis=0)], floats("y")), "`y` is 1 for every class and image"
    yield "cast_to_uint8", model([node("Cast", "logits", "y", to=TensorProto.UINT8)], [("y", TensorProto.UINT8, ["N", 5])]), "does not say with what scale"


def scores(raw, kind):
    raw = raw.astype(np.float64)
    if kind == "logits":
        raw = np.exp(raw - raw.max())
        return raw / raw.sum()
    if kind == "log_probabilities":
        return np.exp(raw)
    if kind == "binary_logit":
        raw = 1 / (1 + np.exp(-raw))
    return np.concatenate([1 - raw, raw]) if kind.startswith("binary") else raw


def answer(path, kind, output=None):
    session = onnxruntime.InferenceSession(str(path))
    feed = {session.get_inputs()[0].name: INPUT}
    output = output or session.get_outputs()[0].name
    loaded = onnx.load(path)
    raw = session.run([output], feed)[0][0]
    if raw.dtype in (np.uint8, np.int8):
        scale, zero = scale_of(loaded, output)
        raw = (raw.astype(np.float32) - zero) * scale
    return {"kind": kind, "raw": [float(v) for v in raw], "scores": [float(np.float32(v)) for v in scores(raw, kind)]}


def scale_of(loaded, output):
    """Scale and zero point of a quantised output, from the operator that makes it."""
    made = next(node for node in loaded.graph.node if output in node.output)
    position = {"QuantizeLinear": 1, "QLinearSoftmax": 3}[made.op_type]
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in loaded.graph.initializer}
    return [np.float32(tensors[made.input[position + step]]) for step in (0, 1)]


if __name__ == "__main__":
    TRUNK["wide"] = RANDOM.normal(0, 2, (5, 3, 1, 1)).astype(np.float32)
    TRUNK["rows"] = np.array([-1, 300, 6])
    TRUNK |= {"half": np.float32(0.5), **WEIGHTS}
    written = {}
    for name, made, kind in classifiers():
        path = MODELS / f"out_{name}.onnx"
        path.write_bytes(made.SerializeToString(deterministic=True))
        written[f"out_{name}"] = answer(path, kind)
        written[f"out_{name}"]["found_by"] = "probe" if name in ("binary_columns", "unknown_operators", "ensemble_by_matrix", "coarse_classes") else "graph"
    for name, made, words in others():
        (MODELS / f"out_{name}.onnx").write_bytes(made.SerializeToString(deterministic=True))
        written[f"out_{name}"] = {"refused": words}
    kinds = {"softmax_cast": "probabilities", "softmax_squeeze": "probabilities", "int8_qdq": "probabilities"}
    for name, kind in {**kinds, "fp16_inside": "probabilities", "sigmoid_binary": "binary", "logits": "logits"}.items():
        written[name] = {**answer(MODELS / f"{name}.onnx", kind), "found_by": "graph"}
    written["segmentation"] = {"refused": "`c0` is a map, 8 values for each of 16×16 places"}
    written["two_outputs"] = {"refused": "`logits` (float32 N×5), `prob` (float32 N×5)"}
    (MODELS / "outputs.json").write_text(json.dumps(written, indent=1, ensure_ascii=False) + "\n")
