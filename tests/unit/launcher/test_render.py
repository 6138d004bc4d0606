"""What lines look like in a pipe, and the texts that are put together for the terminal."""

from __future__ import annotations

import io
import re
from datetime import UTC, datetime

import pytest

from headway.spec.status import RunStatus
from headway_launcher.following import progress_text
from headway_launcher.render import RichScreen, Screen

NOW = datetime(2026, 11, 22, tzinfo=UTC)


@pytest.mark.parametrize(
    ("written", "seen"),
    [
        ("plain", "plain"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\rEpoch 0: 10%\rEpoch 0: 20%\x1b[A", "Epoch 0: 20%"),
        ("\x1b[2J\x1b]0;title\x07gone", "0;titlegone"),
        ("tab\tstays", "tab\tstays"),
        ("", ""),
    ],
)
def test_a_log_line_in_a_pipe_has_no_control_sequences(
    written: str, seen: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Screen(as_json=False).line(written)
    assert capsys.readouterr().out == seen + "\n"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def terminal_of(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Standard output as a terminal; called in the test, since pytest's capture comes after fixtures."""
    shown = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stdout", shown)
    return shown


def test_on_a_terminal_redrawn_bars_give_way_to_the_progress_line(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = terminal_of(monkeypatch)
    screen = RichScreen(as_json=False)
    with screen.progress("training"):
        screen.line("\rEpoch 0: 10%")
        screen.line("epoch 0 done")
    screen.line("\rEpoch 0: 100%")

    shown = terminal.getvalue()
    assert "epoch 0 done" in shown
    assert "Epoch 0: 10%\n" not in shown
    assert "Epoch 0: 100%\n" in shown


def test_on_a_terminal_markup_in_a_log_is_text(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = terminal_of(monkeypatch)
    RichScreen(as_json=False).line("[red]not ours[/red] :smile:")
    assert "[red]not ours[/red] :smile:" in terminal.getvalue()


def test_columns_of_a_table_are_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    Screen(as_json=False).table(("run", "state"), [("digits-1", "running"), ("d", "failed")])
    assert capsys.readouterr().out == "run       state\ndigits-1  running\nd         failed\n"


def test_the_progress_line_has_phase_epoch_step_and_metrics() -> None:
    status = RunStatus(
        run_id="digits-1",
        phase="training",
        started=NOW,
        updated=NOW,
        epoch=2,
        step=140,
        metrics={"loss": 0.312345, "system/cpu": 99.0},
    )
    assert progress_text("digits-1", "running", status, 72.4) == (
        "digits-1  running · training · epoch 2 · step 140 · loss 0.3123 · 1:12"
    )
    assert progress_text("digits-1", "pending", None, 3) == "digits-1  pending · 0:03"


def test_on_a_narrow_terminal_ids_and_addresses_stay_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = terminal_of(monkeypatch)
    monkeypatch.setenv("COLUMNS", "60")
    screen, address = RichScreen(as_json=False), "gs://bucket/headway/runs/digits-0123abcd/" + "x" * 40
    screen.facts([("run", "digits-0123abcd"), ("model", address)])
    screen.table(("run", "state", "machine"), [("digits-0123abcd", "running", "1 x machine " * 5)])
    plain = re.sub(r"\x1b\[[0-9;]*m", "", terminal.getvalue())
    lines = [line.strip() for line in plain.splitlines()]
    assert lines[:2] == ["run    digits-0123abcd", f"model  {address}"]
    assert any(line.startswith("digits-0123abcd   running") for line in lines[2:])
