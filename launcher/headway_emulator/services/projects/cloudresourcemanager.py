"""Resource Manager: the one project, by id and by number, in both versions of the API."""

from __future__ import annotations

from typing import Any

from headway_emulator import filters
from headway_emulator.api.rest import Call, Rule, Service
from headway_emulator.engine.store import Document
from headway_emulator.errors import ApiError, invalid
from headway_emulator.services.projects import policies
from headway_emulator.world import World

CREATED = "2024-01-01T00:00:00.000Z"
ETAG = 'W/"2c7ee5e1a9b3f1d0"'


def service(world: World) -> Service:
    """Rules with the permissions of https://cloud.google.com/resource-manager/docs/access-control-proj."""
    manager = ResourceManager(world)
    of = "resourcemanager.projects"
    rules = [
        Rule("projects.search", "GET", "/v3/projects:search", manager.search, f"{of}.get"),
        Rule("projects.list", "GET", "/v3/projects", manager.children, f"{of}.list"),
        Rule("projects.list", "GET", "/v1/projects", manager.list_all, f"{of}.get"),
    ]
    for version, get in (("v1", manager.get_v1), ("v3", manager.get_v3)):
        at = f"/{version}/projects/{{project}}"
        rules += [
            Rule("projects.getIamPolicy", "POST", f"{at}:getIamPolicy", manager.policy, f"{of}.getIamPolicy"),
            Rule("projects.setIamPolicy", "POST", f"{at}:setIamPolicy", manager.grant, f"{of}.setIamPolicy"),
            Rule("projects.testIamPermissions", "POST", f"{at}:testIamPermissions", manager.test),
            Rule("projects.get", "GET", at, get, f"{of}.get"),
        ]
    fidelity = "one active project without a parent; its IAM policy is kept, not enforced; nothing is created"
    return Service("cloudresourcemanager", fidelity, rules)


class ResourceManager:
    """The methods of Projects that read, and the policy."""

    def __init__(self, world: World) -> None:
        self._settings = world.settings
        self._store = world.store

    def get_v1(self, call: Call) -> Any:
        if not self._settings.names_project(call.path["project"]):
            raise ApiError("PERMISSION_DENIED", "The caller does not have permission")
        return self._v1()

    def get_v3(self, call: Call) -> Any:
        self._check(call, "get")
        return self._v3()

    def list_all(self, call: Call) -> Any:
        """Of v1: by a filter over name, id, labels and lifecycleState."""
        wanted = filters.parse(call.query.get("filter", ""))
        project = self._v1()
        seen = {**project, "id": project["projectId"]}
        return {"projects": [project]} if all(condition.holds(seen) for condition in wanted) else {}

    def search(self, call: Call) -> Any:
        """Of v3: by a query over displayName, projectId, state and labels."""
        project = self._v3()
        wanted = filters.parse(call.query.get("query", ""))
        seen = {**project, "id": project["projectId"], "name": project["displayName"]}
        return {"projects": [project]} if all(condition.holds(seen) for condition in wanted) else {}

    def children(self, call: Call) -> Any:
        """Of a folder or an organization, and there is none (ListProjectsRequest.parent: required)."""
        parent = call.query.get("parent", "")
        if not parent.startswith(("folders/", "organizations/")):
            raise invalid("The request's parent must be a folder or an organization, such as folders/876.")
        raise _denied("list", parent)

    def policy(self, call: Call) -> Any:
        name = self._check(call, "getIamPolicy")
        return policies.read(self._store, name, self._default())

    def grant(self, call: Call) -> Any:
        name = self._check(call, "setIamPolicy")
        return policies.write(self._store, _document(call), name, call, self._default())

    def test(self, call: Call) -> Any:
        self._check(call, "get")
        return policies.granted(_document(call), call)

    def _check(self, call: Call, permission: str) -> str:
        if not self._settings.names_project(call.path["project"]):
            raise _denied(permission, f"projects/{call.path['project']}")
        return f"projects/{self._settings.project_number}"

    def _default(self) -> Document:
        """What a new project has: its default service account edits."""
        account = f"{self._settings.project_number}-compute@developer.gserviceaccount.com"
        return {"bindings": [{"role": "roles/editor", "members": [f"serviceAccount:{account}"]}]}

    def _v1(self) -> Document:
        settings = self._settings
        return {
            "projectNumber": settings.project_number,
            "projectId": settings.project,
            "lifecycleState": "ACTIVE",
            "name": settings.project,
            "createTime": CREATED,
        }

    def _v3(self) -> Document:
        settings = self._settings
        return {
            "name": f"projects/{settings.project_number}",
            "projectId": settings.project,
            "state": "ACTIVE",
            "displayName": settings.project,
            "createTime": CREATED,
            "updateTime": CREATED,
            "etag": ETAG,
        }


def _document(call: Call) -> str:
    return "cloudresourcemanager/v3" if "/v3/" in call.url else "cloudresourcemanager/v1"


def _denied(permission: str, resource: str) -> ApiError:
    """In the words that CrowdStrike/falcon-integration-gateway#98 shows."""
    what = f"Permission 'resourcemanager.projects.{permission}' denied on resource"
    return ApiError(
        "PERMISSION_DENIED",
        f"{what} '//cloudresourcemanager.googleapis.com/{resource}' (or it may not exist).",
    )
