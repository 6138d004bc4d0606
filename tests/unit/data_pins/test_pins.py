"""Data paths become pins, or an error that names the command that mends it."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path

import pytest
import yaml

from headway.data import changes
from headway.data.pins import read_pins
from headway.errors import DataNotReady
from headway.spec.plan import DataPin


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


class Project:
    """A DVC repository, written by hand as DVC 3 writes it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / ".dvc").mkdir(parents=True)

    def write(self, name: str, content: bytes = b"x") -> None:
        (self.root / name).parent.mkdir(parents=True, exist_ok=True)
        (self.root / name).write_bytes(content)

    def out(self, name: str, *, legacy: bool = False) -> dict[str, object]:
        path = self.root / name
        note: dict[str, object] = {} if legacy else {"hash": "md5"}
        if path.is_file():
            return {**note, "md5": md5(path.read_bytes()), "size": path.stat().st_size}
        files = sorted(
            (p for p in path.rglob("*") if p.is_file()), key=lambda p: p.relative_to(path).as_posix()
        )
        manifest = [{"md5": md5(p.read_bytes()), "relpath": p.relative_to(path).as_posix()} for p in files]
        digest = md5(json.dumps(manifest).encode())
        size = sum(p.stat().st_size for p in files)
        return {**note, "md5": f"{digest}.dir", "size": size, "nfiles": len(files)}

    def add(self, name: str, *, legacy: bool = False) -> str:
        """Track a path; gives its md5."""
        out = {**self.out(name, legacy=legacy), "path": Path(name).name}
        (self.root / f"{name}.dvc").write_text(yaml.safe_dump({"outs": [out]}), encoding="utf-8")
        return str(out["md5"])

    def lock(self, folder: str, stages: dict[str, object], pipeline: dict[str, object]) -> None:
        (self.root / folder).mkdir(parents=True, exist_ok=True)
        document = {"schema": "2.0", "stages": stages}
        (self.root / folder / "dvc.lock").write_text(yaml.safe_dump(document), encoding="utf-8")
        (self.root / folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": pipeline}), encoding="utf-8")

    def refusal(self, *paths: str) -> DataNotReady:
        with pytest.raises(DataNotReady) as caught:
            read_pins(self.root, paths)
        return caught.value


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    made = Project(tmp_path / "project")
    monkeypatch.chdir(made.root)
    return made


@pytest.fixture
def digits(project: Project) -> Project:
    """data/digits with two files in train/ and one beside it, tracked as a whole."""
    project.write("data/digits/train/0.png", b"zero")
    project.write("data/digits/train/1.png", b"one")
    project.write("data/digits/train.txt", b"two")
    project.add("data/digits")
    return project


def test_a_tracked_folder_becomes_a_pin(digits: Project) -> None:
    (pin,) = read_pins(digits.root, ["data/digits"])
    assert pin == DataPin(path="data/digits", md5=str(digits.out("data/digits")["md5"]), size=10, files=3)


def test_a_tracked_file_becomes_a_pin(project: Project) -> None:
    project.write("labels.csv", b"a,b\n")
    project.add("labels.csv")
    assert read_pins(project.root, ["labels.csv"]) == (
        DataPin(path="labels.csv", md5=md5(b"a,b\n"), size=4, files=1),
    )


def test_paths_may_be_written_in_several_ways_and_count_once(digits: Project) -> None:
    assert [p.path for p in read_pins(digits.root, ["./data/digits/", "data//digits"])] == ["data/digits"]


def test_data_that_is_not_on_this_machine_is_pinned_all_the_same(digits: Project) -> None:
    before = read_pins(digits.root, ["data/digits"])
    subprocess.run(["rm", "-r", "data/digits"], cwd=digits.root, check=True)
    assert read_pins(digits.root, ["data/digits"]) == before


def test_the_root_may_be_relative(digits: Project) -> None:
    assert read_pins(Path(), ["data/digits"]) == read_pins(digits.root, ["data/digits"])


def test_the_dvc_repository_may_lie_above_the_config(project: Project) -> None:
    project.write("job/data/x.csv", b"x")
    project.add("job/data/x.csv")
    assert read_pins(project.root / "job", ["data/x.csv"])[0].path == "data/x.csv"


def test_data_of_dvc_2_is_marked(project: Project) -> None:
    project.write("old.csv", b"x")
    project.add("old.csv", legacy=True)
    assert read_pins(project.root, ["old.csv"])[0].legacy


def test_an_output_of_a_pipeline_is_found_with_its_stages_folder(project: Project) -> None:
    project.write("clean/x.csv", b"x")
    out = {"path": "../clean", **project.out("clean")}
    project.lock("", {"prep": {"outs": [out]}}, {"prep": {"wdir": "stages", "outs": ["../clean"]}})
    assert read_pins(project.root, ["clean"])[0].md5 == out["md5"]


def test_an_output_of_a_repeated_stage_is_found(project: Project) -> None:
    project.write("out/a.csv", b"x")
    project.lock(
        "",
        {"prep@a": {"outs": [{"path": "a.csv", **project.out("out/a.csv")}]}},
        {"prep": {"foreach": ["a"], "do": {"wdir": "out", "outs": ["${item}.csv"]}}},
    )
    assert read_pins(project.root, ["out/a.csv"])[0].size == 1


def test_a_pipelines_output_that_git_keeps_is_refused(project: Project) -> None:
    project.write("m.json", b"{}")
    project.lock(
        "",
        {"prep": {"outs": [{"path": "m.json", **project.out("m.json")}]}},
        {"prep": {"metrics": [{"m.json": {"cache": False}}]}},
    )
    error = project.refusal("m.json")
    assert error.message == "data: m.json is an output that dvc.lock keeps in git (cache: false)"
    assert error.hint == "it travels with the code: take it out of data"


def test_a_part_of_tracked_data_is_answered_with_the_whole(digits: Project) -> None:
    error = digits.refusal("data/digits/train")
    assert error.message == "data: data/digits/train lies inside of data/digits, which DVC tracks as a whole"
    assert error.hint == "name the whole: data: [data/digits]"


def test_a_folder_around_tracked_data_is_answered_with_its_parts(digits: Project) -> None:
    digits.write("data/more/x")
    digits.add("data/more")
    error = digits.refusal("data")
    assert error.message == "data: data is not tracked itself, but there is tracked data in it"
    assert error.hint == "name that: data: [data/digits, data/more]"


def test_untracked_data_says_how_to_track_it(project: Project) -> None:
    project.write("data/new/x")
    assert str(project.refusal("data/new")) == (
        "data: data/new is not tracked by DVC\n→ run: dvc add data/new"
    )


def test_a_command_to_type_is_quoted_where_a_name_has_spaces(project: Project) -> None:
    project.write("my data/x")
    assert project.refusal("my data").hint == "run: dvc add 'my data'"


def test_untracked_data_outside_of_any_dvc_repository_says_how_to_begin(tmp_path: Path) -> None:
    (tmp_path / "x.csv").touch()
    with pytest.raises(DataNotReady) as caught:
        read_pins(tmp_path, ["x.csv"])
    assert caught.value.hint == f"run: dvc init && dvc add {tmp_path / 'x.csv'}"


def test_a_path_that_is_nowhere_gets_the_nearest_tracked_one(digits: Project) -> None:
    error = digits.refusal("data/digts")
    assert error.message == "data: there is no data/digts, and DVC tracks none"
    assert error.hint == "did you mean data/digits?"
    assert digits.refusal("zzz").hint == "DVC tracks data/digits"


def test_data_that_git_tracks_is_said_to_travel_with_the_code(project: Project) -> None:
    project.write("small.csv")
    subprocess.run(["git", "init", "-q"], cwd=project.root, check=True, timeout=30)
    subprocess.run(["git", "add", "small.csv"], cwd=project.root, check=True, timeout=30)
    error = project.refusal("small.csv")
    assert error.message == (
        "data: small.csv is tracked by git, not by DVC: it travels with the code already"
    )
    assert "git rm -r --cached small.csv && dvc add small.csv" in (error.hint or "")


@pytest.mark.parametrize("path", ["/data/x", "../x", "a/../../x", "."])
def test_a_path_outside_of_the_project_is_refused(project: Project, path: str) -> None:
    assert project.refusal(path).message == f"data: {path} is not below config.yaml"


@pytest.mark.parametrize(
    ("change", "content", "said"),
    [
        ("data/digits/new.png", b"x", "it has 4 files, not 3"),
        ("data/digits/train.txt", b"twoo", "it has 11 bytes, not 10"),
        ("data/digits/train.txt", b"owt", "its content is another"),
    ],
)
def test_a_folder_changed_since_is_refused(digits: Project, change: str, content: bytes, said: str) -> None:
    digits.write(change, content)
    error = digits.refusal("data/digits")
    assert error.message == f"data: data/digits differs from what data/digits.dvc says: {said}"
    assert error.hint == "to use it so, run: dvc add data/digits; to go back: dvc checkout data/digits"


@pytest.mark.parametrize(
    ("content", "said"), [(b"longer", "it has 6 bytes, not 3"), (b"xyz", "its content is another")]
)
def test_a_file_changed_since_is_refused(project: Project, content: bytes, said: str) -> None:
    project.write("a.csv", b"abc")
    project.add("a.csv")
    project.write("a.csv", content)
    assert project.refusal("a.csv").message == f"data: a.csv differs from what a.csv.dvc says: {said}"


def test_a_pipelines_output_changed_since_names_the_pipelines_command(project: Project) -> None:
    project.write("clean.csv", b"x")
    project.lock("", {"prep": {"outs": [{"path": "clean.csv", **project.out("clean.csv")}]}}, {"prep": {}})
    project.write("clean.csv", b"y")
    error = project.refusal("clean.csv")
    assert error.hint == "to use it so, run: dvc commit clean.csv; to go back: dvc checkout clean.csv"


def test_a_folder_where_a_file_was_tracked_is_refused(project: Project) -> None:
    project.write("a", b"abc")
    project.add("a")
    (project.root / "a").unlink()
    project.write("a/b")
    assert project.refusal("a").message.endswith("it is a folder")


def test_files_that_dvcignore_names_do_not_count(digits: Project) -> None:
    digits.write(".dvcignore", b"# noise\n.DS_Store\n/data/digits/tmp/\n")
    digits.write("data/digits/.DS_Store")
    digits.write("data/digits/tmp/x")
    assert read_pins(digits.root, ["data/digits"])[0].files == 3


def test_much_data_is_only_counted_and_very_much_is_not_looked_at(
    digits: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    digits.write("data/digits/train.txt", b"owt")
    monkeypatch.setattr(changes, "HASHED_BYTES", 9)
    assert read_pins(digits.root, ["data/digits"])
    digits.write("data/digits/train.txt", b"longer")
    monkeypatch.setattr(changes, "COUNTED_FILES", 2)
    assert read_pins(digits.root, ["data/digits"])


def test_a_half_merged_dvc_file_is_named_with_its_line(digits: Project) -> None:
    (digits.root / "data/digits.dvc").write_text("outs:\n<<<<<<< HEAD\n- md5: a\n=======\n", encoding="utf-8")
    error = digits.refusal("data/digits")
    assert "data/digits.dvc:" in error.message
    assert "is not readable as YAML" in error.message
    assert "merge" in (error.hint or "")


def test_an_output_that_never_came_into_the_cache_is_refused(project: Project) -> None:
    (project.root / "x.csv.dvc").write_text("outs:\n- path: x.csv\n  hash: md5\n", encoding="utf-8")
    error = project.refusal("x.csv")
    assert error.message == "data: x.csv.dvc has no md5 for x.csv: it was never brought into DVC's cache"
    assert error.hint == "run: dvc add x.csv"


def test_dvc_itself_agrees(tmp_path: Path) -> None:
    """The one test with the real DVC: what it writes is read, and its folder md5 is ours."""
    from dvc.repo import Repo

    for name, content in {"d/b/z.txt": "1", "d/b.txt": "2", "d/ü.txt": "3", "d/b-a/x": "4"}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content, encoding="utf-8")
    with Repo.init(str(tmp_path), no_scm=True) as repo:
        repo.add(str(tmp_path / "d"))
    (pin,) = read_pins(tmp_path, ["d"])
    assert (pin.files, pin.size, pin.legacy) == (4, 4, False)
    (tmp_path / "d" / "b.txt").write_text("x", encoding="utf-8")
    with pytest.raises(DataNotReady, match="its content is another"):
        read_pins(tmp_path, ["d"])


def test_a_link_into_a_cache_that_lost_the_file_is_a_difference_not_a_bug(project: Project) -> None:
    project.write("data/a.csv")
    project.write("data/b.csv")
    project.add("data")
    (project.root / "data" / "b.csv").unlink()
    (project.root / "data" / "b.csv").symlink_to(project.root / "gone")
    assert "it has 1 files, not 2" in project.refusal("data").message
