"""The attempts to place a run: in the order of the wish, and nothing that was not asked for."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from headway.cloud import vertex
from headway.spec.candidates import candidates, check
from headway.spec.job import Limits, Resources
from headway.spec.plan import Plan
from headway.spec.unfit import Unfit
from tests.unit.spec.test_plan import plan

RESERVATION = "projects/acme/zones/us-central1-a/reservations/night"


def attempts(region: str = "us-central1", **resources: Any) -> list[str]:
    return [str(each) for each in candidates(Resources.model_validate(resources), region)]


def test_gpus_are_tried_outside_and_regions_inside() -> None:
    assert attempts(gpu="h100:8,a100-80gb:8", regions=["us-central1", "europe-west4"]) == [
        "a3-highgpu-8g with 8 x NVIDIA_H100_80GB in us-central1",
        "a3-highgpu-8g with 8 x NVIDIA_H100_80GB in europe-west4",
        "a2-ultragpu-8g with 8 x NVIDIA_A100_80GB in us-central1",
        "a2-ultragpu-8g with 8 x NVIDIA_A100_80GB in europe-west4",
    ]


def test_a_list_of_gpus_is_the_same_wish_as_the_text() -> None:
    assert Resources.model_validate({"gpu": ["h100:8", "l4"]}).gpu == "h100:8,l4"


def test_a_region_that_does_not_train_on_a_gpu_is_passed_over_for_that_gpu_alone() -> None:
    assert attempts(gpu="a100,l4", regions=["us-west3", "us-west1"]) == [
        "a2-highgpu-1g with 1 x NVIDIA_TESLA_A100 in us-west3",
        "g2-standard-4 with 1 x NVIDIA_L4 in us-west1",
    ]


def test_one_gpu_of_a_wish_that_no_listed_region_has_is_an_error_and_not_left_out() -> None:
    with pytest.raises(Unfit, match="does not train on a100-80gb in us-west4"):
        attempts("us-west4", gpu="h100:8,a100-80gb:8")


def test_without_regions_the_places_own_is_the_only_one() -> None:
    assert attempts("europe-west4", gpu="none") == ["n1-standard-4 in europe-west4"]


def test_a_wish_that_no_listed_region_has_says_where_it_is() -> None:
    with pytest.raises(Unfit, match="does not train on gb200 in us-east1") as caught:
        attempts("us-east1", gpu="gb200")
    assert caught.value.hint == "gb200 is in us-central1, us-east4"
    assert caught.value.key == "resources.gpu"


@pytest.mark.parametrize(
    ("resources", "timeout", "key", "said"),
    [
        ({"gpu": "a100", "spot": True, "flex_start": {}}, 1, "flex_start", "does not go with spot"),
        ({"gpu": "a100", "flex_start": {}, "reservation": "any"}, 1, "flex_start", "with reservation"),
        ({"gpu": "v100", "flex_start": {}}, 1, "flex_start", "not offered for v100"),
        ({"gpu": "a100,t4", "flex_start": {}}, 1, "flex_start", "not offered for t4"),
        ({"flex_start": {}}, 1, "flex_start", "not offered for a machine without a GPU"),
        ({"gpu": "a100", "flex_start": {}}, 8, "limits.timeout", "7 days at most, not 8d"),
        ({"gpu": "a100", "spot": True, "reservation": "any"}, 1, "reservation", "not used by spot"),
        ({"gpu": "gb200"}, 1, "gpu", "shared reservation only"),
        (
            {"gpu": "a100", "reservation": RESERVATION, "regions": ["us-east1"]},
            1,
            "reservation",
            "the reservation is in us-central1-a",
        ),
    ],
)
def test_what_vertex_forbids_is_refused_before_anything_is_sent(
    resources: dict[str, Any], timeout: int, key: str, said: str
) -> None:
    with pytest.raises(Unfit, match=said) as caught:
        check(Resources.model_validate(resources), Limits(timeout=timedelta(days=timeout)))
    assert caught.value.key.endswith(key)


@pytest.mark.parametrize(
    "resources",
    [
        {"gpu": "a100,h100", "flex_start": {"max_wait": "6h"}},
        {"gpu": "gb200", "reservation": RESERVATION, "regions": ["us-central1"]},
        {"gpu": "t4", "spot": True},
        {},
    ],
)
def test_what_vertex_takes_is_taken(resources: dict[str, Any]) -> None:
    check(Resources.model_validate(resources), Limits())


def test_a_reservation_is_in_the_region_of_the_place_or_the_plan_is_refused() -> None:
    with pytest.raises(Unfit, match="the reservation is in us-central1-a"):
        attempts("europe-west4", gpu="a100", reservation=RESERVATION)
    assert len(attempts("us-central1", gpu="a100", reservation=RESERVATION)) == 1


@pytest.mark.parametrize(
    ("resources", "key", "said"),
    [
        ({"gpu": "tpu-v5e:4", "nodes": 2}, "resources.nodes", "one pool of one replica"),
        ({"gpu": "tpu-v5e:16", "spot": True}, "resources.spot", "tpu-v5e:16 is a TPU pod"),
        ({"gpu": "tpu-v3:32", "spot": True}, "resources.spot", "tpu-v3:32 is a TPU pod"),
        ({"gpu": "tpu-v6e:8", "flex_start": {}}, "resources.flex_start", "not offered for tpu-v6e"),
    ],
)
def test_what_tpus_do_not_have_is_refused(resources: dict[str, Any], key: str, said: str) -> None:
    with pytest.raises(Unfit, match=said) as caught:
        check(Resources.model_validate(resources), Limits())
    assert caught.value.key == key


def test_a_plan_of_before_there_were_candidates_is_read_as_one_attempt_a_region() -> None:
    old = plan({"resources": {"gpu": "a100", "regions": ["us-east1", "us-central1"]}}).model_dump(mode="json")
    del old["candidates"]
    del old["machine"]["flex_start_s"], old["machine"]["reservation"]
    read = Plan.model_validate(old)
    assert [str(each) for each in read.candidates] == [
        "a2-highgpu-1g with 1 x NVIDIA_TESLA_A100 in us-east1",
        "a2-highgpu-1g with 1 x NVIDIA_TESLA_A100 in us-central1",
    ]
    assert vertex.render(read)["jobSpec"]["scheduling"]["strategy"] == "STANDARD"


def test_the_plans_machine_and_first_region_are_those_of_the_first_attempt() -> None:
    made = plan({"resources": {"gpu": "a100,l4", "regions": ["us-west1", "us-east1"]}})
    first = made.candidates[0]
    assert (made.machine.type, made.regions[0]) == (first.type, first.region) == ("a2-highgpu-1g", "us-east1")
    assert set(made.regions) == {"us-west1", "us-east1"}


def test_each_attempt_is_rendered_with_its_own_machine() -> None:
    made = plan({"resources": {"gpu": "h100:8,a100-80gb:8", "nodes": 2}})
    machines = [
        [pool["machineSpec"] for pool in vertex.render(made, each)["jobSpec"]["workerPoolSpecs"]]
        for each in made.candidates
    ]
    h100, a100 = (
        {"machineType": kind, "acceleratorType": accelerator, "acceleratorCount": 8}
        for kind, accelerator in (
            ("a3-highgpu-8g", "NVIDIA_H100_80GB"),
            ("a2-ultragpu-8g", "NVIDIA_A100_80GB"),
        )
    )
    assert machines == [[h100, h100], [a100, a100]]


def test_flex_start_and_a_reservation_become_googles_fields() -> None:
    flexible = vertex.render(plan({"resources": {"gpu": "a100", "flex_start": {"max_wait": "6h"}}}))
    scheduling = flexible["jobSpec"]["scheduling"]
    assert (scheduling["strategy"], scheduling["maxWaitDuration"]) == ("FLEX_START", "21600s")
    reserved = vertex.render(
        plan({"resources": {"gpu": "a100", "reservation": RESERVATION, "regions": ["us-central1"]}})
    )
    assert reserved["jobSpec"]["workerPoolSpecs"][0]["machineSpec"]["reservationAffinity"] == {
        "reservationAffinityType": "SPECIFIC_RESERVATION",
        "key": "compute.googleapis.com/reservation-name",
        "values": [RESERVATION],
    }


def test_a_claim_covers_the_way_of_scheduling() -> None:
    waiting = plan({"resources": {"gpu": "a100", "flex_start": {}}})
    assert waiting.claim != plan({"resources": {"gpu": "a100"}}).claim
