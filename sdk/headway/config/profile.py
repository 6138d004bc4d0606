"""Where a job runs: a profile of headway.toml, or the local stack."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headway.config import stack
from headway.config.problems import describe
from headway.errors import ConfigError
from headway.spec.place import LOCAL, Place
from headway.spec.section import region

FILE = "headway.toml"
_REQUIRED = ("project", "region", "bucket", "tracking_uri")
_LONGEST_ANSWER_S = 600
"""As `Place` has it."""
_KEYS = tuple(key for key in Place.model_fields if key != "profile")


def find_place(*, profile: str | None, local: bool, start: Path, state: Path) -> Place:
    """The place that was asked for: `local`, the named profile, or headway.toml's default one.

    headway.toml is looked for in `start` (a folder, or a file in it) and the folders above it. A local stack
    that is not healthy is started. Raises ConfigError, or the error of the stack's start.
    """
    place = look_for_place(profile=profile, local=local, start=start, state=state)
    return place or stack.start(state)


def look_for_place(*, profile: str | None, local: bool, start: Path, state: Path) -> Place | None:
    """The same, starting nothing: None where the local stack is asked for and is not up."""
    if local:
        if profile is not None:
            raise ConfigError("--local and --profile exclude each other", hint="give one of them")
        return stack.read_local_place(state)
    file = find_file(start)
    if file is None:
        raise ConfigError(
            f"there is no {FILE} in {start.absolute()} or above it, so it is not known where to run",
            hint=f"--local runs on this machine; for Google Cloud, Terraform in infra/ writes the {FILE}",
        )
    return _Profiles(file).place(profile)


def default_state() -> Path:
    """Where headway keeps what outlives a command: $HEADWAY_STATE, or headway/ in the XDG state folder."""
    if chosen := os.environ.get("HEADWAY_STATE"):
        return Path(chosen).expanduser().absolute()
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "headway"


def find_file(start: Path) -> Path | None:
    """The headway.toml of a folder, or of the nearest one above it; of a file, as of its folder."""
    here = start.absolute()
    return next((file for folder in (here, *here.parents) if (file := folder / FILE).is_file()), None)


class _Profiles:
    """headway.toml, read. An error names the line of the key at fault, as far as the text shows it."""

    def __init__(self, file: Path) -> None:
        self.file = file
        try:
            self.text = file.read_text(encoding="utf-8")
            self.table: dict[str, Any] = tomllib.loads(self.text)
        except tomllib.TOMLDecodeError as error:
            raise _unreadable(file, str(error)) from error
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"cannot be read: {error}", file=file) from error
        for key in self.table:
            if key not in ("default", "profiles"):
                near = _guess(key, ["default", "profiles"])
                hint = f'it has  default = "prod"  and tables such as [profiles.prod]{near}'
                raise self.error(f"there is no key {key!r}", key=key, hint=hint)

    def place(self, wanted: str | None) -> Place:
        profiles = self.table.get("profiles")
        if not isinstance(profiles, dict) or not profiles:
            raise self.error("it has no profile", hint="write a table such as [profiles.prod]")
        name = wanted or self.table.get("default") or (next(iter(profiles)) if len(profiles) == 1 else None)
        if name is None:
            raise self.error(
                "it has several profiles and no default",
                hint=f'choose with --profile, or write  default = "{next(iter(profiles))}"',
                details=[f"profiles: {', '.join(profiles)}"],
            )
        if not isinstance(name, str) or not isinstance(profiles.get(name), dict):
            raise self.error(
                f"there is no profile {name!r}",
                key=None if wanted else "default",
                hint=f"there is {', '.join(profiles)}{_guess(str(name), list(profiles))}",
            )
        return self._place(name, profiles[name])

    def _place(self, name: str, row: Mapping[str, Any]) -> Place:
        if name == LOCAL:
            raise self.error(
                f"a profile cannot be named {LOCAL}: that is the local stack",
                profile=name,
                hint="give it another name, or use --local",
            )
        for key, value in row.items():
            self._check(name, key, value)
        missing = [key for key in _REQUIRED if key not in row]
        if missing:
            raise self.error(
                f"profile {name} lacks {' and '.join(missing)}",
                profile=name,
                hint=f'add  {missing[0]} = "..."  below [profiles.{name}]',
            )
        return Place(profile=name, **{"dvc_remote": f"gs://{row['bucket']}/dvc", **row})

    def _check(self, name: str, key: str, value: object) -> None:
        if key not in _KEYS:
            near = difflib.get_close_matches(key, _KEYS, n=1, cutoff=0.6)
            hint = f"did you mean {near[0]}?" if near else f"a profile has {', '.join(_KEYS)}"
            raise self.error(f"there is no key {key!r} in a profile", profile=name, key=key, hint=hint)
        if key == "endpoints":
            if not isinstance(value, dict) or not all(isinstance(url, str) for url in value.values()):
                hint = 'write  endpoints = {storage = "http://127.0.0.1:4443"}'
                raise self.error("endpoints must be a table of URLs", profile=name, key=key, hint=hint)
        elif key == "answer_s":
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not 0 < float(str(value)) <= _LONGEST_ANSWER_S:
                message = f"answer_s must be a number of seconds up to {_LONGEST_ANSWER_S}"
                raise self.error(f"{message}, not {describe(value)}", profile=name, key=key)
        elif not isinstance(value, str) or not value:
            raise self.error(f"{key} must be text, not {describe(value)}", profile=name, key=key)
        elif key == "credentials" and value not in ("default", "anonymous"):
            raise self.error(
                f"credentials {value!r} are neither default nor anonymous",
                profile=name,
                key=key,
                hint="default: what `gcloud auth application-default login` left",
            )
        elif key == "tracking_uri" and "@" in value.partition("://")[2].partition("/")[0]:
            raise self.error(
                "tracking_uri has a login in it, which would be written into the plan of each run",
                profile=name,
                key=key,
                hint="take it out, and set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD: here, and "
                "for the jobs in environment.secrets",
            )
        elif key == "bucket" and (value.startswith("gs://") or "/" in value):
            hint = f'write  bucket = "{value.removeprefix("gs://").partition("/")[0]}"'
            raise self.error(
                f"bucket {value!r} is not a bucket's bare name", profile=name, key=key, hint=hint
            )
        elif key == "region":
            try:
                region(value)
            except ValueError as error:
                reason, _, hint = str(error).partition("; ")
                raise self.error(f"region: {reason}", profile=name, key=key, hint=hint) from error

    def error(
        self,
        message: str,
        *,
        profile: str | None = None,
        key: str | None = None,
        hint: str | None = None,
        details: list[str] | None = None,
    ) -> ConfigError:
        line = self._line(profile, key)
        return ConfigError(message, file=self.file, line=line, hint=hint, details=details or [])

    def _line(self, profile: str | None, key: str | None) -> int | None:
        lines = self.text.splitlines()
        first = 0
        if profile is not None:
            header = re.compile(rf"\s*\[\s*profiles\s*\.\s*[\"']?{re.escape(profile)}[\"']?\s*\]")
            first = next((n for n, line in enumerate(lines) if header.match(line)), 0)
        if key is None:
            return first + 1 if profile is not None else None
        written = re.compile(rf"\s*\[*\s*[\"']?{re.escape(key)}[\"']?\s*[=.\]]")
        return next((n + 1 for n, line in enumerate(lines) if n >= first and written.match(line)), None)


def _unreadable(file: Path, reason: str) -> ConfigError:
    place = re.search(r" \(at line (\d+), column (\d+)\)$", reason)
    if place is None:
        return ConfigError(f"is not readable as TOML: {reason}", file=file)
    return ConfigError(
        f"is not readable as TOML: {reason[: place.start()]}",
        file=file,
        line=int(place[1]),
        column=int(place[2]),
    )


def _guess(wrong: str, known: list[str]) -> str:
    near = difflib.get_close_matches(wrong, known, n=1, cutoff=0.5)
    return f"; did you mean {near[0]}?" if near else ""
