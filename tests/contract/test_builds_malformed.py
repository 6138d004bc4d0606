"""Builds that Cloud Build refuses, each with where that is written."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import pytest
import requests

from tests.contract.servers import PROJECT, Emulator

STEP: dict[str, Any] = {"name": "ubuntu", "script": "true"}
ARGS: dict[str, Any] = {"name": "ubuntu", "args": ["true"]}
VALIDATOR = "GoogleCloudPlatform/cloud-build-local validate/validate.go, "
SCHEMA = "discovery document cloudbuild.v1, "
PAGE = "cloud.google.com/build/docs/"


@dataclass(frozen=True)
class Bad:
    """A build's fields, the message that they get, and where that is written."""

    source: str
    message: str
    build: dict[str, Any]


def steps(*given: dict[str, Any], **build: Any) -> dict[str, Any]:
    return {"steps": list(given), **build}


def volume(name: str = "vol1", path: str = "/shared") -> dict[str, Any]:
    return {"volumes": [{"name": name, "path": path}]}


def secret(env: str = "A") -> dict[str, Any]:
    version = f"projects/{PROJECT}/secrets/s/versions/latest"
    return {"availableSecrets": {"secretManager": [{"versionName": version, "env": env}]}}


def objects(**given: Any) -> dict[str, Any]:
    return {"artifacts": {"objects": {"location": "gs://b/", "paths": ["*"], **given}}}


ALL = {
    "no steps": Bad(
        VALIDATOR + "CheckBuildSteps", "invalid build: invalid .steps field: no build steps are specified", {}
    ),
    "301 steps": Bad(
        PAGE + "build-config: up to 300 build steps",
        "cannot specify more than 300 build steps",
        steps(*[STEP] * 301),
    ),
    "a step without a name": Bad(
        VALIDATOR + "CheckBuildSteps", "build step 1 must specify name", steps(STEP, {"script": "true"})
    ),
    "101 arguments": Bad(
        PAGE + "build-config: at most 100 arguments",
        "build step 0 too many args (max: 100)",
        steps({"name": "ubuntu", "args": ["x"] * 101}),
    ),
    "a script with arguments": Bad(
        SCHEMA + "BuildStep.script: the user cannot specify the entrypoint or args",
        "build step 0 cannot specify script with entrypoint or args",
        steps({**STEP, "args": ["x"]}),
    ),
    "a step that waits for none such": Bad(
        VALIDATOR + "CheckBuildSteps",
        'build step #0 - "a" depends on "b", which has not been defined',
        steps({**STEP, "id": "a", "waitFor": ["b"]}, {**STEP, "id": "b"}),
    ),
    "two steps of one id": Bad(
        VALIDATOR + "CheckBuildSteps",
        'build step #1 - "a": the ID is not unique',
        steps({**STEP, "id": "a"}, {**STEP, "id": "a"}),
    ),
    "the id that means the start": Bad(
        VALIDATOR + "CheckBuildSteps", 'the ID cannot be "-" which is reserved', steps({**STEP, "id": "-"})
    ),
    "a variable without a value": Bad(
        VALIDATOR + "CheckBuildSteps",
        'the Env entry "A" must be of the form "KEY=VALUE"',
        steps({**STEP, "env": ["A"]}),
    ),
    "a step longer than its build": Bad(
        VALIDATOR + "CheckBuildSteps",
        "build step timeout 11m0s must be <= build timeout 10m0s",
        steps({**STEP, "timeout": "660s"}, timeout="600s"),
    ),
    "a build of more than a day": Bad(
        VALIDATOR + "CheckBuild",
        "timeout exceeds the timeout limit of 24h0m0s",
        steps(STEP, timeout="86401s"),
    ),
    "a time below zero": Bad(
        VALIDATOR + "CheckBuild", "invalid timeout: timeout must be >=0", steps(STEP, timeout="-1s")
    ),
    "a duration that is none": Bad(
        SCHEMA + "Build.timeout: google-duration",
        "Invalid value at 'build.timeout'",
        steps(STEP, timeout="1h"),
    ),
    "an image that is none": Bad(
        "googleapis/repo-automation-bots#5656",
        'invalid build step name "a:b@c:d": could not parse reference: a:b@c:d',
        steps({**STEP, "name": "a:b@c:d"}),
    ),
    "an image in upper case": Bad(
        VALIDATOR + "checkImageNames",
        'invalid image name "gcr.io/p/Upper" contains uppercase letters',
        steps(STEP, images=["gcr.io/p/Upper"]),
    ),
    "two lists of images": Bad(
        VALIDATOR + "CheckArtifacts",
        "cannot specify different .images and .artifacts.images",
        steps(STEP, images=["a"], artifacts={"images": ["b"]}),
    ),
    "artifacts without a place": Bad(
        VALIDATOR + "CheckArtifacts",
        ".artifacts.location field is empty",
        steps(STEP, **objects(location="")),
    ),
    "artifacts outside of Cloud Storage": Bad(
        VALIDATOR + "CheckArtifacts",
        "Google Cloud Storage URLs must begin with 'gs://'",
        steps(STEP, **objects(location="s3://b")),
    ),
    "artifacts without paths": Bad(
        VALIDATOR + "CheckArtifacts", ".artifacts.paths field empty", steps(STEP, **objects(paths=[]))
    ),
    "artifacts named twice": Bad(
        VALIDATOR + "CheckArtifacts",
        ".artifacts.paths field has duplicate paths; remove duplicates [a]",
        steps(STEP, **objects(paths=["a", "a"])),
    ),
    "a tag with a space": Bad(
        VALIDATOR + "sanitizeBuildTags", 'invalid build tag "a b"', steps(STEP, tags=["a b"])
    ),
    "65 tags": Bad(
        VALIDATOR + "sanitizeBuildTags",
        "number of tags 65 exceeded (max: 64)",
        steps(STEP, tags=[f"t{n}" for n in range(65)]),
    ),
    "a volume of one step": Bad(
        SCHEMA + "BuildStep.volumes: Using a named volume in only one step is not valid",
        'Volume "vol1" is only used by one step',
        steps({**STEP, **volume()}, STEP),
    ),
    "a volume for all steps of one": Bad(
        SCHEMA + "BuildOptions.volumes: in a build with only one step is not valid",
        "Global volumes defined but there are fewer than two steps",
        steps(STEP, options=volume()),
    ),
    "a volume over the workspace": Bad(
        SCHEMA + "Volume.path: cannot conflict with certain reserved volume paths",
        'path "/workspace" is reserved',
        steps({**STEP, **volume(path="/workspace")}, STEP),
    ),
    "a volume at a relative path": Bad(
        SCHEMA + "Volume.path: Paths must be absolute",
        'path "data" is not valid, must be absolute',
        steps({**STEP, **volume(path="data")}, STEP),
    ),
    "a volume with a name for no volume": Bad(
        SCHEMA + "Volume.name: must be valid names for Docker volumes",
        'volume name "-v" does not match',
        steps({**STEP, **volume(name="-v")}, STEP),
    ),
    "a volume of a step and of all": Bad(
        SCHEMA + "BuildOptions.volumes: cannot conflict with the volumes defined a build step",
        'volume name "vol1" conflicts with global volume',
        steps(*[{**STEP, **volume(path="/other")}] * 2, options=volume()),
    ),
    "a secret that nobody defined": Bad(
        "GoogleCloudPlatform/cloud-builders-community#145",
        'invalid build: invalid .secrets field: secretEnv "A" is used without being defined',
        steps({**STEP, "secretEnv": ["A"]}),
    ),
    "a secret that nobody uses": Bad(
        SCHEMA + "SecretManagerSecret.env: must be used by at least one build step",
        'secretEnv "A" is defined without being used',
        steps(STEP, **secret()),
    ),
    "a variable that is a secret as well": Bad(
        VALIDATOR + "checkSecrets",
        'step 0 has secret and non-secret env "A"',
        steps({**STEP, "secretEnv": ["A"], "env": ["A=1"]}, **secret()),
    ),
    "a substitution without its underscore": Bad(
        "GoogleCloudPlatform/cortex-data-foundation#21",
        'substitution key "TEST_DATA" does not respect format "^_[A-Z0-9_]+$" and is not an overridable',
        steps(ARGS, substitutions={"TEST_DATA": "x"}),
    ),
    "a substitution that is not used": Bad(
        "ollionorg/gcp-landing-zone#40",
        'generic::invalid_argument: key "_A" in the substitution data is not matched in the template;key',
        steps(ARGS, substitutions={"_A": "x", "_B": "x"}),
    ),
    "a name that no substitution has": Bad(
        "GoogleCloudPlatform/cloud-build-local#66",
        'key in the template "_A" is not matched in the substitution data',
        steps({**ARGS, "args": ["$_A"]}),
    ),
    "a name that is not built in": Bad(
        "kubernetes-sigs/windows-gmsa#64",
        "generic::invalid_argument: invalid value for 'build.substitutions': key in the template \"TAG\" is "
        "not a valid built-in substitution",
        steps({**ARGS, "args": ["$TAG"]}),
    ),
    "the same where matching is loose": Bad(
        "google/trillian-examples#629: a triggered build, which is always loose",
        'key in the template "ENTRIES_DIR" is not a valid built-in substitution',
        steps({**ARGS, "args": ["$ENTRIES_DIR"]}, options={"substitutionOption": "ALLOW_LOOSE"}),
    ),
    "an account without a place for its log": Bad(
        "cert-manager/cert-manager#8851",
        "if 'build.service_account' is specified, the build must either (a) specify 'build.logs_bucket'",
        steps(STEP, serviceAccount=f"projects/{PROJECT}/serviceAccounts/a@b.c"),
    ),
    "a bucket for logs that is none": Bad(
        "GoogleCloudPlatform/cloud-builders#280",
        'invalid logs bucket "gs:/logs"',
        steps(STEP, logsBucket="gs:/logs"),
    ),
    "a disk too large": Bad(
        SCHEMA + "BuildOptions.disk_size_gb: more than the maximum are rejected",
        "exceeds the maximum of 4000 GB",
        steps(STEP, options={"diskSizeGb": "4001"}),
    ),
    "a source without its object": Bad(
        SCHEMA + "StorageSource.object: Required",
        "storage_source.object is required",
        steps(STEP, source={"storageSource": {"bucket": "b"}}),
    ),
    "a field that a build has not": Bad(
        "google.rpc.BadRequest of every REST API of Google's",
        "Unknown name \"stages\" at 'build': Cannot find field.",
        steps(STEP, stages=[]),
    ),
    "an enum's name that there is not": Bad(
        SCHEMA + "BuildOptions.logging",
        "Invalid value at 'build.options.logging'",
        steps(STEP, options={"logging": "FILE"}),
    ),
}

NOT_EMULATED = {
    "build.source.git_source": steps(STEP, source={"gitSource": {"url": "https://x"}}),
    "build.source.repo_source": steps(STEP, source={"repoSource": {"repoName": "r"}}),
    "build.options.pool": steps(STEP, options={"pool": {"name": "p"}}),
    "build.options.pubsub_topic": steps(STEP, options={"pubsubTopic": "t"}),
    "build.available_secrets.inline": steps(STEP, availableSecrets={"inline": [{"kmsKeyName": "k"}]}),
    "build.secrets": steps(STEP, secrets=[{"kmsKeyName": "k"}]),
    "build.artifacts.python_packages": steps(STEP, artifacts={"pythonPackages": [{"paths": ["dist/*"]}]}),
    "build.dependencies": steps(STEP, dependencies=[{"empty": True}]),
    "build.steps[0].results": steps({**STEP, "results": [{"name": "r"}]}),
}


def send(emulator: Emulator, build: dict[str, Any]) -> requests.Response:
    return requests.post(f"{emulator.url}/cloudbuild/v1/projects/{PROJECT}/builds", json=build, timeout=10)


@pytest.mark.parametrize("bad", ALL.values(), ids=ALL)
def test_it_is_refused_with_google_s_reason(emulator: Emulator, bad: Bad) -> None:
    answer = send(emulator, bad.build)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["status"]) == (400, 400, "INVALID_ARGUMENT"), bad.source
    assert re.search(re.escape(bad.message), error["message"]), (error["message"], bad.source)


@pytest.mark.parametrize(("name", "build"), NOT_EMULATED.items(), ids=NOT_EMULATED)
def test_what_is_not_emulated_is_answered_by_its_name(
    emulator: Emulator, name: str, build: dict[str, Any]
) -> None:
    answer = send(emulator, build)
    assert answer.status_code == 501
    assert name in answer.json()["error"]["message"]
