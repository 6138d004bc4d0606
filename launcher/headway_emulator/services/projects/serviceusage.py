"""Service Usage: which APIs are enabled, and quota; the APIs that this emulator has are, from the start."""

from __future__ import annotations

import math
import re
from typing import Any
from urllib.parse import quote

from headway_emulator import hosts, schema
from headway_emulator.api.rest import Call, Rule, Service
from headway_emulator.engine.jobs import quotas
from headway_emulator.engine.store import Document
from headway_emulator.errors import ApiError, invalid, not_found
from headway_emulator.world import World

KIND = "enabledService"
"""A service whose state was set: a document with its `name`, and `disabled` where it was turned off."""
METRICS = frozenset(f"{quotas.SERVICE}/{name}" for name in quotas.names())
REGIONS = (
    *("us-central1", "us-east1", "us-east4", "us-east5", "us-south1", "us-west1", "us-west2", "us-west4"),
    *("europe-west1", "europe-west2", "europe-west3", "europe-west4", "asia-east1", "asia-northeast1"),
    *("asia-northeast3", "asia-south1", "asia-southeast1", "australia-southeast1", "me-west1"),
)
"""Regions whose quota is told by name; any other has the default."""
UNLIMITED = "-1"
NAME = re.compile(r"[a-z][a-z0-9-]*\.googleapis\.com")
FILTER = re.compile(r"state:(ENABLED|DISABLED)|")
MOST_AT_ONCE = 20
MOST_READ = 30
DONE = "noop.DONE_OPERATION"
"""The name of an operation that had nothing to wait for."""
PACKAGE = "type.googleapis.com/google.api.serviceusage.v1"


def service(world: World) -> Service:
    """Rules with the permissions of https://cloud.google.com/service-usage/docs/access-control."""
    usage = ServiceUsage(world)
    services = "/v1/projects/{project}/services"
    of = "serviceusage.services"
    rules = [
        Rule("services.batchGet", "GET", f"{services}:batchGet", usage.batch_get, f"{of}.get"),
        Rule("services.batchEnable", "POST", f"{services}:batchEnable", usage.batch_enable, f"{of}.enable"),
        Rule("services.list", "GET", services, usage.list, f"{of}.list"),
        Rule("services.enable", "POST", f"{services}/{{service}}:enable", usage.enable, f"{of}.enable"),
        Rule("services.disable", "POST", f"{services}/{{service}}:disable", usage.disable, f"{of}.disable"),
        Rule("services.get", "GET", f"{services}/{{service}}", usage.get, f"{of}.get"),
        Rule(
            "services.consumerQuotaMetrics.get",
            "GET",
            "/v1beta1/projects/{project}/services/{service}/consumerQuotaMetrics/{metric:path}",
            usage.quota,
            "serviceusage.quotas.get",
        ),
        Rule("operations.get", "GET", "/v1/operations/{operation}", usage.operation),
    ]
    fidelity = (
        "the emulated APIs are enabled; any can be enabled and disabled by name, which changes nothing else; "
        "quota of GPUs is told as it is set, and not changed here"
    )
    return Service("serviceusage", fidelity, rules)


class ServiceUsage:
    """The methods of google.api.serviceusage.v1.ServiceUsage."""

    def __init__(self, world: World) -> None:
        self._world = world

    def list(self, call: Call) -> Any:
        parent = self._parent(call)
        wanted = FILTER.fullmatch(call.query.get("filter", ""))
        if wanted is None:
            raise invalid("Invalid filter. The allowed filters are state:ENABLED and state:DISABLED.")
        names = sorted(self._disabled() if wanted[1] == "DISABLED" else self._enabled())
        size, token = call.page_size(50, most=200), call.query.get("pageToken", "")
        if token and token not in names:
            raise invalid("The provided page token is invalid.")
        start = names.index(token) if token else 0
        shown = [self._service(parent, name) for name in names[start : start + size]]
        page: Document = {"services": shown} if shown else {}
        if start + size < len(names):
            page["nextPageToken"] = names[start + size]
        return page

    def get(self, call: Call) -> Any:
        return self._service(self._parent(call), _checked(call.path["service"]))

    def batch_get(self, call: Call) -> Any:
        parent = self._parent(call)
        names = call.every.get("names", ())
        if not 0 < len(names) <= MOST_READ:
            raise invalid(f"A single request can get between 1 and {MOST_READ} services.")
        return {"services": [self._service(parent, _checked(name.rsplit("/", 1)[-1])) for name in names]}

    def enable(self, call: Call) -> Any:
        schema.parse("serviceusage", "v1", "EnableServiceRequest", call.body or {}, "")
        parent, name = self._parent(call), _checked(call.path["service"])
        self._world.store.put(KIND, name, {"name": name})
        response = {"@type": f"{PACKAGE}.EnableServiceResponse", "service": self._service(parent, name)}
        return {"name": f"operations/{DONE}", "done": True, "response": response}

    def disable(self, call: Call) -> Any:
        schema.parse("serviceusage", "v1", "DisableServiceRequest", call.body or {}, "")
        parent, name = self._parent(call), _checked(call.path["service"])
        self._world.store.put(KIND, name, {"name": name, "disabled": True})
        response = {"@type": f"{PACKAGE}.DisableServiceResponse", "service": self._service(parent, name)}
        return {"name": f"operations/{DONE}", "done": True, "response": response}

    def quota(self, call: Call) -> Any:
        """Of v1beta1: the limit of a GPU metric of Vertex AI's, by region."""
        parent, metric = self._parent(call), call.path["metric"]
        name = f"{parent}/services/{call.path['service']}/consumerQuotaMetrics/{quote(metric, safe='')}"
        if metric not in METRICS or call.path["service"] != quotas.SERVICE:
            raise not_found(name)
        anywhere: Document = {"effectiveLimit": self._limit("*", metric)}
        buckets = [anywhere] + [
            {"effectiveLimit": self._limit(region, metric), "dimensions": {"region": region}}
            for region in REGIONS
        ]
        limit = {
            "name": f"{name}/limits/%2Fproject%2Fregion",
            "unit": "1/{project}/{region}",
            "metric": metric,
            "quotaBuckets": [{**bucket, "defaultLimit": bucket["effectiveLimit"]} for bucket in buckets],
        }
        return {"name": name, "metric": metric, "unit": "1", "consumerQuotaLimits": [limit]}

    def _limit(self, region: str, metric: str) -> str:
        limit = quotas.limit_of(self._world.settings.quotas, region, metric)
        return UNLIMITED if math.isinf(limit) else str(int(limit))

    def batch_enable(self, call: Call) -> Any:
        body = schema.parse("serviceusage", "v1", "BatchEnableServicesRequest", call.body or {}, "")
        parent, names = self._parent(call), [_checked(name) for name in body.get("serviceIds", [])]
        if not 0 < len(names) <= MOST_AT_ONCE:
            raise invalid(f"A single request can enable between 1 and {MOST_AT_ONCE} services.")
        with self._world.store.transaction():
            for name in names:
                self._world.store.put(KIND, name, {"name": name})
        services = [self._service(parent, name) for name in names]
        response = {"@type": f"{PACKAGE}.BatchEnableServicesResponse", "services": services}
        return {"name": f"operations/{DONE}", "done": True, "response": response}

    def operation(self, call: Call) -> Any:
        if call.path["operation"] != DONE:
            raise not_found(f"operations/{call.path['operation']}")
        response = {"@type": "type.googleapis.com/google.protobuf.Empty"}
        return {"name": f"operations/{DONE}", "done": True, "response": response}

    def _parent(self, call: Call) -> str:
        """Names have the project's number, as Google's have."""
        self._world.check_project(call.path["project"])
        return f"projects/{self._world.settings.project_number}"

    def _enabled(self) -> set[str]:
        own = {f"{name}.{hosts.DOMAIN}" for name in (*hosts.SERVICES, "storage")}
        return (own | {kept["name"] for kept in self._world.store.list(KIND)}) - self._disabled()

    def _disabled(self) -> set[str]:
        """Those that were turned off; of the others that Google has, none is known."""
        return {kept["name"] for kept in self._world.store.list(KIND) if kept.get("disabled")}

    def _service(self, parent: str, name: str) -> Document:
        return {
            "name": f"{parent}/services/{name}",
            "config": {"name": name, "title": f"{name.split('.')[0]} API"},
            "state": "ENABLED" if name in self._enabled() else "DISABLED",
            "parent": parent,
        }


def _checked(name: str) -> str:
    """Google answers so for a service that it does not have."""
    if not NAME.fullmatch(name):
        text = f"Not found or permission denied for service(s): {name}."
        raise ApiError("PERMISSION_DENIED", text)
    return name
