"""The model registry: the final model as an artifact of its run, and as a version of a registered model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from headway.spec.layout import TAG_RUN
from headway.spec.plan import Plan
from headway.spec.status import ModelVersion

ARTIFACTS = "model"


def upload(client: Any, run_id: str, model: Path) -> None:
    """Send the model's file (or folder) to the run's artifacts `model/`; once for a file of that size."""
    there = {item.path: item.file_size for item in client.list_artifacts(run_id, ARTIFACTS)}
    for path in [model] if model.is_file() else sorted(model.rglob("*")):
        if not path.is_file():
            continue
        below = path.relative_to(model.parent).parent
        target = ARTIFACTS if below == Path() else f"{ARTIFACTS}/{below}"
        if there.get(f"{target}/{path.name}") != path.stat().st_size:
            client.log_artifact(run_id, str(path), target)


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
            **({"headway.model": uri} if uri else {}),
        },
        await_creation_for=0,
        description=f"From run {plan.run_id}: {plan.base_output_uri}",
    )
    return ModelVersion(name=name, version=str(version.version))
