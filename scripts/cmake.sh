#!/bin/sh
# CMake for `cargo build`, which `.cargo/config.toml` sends here: the one that is installed, else the one that `make cmake`
# brings. The variable CMAKE names another.
own=$(dirname "$0")/../.cmake/bin/cmake
if command -v cmake >/dev/null 2>&1; then
  exec cmake "$@"
elif [ -x "$own" ]; then
  exec "$own" "$@"
fi
echo "graft builds libjpeg-turbo with CMake, and there is none: run \`make cmake\`, which fetches it into .cmake, or install it (Debian, Ubuntu: apt-get install cmake)" >&2
exit 127
