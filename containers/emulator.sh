#!/usr/bin/env bash
# Builds the emulator's image from this checkout, with wheels that this machine downloads: the build needs no network.
# usage: emulator.sh [IMAGE]        (IMAGE: headway-emulator; PYTHON: the interpreter whose pip downloads; BASE: the base image)
set -euo pipefail
cd "$(dirname "$0")/.."

image=${1:-headway-emulator}
python=${PYTHON:-.venv/bin/python}
base=${BASE:-python:3.11-slim}
image_python=3.11 # the Python of the base image, whatever this machine's is

context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT

# the extra, with the versions of constraints.txt where it has them
"$python" - >"$context/requirements.txt" <<'PYTHON'
import tomllib
print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["emulator"], sep="\n")
PYTHON

key=$(cat "$context/requirements.txt" constraints.txt "$0" | sha256sum | cut -c1-20)
house=$PWD/.cache/wheelhouse/emulator-$key
if [ ! -d "$house" ]; then
  echo "emulator: downloading wheels" >&2
  mkdir -p "$PWD/.cache/wheelhouse"
  "$python" -m pip download -qq --disable-pip-version-check --dest "$context/partial" \
    --only-binary=:all: --python-version "$image_python" -r "$context/requirements.txt" -c constraints.txt >&2
  chmod 755 "$context/partial"
  mv -T "$context/partial" "$house" 2>/dev/null || [ -d "$house" ] # another one was quicker
fi

"$python" -m pip wheel -qq --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir "$context/wheels" . >&2
ln "$house"/*.whl -t "$(mkdir "$context/wheelhouse" && echo "$context/wheelhouse")" 2>/dev/null ||
  cp "$house"/*.whl "$context/wheelhouse/"
docker build --quiet --network none --build-arg BASE="$base" --tag "$image" --file containers/emulator.Dockerfile "$context" >/dev/null
echo "$image"
