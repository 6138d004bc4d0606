"""`launch gpus`: what Vertex AI trains on, where, and for how much; from the catalogue, with no network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headway_launcher import completion, options
from headway_launcher.render import screen

if TYPE_CHECKING:
    from headway.spec.machines import Catalogue, Gpu


def gpus(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", help="One GPU, in full.", autocompletion=completion.gpus),
    ] = None,
    region: Annotated[
        str | None,
        typer.Option("--region", metavar="REGION", help="Only what this region has, at its prices."),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Show the GPUs that Vertex AI trains on: machines, memory, regions and prices, and of which date."""
    from headway.config.facts import facts

    known = facts(Path.cwd())
    wanted = [known.find(name.partition(":")[0])] if name else list(known.gpus.values())
    _check_region(region, wanted, known)
    rows = [row for gpu in wanted for row in _rows(gpu, known, region)]
    out = screen(as_json=as_json)
    if as_json:
        out.document({"date": known.date, "price_date": known.prices.date, "gpus": rows})
        return
    shown = rows if name else [row for row in rows if row["default"]]
    header = ("gpu", "machine", "vCPU, memory", "GPU memory", "on demand", "spot", "flex-start", "regions")
    out.table(header, [_cells(row, bool(name)) for row in shown])
    out.say(
        f"machines as of {known.date}; USD an hour, an estimate by list prices of {known.prices.date}, disks"
    )
    out.say("left out, in the cheapest region of which they are known; ? is not known, - is not offered")


def _check_region(region: str | None, wanted: list[Gpu], known: Catalogue) -> None:
    """Raises InputError for one that no GPU of the catalogue is in; of TPUs the regions are not known."""
    regions = sorted({each for gpu in known.gpus.values() for each in gpu.regions})
    if region is None or region in regions or not any(gpu.regions for gpu in wanted):
        return
    import difflib

    from headway.errors import InputError

    near = difflib.get_close_matches(region, regions, n=2, cutoff=0.7)
    raise InputError(
        f"no GPU of the catalogue is in {region}",
        hint=f"did you mean {' or '.join(near)}?" if near else f"there is {', '.join(regions)}",
    )


def _rows(gpu: Gpu, known: Catalogue, region: str | None) -> list[dict[str, Any]]:
    """One row a machine and count; `default` marks the machine that is taken where none is named."""
    if region and gpu.regions and region not in gpu.regions:
        return []
    regions = [region] if region else list(gpu.regions)
    return [_row(gpu, machine, count, known, regions) for machine, counts in gpu.shapes for count in counts]


def _row(gpu: Gpu, machine: str, count: int, known: Catalogue, regions: list[str]) -> dict[str, Any]:
    from headway.spec.machines import resolve

    shape = resolve(f"{gpu.name}:{count}", machine, known)
    size = known.prices.size(machine)
    return {
        "gpu": f"{gpu.name}:{count}",
        "machine": machine,
        "default": gpu.machine_for(count) == machine,
        "accelerator": gpu.accelerator,
        "topology": shape.topology,
        "vcpus": size[0] if size else None,
        "memory_gib": size[1] if size else None,
        "gpu_memory_gb": gpu.memory_gb,
        "spot": not gpu.is_pod(shape) and not gpu.reservation,
        "flex_start": gpu.flex_start,
        "regions": [
            {
                "region": each,
                "on_demand_usd_hour": known.usd_hour(shape, each, "STANDARD"),
                "spot_usd_hour": known.usd_hour(shape, each, "SPOT"),
                "flex_start_usd_hour": known.usd_hour(shape, each, "FLEX_START"),
            }
            for each in regions
        ],
    }


def _cells(row: dict[str, Any], in_full: bool) -> tuple[str, ...]:
    regions = [each["region"] for each in row["regions"]]
    size = f"{row['vcpus']}, {row['memory_gib']:g} GiB" if row["vcpus"] else "?"
    each = f"{row['gpu_memory_gb']} GB" if row["gpu_memory_gb"] else "?"
    where = " ".join(regions) if in_full else f"{len(regions)}" if regions else "?"
    return (
        row["gpu"],
        row["machine"],
        size,
        each,
        _cheapest(row, "on_demand"),
        _cheapest(row, "spot") if row["spot"] else "-",
        _cheapest(row, "flex_start") if row["flex_start"] else "-",
        where,
    )


def _cheapest(row: dict[str, Any], strategy: str) -> str:
    known = [price for each in row["regions"] if (price := each[f"{strategy}_usd_hour"]) is not None]
    return f"{min(known):.2f}" if known else "?"
