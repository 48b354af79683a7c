#!/bin/sh
# Makes sure that the repository holds a model: published weights, or loudly untrained ones where they cannot be had.
#
#   ensure-model.sh [vgg16|inception_v3]
#
# GRAFT is the binary (default: graft), GRAFT__MODELS__DIR the repository (default: models).
set -eu

model=${1:-vgg16}
graft=${GRAFT:-graft}
repository=${GRAFT__MODELS__DIR:-models}

# A version is whole once it has its metadata; half-written ones do not count.
for metadata in "$repository/$model"/*/metadata.json; do
  [ -e "$metadata" ] && exit 0
done

echo "$repository has no $model yet: pulling the weights that Keras publishes" >&2
if "$graft" pull "$model" >&2; then
  exit 0
fi

cat >&2 <<TEXT

  WARNING: THE WEIGHTS OF $model COULD NOT BE DOWNLOADED (the reason stands above).  graft goes on with seeded,
  UNTRAINED weights: every route works, every answer says "pretrained: false", and the classes mean nothing.  For real
  ones, run "graft pull $model" where the host can be reached, or bring the Keras file by hand: "graft import $model
  FILE.h5 --name $model".  Either becomes the next version and is served without a restart.

TEXT
"$graft" init "$model" --seed 0 >&2
