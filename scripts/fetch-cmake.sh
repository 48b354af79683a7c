#!/bin/sh
# Puts CMake, which libjpeg-turbo is built with, into a folder.
#
#   fetch-cmake.sh [FOLDER]
#
# It is taken out of a PyPI wheel, which suits any Python: pip only downloads it. Version and hashes are cmake.txt's, which
# lies beside this script. PIP_ARGS is passed on to pip.
set -eu

folder=${1:-.cmake}
python=${PYTHON:-python3}
list=$(dirname "$0")/cmake.txt

case $(uname -m) in
  x86_64 | amd64) machine=x86_64 ;;
  aarch64 | arm64) machine=aarch64 ;;
  *) echo "fetch-cmake: PyPI has no CMake for $(uname -m); install it (Debian, Ubuntu: apt-get install cmake)" >&2; exit 1 ;;
esac

. "$(dirname "$0")/scratch.sh"

echo "fetching $(sed -n 's/^\(cmake==[^ ]*\).*/\1/p' "$list") for $machine" >&2
# shellcheck disable=SC2086 # PIP_ARGS is a list of words
"$python" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
  --platform "manylinux_2_17_$machine" --python-version 3.12 \
  ${PIP_ARGS:-} --dest "$scratch" --require-hashes --requirement "$list"
"$python" -m zipfile -e "$scratch"/*.whl "$scratch/wheel"

rm -rf "$folder/bin" "$folder/share"
mv "$scratch/wheel/cmake/data/bin" "$scratch/wheel/cmake/data/share" "$folder/"
chmod +x "$folder"/bin/*
"$folder/bin/cmake" --version | head -n 1 >&2
