#!/bin/sh
# graft's CMake, without SIMD: the address sanitizer sees what C does, and nothing of what assembly does.
case ${1-} in
  --*) exec sh "$(dirname "$0")/../scripts/cmake.sh" "$@" ;;
  *) exec sh "$(dirname "$0")/../scripts/cmake.sh" "$@" -DWITH_SIMD=OFF ;;
esac
