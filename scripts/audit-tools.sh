#!/bin/sh
# Brings the tools of `make audit`, at these versions; does nothing when they are there.
#
#   audit-tools.sh
#
# They are built from source, which takes minutes. CARGO names another cargo.
set -eu

cargo=${CARGO:-cargo}

# bring TOOL VERSION
bring() {
  if [ "$($cargo "${1#cargo-}" --version 2>/dev/null | sed 's/.* //')" = "$2" ]; then
    return
  fi
  echo "building $1 $2, once" >&2
  $cargo install --quiet --locked "$1@$2"
}

bring cargo-machete 0.9.2
bring cargo-deny 0.20.2
