"""config.yaml, `key=value` words and flags become one frozen JobSpec; each value knows where it came from."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from headway.config import document, keys, words
from headway.config.document import Document, KeyPath, Mark
from headway.config.facts import facts
from headway.config.interpolation import resolve
from headway.config.problems import Problem, translate
from headway.errors import ConfigError, InputError
from headway.spec import machines
from headway.spec.candidates import check
from headway.spec.job import JobSpec
from headway.spec.machines import Catalogue
from headway.spec.unfit import Unfit

DEFAULT = "default"


@dataclass(frozen=True)
class Origin:
    """Where a value came from: a place in the file, or a label such as `--gpu`."""

    label: str
    key: Mark | None = None
    value: Mark | None = None


@dataclass(frozen=True)
class Loaded:
    """A config, read: `root` is config.yaml's folder, which everything in it is relative to."""

    spec: JobSpec
    path: Path
    sources: Mapping[KeyPath, Origin]
    facts: Catalogue

    @property
    def root(self) -> Path:
        return self.path.parent

    @property
    def origins(self) -> dict[str, str]:
        """Dotted key -> `config.yaml:3`, `command line: args.lr=0.01`, `--gpu` or `default`."""
        spec = self.spec.model_dump(mode="json", by_alias=True)
        return {".".join(path): _origin(self.sources, path).label for path in _leaves(spec, ())}

    def error(self, key: str, message: str, *, hint: str | None = None) -> ConfigError:
        """A ConfigError that points at the value of a key."""
        path = keys.find(key) or tuple(key.split("."))
        return _as_error([Problem(path, message, hint)], self.path, self.sources)


def load(
    path: Path, overrides: Sequence[str] = (), flags: Mapping[str, object] = {}, *, sweep: bool = False
) -> Loaded:
    """Read a config: default < file < `key=value` words < flags. No network.

    For a `sweep`, a word may give an argument a range; one with a plain value takes it out of the sweep.
    Raises ConfigError for the first thing wrong, with all others in its details.
    """
    file = _existing(path)
    known = facts(file.parent)
    read = document.read(file)
    changes = [*words.parse(overrides, sweep=sweep), *words.from_flags(flags)]
    values, sources = _apply(read, file, changes)
    if sweep:
        _take_out(values, changes)
    values, problems = resolve(_without_blanks(values, ()))
    spec = None
    try:
        spec = JobSpec.model_validate(values)
    except ValidationError as error:
        unresolved = {problem.path for problem in problems}
        problems += [found for found in translate(error) if found.path not in unresolved]
    problems += _gpu_problems(values, known)
    if spec is not None and not problems:
        problems += _forbidden(spec, known)
        problems += _unregistered(spec)
    if spec is None or problems:
        raise _as_error(problems, file, sources)
    return Loaded(spec, file, sources, known)


def relaid(values: dict[str, Any], overrides: Sequence[str], known: Catalogue) -> JobSpec:
    """A spec from what a plan holds, with `key=value` words laid over it, judged as a file is.

    Raises ConfigError.
    """
    values, sources = copy.deepcopy(values), dict[KeyPath, Origin]()
    for change in words.parse(overrides):
        if _set(values, change.path, change.value):
            sources[change.path] = Origin(change.label)
    try:
        spec = JobSpec.model_validate(values)
    except ValidationError as error:
        raise _as_error(translate(error), Path("plan.json"), sources) from error
    if problems := [*_forbidden(spec, known), *_unregistered(spec)]:
        raise _as_error(problems, Path("plan.json"), sources)
    return spec


def _existing(path: Path) -> Path:
    file = path / "config.yaml" if path.is_dir() else path
    if file.is_file():
        return file
    folder = file.parent
    names = sorted(p.name for p in folder.glob("*.y*ml")) if folder.is_dir() else []
    near = difflib.get_close_matches(file.name, names, n=1, cutoff=0.5) or names[:1]
    hint = f"did you mean {folder / near[0]}?" if near else "give the path of your config.yaml"
    raise ConfigError("there is no such file", file=file, hint=hint)


def _apply(
    read: Document, file: Path, changes: Sequence[words.Change]
) -> tuple[dict[str, Any], dict[KeyPath, Origin]]:
    values = read.values
    sources = {
        path: Origin(f"{file.name}:{read.keys[path].line}", read.keys[path], mark)
        for path, mark in read.marks.items()
    }
    for change in changes:
        if not _set(values, change.path, change.value):
            continue  # the section itself is no mapping: validation says so
        for path in [p for p in sources if p[: len(change.path)] == change.path]:
            del sources[path]
        sources[change.path] = Origin(change.label)
    return values, sources


def _set(values: dict[str, Any], path: KeyPath, value: Any) -> bool:
    for key in path[:-1]:
        if values.get(key) is None:
            values[key] = {}
        values = values[key]
        if not isinstance(values, dict):
            return False
    values[path[-1]] = value
    return True


def _take_out(values: dict[str, Any], changes: Sequence[words.Change]) -> None:
    """Vary no argument that a word gives one value, nor by the file's text where a word gives another.

    The file may name an argument with `args.` before it.
    """
    section = values.get("sweep")
    varied = section.get("parameters") if isinstance(section, dict) else None
    if isinstance(varied, dict):
        for change in changes:
            if change.path[0] == "args" and len(change.path) > 1:
                varied.pop(change.path[1], None)
                varied.pop(f"args.{change.path[1]}", None)
            elif change.path[:2] == ("sweep", "parameters") and len(change.path) > 2:
                varied.pop(f"args.{change.path[2]}", None)


def _without_blanks(values: dict[str, Any], path: KeyPath) -> dict[str, Any]:
    """A section or list with nothing below its key is as good as absent."""
    kept: dict[str, Any] = {}
    for key, value in values.items():
        kind = keys.kinds().get((*path, key))
        if kind == "section" and isinstance(value, dict):
            kept[key] = _without_blanks(value, (*path, key))
        elif value is not None or kind in (None, "value"):
            kept[key] = value
    return kept


def _gpu_problems(values: dict[str, Any], known: Catalogue) -> Iterator[Problem]:
    """What is wrong with the GPUs themselves, told together with what else is."""
    resources = values.get("resources")
    if not isinstance(resources, dict):
        return
    gpu, machine = resources.get("gpu"), resources.get("machine")
    gpus = gpu if isinstance(gpu, list) else machines.wishes(gpu) if isinstance(gpu, str | None) else []
    if not isinstance(machine, str | None) or "${" in f"{gpu}{machine}":
        return
    for wish in filter(lambda wish: isinstance(wish, str), gpus):
        try:
            machines.resolve(wish, machine, known)
        except InputError as error:
            at = "machine" if machine and error.message.startswith(machine) else "gpu"
            yield Problem(("resources", at), error.message, error.hint)
            return


def _forbidden(spec: JobSpec, known: Catalogue) -> Iterator[Problem]:
    """What Vertex AI would refuse of the whole."""
    try:
        check(spec.resources, spec.limits, known)
    except Unfit as error:
        yield Problem(tuple(error.key.split(".")), error.message, error.hint)


def _unregistered(spec: JobSpec) -> Iterator[Problem]:
    """An alias is moved between versions of a registered model: there must be one."""
    if spec.promote is not None and spec.tracking.register_as is None:
        yield Problem(
            ("promote",),
            "promote moves an alias of a registered model, but tracking.register names none",
            f"add  tracking: {{register: {spec.name}}}",
            at_key=True,
        )


def _as_error(problems: Sequence[Problem], file: Path, sources: Mapping[KeyPath, Origin]) -> ConfigError:
    """One error for them all: the first in the file leads, the others are its details."""
    placed = [_place(problem, file, sources) for problem in problems]
    first, *others = sorted(placed, key=lambda error: (error.line or 10**9, error.column or 0))
    details = [line for other in others for line in str(other).splitlines()]
    if not others:
        return first
    leading = ConfigError(first.message, hint=first.hint, details=details)
    leading.file, leading.line, leading.column = first.file, first.line, first.column
    return leading


def _place(problem: Problem, file: Path, sources: Mapping[KeyPath, Origin]) -> ConfigError:
    origin = _origin(sources, problem.path, Origin(DEFAULT))
    if problem.missing or origin.label == DEFAULT:
        return ConfigError(problem.message, file=file, hint=problem.hint)
    mark = origin.key if problem.at_key else origin.value
    if mark is None:
        return ConfigError(f"{origin.label}: {problem.message}", hint=problem.hint)
    return ConfigError(problem.message, file=file, line=mark.line, column=mark.column, hint=problem.hint)


def _origin(sources: Mapping[KeyPath, Origin], path: KeyPath, default: Origin = Origin(DEFAULT)) -> Origin:
    """That of the key itself, or of the nearest key above it that was set as a whole by a word."""
    if path in sources:
        return sources[path]
    above = (sources[path[:n]] for n in range(len(path) - 1, 0, -1) if path[:n] in sources)
    return next((origin for origin in above if origin.value is None), default)


def _leaves(value: Any, path: KeyPath) -> Iterator[KeyPath]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _leaves(inner, (*path, key))
    else:
        yield path
