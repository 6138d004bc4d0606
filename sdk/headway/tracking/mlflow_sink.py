"""The MLflow sink: a run in an MLflow server, through MLflow's own client."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from headway.errors import Refused, RemoteError
from headway.spec.layout import TAG_RUN
from headway.spec.plan import Plan
from headway.spec.status import ModelVersion
from headway.tracking import models
from headway.tracking.mlflow_server import MlflowServer
from headway.tracking.parent import Parents, Records
from headway.tracking.sinks import Opened, Outcome, flat, parameters, tags
from headway.tracking.spool import Event

METRICS_A_CALL = 1000
PARAMS_A_CALL = 100
"""MLflow's limits of one log_batch (mlflow.utils.validation, 3.17)."""
VALUE_LENGTH = 500
TAG_LENGTH = 5000
NAME_LENGTH = 250

_CLIENT = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
"""By default a client retries for minutes, also what is not safe to send twice (a run would be made twice);
delivery has its own retries, and a deadline."""
_SETTINGS = "MLFLOW_TRACKING_"
"""The user's variables for the client begin so: token, user name and password, certificates."""

_ENDED = {"finished": "FINISHED", "failed": "FAILED", "killed": "KILLED"}
_PERMANENT = frozenset(
    {"INVALID_PARAMETER_VALUE", "BAD_REQUEST", "PERMISSION_DENIED", "RESOURCE_DOES_NOT_EXIST"}
)


class MLflowSink:
    """One run of an MLflow server; a container that starts again goes on with the same one."""

    name = "mlflow"

    def __init__(self, plan: Plan, environment: Mapping[str, str], records: Records) -> None:
        """`records` are the plan's bucket: of a sweep's trial it says which run is the parent."""
        self._plan, self._records = plan, records
        self._tags = {_name(key): value[:TAG_LENGTH] for key, value in tags(plan, environment).items()}
        self._settings = {name: value for name, value in environment.items() if name.startswith(_SETTINGS)}
        self._params: dict[str, str] = {}
        self._sent: set[Path] = set()
        self._run_id = ""
        self._client: Any = None

    def open(self) -> Opened:
        """Find the run by its tag, or make it and its experiment."""
        os.environ.update(self._settings | _CLIENT)
        from mlflow import MlflowClient

        uri = self._plan.tracking.uri
        with _calling(uri):
            self._client = MlflowClient(tracking_uri=uri)
            experiment = self._experiment()
            run = self._found(experiment, self._plan.run_id) or self._client.create_run(
                experiment, run_name=self._plan.run_id, tags={**self._tags, **self._parent()}
            )
            self._run_id = run.info.run_id
            self._params = dict(run.data.params)
            self._client.update_run(self._run_id, status="RUNNING")
            self._log_params(parameters(self._plan))
            self._client.log_text(self._run_id, self._plan.model_dump_json(indent=1), "plan.json")
        return Opened(f"{uri}/#/experiments/{experiment}/runs/{self._run_id}", self._run_id)

    def deliver(self, events: Sequence[Event]) -> None:
        with _calling(self._plan.tracking.uri):
            for event in events:
                if event["kind"] == "params":
                    self._log_params(flat(event["values"]))
            metrics = [metric for event in events for metric in _metrics(event)]
            for start in range(0, len(metrics), METRICS_A_CALL):
                self._client.log_batch(self._run_id, metrics=metrics[start : start + METRICS_A_CALL])

    def finish(self, outcome: Outcome) -> ModelVersion | None:
        """Send the model, register it where the plan says so, and end the run."""
        version = None
        with _calling(self._plan.tracking.uri):
            if outcome.model is not None:
                models.upload(self._client, self._run_id, outcome.model, self._sent)
                if (name := self._plan.tracking.register_as) and outcome.state == "finished":
                    version = models.register(self._client, self._run_id, name, self._plan, outcome.model_uri)
            self._client.set_terminated(self._run_id, status=_ENDED[outcome.state])
        return version

    def _experiment(self) -> str:
        from mlflow.exceptions import MlflowException

        name = self._plan.tracking.experiment
        if (found := self._client.get_experiment_by_name(name)) is not None:
            return str(found.experiment_id)
        try:
            return str(self._client.create_experiment(name))
        except MlflowException:
            # another run may have made it since
            if (found := self._client.get_experiment_by_name(name)) is None:
                raise
            return str(found.experiment_id)

    def _found(self, experiment: str, run_id: str) -> Any:
        """The first run of that id, None where there is none."""
        runs = self._client.search_runs(
            [experiment],
            filter_string=f"tags.`{TAG_RUN}` = '{run_id}'",
            max_results=1,
            order_by=["attributes.start_time ASC", "attributes.run_id ASC"],
        )
        return runs[0] if runs else None

    def _parent(self) -> dict[str, str]:
        """Of a trial, the tag that makes its run a child of its sweep's, which is made where it is absent."""
        if (sweep := self._plan.sweep) is None:
            return {}
        tracking, server = self._plan.tracking, MlflowServer(self._plan.tracking.uri, os.environ)
        parents = Parents(sweep.id, tracking.experiment, server, self._plan.layout, self._records)
        return {"mlflow.parentRunId": parents.obtain().run}

    def _log_params(self, values: Mapping[str, str]) -> None:
        """A parameter cannot be changed in MLflow: one of another value goes below `hparams/`."""
        from mlflow.entities import Param

        fresh: dict[str, str] = {}
        for key, value in values.items():
            name, text = _name(key), value[:VALUE_LENGTH]
            if self._params.get(name, text) != text:
                name = f"hparams/{name}"
            if name not in self._params:
                fresh[name] = text
        items = [Param(name, text) for name, text in fresh.items()]
        for start in range(0, len(items), PARAMS_A_CALL):
            self._client.log_batch(self._run_id, params=items[start : start + PARAMS_A_CALL])
        self._params |= fresh


def log_files(uri: str, run_id: str, files: Sequence[Path], root: Path, folder: str) -> None:
    """Send files, named as below `root`, to a folder of a run's artifacts, also after its end.

    Raises RemoteError.

    To be called where a sink was opened: the client's settings are made there.
    """
    from mlflow import MlflowClient

    with _calling(uri):
        models.upload_below(MlflowClient(tracking_uri=uri), run_id, files, root, folder, set())


def _metrics(event: Event) -> Iterator[Any]:
    from mlflow.entities import Metric

    if event["kind"] in ("metrics", "system"):
        moment, step = int(event["time"] * 1000), int(event.get("step") or 0)
        for name, value in event["values"].items():
            yield Metric(_name(name), float(value), moment, step)
        if event.get("epoch") is not None and "epoch" not in event["values"]:
            yield Metric("epoch", float(event["epoch"]), moment, step)


def _name(key: str) -> str:
    """MLflow takes letters, digits and `_-. /:` in names, and only such as are no other path's long form."""
    plain = re.sub(r"[^\w\-. /:]", "_", key)[:NAME_LENGTH]
    return "/".join(part for text in plain.split("/") if (part := text.lstrip("."))) or "_"


@contextmanager
def _calling(uri: str) -> Iterator[None]:
    import requests
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if isinstance(error.__context__, requests.RequestException):
            kind = type(error.__context__).__name__
            raise RemoteError(f"the MLflow server at {uri} does not answer ({kind})") from error
        reason = str(error).splitlines()[0][:300]
        if error.error_code in _PERMANENT:
            raise Refused(f"the MLflow server at {uri}: {reason}") from error
        raise RemoteError(f"the MLflow server at {uri}: {reason}") from error
    except requests.RequestException as error:
        raise RemoteError(f"the MLflow server at {uri} does not answer ({type(error).__name__})") from error
