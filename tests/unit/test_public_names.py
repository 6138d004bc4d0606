"""What `import headway` offers: a name that is added or taken away shows here first."""

from __future__ import annotations

import inspect
import subprocess
import sys

import headway
import headway.lightning
from headway.jobs import Run

NAMES = [
    "HeadwayError",
    "JobSpec",
    "Plan",
    "Preview",
    "Run",
    "RunView",
    "Sweep",
    "SweepView",
    "attach",
    "attach_sweep",
    "doctor",
    "plan",
    "runs",
    "submit",
    "sweep",
]


def test_the_public_names_are_these_and_no_others() -> None:
    assert headway.__all__ == NAMES


def test_each_public_name_leads_to_something() -> None:
    for name in NAMES:
        assert inspect.isclass(getattr(headway, name)) or inspect.isfunction(getattr(headway, name)), name


def test_dir_shows_the_public_names() -> None:
    assert {*NAMES, "lightning"} <= set(dir(headway))


def test_an_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(headway, "sumbit")


def test_headway_lightning_is_reached_without_an_import_of_its_own() -> None:
    code = "import headway; print(headway.lightning.kit())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "{}\n", done.stderr


def test_training_code_is_offered_the_kit_alone() -> None:
    assert headway.lightning.__all__ == ["kit"]


def test_a_run_has_the_verbs_that_notebooks_use() -> None:
    verbs = {name for name in dir(Run) if not name.startswith("_")}
    documented = {
        *("run_id", "state", "status", "view", "job"),
        *("wait", "logs", "metrics", "outputs", "pull", "cancel"),
    }
    assert verbs == documented
