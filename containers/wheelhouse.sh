#!/usr/bin/env bash
# Fills .cache/wheelhouse/<digest> with the wheels of one image and prints its path, so that the image builds with no network.
# usage: wheelhouse.sh REQUIREMENTS        (PYTHON: the interpreter whose pip downloads)
set -euo pipefail
cd "$(dirname "$0")/.."

requirements=${1:?usage: wheelhouse.sh REQUIREMENTS}
python=${PYTHON:-.venv/bin/python}
image_python=3.11 # the Python of the base image, whatever this machine's is
inputs=("$requirements" containers/runtime-requirements.txt constraints.txt)

key=$(cat "${inputs[@]}" "$0" | sha256sum | cut -c1-20)
house=$PWD/.cache/wheelhouse/$key
if [ ! -d "$house" ]; then
  echo "wheelhouse: downloading the wheels of $requirements" >&2
  mkdir -p "$PWD/.cache/wheelhouse"
  partial=$(mktemp -d "$PWD/.cache/wheelhouse/partial.XXXXXX")
  trap 'rm -rf "$partial"' EXIT
  "$python" -m pip download -qq --disable-pip-version-check --dest "$partial" \
    --only-binary=:all: --python-version "$image_python" \
    -r "$requirements" -r containers/runtime-requirements.txt -c constraints.txt >&2
  chmod 755 "$partial"
  mv -T "$partial" "$house" 2>/dev/null || [ -d "$house" ] # another one was quicker
fi
echo "$house"
