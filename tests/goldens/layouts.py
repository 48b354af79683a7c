"""Writes tests/fixtures/layouts: tiny networks with random weights, exported to ONNX, and what PyTorch says of their layers.

Run `python tests/goldens/layouts.py` from the repository's root with torch, timm, onnx, onnxscript and onnxruntime installed.
`NAME.onnx` takes N×3×32×32 in float32. `expected.json` has, for every module whose output a tensor of the graph holds, the
tensor's name, the shape in which it is to be shown (height, width, channel; token, channel) and the mean of each channel over
the positions; and the tensors of rank 4 and more that are no map at all. The image is `(x · 7 + y · 5 + channel · 90) mod 256`
in a square of 32 pixels, over 255.
`--check DIR` instead reads `NAME.onnx` and `NAME.npz` in DIR, larger networks with the outputs of their modules, and writes
`NAME.json` there, of the same form.
"""

import json
import pathlib
import re
import sys
import warnings

import numpy as np
import onnx
import onnxruntime
import timm
import torch

OUT = pathlib.Path("tests/fixtures/layouts")
SIDE = 32
NETWORKS = {
    "convnext": ("convnext_atto", dict(depths=(1, 1, 1, 1), dims=(4, 6, 8, 10), kernel_sizes=3, conv_mlp=False)),
    "swin": (
        "swin_tiny_patch4_window7_224",
        dict(img_size=SIDE, patch_size=2, window_size=4, embed_dim=8, depths=(2, 2), num_heads=(2, 4)),
    ),
    "vit": ("vit_tiny_patch16_224", dict(img_size=SIDE, patch_size=8, embed_dim=12, depth=1, num_heads=2)),
}


def picture():
    y, x, channel = np.mgrid[0:SIDE, 0:SIDE, 0:3]
    return ((x * 7 + y * 5 + channel * 90) % 256).astype(np.uint8)


def shown(network, module, output):
    """`output` of `module` as height, width, channel or token, channel; None for what is no map."""
    if output.ndim != 4:
        return output[0] if output.ndim < 4 else None
    if ".attn." in module:
        return None
    if network == "convnext":
        last = ".mlp" in module or re.search(r"blocks\.\d+\.norm", module)
    else:
        last = module != "patch_embed.proj"
    return output[0] if last else output[0].transpose(1, 2, 0)


def outputs(path, image):
    model = onnx.load(path)
    names = [name for node in model.graph.node if node.op_type != "Constant" for name in node.output if name]
    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    values = session.run(None, {session.get_inputs()[0].name: image})
    return dict(zip(names, values))


def expected(network, path, image, modules):
    tensors = {name: value for name, value in outputs(path, image).items() if getattr(value, "dtype", None) == np.float32}
    ordered = {name: np.sort(value, axis=None) for name, value in tensors.items()}
    layers = []
    seen = set()
    for module, output in modules.items():
        if output.ndim < 2 or output.shape[0] != 1:
            continue
        wanted = shown(network, module, output)
        if wanted is None:
            continue
        key = np.sort(output, axis=None)
        for name, value in ordered.items():
            same_axes = sorted(tensors[name].shape) == sorted(output.shape)
            if name not in seen and same_axes and np.allclose(value, key, rtol=1e-4, atol=1e-5):
                seen.add(name)
                pooled = wanted.reshape(-1, wanted.shape[-1]).mean(0) if wanted.ndim > 1 else wanted
                layers.append(dict(module=module, tensor=name, shape=list(wanted.shape), pooled=[float(f"{v:.6g}") for v in pooled]))
    deep = {name: list(value.shape[1:]) for name, value in tensors.items() if value.ndim > 4 and value.shape[0] == 1}
    return dict(layers=layers, no_maps=sorted(deep))


def hooked(model, image):
    modules = {}

    def keep(name):
        return lambda _, __, output: modules.__setitem__(name, output.detach().numpy()) if torch.is_tensor(output) else None

    for name, module in model.named_modules():
        if name:
            module.register_forward_hook(keep(name))
    with torch.no_grad():
        model(torch.from_numpy(image))
    return modules


def write():
    OUT.mkdir(parents=True, exist_ok=True)
    image = (picture().transpose(2, 0, 1)[None] / np.float32(255)).astype(np.float32)
    found = {}
    for name, (kind, options) in NETWORKS.items():
        torch.manual_seed(7)
        model = timm.create_model(kind, num_classes=5, **options).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.normal_(0, 0.2)
        modules = hooked(model, image)
        example = torch.from_numpy(image)
        for exporter in ("torchscript", "dynamo"):
            path = OUT / f"{name}_{exporter}.onnx"
            if exporter == "dynamo":
                torch.onnx.export(model, (example,), path, dynamo=True, input_names=["x"], external_data=False, verbose=False)
                strip(path)
            else:
                axes = {"x": {0: "batch"}}
                torch.onnx.export(model, example, path, dynamo=False, input_names=["x"], dynamic_axes=axes, opset_version=17)
            found[path.stem] = expected(name, path, image, modules)
            print(path, path.stat().st_size, len(found[path.stem]["layers"]), "layers")
    (OUT / "expected.json").write_text(json.dumps(found, indent=None, separators=(",", ":")) + "\n")


def strip(path):
    """Without the exporter's notes of where in its sources each node comes from."""
    model = onnx.load(path)
    del model.metadata_props[:]
    for thing in (*model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output, *model.graph.initializer):
        thing.ClearField("doc_string")
        del thing.metadata_props[:]
    onnx.save(model, path)


def check(folder):
    for stored in sorted(folder.glob("*.npz")):
        modules = dict(np.load(stored))
        image = modules.pop("x")
        for path in sorted(folder.glob(f"{stored.stem}_*.onnx")):
            found = expected(stored.stem.split("_")[0], path, image, modules)
            path.with_suffix(".json").write_text(json.dumps(found))
            print(path, len(found["layers"]), "layers")


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    if sys.argv[1:2] == ["--check"]:
        check(pathlib.Path(sys.argv[2]))
    else:
        write()
