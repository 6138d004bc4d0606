"""The kit outside of a run: nothing happens, nothing heavy is imported."""

from __future__ import annotations

import subprocess
import sys

import pytest

from headway.lightning import kit
from headway.lightning.automatic import callbacks
from headway.spec.layout import TrainingVariables


@pytest.fixture(autouse=True)
def outside_of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TrainingVariables.RUN_ID, raising=False)


def test_outside_of_a_run_the_kit_is_what_you_gave() -> None:
    assert kit() == {}
    assert kit(monitor="val_loss", max_epochs=3) == {"max_epochs": 3}


def test_outside_of_a_run_lightning_gets_no_callback() -> None:
    assert callbacks() == []


def test_importing_headway_lightning_imports_neither_torch_nor_lightning() -> None:
    code = (
        "import sys, headway.lightning, headway.lightning.automatic\n"
        "heavy = ('torch', 'pytorch_lightning', 'lightning', 'mlflow', 'google.auth', 'pydantic')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
