"""Cloud Build's substitutions: $NAME and ${NAME} in a build's fields, checked both ways.

Sources: Google's pages "Substituting variable values" and "Using payload bindings and bash parameter
expansions in substitutions", read in November 2026; the texts of errors as gcloud shows them in
github.com/google/trillian-examples#629, ollionorg/gcp-landing-zone#40 and cortex-data-foundation#21.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from headway_emulator.engine.builds.expansions import expand
from headway_emulator.errors import ApiError, invalid

VARIABLE = re.compile(
    r"\$(?:(?P<dollar>\$)|(?P<bare>[A-Z_][A-Z0-9_]*)"
    r"|\{(?P<length>#?)(?P<braced>[A-Z_][A-Z0-9_]*)(?P<operation>[^}]*)\})"
)
USER_NAME = re.compile(r"_[A-Z0-9_]+")
OVERRIDABLE = frozenset(
    [
        "BRANCH_NAME",
        "COMMIT_SHA",
        "REF_NAME",
        "REPO_FULL_NAME",
        "REPO_NAME",
        "REVISION_ID",
        "SHORT_SHA",
        "TAG_NAME",
    ]
)
"""Built in, but a request may give them, as `gcloud builds submit --substitutions=TAG_NAME=test` does."""
WITHOUT_TRIGGER = (*sorted(OVERRIDABLE), "TRIGGER_BUILD_CONFIG_PATH", "TRIGGER_NAME")
"""Built in, and empty for a build that no trigger started."""
FIELDS = (
    "steps",
    "images",
    "tags",
    "logsBucket",
    "artifacts",
    "serviceAccount",
    "availableSecrets",
    "options",
)
UNTOUCHED = ("script", "id", "waitFor")
"""A script sees values as environment variables only."""


def built_in(project: str, number: str, build: str, location: str, account: str = "") -> dict[str, str]:
    """The values that every build has."""
    return {
        "PROJECT_ID": project,
        "PROJECT_NUMBER": number,
        "BUILD_ID": build,
        "LOCATION": location,
        "SERVICE_ACCOUNT": account,
        "SERVICE_ACCOUNT_EMAIL": account.rsplit("/", 1)[-1],
        **dict.fromkeys(WITHOUT_TRIGGER, ""),
    }


def apply(build: Mapping[str, Any], built_ins: Mapping[str, str]) -> dict[str, Any]:
    """The build with its values filled in; ApiError for a name that only one side knows.

    substitutionOption ALLOW_LOOSE makes unknown names of users empty and lets unused values pass.
    """
    options = build.get("options", {})
    given: Mapping[str, str] = build.get("substitutions", {})
    _check_names(given)
    filler = _Filler(
        {**built_ins, **given},
        loose=options.get("substitutionOption") == "ALLOW_LOOSE",
        dynamic=bool(options.get("dynamicSubstitutions")),
    )
    filled = {field: filler.fill(build[field]) for field in FIELDS if field in build}
    filler.check(() if _in_scripts(build) else given)
    if given:
        filled["substitutions"] = {name: filler.value(name) for name in given}
    return {**build, **filled}


def environment(build: Mapping[str, Any], built_ins: Mapping[str, str]) -> list[str]:
    """NAME=VALUE of every substitution, for a step with automapSubstitutions."""
    values = {**built_ins, **build.get("substitutions", {})}
    return [f"{name}={value}" for name, value in values.items()]


class _Filler:
    """Replaces names by values and remembers which were used and which were not known."""

    def __init__(self, values: Mapping[str, str], *, loose: bool, dynamic: bool) -> None:
        self._values = values
        self._loose = loose
        self._dynamic = dynamic
        self._used: set[str] = set()
        self._unknown: list[str] = []
        self._open: list[str] = []

    def fill(self, value: Any) -> Any:
        if isinstance(value, str):
            return VARIABLE.sub(self._found, value)
        if isinstance(value, list):
            return [self.fill(item) for item in value]
        if isinstance(value, dict):
            return {k: item if k in UNTOUCHED else self.fill(item) for k, item in value.items()}
        return value

    def value(self, name: str) -> str:
        """With dynamicSubstitutions, a value may itself name others."""
        text = self._values[name]
        if not self._dynamic or "$" not in text:
            return text
        if name in self._open:
            circle = " -> ".join([*self._open[self._open.index(name) :], name])
            raise _wrong(f"invalid value for 'build.substitutions': substitutions name each other: {circle}")
        self._open.append(name)
        try:
            return str(self.fill(text))
        finally:
            self._open.pop()

    def check(self, wanted: Mapping[str, str] | tuple[()]) -> None:
        """Both sides must match, unless the build allows loose matching."""
        if self._loose:
            return
        unknown = [
            f'key in the template "{name}" is not matched in the substitution data' for name in self._unknown
        ]
        unused = [
            f'key "{name}" in the substitution data is not matched in the template'
            for name in wanted
            if name not in self._used
        ]
        if unknown or unused:
            raise _wrong(";".join([*unknown, *unused]))

    def _found(self, found: re.Match[str]) -> str:
        if found["dollar"]:
            return "$"
        name, operation = found["bare"] or found["braced"], found["operation"] or ""
        if (operation or found["length"]) and not self._dynamic:
            return found[0]  # not a substitution: the step sees it as it is
        known = name in self._values
        if known:
            self._used.add(name)
        elif not USER_NAME.fullmatch(name):  # also where matching is loose, as in a triggered build
            raise _wrong(
                "invalid value for 'build.substitutions': "
                f'key in the template "{name}" is not a valid built-in substitution'
            )
        elif not _has_default(operation):
            self._unknown.append(name)
        value = self.value(name) if known else ""
        if found["length"]:
            return str(len(value))
        expanded = expand(value, self.fill(operation)) if operation else value
        return found[0] if expanded is None else expanded


def _has_default(operation: str) -> bool:
    return operation.startswith((":-", ":=", "-", "="))


def _check_names(given: Mapping[str, str]) -> None:
    for name in given:
        if not USER_NAME.fullmatch(name) and name not in OVERRIDABLE:
            raise invalid(
                f'invalid build: invalid .substitutions field: substitution key "{name}" does not respect '
                'format "^_[A-Z0-9_]+$" and is not an overridable built-in substitutions'
            )


def _wrong(text: str) -> ApiError:
    return invalid(f"generic::invalid_argument: {text}")


def _in_scripts(build: Mapping[str, Any]) -> bool:
    """Values handed to scripts by automapSubstitutions count as used."""
    automap = build.get("options", {}).get("automapSubstitutions", False)
    return any(step.get("automapSubstitutions", automap) for step in build["steps"])
