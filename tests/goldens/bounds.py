"""Writes tests/fixtures/bounds/*.onnx: classifiers of 8 x 8 images that ask for more memory than any machine should give them.

`constant_*` make a constant of 2^32 values, which ONNX Runtime would compute when it makes a session; `run_*` make one in a run.
Run from the repository's root with Python's onnx 1.23 and numpy: python tests/goldens/bounds.py
"""

import pathlib

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "fixtures" / "bounds"
LARGE = 1 << 32


def node(operator, inputs, outputs, **attributes):
    return helper.make_node(operator, inputs.split(" ") if inputs else [], outputs.split(), name=outputs.split()[0], **attributes)


def write(name, nodes, **tensors):
    """`nodes` make `addend`, one number, or `image` from `input`; the rest is a classifier of mean colours."""
    image = "image" if any("image" in made.output for made in nodes) else "input"
    nodes = nodes + [node("GlobalAveragePool", image, "pool"), node("Flatten", "pool", "colours")]
    logits = "colours"
    if any("addend" in made.output for made in nodes):
        nodes.append(node("Add", "colours addend", "shifted"))
        logits = "shifted"
    nodes.append(node("Softmax", logits, "scores"))
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3, 8, 8])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(np.asarray(tensor), name) for name, tensor in tensors.items()],
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), FOLDER / f"{name}.onnx")


def main():
    FOLDER.mkdir(exist_ok=True)
    largest = node("ReduceMax", "huge", "addend", keepdims=0)
    shape = np.array([LARGE])
    write("constant_of_shape", [node("ConstantOfShape", "shape", "huge"), largest], shape=shape)
    write("constant_expand", [node("Expand", "one shape", "huge"), largest], one=np.ones(1, np.float32), shape=shape)
    write("constant_tile", [node("Tile", "one shape", "huge"), largest], one=np.ones(1, np.float32), shape=shape)
    write("constant_random", [node("RandomNormal", "", "huge", shape=[LARGE]), largest])
    # Sixteen that are allowed each, and differ.
    value = lambda index: numpy_helper.from_array(np.array([index], np.float32))
    parts = [node("ConstantOfShape", "shape", f"part{index}", value=value(index)) for index in range(16)]
    parts.append(node("Max", " ".join(f"part{index}" for index in range(16)), "huge"))
    write("constant_many", [*parts, largest], shape=np.array([1 << 24]))
    scales = np.array([1, 1, 5000, 5000], np.float32)
    write("run_resize", [node("Resize", "input  scales", "image", mode="nearest")], scales=scales)
    pads = np.array([0, 0, 0, 0, 0, 0, 1 << 16, 1 << 16])
    body = helper.make_graph(
        [node("Identity", "condition", "again"), node("Add", "sum sum", "next")],
        "body",
        [
            helper.make_tensor_value_info("round", TensorProto.INT64, []),
            helper.make_tensor_value_info("condition", TensorProto.BOOL, []),
            helper.make_tensor_value_info("sum", TensorProto.FLOAT, []),
        ],
        [
            helper.make_tensor_value_info("again", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, []),
        ],
    )
    rounds = [node("ReduceMax", "input", "largest", keepdims=0), node("Loop", "rounds  largest", "addend", body=body)]
    write("run_loop", rounds, rounds=np.array(1 << 62))
    write("run_pad", [node("Pad", "input pads", "image")], pads=pads)


main()
