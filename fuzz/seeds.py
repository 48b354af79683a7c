"""Writes seeds for the fuzzers: `python3 fuzz/seeds.py CORPUS [FOLDER...]`, from the repository's root.

They are the images of tests/fixtures, the JPEGs of tests/fixtures/jpegs.tar.gz, and small crops of the photos in every FOLDER
(and of the sample photos), encoded anew in every format. CORPUS gets a folder per target.
"""

import hashlib
import io
import pathlib
import sys
import tarfile
import warnings

from PIL import Image

FIXTURES = pathlib.Path("tests/fixtures")
SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff"}
CROP, MOST = 40, 16384


def encoded(image):
    """A crop in every format, and as JPEG in several ways."""
    left, top = (image.width - CROP) // 2, (image.height - CROP) // 2
    crop = image.convert("RGB").crop((left, top, left + CROP, top + CROP))
    for format, kind, options in [
        ("JPEG", crop, {"quality": 75}),
        ("JPEG", crop, {"quality": 90, "subsampling": 0}),
        ("JPEG", crop, {"quality": 60, "progressive": True, "restart_marker_rows": 1}),
        ("JPEG", crop.convert("CMYK"), {"quality": 50}),
        ("JPEG", crop.convert("L"), {"quality": 40, "progressive": True}),
        ("PNG", crop, {}),
        ("PNG", crop.quantize(16), {}),
        ("GIF", crop.quantize(8), {}),
        ("WEBP", crop, {"quality": 60}),
        ("WEBP", crop, {"lossless": True}),
        ("BMP", crop.resize((9, 9)), {}),
        ("TIFF", crop.resize((9, 9)), {"compression": "tiff_lzw"}),
        ("TIFF", crop.resize((9, 9)), {"compression": "tiff_adobe_deflate"}),
    ]:
        buffer = io.BytesIO()
        kind.save(buffer, format, **options)
        yield buffer.getvalue()


def seeds(folders):
    files = [path for path in (FIXTURES / "images").iterdir() if path.suffix in SUFFIXES]
    yield from (path.read_bytes() for path in files)
    with tarfile.open(FIXTURES / "jpegs.tar.gz") as archive:
        yield from (archive.extractfile(entry).read() for entry in archive if entry.name.endswith(".jpg"))
    photos = [FIXTURES / "espresso.jpg", FIXTURES / "cat.jpg"]
    photos += [path for folder in folders for path in sorted(pathlib.Path(folder).rglob("*")) if path.suffix.lower() in SUFFIXES]
    for path in photos:
        if path.stat().st_size <= MOST:
            yield path.read_bytes()
        try:
            yield from encoded(Image.open(path))
        except Exception as error:  # noqa: BLE001 - a broken photo is a seed, too
            print(f"{path}: {error}", file=sys.stderr)


def main():
    warnings.simplefilter("ignore")
    corpus = pathlib.Path(sys.argv[1])
    for target in ("jpeg", "images"):
        (corpus / target).mkdir(parents=True, exist_ok=True)
    for data in seeds(sys.argv[2:]):
        name = hashlib.sha1(data).hexdigest()
        (corpus / "images" / name).write_bytes(data)
        if data.startswith(b"\xff\xd8\xff"):
            (corpus / "jpeg" / name).write_bytes(data)
    print({target.name: len(list(target.iterdir())) for target in corpus.iterdir()})


main()
