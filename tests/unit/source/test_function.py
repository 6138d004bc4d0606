"""The function's zip: the same bytes wherever it is made, and all that its code imports is in it."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from headway.source import assets, function
from tests.unit.source.test_container_side import imported


def test_the_zip_depends_on_its_content_alone() -> None:
    one, other = function.describe(), function.describe()
    assert one.digest == other.digest
    assert one.archive() == other.archive()


def test_another_main_is_another_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    before = function.describe().digest
    read = assets.read
    monkeypatch.setattr(assets, "read", lambda name: read(name) + b"\n# edited\n")
    assert function.describe().digest != before


def test_every_import_of_a_packed_module_is_packed_too() -> None:
    members = function.describe().members
    modules = {
        name.removesuffix(".py").removesuffix("/__init__").replace("/", "."): data.decode()
        for name, data in members.items()
        if name.endswith(".py")
    }
    missing = {
        f"{module} imports {target}.{name}"
        for module, source in modules.items()
        for target, names in imported(source)
        for name in names or [""]
        if target not in modules or (_is_package(modules[target]) and f"{target}.{name}" not in modules)
    }
    assert missing == set()


def _is_package(source: str) -> bool:
    """Whether names from it are modules: there is nothing but a docstring in it."""
    tree = ast.parse(source)
    return not tree.body[1 if ast.get_docstring(tree) else 0 :] or "import_module" in source


def test_the_function_answers_with_its_own_modules_and_the_packages_that_it_requires(tmp_path: Path) -> None:
    """In a fresh Python: unpacked, imported, and asked for a tick that is none."""
    source = function.describe()
    archive = tmp_path / "source.zip"
    archive.write_bytes(source.archive())
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(tmp_path / "source")
    code = f"""
import json, os, sys
sys.path.insert(0, {str(tmp_path / "source")!r})
bare = set(sys.modules)
import main, headway
from functions_framework import create_app
app = create_app("tick", {str(tmp_path / "source" / "main.py")!r})
reply = app.test_client().post("/", json={{"source": "cron"}})
own = {{name.partition(".")[0] for name in set(sys.modules) - bare}}
print(json.dumps([headway.__file__, reply.status_code, reply.get_json(), sorted(own)]))
"""
    place = {"profile": "p", "project": "p", "region": "r", "bucket": "b", "dvc_remote": "gs://b/dvc"}
    place |= {"tracking_uri": "http://127.0.0.1:1", "credentials": "anonymous"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "HEADWAY_PLACE": json.dumps(place)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    home, status, document, loaded = json.loads(done.stdout.splitlines()[-1])
    assert home == str(tmp_path / "source" / "headway" / "__init__.py")
    assert (status, document["error"]) == (400, "this is no tick: KeyError('schedule')")
    assert not {"mlflow", "dvc", "omegaconf", "typer", "pandas", "torch", "yaml", "headway_launcher"} & set(
        loaded
    )


def test_the_function_s_requirements_are_lower_bounds_that_the_checkout_meets() -> None:
    from packaging.requirements import Requirement

    pins = Path(__file__).parents[3].joinpath("constraints.txt").read_text().lower().splitlines()
    versions = dict(line.split("==") for line in pins if "==" in line)
    lines = assets.read("function/requirements.txt").decode().splitlines()
    for line in lines:
        if not line.startswith("#"):
            asked = Requirement(line)
            assert {bound.operator for bound in asked.specifier} == {">="}
            assert asked.specifier.contains(versions[asked.name])
