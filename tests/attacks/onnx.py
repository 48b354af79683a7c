"""ONNX graphs written by hand, and those that want more than anyone has.

Knows protobuf's wire format and ONNX's field numbers, not graft.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

FLOAT, INT64, BOOL = 1, 7, 9
FUNCTIONS = "functions"


def varint(number: int) -> bytes:
    number &= (1 << 64) - 1
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*parts, number])


def whole(field: int, number: int) -> bytes:
    return varint(field << 3) + varint(number)


def text(field: int, content: bytes | str) -> bytes:
    data = content.encode() if isinstance(content, str) else content
    return varint(field << 3 | 2) + varint(len(data)) + data


def texts(field: int, contents: Iterable[bytes | str]) -> bytes:
    return b"".join(text(field, one) for one in contents)


def node(kind: str, inputs: str, outputs: str, *attributes: bytes, domain: str = "") -> bytes:
    """Names are separated by spaces; `-` is an input that is left out."""
    named = ["" if name == "-" else name for name in inputs.split()]
    head = texts(1, named) + texts(2, outputs.split()) + text(3, outputs.split()[0]) + text(4, kind)
    return head + texts(5, attributes) + (text(7, domain) if domain else b"")


def integer(name: str, value: int) -> bytes:
    return text(1, name) + whole(3, value) + whole(20, 2)


def subgraph(name: str, body: bytes) -> bytes:
    return text(1, name) + text(6, body) + whole(20, 5)


def tensor(name: str, kind: int, dims: list[int], data: bytes) -> bytes:
    return b"".join(whole(1, one) for one in dims) + whole(2, kind) + text(8, name) + text(9, data)


def integers(name: str, *values: int, scalar: bool = False) -> bytes:
    return tensor(name, INT64, [] if scalar else [len(values)], struct.pack(f"<{len(values)}q", *values))


def value(name: str, kind: int, dims: list[int | str]) -> bytes:
    """An input or an output; dimensions with names are open."""
    shape = b"".join(text(1, text(2, one) if isinstance(one, str) else whole(1, one)) for one in dims)
    return text(1, name) + text(2, text(1, whole(1, kind) + text(2, shape)))


def graph(nodes: list[bytes], inputs: list[bytes], outputs: list[bytes], constants: Iterable[bytes] = ()) -> bytes:
    return texts(1, nodes) + text(2, "attack") + texts(5, constants) + texts(11, inputs) + texts(12, outputs)


def model(nodes: list[bytes], constants: Iterable[bytes] = (), functions: Iterable[bytes] = ()) -> bytes:
    """A classifier of three classes, of the mean colours in `colours`; `nodes` make `shifted` of them."""
    before = [node("GlobalAveragePool", "input", "pool"), node("Flatten", "pool", "colours")]
    behind = [node("Softmax", "shifted", "scores")]
    body = graph(
        before + nodes + behind, [value("input", FLOAT, ["batch", 3, 8, 8])], [value("scores", FLOAT, ["batch", 3])], constants,
    )
    opsets = text(8, text(1, "") + whole(2, 17)) + text(8, text(1, FUNCTIONS) + whole(2, 1))
    return whole(1, 8) + text(7, body) + opsets + texts(25, functions)


def heavy(megabytes: int) -> bytes:
    """A classifier that computes little, with so many megabytes of weights."""
    width = megabytes * 1_000_000 // 24
    weights = struct.pack("<f", 1e-3) * (3 * width)
    constants = [tensor("wide", FLOAT, [3, width], weights), tensor("narrow", FLOAT, [width, 3], weights)]
    return model([node("MatMul", "colours wide", "hidden"), node("MatMul", "hidden narrow", "shifted")], constants)


def loop(rounds: list[bytes], constants: list[bytes], count: str, condition: str = "-") -> bytes:
    """A loop over `count` rounds, made by `rounds`, that doubles a number in each."""
    body = graph(
        [node("Identity", "condition", "again"), node("Add", "sum sum", "next")],
        [value("round", INT64, []), value("condition", BOOL, []), value("sum", FLOAT, [])],
        [value("again", BOOL, []), value("next", FLOAT, [])],
    )
    nodes = [
        node("ReduceMax", "input", "largest", integer("keepdims", 0)),
        *rounds,
        node("Loop", f"{count} {condition} largest", "addend", subgraph("body", body)),
        node("Add", "colours addend", "shifted"),
    ]
    return model(nodes, constants)


def large(shape: list[bytes], constants: list[bytes]) -> bytes:
    """A tensor of 2^40 values that `shape` makes, summed up."""
    nodes = [*shape, node("ReduceMax", "huge", "addend", integer("keepdims", 0)), node("Add", "colours addend", "shifted")]
    return model(nodes, constants)


def function(name: str, body: list[bytes]) -> bytes:
    opsets = text(9, text(1, "") + whole(2, 17)) + text(9, text(1, FUNCTIONS) + whole(2, 1))
    return text(1, name) + text(4, "x") + text(5, "y") + texts(7, body) + opsets + text(10, FUNCTIONS)


def calls(levels: int) -> bytes:
    """A function that calls another one twice, and so on: 2^levels calls."""
    made = [function("f0", [node("Relu", "x", "y")])]
    for level in range(1, levels + 1):
        inner = f"f{level - 1}"
        body = [node(inner, "x", "between", domain=FUNCTIONS), node(inner, "between", "y", domain=FUNCTIONS)]
        made.append(function(f"f{level}", body))
    return model([node(f"f{levels}", "colours", "shifted", domain=FUNCTIONS)], functions=made)


def calls_itself() -> bytes:
    own = function("f", [node("f", "x", "y", domain=FUNCTIONS)])
    return model([node("f", "colours", "shifted", domain=FUNCTIONS)], functions=[own])


def branches(depth: int) -> bytes:
    """Branches within branches."""
    body = graph([node("Identity", "colours", "inner")], [], [value("inner", FLOAT, ["batch", 3])])
    for _ in range(depth):
        within = node("If", "yes", "inner", subgraph("then_branch", body))
        body = graph([within], [], [value("inner", FLOAT, ["batch", 3])])
    return model([node("If", "yes", "shifted", subgraph("then_branch", body))], [tensor("yes", BOOL, [], b"\1")])


def hostile() -> dict[str, bytes]:
    """Each graph by what it wants."""
    scale = tensor("scale", FLOAT, [], struct.pack("<f", 2.0**40))
    as_photo_says = [
        node("Abs", "largest", "positive"), node("Mul", "positive scale", "scaled"),
        node("Cast", "scaled", "rounds", integer("to", INT64)),
    ]
    many = integers("rounds", 1 << 62, scalar=True)
    dims = integers("dims", 1 << 20, 1 << 20)
    at_run = [node("ReduceMax", "input", "largest", integer("keepdims", 0)), node("Expand", "largest dims", "huge")]
    return {
        "a loop of 2^62 rounds": loop([], [many], "rounds"),
        "a loop without end": loop([], [tensor("yes", BOOL, [], b"\1")], "-", "yes"),
        "a loop as long as the photo says": loop(as_photo_says, [scale], "rounds"),
        "a constant of 2^40 values": large([node("ConstantOfShape", "dims", "huge")], [dims]),
        "an intermediate of 2^40 values": large(at_run, [dims]),
        "weights of 2^40 values without data": large([], [tensor("huge", FLOAT, [1 << 20, 1 << 20], b"")]),
        "weights of 2^62 values": large([], [tensor("huge", FLOAT, [1 << 62], b"\0\0\0\0")]),
        "functions that call 2^27 times": calls(27),
        "functions 5,000 deep": calls(5000),
        "a function that calls itself": calls_itself(),
        "branches 200 deep": branches(200),
    }
