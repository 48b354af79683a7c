"""Writes tests/fixtures/images: tiny images of every format and variant, and what Pillow makes of them.

Run `python tests/goldens/images.py` from the repository's root with Pillow and numpy installed.
`expected.json` lists the images and the resizes, with offsets into `expected.rgb`, where the RGB bytes lie, equal ones once.
`--photos DIR` writes `photos.json` instead: SHA-256 of what Pillow makes of the BMP photos in DIR; `--drawn` writes
`drawn.json`: the same of a picture of a photo's size that the test draws too.
Everything is generated from a seed; the files of one Pillow release differ from those of another in bytes, not in meaning.
"""

import hashlib
import io
import json
import pathlib
import struct
import sys
import warnings
import zlib

import numpy as np
from PIL import Image, ImageOps

OUT = pathlib.Path("tests/fixtures/images")
WIDTH, HEIGHT = 13, 16
FILTERS = {"nearest": Image.NEAREST, "bilinear": Image.BILINEAR, "bicubic": Image.BICUBIC}
EXIF_ORIENTATION = 274
random = np.random.default_rng(20)


def picture(width=WIDTH, height=HEIGHT, noise=40):
    y, x = np.mgrid[0:height, 0:width]
    planes = np.stack([x * 255 / width, y * 255 / height, 255 - (x + y) * 255 / (width + height)], axis=-1)
    planes = planes + random.integers(-noise, noise + 1, planes.shape)
    return Image.fromarray(planes.clip(0, 255).astype(np.uint8))


def saved(image, format, **options):
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def exif(orientation):
    tags = Image.Exif()
    tags[EXIF_ORIENTATION] = orientation
    return tags.tobytes()


def bits(depth):
    """Random samples of `depth` bits, packed in rows."""
    per_row = (WIDTH * depth + 7) // 8
    return [random.integers(0, 256, per_row, dtype=np.uint8).tobytes() for _ in range(HEIGHT)]


def png(color, depth, channels, *chunks):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + row for row in bits(depth * channels))
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, depth, color, 0, 0, 0)
    parts = [chunk(b"IHDR", header), *(chunk(*part) for part in chunks), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def palette(colors):
    return random.integers(0, 256, colors * 3, dtype=np.uint8).tobytes()


def bmp(depth, rows, colors=b"", compression=0, masks=b"", height=HEIGHT):
    data = b"".join(row + b"\0" * (-len(row) % 4) for row in rows) if isinstance(rows, list) else rows
    used = len(colors) // 4
    header = struct.pack("<IiiHHIIiiII", 40, WIDTH, height, 1, depth, compression, len(data), 0, 0, used, 0)
    offset = 14 + len(header) + len(masks) + len(colors)
    return b"BM" + struct.pack("<IHHI", offset + len(data), 0, 0, offset) + header + masks + colors + data


def bmp_colors(colors):
    return b"".join(random.integers(0, 256, 3, dtype=np.uint8).tobytes() + b"\0" for _ in range(colors))


def rle8():
    rows = b""
    for y in range(HEIGHT):
        run, literal = 5 + y % 3, random.integers(0, 16, 4, dtype=np.uint8).tobytes()
        rows += bytes([run, y % 16, 0, len(literal)]) + literal + bytes([WIDTH - run - len(literal), (y + 3) % 16]) + b"\0\0"
    return rows + b"\0\1"


def gif_frame(left, top, width, height, transparent=None, colors=4, screen=(WIDTH, HEIGHT), local=False):
    """One frame of uncompressed-looking LZW (a clear code before every two pixels), at a place on the screen."""
    size = colors.bit_length() - 1
    codes, code_bits, value, filled, data = [], size + 1, 0, 0, b""
    for index, pixel in enumerate(random.integers(0, colors, width * height)):
        if index % 2 == 0:
            codes.append(colors)
        codes.append(int(pixel))
    for code in [*codes, colors + 1]:
        value |= code << filled
        filled += code_bits
        while filled >= 8:
            data, value, filled = data + bytes([value & 255]), value >> 8, filled - 8
    data += bytes([value & 255])
    table = struct.pack("B", 0x80 | (size - 1))
    out = b"GIF89a" + struct.pack("<HH", *screen) + table + b"\0\0" + palette(colors)
    if transparent is not None:
        out += b"!\xf9\x04\x01\0\0" + bytes([transparent]) + b"\0"
    out += b"," + struct.pack("<HHHH", left, top, width, height)
    out += (table + palette(colors)) if local else b"\0"
    out += bytes([size])
    for start in range(0, len(data), 255):
        block = data[start : start + 255]
        out += bytes([len(block)]) + block
    return out + b"\0;"


def jpegs():
    image = picture(noise=10)
    cmyk = Image.fromarray(np.concatenate([np.array(image), np.array(image.convert("L"))[..., None]], axis=-1), "CMYK")
    yield "grey.jpg", saved(image.convert("L"), "JPEG")
    for name, subsampling in [("444", 0), ("422", 1), ("420", 2)]:
        yield f"ycbcr_{name}.jpg", saved(image, "JPEG", subsampling=subsampling, quality=90)
        yield f"progressive_{name}.jpg", saved(image, "JPEG", subsampling=subsampling, progressive=True)
    yield "rgb.jpg", saved(image, "JPEG", keep_rgb=True)
    yield "restarts.jpg", saved(image, "JPEG", restart_marker_blocks=1)
    data = saved(cmyk, "JPEG")
    yield "cmyk.jpg", data
    adobe = data.index(b"Adobe")
    yield "ycck.jpg", data[: adobe + 11] + b"\2" + data[adobe + 12 :]
    yield "exif_3.jpg", saved(image, "JPEG", exif=exif(3))
    yield "xmp_5.jpg", saved(image, "JPEG", xmp=b'<x:xmpmeta tiff:Orientation="5"/>')
    yield "trailing.jpg", saved(image, "JPEG") + b"more \xff\xd9 bytes" * 9


def pngs():
    image = picture()
    for depth in (1, 2, 4, 8, 16):
        yield f"grey_{depth}.png", png(0, depth, 1)
    yield "grey_8_transparent.png", png(0, 8, 1, (b"tRNS", b"\0\x40"))
    yield "grey_16_transparent.png", png(0, 16, 1, (b"tRNS", b"\x12\x34"))
    yield "grey_16_low.png", saved(Image.fromarray(random.integers(0, 300, (HEIGHT, WIDTH), dtype=np.uint16)), "PNG")
    for depth in (8, 16):
        yield f"rgb_{depth}.png", png(2, depth, 3)
        yield f"grey_alpha_{depth}.png", png(4, depth, 2)
        yield f"rgb_alpha_{depth}.png", png(6, depth, 4)
    yield "rgb_8_transparent.png", png(2, 8, 3, (b"tRNS", b"\0\1\0\2\0\3"))
    for depth in (1, 2, 4, 8):
        colors = palette(1 << depth)
        yield f"palette_{depth}.png", png(3, depth, 1, (b"PLTE", colors))
        yield f"palette_{depth}_transparent.png", png(3, depth, 1, (b"PLTE", colors), (b"tRNS", b"\0\x80"))
    yield "palette_short.png", png(3, 8, 1, (b"PLTE", palette(40)))
    yield "trailing.png", saved(image, "PNG") + b"more bytes"
    for orientation in range(1, 9):
        yield f"exif_{orientation}.png", saved(image, "PNG", exif=exif(orientation))


def bmps():
    image = picture()
    yield "bits_24.bmp", saved(image, "BMP")
    yield "grey.bmp", saved(image.convert("L"), "BMP")
    yield "bits_1.bmp", saved(image.convert("1"), "BMP")
    yield "bits_8.bmp", saved(image.quantize(200), "BMP")
    yield "alpha.bmp", saved(picture().convert("RGBA"), "BMP")
    yield "bits_1_colours.bmp", bmp(1, bits(1), bmp_colors(2))
    yield "bits_4.bmp", bmp(4, bits(4), bmp_colors(16))
    yield "bits_8_short.bmp", bmp(8, bits(8), bmp_colors(30))
    yield "bits_32.bmp", bmp(32, bits(32))
    yield "bits_32_masks.bmp", bmp(32, bits(32), compression=3, masks=struct.pack("<III", 0xFF0000, 0xFF00, 0xFF))
    yield "top_down.bmp", bmp(24, bits(24), height=-HEIGHT)
    yield "rle_8.bmp", bmp(8, rle8(), bmp_colors(16), compression=1)


def gifs():
    image = picture()
    yield "palette.gif", saved(image.quantize(100), "GIF")
    yield "grey.gif", saved(image.convert("L"), "GIF")
    yield "interlaced.gif", saved(image.quantize(30), "GIF", interlace=1)
    yield "animated.gif", saved(image.quantize(8), "GIF", save_all=True, append_images=[picture().quantize(8)], duration=100)
    yield "transparent.gif", gif_frame(0, 0, WIDTH, HEIGHT, transparent=2)
    yield "part.gif", gif_frame(3, 2, 9, 7)
    yield "part_transparent.gif", gif_frame(3, 2, 9, 7, transparent=2)
    yield "outgrown.gif", gif_frame(4, 5, WIDTH, HEIGHT, screen=(10, 30))
    yield "local.gif", gif_frame(0, 0, WIDTH, HEIGHT, colors=16, local=True)


def webps():
    image = picture(noise=10)
    alpha = image.copy()
    alpha.putalpha(picture().convert("L"))
    yield "lossy.webp", saved(image, "WEBP", quality=80)
    yield "lossless.webp", saved(image, "WEBP", lossless=True)
    yield "lossy_alpha.webp", saved(alpha, "WEBP", quality=80)
    yield "lossless_alpha.webp", saved(alpha, "WEBP", lossless=True, exact=True)
    yield "exif_8.webp", saved(image, "WEBP", lossless=True, exif=exif(8))
    yield "animated.webp", saved(image, "WEBP", lossless=True, save_all=True, append_images=[picture()])


def tiffs():
    image = picture()
    wide = Image.fromarray(random.integers(0, 600, (HEIGHT, WIDTH), dtype=np.uint16))
    cmyk = Image.frombytes("CMYK", (WIDTH, HEIGHT), b"".join(bits(32)))
    for name in (None, "tiff_lzw", "tiff_adobe_deflate", "packbits"):
        suffix = (name or "raw").removeprefix("tiff_")
        yield f"rgb_{suffix}.tif", saved(image, "TIFF", compression=name)
        yield f"cmyk_{suffix}.tif", saved(cmyk, "TIFF", compression=name)
    yield "predictor.tif", saved(image, "TIFF", compression="tiff_lzw", tiffinfo={317: 2})
    yield "grey.tif", saved(image.convert("L"), "TIFF")
    yield "grey_white_is_zero.tif", saved(image.convert("L"), "TIFF", tiffinfo={262: 0})
    yield "bits_1.tif", saved(image.convert("1"), "TIFF")
    yield "grey_16.tif", saved(wide, "TIFF")
    yield "grey_16_lzw.tif", saved(wide, "TIFF", compression="tiff_lzw")
    alpha = image.copy()
    alpha.putalpha(picture().convert("L"))
    yield "rgb_alpha.tif", saved(alpha, "TIFF")
    yield "grey_alpha.tif", saved(alpha.convert("LA"), "TIFF")
    for orientation in (3, 6):
        yield f"exif_{orientation}.tif", saved(image, "TIFF", tiffinfo={EXIF_ORIENTATION: orientation})


def refused():
    """Variants that Pillow reads and graft refuses by name."""
    image = picture()
    yield "float.tif", saved(Image.fromarray(np.zeros((3, 5), np.float32)), "TIFF")
    yield "int_32.tif", saved(Image.fromarray(np.zeros((3, 5), np.int32)), "TIFF")
    yield "ycbcr.tif", saved(image.convert("YCbCr"), "TIFF")
    yield "lab.tif", saved(Image.new("LAB", (5, 3)), "TIFF")


class Expected:
    def __init__(self):
        self.bytes = b""

    def add(self, image):
        pixels = image.convert("RGB").tobytes()
        offset = self.bytes.find(pixels)
        if offset < 0:
            offset = len(self.bytes)
            self.bytes += pixels
        return {"width": image.width, "height": image.height, "offset": offset}


def described(name, data, expected):
    image = Image.open(io.BytesIO(data))
    entry = {"file": name, **expected.add(image)}
    orientation = image.getexif().get(EXIF_ORIENTATION, 1)
    if orientation != 1 and image.format != "TIFF":
        entry["orientation"] = orientation
        entry["transposed"] = expected.add(ImageOps.exif_transpose(image))
    return entry


def resized(image, expected):
    sizes = [(7, 5), (WIDTH, HEIGHT), (31, 29), (5, 40), (40, 5), (12, 10), (1, 1), (WIDTH, 9), (9, HEIGHT)]
    for name, filter in FILTERS.items():
        for size in sizes:
            yield {"resize": name, **expected.add(image.resize(size, filter))}
        for shorter, (width, height) in [(12, (9, 11)), (25, (24, 24)), (9, (8, 5))]:
            full = (shorter, int(shorter * image.height / image.width))
            left, top = round((full[0] - width) / 2.0), round((full[1] - height) / 2.0)
            cut = image.resize(full, filter).crop((left, top, left + width, top + height))
            yield {"resize": name, "shorter_side": shorter, **expected.add(cut)}


def hashes(image):
    def digest(image):
        return hashlib.sha256(image.tobytes()).hexdigest()

    resized = {f"{name}_{side}": image.resize((side, side), filter) for name, filter in FILTERS.items() for side in (224, 299)}
    return {"decoded": digest(image), **{name: digest(image) for name, image in resized.items()}}


def photos(folder):
    files = sorted(pathlib.Path(folder).glob("*.bmp"))
    result = {path.name: hashes(Image.open(path).convert("RGB")) for path in files}
    (OUT / "photos.json").write_text(json.dumps(result, indent=1) + "\n")


def drawn():
    """Rings that get finer to the right and below, other ones in each channel: every frequency a resize may meet."""
    y, x, channel = np.mgrid[0:480, 0:641, 0:3]
    values = (x * x * (channel + 1) + y * y * 2 + x * y * (3 - channel)) // 400 % 256
    (OUT / "drawn.json").write_text(json.dumps(hashes(Image.fromarray(values.astype(np.uint8))), indent=1) + "\n")


def main():
    warnings.simplefilter("ignore")
    OUT.mkdir(parents=True, exist_ok=True)
    if sys.argv[1:2] == ["--photos"]:
        return photos(sys.argv[2])
    if sys.argv[1:] == ["--drawn"]:
        return drawn()
    expected, images, refusals = Expected(), [], []
    for source in (jpegs, pngs, bmps, gifs, webps, tiffs):
        for name, data in source():
            (OUT / name).write_bytes(data)
            images.append(described(name, data, expected))
    for name, data in refused():
        (OUT / f"refused_{name}").write_bytes(data)
        refusals.append(f"refused_{name}")
    noise = picture(noise=255)
    (OUT / "noise.png").write_bytes(saved(noise, "PNG"))
    resizes = list(resized(noise, expected))
    (OUT / "expected.rgb").write_bytes(expected.bytes)
    listing = {"images": images, "refused": refusals, "resized": resizes}
    lines = [f' "{key}": [\n' + ",\n".join("  " + json.dumps(entry) for entry in value) + "\n ]" for key, value in listing.items()]
    (OUT / "expected.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


main()
