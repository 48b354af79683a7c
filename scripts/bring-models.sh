#!/bin/sh
# Makes sure that the repository holds models: trained weights, or loudly untrained ones where those cannot be had.
#
#   bring-models.sh MODEL...
#
# GRAFT is the binary (default: graft). A server that runs over the same repository serves what comes without a restart;
# GRAFT_URL is where it is reached, for the last lines, which say what is there.
set -eu

graft=${GRAFT:-graft}
url=${GRAFT_URL:-http://127.0.0.1:8080}

# versions MODEL: the lines of `graft models` on it.
versions() {
  "$graft" models 2>/dev/null | grep "^$1 "
}

# Ends with the script that is told to end, and what it had begun with it.
child=
trap '[ -z "$child" ] || kill "$child" 2>/dev/null; exit 143' HUP INT TERM

# run COMMAND...: in the background and waited for, so that a signal is heard at once.
run() {
  "$@" >&2 &
  child=$!
  wait "$child"
}

for model in "$@"; do
  if versions "$model" | grep -qv 'UNTRAINED$'; then
    continue
  fi
  echo "bringing $model: its weights are downloaded and checked, then served beside the others" >&2
  if run "$graft" pull "$model"; then
    continue
  fi
  if versions "$model" >/dev/null; then
    echo "$model stays UNTRAINED: its weights could not be downloaded (the reason stands above)" >&2
    continue
  fi
  cat >&2 <<TEXT

  WARNING: THE WEIGHTS OF $model COULD NOT BE DOWNLOADED (the reason stands above).  It gets seeded, UNTRAINED ones: every
  route and every layer works, but what they answer means nothing, and each answer says so.  For real weights run
  "graft pull $model" where the host can be reached, or bring the file by hand: "graft import $model FILE.h5".  Either
  becomes the next version and is served without a restart.

TEXT
  run "$graft" init "$model" --seed 0
done

# The server brings the starter, perhaps at this moment.
starter=efficientnet_lite0
tries=0
until versions "$starter" >/dev/null || [ "$tries" -ge 10 ]; do
  tries=$((tries + 1))
  sleep 1
done

cat >&2 <<TEXT

What is there now, served on $url (documentation: $url/docs):
$("$graft" models)

TEXT
if versions "$starter" >/dev/null; then
  cat >&2 <<TEXT
A true answer (where keys are in use, with -H "Authorization: Bearer \$KEY"):
  curl -F image=@tests/fixtures/espresso.jpg '$url/predict?model=$starter&top_k=3'

TEXT
fi
