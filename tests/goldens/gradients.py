"""Gradients of small graphs from PyTorch in float64, for tests/training.

Run from the repository's root with `torch`, `numpy` and `onnx` installed: python tests/goldens/gradients.py
Writes tests/fixtures/gradients/NAME.onnx. Each is a model whose stored tensors also hold the sample (`sample/x`), its labels
(`sample/labels`, `sample/weights`, `sample/MASK`) and what PyTorch finds (`expected/loss`, `expected/logits`,
`expected/PARAMETER`). Every model adds the parameter `p` to its input, so that its gradient is that of the operator's input.
"""

import pathlib

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper, numpy_helper

OUT = pathlib.Path(__file__).resolve().parent.parent / "fixtures" / "gradients"
CLASSES = 3


class Case:
    """A graph under construction: `h` is the tensor that the next node reads."""

    def __init__(self, name, shape, seed=0):
        self.name, self.shape = name, tuple(shape)
        self.random = np.random.default_rng([seed, *name.encode()])
        self.nodes, self.stored, self.trainable, self.masks = [], {}, [], {}
        self.count = 0
        self.h = "x"
        self.h = self.add("Add", self.h, self.parameter("p", shape))

    def fresh(self):
        self.count += 1
        return f"t{self.count}"

    def add(self, op, *inputs, **attributes):
        output = attributes.pop("output", None) or self.fresh()
        inputs = [name if isinstance(name, str) else self.constant(name) for name in inputs]
        self.nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))
        return output

    def then(self, op, *inputs, **attributes):
        self.h = self.add(op, self.h, *inputs, **attributes)
        return self

    def constant(self, values):
        name = f"c{len(self.stored)}"
        self.stored[name] = np.asarray(values)
        return name

    def values(self, shape, scale=1.0):
        return (self.random.standard_normal(shape) * scale).astype(np.float32)

    def parameter(self, name, shape, scale=1.0, shift=0.0):
        self.stored[name] = self.values(shape, scale) + np.float32(shift)
        self.trainable.append(name)
        return name

    def frozen(self, shape, scale=1.0, shift=0.0):
        return self.constant(self.values(shape, scale) + np.float32(shift))

    def conv(self, filters, channels, kernel, bias=True, group=1, **attributes):
        inputs = [self.parameter("w", (filters, channels // group, *kernel), 0.5)]
        if bias:
            inputs.append(self.parameter("b", (filters,)))
        return self.then("Conv", *inputs, kernel_shape=kernel, group=group, **attributes)

    def batch_norm(self, channels, affine):
        make = (lambda n, s: self.parameter(n, (channels,), 0.3, s)) if affine else (lambda n, s: self.frozen((channels,), 0.3, s))
        variance = np.abs(self.values((channels,), 0.3)) + np.float32(0.5)
        return self.then("BatchNormalization", make("scale", 1.0), make("shift", 0.0), self.frozen((channels,), 0.5), variance, epsilon=1e-3)

    def dropout(self, rate):
        self.then("Dropout", np.float32(rate), output="drop")
        self.masks["drop"] = rate
        return self

    def finish(self, softmax=False, probabilities=False, l2=0.0):
        """Adds logits behind `h`, computes gradients and writes the file."""
        batch = self.shape[0]
        stored = {name: torch.tensor(value, dtype=torch.float64 if value.dtype == np.float32 else None) for name, value in self.stored.items()}
        sample = torch.tensor(self.values(self.shape), dtype=torch.float64)
        masks = {}
        for node, rate in self.masks.items():
            shape = run(self.nodes, stored, sample, {})[node].shape
            masks[node] = torch.tensor(np.where(self.random.random(shape) < rate, 0.0, np.float32(1 / (1 - rate))))
        width = run(self.nodes, stored, sample, masks)[self.h].reshape(batch, -1).shape[1]
        if self.h != "logits":
            self.then("Flatten", axis=1)
            head = self.values((width, CLASSES), width**-0.5)
            stored[self.constant(head)] = torch.tensor(head, dtype=torch.float64)
            self.then("MatMul", list(self.stored)[-1], output="logits")
        for name in self.trainable:
            stored[name].requires_grad_()
        logits = run(self.nodes, stored, sample, masks)["logits"]
        labels = self.random.integers(0, CLASSES, batch)
        target = F.one_hot(torch.tensor(labels), CLASSES).double()
        if probabilities:
            labels = F.softmax(torch.tensor(self.values((batch, CLASSES))).double(), 1).float().numpy()
            target = torch.tensor(labels).double()
        weights = (self.random.random(batch).astype(np.float32) + np.float32(0.5)) / np.float32(batch)
        loss = -(target * F.log_softmax(logits, 1) * torch.tensor(weights).double()[:, None]).sum()
        loss = loss + sum(l2 * (stored[name] ** 2).sum() for name in self.trainable)
        loss.backward()
        if softmax:
            self.add("Softmax", "logits", output="y", axis=1)
        extra = {"sample/x": sample, "sample/labels": torch.tensor(labels).float(), "sample/weights": torch.tensor(weights)}
        extra |= {f"sample/{name}/mask": mask for name, mask in masks.items()}
        extra |= {"expected/loss": loss, "expected/logits": logits, "expected/l2": torch.tensor(l2)}
        extra |= {f"expected/{name}": stored[name].grad for name in self.trainable}
        self.write("y" if softmax else "logits", {name: value.detach().numpy().astype(np.float32) for name, value in extra.items()})

    def write(self, output, extra):
        info = lambda name, shape: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *shape])
        tensors = [numpy_helper.from_array(value, name) for name, value in (self.stored | extra).items()]
        inputs, outputs = [info("x", self.shape[1:])], [info(output, [CLASSES])]
        graph = helper.make_graph(self.nodes, self.name, inputs, outputs, tensors)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="tests/goldens/gradients.py")
        onnx.checker.check_model(model)
        (OUT / f"{self.name}.onnx").write_bytes(model.SerializeToString())


def run(nodes, stored, x, masks):
    """Every tensor of the graph, by name."""
    tensors = dict(stored, x=x)
    for node in nodes:
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        inputs = [tensors[name] for name in node.input]
        if node.op_type == "Dropout":
            tensors[node.output[0]] = inputs[0] * masks.get(node.output[0], 1.0)
        else:
            tensors[node.output[0]] = OPERATORS[node.op_type](attributes, *inputs)
    return tensors


def padding(attributes, x, kernel):
    """Left, right, top, bottom, as F.pad takes them."""
    strides = attributes.get("strides", [1, 1])
    if attributes.get("auto_pad") == b"SAME_UPPER":
        totals = [max((-(-size // s) - 1) * s + k - size, 0) for size, k, s in zip(x.shape[2:], kernel, strides)]
        (top, bottom), (left, right) = [(total // 2, total - total // 2) for total in totals]
    else:
        top, left, bottom, right = attributes.get("pads", [0, 0, 0, 0])
    return left, right, top, bottom


def conv(attributes, x, w, b=None):
    x = F.pad(x, padding(attributes, x, w.shape[2:]))
    stride, dilation = attributes.get("strides", [1, 1]), attributes.get("dilations", [1, 1])
    return F.conv2d(x, w, b, stride, 0, dilation, attributes["group"])


def max_pool(attributes, x):
    pads = padding(attributes, x, attributes["kernel_shape"])
    stride, ceil = attributes.get("strides", [1, 1]), bool(attributes.get("ceil_mode", 0))
    if pads[0] == pads[1] and pads[2] == pads[3]:
        return F.max_pool2d(x, attributes["kernel_shape"], stride, (pads[2], pads[0]), 1, ceil)
    return F.max_pool2d(F.pad(x, pads, value=-torch.inf), attributes["kernel_shape"], stride, 0, 1, ceil)


def average_pool(attributes, x):
    pads = padding(attributes, x, attributes["kernel_shape"])
    kernel, stride = attributes["kernel_shape"], attributes.get("strides", [1, 1])
    include = bool(attributes.get("count_include_pad", 0))
    if pads[0] == pads[1] and pads[2] == pads[3]:
        return F.avg_pool2d(x, kernel, stride, (pads[2], pads[0]), bool(attributes.get("ceil_mode", 0)), include)
    assert not attributes.get("ceil_mode", 0)
    mean = F.avg_pool2d(F.pad(x, pads), kernel, stride)
    return mean if include else mean / F.avg_pool2d(F.pad(torch.ones_like(x), pads), kernel, stride)


def pad(_, x, pads, value=0.0):
    begin, end = pads.tolist()[: x.ndim], pads.tolist()[x.ndim :]
    sides = [side for axis in reversed(range(x.ndim)) for side in (begin[axis], end[axis])]
    return F.pad(x, sides, value=float(value))


def gemm(attributes, a, b, c=None):
    a, b = (a.T if attributes.get("transA") else a), (b.T if attributes.get("transB") else b)
    product = attributes.get("alpha", 1.0) * (a @ b)
    return product if c is None else product + attributes.get("beta", 1.0) * c


OPERATORS = {
    "Add": lambda _, a, b: a + b,
    "AveragePool": average_pool,
    "BatchNormalization": lambda t, x, s, b, m, v: F.batch_norm(x, m, v, s, b, False, 0.0, t["epsilon"]),
    "Clip": lambda _, x, low, high: x.clamp(low, high),
    "Concat": lambda t, *x: torch.cat(x, t["axis"]),
    "Conv": conv,
    "Flatten": lambda t, x: x.flatten(t["axis"]),
    "Gemm": gemm,
    "GlobalAveragePool": lambda _, x: x.mean((2, 3), keepdim=True),
    "Identity": lambda _, x: x,
    "MatMul": lambda _, a, b: a @ b,
    "MaxPool": max_pool,
    "Mul": lambda _, a, b: a * b,
    "Pad": pad,
    "ReduceMean": lambda t, x: x.mean(tuple(t["axes"]), keepdim=bool(t.get("keepdims", 1))),
    "Relu": lambda _, x: x.relu(),
    "Reshape": lambda _, x, shape: x.reshape(tuple(x.shape[i] if s == 0 else s for i, s in enumerate(shape.tolist()))),
    "Sigmoid": lambda _, x: x.sigmoid(),
    "Softmax": lambda t, x: x.softmax(t["axis"]),
    "Squeeze": lambda _, x, axes: x.squeeze(tuple(axes.tolist())),
    "Sub": lambda _, a, b: a - b,
    "Transpose": lambda t, x: x.permute(t["perm"]),
    "Unsqueeze": lambda _, x, axes: x.unsqueeze(int(axes)),
}


def conv_cases():
    image = (2, 4, 7, 6)
    Case("conv_same", image).conv(5, 4, [3, 3], pads=[1, 1, 1, 1]).finish()
    Case("conv_valid", image).conv(5, 4, [3, 2], bias=False).finish()
    Case("conv_uneven_padding", image).conv(5, 4, [3, 3], pads=[0, 1, 2, 0]).finish()
    Case("conv_wide_padding", image).conv(3, 4, [2, 2], pads=[2, 2, 3, 2]).finish()
    Case("conv_pointwise", image).conv(6, 4, [1, 1]).finish()
    Case("conv_row", image).conv(3, 4, [1, 5], pads=[0, 2, 0, 2]).finish()
    Case("conv_stride", (2, 4, 8, 7)).conv(5, 4, [3, 3], strides=[2, 2]).finish()
    Case("conv_stride_padded", (2, 4, 8, 7)).conv(5, 4, [3, 3], strides=[2, 3], pads=[1, 1, 1, 1]).finish()
    Case("conv_stride_gaps", image).conv(5, 4, [1, 1], strides=[2, 2]).finish()
    Case("conv_stride_uneven", (2, 3, 8, 8)).conv(4, 3, [3, 3], strides=[2, 2], pads=[0, 0, 1, 1]).finish()
    Case("conv_auto_pad", (2, 3, 8, 7)).conv(4, 3, [3, 3], strides=[2, 2], auto_pad="SAME_UPPER").finish()
    Case("conv_dilated", (2, 3, 9, 8)).conv(4, 3, [3, 2], dilations=[2, 3], pads=[2, 1, 2, 1]).finish()
    Case("conv_groups", image).conv(6, 4, [3, 3], group=2, pads=[1, 1, 1, 1]).finish()
    Case("conv_groups_stride", image).conv(6, 4, [3, 3], group=2, strides=[2, 2], pads=[1, 1, 1, 1]).finish()
    Case("conv_depthwise", image).conv(4, 4, [3, 3], group=4, pads=[1, 1, 1, 1]).finish()
    depthwise = lambda name, size, kernel, filters=4, **attributes: Case(name, size).conv(filters, 4, kernel, group=4, **attributes).finish()
    depthwise("conv_depthwise_valid", image, [3, 2])
    depthwise("conv_depthwise_five", image, [5, 5], bias=False, pads=[2, 2, 2, 2])
    depthwise("conv_depthwise_uneven", image, [3, 3], pads=[0, 1, 2, 0])
    depthwise("conv_depthwise_stride", (2, 4, 8, 7), [3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    # The last row and column of the second are behind the last window.
    depthwise("conv_depthwise_stride_uneven", (2, 4, 8, 8), [3, 3], strides=[2, 2], pads=[0, 0, 1, 1])
    depthwise("conv_depthwise_stride_rest", (2, 4, 8, 9), [3, 2], strides=[2, 3])
    depthwise("conv_depthwise_auto_pad", (2, 4, 8, 7), [5, 5], strides=[2, 2], auto_pad="SAME_UPPER")
    depthwise("conv_depthwise_dilated", (2, 4, 9, 8), [3, 2], dilations=[2, 3], strides=[1, 2], pads=[2, 1, 2, 1])
    depthwise("conv_depthwise_multiplied", image, [3, 3], filters=8, pads=[1, 1, 1, 1])
    depthwise("conv_depthwise_pointwise", image, [1, 1], strides=[2, 2])
    Case("conv_groups_pointwise", image).conv(4, 4, [1, 1], group=2).finish()


def pool_cases():
    image = (2, 3, 7, 6)
    pool = lambda name, op, size=image, **attributes: Case(name, size).then(op, **attributes).finish()
    pool("max_pool", "MaxPool", (2, 3, 6, 4), kernel_shape=[2, 2], strides=[2, 2])
    pool("max_pool_rest", "MaxPool", kernel_shape=[2, 2], strides=[2, 2])
    pool("max_pool_ceil", "MaxPool", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)
    pool("max_pool_overlap", "MaxPool", kernel_shape=[3, 3], strides=[2, 2])
    pool("max_pool_overlap_ceil", "MaxPool", (2, 3, 8, 6), kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)
    pool("max_pool_padded", "MaxPool", kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1])
    pool("max_pool_uneven", "MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, 1, 1])
    pool("max_pool_disjoint_padded", "MaxPool", kernel_shape=[2, 2], strides=[3, 3], pads=[1, 1, 1, 1])
    # The window of the last row would start in the padding, and there is none.
    pool("max_pool_ceil_dropped", "MaxPool", (2, 3, 7, 5), kernel_shape=[2, 2], strides=[2, 2], pads=[1, 1, 1, 1], ceil_mode=1)
    pool("max_pool_ceil_skipped", "MaxPool", (2, 3, 6, 5), kernel_shape=[1, 1], strides=[2, 2], ceil_mode=1)
    pool("average_pool", "AveragePool", kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1])
    pool("average_pool_counting", "AveragePool", kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1], count_include_pad=1)
    pool("average_pool_uneven", "AveragePool", kernel_shape=[3, 2], strides=[1, 1], pads=[0, 1, 2, 0])
    pool("average_pool_stride", "AveragePool", kernel_shape=[2, 2], strides=[2, 2])
    pool("average_pool_ceil", "AveragePool", (2, 3, 8, 6), kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)
    pool("average_pool_ceil_padded", "AveragePool", (2, 3, 8, 6), kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], ceil_mode=1, count_include_pad=1)
    pool("average_pool_ceil_dropped", "AveragePool", (2, 3, 7, 5), kernel_shape=[2, 2], strides=[2, 2], pads=[1, 1, 1, 1], ceil_mode=1)
    pool("global_average_pool", "GlobalAveragePool")


def elementwise_cases():
    image = (2, 3, 4, 5)
    Case("relu", image).then("Relu").finish()
    Case("clip", image).then("Clip", np.float32(-0.5), np.float32(0.8)).finish()
    Case("relu6", image).then("Mul", np.float32(5)).then("Clip", np.float32(0), np.float32(6)).finish()
    Case("sigmoid", image).then("Sigmoid").finish()
    case = Case("swish", image)
    case.then("Mul", case.add("Sigmoid", case.h)).finish()
    case = Case("add_broadcast", image)
    case.then("Add", case.parameter("a", (3, 1, 1))).then("Add", case.parameter("b", (1, 1, 4, 1))).finish()
    case = Case("mul_broadcast", image)
    case.then("Mul", case.parameter("a", (1, 3, 1, 1))).then("Mul", case.parameter("b", (5,))).then("Mul", case.frozen((1,))).finish()
    case = Case("sub", image)
    case.then("Sub", case.parameter("a", (4, 5))).finish()
    case = Case("fan_out", image)
    case.then("Add", case.add("Sigmoid", case.h)).then("Mul", case.add("Relu", case.h)).then("Mul", case.h).finish()
    Case("batch_norm_frozen", image).batch_norm(3, affine=False).finish()
    Case("batch_norm_affine", image).batch_norm(3, affine=True).finish()
    Case("softmax_inside", (2, 4, 3, 2)).then("Softmax", axis=1).finish()
    Case("dropout", (2, 24)).dropout(0.4).finish()


def matrix_cases():
    rows = (3, 5)
    gemm = lambda case, b, c, **attributes: case.then("Gemm", case.parameter("b", b), case.parameter("c", c), **attributes).finish()
    gemm(Case("gemm", rows), (5, 4), (4,))
    gemm(Case("gemm_scaled", rows), (4, 5), (1, 4), transB=1, alpha=0.5, beta=2.0)
    gemm(Case("gemm_turned", rows).then("Transpose", perm=[1, 0]), (5, 4), (3, 1), transA=1, alpha=1.5)
    gemm(Case("gemm_both_turned", rows).then("Transpose", perm=[1, 0]), (4, 5), (3, 4), transA=1, transB=1)
    case = Case("matmul_batched", (2, 3, 4, 5))
    case.then("MatMul", case.parameter("b", (5, 2))).finish()
    case = Case("matmul_broadcast", (2, 1, 4, 5))
    case.then("MatMul", case.parameter("b", (3, 5, 2))).finish()


def view_cases():
    image = (2, 3, 4, 5)
    case = Case("concat", image)
    case.then("Concat", case.parameter("a", (2, 1, 4, 5)), case.frozen((2, 2, 4, 5)), case.add("Relu", case.h), axis=1).finish()
    Case("flatten", image).then("Flatten", axis=2).then("Reshape", np.array([2, -1, 4])).finish()
    Case("reshape", image).then("Reshape", np.array([0, -1, 2])).then("Sigmoid").finish()
    Case("transpose", image).then("Transpose", perm=[0, 2, 3, 1]).then("Sigmoid").finish()
    Case("pad", image).then("Pad", np.array([0, 0, 1, 0, 0, 0, 2, 3])).then("Sigmoid").finish()
    Case("pad_all_axes", (2, 3, 4)).then("Pad", np.array([0, 1, 1, 0, 2, 0]), np.float32(0.5)).then("Sigmoid").finish()
    Case("pad_cut", image).then("Pad", np.array([0, -1, 1, -2, 0, 0, -1, 1])).then("Sigmoid").finish()
    Case("squeeze", (2, 3, 1, 4)).then("Squeeze", np.array([2])).then("Unsqueeze", np.array([1])).then("Identity").finish()
    Case("reduce_mean", image).then("ReduceMean", axes=[2, 3], keepdims=0).finish()


def loss_cases():
    dense = lambda name: Case(name, (4, 6)).then("Sigmoid")
    dense("loss").finish()
    dense("loss_softmax").finish(softmax=True)
    dense("loss_probabilities").finish(probabilities=True)
    dense("loss_l2").finish(l2=0.01)
    case = Case("block", (2, 4, 9, 9), seed=1)
    stem = case.conv(4, 4, [3, 3], bias=False, strides=[2, 2]).batch_norm(4, affine=True).then("Relu").h
    left = case.add("Conv", stem, case.parameter("w1", (3, 4, 1, 1)), group=1)
    pooled = case.add("AveragePool", stem, kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1])
    right = case.add("Conv", pooled, case.parameter("w2", (2, 4, 3, 3)), pads=[1, 1, 1, 1], group=1)
    case.h = case.add("Concat", left, right, case.add("MaxPool", stem, kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1]), axis=1)
    case.then("Relu").then("GlobalAveragePool").finish()


def inverted_residual(name, stride):
    """A block as EfficientNet-Lite has it: the one of stride 1 ends in the sum with its input."""
    case = Case(name, (2, 4, 8, 8), seed=2)
    begin, relu6 = case.h, (np.float32(0), np.float32(6))
    case.then("Conv", case.parameter("w1", (12, 4, 1, 1)), group=1).batch_norm(12, affine=True).then("Clip", *relu6)
    if stride == 2:
        case.then("Pad", np.array([0, 0, 1, 1, 0, 0, 2, 2]))
    pads = [2, 2, 2, 2] if stride == 1 else [0, 0, 0, 0]
    case.then("Conv", case.parameter("w2", (12, 1, 5, 5), 0.3), group=12, pads=pads, strides=[stride, stride])
    case.then("Mul", np.float32(3)).then("Clip", *relu6).then("Conv", case.parameter("w3", (4, 12, 1, 1), 0.3), group=1).then("Identity")
    if stride == 1:
        case.then("Add", begin)
    case.then("GlobalAveragePool").finish()


def block_cases():
    inverted_residual("inverted_residual", 1)
    inverted_residual("inverted_residual_stride", 2)


if __name__ == "__main__":
    OUT.mkdir(parents=True, exist_ok=True)
    for cases in (conv_cases, pool_cases, elementwise_cases, matrix_cases, view_cases, loss_cases, block_cases):
        cases()
    print(len(list(OUT.glob("*.onnx"))), "cases,", sum(path.stat().st_size for path in OUT.glob("*.onnx")), "bytes")
