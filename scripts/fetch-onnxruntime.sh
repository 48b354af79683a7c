#!/bin/sh
# Puts ONNX Runtime's shared library and its licences into a folder.
#
#   fetch-onnxruntime.sh [onnxruntime|onnxruntime-gpu] [FOLDER]
#
# The library is taken out of a PyPI wheel, which is the same in every Python's wheel of a version: pip only downloads
# it, so any Python with pip will do. Version and hashes are onnxruntime.txt's, which lies beside this script.
# PIP_ARGS is passed on to pip.
set -eu

package=${1:-onnxruntime}
folder=${2:-.onnxruntime}
python=${PYTHON:-python3}

case $(uname -s) in
  Linux) ;;
  *) echo "fetch-onnxruntime: only Linux is supported; point GRAFT__RUNTIME__LIBRARY to a library of your own" >&2; exit 1 ;;
esac
case $(uname -m) in
  x86_64 | amd64) machine=x86_64 ;;
  aarch64 | arm64) machine=aarch64 ;;
  *) echo "fetch-onnxruntime: PyPI has no ONNX Runtime for $(uname -m)" >&2; exit 1 ;;
esac
# The package's entry: its line, and those that a backslash joins to it.
entry=$(sed -n "/^$package==/,/[^\\\\]\$/p" "$(dirname "$0")/onnxruntime.txt")
if [ -z "$entry" ]; then
  echo "fetch-onnxruntime: onnxruntime.txt has no $package" >&2
  exit 1
fi

. "$(dirname "$0")/scratch.sh"

echo "fetching ${entry%% *} for $machine" >&2
printf '%s\n' "$entry" >"$scratch/requirements.txt"
# shellcheck disable=SC2086 # PIP_ARGS is a list of words
"$python" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
  --platform "manylinux_2_28_$machine" --platform "manylinux_2_27_$machine" --python-version 3.12 \
  ${PIP_ARGS:-} --dest "$scratch" --require-hashes --requirement "$scratch/requirements.txt"
"$python" -m zipfile -e "$scratch"/*.whl "$scratch/wheel"

rm -f "$folder"/libonnxruntime*.so*
mv "$scratch"/wheel/onnxruntime/capi/libonnxruntime*.so* "$folder/"
mv "$scratch/wheel/onnxruntime/LICENSE" "$scratch/wheel/onnxruntime/ThirdPartyNotices.txt" "$folder/"
ls "$folder"/libonnxruntime.so.* >&2
