"""GPUs as people name them become machines that exist."""

from __future__ import annotations

import csv
from contextlib import suppress
from pathlib import Path
from typing import get_args

import pytest

from headway.errors import InputError
from headway.spec.machines import Gpu, Shape, catalogue, resolve
from headway.spec.prices import Strategy

GPUS = list(catalogue().gpus.values())
CARRIED = [(gpu, machine, count) for gpu in GPUS for machine, counts in gpu.shapes for count in counts]
COUNTED = [(gpu, count) for gpu in GPUS for count in gpu.counts]
NOT_COUNTED = [(gpu, count) for gpu in GPUS for count in range(18) if count not in gpu.counts]


@pytest.mark.parametrize(("gpu", "machine", "count"), CARRIED, ids=lambda v: getattr(v, "name", str(v)))
def test_every_machine_of_the_catalogue_can_be_asked_for(gpu: Gpu, machine: str, count: int) -> None:
    topology = dict(gpu.topologies).get((machine, count))
    assert resolve(f"{gpu.name}:{count}", machine) == Shape(machine, gpu.accelerator, count, topology)


@pytest.mark.parametrize(("gpu", "count"), COUNTED, ids=lambda v: getattr(v, "name", str(v)))
def test_every_count_gets_a_machine_that_carries_it(gpu: Gpu, count: int) -> None:
    shape = resolve(f"{gpu.name}:{count}")
    assert (shape.accelerator, shape.count) == (gpu.accelerator, count)
    assert count in dict(gpu.shapes)[shape.machine]


@pytest.mark.parametrize(("gpu", "count"), NOT_COUNTED, ids=lambda v: getattr(v, "name", str(v)))
def test_a_count_that_no_machine_has_is_refused_with_its_neighbours(gpu: Gpu, count: int) -> None:
    with pytest.raises(InputError) as caught:
        resolve(f"{gpu.name}:{count}")
    assert f"{gpu.name}:" in f"{caught.value.message}{caught.value.hint}"


@pytest.mark.parametrize("gpu", GPUS, ids=lambda gpu: gpu.name)
def test_a_bare_name_and_its_aliases_mean_the_fewest_gpus(gpu: Gpu) -> None:
    for name in (gpu.name, gpu.name.upper(), gpu.name.replace("-", "_"), *gpu.aliases):
        assert resolve(name).count == gpu.counts[0]


@pytest.mark.parametrize(
    ("gpu", "machine", "count"),
    [(g, m, n) for g in GPUS for m, counts in g.shapes for n in g.counts if n not in counts],
    ids=lambda v: getattr(v, "name", str(v)),
)
def test_a_machine_that_carries_another_count_says_which(gpu: Gpu, machine: str, count: int) -> None:
    with pytest.raises(InputError, match=f"{machine} does not carry {gpu.name}:{count}") as caught:
        resolve(f"{gpu.name}:{count}", machine)
    assert (caught.value.hint or "").startswith(f"it carries {gpu.name}:")


@pytest.mark.parametrize("gpu", [None, "none", "None", ""])
def test_no_gpu_means_a_cpu_machine(gpu: str | None) -> None:
    assert resolve(gpu) == Shape(catalogue().cpu_machine)
    assert resolve(gpu, "n1-highmem-8") == Shape("n1-highmem-8")


@pytest.mark.parametrize(
    ("gpu", "said", "hint"),
    [
        ("a1000", "there is no GPU named 'a1000'", "did you mean a100"),
        ("H10", "there is no GPU named 'H10'", "h100"),
        ("tpu", "there is no GPU named 'tpu'", "Vertex AI trains on: t4, p4"),
        (
            "a100:3",
            "a100:3 does not exist on Vertex AI",
            "a100:2 on a2-highgpu-2g or a100:4 on a2-highgpu-4g",
        ),
        ("h200:1", "h200:1 does not exist on Vertex AI", "there is h200:8 on a3-ultragpu-8g"),
        ("a100:32", "a100:32 does not exist on Vertex AI", "there is a100:16 on a2-megagpu-16g"),
        ("a100:two", "'a100:two' is no GPU: 'two' is not a count", "write for example a100:1"),
        ("a100:-1", "'a100:-1' is no GPU", "a100:1"),
    ],
)
def test_a_slip_gets_the_nearest_right_value(gpu: str, said: str, hint: str) -> None:
    with pytest.raises(InputError) as caught:
        resolve(gpu)
    assert caught.value.message.startswith(said)
    assert hint in (caught.value.hint or "")


def test_a_gpu_on_a_machine_of_another_family_says_where_it_is() -> None:
    with pytest.raises(InputError, match="n1-standard-8 does not carry a100") as caught:
        resolve("a100:4", "n1-standard-8")
    assert caught.value.hint == "a100:4 is on a2-highgpu-4g"


def test_the_catalogue_is_dated_and_says_where_gpus_are() -> None:
    assert catalogue().date.startswith("20")
    assert all(gpu.is_tpu or gpu.regions for gpu in GPUS)


def shapes_of_the_table() -> set[tuple[str, ...]]:
    """Google's table, written down apart from the catalogue: gpu, machine, accelerator, topology."""
    with (Path(__file__).parent / "golden" / "shapes.csv").open(encoding="utf-8", newline="") as file:
        return {tuple(row.values()) for row in csv.DictReader(file)}


def test_the_shapes_of_googles_table_are_taken_and_no_others() -> None:
    machines = sorted({machine for gpu in GPUS for machine, _ in gpu.shapes})
    counts = [*range(1, 18), 32, 64, 128, 256, 512, 1024]
    taken = set()
    for gpu in GPUS:
        for count in counts:
            for machine in machines:
                with suppress(InputError):
                    shape = resolve(f"{gpu.name}:{count}", machine)
                    wish = f"{gpu.name}:{shape.count}"
                    taken.add((wish, shape.machine, shape.accelerator or "", shape.topology or ""))
    beyond = {row for row in taken if row[1] == "cloud-tpu" and int(row[0].partition(":")[2]) > 64}
    assert taken - beyond == shapes_of_the_table()


def test_every_wish_of_googles_table_becomes_exactly_one_of_its_shapes() -> None:
    table = shapes_of_the_table()
    for wish in {row[0] for row in table}:
        shape = resolve(wish)
        assert (wish, shape.machine, shape.accelerator or "", shape.topology or "") in table


NOT_FOR_TRAINING = {
    "ACCELERATOR_TYPE_UNSPECIFIED",
    "NVIDIA_TESLA_K80",  # no longer offered
    "TPU_V4_POD",  # no machine of custom training has it
    "TPU_V5_LITEPOD",  # told by machine type and topology instead
}


def test_a_new_version_of_googles_client_that_knows_other_gpus_is_noticed() -> None:
    from google.cloud.aiplatform_v1.types import AcceleratorType, Scheduling

    known = set(AcceleratorType.__members__) - NOT_FOR_TRAINING
    ours = {gpu.accelerator for gpu in GPUS if gpu.accelerator}
    assert known - ours == set(), "Google's client knows a GPU that machines.toml lacks: add its shapes"
    assert ours - known == set(), "Google's client has dropped a GPU of machines.toml: take it out there"
    numbers = {name: Scheduling.Strategy[name].value for name in get_args(Strategy)}
    assert numbers == {"STANDARD": 3, "SPOT": 4, "FLEX_START": 6}, "a strategy's number has changed"


@pytest.mark.parametrize(
    ("machine", "said", "hint"),
    [
        ("a2-highgpu-1g", "always has GPUs", "say so: resources.gpu: a100:1"),
        ("n1-standard-2", "no machine type of Vertex AI training", "n1-standard-4"),
        ("n1-standard-5", "no machine type of Vertex AI training", "n1-standard-4"),
        ("n1-standard-4-fast", "no machine type of Vertex AI training", "n1-standard-4"),
        ("n1-ultramem-40", "no machine type of Vertex AI training", "m1-ultramem-40"),
        ("c2-highmem-8", "no machine type of Vertex AI training", "c2"),
        ("n1-standrad-8", "no machine type", "did you mean n1-standard-8"),
        ("big", "no machine type", "write for example n1-standard-4"),
    ],
)
def test_a_machine_by_hand_is_checked_without_a_gpu_too(machine: str, said: str, hint: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        resolve(None, machine)
    assert hint in (caught.value.hint or "")


@pytest.mark.parametrize("machine", ["e2-standard-8", "n2-highmem-2", "c2-standard-60", "n1-standard-8"])
def test_a_cpu_machine_by_hand_is_taken(machine: str) -> None:
    assert resolve(None, machine) == Shape(machine)


def test_ones_own_facts_lie_over_those_of_the_package() -> None:
    own = {
        "gpu": {
            "l4": {"regions": ["mars-north1"]},
            "x1": {"accelerator": "NVIDIA_X1", "shapes": [{"machine": "x1-big-1g", "counts": [1]}]},
        }
    }
    facts = catalogue().overlaid(own)
    assert facts.gpus["l4"].regions == ("mars-north1",)
    assert facts.gpus["l4"].shapes == catalogue().gpus["l4"].shapes
    assert resolve("x1", facts=facts) == Shape("x1-big-1g", "NVIDIA_X1", 1)
    with pytest.raises(InputError, match="no GPU named 'x1'"):
        resolve("x1")
