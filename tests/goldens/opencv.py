"""Writes tests/fixtures/opencv_resize.tsv: what `cv2.resize` makes of images of many sizes, as the start of a SHA-256.

Run `python tests/goldens/opencv.py` from the repository's root with numpy and opencv-python-headless 5.0.0.93 (x86-64) installed.
The images are a formula of their position, so that the file needs none of them; `src/preprocess/goldens.rs` has it too.
`--search SECONDS` writes nothing, and compares random sizes against the rule that `src/preprocess/opencv.rs` follows.
"""

import hashlib
import itertools
import pathlib
import random
import sys
import time

import cv2
import numpy as np

OUT = pathlib.Path("tests/fixtures/opencv_resize.tsv")
PINNED = "5.0.0"
CASES = 500
# Input and output, width and height: single pixels, exact halving and what comes near it, whole factors, extreme ratios.
CHOSEN = [
    (1, 1, 1, 1), (1, 1, 7, 5), (2, 2, 1, 1), (2, 1, 1, 1), (1, 2, 1, 1), (2, 4, 1, 2), (3, 3, 1, 1), (4, 4, 1, 1), (5, 7, 5, 7),
    (64, 48, 32, 24), (64, 48, 32, 48), (64, 48, 64, 24), (65, 48, 32, 24), (64, 49, 32, 24), (63, 47, 32, 24), (66, 50, 32, 24),
    (448, 448, 224, 224), (447, 448, 224, 224), (449, 449, 224, 224), (96, 72, 32, 24), (128, 96, 32, 24), (24, 18, 48, 36),
    (224, 224, 224, 224), (600, 400, 224, 224), (640, 480, 299, 299), (65535, 1, 224, 3), (1, 65535, 3, 224), (9, 4001, 1, 1),
    (3, 2, 1031, 3), (1024, 768, 224, 224),
]  # fmt: skip


def image(width, height):
    """Bytes that look random: a hash of each byte's position."""
    with np.errstate(over="ignore"):
        x = np.arange(width * height * 3, dtype=np.uint32) * np.uint32(0x9E3779B1)
        x = (x ^ (x >> np.uint32(15))) * np.uint32(0x85EBCA77)
    return (x >> np.uint32(24)).astype(np.uint8).reshape(height, width, 3)


def sizes():
    chance = random.Random(7)
    while True:
        side = lambda: chance.choice([chance.randint(1, 8), chance.randint(1, 40), chance.randint(1, 120)])
        width, height, to_width, to_height = side(), side(), side(), side()
        if chance.random() < 0.15:
            width, height = 2 * to_width, 2 * to_height
        yield width, height, to_width, to_height


def taps(size, to_size, along_rows):
    scale = 1.0 / (to_size / size)
    position = ((np.arange(to_size, dtype=np.float64) + 0.5) * scale - 0.5).astype(np.float32)
    first = np.floor(position).astype(np.int64)
    fraction = position - first.astype(np.float32)
    if along_rows:
        fraction[(first < 0) | (first >= size - 1)] = 0
    weights = [np.rint(weight * np.float32(2048)).astype(np.int64) for weight in (np.float32(1) - fraction, fraction)]
    return np.clip(first, 0, size - 1), np.clip(first + 1, 0, size - 1), *weights


def rule(image, width, height):
    pixels = image.astype(np.int64)
    if image.shape[:2] == (2 * height, 2 * width):
        return ((pixels[::2, ::2] + pixels[1::2, ::2] + pixels[::2, 1::2] + pixels[1::2, 1::2] + 2) >> 2).astype(np.uint8)
    left, right, a, b = taps(image.shape[1], width, along_rows=True)
    rows = (pixels[:, left] * a[:, None] + pixels[:, right] * b[:, None]) >> 4
    above, below, a, b = taps(image.shape[0], height, along_rows=False)
    sums = ((rows[above] * a[:, None, None]) >> 16) + ((rows[below] * b[:, None, None]) >> 16)
    return np.clip((sums + 2) >> 2, 0, 255).astype(np.uint8)


def search(seconds):
    chance, noise, end, tried = random.Random(), np.random.default_rng(), time.time() + seconds, 0
    while time.time() < end:
        side = lambda: chance.choice([chance.randint(1, 8), chance.randint(1, 64), chance.randint(1, 700), 224, 299])
        width, height, to_width, to_height = side(), side(), side(), side()
        if chance.random() < 0.15:
            width, height = 2 * to_width, 2 * to_height
        picture = noise.integers(0, 256, (height, width, 3), dtype=np.uint8)
        if not np.array_equal(cv2.resize(picture, (to_width, to_height)), rule(picture, to_width, to_height)):
            sys.exit(f"{width} x {height} to {to_width} x {to_height} differs")
        tried += 1
    print(f"{tried} sizes, all equal, in OpenCV {cv2.__version__}")


def main():
    if sys.argv[1:2] == ["--search"]:
        return search(float(sys.argv[2]))
    if cv2.__version__ != PINNED:
        sys.exit(f"this is OpenCV {cv2.__version__}, and the pinned one is {PINNED}")
    lines = ["# width\theight\tto width\tto height\tSHA-256 of the RGB bytes, first 16 digits; by tests/goldens/opencv.py"]
    for width, height, to_width, to_height in [*CHOSEN, *itertools.islice(sizes(), CASES)]:
        digest = hashlib.sha256(cv2.resize(image(width, height), (to_width, to_height)).tobytes()).hexdigest()
        lines.append("\t".join(map(str, (width, height, to_width, to_height, digest[:16]))))
    OUT.write_text("\n".join(lines) + "\n")


main()
