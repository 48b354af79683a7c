"""Compares graft's EfficientNet-Lite0 with PyTorch, layer by layer, through the command line.

    python tests/parity/lite0.py --graft target/release/graft --weights FILE.safetensors --photos FOLDER

Needs torch, numpy and pillow. The reference is written here, in torch's functions, from the names and tensors of the state
dict (--checkpoint: the .pth that it comes from; otherwise the safetensors file that graft imports), with TensorFlow's SAME
padding computed from sizes. Photos are given to graft as PNG, upright. Exits with 1 when a layer is above the tolerance, a
class differs, or graft's list of layers is not this one.
"""

from __future__ import annotations

import argparse
import json
import os
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps

TOLERANCE = 1e-4
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")
# Repeats, side of the kernel, stride, expansion, output channels.
STAGES = [(1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192), (1, 3, 1, 6, 320)]
# These are asked for one by one as well: a session for one layer is another graph than that for all.
ALONE = ["stem_conv_pad", "block2a_dwconv_pad", "block2b_drop", "block3b_add", "block6d_add", "top_activation", "avg_pool", "top_dropout", "predictions"]


class Reference:
    """Every layer's output for one image, by Keras's names, in PyTorch's order of axes."""

    def __init__(self, state: dict[str, torch.Tensor], dtype: torch.dtype) -> None:
        self.state = {name: tensor.to(dtype) for name, tensor in state.items() if tensor.is_floating_point()}
        self.layers: dict[str, torch.Tensor] = {}

    def keep(self, name: str, x: torch.Tensor) -> torch.Tensor:
        self.layers[name] = x
        return x

    def run(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        self.layers = {}
        x = self.keep("input_layer", x)
        x = self.conv("stem_conv", "_conv_stem", x, 2)
        x = self.relu6("stem_activation", self.norm("stem_bn", "_bn0", x))
        position = 0
        for stage, (repeats, _, stride, expansion, _) in enumerate(STAGES, 1):
            for repeat in range(repeats):
                name = f"block{stage}{'abcdefgh'[repeat]}_"
                x = self.block(name, f"_blocks.{position}.", x, stride if repeat == 0 else 1, expansion, repeat > 0)
                position += 1
        x = self.conv("top_conv", "_conv_head", x, 1)
        x = self.relu6("top_activation", self.norm("top_bn", "_bn1", x))
        x = self.keep("avg_pool", x.mean((2, 3)))
        x = self.keep("top_dropout", x)
        self.keep("predictions", F.linear(x, self.state["_fc.weight"], self.state["_fc.bias"]).softmax(1))
        return self.layers

    def block(self, name: str, module: str, x: torch.Tensor, stride: int, expansion: int, residual: bool) -> torch.Tensor:
        start = x
        if expansion > 1:
            x = self.conv(f"{name}expand_conv", f"{module}_expand_conv", x, 1)
            x = self.relu6(f"{name}expand_activation", self.norm(f"{name}expand_bn", f"{module}_bn0", x))
        x = self.conv(f"{name}dwconv", f"{module}_depthwise_conv", x, stride, groups=x.shape[1])
        x = self.relu6(f"{name}activation", self.norm(f"{name}bn", f"{module}_bn1", x))
        x = self.conv(f"{name}project_conv", f"{module}_project_conv", x, 1)
        x = self.norm(f"{name}project_bn", f"{module}_bn2", x)
        if residual:
            x = self.keep(f"{name}add", self.keep(f"{name}drop", x) + start)
        return x

    def conv(self, name: str, module: str, x: torch.Tensor, stride: int, groups: int = 1) -> torch.Tensor:
        """TensorFlow's SAME padding: of an odd total, the larger half is at the end."""
        weight = self.state[f"{module}.weight"]
        total = [max((-(-size // stride) - 1) * stride + kernel - size, 0) for size, kernel in zip(x.shape[2:], weight.shape[2:])]
        x = F.pad(x, [side for sides in reversed(total) for side in (sides // 2, sides - sides // 2)])
        if stride > 1:
            self.keep(f"{name}_pad", x)
        return self.keep(name, F.conv2d(x, weight, None, stride, 0, 1, groups))

    def norm(self, name: str, module: str, x: torch.Tensor) -> torch.Tensor:
        scale, shift, mean, variance = (self.state[f"{module}.{part}"] for part in ("weight", "bias", "running_mean", "running_var"))
        return self.keep(name, F.batch_norm(x, mean, variance, scale, shift, False, 0.0, 1e-3))

    def relu6(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return self.keep(name, x.clamp(0, 6))


def state_dict(options: argparse.Namespace) -> dict[str, torch.Tensor]:
    if options.checkpoint:
        return torch.load(options.checkpoint, map_location="cpu", weights_only=True)
    data = options.weights.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    tensors = {}
    for name, info in json.loads(data[8 : 8 + length]).items():
        start, end = (8 + length + offset for offset in info["data_offsets"])
        values = np.frombuffer(data[start:end], "<f4").reshape(info["shape"])
        tensors[name] = torch.tensor(values)
    return tensors


def load(path: Path) -> torch.Tensor:
    """The shorter side to 256, bicubic, the 224 × 224 in the centre, (x − 127) ÷ 128."""
    image = Image.open(path).convert("RGB")
    width, height = image.size
    short = min(width, height)
    image = image.resize((256 * width // short, 256 * height // short), Image.Resampling.BICUBIC)
    left, top = (round((side - 224) / 2) for side in image.size)
    pixels = np.asarray(image.crop((left, top, left + 224, top + 224)), np.float32)
    return torch.tensor((pixels - 127) / 128).permute(2, 0, 1)[None]


def channels_last(x: torch.Tensor) -> np.ndarray:
    return (x[0].permute(1, 2, 0) if x.ndim == 4 else x[0]).float().numpy()


def relative_l2(found: np.ndarray, expected: np.ndarray) -> float:
    if found.shape != expected.shape or not np.isfinite(found).all():
        return float("inf")
    return float(np.linalg.norm((found - expected).astype(np.float64)) / max(np.linalg.norm(expected.astype(np.float64)), 1e-12))


class Graft:
    """The command, with a model repository of its own."""

    def __init__(self, binary: Path, scratch: Path) -> None:
        self.binary, self.scratch = binary, scratch
        self.environment = os.environ | {
            "GRAFT__MODELS__DIR": str(scratch / "models"),
            "GRAFT__DATA__DIR": str(scratch / "data"),
            "GRAFT__MODELS__DEFAULT": "efficientnet_lite0",
        }
        (scratch / "models").mkdir()

    def __call__(self, *arguments: object) -> str:
        command = [str(self.binary), *map(str, arguments)]
        done = subprocess.run(command, env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(f"{' '.join(command)} exited with {done.returncode}:\n{done.stderr}")
        return done.stdout

    def features(self, photo: Path, layers: list[str]) -> dict[str, np.ndarray]:
        out = self.scratch / "features.npz"
        self("features", photo, "--output", out, "--model", "efficientnet_lite0", "--layer", ",".join(layers))
        with np.load(out) as arrays:
            return {name: arrays[name][0] for name in layers}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--graft", type=lambda value: Path(value).resolve(), required=True, help="the binary to test")
    parser.add_argument("--weights", type=Path, required=True, help="what scripts/fetch-starter.sh brings")
    parser.add_argument("--photos", type=Path, required=True, help="a folder with photos")
    parser.add_argument("--checkpoint", type=Path, help="the .pth that the weights come from")
    parser.add_argument("--most", type=int, default=6, help="how many photos")
    options = parser.parse_args()
    photos = sorted(path for path in options.photos.iterdir() if path.suffix.lower() in SUFFIXES)[: options.most]
    if not photos:
        raise SystemExit(f"no photos in {options.photos}")
    state = state_dict(options)
    reference, exact = Reference(state, torch.float32), Reference(state, torch.float64)
    failures, worst = [], {}
    with tempfile.TemporaryDirectory() as name, torch.no_grad():
        graft = Graft(options.graft, Path(name))
        print(graft("import", "efficientnet_lite0", options.weights), end="")
        for path in photos:
            png = Path(name) / f"{path.stem}.png"
            ImageOps.exif_transpose(Image.open(path)).convert("RGB").save(png)
            outputs = {layer: channels_last(x) for layer, x in reference.run(load(png)).items()}
            doubles = {layer: channels_last(x) for layer, x in exact.run(load(png).double()).items()}
            compare(graft, png, outputs, doubles, failures, worst)
    for kind, (error, layer, photo) in sorted(worst.items()):
        print(f"worst relative L2 against {kind}: {error:.1e} at {layer} of {photo}")
    for failure in failures[:40]:
        print(f"FAIL {failure}")
    outcome = f"{len(failures)} failures" if failures else f"every layer within {TOLERANCE:.0e} of PyTorch"
    print(f"lite0: {outcome} ({len(outputs)} layers, {len(photos)} photos)")
    return 1 if failures else 0


def compare(graft: Graft, photo: Path, outputs: dict, doubles: dict, failures: list, worst: dict) -> None:
    """All layers together, then some of them alone."""
    listed = [line.split()[1] for line in graft("layers", "efficientnet_lite0").splitlines()]
    if listed != list(outputs):
        failures.append(f"graft lists {len(listed)} layers, of which the first that differs is "
                        f"{next(pair for pair in zip(listed, outputs) if pair[0] != pair[1])}")
        return
    found = graft.features(photo, listed)
    alone = {f"{layer} alone": graft.features(photo, [layer])[layer] for layer in ALONE}
    for label, values in (found | alone).items():
        layer = label.removesuffix(" alone")
        for kind, expected in (("PyTorch", outputs[layer]), ("PyTorch in float64", doubles[layer])):
            error = relative_l2(values, expected)
            worst[kind] = max(worst.get(kind, (0.0, "", "")), (error, label, photo.name))
            if not error <= TOLERANCE:
                failures.append(f"{photo.name}: {label} is off by {error:.1e} against {kind}")
    if found["predictions"].argmax() != outputs["predictions"].argmax():
        failures.append(f"{photo.name}: another class")


if __name__ == "__main__":
    sys.exit(main())
