"""What an hour costs: from the list, with Vertex AI's fee, and unknown where the list says nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from headway.spec.machines import catalogue, resolve
from headway.spec.prices import FEE, Strategy, packaged, read

CENTRAL = "us-central1"


def hour(gpu: str, strategy: Strategy = "STANDARD", region: str = CENTRAL, nodes: int = 1) -> float | None:
    shape = resolve(gpu)
    return packaged().usd_hour(
        shape.machine, shape.accelerator, shape.count, region=region, strategy=strategy, nodes=nodes
    )


def test_an_hour_is_the_machine_and_its_gpus_with_the_fee_of_vertex() -> None:
    assert hour("a100:2") == pytest.approx((1.47895 + 2 * 2.93391) * 1.15, abs=1e-3)
    assert hour("none") == pytest.approx(0.19 * 1.15, abs=1e-3)


def test_an_hour_of_eight_h100_is_what_a_bill_says_within_one_percent() -> None:
    """A bill of August 2025: 101.01 on demand before the disk; flex-start 52.03."""
    assert hour("h100:8") == pytest.approx(101.01, rel=0.01)
    assert hour("h100:8", "FLEX_START") == pytest.approx(52.03, rel=0.001)


def test_spot_is_cheaper_and_nodes_multiply() -> None:
    for gpu in ("t4", "l4", "a100", "h100:8"):
        on_demand, spot = hour(gpu), hour(gpu, "SPOT")
        assert on_demand
        assert spot
        assert spot < on_demand
    assert hour("a100", nodes=3) == pytest.approx(3 * (hour("a100") or 0), abs=1e-3)


@pytest.mark.parametrize(
    ("gpu", "strategy", "region"),
    [
        ("b200", "STANDARD", CENTRAL),  # its machine reads 0, and its GPU nothing
        ("h200", "STANDARD", "europe-west4"),
        ("a100", "FLEX_START", CENTRAL),
        ("a100", "STANDARD", "me-west1"),
        ("rtx-pro-6000", "STANDARD", CENTRAL),
        ("tpu-v5e:4", "STANDARD", CENTRAL),
    ],
)
def test_a_price_that_is_not_known_is_unknown_and_not_nothing(
    gpu: str, strategy: Strategy, region: str
) -> None:
    assert hour(gpu, strategy, region) is None


def test_no_shape_anywhere_is_free() -> None:
    regions = {region for _, region in packaged().rows}
    for gpu in catalogue().gpus.values():
        for machine, counts in gpu.shapes:
            for region in regions:
                for strategy in ("STANDARD", "SPOT", "FLEX_START"):
                    price = packaged().usd_hour(
                        machine, gpu.accelerator, counts[0], region=region, strategy=strategy
                    )
                    assert price is None or price > 0.01


def test_the_prices_are_dated_and_ones_own_lie_over_them() -> None:
    assert packaged().date == "2025-08"
    own = read(["# date: 2026-11-01", "kind,name,region,on_demand", f"accelerator,NVIDIA_B200,{CENTRAL},10"])
    laid = packaged().overlaid(own)
    price = laid.usd_hour("a4-highgpu-8g", "NVIDIA_B200", 8, region=CENTRAL)
    assert price == pytest.approx(80 * (1 + FEE))
    assert "2026-11-01" in laid.date


def test_a_tpu_slice_costs_its_hosts() -> None:
    own = read(["kind,name,region,on_demand", f"machine,ct5lp-hightpu-4t,{CENTRAL},4"])
    facts = replace(catalogue(), prices=own)
    shape = resolve("tpu-v5e:16")
    assert (shape.machine, shape.topology) == ("ct5lp-hightpu-4t", "4x4")
    assert facts.usd_hour(shape, CENTRAL, "STANDARD") == pytest.approx(4 * 4 * (1 + FEE))


def test_a_price_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="is none"):
        read(["kind,name,region,on_demand", "machine,m,r,-1"])


def test_the_size_of_a_machine_is_known() -> None:
    assert packaged().size("a2-highgpu-1g") == (12, 85)
    assert packaged().size("nothing-1") is None
