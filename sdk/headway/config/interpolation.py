"""`${...}`: OmegaConf fills in a value from another key or, with `${oc.env:NAME}`, from the environment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from headway.config.document import KeyPath
from headway.config.problems import Problem
from headway.spec.job import JobSpec


def resolve(values: dict[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """The values with every interpolation replaced, and those that could not be.

    A key that the file leaves out is seen with its default. OmegaConf is loaded only where there is a `${`.
    """
    wanted = {path: value for path, value in _leaves(values, ()) if _has_interpolation(value)}
    if not wanted:
        return values, []
    from omegaconf import DictConfig, ListConfig, OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    problems: list[Problem] = []
    for path, value in list(wanted.items()):
        try:
            OmegaConf.create({"value": value})
        except OmegaConfBaseException as error:  # not even readable: the tree would not take it
            problems.append(_problem(path, error))
            _put(values, path, None)
            del wanted[path]
    tree = OmegaConf.create(_laid_over(_defaults(), values))
    for path in wanted:
        node: Any = tree
        try:
            for key in path:
                node = node[key]
            container = isinstance(node, DictConfig | ListConfig)
            _put(values, path, OmegaConf.to_container(node, resolve=True) if container else node)
        except OmegaConfBaseException as error:
            problems.append(_problem(path, error))
    return values, problems


def _problem(path: KeyPath, error: Exception) -> Problem:
    reason = str(error).splitlines()[0]
    for noise in (
        "KeyError raised while resolving interpolation: ",
        "InterpolationKeyError raised while ...",
    ):
        reason = reason.removeprefix(noise)
    reason = reason.strip('"')
    return Problem(
        path,
        f"{'.'.join(path)} cannot be filled in: {reason[:1].lower()}{reason[1:]}",
        hint="${...} names another key, such as ${args.lr}, or ${oc.env:NAME}; \\${ is the text itself",
    )


def _leaves(value: Any, path: KeyPath) -> Iterator[tuple[KeyPath, Any]]:
    if not isinstance(value, dict):
        yield path, value
        return
    for key, inner in value.items():
        yield from _leaves(inner, (*path, key))


def _has_interpolation(value: Any) -> bool:
    if isinstance(value, list):
        return any(_has_interpolation(item) for item in value)
    if isinstance(value, dict):
        return any(_has_interpolation(item) for item in value.values())
    return isinstance(value, str) and "${" in value


def _defaults() -> dict[str, Any]:
    blank = JobSpec.model_construct(name="", entrypoint="").model_dump(mode="json", by_alias=True)
    return {key: value for key, value in blank.items() if key not in ("name", "entrypoint")}


def _laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = {**below, **above}
    for key, value in below.items():
        if isinstance(value, dict) and isinstance(above.get(key), dict):
            merged[key] = _laid_over(value, above[key])
    return merged


def _put(values: dict[str, Any], path: KeyPath, value: Any) -> None:
    for key in path[:-1]:
        values = values[key]
    values[path[-1]] = value
