"""Writes tests/fixtures/jpegs.tar.gz: JPEGs of every kind, and what Pillow makes of each.

Run `python tests/goldens/jpegs.py` from the repository's root with Pillow and numpy installed, after graft has been built:
libjpeg-turbo's `cjpeg`, which its build leaves in `target`, writes the kinds that Pillow cannot (`--cjpeg PATH` names another).
`expected.tsv` in the archive has a line per file: its name, then the SHA-256 of Pillow's RGB or `refused`.
Left out are files whose coefficients overflow: Pillow's own pixels of those depend on the processor, as a second process
shows, in which libjpeg-turbo may not use SIMD.
`--more FOLDER COUNT` writes all files and `expected.tsv` into a folder instead, COUNT of them damaged.
Everything comes from a seed.
"""

import argparse
import gzip
import hashlib
import io
import itertools
import os
import pathlib
import pickle
import random
import struct
import subprocess
import sys
import tarfile
import tempfile
import warnings

import numpy as np
from PIL import Image

OUT = pathlib.Path("tests/fixtures/jpegs.tar.gz")
SOI, EOI, SOS, DQT, DHT, DRI, DNL, COM = 0xD8, 0xD9, 0xDA, 0xDB, 0xC4, 0xDD, 0xDC, 0xFE
# Marker with its segment, then coded data.
SEGMENTS = set(range(0xC0, 0xFF)) - set(range(0xD0, 0xDA))


def picture(width, height):
    """Colours that differ from pixel to pixel, so that another upsampling or another order shows."""
    y, x = np.mgrid[0:height, 0:width]
    noise = np.random.default_rng(width * height).integers(-50, 51, (height, width, 3))
    planes = np.stack([x * 255 / width, y * 255 / height, 255 - (x + y) * 255 / (width + height)], axis=-1)
    return Image.fromarray((planes + noise).clip(0, 255).astype(np.uint8))


def saved(image, **options):
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **options)
    return buffer.getvalue()


class Cjpeg:
    def __init__(self, path):
        found = sorted(pathlib.Path("target").glob("*/build/turbojpeg-sys-*/out/bin/cjpeg"))
        self.path = path or (str(found[-1]) if found else None)
        if self.path is None:
            raise SystemExit("no cjpeg below target/: build graft first, or name one with --cjpeg")

    def __call__(self, image, *options, scans=None):
        buffer = io.BytesIO()
        image.save(buffer, "PPM")
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as script:
            if scans is not None:
                script.write(scans)
                script.flush()
                options = (*options, "-scans", script.name)
            return subprocess.run([self.path, *options], input=buffer.getvalue(), capture_output=True, check=True).stdout


# A file as [marker, segment or None, coded data] after its start of image.


def parsed(data):
    parts, at = [], 2
    while at < len(data):
        marker, at = data[at + 1], at + 2
        segment = None
        if marker in SEGMENTS:
            length = struct.unpack(">H", data[at : at + 2])[0]
            segment, at = data[at + 2 : at + length], at + length
        start = at
        while at < len(data) and not (data[at] == 0xFF and data[at + 1] not in (0, *range(0xD0, 0xD8))):
            at += 1
        parts.append([marker, segment, data[start:at]])
    return parts


def segment(marker, data=b""):
    return bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data


def joined(parts):
    out = b"\xff\xd8"
    for marker, data, coded in parts:
        out += (bytes([0xFF, marker]) if data is None else segment(marker, data)) + coded
    return out


def changed(data, marker, change):
    """`data` with `change` applied to every segment of this marker; None drops it."""
    out = []
    for part in parsed(data):
        new = change(part[1]) if part[0] == marker else part[1]
        if not (part[0] == marker and new is None):
            out.append([part[0], new, part[2]])
    return joined(out)


def frame_of(data):
    return next(part[0] for part in parsed(data) if part[0] in (0xC0, 0xC1, 0xC2, 0xC3, 0xC9, 0xCA))


def put(data, at, *segments):
    """`segments` after the first `at` parts."""
    parts = parsed(data)
    return joined(parts[:at]) + b"".join(segments) + joined(parts[at:])[2:]


def before_scan(data, *segments):
    return put(data, [part[0] for part in parsed(data)].index(SOS), *segments)


def with_ids(data, ids):
    def frame(old):
        return old[:6] + b"".join(bytes([ids[at]]) + old[7 + at * 3 : 9 + at * 3] for at in range(old[5]))

    old = next(part[1] for part in parsed(data) if part[0] == frame_of(data))
    names = {old[6 + at * 3]: ids[at] for at in range(old[5])}
    scan = lambda old: bytes([old[0]]) + b"".join(
        bytes([names[old[1 + at * 2]], old[2 + at * 2]]) for at in range(old[0])
    ) + old[1 + old[0] * 2 :]
    return changed(changed(data, frame_of(data), frame), SOS, scan)


def sampled(data, factors):
    """Sampling factors in the header alone: the data no longer fits it, which libjpeg takes with warnings."""
    frame = lambda old: old[:6] + b"".join(
        bytes([old[6 + at * 3], factors[at]]) + old[8 + at * 3 : 9 + at * 3] for at in range(old[5])
    )
    return changed(data, frame_of(data), frame)


def adobe(transform):
    return segment(0xEE, b"Adobe\0\x64\0\0\0\0" + bytes([transform]))


def jfif(version=b"\1\1"):
    return segment(0xE0, b"JFIF\0" + version + b"\0\0\1\0\1\0\0")


def scans(parts):
    return [part for part in parts if part[0] == SOS]


def with_scans(data, choose):
    """The scans as `choose` lists them, each with the tables in front of it."""
    head, groups, group = [], [], []
    for part in parsed(data):
        if part[0] == EOI:
            break
        group.append(part)
        if part[0] == SOS:
            groups.append(group)
            group = []
    # What stands before the first scan's own tables belongs to the file.
    first = groups[0]
    split = max((at for at, part in enumerate(first) if part[0] not in (DHT, SOS)), default=-1) + 1
    head, groups[0] = first[:split], first[split:]
    return joined(head + [part for group in choose(groups) for part in group] + [[EOI, None, b""]])


SCRIPTS = {
    "each": "0; 1; 2;",
    "backwards": "2; 1; 0;",
    "pair": "1 2; 0;",
    "spectral": "0 1 2: 0-0, 0, 0; 0: 1-5, 0, 0; 2: 1-63, 0, 0; 1: 1-63, 0, 0; 0: 6-63, 0, 0;",
    "successive": "0: 0-0, 0, 1; 1 2: 0-0, 0, 1; 0: 1-63, 0, 2; 1: 1-63, 0, 1; 0: 1-63, 2, 1; 2: 1-63, 0, 1; "
    "0: 0-0, 1, 0; 2: 0-0, 1, 0; 1: 0-0, 1, 0; 0: 1-63, 1, 0; 1: 1-63, 1, 0; 2: 1-63, 1, 0;",
    "coarse": "0 1 2: 0-0, 0, 1; 0: 1-5, 0, 2;",
}
SAMPLINGS = ["1x1", "2x1", "1x2", "2x2", "4x1", "1x4", "4x2", "2x4", "4x4", "3x1", "1x3", "3x3", "3x2", "2x2,1x1,2x1", "2x2,1x2,1x1",
             "2x1,1x1,2x1", "1x1,2x2,1x1", "1x1,1x1,2x2", "1x2,1x1,1x1", "4x1,2x1,1x1", "2x2,2x1,2x1", "2x2,2x2,2x2", "4x2,2x1,1x2"]


def blocks(sampling):
    """How many blocks a unit of all three components has; a scan may not have more than ten."""
    factors = [tuple(map(int, part.split("x"))) for part in sampling.split(",")]
    factors += [(1, 1)] * (3 - len(factors)) if len(factors) == 1 else []
    return sum(horizontal * vertical for horizontal, vertical in factors)


def coded(cjpeg):
    """Every process, sampling and order of scans, as encoders write them."""
    image = picture(37, 27)
    for sampling in SAMPLINGS:
        options = ("-quality", "80", "-sample", sampling)
        yield f"sampling_{sampling}_scans", cjpeg(image, *options, scans=SCRIPTS["each"])
        if blocks(sampling) <= 10:
            yield f"sampling_{sampling}", cjpeg(image, *options)
            yield f"sampling_{sampling}_progressive", cjpeg(image, *options, "-progressive")
    for process in ("", "-arithmetic"):
        for name, script in SCRIPTS.items():
            for sampling in ("1x1", "2x2"):
                options = ("-quality", "75", "-sample", sampling, *process.split())
                yield f"scans_{name}_{sampling}{process}", cjpeg(image, *options, scans=script)
        for restart in ("1B", "3B", "1", "2"):
            options = ("-restart", restart, "-sample", "2x1", *process.split())
            yield f"restart_{restart}{process}", cjpeg(image, *options)
            yield f"restart_{restart}_progressive{process}", cjpeg(image, *options, "-progressive")
        for colour in ("-grayscale", "-rgb"):
            for progressive in ("", "-progressive"):
                yield f"{colour[1:]}{progressive}{process}", cjpeg(image, *f"{colour} {progressive} {process}".split())
    for quality in ("1", "30", "100"):
        yield f"quality_{quality}", cjpeg(image, "-quality", quality)
    yield "smooth", cjpeg(image, "-quality", "5", "-progressive", scans=SCRIPTS["coarse"])
    for predictor in range(1, 8):
        yield f"lossless_{predictor}", cjpeg(image, "-lossless", f"{predictor},{predictor % 3}", "-rgb")
    yield "lossless_ycc", cjpeg(image, "-lossless", "1")
    yield "lossless_grey", cjpeg(image, "-lossless", "4", "-grayscale")
    yield "lossless_restart", cjpeg(image, "-lossless", "1", "-rgb", "-restart", "1")
    yield "lossless_scans", cjpeg(image, "-lossless", "2", "-rgb", scans="0: 2-0, 0, 0; 1: 2-0, 0, 0; 2: 2-0, 0, 0;")
    for width, height in ((1, 1), (1, 40), (40, 1), (8, 8), (16, 16), (17, 15), (65, 3)):
        for sampling in ("1x1", "2x2", "4x1", "1x2"):
            yield f"size_{width}_{height}_{sampling}", cjpeg(picture(width, height), "-sample", sampling)
        yield f"size_{width}_{height}_progressive", cjpeg(picture(width, height), "-progressive")


def colours(cjpeg):
    """What decides about colours: JFIF, Adobe, identifiers, count of components."""
    image = picture(24, 18)
    ycc = cjpeg(image, "-sample", "2x2")
    rgb = cjpeg(image, "-rgb")
    cmyk = Image.fromarray(np.concatenate([np.array(image), np.array(image.convert("L"))[..., None]], axis=-1), "CMYK")
    four = changed(saved(cmyk), 0xEE, lambda old: None)
    subsampled = sampled(four, [0x22, 0x11, 0x11, 0x22])
    markers = {"none": [], "jfif": [jfif()], "adobe0": [adobe(0)], "adobe1": [adobe(1)], "adobe2": [adobe(2)], "adobe3": [adobe(3)],
               "adobe1_jfif": [adobe(1), jfif()], "jfif_adobe2": [jfif(), adobe(2)], "jfif_adobe1": [jfif(), adobe(1)],
               "jfif_adobe0": [jfif(), adobe(0)], "adobe0_jfif": [adobe(0), jfif()], "jfif_2": [jfif(b"\2\1")], "adobe0_adobe1": [adobe(0), adobe(1)],
               "adobe_short": [segment(0xEE, b"Adobe\0\x64\0")], "adobe_cut": [segment(0xEE, b"Adobe\0")],
               "jfif_short": [segment(0xE0, b"JFIF\0\1\1")], "jfif_cut": [segment(0xE0, b"JFIF\0")], "jfxx": [segment(0xE0, b"JFXX\0\x13\1\1\0\0\0")]}
    bare = lambda data: changed(changed(data, 0xE0, lambda old: None), 0xEE, lambda old: None)
    for name, extra in markers.items():
        for kind, data in (("ycc", ycc), ("rgb", rgb), ("cmyk", four), ("cmyk_subsampled", subsampled), ("grey", cjpeg(image, "-grayscale"))):
            yield f"{kind}_{name}", put(bare(data), 0, *extra)
    for ids in ((1, 2, 3), (0, 1, 2), (82, 71, 66), (114, 103, 98), (1, 34, 35), (2, 3, 4), (7, 7, 9), (5, 5, 5), (255, 0, 1)):
        text = "_".join(map(str, ids))
        yield f"ids_{text}", with_ids(bare(ycc), ids)
        yield f"ids_{text}_rgb", with_ids(bare(rgb), ids)
        yield f"ids_{text}_jfif", put(with_ids(bare(ycc), ids), 0, jfif())
    for ids in ((67, 77, 89, 75), (0, 1, 2, 3), (1, 2, 3, 1)):
        yield f"ids_{'_'.join(map(str, ids))}", with_ids(four, ids)
    yield "late_adobe", before_scan(bare(ycc), adobe(0))
    yield "cmyk_progressive", saved(cmyk, progressive=True)
    yield "ycck_progressive", changed(saved(cmyk, progressive=True), 0xEE, lambda old: old[:11] + b"\2")
    for components in (0, 2, 3, 4, 5):
        yield f"count_{components}", changed(ycc, 0xC0, lambda old: old[:5] + bytes([components]) + old[6:])
        yield f"count_{components}_grey", changed(cjpeg(image, "-grayscale"), 0xC0, lambda old: old[:5] + bytes([components]) + old[6:])
    two = changed(changed(ycc, 0xC0, lambda old: old[:5] + b"\2" + old[6:12]), SOS, lambda old: b"\2" + old[1:5] + old[7:])
    yield "two_components", two


def framed(cjpeg):
    """Markers where they may or may not stand, and tables of every kind."""
    image = picture(32, 24)
    plain, each = cjpeg(image, "-sample", "2x2"), cjpeg(image, "-sample", "2x1", scans=SCRIPTS["each"])
    progressive = cjpeg(image, "-progressive")
    restarts = cjpeg(image, "-restart", "2B")
    for name, data in (("plain", plain), ("each", each), ("progressive", progressive), ("restarts", restarts)):
        body, end = data[:-2], data[-2:]
        yield f"{name}_trailing", data + b"more \xff\xd9 bytes \xff\xd8\xff" * 9
        yield f"{name}_two_ends", data + end
        yield f"{name}_no_end", body
        for size in (1, 2, 8, 100):
            yield f"{name}_no_end_{size}_zeros", body + b"\0" * size
        yield f"{name}_no_end_fill", body + b"\xff" * 20
        yield f"{name}_no_end_next", body + plain
        for part in (3, 5, 8, 9):
            yield f"{name}_cut_{part}", data[: len(data) * part // 10]
            yield f"{name}_cut_{part}_end", data[: len(data) * part // 10] + end
            yield f"{name}_cut_{part}_zeros", data[: len(data) * part // 10] + b"\0" * 300
        yield f"{name}_twice", data + data
        yield f"{name}_fill", b"\xff\xd8" + data[2:].replace(b"\xff\xdb", b"\xff\xff\xff\xdb").replace(b"\xff\xda", b"\xff\xff\xda")
        yield f"{name}_end_first", put(data, 1, end)
        yield f"{name}_start_twice", put(data, 1, b"\xff\xd8")
        for marker in (0x01, 0x02, 0xBF, 0xC8, 0xD0, 0xD5, 0xDE, 0xDF, 0xF0, 0xFD):
            yield f"{name}_marker_{marker:x}", put(data, 1, bytes([0xFF, marker]))
            yield f"{name}_late_marker_{marker:x}", body + bytes([0xFF, marker]) + end
        for marker in (0xC8, 0xDC, 0xDE, 0xDF, 0xEF, 0xF0, 0xF7, 0xFD, 0xFE):
            yield f"{name}_segment_{marker:x}", put(data, 1, segment(marker, b"abc"))
            yield f"{name}_late_segment_{marker:x}", body + segment(marker, b"abc") + end
        for junk in (b"\0", b"junk", b"\xff\0", b"\xff\0\xff\xff", b"\0" * 40):
            yield f"{name}_junk_{junk.hex()[:8]}", put(data, 2, junk)
            yield f"{name}_late_junk_{junk.hex()[:8]}", body + junk + end
        for length in (0, 1, 2, 3):
            yield f"{name}_length_{length}", put(data, 1, b"\xff\xfe" + struct.pack(">H", length))
        yield f"{name}_length_beyond", put(data, 1, b"\xff\xfe\xff\xff")
        yield f"{name}_tables", put(data, 1, segment(0xE5, b"x" * 300), segment(COM, b"said"), segment(0xE2, b"ICC_PROFILE\0\1\1abc"))
        yield f"{name}_no_tables", changed(data, DHT, lambda old: None)
        yield f"{name}_no_quantization", changed(data, DQT, lambda old: None)
        yield f"{name}_wide_quantization", changed(data, DQT, lambda old: bytes([old[0] | 16]) + b"".join(bytes([0, value]) for value in old[1:65]))
        yield f"{name}_wider_quantization", changed(data, DQT, lambda old: bytes([old[0] | 16]) + b"".join(bytes([1, value]) for value in old[1:65]))
        yield f"{name}_zero_quantization", changed(data, DQT, lambda old: old[:5] + b"\0" * 10 + old[15:])
        yield f"{name}_short_quantization", changed(data, DQT, lambda old: old[:40])
        yield f"{name}_quantization_5", changed(data, DQT, lambda old: b"\5" + old[1:])
        for frame in (0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC9, 0xCA, 0xCB, 0xCD):
            yield f"{name}_frame_{frame:x}", data.replace(bytes([0xFF, frame_of(data)]), bytes([0xFF, frame]), 1)
        frame = next(part for part in parsed(data) if part[0] == frame_of(data))
        yield f"{name}_two_frames", before_scan(data, segment(frame[0], frame[1]))
        yield f"{name}_frame_again", body + segment(frame[0], frame[1]) + end
        for at, value in ((0, 12), (0, 7), (2, 0), (2, 23), (2, 25), (4, 0), (4, 31), (4, 40), (1, 1), (6, 2), (7, 0x33), (7, 0x50), (7, 0), (8, 3), (8, 1)):
            yield f"{name}_frame_byte_{at}_{value}", changed(data, frame[0], lambda old: old[:at] + bytes([value]) + old[at + 1 :])
        yield f"{name}_frame_short", changed(data, frame[0], lambda old: old[:-1])
        yield f"{name}_frame_long", changed(data, frame[0], lambda old: old + b"\0")
        first = scans(parsed(data))[0][1]
        for at in range(len(first)):
            for value in (0, 1, 2, 0x11, 0x23, 63, 64):
                if at in (0, 1, 2, len(first) - 3, len(first) - 2, len(first) - 1):
                    yield f"{name}_scan_byte_{at}_{value}", changed(data, SOS, lambda old: old[:at] + bytes([value]) + old[at + 1 :])
        for interval in (0, 1, 4, 1000):
            yield f"{name}_interval_{interval}", before_scan(data, segment(DRI, struct.pack(">H", interval)))
        yield f"{name}_interval_short", before_scan(data, segment(DRI, b"\1"))
        yield f"{name}_lines", changed(body, frame[0], lambda old: old[:1] + b"\0\0" + old[3:]) + segment(DNL, b"\0\x18") + end
        yield f"{name}_lines_given", body + segment(DNL, b"\0\x18") + end
    for name, data in (("each", each), ("progressive", progressive)):
        orders = {"backwards": lambda all: all[::-1], "first": lambda all: all[:1], "last_missing": lambda all: all[:-1],
                  "second_missing": lambda all: all[:1] + all[2:], "twice": lambda all: all + all, "first_twice": lambda all: all[:1] + all,
                  "rotated": lambda all: all[1:] + all[:1]}
        for order, choose in orders.items():
            yield f"{name}_scans_{order}", with_scans(data, choose)
    yield "plain_scan_twice", with_scans(plain, lambda all: all + all)
    for name, old, new in (("dropped", b"\xff\xd1", b""), ("other", b"\xff\xd1", b"\xff\xd2"), ("early", b"\xff\xd3", b"\xff\xd1"),
                           ("twice", b"\xff\xd1", b"\xff\xd1\xff\xd1"), ("reserved", b"\xff\xd1", b"\xff\x02"), ("far", b"\xff\xd1", b"\xff\xd6"),
                           ("end", b"\xff\xd2", b"\xff\xd9"), ("comment", b"\xff\xd1", b"\xff\xd1\xff\xfe\0\4ab")):
        yield f"restart_marker_{name}", restarts.replace(old, new)
    tables = b"\xff\xd8" + b"".join(segment(part[0], part[1]) for part in parsed(plain) if part[0] in (DQT, DHT)) + b"\xff\xd9"
    without = changed(changed(plain, DHT, lambda old: None), DQT, lambda old: None)
    yield "tables_apart", tables + without
    yield "tables_apart_junk", tables + b"junk" + without
    yield "tables_alone", tables


def damaged(cjpeg, count, rounds):
    """Bits and bytes changed anywhere behind the first bytes."""
    image = picture(29, 21)
    sources = [cjpeg(image, *options.split()) for options in (
        "-sample 2x2", "-sample 1x1 -progressive", "-sample 2x1 -restart 1B", "-arithmetic", "-arithmetic -progressive", "-grayscale",
        "-rgb -lossless 1", "-sample 2x2 -progressive -restart 1")]
    sources.append(cjpeg(image, "-sample", "2x1", scans=SCRIPTS["pair"]))
    for at in range(count):
        data = bytearray(sources[at % len(sources)])
        for _ in range(rounds.randint(1, 4)):
            where = rounds.randrange(2, len(data))
            kind = rounds.randrange(5)
            if kind == 0:
                data[where] ^= 1 << rounds.randrange(8)
            elif kind == 1:
                data[where] = rounds.choice([0, 1, 0xFF, 0xD9, 0xDA, 0xC4, 0xD0, 0xD7, rounds.randrange(256)])
            elif kind == 2:
                del data[where : where + rounds.randint(1, 9)]
            elif kind == 3:
                data[where:where] = rounds.randbytes(rounds.randint(1, 5))
            else:
                length = rounds.randint(1, 40)
                other = rounds.randrange(2, len(data))
                data[where : where + length] = data[other : other + length]
        yield f"damaged_{at}", bytes(data)


def expected(data):
    try:
        return hashlib.sha256(Image.open(io.BytesIO(data), formats=["JPEG"]).convert("RGB").tobytes()).hexdigest()
    except Exception:  # noqa: BLE001 - Pillow refuses with errors of many types
        return "refused"


def expected_without_simd(files):
    """The same in a process of its own: libjpeg-turbo looks at the processor once."""
    with tempfile.TemporaryFile() as handed:
        pickle.dump([data for _, data in files], handed)
        handed.seek(0)
        environment = {**os.environ, "JSIMD_FORCENONE": "1"}
        ran = subprocess.run([sys.executable, __file__, "--listed"], stdin=handed, stdout=subprocess.PIPE, env=environment, check=True)
    return ran.stdout.decode().split()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cjpeg")
    parser.add_argument("--listed", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--more", nargs=2, metavar=("FOLDER", "COUNT"))
    parser.add_argument("--seed", type=int, default=13)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    if options.listed:
        return print("\n".join(map(expected, pickle.load(sys.stdin.buffer))))
    cjpeg = Cjpeg(options.cjpeg)
    count = int(options.more[1]) if options.more else 200
    files = [*coded(cjpeg), *colours(cjpeg), *framed(cjpeg), *damaged(cjpeg, count, random.Random(options.seed))]
    assert len({name for name, _ in files}) == len(files)
    outcomes = [expected(data) for _, data in files]
    if not options.more:
        kept = [with_simd == without for with_simd, without in zip(outcomes, expected_without_simd(files))]
        files, outcomes = [list(itertools.compress(values, kept)) for values in (files, outcomes)]
    listing = "".join(f"{name}.jpg\t{outcome}\n" for (name, _), outcome in zip(files, outcomes))
    print(f"{len(files)} files, {listing.count('refused')} refused")
    if options.more:
        folder = pathlib.Path(options.more[0])
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in files:
            (folder / f"{name}.jpg").write_bytes(data)
        (folder / "expected.tsv").write_text(listing)
        return
    with OUT.open("wb") as out, gzip.GzipFile("", "wb", 9, out, mtime=0) as packed, tarfile.open(fileobj=packed, mode="w") as archive:
        for name, data in [("expected.tsv", listing.encode()), *((f"{name}.jpg", data) for name, data in files)]:
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    print(f"{OUT}: {OUT.stat().st_size} bytes")


main()
