"""What all tests share: the one rule about engines, and no test reaching the user's own state."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from functools import cache

import pytest


@cache
def engine_answers() -> bool:
    """Whether a Docker engine answers within some seconds, and is not forbidden."""
    if os.environ.get("HEADWAY_NO_ENGINE") == "1" or shutil.which("docker") is None:
        return False
    try:
        done = subprocess.run(["docker", "version"], capture_output=True, timeout=15, check=False)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def pytest_configure() -> None:
    """A shell that runs the suite in its background has it ignore Ctrl-C, and all that tests start, too."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("docker") is None or engine_answers():
        return
    if os.environ.get("HEADWAY_REQUIRE_DOCKER") == "1":
        pytest.fail("this test needs a Docker engine, and HEADWAY_REQUIRE_DOCKER=1 allows no skip")
    pytest.skip("no Docker engine answers (HEADWAY_REQUIRE_DOCKER=1 makes this a failure)")


@pytest.fixture(autouse=True)
def own_state(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The state folder of a test is its own, unless a fixture gives it a stack."""
    if "HEADWAY_STATE" not in os.environ:
        monkeypatch.setenv("HEADWAY_STATE", str(tmp_path_factory.getbasetemp() / "no-stack"))
