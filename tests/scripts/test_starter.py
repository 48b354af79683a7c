"""The closed reader of scripts/starter.py: what it reads, and that what it refuses has not run.

    python3 -m unittest discover tests/scripts
"""

import array
import collections
import io
import json
import os
import pathlib
import pickle
import struct
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "scripts"))

import by_wnid
import starter

MAGIC = 0x1950A86A20F9469CFC6C


class Named:
    """A global of another module, by name alone: pickled as torch pickles its own."""

    def __init__(self, module, name):
        self.module, self.name = module, name


class Stored:
    """A reference to a storage."""

    def __init__(self, kind, key, elements):
        self.identity = ("storage", Named("torch", kind), key, "cpu", elements, None)


class Call:
    """What a pickle calls when it is read."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments


class Writer(pickle._Pickler):
    """Writes what torch would, and what it would not, without torch."""

    def persistent_id(self, value):
        return value.identity if isinstance(value, Stored) else None

    def save(self, value, save_persistent_id=True):
        if isinstance(value, Named):
            self.write(pickle.GLOBAL + f"{value.module}\n{value.name}\n".encode())
        elif isinstance(value, Call):
            self.save(value.function)
            self.save(tuple(value.arguments))
            self.write(pickle.REDUCE)
        else:
            super().save(value, save_persistent_id)


def dumped(value, protocol=2):
    stream = io.BytesIO()
    Writer(stream, protocol).dump(value)
    return stream.getvalue()


def tensor(key, shape, strides, offset=0, elements=6, kind="FloatStorage"):
    rebuild = Named("torch._utils", "_rebuild_tensor_v2")
    return Call(rebuild, Stored(kind, key, elements), offset, shape, strides, False, collections.OrderedDict())


def floats(values):
    return array.array("f", values).tobytes()


def storage(data, elements):
    return struct.pack("<q", elements) + data


def checkpoint(entries, storages, keys=None, system=None):
    """A file in the old format: five pickles, then the storages."""
    system = system or {"protocol_version": 1001, "little_endian": True, "type_sizes": {"int": 4}}
    head = b"".join(map(dumped, (MAGIC, 1001, system)))
    listed = list(storages) if keys is None else keys
    return head + dumped(entries) + dumped(listed) + b"".join(storages[key] for key in listed)


SIX = storage(floats(range(6)), 6)


class Reading(unittest.TestCase):
    def test_tensors_come_side_by_side_whatever_their_strides(self):
        entries = collections.OrderedDict(
            rows=tensor("a", (2, 3), (3, 1)),
            columns=tensor("a", (3, 2), (1, 3)),
            part=tensor("a", (2, 1), (2, 7), offset=1),
            spread=tensor("a", (2, 2), (0, 0), offset=5),
            scalar=tensor("a", (), (), offset=4),
            empty=tensor("a", (0, 3), (3, 1)),
        )
        found = starter.read_checkpoint(checkpoint(entries, {"a": SIX}))
        self.assertEqual(found["rows"], ([2, 3], floats(range(6))))
        self.assertEqual(found["columns"], ([3, 2], floats([0, 3, 1, 4, 2, 5])))
        self.assertEqual(found["part"], ([2, 1], floats([1, 3])))
        self.assertEqual(found["spread"], ([2, 2], floats([5] * 4)))
        self.assertEqual(found["scalar"], ([], floats([4])))
        self.assertEqual(found["empty"], ([0, 3], b""))

    def test_counters_are_left_out(self):
        counter = tensor("b", (), (), elements=1, kind="LongStorage")
        entries = {"x.num_batches_tracked": counter, "x.weight": tensor("a", (6,), (1,))}
        data = checkpoint(collections.OrderedDict(entries), {"a": SIX, "b": storage(bytes(8), 1)})
        self.assertEqual(list(starter.read_checkpoint(data)), ["x.weight"])

    def test_the_same_checkpoint_makes_the_same_sound_file(self):
        entries = collections.OrderedDict(b=tensor("a", (6,), (1,)), a=tensor("a", (1, 2), (2, 1)))
        with tempfile.TemporaryDirectory() as folder:
            source, *outs = [os.path.join(folder, name) for name in ("x.pth", "1.safetensors", "2.safetensors")]
            pathlib.Path(source).write_bytes(checkpoint(entries, {"a": SIX}))
            for out in outs:
                self.assertEqual(starter.main([source, out]), 0)
            first, second = (pathlib.Path(out).read_bytes() for out in outs)
            self.assertEqual(sorted(os.listdir(folder)), ["1.safetensors", "2.safetensors", "x.pth"])
        self.assertEqual(first, second)
        length = struct.unpack("<Q", first[:8])[0]
        header = json.loads(first[8 : 8 + length])
        self.assertEqual(header["a"], {"dtype": "F32", "shape": [1, 2], "data_offsets": [0, 8]})
        self.assertEqual(header["b"], {"dtype": "F32", "shape": [6], "data_offsets": [8, 32]})
        self.assertEqual((first[8 + length :], length % 8), (floats([0, 1, *range(6)]), 0))


class Refusing(unittest.TestCase):
    def refuse(self, data, *reasons):
        with self.assertRaises(starter.Refused) as caught:
            starter.read_checkpoint(data)
        for reason in reasons:
            self.assertIn(reason, str(caught.exception))

    def test_nothing_that_a_pickle_names_runs(self):
        with tempfile.TemporaryDirectory() as folder:
            trace = os.path.join(folder, "it-ran")
            attacks = [
                Call(Named("os", "mkdir"), trace),
                Call(Named("posix", "mkdir"), trace),
                Call(Named("builtins", "exec"), f"import os; os.mkdir({trace!r})"),
                Call(Named("builtins", "getattr"), Named("collections", "OrderedDict"), "__init__"),
                Call(Named("subprocess", "check_call"), ["mkdir", trace]),
                Call(Named("torch", "load"), trace),
                Call(Named("collections", "namedtuple"), "a", "b"),
                Named("torch._utils", "_rebuild_tensor"),
                Named("starter", "Entries"),
            ]
            for attack in attacks:
                inside = collections.OrderedDict(x=tensor("a", (6,), (1,)), y=attack)
                for data in (checkpoint(attack, {"a": SIX}), checkpoint(inside, {"a": SIX}), dumped(attack) + SIX):
                    self.refuse(data, "which this reader does not know")
            # The same, called by the opcodes of other protocols.
            name = b"\x8c\x05posix\x94\x8c\x06system\x94\x93"
            call = b"(iposix\nsystem\n", b"\x80\x04" + name, b"(cposix\nsystem\nX\x04\x00\x00\x00echoo."
            for start in call:
                self.refuse(b"".join(map(dumped, (MAGIC, 1001, {"little_endian": True}))) + start + b".", "`posix.system`")
            extension = b"\x80\x02\x82\x01."
            self.refuse(extension, "its pickle cannot be read")
            # Without this the test could not fail: read without a list of names, the first attack does run.
            pickle.loads(dumped(attacks[0]))
            self.assertEqual(os.listdir(folder), ["it-ran"])

    def test_names_are_compared_whole(self):
        for module, name in [("collections", "OrderedDict.__init__"), ("torch._utils.os", "_rebuild_tensor_v2"), ("torch", "floatstorage")]:
            entries = collections.OrderedDict(x=Named(module, name))
            self.refuse(checkpoint(entries, {"a": SIX}), "which this reader does not know")

    def test_what_is_allowed_does_no_harm(self):
        """The four names, called with what they do not expect."""
        ordered, float_storage = Named("collections", "OrderedDict"), Named("torch", "FloatStorage")
        rebuild = Named("torch._utils", "_rebuild_tensor_v2")
        storage_a = Stored("FloatStorage", "a", 6)
        for call in [
            Call(float_storage, 10**9),
            Call(ordered, 5),
            Call(rebuild),
            Call(rebuild, "a", 0, (1,), (1,)),
            Call(rebuild, storage_a, 0, (7,), (1,)),
            Call(rebuild, storage_a, 6, (1,), (1,)),
            Call(rebuild, storage_a, -1, (1,), (1,)),
            Call(rebuild, storage_a, 0, (2, 3), (1,)),
            Call(rebuild, storage_a, 0, (7,), (0,)),
            Call(rebuild, storage_a, 0, (1 << 28,) * 8, (0,) * 8),
            Call(rebuild, storage_a, 0, (2.0,), (1,)),
            Call(rebuild, storage_a, 0, (True,), (1,)),
            Call(rebuild, storage_a, 0, (1 << 40,), (0,)),
            Call(rebuild, storage_a, 0, (1,) * 9, (1,) * 9),
            Call(Call(ordered), "x"),
        ]:
            with self.subTest(call=call.arguments):
                self.refuse(checkpoint(collections.OrderedDict(x=call), {"a": SIX}))

    def test_attributes_are_not_set(self):
        # BUILD of an OrderedDict: torch stores `_metadata` so, another could store anything.
        body = b"\x80\x02ccollections\nOrderedDict\n)R}X\x09\x00\x00\x00__class__K\x01sb."
        entries = starter.read_pickle(io.BytesIO(body), starter.ALLOWED)[0]
        self.assertEqual((type(entries), vars(entries)), (starter.Entries, {}))
        # BUILD of the other names, with a dictionary of attributes and with a pair whose second part are slots.
        for module, name in starter.ALLOWED:
            for state in (b"}X\x01\x00\x00\x00xK\x01s", b"N}X\x0c\x00\x00\x00__defaults__)s\x86"):
                with self.assertRaises(starter.Refused):
                    build = f"\x80\x02c{module}\n{name}\n".encode("latin-1") + state + b"b."
                    starter.read_pickle(io.BytesIO(build), starter.ALLOWED)

    def test_storages_are_counted(self):
        entries = collections.OrderedDict(x=tensor("a", (6,), (1,)))
        self.refuse(checkpoint(entries, {"a": storage(floats(range(6)), 5)}), "storage a")
        self.refuse(checkpoint(entries, {"a": SIX})[:-1], "it ends within storage a")
        self.refuse(checkpoint(entries, {"a": SIX}) + b"x", "behind its last storage")
        self.refuse(checkpoint(entries, {"a": SIX}, keys=[]), "its list of storages")
        self.refuse(checkpoint(entries, {"a": SIX, "b": SIX}), "its list of storages")
        twice = collections.OrderedDict(x=tensor("a", (6,), (1,)), y=tensor("a", (5,), (1,), elements=5))
        self.refuse(checkpoint(twice, {"a": SIX}), "is described in two ways")
        huge = collections.OrderedDict(x=tensor("a", (1,), (1,), elements=1 << 60))
        self.refuse(checkpoint(huge, {"a": SIX}), "unknown kind or size")

    def test_tensors_together_have_no_more_numbers_than_the_file(self):
        many = {f"x{number}": tensor("a", (1000,), (1,), elements=1000) for number in range(300)}
        self.refuse(checkpoint(collections.OrderedDict(many), {"a": storage(bytes(4000), 1000)}), "more numbers than it holds")

    def test_types_are_those_of_the_names(self):
        long = tensor("a", (6,), (1,), kind="LongStorage")
        self.refuse(checkpoint(collections.OrderedDict(x=long), {"a": storage(bytes(48), 6)}), "is of LongStorage")
        self.refuse(checkpoint(collections.OrderedDict(x=5), {}), "`x` is no tensor")
        half = collections.OrderedDict(x=tensor("a", (6,), (1,), kind="HalfStorage"))
        self.refuse(checkpoint(half, {"a": SIX}), "`torch.HalfStorage`")

    def test_other_files_are_refused(self):
        self.refuse(b"", "its pickle cannot be read")
        self.refuse(b"PK\x03\x04", "its pickle cannot be read")
        self.refuse(dumped(5) + dumped(1001), "no checkpoint in PyTorch's old format")
        self.refuse(checkpoint([], {}), "it holds no state dict")
        big = {"little_endian": False}
        self.refuse(checkpoint(collections.OrderedDict(), {}, system=big), "little-endian")
        with tempfile.TemporaryDirectory() as folder:
            source, out = os.path.join(folder, "x.pth"), os.path.join(folder, "x.safetensors")
            pathlib.Path(source).write_bytes(b"nothing")
            stderr, sys.stderr = sys.stderr, io.StringIO()
            try:
                self.assertEqual(starter.main([source, out]), 1)
                self.assertIn("cannot take weights from", sys.stderr.getvalue())
            finally:
                sys.stderr = stderr
            self.assertEqual(os.listdir(folder), ["x.pth"])


class Sorting(unittest.TestCase):
    def test_photos_go_into_the_folders_of_their_classes(self):
        with tempfile.TemporaryDirectory() as folder:
            source, target = pathlib.Path(folder, "in"), pathlib.Path(folder, "out")
            source.mkdir()
            for name in ["n01440764_tench.JPEG", "n01440764_2.png", "n02123045_tabby.jpg", "notes.txt", "n123_x.jpg"]:
                (source / name).write_text(name)
            for _ in range(2):
                self.assertEqual(by_wnid.sort(source, target), 3)
            found = sorted(str(path.relative_to(target)) for path in target.rglob("*.*"))
            self.assertEqual(found, ["n01440764/n01440764_2.png", "n01440764/n01440764_tench.JPEG", "n02123045/n02123045_tabby.jpg"])
            self.assertEqual((target / found[0]).read_text(), "n01440764_2.png")


if __name__ == "__main__":
    unittest.main()
