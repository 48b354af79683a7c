#!/usr/bin/env python3
"""Sorts ImageNet photos that lie side by side into class folders, as `graft evaluate` reads them.

    by_wnid.py SRC DST

SRC holds files such as n01440764_tench.JPEG, whose names begin with the class; DST gets a folder per class with symbolic
links to them, or copies where links cannot be made. SRC stays as it is.
"""

import os
import pathlib
import re
import shutil
import sys

NAME = re.compile(r"(n\d{8})_.*\.(jpe?g|png|bmp|gif|webp|tiff?)", re.IGNORECASE)


def sort(source, target):
    """The number of photos sorted."""
    count = 0
    for path in sorted(source.iterdir()):
        match = NAME.fullmatch(path.name)
        if not match or not path.is_file():
            continue
        folder = target / match.group(1).lower()
        folder.mkdir(parents=True, exist_ok=True)
        link = folder / path.name
        if not os.path.lexists(link):
            try:
                link.symlink_to(path.resolve())
            except OSError:
                shutil.copyfile(path, link)
        count += 1
    return count


def main(arguments):
    if len(arguments) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    source, target = map(pathlib.Path, arguments)
    if not source.is_dir():
        print(f"by_wnid: {source} is no folder", file=sys.stderr)
        return 1
    count = sort(source, target)
    print(f"{count} photos of {source} in {target}", file=sys.stderr)
    return 0 if count else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
