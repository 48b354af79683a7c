#!/bin/sh
# Checks that everything is there that building graft needs, and lists what is missing and how to get it.
#
#   requirements.sh [PROGRAM...]
#
# PROGRAMs, such as git and curl, are needed besides.
# CARGO, CC and PYTHON name other programs than cargo, cc and python3. Exits with 1 when something is missing. CMake is not
# asked for: `make cmake` brings it.
set -u

root=$(dirname "$0")/..
python=${PYTHON:-python3}
cargo=${CARGO:-cargo}
compiler=${CC:-cc}
missing=

# miss WHAT HOW: notes one missing thing and where it comes from.
miss() {
  missing="$missing
  - $1
      $2"
}

# package DEBIAN FEDORA: how to install a package of the distribution.
package() {
  echo "Debian, Ubuntu: sudo apt-get install $1     Fedora: sudo dnf install $2"
}

# has COMMAND: whether it, or its first word, is a program.
has() {
  command -v "$1" >/dev/null 2>&1 || command -v "${1%% *}" >/dev/null 2>&1
}

# value FILE KEY: the quoted value of KEY in a TOML file.
value() {
  sed -n "s/^$2 *= *\"\([^\"]*\)\".*/\1/p" "$root/$1" 2>/dev/null | head -n 1
}

# older A B: whether version A comes before B; both are MAJOR.MINOR, with anything behind.
older() {
  a_major=${1%%.*} a_rest=${1#*.}
  b_major=${2%%.*} b_rest=${2#*.}
  [ "$a_major" -lt "$b_major" ] || { [ "$a_major" -eq "$b_major" ] && [ "${a_rest%%.*}" -lt "${b_rest%%.*}" ]; }
}

rustup="The Rust project's installer, for every Linux: https://rustup.rs"

check_rust() {
  needed=$(value Cargo.toml rust-version)
  if ! has "$cargo"; then
    miss "Rust, version $needed or newer ($cargo was not found)" "$rustup"
    return
  fi
  # $cargo may be several words. In the root, where rust-toolchain.toml counts.
  if ! said=$(cd "$root" && $cargo --version 2>&1); then
    miss "Rust $(value rust-toolchain.toml channel), which rust-toolchain.toml names ($cargo says: $(echo "$said" | head -n 1))" \
      "rustup toolchain install $(value rust-toolchain.toml channel) --profile minimal --component rustfmt,clippy
      or use one that is installed, from $needed on: RUSTUP_TOOLCHAIN=stable make serve"
    return
  fi
  found=$(echo "$said" | sed -n 's/^cargo \([0-9][0-9]*\.[0-9][0-9]*\).*/\1/p' | head -n 1)
  if [ -z "$found" ]; then
    miss "Rust, version $needed or newer ($cargo --version says: $(echo "$said" | head -n 1))" "$rustup"
  elif older "$found" "$needed"; then
    miss "Rust, version $needed or newer (this is $found)" "$rustup"
  fi
}

check_python() {
  if ! has "$python"; then
    miss "Python 3 with pip ($python was not found)" "$(package python3-pip python3-pip)"
    return
  fi
  "$python" -c '
import importlib.util, sys
sys.exit(3 if sys.version_info < (3, 8) else 4 if importlib.util.find_spec("pip") is None else 0)' >/dev/null 2>&1
  case $? in
    0) ;;
    4) miss "pip of $python, which brings ONNX Runtime" "$(package python3-pip python3-pip)" ;;
    *) miss "Python, version 3.8 or newer ($python is older, or does not start)" "$(package python3 python3)" ;;
  esac
}

check_rust
has make || miss "make" "$(package make make)"
has "$compiler" || miss "a C compiler ($compiler was not found)" "$(package build-essential gcc)"
check_python
for program in "$@"; do
  has "$program" || miss "$program" "$(package "$program" "$program")"
done

if [ "$(uname -m 2>/dev/null)" = x86_64 ] && ! has nasm; then
  echo "note: without NASM, JPEGs are decoded without SIMD: to the same pixels, in up to three times the time. $(package nasm nasm)" >&2
fi

if [ -n "$missing" ]; then
  cat >&2 <<TEXT
graft cannot be built yet. What is missing, and how to get it:
$missing

Then run the same command again.
TEXT
  exit 1
fi
