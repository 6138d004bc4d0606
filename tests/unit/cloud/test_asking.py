"""Questions asked at once."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time

import pytest

from headway.cloud.asking import ask, ask_each


def test_answers_come_in_the_order_of_the_questions() -> None:
    assert ask_each(lambda number: number * 2, range(20)) == list(range(0, 40, 2))


def test_only_so_many_are_asked_at_a_time() -> None:
    now, most, lock = 0, 0, threading.Lock()

    def question(_: int) -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.005)
        with lock:
            now -= 1

    ask_each(question, range(12), at_once=3)
    assert most == 3


def test_an_error_is_the_askers() -> None:
    def question() -> int:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        ask(question).result()


def test_ctrl_c_does_not_wait_for_an_answer() -> None:
    program = (
        "import sys, time\n"
        "from headway.cloud.asking import ask_each\n"
        "print('asked', flush=True)\n"
        "try:\n"
        "    ask_each(time.sleep, [60, 60])\n"
        "except KeyboardInterrupt:\n"
        "    sys.exit(130)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert process.stdout is not None
    with process:
        process.stdout.readline()
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
