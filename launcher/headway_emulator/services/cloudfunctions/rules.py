"""What Cloud Functions refuses in a function, what it fills in, and what an update changes.

Sources: cloudfunctions.v2's discovery document and client, and Google's pages on functions' configuration.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from headway_emulator import schema
from headway_emulator.engine.store import Document
from headway_emulator.errors import ApiError, bad_request, invalid, unimplemented
from headway_emulator.settings import Settings
from headway_emulator.world import World

FUNCTION_ID = re.compile(r"[a-z](?:[a-z0-9-]{2,61}[a-z0-9])")
"""CreateFunctionRequest.function_id: 4 to 63 characters."""
NAME = re.compile(r"projects/(?P<project>[^/]+)/locations/(?P<location>[^/]+)/functions/(?P<function>[^/]+)")
RUNTIMES = tuple(f"python3{minor}" for minor in (9, 10, 11, 12, 13, 14))
OTHER_RUNTIME = re.compile(r"(?:python|nodejs|go|java|ruby|php|dotnet)\d+")
ENTRY_POINT = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
RESERVED = (
    "FUNCTION_TARGET",
    "FUNCTION_SIGNATURE_TYPE",
    "K_SERVICE",
    "K_REVISION",
    "K_CONFIGURATION",
    "PORT",
)
ENV_BYTES = 32 << 10
LABEL_KEY = re.compile(r"[a-z][a-z0-9_-]{0,62}")
LABEL_VALUE = re.compile(r"[a-z0-9_-]{0,63}")
LABELS = 64
MEMORY = re.compile(r"\d+(?:k|M|G|Ki|Mi|Gi)?")
CPU = re.compile(r"\d+(?:\.\d+)?|\d+m")
TIMEOUT = (1, 3600)
CONCURRENCY = (1, 1000)
DEFAULTS: Document = {
    "timeoutSeconds": 60,
    "availableMemory": "256M",
    "availableCpu": "0.1666",
    "maxInstanceCount": 100,
    "maxInstanceRequestConcurrency": 1,
    "ingressSettings": "ALLOW_ALL",
    "allTrafficOnLatestRevision": True,
}
"""Of ServiceConfig, as the schema and the page on quotas have them."""
NOT_HERE: Mapping[str, tuple[str, ...]] = {
    "": ("eventTrigger", "kmsKeyName"),
    "serviceConfig": (
        "vpcConnector",
        "directVpcNetworkInterface",
        "directVpcEgress",
        "secretVolumes",
        "binaryAuthorizationPolicy",
    ),
    "buildConfig": (
        "workerPool",
        "sourceToken",
        "dockerRepository",
        "environmentVariables",
        "onDeployUpdatePolicy",
    ),
}
"""Fields whose meaning this emulator does not have: a request with one is answered 501."""
CHANGEABLE = (
    "buildConfig",
    "description",
    "environment",
    "labels",
    "serviceConfig",
    "eventTrigger",
    "kmsKeyName",
)


def new_name(world: World, parent: str, function_id: str, given: str) -> str:
    """The name from functionId; one in the body must be the same."""
    if not function_id:
        raise invalid("function_id must be specified.")
    if not FUNCTION_ID.fullmatch(function_id):
        raise invalid(
            f"Invalid function_id {function_id!r}: it must have 4 to 63 characters of a-z, 0-9 and -, "
            "begin with a letter and end with a letter or digit."
        )
    name = f"{parent}/functions/{function_id}"
    if given:
        found = NAME.fullmatch(given)
        if found is None:
            raise invalid(
                f"Invalid resource name {given!r}: it must match projects/*/locations/*/functions/*."
            )
        world.check_project(found["project"])
        if f"{found['location']}/{found['function']}" != f"{parent.rsplit('/', 1)[1]}/{function_id}":
            raise invalid(f"The function's name {given} is not that of the request, {name}.")
    return name


def changed(function: Document, body: Document, mask: str) -> Document:
    """The function with the fields of the mask taken from the body; without a mask, all that the body has."""
    wanted = {name: value for name, value in function.items() if name in ("name", *CHANGEABLE)}
    everything = mask.strip() in ("", "*")
    paths = [name for name in body if name in CHANGEABLE] if everything else mask.split(",")
    for path in paths:
        parts = [schema.camel(part) for part in path.strip().split(".")]
        _check_path(path.strip(), parts)
        _take(wanted, body, parts)
    return wanted


def _check_path(path: str, parts: list[str]) -> None:
    """INVALID_ARGUMENT for what a Function does not have; a map's keys are anyone's."""
    schemas = schema.discovery("cloudfunctions", "v2")["schemas"]
    here = schemas["Function"]
    if parts[0] not in CHANGEABLE:
        raise invalid(f"Invalid update mask: {path} is not a field that can be changed.")
    for depth, part in enumerate(parts, 1):
        kind = here.get("properties", {}).get(part)
        below = len(parts) - depth
        if kind is None or ("$ref" not in kind and below > (1 if "additionalProperties" in kind else 0)):
            raise invalid(f"Invalid update mask: {path} is not a field of Function.")
        if "$ref" not in kind:
            return
        here = schemas[kind["$ref"]]


def _take(into: Document, source: Document, path: list[str]) -> None:
    *outer, last = path
    for part in outer:
        into[part] = dict(into.get(part, {}))
        into, source = into[part], source.get(part, {})
    if last in source:
        into[last] = source[last]
    else:
        into.pop(last, None)


def checked(settings: Settings, body: Document) -> Document:
    """The function with Google's defaults; ApiError for the first thing that Google would refuse."""
    if body.get("environment", "GEN_2") == "GEN_1":
        raise unimplemented("cloudfunctions functions of the 1st generation (environment GEN_1)")
    _refuse_what_is_not_here(body)
    function = {name: value for name, value in body.items() if name in ("name", *CHANGEABLE)}
    short = function["name"].rsplit("/", 1)[1]
    _check_labels(function.get("labels", {}))
    return {
        **function,
        "environment": "GEN_2",
        "buildConfig": _build(function.get("buildConfig", {}), short),
        "serviceConfig": _service(settings, function.get("serviceConfig", {})),
    }


def _refuse_what_is_not_here(body: Document) -> None:
    for place, fields in NOT_HERE.items():
        holder = body.get(place, {}) if place else body
        for field in fields:
            if holder.get(field):
                raise unimplemented(f"cloudfunctions functions with {f'{place}.' if place else ''}{field}")


def _build(given: Document, short: str) -> Document:
    build = {name: value for name, value in given.items() if name not in ("build", "sourceProvenance")}
    runtime = build.get("runtime", "")
    if not runtime:
        raise _violation("function.build_config.runtime", "Runtime is required when deploying a function.")
    if runtime not in RUNTIMES:
        if OTHER_RUNTIME.fullmatch(runtime):
            raise unimplemented(
                f"the runtime {runtime}: functions are Python, {RUNTIMES[0]} to {RUNTIMES[-1]}"
            )
        raise _violation("function.build_config.runtime", f"Unknown runtime {runtime!r}.")
    build["entryPoint"] = build.get("entryPoint", "") or short
    if not ENTRY_POINT.fullmatch(build["entryPoint"]):
        raise _violation(
            "function.build_config.entry_point",
            f"Invalid entry point {build['entryPoint']!r}: it must be the name of a function in main.py.",
        )
    source = build.get("source", {})
    for other in ("repoSource", "gitUri"):
        if source.get(other):
            raise unimplemented(f"cloudfunctions functions with buildConfig.source.{other}")
    storage = source.get("storageSource", {})
    for field in ("bucket", "object"):
        if not storage.get(field):
            place = f"function.build_config.source.storage_source.{field}"
            raise _violation(place, f"The source's {field} is required.")
    return {**build, "dockerRegistry": "ARTIFACT_REGISTRY"}


def _service(settings: Settings, given: Document) -> Document:
    service = {**DEFAULTS, **{name: value for name, value in given.items() if value not in (0, "")}}
    for output in ("revision", "service", "uri"):
        service.pop(output, None)
    account = service.setdefault(
        "serviceAccountEmail", f"{settings.project_number}-compute@developer.gserviceaccount.com"
    )
    place = "function.service_config"
    if "@" not in account:
        raise _violation(f"{place}.service_account_email", f"Invalid service account email {account!r}.")
    _within(f"{place}.timeout_seconds", service["timeoutSeconds"], *TIMEOUT)
    _within(
        f"{place}.max_instance_request_concurrency", service["maxInstanceRequestConcurrency"], *CONCURRENCY
    )
    least, most = service.get("minInstanceCount", 0), service["maxInstanceCount"]
    if least < 0 or most < least:
        text = f"minInstanceCount {least} must be at least 0, and at most maxInstanceCount {most}."
        raise _violation(f"{place}.min_instance_count", text)
    if not MEMORY.fullmatch(service["availableMemory"]):
        raise _violation(f"{place}.available_memory", f"Invalid quantity {service['availableMemory']!r}.")
    if not CPU.fullmatch(service["availableCpu"]):
        raise _violation(f"{place}.available_cpu", f"Invalid quantity {service['availableCpu']!r}.")
    secrets = service.get("secretEnvironmentVariables", [])
    plain = service.get("environmentVariables", {})
    _check_variables(plain, [secret.get("key", "") for secret in secrets])
    for number, secret in enumerate(secrets):
        if not secret.get("secret"):
            at = f"{place}.secret_environment_variables[{number}].secret"
            raise _violation(at, "The secret's name is required.")
    return {**service, "environmentVariables": {"LOG_EXECUTION_ID": "true", **plain}}


def _check_variables(plain: Mapping[str, str], secret: list[str]) -> None:
    place = "function.service_config.environment_variables"
    for name in (*plain, *secret):
        if not VARIABLE.fullmatch(name) or name.startswith("X_GOOGLE_"):
            raise _violation(place, f"Invalid environment variable name {name!r}.")
    if reserved := sorted({name for name in (*plain, *secret) if name in RESERVED}):
        # the words of Cloud Run for a container's variables
        text = f"The following reserved env names were provided: {', '.join(reserved)}."
        raise _violation(place, f"{text} These values are automatically set by the system.")
    if both := sorted(plain.keys() & set(secret)):
        raise _violation(place, f"{both[0]} is an environment variable and a secret one.")
    if sum(len(f"{name}{value}".encode()) for name, value in plain.items()) > ENV_BYTES:
        raise _violation(place, "The environment variables are larger than 32 KB.")


def _check_labels(labels: Mapping[str, str]) -> None:
    if len(labels) > LABELS:
        raise _violation("function.labels", f"At most {LABELS} labels are allowed.")
    for key, value in labels.items():
        if not LABEL_KEY.fullmatch(key) or not LABEL_VALUE.fullmatch(value):
            raise _violation("function.labels", f"Invalid label {key!r}: {value!r}.")


def _within(place: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise _violation(place, f"Value {value} must be between {least} and {most}.")


def _violation(place: str, text: str) -> ApiError:
    return bad_request([(place, text)])
