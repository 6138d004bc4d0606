"""The options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

from headway_launcher import completion

Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="CONFIG|KEY=VALUE",
        help="config.yaml (that of this folder where left out), then overrides such as args.lr=0.01.",
        show_default=False,
    ),
]
RunId = Annotated[
    str,
    typer.Argument(metavar="RUN", help="A run's id.", autocompletion=completion.run_ids, show_default=False),
]
Profile = Annotated[str | None, typer.Option("--profile", metavar="NAME", help="A profile of headway.toml.")]
Local = Annotated[bool, typer.Option("--local", help="The local stack; it is started where it is not up.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]
Gpu = Annotated[
    str | None,
    typer.Option(
        "--gpu",
        metavar="GPU[:N]",
        help="a100, l4:1, none; several are tried in order: h100:8,a100:8.",
        autocompletion=completion.gpus,
    ),
]
Spot = Annotated[bool | None, typer.Option("--spot/--no-spot", help="Spot capacity.", show_default=False)]
Nodes = Annotated[int | None, typer.Option("--nodes", metavar="N", help="Machines that train together.")]
Machine = Annotated[str | None, typer.Option("--machine", metavar="TYPE", help="Machine type by hand.")]
Region = Annotated[
    list[str] | None,
    typer.Option("--region", metavar="REGION", help="Several are tried in order: us-central1,us-east4."),
]
Timeout = Annotated[
    str | None, typer.Option("--timeout", metavar="TIME", help="Longest time that the job may run: 45m, 2h.")
]

Budget = Annotated[
    float | None, typer.Option("--budget", metavar="USD", help="Most that the run may cost, an estimate.")
]


def flags(
    *,
    gpu: str | None,
    spot: bool | None,
    nodes: int | None,
    machine: str | None,
    region: list[str] | None,
    timeout: str | None,
    budget: float | None,
) -> dict[str, object]:
    """The flags that were given, as the config's dotted keys."""
    given: dict[str, object] = {
        "resources.gpu": gpu,
        "resources.spot": spot,
        "resources.nodes": nodes,
        "resources.machine": machine,
        "resources.regions": [one for each in region or () for one in each.replace(",", " ").split()] or None,
        "limits.timeout": timeout,
        "limits.budget": budget,
    }
    return {key: value for key, value in given.items() if value is not None}
