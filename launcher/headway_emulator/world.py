"""Everything that the services share, made once at the start."""

from __future__ import annotations

from dataclasses import dataclass

from headway_emulator.api.recording import Recorder
from headway_emulator.engine.builds.builds import Builds
from headway_emulator.engine.clock import Clock
from headway_emulator.engine.faults import Faults
from headway_emulator.engine.functions.functions import Functions
from headway_emulator.engine.images.images import Images
from headway_emulator.engine.jobs.custom_jobs import Jobs
from headway_emulator.engine.jobs.trainings import Trainings
from headway_emulator.engine.scheduling.scheduler import Scheduler
from headway_emulator.engine.store import Store
from headway_emulator.engine.tuning.tuning import Tuning
from headway_emulator.errors import ApiError
from headway_emulator.settings import Settings


@dataclass(frozen=True)
class World:
    """One emulated project with its state and the engines that change it."""

    settings: Settings
    store: Store
    clock: Clock
    trainings: Trainings
    jobs: Jobs
    tuning: Tuning
    builds: Builds
    images: Images
    faults: Faults
    recorder: Recorder
    scheduler: Scheduler
    functions: Functions

    def location(self, project: str, location: str) -> str:
        """The parent as Vertex AI spells it in names: with the project's number."""
        self.check_project(project)
        return f"projects/{self.settings.project_number}/locations/{location}"

    def check_project(self, project: str) -> None:
        """PERMISSION_DENIED for any other project, as Google answers for a stranger's."""
        if not self.settings.names_project(project):
            raise ApiError(
                "PERMISSION_DENIED",
                f"Permission denied on resource project {project} (or it may not exist). "
                f"This emulator serves the project {self.settings.project}.",
            )
