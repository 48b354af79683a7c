"""Writes tests/fixtures/inputs: small classifiers with inputs of every kind, and what ONNX Runtime says of one image.

Run `python tests/goldens/inputs.py` from the repository's root with Keras 3, TensorFlow, Pillow, onnx and onnxruntime installed.
The image is `image.png`, and `image_16.png` of 16-bit grey; Keras's `load_img` makes it what a model takes, in colour or grey,
with its nearest neighbour. `expected.json` has for each model the settings of the import, the size, and the output.
`nhwc_normalize_then_transpose` and `uint8_nhwc` are not written here: they were made by hand, with `input.png`.
"""

import json
import os
import pathlib

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

OUT = pathlib.Path("tests/fixtures/inputs")
random = np.random.default_rng(11)


def image():
    y, x = np.mgrid[0:40, 0:48]
    planes = np.stack([x * 5, 255 - y * 6, (x * 7 + y * 3) % 256], axis=-1) + random.integers(-15, 16, (40, 48, 3))
    Image.fromarray(planes.clip(0, 255).astype(np.uint8)).save(OUT / "image.png")
    Image.fromarray(((x * 9 + y * 2) * 1).astype(np.uint16)).save(OUT / "image_16.png")


def classifier(name, kind, shape, channels, last, flatten=None):
    """A convolution, Relu, mean over positions (or Flatten of `flatten` values) and a matrix of four classes."""
    weights = {"w": random.normal(0, 0.3, (5, channels, 3, 3)), "m": random.normal(0, 0.5, (flatten or 5, 4))}
    nodes, now = [], "x"
    if kind != TensorProto.FLOAT:
        nodes.append(helper.make_node("Cast", [now], ["float"], to=TensorProto.FLOAT))
        now = "float"
    if last:
        nodes.append(helper.make_node("Transpose", [now], ["first"], perm=[0, 3, 1, 2]))
        now = "first"
    nodes.append(helper.make_node("Conv", [now, "w"], ["conv"], pads=[1, 1, 1, 1], strides=[2, 2]))
    nodes.append(helper.make_node("Relu", ["conv"], ["relu"]))
    if flatten is None:
        nodes.append(helper.make_node("GlobalAveragePool", ["relu"], ["mean"]))
    nodes.append(helper.make_node("Flatten", ["relu" if flatten else "mean"], ["vector"]))
    nodes.append(helper.make_node("MatMul", ["vector", "m"], ["logits"]))
    stored = [numpy_helper.from_array(value.astype(np.float32), key) for key, value in weights.items()]
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 4])],
        stored,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, OUT / f"{name}.onnx")
    return model


def loaded(size, grey, source="image.png"):
    mode = "grayscale" if grey else "rgb"
    picture = keras.utils.load_img(OUT / source, color_mode=mode, target_size=size)
    return keras.utils.img_to_array(picture)[None]


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    image()
    f32, u8, i64, f64, f16 = (getattr(TensorProto, kind) for kind in ("FLOAT", "UINT8", "INT64", "DOUBLE", "FLOAT16"))
    one = 1 / 255
    models = {
        "grey_nchw": (f32, ["N", 1, 28, 28], 1, False, one, (28, 28), None),
        "grey_nhwc": (f32, ["N", 28, 20, 1], 1, True, one, (28, 20), None),
        "grey_nhwc_open": (f32, ["N", "h", "w", 1], 1, True, one, (224, 224), None),
        "grey_all_open": (f32, ["N", "a", "b", "c"], 1, True, one, (224, 224), None),
        "grey_uint8": (u8, ["N", 28, 28, 1], 1, True, 1, (28, 28), None),
        "colours_int64": (i64, ["N", 3, 24, 24], 3, False, 1, (24, 24), None),
        "colours_float64": (f64, ["N", 24, 24, 3], 3, True, one, (24, 24), None),
        "colours_float16": (f16, ["N", 3, 24, 24], 3, False, one, (24, 24), None),
        "colours_open": (f32, ["N", 3, "h", "w"], 3, False, one, (224, 224), None),
        "colours_one_side": (f32, ["N", 3, 40, "w"], 3, False, one, (40, 40), None),
        "colours_of_64": (f32, ["N", 3, "h", "w"], 3, False, one, (64, 64), 32 * 32 * 5),
    }
    expected = {}
    for name, (kind, shape, channels, last, scale, size, flatten) in models.items():
        model = classifier(name, kind, shape, channels, last, flatten)
        values = loaded(size, channels == 1) * np.float32(scale)
        values = values if last else values.transpose(0, 3, 1, 2)
        session = onnxruntime.InferenceSession(model.SerializeToString())
        [output] = session.run(None, {"x": values.astype(helper.tensor_dtype_to_np_dtype(kind))})
        expected[name] = dict(scale=scale, size=size, channels=channels, logits=[float(f"{v:.7g}") for v in output[0]])
    classifier("four_channels", f32, ["N", 4, 24, 24], 4, False)
    grey = {source: loaded((9, 7), True, source)[0, :, :, 0].astype(int).tolist() for source in ("image.png", "image_16.png")}
    (OUT / "expected.json").write_text(json.dumps(dict(models=expected, grey=grey), indent=1) + "\n")


if __name__ == "__main__":
    main()
