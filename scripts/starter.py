#!/usr/bin/env python3
"""Turns a PyTorch checkpoint of the old format into safetensors, without PyTorch and without running anything in it.

    starter.py CHECKPOINT.pth OUT.safetensors

A checkpoint is a pickle, and a pickle can call any function that it names. This reader knows the four names of ALLOWED,
none of which it takes from a library: what they stand for here only keeps numbers. Every other name is refused.
The same checkpoint always makes the same bytes. Needs Python 3.8 or later and nothing else.
"""

import array
import io
import json
import math
import os
import pickle
import resource
import struct
import sys
from collections import namedtuple

# What `torch.save` of before 1.6 writes before the objects.
MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
MAX_BYTES = 1 << 28
MAX_DIMENSIONS = 8
MAX_MEMORY = 1 << 31
MAX_SECONDS = 120
COUNTER = ".num_batches_tracked"

Kind = namedtuple("Kind", "name item_bytes")
FLOAT, LONG = Kind("FloatStorage", 4), Kind("LongStorage", 8)
Storage = namedtuple("Storage", "kind key elements")
Tensor = namedtuple("Tensor", "storage offset shape strides")


class Refused(Exception):
    """The file is not a checkpoint that this reader takes."""


class Entries(dict):
    """In place of `collections.OrderedDict`, whose attributes a pickle may set: these are dropped."""

    def __setstate__(self, state):
        pass


class RebuildTensor:
    """In place of `torch._utils._rebuild_tensor_v2`: notes where a tensor's numbers are. A pickle can set nothing on it."""

    __slots__ = ()

    def __call__(self, storage, offset, shape, strides, requires_grad=False, hooks=None, metadata=None):
        if type(storage) is not Storage:
            raise Refused("a tensor without a storage")
        if type(shape) is not tuple or type(strides) is not tuple or len(shape) != len(strides):
            raise Refused("a tensor whose shape and strides do not go together")
        if len(shape) > MAX_DIMENSIONS or any(type(n) is not int or not 0 <= n <= MAX_BYTES for n in (offset, *shape, *strides)):
            raise Refused("a tensor whose shape, strides or offset are out of range")
        last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides))
        if 0 not in shape and last >= storage.elements:
            raise Refused(f"a tensor of shape {list(shape)} that ends behind its storage")
        if math.prod(shape) > storage.elements:
            raise Refused(f"a tensor of shape {list(shape)} with more numbers than its storage")
        return Tensor(storage, offset, shape, strides)


ALLOWED = {
    ("collections", "OrderedDict"): Entries,
    ("torch._utils", "_rebuild_tensor_v2"): RebuildTensor(),
    ("torch", "FloatStorage"): FLOAT,
    ("torch", "LongStorage"): LONG,
}


class Reader(pickle.Unpickler):
    """Reads one pickle of a checkpoint; names are taken from `allowed` alone."""

    def __init__(self, stream, allowed):
        super().__init__(stream)
        self.allowed = allowed
        self.storages = {}

    def find_class(self, module, name):
        try:
            return self.allowed[module, name]
        except KeyError:
            raise Refused(f"the checkpoint names `{module}.{name}`, which this reader does not know") from None

    def persistent_load(self, identity):
        if type(identity) is not tuple or len(identity) != 6 or identity[0] != "storage" or identity[5] is not None:
            raise Refused("a reference to something that is no storage")
        _, kind, key, _, elements, _ = identity
        if type(kind) is not Kind or type(key) is not str or type(elements) is not int or not 0 <= elements <= MAX_BYTES:
            raise Refused("a storage of unknown kind or size")
        storage = Storage(kind, key, elements)
        if self.storages.setdefault(key, storage) != storage:
            raise Refused(f"storage {key} is described in two ways")
        return storage


def read_pickle(stream, allowed=None):
    """The object that comes next, and the storages that it refers to."""
    reader = Reader(stream, allowed or {})
    try:
        return reader.load(), reader.storages
    except Refused:
        raise
    except Exception as error:
        raise Refused(f"its pickle cannot be read: {type(error).__name__}: {error}") from error


def read_checkpoint(data):
    """Name → (shape, little-endian float32 bytes) of every tensor but PyTorch's counters."""
    stream = io.BytesIO(data)
    if read_pickle(stream)[0] != MAGIC or read_pickle(stream)[0] != PROTOCOL:
        raise Refused("it is no checkpoint in PyTorch's old format")
    system = read_pickle(stream)[0]
    if type(system) is not dict or system.get("little_endian") is not True:
        raise Refused("it was not written on a little-endian machine")
    entries, storages = read_pickle(stream, ALLOWED)
    keys = read_pickle(stream)[0]
    if type(entries) is not Entries or not entries:
        raise Refused("it holds no state dict")
    if type(keys) is not list or any(type(key) is not str for key in keys) or sorted(keys) != sorted(storages):
        raise Refused("its list of storages is not that of its tensors")
    tensors = {name: tensor for name, tensor in checked(entries) if not name.endswith(COUNTER)}
    if sum(math.prod(tensor.shape) * tensor.storage.kind.item_bytes for tensor in tensors.values()) > len(data):
        raise Refused("its tensors have more numbers than it holds")
    values = {key: array.array("f" if storages[key].kind is FLOAT else "q", read_storage(stream, storages[key])) for key in keys}
    if stream.read(1):
        raise Refused("there is something behind its last storage")
    return {name: gathered(tensor, values) for name, tensor in tensors.items()}


def read_storage(stream, storage):
    """The raw numbers of a storage, behind their count."""
    head = stream.read(8)
    if len(head) < 8 or struct.unpack("<q", head)[0] != storage.elements:
        raise Refused(f"storage {storage.key} does not have the {storage.elements} numbers that its tensors expect")
    size = storage.elements * storage.kind.item_bytes
    data = stream.read(size)
    if len(data) != size:
        raise Refused(f"it ends within storage {storage.key}")
    return data


def checked(entries):
    """The tensors by name, each of the type that its name lets one expect."""
    for name, tensor in entries.items():
        if type(name) is not str or type(tensor) is not Tensor:
            raise Refused(f"`{name!s:.80}` is no tensor")
        if tensor.storage.kind is not (LONG if name.endswith(COUNTER) else FLOAT):
            raise Refused(f"`{name:.80}` is of {tensor.storage.kind.name}")
        yield name, tensor


def gathered(tensor, values):
    """The tensor's numbers side by side, whatever its strides."""
    # Items are moved, never read as numbers, so that the machine's own byte order does not matter.
    source = values[tensor.storage.key]
    long = [(size, stride) for size, stride in zip(tensor.shape, tensor.strides) if size != 1]
    result = array.array("f")

    def walk(offset, axes):
        if not axes:
            result.append(source[offset])
        elif len(axes) == 1:
            size, stride = axes[0]
            if stride == 0:
                result.extend(source[offset : offset + 1] * size)
            else:
                result.extend(source[offset : offset + (size - 1) * stride + 1 : stride])
        else:
            size, stride = axes[0]
            for position in range(size):
                walk(offset + position * stride, axes[1:])

    if 0 not in tensor.shape:
        walk(tensor.offset, long)
    return list(tensor.shape), result.tobytes()


def write_safetensors(tensors, path):
    """Writes tensors in the order of their names; the file is there whole or not at all."""
    header, offset = {}, 0
    for name, (shape, data) in sorted(tensors.items()):
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [offset, offset + len(data)]}
        offset += len(data)
    text = json.dumps(header, separators=(",", ":"), sort_keys=True).encode()
    text += b" " * (-len(text) % 8)
    partial = f"{path}.part"
    with open(partial, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, (_, data) in sorted(tensors.items()):
            file.write(data)
    os.replace(partial, path)


def main(arguments):
    if len(arguments) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    checkpoint, out = arguments
    # A pickle can ask for much with little: what a real checkpoint needs is far below these.
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (MAX_SECONDS, MAX_SECONDS))
    try:
        if not os.path.isfile(checkpoint):
            raise Refused("it is not a file")
        with open(checkpoint, "rb") as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise Refused(f"it has more than {MAX_BYTES} bytes")
        write_safetensors(read_checkpoint(data), out)
    except (Refused, OSError, MemoryError, RecursionError, TypeError, KeyError, ValueError) as error:
        print(f"starter: cannot take weights from {checkpoint}: {error or type(error).__name__}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
