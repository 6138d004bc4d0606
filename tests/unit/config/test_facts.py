"""One's own machines.toml and prices.csv lie over the package's catalogue."""

from __future__ import annotations

from pathlib import Path

import pytest

from headway.config import load
from headway.config.facts import facts
from headway.errors import ConfigError
from headway.jobs import plan
from headway.spec.machines import catalogue
from headway.spec.place import UNSTARTED

OWN = """
date = "2026-12-01"
[gpu.l4]
regions = ["mars-north1"]
[gpu.x1]
accelerator = "NVIDIA_X1"
shapes = [{ machine = "x1-big-1g", counts = [1] }]
"""


@pytest.fixture(autouse=True)
def xdg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    (tmp_path / "xdg" / "headway").mkdir(parents=True)
    return tmp_path / "xdg" / "headway"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "repo" / "job"
    folder.mkdir(parents=True)
    (tmp_path / "repo" / "headway.toml").write_text("")
    text = "name: a\nentrypoint: t.py\nresources: {gpu: x1, regions: [mars-north1]}\n"
    (folder / "config.yaml").write_text(text)
    return folder


def test_without_files_it_is_the_packages(project: Path) -> None:
    assert facts(project) == catalogue()


@pytest.mark.parametrize("beside", [True, False])
def test_a_file_beside_headway_toml_or_in_the_config_folder_is_laid_over(
    project: Path, xdg: Path, beside: bool
) -> None:
    folder = project.parent if beside else xdg
    (folder / "machines.toml").write_text(OWN)
    found = facts(project)
    assert found.gpus["l4"].regions == ("mars-north1",)
    assert "2026-12-01" in found.date
    assert load(project).spec.resources.gpu == "x1"


def test_a_plan_asks_about_no_region_that_ones_own_file_knows(project: Path) -> None:
    for name in ("t.py", "requirements.txt"):
        (project / name).write_text("")
    (project.parent / "machines.toml").write_text(OWN)
    seen = plan(project, place=UNSTARTED, reachable=False)
    assert (seen.plan.regions, seen.warnings) == (("mars-north1",), ())


def test_the_nearer_file_wins(project: Path, xdg: Path) -> None:
    (xdg / "machines.toml").write_text('[gpu.l4]\nregions = ["far"]\n')
    (project.parent / "machines.toml").write_text('[gpu.l4]\nregions = ["near"]\n')
    assert facts(project).gpus["l4"].regions == ("near",)


def test_ones_own_prices_count(project: Path) -> None:
    text = "# date: 2026-12-01\nkind,name,region,on_demand\nmachine,n1-standard-4,mars-north1,100\n"
    (project.parent / "prices.csv").write_text(text)
    found = facts(project).prices
    assert found.usd_hour("n1-standard-4", None, 0, region="mars-north1") == pytest.approx(115)
    assert "own prices 2026-12-01" in found.date


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("machines.toml", "[gpu.x]\n", "'shapes' is missing"),
        ("machines.toml", "gpu = ", "cannot be read"),
        ("machines.toml", "gpu = 3", "cannot be read"),
        ("machines.toml", "cpu = 5", "cannot be read"),
        ("machines.toml", '[cpu]\nn5 = "x"\n', "cannot be read"),
        ("machines.toml", "[cpu]\nn5 = {standard = 5}\n", "cpu.n5.standard is no list of whole numbers"),
        ("machines.toml", 'cpu_machine = "foo-bar"\n', "'foo-bar' is no machine type"),
        ("machines.toml", '[gpu.a100]\nregions = "us-central1"\n', "gpu.a100.regions is no list of texts"),
        (
            "machines.toml",
            '[gpu.t4]\nshapes = [{machine = "n1-standard-8", counts = ["1"]}]\n',
            "counts of gpu.t4 on n1-standard-8 is no list of whole numbers",
        ),
        ("prices.csv", "kind,name,region,on_demand\nmachine,m,r,dear\n", "cannot be read"),
        ("prices.csv", "kind,name,region,ondemand\nmachine,m,r,10\n", "there is no column 'ondemand'"),
        ("prices.csv", "kind,name,on_demand\nmachine,m,10\n", "region"),
        ("prices.csv", "kind,name,region,on_demand\nmachine,m,r\n", "the row of m in r has too few columns"),
    ],
)
def test_a_file_that_is_not_of_the_form_is_named(project: Path, name: str, text: str, said: str) -> None:
    (project.parent / name).write_text(text)
    with pytest.raises(ConfigError, match=f"{name}: .*{said}"):
        facts(project)
