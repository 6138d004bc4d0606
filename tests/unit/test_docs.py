"""The documentation says what the code does: snippets are valid, tables complete, links lead somewhere."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import fields
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from headway.cloud.logs import LogLine
from headway.config import load
from headway.config.profile import find_place
from headway.errors import ExitCode
from headway.jobs import Difference, Preview, PreviewStep, RunView, SweepView, TrialView, Why
from headway.jobs.doctor import CHECKS, Report, Row, State
from headway.jobs.schedules import ScheduleView
from headway.jobs.simulation import Assumed, simulate
from headway.spec.job import JobSpec, json_schema
from headway.spec.layout import TrainingVariables
from headway.spec.machines import catalogue
from headway.spec.parameter import parse
from headway.spec.place import Place
from headway.spec.plan import Plan
from headway.spec.schedule import Schedule
from headway.spec.scheduled import Tick
from headway.spec.sweep import Sweep
from headway_launcher.app import application
from headway_launcher.stack.record import Record
from tests.unit.documentation import (
    ROOT,
    Snippet,
    anchors,
    links,
    name_of,
    pages,
    rows,
    sections,
    snippets,
    words,
)
from tests.unit.spec.test_plan import plan

DOCS = ROOT / "docs"
EMULATOR_TOML = "file: emulator.toml"


def table(page: str, section: str | None = None) -> list[list[str]]:
    path = DOCS / page
    return rows(sections(path)[section] if section else path.read_text(encoding="utf-8"))


def first_words(table_rows: list[list[str]]) -> list[str]:
    return [word for row in table_rows for word in words(row[0])]


# snippets


@pytest.mark.parametrize("snippet", snippets("yaml"), ids=str)
def test_a_yaml_snippet_is_a_config_that_loads(snippet: Snippet, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(snippet.text, encoding="utf-8")
    load(file)


@pytest.mark.parametrize("snippet", [s for s in snippets("toml") if s.note != EMULATOR_TOML], ids=str)
def test_a_toml_snippet_is_a_headway_toml_whose_profiles_are_places(snippet: Snippet, tmp_path: Path) -> None:
    (tmp_path / "headway.toml").write_text(snippet.text, encoding="utf-8")
    for profile in re.findall(r"^\[profiles\.(\w+)\]", snippet.text, re.MULTILINE):
        assert find_place(profile=profile, local=False, start=tmp_path, state=tmp_path).profile == profile


@pytest.mark.parametrize("snippet", snippets("python"), ids=str)
def test_a_python_snippet_compiles(snippet: Snippet) -> None:
    compile(snippet.text, str(snippet), "exec")


def launch_lines() -> list[tuple[str, str]]:
    shells = snippets("sh", "bash", "console")
    lines = [(str(shell), command) for shell in shells for command in shell.commands()]
    return [(where, line) for where, line in lines if re.search(r"(^|\$\(|\| )launch ", line)]


@pytest.mark.parametrize(("where", "line"), launch_lines())
def test_a_launch_command_in_a_snippet_is_one_that_exists(where: str, line: str) -> None:
    _, _, tail = line.partition("launch ")
    typed = shlex.split(re.split(r" \| |\)| >|$", tail)[0], comments=True)
    leaf, path = commands()[""], []
    while typed and typed[0] in getattr(leaf, "commands", {}):
        path.append(typed.pop(0))
        leaf = leaf.commands[path[-1]]
    assert path or typed[0].startswith("--"), f"{where}: launch {tail}"
    leaf.make_context(" ".join(["launch", *path]), typed, resilient_parsing=False)


def test_launch_commands_in_running_text_exist() -> None:
    known = [name.removesuffix(" start") for name in commands() if name]  # the one that need not be typed
    for page in pages():
        for command in re.findall(r"`launch ([a-z][a-z ]*[a-z])", page.read_text(encoding="utf-8")):
            assert any(f"{command} ".startswith(f"{name} ") for name in known), f"{name_of(page)}: {command}"


# links


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    for link in links(page):
        if re.match(r"https?:|mailto:", link):
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), f"{link} in {page.name}"
        assert not anchor or anchor in anchors(target), f"{link} in {page.name}"


def test_every_page_of_docs_is_linked_from_the_readme_or_from_another_page() -> None:
    reached = {
        (page.parent / link.partition("#")[0]).resolve()
        for page in pages()
        for link in links(page)
        if "://" not in link
    }
    assert set(DOCS.rglob("*.md")) <= reached


# config.md


def _leaves(schema: dict[str, Any], root: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted key -> its schema."""
    found: dict[str, Any] = {}
    for key, value in schema["properties"].items():
        section = root["$defs"].get(str(value.get("$ref", "")).rpartition("/")[2])
        if section:
            found |= _leaves(section, root, f"{prefix}{key}.")
        else:
            found[prefix + key] = value
    return found


def test_config_md_has_every_key_of_the_schema_with_its_default() -> None:
    schema = json_schema()
    minimal = JobSpec.model_validate({"name": "n", "entrypoint": "t.py"}).model_dump(
        mode="json", by_alias=True
    )
    documented = {
        words(row[0])[0]: row[1] for row in table("config.md") if len(row) == 3 and not row[1][:1].isdigit()
    }
    assert list(documented) == list(_leaves(schema, schema))
    for key, default in documented.items():
        value: Any = minimal
        for part in key.split("."):
            value = value[part]
        assert default == ("required" if key in schema["required"] else f"`{json.dumps(value)}`"), key


def test_config_md_has_every_gpu_with_the_counts_that_machines_carry() -> None:
    documented = {
        word: row[1]
        for row in table("config.md")
        if row[1][:1].isdigit() and len(row) == 2
        for word in words(row[0])
    }
    for gpu in catalogue().gpus.values():
        for name in (gpu.name, *gpu.aliases):
            assert documented.pop(name) == ", ".join(map(str, gpu.counts))
    assert not documented


# profiles.md


def test_profiles_md_has_every_key_of_a_profile() -> None:
    documented = {words(row[0])[0]: row[1] for row in table("profiles.md")}
    assert set(documented) == set(Place.model_fields) - {"profile"}
    required = {name for name, field in Place.model_fields.items() if field.is_required()}
    required -= {"profile", "dvc_remote"}  # the first is the table's name, the second has a default
    assert {key for key, default in documented.items() if default == "required"} == required


# commands.md


@cache
def commands() -> dict[str, Any]:
    """`config show` -> its command; the empty name is `launch` itself."""
    import typer

    root: Any = typer.main.get_command(application(pretty=False))
    found = {"": root}
    for name, command in root.commands.items():
        below = getattr(command, "commands", None)
        found |= {f"{name} {word}": leaf for word, leaf in below.items()} if below else {name: command}
    return found


def test_commands_md_has_every_command_in_the_order_of_the_help() -> None:
    documented = [heading.removeprefix("launch ") for heading in sections(DOCS / "commands.md")]
    assert documented == [name for name in commands() if name]


@pytest.mark.parametrize("name", [name for name in commands() if name])
def test_commands_md_has_every_option_of(name: str) -> None:
    options = {
        option
        for parameter in commands()[name].params
        if parameter.param_type_name == "option"
        for option in (*parameter.opts, *parameter.secondary_opts)
    }
    assert set(first_words(table("commands.md", f"launch {name}"))) == options - {"--help"}


# json.md


def documented_keys(section: str) -> set[str]:
    return set(first_words(table("json.md", section)))


def test_json_md_has_every_key_of_a_run() -> None:
    assert documented_keys("run") == set(RunView.model_fields)


def test_json_md_has_every_key_of_a_sweep_and_its_trials() -> None:
    assert documented_keys("sweep") == set(SweepView.model_fields)
    text = sections(DOCS / "json.md")["sweep"]
    assert [key for key in TrialView.model_fields if f"`{key}`" not in text] == []


def test_sweeps_md_has_every_key_of_the_section() -> None:
    documented = {words(row[0])[0]: words(row[1])[0] for row in table("sweeps.md") if len(row) == 4}
    assert list(documented) == list(Sweep.model_fields)
    options = {option for each in commands()["sweep start"].params for option in each.opts}
    assert {flag for flag in documented.values() if flag.startswith("--")} <= options


def test_every_example_of_a_parameter_can_be_read() -> None:
    texts = [text for row in table("sweeps.md") if len(row) == 2 for text in words(row[0])]
    assert len(texts) > 8
    for text in texts:
        parse("x", text)


def test_json_md_has_every_key_of_a_plan() -> None:
    keys = set(Preview(plan(), ()).document())
    assert documented_keys("plan") == keys | set(Plan.model_fields)


def test_json_md_has_every_key_and_action_of_a_step() -> None:
    text = sections(DOCS / "json.md")["plan"]
    for field in fields(PreviewStep):
        assert f"`{field.name}`" in text
    for action in ("build", "upload", "reuse", "create", "attach", "missing", "unknown"):
        assert f"`{action}`" in text


def test_json_md_has_every_key_inside_of_a_plan() -> None:
    for row in table("json.md", "plan"):
        field = Plan.model_fields.get(words(row[0])[0])
        model = getattr(field, "annotation", None)
        model = next(
            (part for part in getattr(model, "__args__", ()) if hasattr(part, "model_fields")), model
        )
        for key in getattr(model, "model_fields", ()):
            assert f"`{key}`" in row[1], f"{row[0]}: {key}"


def test_json_md_has_every_key_of_the_doctor_and_commands_md_every_check() -> None:
    report = Report(profile=None, project=None, online=False, rows=())
    assert documented_keys("doctor") == set(report.document())
    text = sections(DOCS / "json.md")["doctor"]
    assert [field.name for field in fields(Row) if f"`{field.name}`" not in text] == []
    assert [state for state in get_args(State) if f"`{state}`" not in text] == []
    listed = re.findall(r"^- `([^`]+)`: ", sections(DOCS / "commands.md")["launch doctor"], re.MULTILINE)
    assert listed == [check.name for check in CHECKS]


def test_json_md_has_every_key_of_a_why() -> None:
    assert documented_keys("why") == set(Why(None, "", ()).document())
    text = sections(DOCS / "json.md")["why"]
    assert [field.name for field in fields(Difference) if f"`{field.name}`" not in text] == []


def test_json_md_has_every_key_of_a_model_and_its_versions_and_of_a_promotion() -> None:
    from headway.jobs.models import ModelHistory, VersionView
    from headway.spec.promotion import Gate, Promoted

    assert documented_keys("model") == set(ModelHistory.model_fields)
    text = sections(DOCS / "json.md")
    assert [key for key in VersionView.model_fields if f"`{key}`" not in text["model"]] == []
    keys = (*Promoted.model_fields, *Gate.model_fields)
    assert [key for key in keys if f"`{key}`" not in text["run"]] == []


def test_models_md_has_every_tag_of_a_version() -> None:
    from headway.spec import layout

    tags = {layout.TAG_RUN, layout.TAG_MODEL, layout.TAG_REPLACED, layout.TAG_ROLLED_BACK}
    tags |= {layout.TAG_PROMOTED_BY, layout.TAG_PROMOTION, layout.TAG_COMPARISON}
    documented = {word for word in first_words(table("models.md")) if word.startswith("headway.")}
    assert documented == tags


def test_json_md_has_every_key_of_a_schedule_a_tick_and_a_simulation() -> None:
    assert documented_keys("schedule") == set(ScheduleView.model_fields)
    assert documented_keys("tick") == {*Tick.model_fields, "run_state", "promotion"} - {"plan"}
    simulated = simulate(Schedule(cron="0 3 * * 1"), Assumed(datetime(2026, 1, 1, tzinfo=UTC)))
    assert documented_keys("simulation") == set(simulated.document())


def test_schedules_md_has_every_key_of_the_section_with_its_default() -> None:
    documented = {
        words(row[0])[0].removeprefix("schedule."): row[1] for row in table("schedules.md") if len(row) == 3
    }
    default = Schedule(cron="0 3 * * 1").model_dump(mode="json")
    expected = {key: value for key, value in default.items() if key != "triggers"} | {"cron": None}
    expected |= {f"triggers.{key}": None for key in default["triggers"]}
    assert documented == {key: f"`{json.dumps(value)}`" for key, value in expected.items()}


def test_json_md_has_every_key_of_the_stack() -> None:
    assert documented_keys("stack") == {"version", *(field.name for field in fields(Record))}


def test_json_md_has_every_key_of_a_log_line() -> None:
    assert documented_keys("log line") == {field.name for field in fields(LogLine)}


def test_json_md_has_every_key_of_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    from headway.errors import InputError
    from headway_launcher.failures import reported

    with reported(as_json=True):
        raise InputError("wrong")
    assert documented_keys("error") == set(json.loads(capsys.readouterr().out)["error"])


# the rest


def test_exit_codes_md_has_every_exit_code() -> None:
    assert [int(row[0]) for row in table("exit-codes.md")] == sorted(ExitCode)


def test_training_code_md_has_every_variable_of_the_training_process() -> None:
    documented = set(first_words(table("training-code.md")))
    assert documented == {value for key, value in vars(TrainingVariables).items() if key.isupper()}


def test_emulator_md_has_the_tables_that_the_emulator_writes() -> None:
    from headway_emulator.commands import methods
    from headway_emulator.emulation import listing_of_this_version

    page = (DOCS / "emulator.md").read_text(encoding="utf-8")
    written = methods.replaced(page, methods.tables(listing_of_this_version()))
    assert page == written, "headway-emulator methods --write docs/emulator.md"


def test_emulator_md_has_every_command_every_key_of_its_file_and_every_option_of_its_mark() -> None:
    from headway_emulator import configuration, main, pytest_plugin
    from headway_emulator.engine import faults

    page = (DOCS / "emulator.md").read_text(encoding="utf-8")
    for command in main.COMMANDS:
        assert command == "version" or f"headway-emulator {command}" in page
    for keys in configuration.TABLES.values():
        assert [key for key in keys if f"`{key}`" not in page and f"\n{key} = " not in page] == []
    assert set(pytest_plugin.OPTIONS) | {pytest_plugin.ENVIRON} <= set(
        first_words(table("emulator.md", "In tests"))
    )
    assert [kind for kind in faults.KINDS if f"`{kind}`: " not in page] == []


def test_the_emulator_toml_of_emulator_md_is_one_that_is_read(tmp_path: Path) -> None:
    from headway_emulator import configuration

    (snippet,) = [one for one in snippets("toml") if one.note == EMULATOR_TOML]
    (tmp_path / "emulator.toml").write_text(snippet.text, encoding="utf-8")
    assert configuration.read(tmp_path / "emulator.toml")["clock"] == "virtual"


def test_the_config_of_the_example_is_the_one_that_config_md_shows() -> None:
    shown = next(snippet.text for snippet in snippets("yaml") if snippet.page == "docs/config.md")
    example = (ROOT / "examples" / "digits" / "config.yaml").read_text(encoding="utf-8")
    assert yaml.safe_load(shown) == yaml.safe_load(example)
