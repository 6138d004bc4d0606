"""Vertex AI custom jobs: the request, rendered by a pure function, and the calls of Google's own client."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from headway.cloud.session import TIMEOUT_S, Session, translated
from headway.spec import layout
from headway.spec.candidates import Candidate
from headway.spec.plan import Plan

ENDED = frozenset({"succeeded", "failed", "cancelled", "expired", "partially_succeeded"})
"""States that a job does not leave. Google's client waits for ever on the last two: we do our own waiting."""


BEGINNING = datetime.min.replace(tzinfo=UTC)
"""Before every job."""


@dataclass(frozen=True)
class Job:
    """A custom job as Vertex AI tells it; `state` is JobState's name in lower case without its prefix."""

    name: str
    state: str
    display_name: str
    labels: dict[str, str]
    created: datetime | None
    started: datetime | None
    ended: datetime | None
    error: str | None
    machine: str
    accelerator: str | None
    accelerator_count: int
    nodes: int
    image: str
    error_code: int = 0
    """google.rpc.Code of `error`."""
    strategy: str = ""
    """Name of Vertex AI's Scheduling.Strategy."""

    @property
    def job_id(self) -> str:
        return self.name.rpartition("/")[2]

    @property
    def made(self) -> datetime:
        """When it was created, to sort by: before all others where Vertex AI does not say."""
        return self.created or BEGINNING

    @property
    def region(self) -> str:
        return self.name.split("/")[3]

    @property
    def machines(self) -> str:
        """What it runs on, in words."""
        on = f" with {self.accelerator_count} x {self.accelerator}" if self.accelerator else ""
        return f"{self.nodes} x {self.machine}{on}"


def render(plan: Plan, candidate: Candidate | None = None) -> dict[str, Any]:
    """The CustomJob of a plan, as the JSON of Google's API (camelCase). Pure: golden files test it.

    `candidate` is the attempt to be made, one of the plan's; its first where left out.
    """
    pool = {
        "machineSpec": _machine(plan, candidate or plan.candidates[0]),
        "diskSpec": {"bootDiskSizeGb": plan.machine.disk_gb},
        "containerSpec": {
            "imageUri": plan.image.uri,
            "command": list(layout.RUNTIME_COMMAND),
            "env": [{"name": layout.PLAN_VARIABLE, "value": plan.plan_uri}],
        },
    }
    pools = [{**pool, "replicaCount": "1"}]
    if plan.machine.nodes > 1:
        pools.append({**pool, "replicaCount": str(plan.machine.nodes - 1)})
    job: dict[str, Any] = {
        "workerPoolSpecs": pools,
        "scheduling": _scheduling(plan),
        "baseOutputDirectory": {"outputUriPrefix": plan.base_output_uri},
    }
    if plan.service_account:
        job["serviceAccount"] = plan.service_account
    return {"displayName": plan.run_id, "jobSpec": job, "labels": plan.labels}


def _machine(plan: Plan, candidate: Candidate) -> dict[str, Any]:
    machine: dict[str, Any] = {"machineType": candidate.type}
    if candidate.accelerator:
        machine["acceleratorType"] = candidate.accelerator
        machine["acceleratorCount"] = candidate.accelerator_count
    if candidate.tpu_topology:
        machine["tpuTopology"] = candidate.tpu_topology
    if plan.machine.reservation == "any":
        machine["reservationAffinity"] = {"reservationAffinityType": "ANY_RESERVATION"}
    elif plan.machine.reservation:
        machine["reservationAffinity"] = {
            "reservationAffinityType": "SPECIFIC_RESERVATION",
            "key": "compute.googleapis.com/reservation-name",
            "values": [plan.machine.reservation],
        }
    return machine


def _scheduling(plan: Plan) -> dict[str, Any]:
    scheduling: dict[str, Any] = {
        "timeout": f"{plan.timeout_s}s",
        "strategy": plan.machine.strategy,
        # a node that restarts alone would wait for ever for the others to meet it again
        "restartJobOnWorkerRestart": plan.machine.nodes > 1,
    }
    if plan.machine.flex_start_s is not None:
        scheduling["maxWaitDuration"] = f"{plan.machine.flex_start_s}s"
    return scheduling


def client(session: Session, region: str) -> Any:
    """Google's JobServiceClient for a region, over REST."""
    from google.cloud.aiplatform_v1.services.job_service import JobServiceClient

    return JobServiceClient(
        transport="rest",
        credentials=session.credentials,
        client_options={"api_endpoint": session.endpoint("aiplatform", region)},
    )


class CustomJobs:
    """Custom jobs of a project in one region, through google-cloud-aiplatform's client."""

    def __init__(self, session: Session, region: str) -> None:
        self._region = region
        self._answer_s = session.answer_s
        self._parent = f"projects/{session.project}/locations/{region}"
        self._client = client(session, region)

    def create(self, body: dict[str, Any]) -> Job:
        """Create the job. Sent once: a create has no request id, so a repeat could make a second job."""
        from google.cloud.aiplatform_v1.types import CustomJob
        from google.protobuf import json_format

        message = CustomJob()
        json_format.ParseDict(body, CustomJob.pb(message))
        with translated(f"cannot create the job in {self._region}"):
            return _job(
                self._client.create_custom_job(
                    parent=self._parent, custom_job=message, timeout=self._answer_s
                )
            )

    def get(self, name: str) -> Job:
        """Raises NotFound."""
        with translated(f"cannot read the job {name}"):
            return _job(self._client.get_custom_job(name=name, timeout=TIMEOUT_S))

    def labelled(self, label: str, value: str | None = None) -> Iterator[Job]:
        """Jobs that carry the label, newest first."""
        condition = f"labels.{label}:*" if value is None else f'labels.{label}="{value}"'
        with translated(f"cannot list the jobs in {self._region}"):
            request = {"parent": self._parent, "filter": condition}
            for job in self._client.list_custom_jobs(request=request, timeout=TIMEOUT_S):
                yield _job(job)

    def cancel(self, name: str) -> None:
        """Ask for the end of a job; it reads CANCELLING, then CANCELLED."""
        with translated(f"cannot cancel the job {name}"):
            self._client.cancel_custom_job(name=name, timeout=TIMEOUT_S)


def _job(message: Any) -> Job:
    return Job(**read(message, message.job_spec))


def read(message: Any, spec: Any) -> dict[str, Any]:
    """The fields of a Job, from a message of any kind of job and the CustomJobSpec that is in it."""
    pools = spec.worker_pool_specs
    machine = pools[0].machine_spec
    return {
        "name": message.name,
        "state": message.state.name.removeprefix("JOB_STATE_").lower(),
        "display_name": message.display_name,
        "labels": dict(message.labels),
        "created": moment(message.create_time),
        "started": moment(message.start_time),
        "ended": moment(message.end_time),
        "error": message.error.message or None,
        "machine": machine.machine_type,
        "accelerator": machine.accelerator_type.name if machine.accelerator_type else None,
        "accelerator_count": machine.accelerator_count,
        "nodes": sum(pool.replica_count for pool in pools),
        "image": pools[0].container_spec.image_uri,
        "error_code": message.error.code,
        "strategy": spec.scheduling.strategy.name,
    }


def moment(value: Any) -> datetime | None:
    """A message's time; None where it is not set."""
    return datetime.fromisoformat(value.isoformat()) if value else None
