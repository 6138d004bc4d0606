"""The example notebook, executed as a person would run it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from tests.e2e.conftest import ROOT, Launcher, wheels

NOTEBOOK = ROOT / "examples" / "quickstart.ipynb"


def read() -> Any:
    return nbformat.read(NOTEBOOK, as_version=4)


def test_the_notebook_is_kept_without_outputs() -> None:
    cells = [cell for cell in read().cells if cell.cell_type == "code"]
    assert cells
    assert not [cell for cell in cells if cell.outputs or cell.execution_count]


@pytest.mark.docker
@pytest.mark.slow
def test_the_notebook_drives_a_job_to_its_metrics_and_model(
    launch: Launcher, digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pushed = launch("data", "push", "--local", str(digits / "config.yaml"))
    assert pushed.returncode == 0, pushed.stderr
    monkeypatch.setenv("HEADWAY_STATE", str(launch.state))
    notebook = read()
    parameters = next(cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", []))
    parameters.source = f"overrides = {['args.max_epochs=2', *wheels()]!r}"

    NotebookClient(
        notebook, timeout=900, kernel_name="python3", resources={"metadata": {"path": str(digits.parent)}}
    ).execute()

    shown = [said(cell) for cell in notebook.cells if cell.cell_type == "code"]
    assert "'succeeded'" in shown[4]
    assert "train_loss" in shown[5]
    assert "training ended well" in shown[6]
    assert "model/model.ckpt" in shown[7]
    assert "models:/digits/" in shown[8]
    assert "'digits-" in shown[9]


def said(cell: Any) -> str:
    """A cell's printed text and its value."""
    parts = [
        output.get("text") or output.get("data", {}).get("text/plain", "")
        for output in cell.outputs
        if output.get("name") != "stderr"
    ]
    return "\n".join(parts)
