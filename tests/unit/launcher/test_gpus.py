"""`launch gpus`: a table for people and a document for programs, from facts alone."""

from __future__ import annotations

import json

import pytest

from headway_launcher.main import run


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert run(["gpus", *words]) == 0
    return capsys.readouterr().out


def test_each_gpu_is_shown_on_the_machine_that_it_becomes(capsys: pytest.CaptureFixture[str]) -> None:
    table = printed(capsys)
    row = next(line for line in table.splitlines() if line.startswith("a100:2 "))
    assert row.split()[:2] == ["a100:2", "a2-highgpu-2g"]
    assert "n1-standard-16" not in table


def test_a_gpu_by_name_is_shown_with_all_of_its_machines(capsys: pytest.CaptureFixture[str]) -> None:
    table = printed(capsys, "t4:2")
    assert "n1-standard-16" in table
    assert "us-central1" in table


def test_the_document_has_prices_by_region_and_their_date(capsys: pytest.CaptureFixture[str]) -> None:
    document = json.loads(printed(capsys, "a100", "--region", "us-central1", "--json"))
    assert document["price_date"] == "2025-08"
    first = document["gpus"][0]
    assert (first["gpu"], first["machine"], first["flex_start"]) == ("a100:1", "a2-highgpu-1g", True)
    (region,) = first["regions"]
    assert region["on_demand_usd_hour"] == pytest.approx(4.2244, abs=1e-3)
    assert region["flex_start_usd_hour"] is None


def test_a_region_without_the_gpu_is_an_empty_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert json.loads(printed(capsys, "gb200", "--region", "me-west1", "--json"))["gpus"] == []


def test_a_slip_in_a_region_is_told_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["gpus", "--region", "us-centrall"]) == 2
    said = capsys.readouterr().err
    assert "no GPU of the catalogue is in us-centrall" in said
    assert "did you mean us-central1" in said
    assert "tpu-v5e" in printed(capsys, "tpu-v5e", "--region", "us-west9")
