"""The model registry, as the high-level SDK, the GAPIC client and gcloud use it."""

from __future__ import annotations

import json
import re
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests
from google.api_core import exceptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

from tests.contract import real
from tests.contract.command_line import NEEDS_GCLOUD, REGION, Gcloud
from tests.contract.servers import BUCKET, NUMBER, PARENT, PLACE, Emulator

if TYPE_CHECKING:
    from google.cloud.aiplatform_v1 import ModelServiceClient

IMAGE = "us-docker.pkg.dev/demo/serving/digits:1"
LOCATION_NAME = f"projects/{NUMBER}/locations/us-central1"


@pytest.fixture
def models(emulator: Emulator) -> ModelServiceClient:
    from google.cloud.aiplatform_v1 import ModelServiceClient

    options = {"api_endpoint": f"{emulator.url}/aiplatform"}
    return ModelServiceClient(transport="rest", credentials=AnonymousCredentials(), client_options=options)


@pytest.fixture
def artifact(bucket: storage.Bucket) -> str:
    """A folder with two files."""
    folder = f"artifacts/{uuid.uuid4().hex}"
    for name in ("model.onnx", "sub/labels.txt"):
        bucket.blob(f"{folder}/{name}").upload_from_string(name)
    return f"gs://{BUCKET}/{folder}"


def upload(models: ModelServiceClient, **request: Any) -> Any:
    """The finished upload of a model with those fields of the request."""
    model = {"display_name": "digits", **request.pop("model", {})}
    return models.upload_model({"parent": PARENT, "model": model, **request}).result(timeout=20)


def test_the_sdk_uploads_a_model_and_finds_it_by_each_of_its_names(vertex: Any, artifact: str) -> None:
    made = vertex.Model.upload(
        display_name="digits",
        artifact_uri=artifact,
        serving_container_image_uri=IMAGE,
        serving_container_predict_route="/predict",
        serving_container_health_route="/health",
        serving_container_ports=[8080],
        labels={"made-by": "sdk"},
        version_aliases=["golden"],
        version_description="the first",
    )
    assert re.fullmatch(rf"{LOCATION_NAME}/models/\d+", made.resource_name)
    assert (made.version_id, sorted(made.version_aliases)) == ("1", ["default", "golden"])
    assert (made.uri, made.container_spec.ports[0].container_port) == (artifact, 8080)
    assert list(made.supported_export_formats) == ["custom-trained"]
    assert made.create_time.tzinfo is not None
    for name in (made.resource_name, f"{made.resource_name}@1", f"{made.name}@golden", made.name):
        found = vertex.Model(name)
        assert found.versioned_resource_name == f"{made.resource_name}@1"
    listed = vertex.Model.list(filter=f'labels.made-by="sdk" AND model={made.name}')
    assert [model.resource_name for model in listed] == [made.resource_name]


def test_a_second_version_takes_the_default_alias_and_both_are_listed(vertex: Any) -> None:
    first = vertex.Model.upload(display_name="two", serving_container_image_uri=IMAGE)
    second = vertex.Model.upload(
        parent_model=first.resource_name, serving_container_image_uri=f"{IMAGE}-2", version_aliases=["next"]
    )
    assert (second.resource_name, second.version_id) == (first.resource_name, "2")
    assert vertex.Model(first.resource_name).container_spec.image_uri == f"{IMAGE}-2"
    registry = first.versioning_registry
    assert {v.version_id: sorted(v.version_aliases) for v in registry.list_versions()} == {
        "1": [],
        "2": ["default", "next"],
    }
    third = vertex.Model.upload(
        parent_model=first.name, serving_container_image_uri=IMAGE, is_default_version=False
    )
    assert (third.version_id, third.version_aliases) == ("3", [])
    assert vertex.Model(first.name).version_id == "2"


def test_aliases_move_between_versions_and_versions_are_deleted(vertex: Any) -> None:
    model = vertex.Model.upload(display_name="moving", serving_container_image_uri=IMAGE)
    vertex.Model.upload(parent_model=model.name, serving_container_image_uri=IMAGE, is_default_version=False)
    registry = model.versioning_registry
    registry.add_version_aliases(["golden"], version="1")
    registry.add_version_aliases(["golden", "default"], version="2")
    assert sorted(registry.get_version_info("golden").version_aliases) == ["default", "golden"]
    assert registry.get_version_info("default").version_id == "2"
    registry.remove_version_aliases(["golden"], version="2")
    with pytest.raises(exceptions.NotFound):
        registry.get_version_info("golden")
    with pytest.raises(exceptions.BadRequest, match="is the default version"):
        registry.delete_version("2")
    registry.delete_version("1")
    with pytest.raises(exceptions.BadRequest, match="only version"):
        registry.delete_version("2")
    uploaded = vertex.Model.upload(parent_model=model.name, serving_container_image_uri=IMAGE)
    assert uploaded.version_id == "3", "numbers are not given twice"


def test_a_model_and_its_version_are_updated_apart(vertex: Any) -> None:
    model = vertex.Model.upload(display_name="old", serving_container_image_uri=IMAGE, labels={"of": "model"})
    model.update(display_name="new", description="told", labels={"of": "all"})
    assert (model.display_name, model.description, model.labels) == ("new", "told", {"of": "all"})
    registry = model.versioning_registry
    registry.update_version("1", version_description="noted", labels={"in": "one"})
    found = vertex.Model(f"{model.name}@1")
    assert (found.version_description, found.labels) == ("noted", {"of": "all", "in": "one"})
    assert found.version_update_time >= found.version_create_time


def test_a_deleted_model_is_gone_with_all_versions(vertex: Any) -> None:
    model = vertex.Model.upload(
        display_name="short", serving_container_image_uri=IMAGE, model_id=f"m-{uuid.uuid4().hex}"
    )
    model.delete()
    for name in (model.name, f"{model.name}@1"):
        with pytest.raises(exceptions.NotFound):
            vertex.Model(name)
    assert vertex.Model.list(filter='display_name="short"') == []


def test_an_export_copies_every_file_of_the_artifact(
    vertex: Any, artifact: str, bucket: storage.Bucket
) -> None:
    model = vertex.Model.upload(display_name="out", artifact_uri=artifact, serving_container_image_uri=IMAGE)
    told = model.export_model("custom-trained", artifact_destination=f"gs://{BUCKET}/exports/{model.name}")
    target = told["artifactOutputUri"]
    assert re.fullmatch(
        rf"gs://{BUCKET}/exports/{model.name}/model-export-out-\d{{4}}-\d\d-\d\dT[\d:]+\.\d{{3}}Z", target
    )
    prefix = target.removeprefix(f"gs://{BUCKET}/")
    found = {
        blob.name.removeprefix(prefix): blob.download_as_text() for blob in bucket.list_blobs(prefix=prefix)
    }
    assert found == {"/model.onnx": "model.onnx", "/sub/labels.txt": "sub/labels.txt"}


def test_an_upload_begins_unfinished_and_tells_its_end_with_types(models: ModelServiceClient) -> None:
    from google.cloud.aiplatform_v1 import UploadModelOperationMetadata

    future = models.upload_model({"parent": PARENT, "model": {"display_name": "typed"}})
    assert not future.operation.done, "Google answers an upload before it is done"
    done = future.result(timeout=20)
    assert done.model_version_id == "1"
    assert isinstance(future.metadata, UploadModelOperationMetadata)
    assert future.operation.name.startswith(f"{done.model}/operations/")
    listed = models.list_operations({"name": done.model})
    assert [operation.name for operation in listed.operations] == [future.operation.name]
    models.delete_operation({"name": future.operation.name})
    with pytest.raises(exceptions.NotFound):
        models.get_operation({"name": future.operation.name})


def test_an_upload_from_an_empty_folder_fails_in_its_operation(models: ModelServiceClient) -> None:
    with pytest.raises(exceptions.FailedPrecondition, match='There are no files under "gs://'):
        upload(models, model={"artifact_uri": f"gs://{BUCKET}/nothing-here"})


def test_models_are_paged_ordered_and_masked(models: ModelServiceClient) -> None:
    names = [f"paged-{letter}" for letter in "cab"]
    for name in names:
        upload(models, model={"display_name": name, "labels": {"set": "paged"}})
    request = {"parent": PARENT, "filter": "labels.set=paged", "page_size": 2}
    assert [m.display_name for m in models.list_models(request)] == names[::-1]
    ordered = models.list_models({**request, "order_by": "display_name desc"})
    assert [m.display_name for m in ordered] == sorted(names, reverse=True)
    masked = next(iter(models.list_models({**request, "read_mask": {"paths": ["display_name"]}})))
    assert (masked.display_name, masked.name, masked.version_id) == ("paged-b", "", "")


def test_an_update_with_an_old_etag_is_aborted(models: ModelServiceClient) -> None:
    made = upload(models)
    model = models.get_model({"name": made.model})
    changes = {"name": model.name, "display_name": "changed", "etag": model.etag}
    models.update_model({"model": changes, "update_mask": {"paths": ["display_name"]}})
    with pytest.raises(exceptions.Conflict, match="etag"):
        models.update_model({"model": changes, "update_mask": {"paths": ["display_name"]}})


def post(emulator: Emulator, path: str, body: Any, verb: str = "POST", version: str = "v1") -> Any:
    url = f"{emulator.url}/aiplatform/{version}/{PARENT}/models{path}"
    return requests.request(verb, url, json=body, timeout=20)


GOOD = {"displayName": "checked", "containerSpec": {"imageUri": IMAGE}}
BAD: dict[str, list[tuple[str, dict[str, Any], str]]] = {
    'UploadModelRequest.model: "Required."': [
        ("no model", {}, "Field: model; Message: Required field is not set."),
    ],
    'Model.display_name: "Required ... up to 128 characters long"': [
        ("no name", {"model": {}}, "Field: model.display_name; Message: Required"),
        ("long name", {"model": {"displayName": "x" * 129}}, "129 characters"),
    ],
    "Google's JSON front (discovery document)": [
        ("unknown field", {"model": {**GOOD, "nmae": 1}}, "Unknown name \"nmae\" at 'model'"),
    ],
    'UploadModelRequest.model_id: "up to 63 characters, and valid characters are [a-z0-9_-]"': [
        ("upper case id", {"model": GOOD, "modelId": "Digits"}, 'Invalid model_id "Digits"'),
        ("id with a digit first", {"model": GOOD, "modelId": "1digits"}, 'Invalid model_id "1digits"'),
    ],
    'UploadModelRequest.parent_model: "The resource name of the model into which to upload the version"': [
        ("parent is no name", {"model": GOOD, "parentModel": "digits"}, 'Invalid parent_model "digits"'),
    ],
    'ModelContainerSpec.image_uri: "Required."': [
        ("no image", {"model": {"displayName": "a", "containerSpec": {}}}, "model.container_spec.image_uri"),
    ],
    'ModelContainerSpec.predict_route: an HTTP path, "/foo"': [
        (
            "route without slash",
            {"model": {**GOOD, "containerSpec": {"imageUri": IMAGE, "predictRoute": "predict"}}},
            'Invalid predict_route "predict"',
        ),
    ],
    'ModelContainerSpec.invoke_route_prefix: "Only one of predict_route or invoke_route_prefix can be set"': [
        (
            "two routes",
            {
                "model": {
                    **GOOD,
                    "containerSpec": {"imageUri": IMAGE, "predictRoute": "/p", "invokeRoutePrefix": "/*"},
                }
            },
            "Only one of predict_route and invoke_route_prefix",
        ),
    ],
    'ModelContainerSpec.deployment_timeout: "Limit for deployment timeout is 2 hours."': [
        (
            "three hours",
            {"model": {**GOOD, "containerSpec": {"imageUri": IMAGE, "deploymentTimeout": "10800s"}}},
            "limited to 2 hours",
        ),
    ],
    'Port.container_port: "Must be a valid port number, between 1 and 65535 inclusive."': [
        (
            "no port",
            {"model": {**GOOD, "containerSpec": {"imageUri": IMAGE, "ports": [{"containerPort": 70000}]}}},
            "1 to 65535",
        ),
    ],
    'Model.labels: "no longer than 64 characters, can only contain lowercase letters, ..."': [
        ("label", {"model": {**GOOD, "labels": {"Team": "a"}}}, "Label keys and values"),
    ],
    'Model.version_aliases: "The format is [a-z][a-zA-Z0-9-]{0,126}[a-z0-9] ..."': [
        ("alias", {"model": {**GOOD, "versionAliases": ["7"]}}, 'Invalid version alias "7"'),
    ],
    "Model.artifact_uri: a directory in Cloud Storage": [
        ("artifact elsewhere", {"model": {**GOOD, "artifactUri": "/tmp/model"}}, "must begin with gs://"),
    ],
}
"""By where it is written: what, how, and a part of the answer."""
ROWS = [row for rows in BAD.values() for row in rows]


@pytest.mark.parametrize(("body", "message"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_a_bad_upload_is_refused_with_the_field_at_fault(
    emulator: Emulator, body: dict[str, Any], message: str
) -> None:
    response = post(emulator, ":upload", body)
    assert response.status_code == 400, response.text
    error = response.json()["error"]
    assert error["status"] == "INVALID_ARGUMENT"
    assert message in error["message"]


def test_what_the_registry_refuses_has_googles_status(emulator: Emulator, models: ModelServiceClient) -> None:
    made = upload(models, model_id=f"taken-{uuid.uuid4().hex}").model
    one = f"/{made.rsplit('/', 1)[1]}"
    rows = [
        # UploadModel with an id that exists; with a parent that does not (google.rpc.Code)
        (post(emulator, ":upload", {"model": GOOD, "modelId": one[1:]}), 409, "ALREADY_EXISTS"),
        (post(emulator, ":upload", {"model": GOOD, "parentModel": f"{made}0"}), 404, "NOT_FOUND"),
        (post(emulator, f"{one}@9", None, "GET"), 404, "NOT_FOUND"),
        # UpdateModelRequest.update_mask: "Required."
        (post(emulator, one, {"displayName": "a"}, "PATCH"), 400, "INVALID_ARGUMENT"),
        # UpdateModelRequest.model, 4: the supported fields
        (post(emulator, f"{one}?updateMask=artifactUri", {}, "PATCH"), 400, "INVALID_ARGUMENT"),
        # ... 5: "A model name or model version name fields update mismatch will cause a precondition error"
        (post(emulator, f"{one}?updateMask=versionDescription", {}, "PATCH"), 400, "FAILED_PRECONDITION"),
        (post(emulator, f"{one}@1?updateMask=displayName", {}, "PATCH"), 400, "FAILED_PRECONDITION"),
        # DeleteModelVersionRequest.name, MergeVersionAliasesRequest.name: "version ID explicitly included"
        (post(emulator, f"{one}:deleteVersion", None, "DELETE"), 400, "INVALID_ARGUMENT"),
        (post(emulator, f"{one}:mergeVersionAliases", {"versionAliases": ["ab"]}), 400, "INVALID_ARGUMENT"),
        # Model.version_aliases: "there must be exactly one default version alias for a model"
        (
            post(emulator, f"{one}@1:mergeVersionAliases", {"versionAliases": ["-default"]}),
            400,
            "INVALID_ARGUMENT",
        ),
        # ListModelsRequest.order_by: display_name, create_time, update_time
        (post(emulator, "?orderBy=labels", None, "GET"), 400, "INVALID_ARGUMENT"),
        # ExportModel: "exportable if it has at least one supported export format"
        (post(emulator, f"{one}:export", {"outputConfig": {}}), 400, "FAILED_PRECONDITION"),
    ]
    for response, code, status in rows:
        assert (response.status_code, response.json()["error"]["status"]) == (code, status), response.url


@pytest.mark.parametrize(
    ("path", "method"),
    [
        ("models/1:listCheckpoints", "models.listCheckpoints"),
        ("models/1/evaluations", "models.evaluations.list"),
        ("tensorboards/1:readSize", "tensorboards.readSize"),
        ("endpoints/1:predict", ""),
    ],
)
def test_a_verb_that_no_rule_takes_is_no_id(emulator: Emulator, path: str, method: str) -> None:
    if PLACE is not None:
        real.only_here("a 501, or a collection that is empty,")
    answer = requests.get(f"{emulator.url}/aiplatform/v1/{PARENT}/{path}", timeout=10)
    assert answer.status_code == (501 if method else 404)
    assert method in answer.json()["error"]["message"]


def test_the_older_version_of_the_api_names_its_own_types(emulator: Emulator) -> None:
    begun = post(emulator, ":upload", {"model": GOOD}, version="v1beta1").json()
    assert begun["metadata"]["@type"].endswith("aiplatform.v1beta1.UploadModelOperationMetadata")
    for root in ("v1", "v1beta1", "ui"):
        done = requests.get(f"{emulator.url}/aiplatform/{root}/{begun['name']}", timeout=10).json()
        assert done["response"]["@type"].endswith("aiplatform.v1beta1.UploadModelResponse")


@NEEDS_GCLOUD[0]
@NEEDS_GCLOUD[1]
def test_gcloud_uploads_lists_describes_and_deletes(gcloud: Gcloud, tmp_path: Path) -> None:
    name = f"by-gcloud-{uuid.uuid4().hex[:8]}"
    upload_words = (
        "ai",
        "models",
        "upload",
        REGION,
        f"--display-name={name}",
        f"--container-image-uri={IMAGE}",
    )
    done = gcloud.json(*upload_words, f"--model-id={name}", "--container-ports=8080")
    assert done["model"] == f"{LOCATION_NAME}/models/{name}"
    gcloud.json(*upload_words, f"--parent-model={done['model']}", "--version-aliases=golden")
    assert gcloud.json("ai", "models", "describe", f"{name}@golden", REGION)["versionId"] == "2"
    assert gcloud.json("ai", "models", "describe", name, REGION)["versionAliases"] == ["default"]
    versions = gcloud.json("ai", "models", "list-version", name, REGION)
    assert sorted(version["name"] for version in versions) == [f"{done['model']}@1", f"{done['model']}@2"]
    gcloud("ai", "models", "delete-version", f"{name}@2", REGION)
    assert done["model"] in {model["name"] for model in gcloud.json("ai", "models", "list", REGION)}
    gcloud("ai", "models", "delete", name, REGION)
    assert done["model"] not in json.dumps(gcloud.json("ai", "models", "list", REGION))
