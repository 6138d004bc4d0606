#!/usr/bin/env bash
# Makes the base of the training image available to the engine: it is there, or is pulled, or (as root on Debian,
# where no registry can be reached) a Debian 12 with its Python 3.11 stands in for it under the same name.
set -euo pipefail

image=python:3.11-slim
pull_deadline=120 # seconds; 45 MB

main() {
  if [ "${HEADWAY_NO_ENGINE:-}" = 1 ] || ! timeout 15 docker version >/dev/null 2>&1; then exit 0; fi # engine.sh said so
  if docker image inspect "$image" >/dev/null 2>&1; then exit 0; fi
  echo "base: pulling $image"
  if timeout "$pull_deadline" docker pull -q "$image" >/dev/null 2>&1; then exit 0; fi
  if [ "$(id -u)" != 0 ] || ! [ -e /etc/debian_version ]; then
    echo "base: $image cannot be pulled, and only root on Debian can build a stand-in: give the engine an image of that name" >&2
    exit 3
  fi
  stand_in
}

stand_in() {
  echo "base: no registry answers; a Debian 12 with its own Python 3.11 stands in as $image"
  export DEBIAN_FRONTEND=noninteractive
  if ! command -v mmdebstrap >/dev/null; then
    timeout 300 apt-get -qq update
    timeout 600 apt-get -qq install -y --no-install-recommends mmdebstrap >/dev/null
  fi
  rootfs=$(mktemp --suffix=.tar)
  trap 'rm -f "$rootfs"' EXIT
  timeout 600 mmdebstrap --quiet --variant=minbase --include=python3,python3-venv,python-is-python3,ca-certificates \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
    bookworm "$rootfs"
  docker import --change 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
    --change 'CMD ["python3"]' --change "LABEL headway.stand-in=\"Debian 12 with its Python 3.11, in place of $image\"" \
    "$rootfs" "$image" >/dev/null
}

main
