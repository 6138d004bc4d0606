"""The `schedule:` section: what is taken, and how what is wrong is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from headway.config import load
from headway.errors import ConfigError
from headway.spec.schedule import Schedule


def config(folder: Path, section: str) -> Path:
    file = folder / "config.yaml"
    file.write_text(f"name: x\nentrypoint: t.py\nschedule:\n{section}")
    return file


def test_a_whole_section_is_read(tmp_path: Path) -> None:
    file = config(
        tmp_path,
        "  cron: 0  3 * * 1\n  tz: Europe/Zurich\n  data: pinned\n  overlap: queue\n  max_age: 30d\n"
        "  triggers: {data: {}, drift: {report: drift/last.json, key: a.share, over: 0.3}}\n",
    )
    found = load(file).spec.schedule
    assert found is not None
    assert (found.cron, found.tz, found.overlap, found.always) == (
        "0 3 * * 1",
        "Europe/Zurich",
        "queue",
        False,
    )
    assert found.triggers.data is not None
    assert found.triggers.data.debounce.total_seconds() == 600
    assert found.watches


def test_without_triggers_and_age_there_is_nothing_to_watch() -> None:
    assert not Schedule(cron="0 3 * * 1").watches


@pytest.mark.parametrize(
    ("section", "where", "told"),
    [
        ("  cron: 0 25 * * 1\n", "4:9", "its hour, '25', is none"),
        ("  cron: 0 3 * * 1\n  tz: Europe/Zurch\n", "5:7", "did you mean Europe/Zurich?"),
        ("  cron: 0 3 * * 1\n  overlap: wait\n", "5:12", "it should be 'skip', 'queue' or 'replace'"),
        ("  cron: 0 3 * * 1\n  max_age: soon\n", "5:12", "'soon' is no duration"),
        ("  cron: 0 3 * * 1\n  max_age: 0\n", "5:12", "0s is less than 5m, from look to look"),
        ("  triggers:\n    drift: {report: r, key: a, over: .inf}\n", "5:38", "finite number"),
        ("  triggers:\n    drift: {report: r, key: a, over: true}\n", "5:38", "true is no number"),
        ("  triggers:\n    drift: {report: 'gs://b', key: a, over: 1}\n", "5:21", "'gs://b' names no object"),
        ("  triggers:\n    data: {prefix: 'gs:///x'}\n", "5:20", "it is empty"),
        ("  cron: 0 3 * * 1\n  crom: 1\n", "5:3", "did you mean schedule.cron?"),
        ("  tz: UTC\n", "", "nothing would start it"),
        (
            "  triggers:\n    drift: {report: s3://x/y, key: a, over: 1}\n",
            "5:21",
            "no address on Cloud Storage",
        ),
        ("  triggers:\n    drift: {key: a, over: 1}\n", "", "schedule.triggers.drift.report is missing"),
        ("  triggers:\n    data: {debonce: 1m}\n", "5:12", "did you mean schedule.triggers.data.debounce?"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(tmp_path: Path, section: str, where: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(config(tmp_path, section))
    text = str(caught.value)
    assert f"config.yaml:{where}" in text if where else "config.yaml" in text
    assert told in text


def test_a_flag_is_named_where_it_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("name: x\nentrypoint: t.py\n")
    with pytest.raises(ConfigError, match=r"--cron: schedule.cron: '\* \*' is no cron expression"):
        load(file, flags={"schedule.cron": "* *"})
    with pytest.raises(ConfigError, match=r"--tz: schedule.tz: there is no time zone 'Mars'"):
        load(file, flags={"schedule.cron": "0 3 * * 1", "schedule.tz": "Mars"})
