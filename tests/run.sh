#!/bin/sh
# Runs the Rust tests and says last how many were skipped for want of real data: `make test`. CARGO names another cargo.
set -u

cargo=${CARGO:-cargo}
GRAFT_TEST_SKIPS=$(mktemp)
export GRAFT_TEST_SKIPS
trap 'rm -f "$GRAFT_TEST_SKIPS"' EXIT

if $cargo nextest --version >/dev/null 2>&1; then
  $cargo nextest run --locked
else
  echo "cargo-nextest is not installed: running the same tests with cargo test"
  $cargo test --locked --lib --bins --tests
fi
status=$?

sort -u "$GRAFT_TEST_SKIPS"
skipped=$(sort -u "$GRAFT_TEST_SKIPS" | wc -l)
if [ "$skipped" -gt 0 ]; then
  echo "skipped: $((skipped)) tests need real photos or weights; set GRAFT_TEST_DATA=FOLDER (tests/README.md)"
fi
exit $status
