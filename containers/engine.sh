#!/usr/bin/env bash
# Sees that a Docker engine answers; as root on Debian, where none does, installs Debian's and starts it.
# exit: 0 an engine answers, 3 there is none (one line says why). HEADWAY_NO_ENGINE=1: none is wanted, none is touched.
set -euo pipefail

log=/var/log/headway-dockerd.log
start_deadline=60 # seconds; a first start takes about 3

main() {
  if [ "${HEADWAY_NO_ENGINE:-}" = 1 ]; then none "HEADWAY_NO_ENGINE=1 forbids it"; fi
  if answers; then exit 0; fi
  if [ "$(id -u)" != 0 ]; then none "none answers, and only root can start one: start Docker, or add yourself to the group docker"; fi
  if ! [ -e /etc/debian_version ]; then none "none answers, and this is not Debian: install and start Docker"; fi
  if ! command -v dockerd >/dev/null; then install; fi
  start
}

answers() { timeout 15 docker version --format '{{.Server.Version}}' >/dev/null 2>&1; }

none() {
  echo "engine: no Docker engine ($1); without one, jobs run as processes of this machine" >&2
  exit 3
}

install() {
  echo "engine: installing Debian's docker.io"
  export DEBIAN_FRONTEND=noninteractive
  timeout 300 apt-get -qq update || none "apt-get update failed"
  packages=(docker.io iptables)
  if apt-cache show docker-cli >/dev/null 2>&1; then packages+=(docker-cli); fi # apart since Debian 13
  timeout 600 apt-get -qq install -y --no-install-recommends "${packages[@]}" >/dev/null || none "apt-get install docker.io failed"
  hash -r
}

start() {
  if [ -d /run/systemd/system ]; then
    echo "engine: starting Docker (systemctl start docker)"
    timeout "$start_deadline" systemctl start docker || none "systemctl start docker failed"
    pid=$$
  else
    echo "engine: starting dockerd, which stays up; its log is $log"
    setsid nohup dockerd >"$log" 2>&1 </dev/null &
    pid=$!
  fi
  for _ in $(seq "$((start_deadline * 2))"); do
    if answers; then exit 0; fi
    if ! kill -0 "$pid" 2>/dev/null; then break; fi
    sleep 0.5
  done
  if [ -e "$log" ]; then tail -n 5 "$log" >&2; fi
  none "dockerd did not come up, see $log"
}

main
