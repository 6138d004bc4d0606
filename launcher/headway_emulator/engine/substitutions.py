"""Cloud Build's substitutions: $NAME and ${NAME} in a build's fields, checked both ways.

Source: Google's page "Substituting variable values", November 2026.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from headway_emulator.errors import invalid

VARIABLE = re.compile(r"\$(?:(?P<dollar>\$)|(?P<bare>[A-Z_][A-Z0-9_]*)|\{(?P<braced>[^}]*)\})")
USER_NAME = re.compile(r"_[A-Z0-9_]+")
WITHOUT_TRIGGER = (
    "BRANCH_NAME",
    "COMMIT_SHA",
    "REPO_FULL_NAME",
    "REPO_NAME",
    "REVISION_ID",
    "SHORT_SHA",
    "TAG_NAME",
    "TRIGGER_BUILD_CONFIG_PATH",
    "TRIGGER_NAME",
)
"""Built in, and empty for a build that no trigger started."""
FIELDS = ("steps", "images", "tags", "logsBucket", "artifacts", "serviceAccount")
UNTOUCHED = ("script",)
"""A script sees values as environment variables only."""


def built_in(project: str, number: str, build: str, location: str, account: str = "") -> dict[str, str]:
    """The values that every build has."""
    return {
        "PROJECT_ID": project,
        "PROJECT_NUMBER": number,
        "BUILD_ID": build,
        "LOCATION": location,
        "SERVICE_ACCOUNT": account,
        "SERVICE_ACCOUNT_EMAIL": account,
        **dict.fromkeys(WITHOUT_TRIGGER, ""),
    }


def apply(build: Mapping[str, Any], built_ins: Mapping[str, str]) -> dict[str, Any]:
    """The build with its values filled in; ApiError for a name that only one side knows.

    substitutionOption ALLOW_LOOSE makes unknown names empty and lets unused values pass.
    """
    given: Mapping[str, str] = build.get("substitutions", {})
    for name in given:
        if not USER_NAME.fullmatch(name):
            raise invalid(
                f'invalid value for "build.substitutions": key "{name}" must begin with "_" and have only '
                "uppercase letters, digits and underscores"
            )
    loose = build.get("options", {}).get("substitutionOption") == "ALLOW_LOOSE"
    filler = _Filler({**built_ins, **given}, loose)
    filled = {field: filler.fill(build[field]) for field in FIELDS if field in build}
    unused = [name for name in given if name not in filler.used]
    if unused and not loose and not _in_scripts(build):
        raise invalid(f'key "{unused[0]}" in the substitution data is not matched in the template')
    return {**build, **filled}


class _Filler:
    def __init__(self, values: Mapping[str, str], loose: bool) -> None:
        self._values = values
        self._loose = loose
        self.used: set[str] = set()

    def fill(self, value: Any) -> Any:
        if isinstance(value, str):
            return VARIABLE.sub(self._value, value)
        if isinstance(value, list):
            return [self.fill(item) for item in value]
        if isinstance(value, dict):
            return {k: item if k in UNTOUCHED else self.fill(item) for k, item in value.items()}
        return value

    def _value(self, found: re.Match[str]) -> str:
        if found["dollar"]:
            return "$"
        name = found["bare"] or found["braced"] or ""
        if name in self._values:
            self.used.add(name)
            return self._values[name]
        if self._loose:
            return ""
        if name.startswith("_"):
            raise invalid(f'key in the template "{name}" is not matched in the substitution data')
        raise invalid(
            f'invalid value for "build.substitutions": key in the template "{name}" '
            "is not a valid built-in substitution"
        )


def _in_scripts(build: Mapping[str, Any]) -> bool:
    """Values handed to scripts by automapSubstitutions count as used."""
    automap = build.get("options", {}).get("automapSubstitutions", False)
    return any(step.get("script") and step.get("automapSubstitutions", automap) for step in build["steps"])
