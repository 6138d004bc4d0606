"""The same work asked of both: a training job created, read and listed, on Vertex AI and on SageMaker."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Mapping
from itertools import count
from typing import Any, Protocol

from benchmarks.load import Request, request
from benchmarks.servers import Server

PARENT = "/aiplatform/v1/projects/headway-local/locations/us-central1"
IMAGE = "python:3.11-slim"
PAGE = 100
"""Jobs on a page of a listing: the most that both APIs allow."""
WAITING = {
    "machineType": "a2-highgpu-1g",
    "acceleratorType": "NVIDIA_TESLA_A100",
    "acceleratorCount": 1,
}
"""A machine of which the quota below has one: the first job keeps it, and the others wait in the queue."""
QUOTA = '[[quota]]\nregion = "*"\nmetric = "custom_model_training_nvidia_a100_gpus"\nlimit = 1\n'
AWS = {
    "Content_Type": "application/x-amz-json-1.1",
    "Authorization": (
        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260101/us-east-1/sagemaker/aws4_request, "
        "SignedHeaders=host, Signature=0"
    ),
}


class Api(Protocol):
    """Requests of one API; it learns the names of jobs from answers."""

    def create(self) -> Request: ...

    def get(self) -> Request: ...

    def page(self, token: str) -> Request: ...

    def seen(self, kind: str, body: bytes) -> None: ...

    def listed(self, body: bytes) -> tuple[int, str]:
        """How many jobs a page has, and the token of the next."""


class Vertex:
    """Custom jobs of the emulator."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._numbers = count()

    def create(self) -> Request:
        return "create", post(f"{PARENT}/customJobs", custom_job(f"job-{next(self._numbers)}"))

    def get(self) -> Request:
        return "get", request("GET", f"/aiplatform/v1/{random.choice(self._names)}")

    def page(self, token: str) -> Request:
        return "page", request("GET", f"{PARENT}/customJobs?pageSize={PAGE}&pageToken={token}")

    def seen(self, kind: str, body: bytes) -> None:
        if kind == "create":
            self._names.append(json.loads(body)["name"])

    def listed(self, body: bytes) -> tuple[int, str]:
        page = json.loads(body)
        return len(page.get("customJobs", [])), page.get("nextPageToken", "")


class SageMaker:
    """Training jobs of moto."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._numbers = count()

    def create(self) -> Request:
        job = {
            "TrainingJobName": f"job-{next(self._numbers)}",
            "AlgorithmSpecification": {
                "TrainingImage": IMAGE,
                "TrainingInputMode": "File",
                "ContainerEntrypoint": ["sleep"],
                "ContainerArguments": ["3600"],
            },
            "RoleArn": "arn:aws:iam::123456789012:role/training",
            "OutputDataConfig": {"S3OutputPath": "s3://bench/out"},
            "ResourceConfig": {"InstanceType": "ml.p4d.24xlarge", "InstanceCount": 1, "VolumeSizeInGB": 100},
            "StoppingCondition": {"MaxRuntimeInSeconds": 86_400},
            "Environment": {"EPOCHS": "10", "SEED": "1"},
            "Tags": [{"Key": "team", "Value": "bench"}],
        }
        return "create", self._call("CreateTrainingJob", job)

    def get(self) -> Request:
        return "get", self._call("DescribeTrainingJob", {"TrainingJobName": random.choice(self._names)})

    def page(self, token: str) -> Request:
        wanted: dict[str, Any] = {"MaxResults": PAGE, **({"NextToken": token} if token else {})}
        return "page", self._call("ListTrainingJobs", wanted)

    def seen(self, kind: str, body: bytes) -> None:
        if kind == "create":
            self._names.append(json.loads(body)["TrainingJobArn"].rsplit("/", 1)[1])

    def listed(self, body: bytes) -> tuple[int, str]:
        page = json.loads(body)
        return len(page["TrainingJobSummaries"]), str(page.get("NextToken") or "")

    @staticmethod
    def _call(target: str, body: Mapping[str, Any]) -> bytes:
        data = json.dumps(body).encode()
        return request("POST", "/", data, X_Amz_Target=f"SageMaker.{target}", **AWS)


def custom_job(name: str, command: str = "") -> dict[str, Any]:
    """One replica that runs a shell's command at once, or, without one, a job for the queue."""
    container: dict[str, Any] = {
        "imageUri": IMAGE,
        "command": ["sleep"],
        "args": ["3600"],
        "env": [{"name": "EPOCHS", "value": "10"}, {"name": "SEED", "value": "1"}],
    }
    if command:
        container |= {"command": ["sh", "-c", command], "args": []}
    pool = {
        "machineSpec": {"machineType": "n1-standard-4"} if command else WAITING,
        "replicaCount": "1",
        "containerSpec": container,
    }
    return {
        "displayName": name,
        "labels": {"team": "bench"},
        "jobSpec": {"workerPoolSpecs": [pool], "scheduling": {"timeout": "86400s"}},
    }


def post(path: str, body: Mapping[str, Any]) -> bytes:
    return request("POST", path, json.dumps(body).encode())


def alternately(*makers: Callable[[], Request]) -> Callable[[], Request]:
    """Of each in turn."""
    numbers = count()
    return lambda: makers[next(numbers) % len(makers)]()


def listed(server: Server, api: Api) -> tuple[list[float], int]:
    """All pages of a listing, read one after another: the seconds of each, and how many jobs there are."""
    taken, found, token = [], 0, ""
    while True:
        began = time.perf_counter()
        status, body = server.call(api.page(token)[1])
        taken.append(time.perf_counter() - began)
        if status != 200:
            raise RuntimeError(f"a page was not listed: {body[:500]!r}")
        more, token = api.listed(body)
        found += more
        if not token:
            return taken, found
