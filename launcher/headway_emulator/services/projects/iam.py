"""IAM: service accounts of the project and their policies; the default one is always there."""

from __future__ import annotations

import hashlib
import re
from typing import Any

from headway_emulator import schema
from headway_emulator.api.listing import Listing
from headway_emulator.api.rest import Call, Rule, Service
from headway_emulator.engine.store import Document
from headway_emulator.errors import ApiError, invalid
from headway_emulator.services.projects import policies
from headway_emulator.world import World

KIND = "serviceAccount"
DOCUMENT = "iam/v1"
LISTING = Listing(KIND, "accounts", page_size=20, most=100)
"""ListServiceAccountsRequest.page_size: 20 by default, 100 at most."""
ACCOUNT_ID = re.compile(r"[a-z](?:[-a-z0-9]{4,28}[a-z0-9])")
"""CreateServiceAccountRequest.account_id: 6 to 30 characters."""
DISPLAY_NAME_BYTES = 100
DESCRIPTION_BYTES = 256


def service(world: World) -> Service:
    """Rules with the permissions of https://cloud.google.com/iam/docs/permissions-reference."""
    iam = Iam(world)
    accounts = "/v1/projects/{project}/serviceAccounts"
    account = f"{accounts}/{{account}}"
    of, at = "iam.serviceAccounts", "serviceAccounts"
    rules = [
        Rule(f"{at}.create", "POST", accounts, iam.create, f"{of}.create"),
        Rule(f"{at}.list", "GET", accounts, iam.list, f"{of}.list"),
        Rule(f"{at}.getIamPolicy", "POST", f"{account}:getIamPolicy", iam.policy, f"{of}.getIamPolicy"),
        Rule(f"{at}.setIamPolicy", "POST", f"{account}:setIamPolicy", iam.grant, f"{of}.setIamPolicy"),
        Rule(f"{at}.testIamPermissions", "POST", f"{account}:testIamPermissions", iam.test),
        Rule(f"{at}.get", "GET", account, iam.get, f"{of}.get"),
        Rule(f"{at}.delete", "DELETE", account, iam.delete, f"{of}.delete"),
    ]
    fidelity = "service accounts and their policies, kept and not enforced; no keys, roles or signing"
    return Service("iam", fidelity, rules)


class Iam:
    """The methods of google.iam.admin.v1.IAM on service accounts."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._store = world.store
        number = world.settings.project_number
        default = f"{number}-compute@developer.gserviceaccount.com"
        if world.store.get(KIND, self._key(default)) is None:
            self._put(default, {"displayName": "Compute Engine default service account"})

    def create(self, call: Call) -> Any:
        self._world.check_project(call.path["project"])
        body = schema.parse("iam", "v1", "CreateServiceAccountRequest", call.body or {}, "")
        account_id, given = body.get("accountId", ""), body.get("serviceAccount", {})
        if not ACCOUNT_ID.fullmatch(account_id):
            raise invalid(
                "Invalid service account ID: 6 to 30 lowercase letters, digits and dashes, a letter first."
            )
        if len(given.get("displayName", "").encode()) > DISPLAY_NAME_BYTES:
            raise invalid(f"ServiceAccount.display_name is longer than {DISPLAY_NAME_BYTES} bytes.")
        if len(given.get("description", "").encode()) > DESCRIPTION_BYTES:
            raise invalid(f"ServiceAccount.description is longer than {DESCRIPTION_BYTES} bytes.")
        email = f"{account_id}@{self._world.settings.project}.iam.gserviceaccount.com"
        with self._store.transaction():
            if self._store.get(KIND, self._key(email)) is not None:
                text = f"Service account {account_id} already exists within project {self._parent}."
                raise ApiError("ALREADY_EXISTS", text)
            return self._put(email, given)

    def list(self, call: Call) -> Any:
        self._world.check_project(call.path["project"])
        return LISTING.page(self._store, f"{self._parent}/serviceAccounts/", call)

    def get(self, call: Call) -> Any:
        return self._account(call)

    def delete(self, call: Call) -> Any:
        account = self._account(call)
        self._store.delete(KIND, account["name"])
        self._store.delete(policies.KIND, account["name"])
        return {}

    def policy(self, call: Call) -> Any:
        return policies.read(self._store, self._account(call)["name"])

    def grant(self, call: Call) -> Any:
        return policies.write(self._store, DOCUMENT, self._account(call)["name"], call)

    def test(self, call: Call) -> Any:
        """Who may act as the account, among others: everybody may everything here."""
        self._account(call)
        return policies.granted(DOCUMENT, call)

    @property
    def _parent(self) -> str:
        return f"projects/{self._world.settings.project}"

    def _key(self, email: str) -> str:
        return f"{self._parent}/serviceAccounts/{email}"

    def _put(self, email: str, given: Document) -> Document:
        account: Document = {
            "name": self._key(email),
            "projectId": self._world.settings.project,
            "uniqueId": str(10**20 + int(hashlib.sha256(email.encode()).hexdigest()[:15], 16)),
            "email": email,
            "etag": "MDEwMjE5MjA=",
            "oauth2ClientId": str(10**20 + int(hashlib.sha256(email.encode()).hexdigest()[:15], 16)),
        }
        account |= {name: given[name] for name in ("displayName", "description") if given.get(name)}
        self._store.put(KIND, account["name"], account)
        return account

    def _account(self, call: Call) -> Document:
        """By email or unique id; of the project or, with a dash, of any."""
        project, wanted = call.path["project"], call.path["account"]
        if project != "-":
            self._world.check_project(project)
        account = self._store.get(KIND, self._key(wanted))
        if account is None and wanted.isdecimal():
            known = self._store.list(KIND, f"{self._parent}/serviceAccounts/")
            account = next((one for one in known if one["uniqueId"] == wanted), None)
        if account is None:
            # the words of GoogleCloudPlatform/python-docs-samples#10243
            text = f"Service account projects/{project}/serviceAccounts/{wanted} does not exist."
            raise ApiError("NOT_FOUND", text)
        return account
