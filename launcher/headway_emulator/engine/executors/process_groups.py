"""Child processes in groups of their own, remembered in the state so that a later emulator can end strays."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

import psutil

from headway_emulator.engine.store import Store

KIND = "process"


class ProcessGroup:
    """A command and all its children; everything is ended together."""

    def __init__(
        self,
        store: Store,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        folder: Path,
        merged: bool = False,
    ) -> None:
        """Start it; OSError where the command cannot be run. `merged` sends stderr into stdout, in order."""
        self._store = store
        self._child = subprocess.Popen(
            list(command),
            env=dict(env),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if merged else subprocess.PIPE,
            start_new_session=True,
        )
        try:
            self._record()
        except BaseException:
            self.kill()
            raise

    @property
    def pid(self) -> int:
        """Of the command, and of its group."""
        return self._child.pid

    @property
    def stdout(self) -> IO[bytes]:
        assert self._child.stdout is not None
        return self._child.stdout

    @property
    def stderr(self) -> IO[bytes]:
        assert self._child.stderr is not None
        return self._child.stderr

    def wait(self, timeout: float | None = None) -> int:
        """The exit code in the shell's way: 128 + N after signal N. TimeoutExpired where it goes on."""
        code = self._child.wait(timeout)
        return code if code >= 0 else 128 - code

    def ended(self) -> bool:
        """Asked of the system: while another thread waits for the child, `poll` answers nothing."""
        return gone(self._child.pid)

    def terminate(self) -> None:
        """To the command alone, as an engine signals a container's first process."""
        if self._child.poll() is None:
            self._child.terminate()

    def kill(self) -> None:
        """To the group, and to descendants that made groups of their own."""
        if self._child.poll() is None:
            _kill_tree(self._child.pid)
        else:
            _kill_group(self._child.pid)

    def forget(self) -> None:
        """End children that outlived the command, and drop the note in the state."""
        _kill_group(self._child.pid)
        self._store.delete(KIND, str(self._child.pid))

    def _record(self) -> None:
        try:
            born = psutil.Process(self._child.pid).create_time()
        except psutil.NoSuchProcess:
            return
        self._store.put(KIND, str(self._child.pid), {"pid": self._child.pid, "create_time": born})


def gone(pid: int) -> bool:
    """Whether a process has ended, be its end taken note of by its parent or not."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def end_strays(store: Store) -> int:
    """Kill what an emulator which was itself killed has left; gives how many commands there were."""
    ended = 0
    for note in store.list(KIND):
        pid = int(note["pid"])
        if psutil.pid_exists(pid):
            if _born(pid) == note["create_time"]:
                _kill_tree(pid)
                ended += 1
        elif note["create_time"] > psutil.boot_time():
            _kill_group(pid)  # its children may outlive it, and no other group has its number meanwhile
        store.delete(KIND, str(pid))
    return ended


def _kill_tree(pid: int) -> None:
    """The command's group, and descendants that made groups of their own, as a runtime does for training."""
    try:
        descendants = psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        descendants = []
    _kill_group(pid)
    for process in descendants:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _born(pid: int) -> float:
    try:
        return psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        return 0.0
