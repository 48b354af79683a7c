//! EXIF orientation, applied as Pillow's `ImageOps.exif_transpose` does.
