# How a script that fetches a package begins; read by `.`, not run. It owns the check for pip and the scratch folder, and must
# not know what is fetched.
#
# Wants `python` and `folder`, the latter to be made; gives `scratch`, a folder in it that goes when the script ends.

if ! "$python" -m pip --version >/dev/null 2>&1; then
  echo "$(basename "$0" .sh): $python has no pip (Debian, Ubuntu: apt-get install python3-pip)" >&2
  exit 1
fi

mkdir -p "$folder"
scratch=$(mktemp -d "$folder/.fetch.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
