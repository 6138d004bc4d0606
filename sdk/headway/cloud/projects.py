"""The project itself: Resource Manager, Service Usage and IAM, asked and never changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from headway.cloud.session import Session

INVOKE = "roles/run.invoker"
"""Who has it may call a project's functions (of the second generation, which are services of Cloud Run)."""
ACT_AS = "iam.serviceAccounts.actAs"
UNLIMITED = -1
"""QuotaBucket.effective_limit of a metric that has no limit."""
_MOST_AT_ONCE = 30
"""BatchGetServicesRequest.names: at most 30."""
_REGION_UNIT = "1/{project}/{region}"


@dataclass(frozen=True)
class Project:
    """A project as Resource Manager tells it; `state` is its enum's name, ACTIVE where all is well."""

    project_id: str
    number: str
    state: str


def project(session: Session) -> Project:
    """The session's project. Raises Refused where there is none, or it may not be seen."""
    url = f"{session.endpoint('cloudresourcemanager')}/v3/projects/{session.project}"
    found = session.call("GET", url, f"cannot read the project {session.project}")
    return Project(found["projectId"], found["name"].rpartition("/")[2], found["state"])


def disabled_apis(session: Session, names: Sequence[str]) -> list[str]:
    """Which of the APIs (`aiplatform.googleapis.com`) are not enabled in the project."""
    parent = f"projects/{session.project}"
    url = f"{session.endpoint('serviceusage')}/v1/{parent}/services:batchGet"
    asked = [f"{parent}/services/{name}" for name in names[:_MOST_AT_ONCE]]
    what = f"cannot read which APIs {session.project} has enabled"
    reply = session.call("GET", url, what, params={"names": asked})
    enabled = {
        service["config"]["name"] for service in reply.get("services", []) if service["state"] == "ENABLED"
    }
    return [name for name in names if name not in enabled]


def quota(session: Session, metric: str, region: str) -> int | None:
    """The limit of a metric of Vertex AI's in a region, UNLIMITED, or None where Google tells no limit.

    Raises NotFound where the project has no such metric. `consumerQuotaMetrics` is of Service Usage v1beta1.
    """
    service = "aiplatform.googleapis.com"
    name = f"projects/{session.project}/services/{service}/consumerQuotaMetrics"
    url = f"{session.endpoint('serviceusage')}/v1beta1/{name}/{quote(f'{service}/{metric}', safe='')}"
    found = session.call("GET", url, f"cannot read the quota {metric}", params={"view": "FULL"})
    limits = [
        bucket
        for limit in found.get("consumerQuotaLimits", [])
        if limit.get("unit") == _REGION_UNIT
        for bucket in _buckets(limit, region)
    ]
    return int(limits[-1].get("effectiveLimit", 0)) if limits else None


def _buckets(limit: dict[str, Any], region: str) -> Iterator[dict[str, Any]]:
    """Those that count in the region, the most specific last, as Service Usage orders them."""
    for bucket in limit.get("quotaBuckets", []):
        if all(value == region for value in bucket.get("dimensions", {}).values()):
            yield bucket


def may_act_as(session: Session, email: str) -> bool:
    """Whether who is logged in may start something that runs as the service account. Raises NotFound."""
    domain = email.rpartition("@")[2]
    # the wildcard "-" for the project would answer 403 where there is no such account
    owner = domain.removesuffix(".iam.gserviceaccount.com") if "iam" in domain else session.project
    account = f"projects/{owner}/serviceAccounts/{email}"
    url = f"{session.endpoint('iam')}/v1/{account}:testIamPermissions"
    what = f"cannot look at the service account {email}"
    reply = session.call("POST", url, what, json={"permissions": [ACT_AS]})
    return ACT_AS in reply.get("permissions", [])


def roles_of(session: Session, email: str) -> frozenset[str]:
    """The roles that a service account has in the project itself: not by a folder, a group or a resource.

    Raises Refused where who is logged in may not read the project's policy.
    """
    url = f"{session.endpoint('cloudresourcemanager')}/v3/projects/{session.project}:getIamPolicy"
    asked = {"options": {"requestedPolicyVersion": 3}}  # with conditions: what is granted so is granted
    reply = session.call("POST", url, f"cannot read the policy of {session.project}", json=asked)
    member = f"serviceAccount:{email}"
    return frozenset(
        binding["role"] for binding in reply.get("bindings", []) if member in binding.get("members", [])
    )
