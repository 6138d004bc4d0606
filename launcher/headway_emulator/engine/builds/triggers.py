"""Build triggers: what is kept of one, what is refused, and the build that running it makes.

Source: the descriptions of BuildTrigger and RepoSource in the discovery document cloudbuild.v1.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from headway_emulator.engine.builds import rules as build_rules
from headway_emulator.engine.builds.substitutions import OVERRIDABLE, USER_NAME
from headway_emulator.engine.store import Document
from headway_emulator.errors import invalid, unimplemented
from headway_emulator.schema import snake

KIND = "buildTrigger"
NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,62}[A-Za-z0-9])?")
TEMPLATES = ("build", "filename", "autodetect", "gitFileSource")
REPOSITORIES = (
    "triggerTemplate",
    "github",
    "repositoryEventConfig",
    "bitbucketServerTriggerConfig",
    "developerConnectEventConfig",
    "sourceToBuild",
    "gitFileSource",
    "filename",
    "autodetect",
)
"""Fields that only a Git repository can serve."""
REFERENCES: Mapping[str, str] = {
    "repoName": "REPO_NAME",
    "branchName": "BRANCH_NAME",
    "tagName": "TAG_NAME",
    "commitSha": "COMMIT_SHA",
}


def check(trigger: Mapping[str, Any]) -> None:
    """ApiError INVALID_ARGUMENT for what the schema allows and the service does not."""
    if "name" in trigger and not NAME.fullmatch(trigger["name"]):
        raise invalid(
            f'invalid trigger name "{trigger["name"]}": it must have 1 to 64 alphanumeric characters and '
            "dashes, and begin and end with an alphanumeric character"
        )
    given = [field for field in TEMPLATES if trigger.get(field, "") not in ("", False)]
    if len(given) != 1:
        names = ", ".join(snake(field) for field in given) or "none"
        raise invalid(
            "invalid trigger: exactly one of build, filename, autodetect and git_file_source must be set, "
            f"not {names}"
        )
    if trigger.get("github") and trigger.get("triggerTemplate"):
        raise invalid("invalid trigger: github and trigger_template are mutually exclusive")
    if trigger.get("includeBuildLogs") == "INCLUDE_BUILD_LOGS_WITH_STATUS" and not trigger.get("github"):
        raise invalid("invalid trigger: include_build_logs can only be set for GitHub triggers")
    for name in trigger.get("substitutions", {}):
        if not USER_NAME.fullmatch(name):
            raise invalid(
                f'invalid trigger: substitution key "{name}" does not respect format "^_[A-Z0-9_]+$"'
            )
    if "build" in trigger:
        build_rules.check(trigger["build"])


def to_build(trigger: Mapping[str, Any], source: Mapping[str, Any]) -> tuple[Document, Document]:
    """The request of a build, and what the trigger adds to it; UNIMPLEMENTED where a repository is needed."""
    for field in REPOSITORIES:
        if trigger.get(field):
            text = f"triggers.run of a trigger with {snake(field)}: there are no Git repositories here"
            raise unimplemented(f"{text}; give the trigger an inline build")
    _check_run(source)
    build: Document = dict(trigger["build"])
    named = {REFERENCES[field]: value for field, value in source.items() if field in REFERENCES}
    if "COMMIT_SHA" in named:
        named |= {"REVISION_ID": named["COMMIT_SHA"], "SHORT_SHA": named["COMMIT_SHA"][:7]}
    named["REF_NAME"] = named.get("BRANCH_NAME", named.get("TAG_NAME", ""))
    values = [
        build.get("substitutions", {}),
        trigger.get("substitutions", {}),
        source.get("substitutions", {}),
    ]
    build["substitutions"] = {name: value for one in values for name, value in one.items()}
    # both are "always enabled for triggered builds" (BuildOptions)
    forced = {"substitutionOption": "ALLOW_LOOSE", "dynamicSubstitutions": True}
    build["options"] = {**build.get("options", {}), **forced}
    build["tags"] = [*build.get("tags", []), *trigger.get("tags", []), f"trigger-{trigger['id']}"]
    if trigger.get("serviceAccount"):
        build.setdefault("serviceAccount", trigger["serviceAccount"])
    fields: Document = {"buildTriggerId": trigger["id"]}
    if trigger.get("approvalConfig", {}).get("approvalRequired"):
        fields["approval"] = {"state": "PENDING", "config": trigger["approvalConfig"]}
    return build, {"fields": fields, "builtIns": {"TRIGGER_NAME": trigger["name"], **named}}


def _check_run(source: Mapping[str, Any]) -> None:
    for name in source.get("substitutions", {}):
        if not USER_NAME.fullmatch(name) and name not in OVERRIDABLE:
            raise invalid(f'invalid substitutions: key "{name}" does not respect format "^_[A-Z0-9_]+$"')
