"""`launch config schema` and `launch config show`."""

from __future__ import annotations

from collections.abc import Callable

from headway_launcher import options
from headway_launcher.place import config_and_overrides
from headway_launcher.render import screen


def schema() -> None:
    """Print the JSON Schema of config.yaml."""
    from headway.spec.job import json_schema

    screen().document(json_schema())


def show(
    words: options.Words = None,
    gpu: options.Gpu = None,
    spot: options.Spot = None,
    nodes: options.Nodes = None,
    machine: options.Machine = None,
    region: options.Region = None,
    timeout: options.Timeout = None,
    budget: options.Budget = None,
    as_json: options.Json = False,
) -> None:
    """Print what the config comes to, and where each value is from."""
    from headway.config import load

    config, overrides = config_and_overrides(words)
    given = options.flags(
        gpu=gpu, spot=spot, nodes=nodes, machine=machine, region=region, timeout=timeout, budget=budget
    )
    loaded = load(config, overrides, given)
    values = loaded.spec.model_dump(mode="json", by_alias=True)
    out = screen(as_json=as_json)
    if as_json:
        out.document({"config": values, "origins": loaded.origins})
        return
    rows = [(key, _shown(_at(values, key)), origin) for key, origin in loaded.origins.items()]
    out.table(("key", "value", "from"), rows)


def _at(values: object, dotted: str) -> object:
    for key in dotted.split("."):
        values = values[key] if isinstance(values, dict) and key in values else None
    return values


def _shown(value: object) -> str:
    import json

    return value if isinstance(value, str) else json.dumps(value)


COMMANDS: dict[str, Callable[..., None]] = {"schema": schema, "show": show}
