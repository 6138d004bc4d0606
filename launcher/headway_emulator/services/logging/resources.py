"""The monitored resources of this emulator, and the labels of what jobs and builds write.

Sources: "Monitored resource types" in Google's documentation, and entries of custom training jobs that users
have published (labels of the machine and of the job).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from headway_emulator.api.rest import Call
from headway_emulator.engine.store import LogEntry

LABEL_OF_KIND: Mapping[str, str] = {"ml_job": "job_id", "build": "build_id"}
"""The resource label that names the owner of a log."""
LABELS: Mapping[str, tuple[str, Sequence[str]]] = {
    "ml_job": ("Cloud ML Job", ("project_id", "job_id", "task_name")),
    "build": ("Cloud Build", ("project_id", "build_id", "build_trigger_id")),
    "global": ("Global", ("project_id",)),
    "generic_node": ("Generic Node", ("project_id", "location", "namespace", "node_id")),
    "generic_task": ("Generic Task", ("project_id", "location", "namespace", "job", "task_id")),
    "gce_instance": ("VM Instance", ("project_id", "instance_id", "zone")),
    "cloud_scheduler_job": ("Cloud Scheduler Job", ("project_id", "job_id", "location")),
    "cloud_run_revision": (
        "Cloud Run Revision",
        ("project_id", "service_name", "revision_name", "location", "configuration_name"),
    ),
    "cloud_run_job": ("Cloud Run Job", ("project_id", "job_name", "location")),
    "aiplatform.googleapis.com/Endpoint": (
        "Vertex AI Endpoint",
        ("resource_container", "location", "endpoint_id"),
    ),
}
"""By type: its display name and the keys of its labels."""


def descriptors(call: Call) -> Any:
    """MonitoredResourceDescriptors, in one page."""
    call.page_size(1000, 1000)
    return {
        "resourceDescriptors": [
            {
                "name": f"monitoredResourceDescriptors/{kind}",
                "type": kind,
                "displayName": name,
                "labels": [{"key": key} for key in keys],
                "launchStage": "GA",
            }
            for kind, (name, keys) in LABELS.items()
        ]
    }


def owner(resource: Mapping[str, Any]) -> str:
    """The job or build that a resource names, by which its entries are found."""
    given = resource.get("labels", {})
    return str(next((given[label] for label in LABEL_OF_KIND.values() if label in given), "")).lower()


def resource_labels(entry: LogEntry, project: str) -> dict[str, str]:
    """A trial's entries have the id of its tuning job, as `gcloud ai hp-tuning-jobs stream-logs` asks."""
    given = {LABEL_OF_KIND[entry.kind]: entry.owner.split("/")[0], "project_id": project}
    return {**given, "task_name": entry.task} if entry.kind == "ml_job" else given


def labels(entry: LogEntry) -> dict[str, str]:
    """Of a replica's line: its host, as in CLUSTER_SPEC, and its place in the job; the service's has none."""
    pool, _, index = entry.task.rpartition("-")
    job, _, rest = entry.owner.partition("/")
    trial, _, run = rest.partition("/")
    if not pool or not job.isdecimal():
        return {}
    host = f"cmle-training-{pool}-{int(run or job) & 0xFFFFFFFF:08x}-{index}"
    return {
        "compute.googleapis.com/resource_name": host,
        "ml.googleapis.com/job_id": job,
        "ml.googleapis.com/job_id/log_area": "root",
        "ml.googleapis.com/trial_id": trial,
        "ml.googleapis.com/trial_type": "",
    }
