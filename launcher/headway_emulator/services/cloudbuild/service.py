"""Cloud Build: builds, and the operations by which clients wait for them."""

from __future__ import annotations

from typing import Any

from headway_emulator import schema
from headway_emulator.api.listing import Listing
from headway_emulator.api.rest import Call, Rule, Service
from headway_emulator.engine.builds.site import KIND
from headway_emulator.errors import invalid
from headway_emulator.services.cloudbuild import triggers as cloudbuild_triggers
from headway_emulator.services.cloudbuild.filters import read
from headway_emulator.services.cloudbuild.operations import build_of, located, operation
from headway_emulator.world import World

BUILDS = Listing(KIND, "builds", page_size=50, reads=read)
DECISIONS = ("APPROVED", "REJECTED")
PARENTS = ("/v1/projects/{project}", "/v1/projects/{project}/locations/{location}")
OPERATIONS = (
    "/v1/operations/build/{project}/{token}",
    "/v1/projects/{project}/locations/{location}/operations/{token}",
)


def service(world: World) -> Service:
    """Three forms of URL lead to the same builds: global, regional, and global with ?parent= or ?name=.

    Permissions are those of Google's page "IAM roles and permissions" of Cloud Build.
    """
    cloudbuild = CloudBuild(world)
    rules = []
    for parent in PARENTS:
        builds, build = f"{parent}/builds", f"{parent}/builds/{{build}}"
        rules += [
            Rule("builds.create", "POST", builds, cloudbuild.create, "cloudbuild.builds.create"),
            Rule("builds.list", "GET", builds, cloudbuild.list, "cloudbuild.builds.list"),
            Rule("builds.cancel", "POST", f"{build}:cancel", cloudbuild.cancel, "cloudbuild.builds.update"),
            Rule("builds.retry", "POST", f"{build}:retry", cloudbuild.retry, "cloudbuild.builds.create"),
            Rule(
                "builds.approve", "POST", f"{build}:approve", cloudbuild.approve, "cloudbuild.builds.approve"
            ),
            Rule("builds.get", "GET", build, cloudbuild.get, "cloudbuild.builds.get"),
            *cloudbuild_triggers.rules(world, parent),
        ]
    for name in OPERATIONS:
        cancel = f"{name}:cancel"
        rules += [
            Rule(
                "operations.cancel", "POST", cancel, cloudbuild.cancel_operation, "cloudbuild.builds.update"
            ),
            Rule("operations.get", "GET", name, cloudbuild.operation, "cloudbuild.builds.get"),
        ]
    fidelity = (
        "builds run for real: parallel steps, volumes, secrets, artifacts, queue, timeouts; images stay on "
        "the engine; triggers run by hand; no Git sources, private pools, KMS secrets or package artifacts"
    )
    return Service("cloudbuild", fidelity, rules)


class CloudBuild:
    """The methods of the CloudBuild service on builds."""

    def __init__(self, world: World) -> None:
        self._world = world

    def create(self, call: Call) -> Any:
        location = located(self._world, call)
        body = schema.parse("cloudbuild", "v1", "Build", call.body or {}, "build")
        return self._operation(self._world.builds.create(location, body))

    def get(self, call: Call) -> Any:
        return self._world.builds.get(located(self._world, call), call.path["build"])

    def list(self, call: Call) -> Any:
        """Newest first."""
        return BUILDS.page(self._world.store, f"{located(self._world, call)}/", call)

    def cancel(self, call: Call) -> Any:
        location = located(self._world, call)
        schema.parse("cloudbuild", "v1", "CancelBuildRequest", call.body or {}, "")
        return self._world.builds.cancel(location, call.path["build"])

    def retry(self, call: Call) -> Any:
        location = located(self._world, call)
        schema.parse("cloudbuild", "v1", "RetryBuildRequest", call.body or {}, "")
        return self._operation(self._world.builds.retry(location, call.path["build"]))

    def approve(self, call: Call) -> Any:
        location = located(self._world, call)
        request = schema.parse("cloudbuild", "v1", "ApproveBuildRequest", call.body or {}, "")
        result = request.get("approvalResult", {})
        if result.get("decision") not in DECISIONS:
            raise invalid("approval_result.decision is required: APPROVED or REJECTED")
        return self._operation(self._world.builds.approve(location, call.path["build"], result))

    def operation(self, call: Call) -> Any:
        self._world.check_project(call.path["project"])
        return self._operation(self._world.builds.anywhere(build_of(call)))

    def cancel_operation(self, call: Call) -> Any:
        self._world.check_project(call.path["project"])
        build = self._world.builds.anywhere(build_of(call))
        self._world.builds.cancel(build["name"].split("/")[3], build["id"])
        return {}

    def _operation(self, build: Any) -> Any:
        return operation(self._world.settings.project, build)
