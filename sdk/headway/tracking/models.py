"""The model registry: the final model as an artifact of its run, and as a version of a registered model."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from headway.spec.layout import TAG_MODEL, TAG_RUN
from headway.spec.plan import Plan
from headway.spec.status import ModelVersion

ARTIFACTS = "model"
BYTES_S = 5e6
"""A slow line to the tracking server: a larger model is given more time."""
_TIMEOUT = "MLFLOW_HTTP_REQUEST_TIMEOUT"
"""Seconds, read by MLflow's client at each request; the sink sets it."""


def upload(client: Any, run_id: str, model: Path, sent: set[Path]) -> None:
    """Send the model's file (or folder) to the run's artifacts `model/`, over what an earlier start left.

    `sent` remembers what has arrived, for a call after a failure.
    """
    files = [model] if model.is_file() else [path for path in sorted(model.rglob("*")) if path.is_file()]
    upload_below(client, run_id, files, model.parent, ARTIFACTS, sent)


def upload_below(
    client: Any, run_id: str, files: Iterable[Path], root: Path, folder: str, sent: set[Path]
) -> None:
    """Send files to a folder of the run's artifacts, named as below `root`, save those in `sent`."""
    for path in files:
        if path in sent:
            continue
        below = path.relative_to(root).parent
        with _patience(path.stat().st_size):
            client.log_artifact(run_id, str(path), folder if below == Path() else f"{folder}/{below}")
        sent.add(path)


def register(client: Any, run_id: str, name: str, plan: Plan, uri: str | None) -> ModelVersion:
    """The version of the registered model `name` that this run is; made where there is none yet."""
    from mlflow.exceptions import MlflowException

    condition = f"name = '{name}' and tags.`{TAG_RUN}` = '{plan.run_id}'"
    if found := client.search_model_versions(condition, max_results=1):
        return ModelVersion(name=name, version=str(found[0].version))
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    version = client.create_model_version(
        name,
        source=f"{client.get_run(run_id).info.artifact_uri}/{ARTIFACTS}",
        run_id=run_id,
        tags={
            TAG_RUN: plan.run_id,
            "headway.code": plan.code.digest,
            **({TAG_MODEL: uri} if uri else {}),
        },
        await_creation_for=0,
        description=f"From run {plan.run_id}: {plan.base_output_uri}",
    )
    return ModelVersion(name=name, version=str(version.version))


@contextmanager
def _patience(size: int) -> Iterator[None]:
    """The server answers an upload only when it has passed the whole file on: a large one takes longer."""
    before = os.environ[_TIMEOUT]
    os.environ[_TIMEOUT] = str(int(before) + int(size / BYTES_S))
    try:
        yield
    finally:
        os.environ[_TIMEOUT] = before
