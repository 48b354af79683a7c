"""Makes the sample photos of `tests/fixtures` from pictures of PyPI's scikit-image (with Pillow):

    pip download --no-deps scikit-image==0.26.0 && unzip scikit_image-*.whl 'skimage/data/*'
    python tests/goldens/photos.py skimage/data
"""

import pathlib
import sys

from PIL import Image

OUT = pathlib.Path(__file__).resolve().parents[1] / "fixtures"
PHOTOS = {"coffee.png": ("espresso.jpg", 75), "chelsea.png": ("cat.jpg", 85)}


def main(folder):
    for picture, (photo, quality) in PHOTOS.items():
        image = Image.open(pathlib.Path(folder) / picture).convert("RGB")
        image.save(OUT / photo, quality=quality, optimize=True)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
