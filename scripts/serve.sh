#!/bin/sh
# Serves with the starter at once, then brings the other models beside it; ends with the server.
#
#   serve.sh STARTER.safetensors MODEL...
#
# GRAFT is the binary (default: graft).
set -eu

here=$(dirname "$0")
graft=${GRAFT:-graft}
export GRAFT__MODELS__STARTER="$1"
shift

# Where graft's own configuration has it listen, as a client on this machine writes it.
found=$("$graft" doctor 2>/dev/null || true)
address=$(echo "$found" | sed -n 's/^[a-zA-Z]*  *address: \([^ ]*\) .*/\1/p' | head -n 1)
scheme=$(echo "$found" | sed -n 's/^[a-zA-Z]*  *https: .*/https/p' | head -n 1)
url=${scheme:-http}://$(echo "${address:-127.0.0.1:8080}" | sed 's/^0\.0\.0\.0:/127.0.0.1:/; s/^\[::\]:/[::1]:/')
if "$graft" doctor --running >/dev/null 2>&1; then
  echo "something serves on $url already: stop it, or choose another port with GRAFT__SERVER__PORT=8081" >&2
  exit 1
fi

"$graft" serve &
server=$!
bringer=
# What was begun ends with this script; a download goes on where it stopped, the next time.
trap 'kill "$server" $bringer 2>/dev/null || true; wait "$server"; exit' HUP INT TERM

# Ready within a second or so; a server that is not goes on without the starter, and the other models still come.
tries=0
until "$graft" doctor --running >/dev/null 2>&1 || [ "$tries" -ge 100 ]; do
  kill -0 "$server" 2>/dev/null || { wait "$server"; exit; }
  tries=$((tries + 1))
  sleep 0.2
done
GRAFT=$graft GRAFT_URL=$url sh "$here/bring-models.sh" "$@" &
bringer=$!
wait "$bringer" || echo "not every model could be brought (the reason stands above)" >&2
bringer=
wait "$server"
