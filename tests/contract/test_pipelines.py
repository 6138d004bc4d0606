"""What a client asks first of the resources that the emulator has none of: empty, 404, 501 to make one."""

from __future__ import annotations

from typing import Any

import pytest
import requests
from google.api_core import exceptions

from tests.contract import real
from tests.contract.servers import NUMBER, PARENT, PLACE, PROJECT, Emulator

COLLECTIONS = (
    *("pipelineJobs", "schedules", "metadataStores", "trainingPipelines", "endpoints", "persistentResources"),
)


def test_the_sdk_finds_none_of_them(vertex: Any) -> None:
    if PLACE is not None:
        real.only_here("a 501, or a collection that is empty,")
    found = (vertex.PipelineJob, vertex.PipelineJobSchedule, vertex.Endpoint, vertex.CustomTrainingJob)
    assert [kind.list() for kind in found] == [[], [], [], []]
    with pytest.raises(exceptions.NotFound, match=f"projects/{NUMBER}/locations/us-central1/endpoints/1"):
        vertex.Endpoint("1").display_name  # noqa: B018 - read when asked for


def test_an_experiment_is_told_that_metadata_stores_are_not_emulated(vertex: Any) -> None:
    if PLACE is not None:
        real.only_here("a 501, or a collection that is empty,")
    with pytest.raises(exceptions.GoogleAPICallError, match=r"metadataStores\.create"):
        vertex.init(experiment="tuning")


@pytest.mark.parametrize("name", COLLECTIONS)
@pytest.mark.parametrize("version", ["v1", "v1beta1"])
def test_each_is_empty_and_says_what_cannot_be_made(emulator: Emulator, name: str, version: str) -> None:
    if PLACE is not None:
        real.only_here("a 501, or a collection that is empty,")
    url = f"{emulator.url}/aiplatform/{version}/{PARENT}/{name}"
    listed = requests.get(url, params={"pageSize": 10}, timeout=10)
    assert (listed.status_code, listed.json()) == (200, {})
    missing = requests.get(f"{url}/1", timeout=10)
    assert (missing.status_code, missing.json()["error"]["status"]) == (404, "NOT_FOUND")
    made = requests.post(url, json={}, timeout=10)
    assert made.status_code == 501
    assert f"aiplatform.projects.locations.{name}.create" in made.json()["error"]["message"]


def test_a_list_of_none_still_checks_its_request(emulator: Emulator) -> None:
    url = f"{emulator.url}/aiplatform/v1/{PARENT}/pipelineJobs"
    for query in ({"filter": "state"}, {"pageToken": "nonsense"}, {"pageSize": "many"}):
        assert requests.get(url, params=query, timeout=10).status_code == 400, query
    stranger = url.replace(PROJECT, "somebody-else")
    assert requests.get(stranger, timeout=10).status_code == 403


def test_locations_are_those_of_the_client(emulator: Emulator) -> None:
    from google.cloud.aiplatform.constants.base import SUPPORTED_REGIONS

    url = f"{emulator.url}/aiplatform/v1/projects/{PROJECT}/locations"
    listed = requests.get(url, timeout=10).json()["locations"]
    assert {location["locationId"] for location in listed} >= SUPPORTED_REGIONS - {"global"}
    one = requests.get(f"{url}/europe-west4", timeout=10).json()
    assert one["name"] == f"projects/{NUMBER}/locations/europe-west4"
    assert requests.get(f"{url}/moon-base1", timeout=10).status_code == 404
