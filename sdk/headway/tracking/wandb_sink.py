"""The Weights & Biases sink; offline, below the outputs, where there is no WANDB_API_KEY."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from headway.errors import Refused, RemoteError
from headway.spec.plan import Plan
from headway.spec.status import ModelVersion
from headway.tracking.sinks import Opened, Outcome, parameters, tags
from headway.tracking.spool import Event

STEP = "trainer/global_step"


class WandbSink:
    """One W&B run whose id is the run's; a container that starts again goes on with the same one."""

    name = "wandb"

    def __init__(self, plan: Plan, environment: Mapping[str, str], outputs: Path) -> None:
        self._plan = plan
        self._tags = tags(plan, environment)
        self._key = environment.get("WANDB_API_KEY")
        self._folder = outputs
        self._run: Any = None

    def open(self) -> Opened:
        try:
            import wandb
        except ImportError as error:
            raise Refused(
                "wandb is not in the image",
                hint="add wandb to the requirements, or set tracking.wandb: false",
            ) from error
        self._folder.mkdir(parents=True, exist_ok=True)
        with _calling():
            self._run = wandb.init(
                project=self._plan.tracking.experiment,
                id=self._plan.run_id,
                name=self._plan.run_id,
                group=self._plan.sweep.id if self._plan.sweep else None,
                resume="allow",
                mode="online" if self._key else "offline",
                dir=str(self._folder),
                config={**parameters(self._plan), **self._tags},
                settings=wandb.Settings(api_key=self._key, silent=True, console="off", x_disable_stats=True),
            )
            self._run.define_metric("*", step_metric=STEP)
        return Opened(self._run.url if self._key else None, self._plan.run_id)

    def deliver(self, events: Sequence[Event]) -> None:
        with _calling():
            for event in events:
                if event["kind"] == "params":
                    self._run.config.update(event["values"], allow_val_change=True)
                else:
                    step = "system/sample" if event["kind"] == "system" else STEP
                    self._run.log({**event["values"], step: event.get("step")})

    def finish(self, outcome: Outcome) -> ModelVersion | None:
        import wandb

        with _calling():
            self._run.summary["headway.state"] = outcome.state
            if outcome.model_uri:
                self._run.summary["headway.model"] = outcome.model_uri
            self._run.finish(exit_code=0 if outcome.state == "finished" else 1)
            wandb.teardown()  # an offline run's file may be empty until then
        return None


@contextmanager
def _calling() -> Iterator[None]:
    import wandb

    try:
        yield
    except (wandb.Error, OSError) as error:
        raise RemoteError(f"Weights & Biases: {error}") from error
