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
[ "$host" = 0.0.0.0 ] && host=127.0.0.1
url=http://$host:${GRAFT__SERVER__PORT:-8080}
export GRAFT__MODELS__STARTER="$1"
shift

"$graft" serve &
server=$!
# Ctrl-C reaches the server too; what is left to do here is to wait for its end.
trap 'kill "$server" 2>/dev/null; wait "$server"; exit' INT TERM

until "$graft" doctor --url "$url" >/dev/null 2>&1; do
  kill -0 "$server" 2>/dev/null || { wait "$server"; exit; }
  sleep 0.2
done
echo "serving on $url; $* come beside it" >&2
GRAFT=$graft sh "$here/bring-models.sh" "$@" || echo "not every model could be brought (the reason stands above)" >&2
cat >&2 <<TEXT

Served on $url (documentation: $url/docs, stop: Ctrl-C):
$("$graft" models 2>/dev/null)

A true answer:
  curl -F image=@tests/fixtures/espresso.jpg '$url/predict?top_k=3'
TEXT
wait "$server"
