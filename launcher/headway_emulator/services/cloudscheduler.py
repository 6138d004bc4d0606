"""Cloud Scheduler: jobs with HTTP targets, validated here and executed by `engine.scheduler`."""

from __future__ import annotations

import re
import secrets
from collections.abc import Collection, Sequence
from typing import Any
from urllib.parse import urlsplit

from headway_emulator import schema
from headway_emulator.api.listing import Listing
from headway_emulator.api.rest import Call, Rule, Service
from headway_emulator.engine.clock import timestamp
from headway_emulator.engine.scheduling import schedule
from headway_emulator.engine.scheduling.retry import DEFAULTS, MOST_RETRIES, seconds
from headway_emulator.engine.scheduling.scheduler import KIND
from headway_emulator.engine.store import Document
from headway_emulator.errors import ApiError, bad_request, invalid, precondition, unimplemented
from headway_emulator.world import World

JOB_NAME = re.compile(
    r"projects/(?P<project>[^/]+)/locations/(?P<location>[^/]+)/jobs/(?P<job>[A-Za-z0-9_-]{1,500})"
)
LISTING = Listing(KIND, "jobs", page_size=500, most=500)
TARGETS = ("pubsubTarget", "appEngineHttpTarget", "httpTarget")
CHANGEABLE = ("description", "schedule", "timeZone", "retryConfig", "attemptDeadline", *TARGETS)
CLOUD_PLATFORM = "https://www.googleapis.com/auth/cloud-platform"
WITH_BODY = ("POST", "PUT", "PATCH")
DESCRIPTION_CHARACTERS = 500
URI_CHARACTERS = 2083
HEADER_BYTES = 80 << 10
DEADLINE = (15.0, 1800.0)
"""Limits from the Job and HttpTarget schemas in cloudscheduler.v1's discovery document."""


def service(world: World) -> Service:
    """Rules with the permissions of https://cloud.google.com/scheduler/docs/access-control."""
    scheduler = CloudScheduler(world)
    jobs = "/v1/projects/{project}/locations/{location}/jobs"
    job = f"{jobs}/{{job}}"
    of = "cloudscheduler.jobs"
    rules = [
        Rule("jobs.create", "POST", jobs, scheduler.create, f"{of}.create"),
        Rule("jobs.list", "GET", jobs, scheduler.list, f"{of}.list"),
        Rule("jobs.pause", "POST", f"{job}:pause", scheduler.pause, f"{of}.pause"),
        Rule("jobs.resume", "POST", f"{job}:resume", scheduler.resume, f"{of}.enable"),
        Rule("jobs.run", "POST", f"{job}:run", scheduler.run, f"{of}.run"),
        Rule("jobs.get", "GET", job, scheduler.get, f"{of}.get"),
        Rule("jobs.patch", "PATCH", job, scheduler.patch, f"{of}.update"),
        Rule("jobs.delete", "DELETE", job, scheduler.delete, f"{of}.delete"),
    ]
    fidelity = (
        "HTTP targets are called when due, with retries, deadlines and time zones: *.googleapis.com is this "
        "emulator, loopback is called as it is, nothing else; no Pub/Sub or App Engine targets"
    )
    return Service("cloudscheduler", fidelity, rules)


class CloudScheduler:
    """The methods of google.cloud.scheduler.v1.CloudScheduler."""

    def __init__(self, world: World) -> None:
        self._world = world

    def create(self, call: Call) -> Any:
        parent = self._parent(call)
        body = schema.parse("cloudscheduler", "v1", "Job", call.body, "job")
        name = self._new_name(parent, body.pop("name", ""))
        job = {**checked(body), "name": name, "state": "ENABLED", "userUpdateTime": self._now()}
        with self._world.store.transaction():
            if self._world.store.get(KIND, name) is not None:
                raise ApiError("ALREADY_EXISTS", f"Job [{name}] already exists.")
            return self._world.scheduler.put(job)

    def list(self, call: Call) -> Any:
        return LISTING.page(self._world.store, f"{self._parent(call)}/jobs/", call)

    def get(self, call: Call) -> Any:
        return self._job(call)

    def patch(self, call: Call) -> Any:
        body = schema.parse("cloudscheduler", "v1", "Job", call.body, "job")
        with self._world.store.transaction():
            job = self._job(call)
            wanted = changed(job, body, call.query.get("updateMask", ""))
            kept = {name: value for name, value in job.items() if name not in CHANGEABLE}
            job = {**kept, **checked(wanted), "userUpdateTime": self._now()}
            return self._world.scheduler.put(job)

    def delete(self, call: Call) -> Any:
        self._world.scheduler.delete(self._job(call)["name"])
        return {}

    def pause(self, call: Call) -> Any:
        schema.parse("cloudscheduler", "v1", "PauseJobRequest", call.body or {}, "")
        return self._turn(call, "ENABLED", "PAUSED")

    def resume(self, call: Call) -> Any:
        schema.parse("cloudscheduler", "v1", "ResumeJobRequest", call.body or {}, "")
        return self._turn(call, "PAUSED", "ENABLED")

    def run(self, call: Call) -> Any:
        """Answers at once, as Google's does: the attempt's outcome is seen in the job."""
        given = call.body if isinstance(call.body, dict) else {}
        # gcloud sends this field, which the discovery document does not have and Google accepts
        body = {name: value for name, value in given.items() if name != "legacyAppEngineCron"}
        schema.parse("cloudscheduler", "v1", "RunJobRequest", body, "")
        job = self._job(call)
        self._world.scheduler.run(job["name"])
        return job

    def _turn(self, call: Call, before: str, after: str) -> Document:
        """PauseJob: "A job must be in ENABLED to be paused"; ResumeJob: "must be in PAUSED to be resumed"."""
        with self._world.store.transaction():
            job = self._job(call)
            if job["state"] != before:
                raise precondition(f"Job must be in {before} state; it is in {job['state']}.")
            return self._world.scheduler.put({**job, "state": after})

    def _job(self, call: Call) -> Document:
        job = self._world.store.get(KIND, f"{self._parent(call)}/jobs/{call.path['job']}")
        if job is None:
            raise ApiError("NOT_FOUND", "Job not found.")
        return job

    def _parent(self, call: Call) -> str:
        """Names have the project's id, also where a request gave its number."""
        self._world.check_project(call.path["project"])
        return f"projects/{self._world.settings.project}/locations/{call.path['location']}"

    def _new_name(self, parent: str, given: str) -> str:
        if not given:
            return f"{parent}/jobs/{secrets.randbits(63)}"
        found = JOB_NAME.fullmatch(given)
        if found is None:
            form = "projects/<PROJECT_ID>/locations/<LOCATION_ID>/jobs/<JOB_ID>"
            raise invalid(f'Job name must be formatted: "{form}".')
        self._world.check_project(found["project"])
        if found["location"] != parent.rsplit("/", 1)[1]:
            raise invalid(f"The job's name {given} does not begin with the parent {parent}.")
        return f"{parent}/jobs/{found['job']}"

    def _now(self) -> str:
        return timestamp(self._world.clock.now_ns())


def changed(job: Document, body: Document, mask: str) -> Document:
    """The job with the fields of the mask taken from the body; without a mask, all that the body has."""
    wanted = {name: value for name, value in job.items() if name in CHANGEABLE}
    paths = mask.split(",") if mask else [name for name in body if name != "name"]
    for path in paths:
        first, *rest = [schema.camel(part) for part in path.strip().split(".")]
        if first not in CHANGEABLE or (rest and rest not in [[name] for name in _fields(first)]):
            raise invalid(f"Invalid mask for Job: {path}")
        _take(wanted, body, [first, *rest])
    named = {schema.camel(path.strip().split(".")[0]) for path in paths}
    given = [name for name in TARGETS if name in body and name in named]
    return {name: value for name, value in wanted.items() if name not in TARGETS or name in (given or [name])}


def _fields(name: str) -> Collection[str]:
    """What a field of a job has in it, where it is a message."""
    schemas = schema.discovery("cloudscheduler", "v1")["schemas"]
    kind = schemas["Job"]["properties"].get(name, {}).get("$ref", "")
    return schemas[kind]["properties"] if kind else ()


def _take(into: Document, source: Document, path: list[str]) -> None:
    *outer, last = path
    for part in outer:
        into[part] = dict(into.get(part, {}))
        into, source = into[part], source.get(part, {})
    if last == "headers" and source.get(last):
        # header by header: gcloud's --update-headers sends only those that it changes
        into[last] = {**into.get(last, {}), **source[last]}
    elif last in source:
        into[last] = source[last]
    else:
        into.pop(last, None)


def checked(body: Document) -> Document:
    """The job's fields with Google's defaults; ApiError for the first thing that Google would refuse."""
    job = {name: value for name, value in body.items() if name in CHANGEABLE}
    if len(job.get("description", "")) > DESCRIPTION_CHARACTERS:
        raise invalid(f"Job.description must not contain more than {DESCRIPTION_CHARACTERS} characters.")
    job["timeZone"] = job.get("timeZone", "") or "Etc/UTC"
    schedule.parse(job.get("schedule", ""), job["timeZone"])
    job["httpTarget"] = _target(job)
    job["retryConfig"] = _retries(job.get("retryConfig", {}))
    job["attemptDeadline"] = _deadline(job.get("attemptDeadline", "180s"))
    return job


def _target(job: Document) -> Document:
    targets = [name for name in TARGETS if name in job]
    _only_one("job", "target", targets)
    if not targets:
        raise invalid("Job.target must be set: one of pubsub_target, app_engine_http_target, http_target.")
    if targets != ["httpTarget"]:
        raise unimplemented(f"cloudscheduler jobs with {targets[0]}")
    target = dict(job["httpTarget"])
    target["uri"] = _uri(target.get("uri", ""))
    method = target.get("httpMethod", "HTTP_METHOD_UNSPECIFIED")
    target["httpMethod"] = "POST" if method == "HTTP_METHOD_UNSPECIFIED" else method
    if target.get("body") and target["httpMethod"] not in WITH_BODY:
        raise invalid(f"HttpTarget.body is not allowed with the HTTP method {target['httpMethod']}.")
    target["headers"] = _headers(target)
    _tokens(target)
    return target


def _uri(uri: str) -> str:
    """With "/" where it has no path, as Google shows it."""
    try:
        parts = urlsplit(uri)
        good = uri.startswith(("http://", "https://")) and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise invalid(f'HttpTarget.uri "{uri}" must be a full URL that begins with "http://" or "https://".')
    if len(uri) > URI_CHARACTERS:
        raise invalid(f"HttpTarget.uri is longer than {URI_CHARACTERS} characters.")
    return uri if parts.path else parts._replace(path="/").geturl()


def _headers(target: Document) -> Document:
    headers = {
        name: value for name, value in target.get("headers", {}).items() if name.lower() != "user-agent"
    }
    if any(mark in name + value for name, value in headers.items() for mark in "\r\n\0"):
        raise invalid("HttpTarget.headers must not contain line breaks.")
    if sum(len(name) + len(value) for name, value in headers.items()) >= HEADER_BYTES:
        raise invalid("HttpTarget.headers: the total size of headers must be less than 80KB.")
    if target.get("body") and not any(name.lower() == "content-type" for name in headers):
        headers["Content-Type"] = "application/octet-stream"
    return {**headers, "User-Agent": "Google-Cloud-Scheduler"}


def _tokens(target: Document) -> None:
    given = [name for name in ("oauthToken", "oidcToken") if name in target]
    _only_one("job.http_target", "authorization_header", given)
    for name in given:
        token = target[name] = dict(target[name])
        if "@" not in token.get("serviceAccountEmail", ""):
            place = schema.snake(name)
            raise invalid(f"HttpTarget.{place}.service_account_email must be a service account's email.")
        field, default = ("scope", CLOUD_PLATFORM) if name == "oauthToken" else ("audience", target["uri"])
        token[field] = token.get(field, "") or default


def _only_one(place: str, oneof: str, given: Sequence[str]) -> None:
    if len(given) > 1:
        where = f"{place}.{schema.snake(given[1])}"
        text = f"oneof field '{oneof}' is already set. Cannot set '{given[1]}'"
        raise bad_request([(where, f"Invalid value at '{where}' (oneof), {text}")])


def _retries(given: Document) -> Document:
    config = {**DEFAULTS, **given}
    if not 0 <= config.get("retryCount", 0) <= MOST_RETRIES:
        raise invalid(f"RetryConfig.retry_count must be between 0 and {MOST_RETRIES}.")
    for name in ("maxRetryDuration", "minBackoffDuration", "maxBackoffDuration"):
        if seconds(config[name]) < 0:
            raise invalid(f"RetryConfig.{schema.snake(name)} must not be negative.")
    if config["maxDoublings"] < 0:
        raise invalid("RetryConfig.max_doublings must not be negative.")
    if not config.get("retryCount"):
        config.pop("retryCount", None)
    return config


def _deadline(given: str) -> str:
    shortest, longest = DEADLINE
    if not shortest <= seconds(given) <= longest:
        raise invalid("Job.attempt_deadline must be in the interval [15s, 1800s] for HTTP targets.")
    return given
