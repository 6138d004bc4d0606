"""What is not Python says what it must: Dockerfile, build specs, example, recipes, Terraform."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
import shutil
import subprocess
import tomllib
import zlib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DIGITS = ROOT / "examples" / "digits"
DOCKERFILE = (ROOT / "containers" / "trainer.Dockerfile").read_text()
SCRIPTS = [*sorted((ROOT / "containers").glob("*.sh")), ROOT / ".ci" / "run"]


@pytest.fixture(scope="module")
def make_data() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_data", DIGITS / "make_data.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def pictures(make_data: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example's data, made anew in an empty folder."""
    root = tmp_path_factory.mktemp("digits")
    make_data.__file__ = str(root / "make_data.py")
    make_data.main()
    return root / "data" / "digits"


def requirements(file: Path) -> list[str]:
    lines = (line.partition("#")[0].strip() for line in file.read_text().splitlines())
    return [line for line in lines if line]


# --- the example ---


def test_the_example_s_data_is_made_with_the_very_bytes_that_dvc_pins(pictures: Path) -> None:
    files = [
        {"md5": hashlib.md5(file.read_bytes()).hexdigest(), "relpath": file.relative_to(pictures).as_posix()}
        for file in pictures.rglob("*.png")
    ]
    # DVC's name of a folder: the md5 of this JSON list, sorted by path
    listing = json.dumps(sorted(files, key=lambda file: file["relpath"])).encode()
    (pinned,) = yaml.safe_load((DIGITS / "data" / "digits.dvc").read_text())["outs"]
    assert pinned["nfiles"] == len(files)
    assert pinned["md5"] == hashlib.md5(listing).hexdigest() + ".dir"


def test_the_sheets_are_real_images_that_hold_all_the_pictures_of_scikit_learn(pictures: Path) -> None:
    import numpy as np
    from PIL import Image
    from sklearn.datasets import load_digits

    held = 0
    for file in pictures.rglob("*.png"):
        with Image.open(file) as image:
            assert (image.mode, image.width % 8, image.height % 8) == ("L", 0, 0)
            sheet = np.asarray(image)
        tiles = sheet.reshape(sheet.shape[0] // 8, 8, sheet.shape[1] // 8, 8).swapaxes(1, 2).reshape(-1, 64)
        held += int(tiles.any(axis=1).sum())
    assert held == len(load_digits().images) == 1797


def test_the_stored_stream_is_one_that_zlib_reads(make_data: ModuleType) -> None:
    data = bytes(range(256)) * 255
    assert zlib.decompress(make_data.stored(data)) == data
    with pytest.raises(ValueError, match="does not fit one stored block"):
        make_data.stored(bytes(65_536))


def test_git_holds_the_pin_of_the_data_and_never_the_data() -> None:
    listing = subprocess.run(
        ["git", "ls-files", "examples/digits/data"], cwd=ROOT, capture_output=True, text=True, timeout=30
    )
    if listing.returncode != 0:
        pytest.skip("not a git checkout")
    assert listing.stdout.split() == ["examples/digits/data/.gitignore", "examples/digits/data/digits.dvc"]


def test_the_example_s_lockfile_pins_what_it_names_at_the_versions_of_the_checkout() -> None:
    pinned = {line.lower() for line in requirements(ROOT / "constraints.txt")}
    assert {line.lower() for line in requirements(DIGITS / "requirements.txt")} <= pinned


# --- the image and its build ---


def test_the_dockerfile_needs_no_buildkit() -> None:
    code = "\n".join(line for line in DOCKERFILE.splitlines() if not line.startswith("#"))
    assert not re.search(r"--mount|<<|COPY\s+--(link|chmod|parents)|^# *syntax=", code, re.MULTILINE)


def test_the_dockerfile_takes_no_credential_and_ends_as_a_user_that_is_not_root() -> None:
    assert re.findall(r"^ARG (\w+)", DOCKERFILE, re.MULTILINE) == ["BASE"]
    assert re.findall(r"^USER (\w+)", DOCKERFILE, re.MULTILINE) == ["trainer"]
    assert 'CMD ["python3", "-m", "headway.runtime"]' in DOCKERFILE


def test_the_container_s_requirements_are_lower_bounds_that_the_checkout_meets() -> None:
    from packaging.requirements import Requirement

    versions = dict(line.lower().split("==") for line in requirements(ROOT / "constraints.txt"))
    for line in requirements(ROOT / "containers" / "runtime-requirements.txt"):
        asked = Requirement(line)
        assert {bound.operator for bound in asked.specifier} == {">="}
        assert asked.specifier.contains(versions[asked.name])


def test_the_build_spec_is_one_that_google_s_client_takes() -> None:
    from google.cloud.devtools.cloudbuild_v1.types import Build
    from google.protobuf import json_format

    spec = build_spec("trainer.yaml")
    message = Build()
    json_format.ParseDict(spec, Build.pb(message))
    (step,) = message.steps
    assert step.name == "gcr.io/cloud-builders/docker"
    assert list(message.images) == ["${_IMAGE}"]
    assert message.options.logging.name == "GCS_ONLY"


def test_the_build_spec_uses_each_substitution_that_it_declares_and_no_other() -> None:
    text = json.dumps(
        {key: value for key, value in build_spec("trainer.yaml").items() if key != "substitutions"}
    )
    assert set(re.findall(r"\$\{(\w+)\}", text)) == set(build_spec("trainer.yaml")["substitutions"])


def test_google_s_ci_runs_the_recipe_that_people_run() -> None:
    (step,) = build_spec("ci.yaml")["steps"]
    assert [step["entrypoint"], *step["args"]] == ["make", "check"]


def build_spec(name: str) -> dict[str, Any]:
    spec: dict[str, Any] = yaml.safe_load((ROOT / "cloudbuild" / name).read_text())
    return spec


# --- the recipes ---


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_the_shell_scripts_are_executable_and_parse(script: Path) -> None:
    assert script.stat().st_mode & 0o111
    subprocess.run(["bash", "-n", str(script)], check=True, timeout=30)


def test_a_forbidden_engine_is_one_clear_line_and_exit_code_3() -> None:
    told = run_engine(HEADWAY_NO_ENGINE="1")
    assert told.returncode == 3
    (line,) = told.stderr.splitlines()
    assert line.startswith(
        "engine: no Docker engine (HEADWAY_NO_ENGINE=1 forbids it); without one, jobs run as"
    )


def test_an_engine_that_answers_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "docker").write_text("#!/bin/sh\necho 20.10\n")
    (tmp_path / "docker").chmod(0o755)
    told = run_engine(PATH=f"{tmp_path}:/usr/bin:/bin")
    assert (told.returncode, told.stdout, told.stderr) == (0, "", "")


def test_a_machine_whose_engine_cannot_be_started_is_told_what_to_do(tmp_path: Path) -> None:
    for name, code in (("docker", "exit 1"), ("id", "echo 1000")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{code}\n")
        (tmp_path / name).chmod(0o755)
    told = run_engine(PATH=f"{tmp_path}:/usr/bin:/bin")
    assert told.returncode == 3
    assert "start Docker, or add yourself to the group docker" in told.stderr


def run_engine(**env: str) -> subprocess.CompletedProcess[str]:
    script = ROOT / "containers" / "engine.sh"
    return subprocess.run(
        ["bash", str(script)],
        env={"PATH": "/usr/bin:/bin", **env},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_help_lists_every_recipe() -> None:
    told = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=30)
    listed = {line.split()[0] for line in told.stdout.splitlines()}
    assert {"setup", "engine", "base", "wheelhouse", "demo", "test", "check", "bench", "clean"} <= listed


def test_every_direct_dependency_is_pinned_for_the_checkout() -> None:
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [
        *project["dependencies"],
        *(line for extra in project["optional-dependencies"].values() for line in extra),
    ]
    names = {canonicalize_name(Requirement(line).name) for line in asked} - {"headway"}
    pins = {canonicalize_name(line.partition("==")[0]) for line in requirements(ROOT / "constraints.txt")}
    assert names <= pins


# --- the way to Google ---


@pytest.mark.skipif(shutil.which("terraform") is None, reason="terraform is not installed")
def test_the_terraform_is_in_its_own_format() -> None:
    told = subprocess.run(
        ["terraform", "fmt", "-check", "-diff", str(ROOT / "infra")],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert told.returncode == 0, told.stdout + told.stderr


def test_the_terraform_enables_every_api_that_headway_speaks_to() -> None:
    from headway.cloud import session

    (listed,) = re.findall(r"services = \[(.*?)\]", (ROOT / "infra" / "main.tf").read_text(), re.DOTALL)
    enabled = set(re.findall(r'"([a-z]+)\.googleapis\.com"', listed))
    assert set(session._GOOGLE) <= enabled
    assert "run" in enabled, "functions are services of Cloud Run"


def test_the_terraform_s_output_is_a_profile_that_headway_reads() -> None:
    from headway.spec.place import Place

    output = (ROOT / "infra" / "outputs.tf").read_text()
    (document,) = re.findall(r"<<-TOML\n(.*?)\n\s*TOML", output, re.DOTALL)
    profiles = tomllib.loads(re.sub(r"\$\{[^}]*\}", "x", document))
    assert profiles["default"] == "prod"
    Place(profile="prod", **profiles["profiles"]["prod"])
