"""Draws a data set: circles, squares and triangles, a folder each.

    python3 scripts/drawings.py FOLDER [COUNT [SEED]]

COUNT drawings of each shape (100 unless told), of 96 x 96 pixels as PNG, of any shade, size and place; another SEED (0
unless told) gives others. Needs nothing but Python.
"""

import pathlib
import random
import struct
import sys
import zlib

SIDE = 96
SHAPES = {
    "circle": lambda x, y: x * x + y * y <= 1,
    "square": lambda x, y: max(abs(x), abs(y)) <= 0.886,
    "triangle": lambda x, y: abs(y) <= 1 and 2 * abs(x) <= y + 1,
}


def draw(inside, chance):
    """Rows of grey values, dark on light."""
    radius = SIDE * chance.uniform(0.25, 0.38)
    left, top = (SIDE * chance.uniform(0.35, 0.65) for _ in range(2))
    ground, ink = chance.randint(170, 255), chance.randint(0, 90)
    shade = lambda x, y: ink if inside((x - left) / radius, (y - top) / radius) else ground
    return [bytes(shade(x, y) for x in range(SIDE)) for y in range(SIDE)]


def png(rows):
    """An 8-bit grey PNG (https://www.w3.org/TR/png)."""
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    header = struct.pack(">IIBBBBB", len(rows[0]), len(rows), 8, 0, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def main(folder, count="100", seed="0"):
    chance = random.Random(int(seed))
    for name, inside in SHAPES.items():
        target = pathlib.Path(folder) / name
        target.mkdir(parents=True, exist_ok=True)
        for number in range(int(count)):
            (target / f"{number}.png").write_bytes(png(draw(inside, chance)))


if __name__ == "__main__":
    if not 2 <= len(sys.argv) <= 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
