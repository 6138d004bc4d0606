"""GPUs as people name them become machines that exist."""

from __future__ import annotations

import pytest

from headway.errors import InputError
from headway.spec.machines import Gpu, Shape, catalogue, resolve

GPUS = list(catalogue().gpus.values())
CARRIED = [(gpu, machine, count) for gpu in GPUS for machine, counts in gpu.shapes for count in counts]
COUNTED = [(gpu, count) for gpu in GPUS for count in gpu.counts]
NOT_COUNTED = [(gpu, count) for gpu in GPUS for count in range(18) if count not in gpu.counts]


@pytest.mark.parametrize(("gpu", "machine", "count"), CARRIED, ids=lambda v: getattr(v, "name", str(v)))
def test_every_machine_of_the_catalogue_can_be_asked_for(gpu: Gpu, machine: str, count: int) -> None:
    assert resolve(f"{gpu.name}:{count}", machine) == Shape(machine, gpu.accelerator, count)


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


def test_the_catalogue_is_dated_and_its_names_are_googles() -> None:
    assert catalogue().date.startswith("20")
    assert all(gpu.accelerator.startswith("NVIDIA_") and gpu.regions for gpu in GPUS)


def test_the_accelerators_are_known_to_googles_client() -> None:
    from google.cloud.aiplatform_v1.types import AcceleratorType

    known = set(AcceleratorType.__members__)
    assert {gpu.accelerator for gpu in GPUS} <= known
