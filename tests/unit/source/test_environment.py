"""The environment image as a digest and as a build context."""

from __future__ import annotations

import gzip
import subprocess
import sys
import tarfile
from importlib import metadata
from pathlib import Path

import pytest

from headway.errors import ConfigError, CredentialFound, MachineError
from headway.source import assets
from headway.source.environment import describe
from headway.spec.job import Environment

from .conftest import Fill

LOCK = "torch==2.13.0\n"


def context(tmp_path: Path, environment: Environment, root: Path, name: str = "c.tar.gz") -> dict[str, bytes]:
    describe(environment, root).write_context(tmp_path / name)
    with tarfile.open(tmp_path / name) as opened:
        return {m.name: opened.extractfile(m).read() for m in opened}  # type: ignore[union-attr]


def test_the_context_holds_what_the_dockerfile_copies(project: Fill, tmp_path: Path) -> None:
    found = context(tmp_path, Environment(), project({"requirements.txt": LOCK, "train.py": "x"}))
    assert found["requirements.txt"] == LOCK.encode()
    assert b"FROM ${BASE}" in found["trainer.Dockerfile"]
    assert b"mlflow-skinny" in found["runtime-requirements.txt"]
    assert found["wheelhouse/.keep"] == b""
    assert "train.py" not in found


def test_the_context_holds_the_container_side_and_no_more(project: Fill, tmp_path: Path) -> None:
    found = context(tmp_path, Environment(), project({"requirements.txt": LOCK}))
    runtime = {name.removeprefix("runtime/") for name in found if name.startswith("runtime/")}
    packages = {name.split("/")[1] for name in runtime if name.startswith("headway/") and name.count("/") > 1}
    assert packages == {"spec", "cloud", "data", "tracking", "lightning", "runtime"}
    assert {"headway/__init__.py", "headway/errors.py", "headway/spec/machines.toml"} <= runtime
    assert not any("__pycache__" in name for name in runtime)


def test_the_container_side_imports_by_itself_and_is_found_by_lightning(
    project: Fill, tmp_path: Path
) -> None:
    describe(Environment(), project({"requirements.txt": LOCK})).write_context(tmp_path / "c.tar.gz")
    with tarfile.open(tmp_path / "c.tar.gz") as opened:
        opened.extractall(tmp_path / "context", filter="data")
    check = """
import sys
from importlib.metadata import distribution
sys.path[:] = [sys.argv[1], *(p for p in sys.path if "sdk" not in p and "launcher" not in p)]
own = distribution("headway")
import headway, headway.spec.plan, headway.errors
assert headway.__file__.startswith(sys.argv[1]), headway.__file__
assert own.version and str(own.locate_file("")).startswith(sys.argv[1])
print(*sorted(f"{entry.group}:{entry.name}={entry.value}" for entry in own.entry_points))
"""
    done = subprocess.run(
        [sys.executable, "-c", check, str(tmp_path / "context" / "runtime")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    installed = sorted(
        f"{entry.group}:{entry.name}={entry.value}"
        for entry in metadata.distribution("headway").entry_points
        if entry.value.startswith("headway.")
    )
    assert done.stdout.split() == installed, done.stderr


def test_equal_environments_have_one_digest_and_one_context(project: Fill, tmp_path: Path) -> None:
    root = project({"requirements.txt": LOCK})
    first, second = describe(Environment(), root), describe(Environment(), root)
    assert first.digest == second.digest
    first.write_context(tmp_path / "a")
    second.write_context(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_each_part_says_why_an_image_is_another(project: Fill, monkeypatch: pytest.MonkeyPatch) -> None:
    root = project({"requirements.txt": LOCK})
    before = describe(Environment(), root)

    def changed(environment: Environment = Environment()) -> set[str]:  # noqa: B008
        after = describe(environment, root)
        assert after.digest != before.digest
        return {part for part, digest in after.parts.items() if before.parts[part] != digest}

    assert changed(Environment(base="python:3.12-slim")) == {"base"}
    project({"requirements.txt": "torch==2.14.0\n"})
    assert changed() == {"requirements"}
    project({"requirements.txt": LOCK})
    read = assets.read
    monkeypatch.setattr(assets, "read", lambda name: read(name) + b"#" * name.endswith("Dockerfile"))
    assert changed() == {"Dockerfile"}


def test_code_variables_and_wheelhouse_are_no_part_of_the_image(project: Fill) -> None:
    root = project({"requirements.txt": LOCK, "wheels/a.whl": "a"})
    before = describe(Environment(), root).digest
    project({"train.py": "edited"})
    assert describe(Environment(env={"A": "1"}, wheelhouse="wheels"), root).digest == before


def test_wheels_are_stored_as_they_are(project: Fill, tmp_path: Path) -> None:
    wheel = bytes(range(256)) * 5000
    root = project({"requirements.txt": LOCK, "w/b-1.whl": wheel, "w/a-1.whl": "a", "w/notes.txt": "x"})
    found = context(tmp_path, Environment(wheelhouse="w"), root)
    assert [name for name in found if name.startswith("wheelhouse/")] == [
        "wheelhouse/a-1.whl",
        "wheelhouse/b-1.whl",
    ]
    assert found["wheelhouse/b-1.whl"] == wheel
    packed = (tmp_path / "c.tar.gz").read_bytes()
    assert wheel[:30000] in packed
    assert len(gzip.decompress(packed)) % 512 == 0


@pytest.mark.parametrize(
    ("folder", "said"), [("wheels", "there is no folder"), ("empty", "there are no wheels in")]
)
def test_a_wheelhouse_without_wheels_is_refused_and_leaves_nothing(
    project: Fill, tmp_path: Path, folder: str, said: str
) -> None:
    root = project({"requirements.txt": LOCK, "empty/readme": ""})
    with pytest.raises(ConfigError, match=said) as caught:
        context(tmp_path, Environment(wheelhouse=folder), root)
    assert "pip download" in (caught.value.hint or "")
    assert not (tmp_path / "c.tar.gz").exists()


def test_a_missing_lockfile_says_how_to_make_it(project: Fill) -> None:
    root = project({})
    with pytest.raises(ConfigError, match="there is no such lockfile") as caught:
        describe(Environment(), root)
    assert caught.value.hint == f"make it: pip freeze > {root / 'requirements.txt'}"


@pytest.mark.parametrize(
    "line",
    [
        "--extra-index-url https://user:token@pypi.example.org/simple",
        "--index-url=https://ghp_token@pypi.example.org/simple",
        "pkg @ git+https://token@github.com/a/b",
        "pkg @ git+ssh://user:word@github.com/a/b",
    ],
)
def test_a_password_in_the_lockfile_stops_everything(project: Fill, line: str) -> None:
    root = project({"requirements.txt": f"torch\n{line}\n"})
    with pytest.raises(CredentialFound) as caught:
        describe(Environment(), root)
    assert caught.value.message.startswith(f"{root / 'requirements.txt'}:2: there is a password or token")
    assert "token@" not in str(caught.value)
    assert "environment.wheelhouse" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("-r base.txt", "-r base.txt: the image is built from this one file"),
        ("--constraint=c.txt", "--constraint c.txt: the image is built from this one file"),
        ("-e .", ". is on this machine, not in the image"),
        ("-e /home/me/pkg", "/home/me/pkg is on this machine, not in the image"),
        ("./pkg", "./pkg is on this machine, not in the image"),
        ("pkg @ file:///home/me/pkg.whl", "file:///home/me/pkg.whl is on this machine, not in the image"),
    ],
)
def test_a_line_that_means_this_machine_is_named(project: Fill, line: str, said: str) -> None:
    root = project({"requirements.txt": f"# lock\n{line}\n"})
    with pytest.raises(ConfigError) as caught:
        describe(Environment(), root)
    assert caught.value.message == f"{root / 'requirements.txt'}:2: {said}"


@pytest.mark.parametrize(
    "line",
    [
        "torch==2.13.0 --hash=sha256:abc",
        "    --hash=sha256:abc",
        "--extra-index-url https://download.pytorch.org/whl/cpu",
        "-e git+https://github.com/a/b@v1#egg=b",
        "b @ git+ssh://git@github.com/a/b",
        "c @ https://example.org/c-1-py3-none-any.whl",
        "d[extra]>=1; python_version < '3.12'",
    ],
)
def test_ordinary_lines_of_a_lockfile_are_fine(project: Fill, line: str) -> None:
    assert describe(Environment(), project({"requirements.txt": f"{line}\n"})).digest


@pytest.mark.parametrize("name", ["trainer.Dockerfile", "runtime-requirements.txt", "trainer.yaml"])
def test_every_asset_is_there(name: str) -> None:
    assert assets.read(name)


def test_an_installation_that_lacks_an_asset_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(assets, "files", lambda _: tmp_path / "site-packages" / "headway")
    with pytest.raises(MachineError, match=r"lacks trainer\.yaml"):
        assets.read("trainer.yaml")
