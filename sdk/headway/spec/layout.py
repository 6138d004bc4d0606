"""Every object path, container path and environment variable name, once; both sides use it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

PLAN_VARIABLE = "HEADWAY_PLAN"
"""Set on the container: the gs:// address of plan.json. Nothing else crosses."""

TRIAL_VARIABLE = "CLOUD_ML_TRIAL_ID"
"""Set by Vertex AI on the containers of a trial of a tuning job: its number, from 1."""
METRIC_FILE_VARIABLE = "CLOUD_ML_HP_METRIC_FILE"
"""Set by Vertex AI there too: the file in which cloudml-hypertune reports the trial's metric."""

RUNTIME_COMMAND = ("python3", "-m", "headway.runtime")

LABEL_RUN = "headway-run"
LABEL_CLAIM = "headway-claim"
LABEL_NAME = "headway-name"
LABEL_ATTEMPT = "headway-attempt"
"""Which of the plan's candidates a job is on, counted from 1; absent on the first."""
LABEL_HOLDER = "headway-holder"
"""Which of the submits that had the run's claim made the job, counted from 1; absent on the first."""
LABEL_SWEEP = "headway-sweep"
"""On a sweep's tuning job: which of the sweep's jobs it is, counted from 1 (a resumed sweep has several)."""

LABEL_SCHEDULE = "headway-schedule"
"""Which schedule started the run; absent where a person did."""

TAG_RUN = "headway.run_id"
"""The MLflow tag by which a run is found again, and the version of a model that it made."""
TAG_MODEL = "headway.model"
"""A model version's tag: the gs:// address of the model, a folder's with a slash at the end."""
TAG_REPLACED = "headway.replaced"
"""A model version's tag: the version whose alias it took over, which a rollback goes back to.

It is champion's; another alias has one of its own.
"""
TAG_PROMOTED_BY = "headway.promoted_by"
"""A model version's tag: the run, or the person, that moved the alias to it."""
TAG_ROLLED_BACK = "headway.rolled_back"
"""A model version's tag: to which version, by whom and when the alias was taken from it."""
TAG_PROMOTION = "headway.promotion"
"""A model version's tag: what became of it when it was compared, in words."""
TAG_COMPARISON = "headway.comparison"
"""A model version's tag: the gs:// address of the comparison's table."""
TAG_SWEEP = "headway.sweep"
"""The MLflow tag of a sweep's parent run and of its trials' runs: the sweep's id."""
TAG_TRIAL = "headway.trial"
"""The MLflow tag of a trial's run: its number."""


@dataclass(frozen=True)
class RunFolder:
    """Object names of one run, or of one trial, below its prefix."""

    prefix: str

    @property
    def attempts(self) -> str:
        """Where the run was tried; there only where it was not the first candidate that took it."""
        return f"{self.prefix}/attempts.json"

    @property
    def status(self) -> str:
        return f"{self.prefix}/status.json"

    @property
    def outputs(self) -> str:
        return f"{self.prefix}/outputs"

    @property
    def checkpoints(self) -> str:
        return f"{self.prefix}/checkpoints"

    @property
    def model(self) -> str:
        return f"{self.prefix}/model"


@dataclass(frozen=True)
class BucketLayout:
    """Object names in the project's bucket, without `gs://BUCKET/`."""

    bucket: str

    def uri(self, name: str) -> str:
        """The gs:// address of an object or prefix."""
        return f"gs://{self.bucket}/{name}"

    def bundle(self, digest: str) -> str:
        return f"headway/bundles/{digest}.tar"

    def build_context(self, digest: str) -> str:
        return f"headway/builds/{digest}/context.tar.gz"

    def environment(self, name: str) -> str:
        """The parts of the environment that jobs of this name were last built with."""
        return f"headway/environments/{name}.json"

    def data_version(self, name: str) -> str:
        """What `launch data push` of the job of this name sent last."""
        return f"headway/data/{name}/pins.json"

    @property
    def schedules(self) -> str:
        return "headway/schedules/"

    def schedule(self, name: str) -> str:
        return f"{self.schedules}{name}/schedule.json"

    def ticks(self, name: str) -> str:
        """The prefix of a schedule's ticks, whose names sort by time."""
        return f"{self.schedules}{name}/ticks/"

    def tick(self, name: str, time: datetime, source: str) -> str:
        """`time` in UTC, to the second."""
        return f"{self.ticks(name)}{time:%Y%m%dT%H%M%SZ}-{source}.json"

    def function(self, digest: str) -> str:
        return f"headway/functions/{digest}.zip"

    @property
    def build_logs(self) -> str:
        return "headway/build-logs"

    @property
    def regions(self) -> str:
        """Prefix of empty objects: the regions, other than the place's own, that jobs were created in."""
        return "headway/regions/"

    @property
    def runs(self) -> str:
        return "headway/runs/"

    def run(self, run_id: str) -> str:
        """The run's prefix; also Vertex's baseOutputDirectory (model/, checkpoints/, logs/ are below it)."""
        return f"headway/runs/{run_id}"

    def plan(self, run_id: str) -> str:
        return f"{self.run(run_id)}/plan.json"

    def status(self, run_id: str) -> str:
        return f"{self.run(run_id)}/status.json"

    def outputs(self, run_id: str) -> str:
        return f"{self.run(run_id)}/outputs"

    def model(self, run_id: str) -> str:
        return f"{self.run(run_id)}/model"

    @property
    def sweeps(self) -> str:
        return "headway/sweeps/"

    def sweep(self, sweep_id: str) -> str:
        """The sweep's prefix; below it plans, the folder of each of its tuning jobs, and results."""
        return f"headway/sweeps/{sweep_id}"

    def sweep_plan(self, sweep_id: str, attempt: int = 1) -> str:
        """The claim on one of the sweep's tuning jobs."""
        return f"{self.sweep(sweep_id)}/plan{f'-{attempt}' if attempt > 1 else ''}.json"

    def sweep_job(self, sweep_id: str, attempt: int) -> str:
        """Vertex's baseOutputDirectory of a tuning job: it puts each trial below its number."""
        return f"{self.sweep(sweep_id)}/{attempt}"

    def trial(self, sweep_id: str, attempt: int, trial: str) -> str:
        """A trial's prefix."""
        return f"{self.sweep_job(sweep_id, attempt)}/{trial}"

    def sweep_results(self, sweep_id: str) -> str:
        """The prefix of the records of finished trials."""
        return f"{self.sweep(sweep_id)}/results/"

    def sweep_result(self, sweep_id: str, digest: str) -> str:
        """The record of the finished trial at one point of the search space (`spec.sweep.digest`)."""
        return f"{self.sweep_results(sweep_id)}{digest}.json"

    def sweep_parent(self, sweep_id: str, number: int) -> str:
        """Which run in MLflow is the sweep's; the next number where that one was deleted since."""
        return f"{self.sweep(sweep_id)}/parent-{number}.json"

    def sweep_broken(self, sweep_id: str) -> str:
        """There only where a trial found that no trial can be judged; holds its error."""
        return f"{self.sweep(sweep_id)}/broken.json"


@dataclass(frozen=True)
class ContainerLayout:
    """Folders of the training container, below its working root (the home of the image's user)."""

    root: Path

    @property
    def code(self) -> Path:
        """The unpacked bundle; the training process's working folder. Data paths lie in it."""
        return self.root / "code"

    @property
    def checkpoints(self) -> Path:
        return self.root / "checkpoints"

    @property
    def outputs(self) -> Path:
        return self.root / "outputs"

    @property
    def model(self) -> Path:
        return self.root / "model"

    @property
    def spool(self) -> Path:
        """Folder of tracking events on their way."""
        return self.root / "spool"

    @property
    def champion(self) -> Path:
        """Folder of the model that the run's own is compared with."""
        return self.root / "champion"

    @property
    def reported(self) -> Path:
        """Where training code of a sweep's trial finds the file of cloudml-hypertune, if it uses that."""
        return self.root / "spool" / "output.metrics"


class TrainingVariables:
    """Environment of the training process, set by the runtime and read by `headway.lightning`."""

    RUN_ID = "HEADWAY_RUN_ID"
    CHECKPOINTS = "HEADWAY_CHECKPOINTS"
    OUTPUTS = "HEADWAY_OUTPUTS"
    MODEL = "HEADWAY_MODEL"
    SPOOL = "HEADWAY_SPOOL"
    NODES = "HEADWAY_NODES"
    RESUME = "HEADWAY_RESUME"
    """The checkpoint that a restarted run goes on from; absent on a first start."""
