"""The kit outside of a run: nothing happens, nothing heavy is imported."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from headway.lightning import automatic, kit
from headway.spec.layout import TrainingVariables


@pytest.fixture(autouse=True)
def outside_of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TrainingVariables.RUN_ID, raising=False)


def test_outside_of_a_run_the_kit_is_what_you_gave() -> None:
    assert kit() == {}
    assert kit(monitor="val_loss", max_epochs=3) == {"max_epochs": 3}


def test_outside_of_a_run_lightning_gets_no_callback() -> None:
    assert automatic.callbacks() == []


def test_importing_headway_lightning_imports_neither_torch_nor_lightning() -> None:
    code = (
        "import sys, headway.lightning, headway.lightning.automatic\n"
        "heavy = ('torch', 'pytorch_lightning', 'lightning', 'mlflow', 'google.auth', 'pydantic')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("given", "used"),
    [(None, ["ours"]), (True, ["ours"]), ("yours", ["yours", "ours"]), (["a", "b"], ["a", "b", "ours"])],
)
def test_in_a_run_your_loggers_come_before_ours(
    monkeypatch: pytest.MonkeyPatch, given: object, used: list[str]
) -> None:
    for variable in (TrainingVariables.RUN_ID, TrainingVariables.SPOOL, TrainingVariables.OUTPUTS):
        monkeypatch.setenv(variable, "x")
    monkeypatch.setattr("headway.lightning.logger.logger", lambda: "ours")
    monkeypatch.setattr("headway.lightning.callbacks.final_model", lambda: "final")
    settings: Any = {"enable_checkpointing": False, "enable_progress_bar": True}
    assert kit(logger=given, **settings)["logger"] == used
    assert kit(logger=False, **settings)["logger"] is False
