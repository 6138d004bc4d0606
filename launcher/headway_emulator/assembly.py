"""Opening the state and putting the engines together; closing them in the opposite order."""

from __future__ import annotations

import secrets
import time

from headway_emulator.api.recording import Recorder
from headway_emulator.engine.builds.builds import Builds
from headway_emulator.engine.builds.steps import EngineSteps, StepRunner
from headway_emulator.engine.builds.without_engine import NotedSteps
from headway_emulator.engine.clock import Clock, SystemClock, VirtualClock
from headway_emulator.engine.executors.process_groups import end_strays
from headway_emulator.engine.executors.processes import ProcessExecutor
from headway_emulator.engine.executors.protocol import Executor
from headway_emulator.engine.faults import Faults
from headway_emulator.engine.functions.functions import Functions
from headway_emulator.engine.images.images import NotedImages
from headway_emulator.engine.jobs.custom_jobs import Jobs
from headway_emulator.engine.jobs.trainings import Trainings
from headway_emulator.engine.objects import Objects
from headway_emulator.engine.scheduling.scheduler import Scheduler
from headway_emulator.engine.store import Store
from headway_emulator.engine.tuning.tuning import Tuning
from headway_emulator.settings import Settings
from headway_emulator.world import World


class Unusable(Exception):
    """No Docker engine answers."""


def open_world(settings: Settings) -> World:
    """Everything, with the unfinished work of the emulator before this one picked up."""
    settings.state.mkdir(parents=True, exist_ok=True)
    store = Store(settings.state / "state.sqlite3")
    clock = _clock(settings, store)
    faults = Faults(store, clock)
    armed = faults.all()
    for fault in settings.faults:
        if not any(fault.items() <= one.items() for one in armed):  # a restart arms nothing a second time
            faults.add(fault)
    end_strays(store)
    executor, runner = _engines(settings, store, clock)
    recorder = Recorder(settings.state / "requests.sqlite3")
    objects = Objects(settings.storage_url, settings.project)
    trainings = Trainings(settings, store, clock, executor, faults)
    jobs = Jobs(store, trainings)
    tuning = Tuning(store, clock, trainings, jobs)
    builds = Builds(settings, store, clock, objects, runner, faults)
    builds.recover()
    trainings.recover()
    tuning.recover()
    functions = Functions(settings, store, clock, Objects(settings.storage_url, settings.project))
    functions.recover()
    scheduler = Scheduler(settings, store, clock)
    scheduler.recover()
    return World(
        settings,
        store,
        clock,
        trainings,
        jobs,
        tuning,
        builds,
        runner.images,
        faults,
        recorder,
        scheduler,
        functions,
    )


def close(world: World) -> None:
    """Functions, builds and process jobs are ended; containers go on running."""
    world.scheduler.close()
    world.functions.close()
    world.builds.close()
    world.tuning.close()
    world.trainings.close()
    world.clock.close()
    world.recorder.close()
    world.store.close()


def _clock(settings: Settings, store: Store) -> Clock:
    """A virtual clock begins at the machine's time in a new state, and where it stood in an old one."""
    if settings.clock == "real":
        return SystemClock()
    kept = store.get("clock", "now") or {"ns": time.time_ns()}
    return VirtualClock(int(kept["ns"]), lambda now: store.put("clock", "now", {"ns": now}))


def _engines(settings: Settings, store: Store, clock: Clock) -> tuple[Executor, StepRunner]:
    if settings.executor == "process":
        return ProcessExecutor(settings.state / "jobs", store, clock), NotedSteps(NotedImages(store))
    from docker.errors import DockerException

    from headway_emulator.engine.executors.containers import DockerExecutor
    from headway_emulator.engine.images.of_engine import EngineImages

    try:
        executor = DockerExecutor(settings.network, _identity(store))
    except DockerException as error:
        raise Unusable(
            f"No Docker engine answers ({error}). Start one, or use --executor process."
        ) from error
    return executor, EngineSteps(EngineImages(), settings.network)


def _identity(store: Store) -> str:
    """By which this state's containers are known among others'; it lasts as long as the state."""
    with store.transaction():
        known = store.get("identity", "self") or {"id": secrets.token_hex(8)}
        store.put("identity", "self", known)
    return str(known["id"])
