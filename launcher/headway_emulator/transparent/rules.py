"""Methods' HTTP rules where Google's Python clients carry none, and where this emulator answers elsewhere.

Each is the method's `google.api.http` annotation in Google's published definitions (the same paths are in the
discovery documents): verb, path template, and the field that is the body ("*" for all that is left).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Rule = tuple[str, str, str]
OWNERS = ("projects", "organizations", "folders")
LOG_OWNERS = (*OWNERS, "billingAccounts")


def _each(verb: str, field: str, rest: str, tail: str, owners: Sequence[str], body: str = "") -> list[Rule]:
    """One rule for each kind of owner of a resource."""
    return [(verb, f"/{rest.format(f'{{{field}={owner}/{tail}}}')}", body) for owner in owners]


METRICS = "google.monitoring.v3.MetricService"
LOGS = "google.logging.v2.LoggingServiceV2"
RULES: Mapping[str, Sequence[Rule]] = {
    f"{METRICS}/ListMonitoredResourceDescriptors": _each(
        "get", "name", "v3/{}/monitoredResourceDescriptors", "*", OWNERS
    ),
    f"{METRICS}/GetMonitoredResourceDescriptor": _each(
        "get", "name", "v3/{}", "*/monitoredResourceDescriptors/*", OWNERS
    ),
    f"{METRICS}/ListMetricDescriptors": _each("get", "name", "v3/{}/metricDescriptors", "*", OWNERS),
    f"{METRICS}/GetMetricDescriptor": _each("get", "name", "v3/{}", "*/metricDescriptors/**", OWNERS),
    f"{METRICS}/CreateMetricDescriptor": _each(
        "post", "name", "v3/{}/metricDescriptors", "*", OWNERS, "metric_descriptor"
    ),
    f"{METRICS}/DeleteMetricDescriptor": _each("delete", "name", "v3/{}", "*/metricDescriptors/**", OWNERS),
    f"{METRICS}/ListTimeSeries": _each("get", "name", "v3/{}/timeSeries", "*", OWNERS),
    f"{METRICS}/CreateTimeSeries": [("post", "/v3/{name=projects/*}/timeSeries", "*")],
    f"{METRICS}/CreateServiceTimeSeries": [("post", "/v3/{name=projects/*}/timeSeries:createService", "*")],
    f"{LOGS}/DeleteLog": _each("delete", "log_name", "v2/{}", "*/logs/*", LOG_OWNERS),
    f"{LOGS}/WriteLogEntries": [("post", "/v2/entries:write", "*")],
    f"{LOGS}/ListLogEntries": [("post", "/v2/entries:list", "*")],
    f"{LOGS}/TailLogEntries": [("post", "/v2/entries:tail", "*")],
    f"{LOGS}/ListMonitoredResourceDescriptors": [("get", "/v2/monitoredResourceDescriptors", "")],
    f"{LOGS}/ListLogs": _each("get", "parent", "v2/{}/logs", "*", LOG_OWNERS),
    # Google answers at /v2/{name}; the storage front has the JSON API's path for the same document.
    "google.storage.control.v2.StorageControl/GetStorageLayout": [
        ("get", "/storage/v1/b/{name=projects/_/buckets/*/storageLayout}", "")
    ],
    # Mixins: methods that every service has under the same name, on its own host.
    "google.longrunning.Operations/GetOperation": [("get", "/v1/{name=**}", "")],
    "google.longrunning.Operations/ListOperations": [("get", "/v1/{name=**}/operations", "")],
    "google.longrunning.Operations/DeleteOperation": [("delete", "/v1/{name=**}", "")],
    "google.longrunning.Operations/CancelOperation": [("post", "/v1/{name=**}:cancel", "*")],
    "google.longrunning.Operations/WaitOperation": [("post", "/v1/{name=**}:wait", "*")],
    "google.cloud.location.Locations/GetLocation": [("get", "/v1/{name=**}", "")],
    "google.cloud.location.Locations/ListLocations": [("get", "/v1/{name=**}/locations", "")],
    "google.iam.v1.IAMPolicy/GetIamPolicy": [("post", "/v1/{resource=**}:getIamPolicy", "*")],
    "google.iam.v1.IAMPolicy/SetIamPolicy": [("post", "/v1/{resource=**}:setIamPolicy", "*")],
    "google.iam.v1.IAMPolicy/TestIamPermissions": [("post", "/v1/{resource=**}:testIamPermissions", "*")],
}
POLICIES = "google.iam.v1.IAMPolicy"
MIXINS: Mapping[str, str] = {
    "google.longrunning.Operations": "google.longrunning.operations_pb2",
    "google.cloud.location.Locations": "google.cloud.location.locations_pb2",
    POLICIES: "google.iam.v1.iam_policy_pb2",
}
"""The modules whose descriptors have these services, with their messages."""
PATHS: Mapping[str, str] = {"/b/projects/_/buckets/": "/b/"}
"""What in a path is spelled otherwise by the emulator."""
