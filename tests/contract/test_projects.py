"""Resource Manager, IAM and Service Usage: the questions that clients ask about their project."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest
import requests
from google.api_core import exceptions
from google.auth.credentials import AnonymousCredentials

from tests.contract.servers import NUMBER, PROJECT, Emulator

if TYPE_CHECKING:
    from google.cloud.resourcemanager_v3 import ProjectsClient

DEFAULT_ACCOUNT = f"{NUMBER}-compute@developer.gserviceaccount.com"


@pytest.fixture
def projects(emulator: Emulator) -> ProjectsClient:
    from google.cloud.resourcemanager_v3 import ProjectsClient

    options = {"api_endpoint": f"{emulator.url}/cloudresourcemanager"}
    return ProjectsClient(transport="rest", credentials=AnonymousCredentials(), client_options=options)


def answer(emulator: Emulator, verb: str, path: str, body: Any = None) -> requests.Response:
    return requests.request(verb, f"{emulator.url}/{path}", json=body, timeout=10)


def read(emulator: Emulator, verb: str, path: str, body: Any = None) -> Any:
    reply = answer(emulator, verb, path, body)
    assert reply.status_code == 200, reply.text
    return reply.json()


class TestProjects:
    @pytest.mark.parametrize("name", [PROJECT, NUMBER])
    def test_id_and_number_name_the_same_project(self, projects: ProjectsClient, name: str) -> None:
        project = projects.get_project(name=f"projects/{name}")
        assert (project.name, project.project_id) == (f"projects/{NUMBER}", PROJECT)
        assert project.state.name == "ACTIVE"

    def test_a_search_finds_it_by_what_it_is(self, projects: ProjectsClient) -> None:
        assert [p.project_id for p in projects.search_projects(query=f"projectId={PROJECT}")] == [PROJECT]
        assert list(projects.search_projects(query="state=DELETE_REQUESTED")) == []

    def test_version_1_says_the_same_in_its_words(self, emulator: Emulator) -> None:
        project = read(emulator, "GET", f"cloudresourcemanager/v1/projects/{PROJECT}")
        assert project["projectNumber"] == NUMBER
        assert project["lifecycleState"] == "ACTIVE"
        listed = read(emulator, "GET", f"cloudresourcemanager/v1/projects?filter=id:{PROJECT}")
        assert listed == {"projects": [project]}

    def test_a_policy_is_kept_under_its_etag_which_is_base64(self, projects: ProjectsClient) -> None:
        """gcloud decodes the etag, and a stale one is answered with ABORTED."""
        name = f"projects/{NUMBER}"
        before = projects.get_iam_policy(resource=name)
        assert before.bindings[0].role == "roles/editor"
        policy = {"etag": before.etag, "bindings": [{"role": "roles/viewer", "members": ["user:a@b.c"]}]}
        after = projects.set_iam_policy(request={"resource": name, "policy": policy})
        assert projects.get_iam_policy(resource=f"projects/{PROJECT}") == after
        with pytest.raises(exceptions.Conflict, match="concurrent policy changes"):
            projects.set_iam_policy(request={"resource": name, "policy": policy})

    def test_everything_asked_for_is_permitted(self, projects: ProjectsClient) -> None:
        asked = ["aiplatform.customJobs.create", "iam.serviceAccounts.actAs"]
        tested = projects.test_iam_permissions(resource=f"projects/{PROJECT}", permissions=asked)
        assert list(tested.permissions) == asked


def test_the_client_that_others_use_asks_over_grpc(emulator: Emulator) -> None:
    """google-cloud-aiplatform looks a project's number up so, and has no other way."""
    import grpc
    from google.cloud.resourcemanager_v3 import ProjectsClient
    from google.cloud.resourcemanager_v3.services.projects.transports import ProjectsGrpcTransport

    with grpc.insecure_channel(emulator.url.removeprefix("http://")) as channel:
        client = ProjectsClient(transport=ProjectsGrpcTransport(channel=channel))
        assert client.get_project(name=f"projects/{PROJECT}").name == f"projects/{NUMBER}"
        with pytest.raises(exceptions.PermissionDenied, match=r"resourcemanager\.projects\.get"):
            client.get_project(name="projects/other-project")


class TestServiceAccounts:
    def test_the_default_account_is_there(self, emulator: Emulator) -> None:
        for project in (PROJECT, NUMBER, "-"):
            path = f"iam/v1/projects/{project}/serviceAccounts/{DEFAULT_ACCOUNT}"
            account = read(emulator, "GET", path)
            assert account["email"] == DEFAULT_ACCOUNT
            assert account["projectId"] == PROJECT
        by_id = read(emulator, "GET", f"iam/v1/projects/-/serviceAccounts/{account['uniqueId']}")
        assert by_id == account

    def test_an_account_is_made_listed_and_deleted(self, emulator: Emulator) -> None:
        accounts = f"iam/v1/projects/{PROJECT}/serviceAccounts"
        body = {"accountId": "trainer", "serviceAccount": {"displayName": "Trains"}}
        made = read(emulator, "POST", accounts, body)
        assert made["email"] == f"trainer@{PROJECT}.iam.gserviceaccount.com"
        assert answer(emulator, "POST", accounts, body).status_code == 409
        assert made in read(emulator, "GET", accounts)["accounts"]
        assert len(read(emulator, "GET", f"{accounts}?pageSize=1")["accounts"]) == 1
        read(emulator, "DELETE", f"{accounts}/{made['email']}")
        assert answer(emulator, "GET", f"{accounts}/{made['email']}").status_code == 404

    def test_who_may_act_as_an_account_is_answered(self, emulator: Emulator) -> None:
        account = f"iam/v1/projects/{PROJECT}/serviceAccounts/{DEFAULT_ACCOUNT}"
        asked = {"permissions": ["iam.serviceAccounts.actAs"]}
        assert read(emulator, "POST", f"{account}:testIamPermissions", asked) == asked
        policy = read(emulator, "POST", f"{account}:getIamPolicy")
        assert base64.b64decode(policy["etag"], validate=True)


class TestServices:
    def test_the_emulated_apis_are_enabled(self, emulator: Emulator) -> None:
        services = f"serviceusage/v1/projects/{PROJECT}/services"
        listed = read(emulator, "GET", f"{services}?filter=state:ENABLED&pageSize=200")["services"]
        names = [service["config"]["name"] for service in listed]
        assert {"aiplatform.googleapis.com", "cloudbuild.googleapis.com"} <= set(names)
        assert listed[0]["name"] == f"projects/{NUMBER}/services/{names[0]}"
        assert read(emulator, "GET", f"{services}?filter=state:DISABLED") == {}

    def test_pages_are_disjoint_and_complete(self, emulator: Emulator) -> None:
        services = f"serviceusage/v1/projects/{PROJECT}/services"
        whole = [one["name"] for one in read(emulator, "GET", f"{services}?pageSize=200")["services"]]
        seen: list[str] = []
        token = ""
        while True:
            page = read(emulator, "GET", f"{services}?pageSize=3&pageToken={token}")
            seen += [one["name"] for one in page["services"]]
            if not (token := page.get("nextPageToken", "")):
                break
        assert seen == whole

    def test_any_other_api_is_enabled_by_name(self, emulator: Emulator) -> None:
        """Done at once: the operation has nothing to wait for, and can be polled all the same."""
        service = f"serviceusage/v1/projects/{PROJECT}/services/pubsub.googleapis.com"
        assert read(emulator, "GET", service)["state"] == "DISABLED"
        operation = read(emulator, "POST", f"{service}:enable", {})
        assert operation["done"] is True
        assert operation["response"]["service"]["state"] == "ENABLED"
        assert read(emulator, "GET", f"serviceusage/v1/{operation['name']}")["done"] is True
        assert read(emulator, "GET", service)["state"] == "ENABLED"

    def test_several_are_read_and_enabled_at_once(self, emulator: Emulator) -> None:
        services = f"serviceusage/v1/projects/{PROJECT}/services"
        body = {"serviceIds": ["run.googleapis.com", "dns.googleapis.com"]}
        done = read(emulator, "POST", f"{services}:batchEnable", body)
        assert len(done["response"]["services"]) == 2
        parent = f"projects/{PROJECT}/services"
        names = "&".join(f"names={parent}/{name}" for name in body["serviceIds"])
        got = read(emulator, "GET", f"{services}:batchGet?{names}")["services"]
        assert [one["state"] for one in got] == ["ENABLED", "ENABLED"]

    def test_a_service_is_disabled_and_enabled_again(self, emulator: Emulator) -> None:
        service = f"serviceusage/v1/projects/{PROJECT}/services/dns.googleapis.com"
        read(emulator, "POST", f"{service}:enable", {})
        done = read(emulator, "POST", f"{service}:disable", {})
        assert done["response"]["service"]["state"] == "DISABLED"
        assert read(emulator, "GET", service)["state"] == "DISABLED"
        off = read(emulator, "GET", f"serviceusage/v1/projects/{PROJECT}/services?filter=state:DISABLED")
        assert [one["config"]["name"] for one in off["services"]] == ["dns.googleapis.com"]
        read(emulator, "POST", f"{service}:enable", {})
        assert read(emulator, "GET", service)["state"] == "ENABLED"

    def test_the_quota_of_a_gpu_is_told_by_region(self, emulator: Emulator) -> None:
        """What no [[quota]] limits is unlimited, which Service Usage writes as -1."""
        metric = "aiplatform.googleapis.com%2Fcustom_model_training_preemptible_nvidia_h100_gpus"
        of = f"serviceusage/v1beta1/projects/{PROJECT}/services/aiplatform.googleapis.com"
        (limit,) = read(emulator, "GET", f"{of}/consumerQuotaMetrics/{metric}")["consumerQuotaLimits"]
        assert limit["unit"] == "1/{project}/{region}"
        assert limit["quotaBuckets"][0] == {"effectiveLimit": "-1", "defaultLimit": "-1"}
        assert {"region": "us-central1"} in [bucket.get("dimensions") for bucket in limit["quotaBuckets"]]


OTHER = "projects/other-project"
REFUSED: list[tuple[str, str, str, Any, int, str]] = [
    # what, verb, path, body, HTTP status, part of the message; the source is in the first
    (
        "another project, v1 (GoogleCloudPlatform/magic-modules#3726)",
        "GET", f"cloudresourcemanager/v1/{OTHER}", None, 403, "The caller does not have permission",
    ),
    (
        "another project, v3 (CrowdStrike/falcon-integration-gateway#98)",
        "GET", f"cloudresourcemanager/v3/{OTHER}", None, 403, "'resourcemanager.projects.get' denied",
    ),
    (
        "a list without a parent (v3 ListProjectsRequest.parent: required)",
        "GET", "cloudresourcemanager/v3/projects", None, 400, "must be a folder or an organization",
    ),
    (
        "a permission that is none (TestIamPermissionsRequest)",
        "POST", f"cloudresourcemanager/v3/projects/{PROJECT}:testIamPermissions", {"permissions": ["*"]}, 400,
        "is not valid for this resource",
    ),
    (
        "a member without a type (google.iam.v1.Binding.members)",
        "POST", f"cloudresourcemanager/v1/projects/{PROJECT}:setIamPolicy",
        {"policy": {"bindings": [{"role": "roles/viewer", "members": ["a@b.c"]}]}}, 400, "unknown type",
    ),
    (
        "a role that is none (google.iam.v1.Binding.role)",
        "POST", f"cloudresourcemanager/v1/projects/{PROJECT}:setIamPolicy",
        {"policy": {"bindings": [{"role": "viewer", "members": ["user:a@b.c"]}]}}, 400, "is not supported",
    ),
    (
        "an unknown field (cloudresourcemanager.v1 discovery document)",
        "POST", f"cloudresourcemanager/v1/projects/{PROJECT}:setIamPolicy", {"a": {}}, 400, "Unknown name",
    ),
    (
        "an account that is not there (GoogleCloudPlatform/python-docs-samples#10243)",
        "GET", f"iam/v1/projects/-/serviceAccounts/none@{PROJECT}.iam.gserviceaccount.com", None, 404,
        "does not exist.",
    ),
    (
        "an account id of five characters (CreateServiceAccountRequest.account_id)",
        "POST", f"iam/v1/projects/{PROJECT}/serviceAccounts", {"accountId": "train"}, 400, "6 to 30",
    ),
    (
        "a display name of 101 bytes (ServiceAccount.display_name)",
        "POST", f"iam/v1/projects/{PROJECT}/serviceAccounts",
        {"accountId": "trainer", "serviceAccount": {"displayName": "x" * 101}}, 400, "longer than 100 bytes",
    ),
    (
        "a filter other than state (serviceusage.v1: services.list filter)",
        "GET", f"serviceusage/v1/projects/{PROJECT}/services?filter=name:a", None, 400, "allowed filters",
    ),
    (
        "a service that is none (serviceusage.v1: google.rpc.Code)",
        "GET", f"serviceusage/v1/projects/{PROJECT}/services/example.com", None, 403, "permission denied",
    ),
    (
        "21 services at once (BatchEnableServicesRequest.service_ids: at most 20)",
        "POST", f"serviceusage/v1/projects/{PROJECT}/services:batchEnable",
        {"serviceIds": [f"a{n}.googleapis.com" for n in range(21)]}, 400, "between 1 and 20",
    ),
    (
        "none to read (BatchGetServicesRequest.names: at most 30)",
        "GET", f"serviceusage/v1/projects/{PROJECT}/services:batchGet", None, 400, "between 1 and 30",
    ),
    (
        "what is not emulated",
        "POST", "cloudresourcemanager/v3/projects", {}, 501, "cloudresourcemanager.projects.create",
    ),
    (
        "what is not emulated",
        "GET", "serviceusage/v1/operations", None, 501, "serviceusage.operations.list",
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("what", "verb", "path", "body", "status", "told"), REFUSED, ids=[f"{row[0]} {row[2]}" for row in REFUSED]
)
def test_a_malformed_question_is_answered_as_google_would(
    emulator: Emulator, what: str, verb: str, path: str, body: Any, status: int, told: str
) -> None:
    reply = answer(emulator, verb, path, body)
    error = reply.json()["error"]
    assert (reply.status_code, error["code"]) == (status, status), what
    assert told in error["message"]
