"""Free ports: found by binding, never by asking."""

from __future__ import annotations

import socket
from collections.abc import Collection, Sequence

import psutil

from headway.errors import MachineError

_TRIES = 500


def is_free(port: int, hosts: Sequence[str]) -> bool:
    """True where the port can be bound on every one of the addresses."""
    return all(_can_bind(host, port) for host in hosts)


def choose(first: int, hosts: Sequence[str], taken: Collection[int] = ()) -> int:
    """The first free port from `first` upwards that is not `taken`. Raises MachineError after 500."""
    for port in range(first, first + _TRIES):
        if port not in taken and is_free(port, hosts):
            return port
    raise MachineError(f"no free port from {first} to {first + _TRIES - 1} on {', '.join(hosts)}")


def holder(port: int) -> str | None:
    """Who listens on the port, as `name (pid N)`; None where the system does not tell (another user's)."""
    try:
        connections = psutil.net_connections(kind="tcp")
    except psutil.AccessDenied:
        return None
    for connection in connections:
        if connection.status != psutil.CONN_LISTEN or not connection.laddr or connection.pid is None:
            continue
        if connection.laddr.port == port:
            return _describe(connection.pid)
    return None


def _describe(pid: int) -> str:
    try:
        return f"{psutil.Process(pid).name()} (pid {pid})"
    except psutil.Error:
        return f"pid {pid}"


def _can_bind(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # Connections of a server that just ended linger in TIME_WAIT; they do not keep its successor off.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True
