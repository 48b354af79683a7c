#!/bin/sh
# Serves with the starter at once, then brings the other models beside it; ends with the server.
#
#   serve.sh STARTER.safetensors MODEL...
#
# GRAFT is the binary (default: graft); GRAFT__SERVER__HOST and GRAFT__SERVER__PORT are the address, as for graft itself.
set -eu

here=$(dirname "$0")
graft=${GRAFT:-graft}
host=${GRAFT__SERVER__HOST:-127.0.0.1}
case $host in
  0.0.0.0 | ::) host=127.0.0.1 ;;
  *:*) host="[$host]" ;;
esac
url=http://$host:${GRAFT__SERVER__PORT:-8080}
export GRAFT__MODELS__STARTER="$1"
shift

if "$graft" doctor --url "$url" >/dev/null 2>&1; then
  echo "something serves on $url already: stop it, or choose another port with GRAFT__SERVER__PORT=8081" >&2
  exit 1
fi

"$graft" serve &
server=$!
# Ctrl-C reaches the server too; what is left to do here is to wait for its end.
trap 'kill "$server" 2>/dev/null; wait "$server"; exit' INT TERM

# Ready within a second or so; a server that is not goes on without the starter, and the other models still come.
tries=0
until "$graft" doctor --url "$url" >/dev/null 2>&1 || [ "$tries" -ge 100 ]; do
  kill -0 "$server" 2>/dev/null || { wait "$server"; exit; }
  tries=$((tries + 1))
  sleep 0.2
done
GRAFT=$graft GRAFT_URL=$url sh "$here/bring-models.sh" "$@" || echo "not every model could be brought (the reason stands above)" >&2
wait "$server"
