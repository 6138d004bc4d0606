"""Every object path, container path and environment variable name, once; both sides use it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

PLAN_VARIABLE = "HEADWAY_PLAN"
"""Set on the container: the gs:// address of plan.json. Nothing else crosses."""

RUNTIME_COMMAND = ("python3", "-m", "headway.runtime")

LABEL_RUN = "headway-run"
LABEL_CLAIM = "headway-claim"
LABEL_NAME = "headway-name"
LABEL_ATTEMPT = "headway-attempt"
"""Which of the plan's candidates a job is on, counted from 1; absent on the first."""
LABEL_HOLDER = "headway-holder"
"""Which of the submits that had the run's claim made the job, counted from 1; absent on the first."""

TAG_RUN = "headway.run_id"
"""The MLflow tag by which a run is found again."""


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

    @property
    def build_logs(self) -> str:
        return "headway/build-logs"

    @property
    def runs(self) -> str:
        return "headway/runs/"

    def run(self, run_id: str) -> str:
        """The run's prefix; also Vertex's baseOutputDirectory (model/, checkpoints/, logs/ are below it)."""
        return f"headway/runs/{run_id}"

    def plan(self, run_id: str) -> str:
        return f"{self.run(run_id)}/plan.json"

    def attempts(self, run_id: str) -> str:
        """Where the run was tried; there only where it was not the first candidate that took it."""
        return f"{self.run(run_id)}/attempts.json"

    def status(self, run_id: str) -> str:
        return f"{self.run(run_id)}/status.json"

    def outputs(self, run_id: str) -> str:
        return f"{self.run(run_id)}/outputs"

    def checkpoints(self, run_id: str) -> str:
        return f"{self.run(run_id)}/checkpoints"

    def model(self, run_id: str) -> str:
        return f"{self.run(run_id)}/model"


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
