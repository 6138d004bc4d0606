"""What the emulator does not have: each method of Google's that is not there answers 501 with its name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import requests
from google.api_core import exceptions
from google.cloud.aiplatform_v1 import JobServiceClient

from headway_emulator.app import DOCUMENTS
from headway_emulator.schema import discovery
from headway_emulator.testing import Emulator, emulator
from tests.contract.conftest import custom_job

VARIABLE = re.compile(r"\{\+?(\w+)\}")


@pytest.fixture(scope="module")
def gcp() -> Iterator[Emulator]:
    with emulator(clock="virtual") as started:
        yield started


def of(document: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from document.get("methods", {}).values()
    for resource in document.get("resources", {}).values():
        yield from of(resource)


def value(found: re.Match[str], project: str) -> str:
    name = found[1].lower()
    return project if "project" in name else "us-central1" if "location" in name else "zzz"


@pytest.mark.parametrize(
    "service",
    # those of Vertex AI are three thousand; its paths are resolved by the same code
    sorted(set(DOCUMENTS) - {"aiplatform"}),
)
def test_each_method_that_is_not_listed_answers_501_with_its_name(gcp: Emulator, service: str) -> None:
    listed = requests.get(gcp.url, timeout=10).json()["services"][service]["methods"]
    have = {method["name"] for method in listed}
    wrong = []
    with requests.Session() as session:
        for version in DOCUMENTS[service]:
            for method in of(discovery(service, version)):
                *_, resource, verb = method["id"].split(".")
                if f"{resource}.{verb}" in have:
                    continue
                path = VARIABLE.sub(lambda found: value(found, gcp.project), method.get("flatPath", ""))
                body: dict[str, str] | None = {} if method["httpMethod"] in ("POST", "PUT", "PATCH") else None
                answer = session.request(
                    method["httpMethod"], f"{gcp.url}/{service}/{path}", json=body, timeout=10
                )
                if answer.status_code != 501 or verb not in answer.json()["error"]["message"]:
                    wrong.append((answer.status_code, method["id"], method["httpMethod"], path, answer.text))
    assert not wrong


@pytest.mark.parametrize(
    "path",
    [
        "v1:evaluateInstances",
        "v1beta1:evaluateDataset",
        "v1/projects/p/locations/us-central1:evaluateInstances",
    ],
)
def test_a_verb_of_vertex_ai_itself_answers_501_with_its_name(gcp: Emulator, path: str) -> None:
    answer = requests.post(f"{gcp.url}/aiplatform/{path}", json={}, timeout=10)
    assert answer.status_code == 501
    assert path.rsplit(":", 1)[1] in answer.json()["error"]["message"]
    asked = gcp.requests(f"aiplatform.*{path.rsplit(':', 1)[1]}")
    assert asked[-1]["status"] == 501


def test_a_mount_that_would_be_empty_is_refused_by_name(gcp: Emulator) -> None:
    wanted = custom_job("pass")
    mount = {"server": "10.0.0.2", "path": "/data", "mount_point": "data"}
    wanted["job_spec"]["worker_pool_specs"][0]["nfs_mounts"] = [mount]
    jobs = gcp.client(JobServiceClient)
    with pytest.raises(exceptions.MethodNotImplemented, match="nfsMounts"):
        jobs.create_custom_job(parent=gcp.parent, custom_job=wanted)
    assert list(jobs.list_custom_jobs(parent=gcp.parent)) == []
