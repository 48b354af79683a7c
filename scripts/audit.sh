#!/bin/sh
# Checks the dependencies: unused ones, licences, bans, sources, and known vulnerabilities.
#
#   audit.sh
#
# A missing tool fails the audit where CI is set, and is reported elsewhere. The database of vulnerabilities comes from
# a host that not every machine reaches: without it the rest is checked, and a line says so. CARGO names another cargo.
set -eu

cargo=${CARGO:-cargo}

# tool NAME: whether cargo has it; without it, ends the audit in CI.
tool() {
  $cargo "$1" --version >/dev/null 2>&1 && return
  echo "NOT CHECKED: cargo-$1 is not installed (make audit-tools builds it)" >&2
  if [ -n "${CI:-}" ]; then
    exit 1
  fi
  return 1
}

advisories() {
  if fetched=$($cargo deny --locked fetch db 2>&1); then
    $cargo deny --locked check advisories
  else
    echo "$fetched" >&2
    echo "NOT CHECKED: known vulnerabilities, because their database could not be fetched (the reason stands above)" >&2
  fi
}

if tool machete; then
  $cargo machete
fi
if tool deny; then
  $cargo deny --locked check bans licenses sources
  advisories
fi
