"""Servers as processes: none is started unnoted, none is left behind."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import psutil
import pytest

from headway_launcher.stack import processes


def test_a_signal_is_held_back_while_a_server_is_started_and_then_arrives() -> None:
    steps: list[str] = []

    def start() -> None:
        with processes.undisturbed():
            signal.raise_signal(signal.SIGINT)
            steps.append("noted")
        steps.append("gone on")

    with pytest.raises(KeyboardInterrupt):
        start()
    assert steps == ["noted"]


def test_what_a_server_starts_while_it_is_ended_is_ended_too(tmp_path: Path) -> None:
    script = (
        "import signal, subprocess, sys, time\n"
        "def last(*_):\n"
        "    child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "    open('child', 'w').write(str(child.pid))\n"
        "    sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, last)\n"
        "open('ready', 'w').close()\n"
        "time.sleep(60)\n"
    )
    server = processes.start([sys.executable, "-c", script], dict(os.environ), tmp_path / "server.log")
    deadline = time.monotonic() + 20
    while not (tmp_path / "ready").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    processes.end([server])
    child = int((tmp_path / "child").read_text())
    while psutil.pid_exists(child) and psutil.Process(child).status() != "zombie":
        assert time.monotonic() < deadline
        time.sleep(0.02)
