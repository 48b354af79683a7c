"""What attackers and honest clients send: photos, small files that cost much, archives and forms.

Knows formats, not graft.
"""

from __future__ import annotations

import gzip
import io
import random
import struct
import tarfile
import zlib
from pathlib import Path

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
# 49 megapixels: just below what `images.max_pixels` allows.
SIDE = 7000
BOUNDARY = "attack"


def photo(size: int = 300_000) -> bytes:
    """A real photo of the size that cameras make them, most of it comments, as a camera's own data are."""
    return padded((FIXTURES / "espresso.jpg").read_bytes(), size)


def padded(jpeg: bytes, size: int) -> bytes:
    """The same picture with comments behind its first marker, until it has about `size` bytes."""
    comment = b"\xff\xfe" + struct.pack(">H", 65_002) + b"c" * 65_000
    return jpeg[:2] + comment * (max(size - len(jpeg), 0) // len(comment)) + jpeg[2:]


def jpeg(side: int, marker: int, scans: list[tuple[bytes, int, int]], data: bytes = b"") -> bytes:
    """A JPEG whose scans (components, first and last coefficient) hold `data`; decoders add the zeros."""
    tables = b"\xff\xdb\0\x43\0" + b"\1" * 64
    for table in (0, 0x10):
        # One code, for "nothing follows".
        tables += bytes([0xFF, 0xC4, 0, 20, table, 1]) + bytes(16)
    frame = struct.pack(">BBHBHHB", 0xFF, marker, 17, 8, side, side, 3) + b"\0\x11\0\1\x11\0\2\x11\0"
    body = b""
    for components, first, last in scans:
        body += struct.pack(">BBHB", 0xFF, 0xDA, 6 + 2 * len(components), len(components))
        body += b"".join(bytes([part, 0]) for part in components) + bytes([first, last, 0]) + data
    return b"\xff\xd8" + tables + frame + body + b"\xff\xd9"


def large_photo(size: int = 4_000_000) -> bytes:
    """A grey baseline JPEG of 49 megapixels, all of whose blocks are there: two bits each."""
    blocks = ((SIDE + 7) // 8) ** 2 * 3
    return padded(jpeg(SIDE, 0xC0, [(b"\0\1\2", 0, 63)], bytes(blocks // 4 + 1)), size)


def empty_scans(count: int, side: int = SIDE) -> bytes:
    """A progressive JPEG of `count` scans, each of which says nothing about every block of the picture."""
    parts = [(bytes([number % 3]), 1, 63) for number in range(count - 1)]
    return padded(jpeg(side, 0xC2, [(b"\0\1\2", 0, 0), *parts]), 0)


def inflating(size: int) -> bytes:
    """`size` zeros (whole megabytes of them) as zlib writes them; a thousandth of that, and made at once."""
    encoder = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = encoder.compress(bytes(1 << 20)) + encoder.flush(zlib.Z_FULL_FLUSH)
    count = size >> 20
    check = struct.pack(">HH", (count << 20) % 65_521, 1)
    return b"\x78\xda" + block * count + encoder.flush(zlib.Z_FINISH) + check


def png(rows: list[bytes], before: bytes = b"", behind: bytes = b"") -> bytes:
    """An 8-bit grey PNG with chunks before and behind its pixels."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", len(rows[0]), len(rows), 8, 0, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    return b"\x89PNG\r\n\x1a\n" + header + before + pixels + behind + chunk(b"IEND", b"")


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def drawing(shade: int, chance: random.Random, side: int = 32) -> bytes:
    """A small picture of about that shade, unlike every other."""
    return png([bytes(min(255, shade + chance.randrange(40)) for _ in range(side)) for _ in range(side)])


def clear_codes(size: int) -> bytes:
    """A GIF of one pixel with `size` bytes of LZW: codes of 13 bits, each of which begins anew."""
    # Eight of them, whose highest bit alone is set: the first bit of a byte is its lowest.
    codes = sum(1 << (13 * at + 12) for at in range(8)).to_bytes(13, "little")
    data = codes * (size // len(codes))
    blocks = b"".join(b"\xff" + data[at : at + 255] for at in range(0, len(data) // 255 * 255, 255))
    head = b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0x80, 0, 0) + bytes(6)
    return head + b"," + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x0c" + blocks + b"\0;"


def headers(count: int) -> bytes:
    """A gzipped tar archive of `count` headers that stand for no entry; a five-hundredth of what is unpacked, or less."""
    entry = tarfile.TarInfo("x")
    entry.type = b"g"
    member = gzip.compress(entry.tobuf(tarfile.USTAR_FORMAT) * (1 << 17), 9)
    return member * (count >> 17)


def dataset(classes: int = 2, photos: int = 12, prefix: str = "class") -> bytes:
    """A tar archive of small labelled pictures."""
    chance = random.Random(classes)
    names = [f"{prefix}{number:05}" for number in range(classes)]
    shades = [(number * 200) // max(classes - 1, 1) for number in range(classes)]
    drawn = zip(names, shades)
    return tar({f"{name}/{at}.png": drawing(shade, chance) for name, shade in drawn for at in range(photos)})


def tar(contents: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, data in contents.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return file.getvalue()


def form(images: list[bytes], kind: str = "image/jpeg") -> tuple[bytes, str]:
    """A form of images, and its content type."""
    body = io.BytesIO()
    for number, image in enumerate(images):
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="{number}"\r\n'
        body.write(head.encode() + f"Content-Type: {kind}\r\n\r\n".encode() + image + b"\r\n")
    body.write(f"--{BOUNDARY}--\r\n".encode())
    return body.getvalue(), f"multipart/form-data; boundary={BOUNDARY}"
