"""`launch models` as a user types it; the registry is one in memory."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from headway.config import profile
from headway.errors import NotFound
from headway.jobs import models
from headway.spec.promotion import Gate, Promoted
from headway.tracking.registry import RegisteredModel, Version
from headway_launcher.main import run
from headway_launcher.report import facts

from . import fake_jobs

Capture = pytest.CaptureFixture[str]
MADE = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)


class MemoryRegistry:
    """One model, `digits`, with versions and aliases; `intrudes` moves the alias at the second look."""

    def __init__(self) -> None:
        self.aliases = {"champion": "2"}
        self.tags: dict[str, dict[str, str]] = {
            "1": {"headway.run_id": "digits-a"},
            "2": {"headway.run_id": "digits-b", "headway.replaced": "1"},
            "3": {"headway.run_id": "digits-c", "headway.promotion": "refused: min of acc: 0.1"},
        }
        self.intrudes: str | None = None
        self.looks = 0

    def models(self) -> list[RegisteredModel]:
        return [self.model("digits")]

    def model(self, name: str) -> RegisteredModel:
        if name != "digits":
            raise NotFound(f"Registered Model with name={name} not found")
        return RegisteredModel(name, self.aliases, "3", MADE)

    def holder(self, name: str, alias: str) -> str | None:
        self.looks += 1
        if self.intrudes and self.looks == 2:
            self.aliases[alias] = self.intrudes
        return self.model(name).aliases.get(alias)

    def version(self, name: str, version: str) -> Version:
        self.model(name)
        if version not in self.tags:
            raise NotFound(f"Model Version (name={name}, version={version}) not found")
        return Version(name, version, MADE, self.tags[version])

    def versions(self, name: str, limit: int) -> list[Version]:
        return [self.version(name, version) for version in sorted(self.tags, reverse=True)[:limit]]

    def tag(self, name: str, version: str, tags: Mapping[str, str]) -> None:
        self.tags[version].update(tags)

    def move(self, name: str, alias: str, version: str) -> None:
        self.aliases[alias] = version


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> MemoryRegistry:
    memory = MemoryRegistry()
    monkeypatch.setattr(models, "_registry", lambda _: memory)
    monkeypatch.setattr(profile, "find_place", fake_jobs.place)
    return memory


def printed(capsys: Capture) -> Any:
    return json.loads(capsys.readouterr().out)


def test_list_shows_who_is_champion(registry: MemoryRegistry, capsys: Capture) -> None:
    assert run(["models", "list", "--local"]) == 0
    header, row = capsys.readouterr().out.splitlines()
    assert header.split() == ["model", "aliases", "newest", "changed"]
    assert row.split()[:4] == ["digits", "champion:", "2", "3"]


def test_show_tells_what_became_of_each_version(registry: MemoryRegistry, capsys: Capture) -> None:
    assert run(["models", "show", "digits", "--local", "-n", "2"]) == 0
    out = capsys.readouterr().out
    assert "refused: min of acc: 0.1" in out
    assert "digits-b" in out
    assert "digits-a" not in out


def test_show_prints_one_document(registry: MemoryRegistry, capsys: Capture) -> None:
    assert run(["models", "show", "digits", "--local", "--json"]) == 0
    document = printed(capsys)
    assert document["aliases"] == {"champion": "2"}
    assert [one["version"] for one in document["versions"]] == ["3", "2", "1"]
    assert document["versions"][1]["replaced"] == "1"


def test_rollback_gives_the_alias_back_and_promote_moves_it_by_hand(
    registry: MemoryRegistry, capsys: Capture
) -> None:
    assert run(["models", "rollback", "digits", "--local"]) == 0
    assert capsys.readouterr().out == "version 1 of digits is champion now, in place of version 2\n"
    assert registry.aliases == {"champion": "1"}
    assert "headway.rolled_back" in registry.tags["2"]
    assert run(["models", "promote", "digits", "3", "--local", "--json"]) == 0
    assert printed(capsys) == {"name": "digits", "alias": "champion", "version": "3", "before": "1"}
    assert registry.tags["3"]["headway.replaced"] == "1"


def test_a_second_promotion_of_the_champion_changes_nothing(
    registry: MemoryRegistry, capsys: Capture
) -> None:
    assert run(["models", "promote", "digits", "2", "--local"]) == 0
    assert capsys.readouterr().out == "version 2 of digits is champion already\n"
    assert registry.tags["2"]["headway.replaced"] == "1"


def test_another_alias_leaves_the_champion_its_way_back(registry: MemoryRegistry) -> None:
    assert run(["models", "promote", "digits", "2", "--alias", "staging", "--local"]) == 0
    assert run(["models", "promote", "digits", "1", "--alias", "staging", "--local"]) == 0
    assert run(["models", "rollback", "digits", "--local"]) == 0
    assert registry.aliases == {"champion": "1", "staging": "1"}
    assert run(["models", "rollback", "digits", "--alias", "staging", "--local"]) == 0
    assert registry.aliases == {"champion": "1", "staging": "2"}


def test_a_promotion_that_fails_leaves_the_way_back(registry: MemoryRegistry, capsys: Capture) -> None:
    assert run(["models", "promote", "digits", "2", "--alias", "latest", "--local"]) == 2
    assert "'latest' cannot be an alias" in capsys.readouterr().err
    registry.aliases, registry.intrudes = {"champion": "3"}, "1"
    assert run(["models", "promote", "digits", "2", "--local"]) != 0
    assert registry.tags["2"]["headway.replaced"] == "1"


def test_an_alias_that_nobody_had_is_given(registry: MemoryRegistry) -> None:
    assert run(["models", "promote", "digits", "3", "--alias", "staging", "--local"]) == 0
    assert registry.aliases == {"champion": "2", "staging": "3"}


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("show letters", 4, "see what there is: launch models list --local"),
        ("promote digits 9", 4, "see what there is: launch models show --local digits"),
        ("rollback digits --alias staging", 2, "no version of digits is staging"),
    ],
)
def test_what_is_not_there_is_told(
    registry: MemoryRegistry, words: str, code: int, said: str, capsys: Capture
) -> None:
    assert run(["models", *words.split(), "--local"]) == code
    assert said in capsys.readouterr().err


def test_a_rollback_to_a_version_that_is_gone_says_so(registry: MemoryRegistry, capsys: Capture) -> None:
    del registry.tags["1"]
    assert run(["models", "rollback", "digits", "--local"]) == 4
    assert "version 1 of digits, which version 2 replaced, is gone" in capsys.readouterr().err
    assert registry.aliases == {"champion": "2"}


@pytest.mark.parametrize("words", [["rollback", "digits"], ["promote", "digits", "1"]])
def test_an_alias_that_somebody_moved_meanwhile_is_left_alone(
    registry: MemoryRegistry, words: list[str], capsys: Capture
) -> None:
    registry.intrudes = "3"
    assert run(["models", *words, "--local"]) == 4
    assert "was moved to version 3 meanwhile" in capsys.readouterr().err
    assert registry.aliases == {"champion": "3"}


def test_a_runs_table_has_the_promotion_and_its_gates() -> None:
    gate = Gate(
        gate="min",
        metric="acc",
        limit=0.9,
        challenger=0.8,
        champion=None,
        passed=False,
        text="0.8, too little",
    )
    told = Promoted(
        outcome="refused",
        reason="min of acc",
        alias="champion",
        model="digits",
        on="data/holdout",
        gates=(gate,),
        table="gs://b/promotion.md",
    )
    rows = facts(fake_jobs.view(promotion=told))
    assert ("promotion", "refused: see the gates") in rows
    assert ("gate", "failed  min of acc: 0.8, too little") in rows
    assert ("comparison", "gs://b/promotion.md") in rows
