"""Writes tests/fixtures/images/variants.tar.gz: tiny PNG, BMP, GIF, WebP and TIFF files of every variant, odd and damaged ones too.

Run `python tests/goldens/formats.py` from the repository's root with Pillow 13 and numpy installed.
`variants.json` says what Pillow makes of each: width, height and the SHA-256 of its RGB bytes, or that it refuses the file.
Where graft refuses by name what Pillow reads, or reads on purpose what Pillow refuses, the entry says so under "graft".
"""

import gzip
import hashlib
import io
import itertools
import json
import pathlib
import random
import struct
import tarfile
import warnings
import zlib

import numpy as np
from PIL import Image

OUT = pathlib.Path("tests/fixtures/images")
chance = np.random.default_rng(13)
WIDTH, HEIGHT = 13, 18


POOL = chance.integers(0, 256, 1 << 20, dtype=np.uint8).tobytes()
used = 0


def noise(length):
    """Every file starts with the same noise, so that all of them together compress well."""
    global used
    used += length
    return POOL[used - length : used]


def picture(width=WIDTH, height=HEIGHT):
    y, x = np.mgrid[0:height, 0:width]
    planes = np.stack([x * 255 / width, y * 255 / height, 255 - (x + y) * 255 / (width + height)], axis=-1)
    return Image.fromarray((planes + chance.integers(-30, 31, planes.shape)).clip(0, 255).astype(np.uint8))


def saved(image, format, **options):
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


# PNG


def chunk(kind, data, crc=None):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data) if crc is None else crc)


PASSES = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]


def png(color, depth, width=WIDTH, height=HEIGHT, interlaced=False, before=b"", after=b"", end=True, cut=0, method=0, parts=1):
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(color, 1)
    passes = PASSES if interlaced else [(0, 0, 1, 1)]
    rows = b""
    for left, top, right, down in passes:
        columns, lines = len(range(left, width, right)), len(range(top, height, down))
        if columns:
            rows += b"".join(bytes([line % 5]) + noise((columns * channels * depth + 7) // 8) for line in range(lines))
    data = zlib.compress(rows)
    data = data[: len(data) - cut]
    step = -(-len(data) // parts)
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, method, int(interlaced))
    pieces = b"".join(chunk(b"IDAT", data[at : at + step]) for at in range(0, len(data), step))
    file = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + before + pieces + after
    return file + (chunk(b"IEND", b"") if end else b"")


def palette(colors):
    return chunk(b"PLTE", noise(3 * colors))


def pngs():
    depths = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
    for color, interlaced in itertools.product(depths, (False, True)):
        for depth in depths[color]:
            before = palette(1 << depth) if color == 3 else b""
            yield f"{color}_{depth}{'_interlaced' if interlaced else ''}.png", png(color, depth, interlaced=interlaced, before=before)
    for width, height in [(1, 1), (1, 9), (9, 1), (2, 3), (3, 2), (4, 5), (5, 4), (8, 8)]:
        yield f"interlaced_{width}x{height}.png", png(2, 8, width, height, interlaced=True)
        yield f"interlaced_grey_{width}x{height}.png", png(0, 1, width, height, interlaced=True)
    yield "no_end.png", png(2, 8, end=False)
    yield "no_last_checksum.png", png(2, 8, end=False)[:-4]
    yield "no_last_checksum_interlaced.png", png(2, 8, interlaced=True, end=False)[:-4]
    for cut in (1, 4, 5, 9):
        yield f"cut_{cut}.png", png(2, 8, end=False, cut=cut)
        yield f"cut_{cut}_end.png", png(2, 8, cut=cut)
        yield f"cut_{cut}_interlaced.png", png(2, 8, interlaced=True, cut=cut)
    whole = png(2, 8, end=False)
    yield "cut_in_data.png", whole[:-40]
    yield "cut_in_header.png", whole[:30]
    yield "many_parts.png", png(2, 8, parts=9)
    yield "interrupted.png", png(2, 8, parts=2).replace(b"IDAT", b"IdAT").replace(b"IdAT", b"IDAT", 1)
    yield "trailing.png", png(2, 8) + b"more" * 9
    at = whole.index(b"IDAT")
    yield "data_checksum.png", whole[:-1] + bytes([whole[-1] ^ 1])
    yield "adler.png", whole[:-5] + bytes([whole[-5] ^ 1]) + whole[-4:]
    yield "header_checksum.png", whole[: at - 5] + bytes([whole[at - 5] ^ 1]) + whole[at - 4 :]
    yield "palette_checksum.png", png(3, 8, before=chunk(b"PLTE", noise(30), 1))
    yield "no_palette.png", png(3, 8)
    yield "no_palette_4.png", png(3, 4)
    yield "odd_palette.png", png(3, 8, before=chunk(b"PLTE", noise(31)))
    yield "long_palette_4.png", png(3, 4, before=palette(40))
    yield "two_palettes.png", png(3, 8, before=palette(10) + palette(20))
    yield "unknown_critical.png", png(2, 8, before=chunk(b"ABCD", b""))
    yield "filter_method.png", png(2, 8, method=1)
    yield "no_such_colour.png", png(5, 8)
    yield "no_such_depth.png", png(2, 4)
    profile = b"p\0\0" + zlib.compress(bytes(10_000_000), 9)
    yield "profile.png", png(2, 8, before=chunk(b"iCCP", profile), after=chunk(b"zTXt", profile))
    frame = struct.pack(">IIIIIHHBB", 0, WIDTH, HEIGHT, 0, 0, 1, 10, 0, 0)
    yield "animated.png", png(2, 8, before=chunk(b"acTL", struct.pack(">II", 1, 0)) + chunk(b"fcTL", frame))
    yield "animated_default.png", saved(picture(), "PNG", save_all=True, append_images=[picture()], default_image=True)
    xmp = b'<x:xmpmeta tiff:Orientation="6"/>'
    for kind, text in [("plain", b"\0\0\0\0" + xmp), ("compressed", b"\1\0\0\0" + zlib.compress(xmp))]:
        yield f"xmp_{kind}.png", png(2, 8, before=chunk(b"iTXt", b"XML:com.adobe.xmp\0" + text))
    yield "xmp_after.png", png(2, 8, after=chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp))


# BMP


def bmp(bits, data, width=WIDTH, height=HEIGHT, header=40, method=0, masks=b"", colors=b"", count=0, offset=None, top_down=False):
    if header == 12:
        info = struct.pack("<IHHHH", 12, width, height, 1, bits)
    else:
        rest = struct.pack("<IiiHHIIIIII", header, width, -height if top_down else height, 1, bits, method, 0, 0, 0, count, 0)
        info = rest + (masks + bytes(124))[: header - 40]
        masks = b"" if header > 40 else masks
    start = 14 + len(info) + len(masks) + len(colors) if offset is None else offset
    return struct.pack("<2sIHHI", b"BM", start + len(data), 0, 0, start) + info + masks + colors + data


def rows(bits, width=WIDTH, height=HEIGHT):
    return b"".join(noise((width * bits + 31) // 32 * 4) for _ in range(height))


def runs(nibbles, width=WIDTH, height=HEIGHT):
    draw = random.Random(5)
    data = b""
    for _ in range(height):
        left = width
        while left:
            kind = draw.randrange(3)
            count = draw.randint(1, left)
            if kind == 0 and count >= 3:
                stored = noise((count + 1) // 2 if nibbles else count)
                data += bytes([0, count]) + stored + bytes(len(stored) % 2)
            elif kind == 1 and left == count:
                break
            else:
                data += bytes([count]) + noise(1)
            left -= count
        data += b"\0\0"
    return data + b"\0\1"


def bmps():
    def colors(count, entry=4):
        return b"".join(noise(3) + bytes(entry - 3) for _ in range(count))

    for bits, header in itertools.product((1, 4, 8, 16, 24, 32), (12, 40, 52, 56, 64, 108, 124)):
        table = colors(1 << bits, 3 if header == 12 else 4) if bits <= 8 else b""
        yield f"{bits}_{header}.bmp", bmp(bits, rows(bits), header=header, colors=table)
    greys = lambda count: b"".join(bytes([level] * 3 + [0]) for level in range(count))
    yield "greys.bmp", bmp(8, rows(8), colors=greys(200), count=200)
    yield "greys_runs.bmp", bmp(8, runs(False), method=1, colors=greys(90), count=90)
    packed = {"565": (0xF800, 0x7E0, 0x1F, 0), "555": (0x7C00, 0x3E0, 0x1F, 0), "444": (0xF00, 0xF0, 0xF, 0), "1555": (0x7C00, 0x3E0, 0x1F, 0x8000)}
    wide = [
        (0xFF0000, 0xFF00, 0xFF, 0),
        (0xFF000000, 0xFF0000, 0xFF00, 0),
        (0xFF000000, 0xFF00, 0xFF, 0),
        (0xFF000000, 0xFF0000, 0xFF00, 0xFF),
        (0xFF, 0xFF00, 0xFF0000, 0xFF000000),
        (0xFF0000, 0xFF00, 0xFF, 0xFF000000),
        (0xFF000000, 0xFF00, 0xFF, 0xFF0000),
        (0, 0, 0, 0),
        (0xFF, 0xFF00, 0xFF0000, 0),
        (0x3FF00000, 0xFFC00, 0x3FF, 0),
    ]
    layouts = [(16, name, masks) for name, masks in packed.items()] + [(32, f"{at}", masks) for at, masks in enumerate(wide)]
    for (bits, name, masks), header in itertools.product(layouts, (40, 56, 124)):
        data = struct.pack("<IIII", *masks)[: 12 if header == 40 else 16]
        yield f"masks_{bits}_{name}_{header}.bmp", bmp(bits, rows(bits), header=header, method=3, masks=data)
    yield "masks_24.bmp", bmp(24, rows(24), method=3, masks=struct.pack("<III", 0xFF0000, 0xFF00, 0xFF))
    for bits, nibbles in ((8, False), (4, True)):
        table = colors(1 << bits)
        for name, data in [
            ("runs", runs(nibbles)),
            ("runs_delta", runs(nibbles)[:40] + b"\0\2\3\1" + runs(nibbles)),
            ("runs_cut", runs(nibbles)[:60]),
            ("runs_end_early", runs(nibbles)[:60] + b"\0\1"),
            ("runs_too_long", b"\xff\x12" * 40),
        ]:
            yield f"{name}_{bits}.bmp", bmp(bits, data, method=2 if nibbles else 1, colors=table)
        yield f"runs_top_down_{bits}.bmp", bmp(bits, runs(nibbles), method=2 if nibbles else 1, colors=table, top_down=True)
        yield f"runs_odd_offset_{bits}.bmp", bmp(bits, b"\0" + runs(nibbles), method=2 if nibbles else 1, colors=table, offset=15 + 40 + len(table))
    for bits in (1, 4, 8, 16, 24, 32):
        yield f"top_down_{bits}.bmp", bmp(bits, rows(bits), top_down=True, colors=colors(1 << bits) if bits <= 8 else b"")
        yield f"cut_{bits}.bmp", bmp(bits, rows(bits)[:-5], colors=colors(1 << bits) if bits <= 8 else b"")
    yield "unpadded.bmp", bmp(24, rows(24)[:-1])
    yield "short_table.bmp", bmp(8, rows(8), colors=colors(30), count=30)
    yield "short_table_4.bmp", bmp(4, rows(4), colors=colors(5), count=5)
    yield "offset_without_table.bmp", bmp(8, rows(8), colors=colors(256), offset=54)
    yield "no_offset.bmp", bmp(24, rows(24), offset=0)
    yield "gap.bmp", bmp(24, bytes(10) + rows(24), offset=64)
    yield "compression_4.bmp", bmp(24, rows(24), method=4)
    yield "bits_2.bmp", bmp(2, rows(2), colors=colors(4))
    yield "header_41.bmp", bmp(24, rows(24), header=44)


# GIF


def codes(pixels, bits, end=True):
    """Codes without compression: the table is cleared before codes grow."""
    value = length = 0
    out = bytearray()
    list_ = [1 << bits]
    for at, pixel in enumerate(pixels):
        list_.append(pixel)
        if at % ((1 << bits) - 2) == (1 << bits) - 3:
            list_.append(1 << bits)
    for code in list_ + [(1 << bits) + 1] * end:
        value |= code << length
        length += bits + 1
        while length >= 8:
            out.append(value & 255)
            value, length = value >> 8, length - 8
    return bytes(out) + (bytes([value & 255]) if length else b"")


def gif(pixels=None, size=(9, 11), screen=None, at=(0, 0), bits=4, table=16, local=0, flags=0, before=b"", end=True, tail=b"\0;"):
    pixels = [(7 * n + n // 9) % (1 << bits) for n in range(size[0] * size[1])] if pixels is None else pixels
    file = b"GIF89a" + struct.pack("<HH", *(screen or size))
    file += bytes([0x80 | (table.bit_length() - 2), 0, 0]) + noise(3 * table) if table else bytes(3)
    flags |= 0x80 | (local.bit_length() - 2) if local else 0
    file += before + b"," + struct.pack("<HHHHB", *at, *size, flags) + noise(3 * local) + bytes([bits])
    data = codes(pixels, bits, end)
    return file + b"".join(bytes([len(data[n : n + 50])]) + data[n : n + 50] for n in range(0, len(data), 50)) + tail


def gifs():
    control = b"!\xf9\x04\x01\0\0\x03\0"
    yield "plain.gif", gif()
    yield "no_table.gif", gif(table=0)
    yield "local.gif", gif(local=8)
    yield "local_alone.gif", gif(local=16, table=0)
    yield "interlaced.gif", gif(flags=0x40)
    yield "interlaced_small.gif", gif(flags=0x40, size=(3, 2))
    yield "part.gif", gif(screen=(20, 20), at=(4, 6))
    yield "part_transparent.gif", gif(screen=(20, 20), at=(4, 6), before=control)
    yield "two_controls.gif", gif(before=control + b"!\xf9\x04\x00\0\0\x02\0", screen=(20, 20))
    yield "outgrown.gif", gif(screen=(5, 5), at=(2, 1))
    yield "comment.gif", gif(before=b"!\xfe\x05hello\x02yo\0" + b"!\xff\x0bNETSCAPE2.0\3\1\0\0\0")
    yield "garbage_before.gif", gif(before=b"abc\0\0")
    for bits in (2, 3, 5, 6, 7, 8):
        yield f"codes_{bits}.gif", gif(bits=bits, table=1 << bits)
    yield "codes_9.gif", gif(bits=9, pixels=[n % 256 for n in range(99)])
    yield "codes_13.gif", gif(bits=13)
    yield "few_pixels.gif", gif(pixels=[1] * 50)
    yield "few_pixels_no_end.gif", gif(pixels=[1] * 50, end=False)
    yield "many_pixels.gif", gif(pixels=[1, 2, 3] * 50)
    yield "no_end_code.gif", gif(end=False)
    yield "no_trailer.gif", gif(tail=b"")
    yield "no_frame.gif", b"GIF89a\1\0\1\0\0\0\0;"
    yield "bad_code.gif", gif(pixels=[1] * 20 + [25] * 20 + [1] * 60)
    # Tables whose colours are their indices: Pillow takes the indices, or the other table's colours.
    ramp = lambda count: bytes(level for level in range(count) for _ in range(3))
    greys = gif(table=8)
    yield "greys.gif", greys[:13] + ramp(8) + greys[37:]
    greys = gif(local=8)
    yield "greys_local.gif", greys[:71] + ramp(8) + greys[95:]
    greys = gif(local=8, table=0)
    yield "greys_local_alone.gif", greys[:23] + ramp(8) + greys[47:]
    for colors in (2, 60, 256):
        yield f"compressed_{colors}.gif", saved(picture(60, 50).quantize(colors), "GIF")


# WebP


def riff(*chunks):
    body = b"WEBP" + b"".join(kind + struct.pack("<I", len(data)) + data + bytes(len(data) % 2) for kind, data in chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def webps():
    image = picture(40, 37)
    clear = image.copy()
    clear.putalpha(picture(40, 37).convert("L").point(lambda level: level if level > 90 else 0))
    for quality, method in itertools.product((5, 60, 100), (0, 6)):
        yield f"lossy_{quality}_{method}.webp", saved(image, "WEBP", quality=quality, method=method)
        yield f"lossy_clear_{quality}_{method}.webp", saved(clear, "WEBP", quality=quality, method=method)
        yield f"lossless_{quality}_{method}.webp", saved(image, "WEBP", lossless=True, quality=quality, method=method)
        yield f"lossless_clear_{quality}_{method}.webp", saved(clear, "WEBP", lossless=True, quality=quality, method=method, exact=True)
    yield "lossless_palette.webp", saved(image.quantize(9).convert("RGB"), "WEBP", lossless=True)
    yield "lossy_large.webp", saved(picture(200, 150), "WEBP", quality=30)
    for name, frame in [("opaque", image), ("clear", clear)]:
        for lossless in (False, True):
            options = {"save_all": True, "append_images": [picture(40, 37)], "lossless": lossless, "exact": True}
            yield f"animated_{name}_{lossless}.webp", saved(frame, "WEBP", **options)
    plain = saved(picture(16, 12), "WEBP", lossless=True)
    picture_chunk = (b"VP8L", plain[20:])
    header = b"\2\0\0\0" + (29).to_bytes(3, "little") + (24).to_bytes(3, "little")
    place = b"".join(n.to_bytes(3, "little") for n in (3, 2, 15, 11, 100))
    inner = riff(picture_chunk)[12:]
    yield "animated_part.webp", riff((b"VP8X", header), (b"ANIM", b"\x10\x20\x30\xff\0\0"), (b"ANMF", place + b"\0" + inner))
    still = b"\0\0\0\0" + (15).to_bytes(3, "little") + (11).to_bytes(3, "little")
    yield "extended.webp", riff((b"VP8X", still), picture_chunk)
    yield "canvas_differs.webp", riff((b"VP8X", b"\0\0\0\0" + (19).to_bytes(3, "little") + (11).to_bytes(3, "little")), picture_chunk)
    yield "frame_outside.webp", riff((b"VP8X", still[:4].replace(b"\0", b"\2", 1) + still[4:]), (b"ANIM", bytes(6)), (b"ANMF", place + b"\0" + inner))
    yield "profile.webp", saved(image, "WEBP", lossless=True, icc_profile=bytes(5000))
    yield "trailing.webp", plain + b"more" * 5
    yield "cut.webp", plain[:-20]
    yield "no_picture.webp", riff((b"VP8X", still))


# TIFF


def tiff(tags, chunks, size=(WIDTH, HEIGHT), order="<", big=False, tile=None, rows_per_strip=None):
    word = "Q" if big else "I"
    tags = {256: size[0], 257: size[1], **tags}
    tags |= {322: tile[0], 323: tile[1]} if tile else {278: rows_per_strip or size[1]}
    start = 16 if big else 8
    offsets = [start + sum(len(part) for part in chunks[:at]) for at in range(len(chunks))]
    tags[324 if tile else 273], tags[325 if tile else 279] = [(n,) for n in offsets], [(len(part),) for part in chunks]
    body = b"".join(chunks)
    body += bytes(len(body) % 2)
    entries, extra = [], b""
    count = len(tags)
    directory = start + len(body)
    after = directory + (8 + 20 * count + 8 if big else 2 + 12 * count + 4)
    for tag, value in sorted(tags.items()):
        if isinstance(value, bytes):
            kind, number, data = 7, len(value), value
        elif isinstance(value, list) and value and isinstance(value[0], tuple):
            kind, number, data = 16 if big else 4, len(value), b"".join(struct.pack(order + word, n) for (n,) in value)
        else:
            value = value if isinstance(value, list) else [value]
            kind, number, data = 3, len(value), b"".join(struct.pack(order + "H", n) for n in value)
        room = 8 if big else 4
        if len(data) > room:
            place = struct.pack(order + word, after + len(extra))
            extra += data + bytes(len(data) % 2)
        else:
            place = data + bytes(room - len(data))
        entries.append(struct.pack(order + "HH" + word, tag, kind, number) + place)
    mark = {"<": b"II", ">": b"MM"}[order]
    if big:
        file = mark + struct.pack(order + "HHHQ", 43, 8, 0, directory)
        return file + body + struct.pack(order + "Q", count) + b"".join(entries) + bytes(8) + extra
    return mark + struct.pack(order + "HI", 42, directory) + body + struct.pack(order + "H", count) + b"".join(entries) + bytes(4) + extra


def packbits(data):
    out = b""
    while data:
        run = len(data[:128]) - len(data[:128].lstrip(data[:1]))
        if run > 1:
            out, data = out + bytes([257 - run]) + data[:1], data[run:]
        else:
            part = data[: chance.integers(1, 40)]
            out, data = out + bytes([len(part) - 1]) + part, data[len(part) :]
    return out


def differences(data, samples, bits, width, order):
    kind = np.dtype(np.uint8 if bits == 8 else order + "u2")
    values = np.frombuffer(data, kind).reshape(-1, width, samples)
    return np.diff(values.astype(np.int64), axis=1, prepend=0).astype(kind).tobytes()


CODINGS = {"raw": (1, bytes), "deflate": (8, zlib.compress), "packbits": (32773, packbits)}


def tiffs():
    def made(photometric, bits, samples=1, coding="raw", tags={}, rows_per_strip=7, planar=False, predictor=False, order="<", **options):
        number, pack = CODINGS[coding]
        tile, (width, height) = options.get("tile"), options.get("size", (WIDTH, HEIGHT))
        across, down = tile or (width, rows_per_strip)
        side = 1 if planar else samples
        row = (across * side * bits + 7) // 8
        lines = [min(down, height - y) if not tile else down for y in range(0, height, down) for _ in range(0, width, across)]
        chunks = [noise(row * n) for n in lines * (samples if planar else 1)]
        if predictor:
            chunks = [differences(part, side, bits, across, order) for part in chunks]
        tags = {258: [bits] * samples, 259: number, 262: photometric, 277: samples, **tags}
        tags |= {284: 2} if planar else {}
        tags |= {317: 2} if predictor else {}
        return tiff(tags, [pack(part) for part in chunks], rows_per_strip=rows_per_strip, order=order, **options)

    map_ = {bits: {320: [int(n) for n in chance.integers(0, 65536, 3 << bits)]} for bits in (1, 2, 4, 8)}
    kinds = {f"{('white', 'black')[p]}_{bits}": (p, bits, 1, {}) for p in (0, 1) for bits in (1, 2, 4, 8, 16)}
    kinds |= {f"palette_{bits}": (3, bits, 1, map_[bits]) for bits in (1, 2, 4, 8)}
    kinds |= {"rgb_8": (2, 8, 3, {}), "rgb_16": (2, 16, 3, {}), "cmyk_8": (5, 8, 4, {}), "cmyk_16": (5, 16, 4, {}), "ycbcr_grey": (6, 8, 1, {})}
    for bits, count in ((8, 4), (8, 5), (8, 6), (16, 4)):
        for alpha in (0, 1, 2):
            kinds[f"rgb_{bits}_{count}_{alpha}"] = (2, bits, count, {338: [alpha] + [0] * (count - 4)})
    kinds |= {"rgb_8_4_none": (2, 8, 4, {}), "rgb_16_4_none": (2, 16, 4, {}), "rgb_8_4_999": (2, 8, 4, {338: 999})}
    kinds |= {f"black_8_2_{alpha}": (1, 8, 2, {338: alpha}) for alpha in (0, 1, 2)}
    kinds |= {"palette_8_2_0": (3, 8, 2, map_[8] | {338: 0}), "palette_8_2_2": (3, 8, 2, map_[8] | {338: 2})}
    kinds |= {"cmyk_8_5": (5, 8, 5, {338: 0}), "cmyk_8_6": (5, 8, 6, {338: [0, 0]})}
    for (name, (photometric, bits, samples, tags)), coding, order in itertools.product(kinds.items(), ("raw", "deflate"), "<>"):
        mark = "big" if order == ">" else "little"
        yield f"{name}_{coding}_{mark}.tif", made(photometric, bits, samples, coding, tags, order=order)
    for name in ("black_1", "black_8", "palette_4", "palette_8", "rgb_8", "cmyk_8", "black_16", "rgb_16"):
        photometric, bits, samples, tags = kinds[name]
        for coding in ("raw", "deflate", "packbits"):
            yield f"{name}_tiles_{coding}.tif", made(photometric, bits, samples, coding, tags, tile=(16, 16), size=(37, 21))
        yield f"{name}_packbits.tif", made(photometric, bits, samples, "packbits", tags)
        yield f"{name}_bigtiff.tif", made(photometric, bits, samples, "raw", tags, big=True)
        yield f"{name}_bigtiff_deflate.tif", made(photometric, bits, samples, "deflate", tags, big=True, order=">")
        if bits >= 8:
            for order in "<>":
                mark = "big" if order == ">" else "little"
                yield f"{name}_predictor_{mark}.tif", made(photometric, bits, samples, "deflate", tags, predictor=True, order=order)
    for name in ("rgb_8", "cmyk_8", "rgb_8_4_0", "rgb_8_4_2", "rgb_16"):
        photometric, bits, samples, tags = kinds[name]
        for coding in ("raw", "deflate"):
            yield f"{name}_planes_{coding}.tif", made(photometric, bits, samples, coding, tags, planar=True)
            yield f"{name}_planes_tiles_{coding}.tif", made(photometric, bits, samples, coding, tags, planar=True, tile=(16, 16), size=(37, 21))
    yield "planes_predictor.tif", made(2, 8, 3, "deflate", planar=True, predictor=True)
    for name in ("black_1", "white_1", "palette_4", "black_8", "rgb_8"):
        photometric, bits, samples, tags = kinds[name]
        for coding in ("raw", "deflate"):
            file = made(photometric, bits, samples, coding, tags | {266: 2})
            if coding == "deflate":
                body = file[8 : struct.unpack("<I", file[4:8])[0]]
                file = file[:8] + bytes(int(f"{byte:08b}"[::-1], 2) for byte in body) + file[8 + len(body) :]
            yield f"{name}_reversed_{coding}.tif", file
    for orientation in range(1, 9):
        yield f"orientation_{orientation}.tif", made(2, 8, 3, "deflate", {274: orientation})
    yield "orientation_9.tif", made(2, 8, 3, "raw", {274: 9})
    yield "one_bits_value.tif", made(2, 8, 3, "deflate", {258: 8})
    yield "signed_8.tif", made(1, 8, tags={339: 2})
    yield "signed_16.tif", made(1, 16, tags={339: 2})
    yield "float.tif", made(1, 32, tags={339: 3})
    yield "int_32.tif", made(1, 32, tags={339: 2})
    yield "bits_12.tif", made(1, 12)
    yield "lab.tif", made(8, 8, 3)
    yield "seven_samples.tif", made(2, 8, 7, tags={338: [0] * 4})
    yield "ycbcr_raw.tif", made(6, 8, 3, tags={530: [1, 1]})
    yield "ycbcr_deflate.tif", made(6, 8, 3, "deflate", {530: [1, 1]})
    yield "no_photometric.tif", made(0, 8)
    whole = made(2, 8, 3, "deflate")
    yield "cut.tif", whole[:300]
    raw = made(2, 8, 3, rows_per_strip=HEIGHT)
    yield "outside.tif", raw.replace(struct.pack("<HHII", 273, 4, 1, 8), struct.pack("<HHII", 273, 4, 1, 9000))
    yield "huge_count.tif", raw.replace(struct.pack("<HHI", 258, 3, 3), struct.pack("<HHI", 258, 3, 0x7FFFFFFF))
    image = picture(60, 41)
    for name, mode in [("rgb", "RGB"), ("grey", "L"), ("palette", "P"), ("grey_1", "1"), ("cmyk", "CMYK"), ("rgba", "RGBA"), ("la", "LA")]:
        turned = image.convert(mode)
        codings = ["tiff_lzw", "tiff_deflate", "tiff_adobe_deflate", "packbits"] + (["group3", "group4", "tiff_ccitt"] if mode == "1" else [])
        for coding in codings:
            yield f"saved_{name}_{coding}.tif", saved(turned, "TIFF", compression=coding)
    for coding in ("group3", "group4"):
        for name, picture_ in [("text", picture(300, 200).convert("L").point(lambda n: 255 * (n % 60 > 20)).convert("1")), ("white", Image.new("1", (50, 30), 1)), ("black", Image.new("1", (50, 30), 0))]:
            yield f"{coding}_{name}.tif", saved(picture_, "TIFF", compression=coding)
            yield f"{coding}_{name}_white.tif", saved(picture_, "TIFF", compression=coding, tiffinfo={262: 0})
    yield "group3_2d.tif", saved(image.convert("1"), "TIFF", compression="group3", tiffinfo={292: 1})
    yield "group4_strips.tif", saved(picture(300, 200).convert("1"), "TIFF", compression="group4", strip_size=2000)
    for coding in ("lzma", "zstd"):
        yield f"saved_{coding}.tif", saved(image, "TIFF", compression=coding)
    yield from jpeg_tiffs(image)


def jpeg_tiffs(image):
    """JPEG inside of TIFF, as libtiff writes it, and with tables of its own, in tiles, strips and planes."""
    for quality in (30, 75, 95):
        yield f"jpeg_rgb_{quality}.tif", saved(image, "TIFF", compression="jpeg", quality=quality)
        yield f"jpeg_grey_{quality}.tif", saved(image.convert("L"), "TIFF", compression="jpeg", quality=quality)
    yield "jpeg_cmyk.tif", saved(image.convert("CMYK"), "TIFF", compression="jpeg")
    yield "jpeg_strips.tif", saved(picture(64, 60), "TIFF", compression="jpeg", strip_size=64 * 16 * 3)

    def cut(across, down, **options):
        mode = options.pop("mode", "RGB")
        pieces = []
        for y, x in itertools.product(range(0, 41, down), range(0, 60, across)):
            pieces.append(saved(image.crop((x, y, x + across, y + down)).convert(mode), "JPEG", **options))
        return pieces

    base = {258: [8] * 3, 259: 7, 277: 3}
    for name, sampling, tag in [("444", 0, [1, 1]), ("422", 1, [2, 1]), ("420", 2, [2, 2])]:
        yield f"jpeg_tiles_{name}.tif", tiff(base | {262: 6, 530: tag}, cut(32, 16, subsampling=sampling), (60, 41), tile=(32, 16))
        yield f"jpeg_whole_strips_{name}.tif", tiff(base | {262: 6, 530: tag}, cut(60, 16, subsampling=sampling), (60, 41), rows_per_strip=16)
    yield "jpeg_kept_rgb.tif", tiff(base | {262: 2}, cut(32, 16, keep_rgb=True), (60, 41), tile=(32, 16))
    yield "jpeg_progressive.tif", tiff(base | {262: 6, 530: [2, 2]}, cut(32, 16, progressive=True), (60, 41), tile=(32, 16))
    yield "jpeg_grey_tiles.tif", tiff({258: 8, 259: 7, 262: 1}, cut(32, 16, mode="L"), (60, 41), tile=(32, 16))
    yield "jpeg_white_is_zero.tif", tiff({258: 8, 259: 7, 262: 0}, cut(32, 16, mode="L"), (60, 41), tile=(32, 16))
    planes = [piece for band in image.split() for piece in [saved(band, "JPEG")]]
    yield "jpeg_planes.tif", tiff(base | {262: 2, 284: 2}, planes, (60, 41))
    yield "jpeg_no_end.tif", tiff(base | {262: 6, 530: [2, 2]}, [piece[:-2] for piece in cut(60, 16, subsampling=2)], (60, 41), rows_per_strip=16)
    yield "jpeg_wrong_size.tif", tiff(base | {262: 6, 530: [2, 2]}, [saved(picture(90, 90), "JPEG")], (60, 41))


#: What graft refuses by name though Pillow reads it, and why not.
REFUSED = {
    "signed_16.tif", "signed_8.tif", "float.tif", "int_32.tif", "bits_12.tif", "ycbcr_raw.tif", "ycbcr_deflate.tif",
    "rgb_16_planes_raw.tif", "rgb_16_planes_deflate.tif", "rgb_16_planes_tiles_raw.tif", "rgb_16_planes_tiles_deflate.tif",
    "saved_lzma.tif", "saved_zstd.tif", "saved_grey_1_tiff_ccitt.tif", "lab.tif",
}
# Fax: the reader of crates.io takes quadratic time on hostile rows.
FAX = ("black", "black_white", "text", "text_white", "white", "white_white")
REFUSED |= {f"{coding}_{name}.tif" for coding in ("group3", "group4") for name in FAX}
REFUSED |= {"group3_2d.tif", "group4_strips.tif", "saved_grey_1_group3.tif", "saved_grey_1_group4.tif"}


#: What graft reads though Pillow refuses it: chunks that are not needed, and what only one of Pillow's two readers reads.
READ = {"profile.png", "palette_4_reversed_raw.tif", "rgb_8_4_0_planes_raw.tif", "rgb_8_4_0_planes_tiles_raw.tif"}
READ |= {f"ycbcr_grey_deflate_{order}.tif" for order in ("big", "little")}
READ |= {f"{name}_bigtiff_deflate.tif" for name in ("black_1", "black_8", "palette_4", "palette_8", "rgb_8", "cmyk_8", "black_16", "rgb_16")}


def files():
    global used
    for made in (pngs(), bmps(), gifs(), webps(), tiffs()):
        used = 0
        for file in made:
            yield file
            used = 0


def described(data):
    try:
        image = Image.open(io.BytesIO(data))
        orientation = image.getexif().get(274, 1) if image.format != "TIFF" else 1
        rgb = image.convert("RGB")
    except Exception as error:
        return {"refused": f"{type(error).__name__}: {error}".split(" <")[0]}
    entry = {"width": rgb.width, "height": rgb.height, "sha256": hashlib.sha256(rgb.tobytes()).hexdigest()}
    return entry | ({"orientation": orientation} if orientation != 1 else {})


def main():
    warnings.simplefilter("ignore")
    listing = {}
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, data in files():
            assert name not in listing, name
            differs = {"graft": "refuses"} if name in REFUSED else {"graft": "reads"} if name in READ else {}
            listing[name] = described(data) | differs
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    (OUT / "variants.tar.gz").write_bytes(gzip.compress(packed.getvalue(), 9, mtime=0))
    lines = ",\n".join(f" {json.dumps(name)}: {json.dumps(entry)}" for name, entry in sorted(listing.items()))
    (OUT / "variants.json").write_text("{\n" + lines + "\n}\n")


main()
