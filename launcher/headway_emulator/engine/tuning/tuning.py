"""Hyperparameter tuning jobs: trials suggested, run as trainings, measured, and summed up.

A job changes in this engine's one thread; how a trial's training goes on is written in the transaction that
writes the training itself, so that neither is ahead of the other when the emulator is killed.
"""

from __future__ import annotations

import copy
import random
import time
from collections.abc import Mapping
from functools import partial
from typing import Any

from headway_emulator.engine.clock import Clock, timestamp
from headway_emulator.engine.jobs.custom_jobs import KIND as CUSTOM_JOB
from headway_emulator.engine.jobs.custom_jobs import Jobs
from headway_emulator.engine.jobs.log import JobLog
from headway_emulator.engine.jobs.trainings import FINAL, Order, Trainings
from headway_emulator.engine.loop import Closed, Loop
from headway_emulator.engine.store import Document, Store
from headway_emulator.engine.tuning import measurements, space, study
from headway_emulator.engine.tuning.space import Value, arguments
from headway_emulator.engine.tuning.watch import Watch
from headway_emulator.errors import RPC_CODE, ApiError, not_found, precondition

KIND = "hyperparameterTuningJob"
TRIAL = "trial"
"""The kind of training. Each job's trials are documents of a kind of their own, so as to be found at once."""
OWNER = "trialOwner"
"""By the name of a trial's custom job: the tuning job and the trial's id."""
OVER = frozenset(["SUCCEEDED", "INFEASIBLE"])
SHOWN = (
    *("id", "state", "parameters", "finalMeasurement", "measurements", "startTime", "endTime", "customJob"),
    "infeasibleReason",
)
LEAVE_SECONDS = 5.0


class Tuning:
    """Every tuning job of the project."""

    def __init__(self, store: Store, clock: Clock, trainings: Trainings, jobs: Jobs) -> None:
        self._store = store
        self._clock = clock
        self._trainings = trainings
        self._jobs = jobs
        self._loop = Loop(clock)
        self._watch = Watch(trainings, self._measured)
        trainings.observe(TRIAL, self._changed)

    def create(self, parent: str, body: Mapping[str, Any]) -> Document:
        """Store a validated job and begin its first trials.

        ApiError RESOURCE_EXHAUSTED, and nothing is kept, where quota can never allow the first.
        """
        name = f"{parent}/hyperparameterTuningJobs/{random.randint(10**18, 9 * 10**18)}"
        study.prepare(body["studySpec"])
        now = self._now()
        job = {"name": name, **body, "state": "JOB_STATE_PENDING", "createTime": now, "updateTime": now}
        self._store.put(KIND, name, job)
        try:
            self._loop.ask(partial(self._advance, name, fresh=True))
        except Closed as error:
            self._post(name)  # it is kept, and goes on when it can
            raise ApiError("UNAVAILABLE", "The emulator is ending, or cannot write its state.") from error
        except Exception:  # refused, or a bug, with which it would wait for ever
            self._store.delete(KIND, name)
            raise
        return job

    def get(self, name: str) -> Document:
        """With its trials."""
        return self.shown(self._job(name))

    def shown(self, job: Document) -> Document:
        """The job with its trials, in the order of their ids."""
        trials = [{key: trial[key] for key in SHOWN if trial.get(key)} for trial in self._trials(job["name"])]
        return {**job, **({"trials": trials} if trials else {})}

    def cancel(self, name: str) -> None:
        """CANCELLING at once, CANCELLED when the last trial has ended."""
        with self._store.transaction():
            state = self._job(name)["state"]
            if state in FINAL and state != "JOB_STATE_CANCELLED":
                text = f"The HyperparameterTuningJob {name} is in state {state} and cannot be cancelled."
                raise precondition(text)
            if state not in FINAL:
                self._save(name, state="JOB_STATE_CANCELLING")
        self._post(name)

    def delete(self, name: str) -> None:
        """Only a job that is over; its trials and their custom jobs go with it, their logs stay."""
        with self._store.transaction():
            if (state := self._job(name)["state"]) not in FINAL:
                text = (
                    f"The HyperparameterTuningJob {name} is in state {state}; cancel it before deleting it."
                )
                raise precondition(text)
            for trial in self._trials(name):
                self._store.delete(CUSTOM_JOB, trial["customJob"])
                self._store.delete(OWNER, trial["customJob"])
                self._store.delete(_kind(name), trial["id"])
            self._store.delete(KIND, name)

    def recover(self) -> None:
        """Go on with what the emulator before this one left; the trainings have been picked up already."""
        for job in self._store.list(KIND):
            if job["state"] not in FINAL:
                for trial in self._trials(job["name"]):
                    if trial["state"] not in OVER:
                        self._watch.add(trial["customJob"])
                    if trial["state"] == "STOPPING":
                        self._trainings.cancel(trial["customJob"])  # the kill may have come before that
                self._post(job["name"])

    def close(self) -> None:
        self._watch.close()
        self._loop.close(LEAVE_SECONDS)

    # -- in this engine's thread

    def _post(self, name: str) -> None:
        self._loop.post(partial(self._advance, name))

    def _advance(self, name: str, *, fresh: bool = False) -> None:
        """Begin what may begin, stop what must stop, or end the job; called after each change.

        A `fresh` job whose first trial is refused raises what refuses it.
        """
        job = self._store.get(KIND, name)
        if job is None or job["state"] in FINAL:
            return
        trials = self._trials(name)
        running = [trial for trial in trials if trial["state"] not in OVER]
        failed = [trial for trial in trials if trial["state"] == "INFEASIBLE" and not trial.get("stopped")]
        most = int(job.get("maxFailedTrialCount", 0))
        if job["state"] == "JOB_STATE_CANCELLING":
            self._stop(name, running, ("JOB_STATE_CANCELLED", "CANCELLED", "CANCELED"))
        elif most and len(failed) >= most:
            self._stop(name, running, _too_many(failed))
        elif not self._begin(job, trials, len(running), fresh=fresh) and not running:
            good = len(failed) < len(trials)
            self._end(name, *(("JOB_STATE_SUCCEEDED", "OK", "") if good else _too_many(failed)))

    def _stop(self, name: str, running: list[Document], outcome: tuple[str, str, str]) -> None:
        """The outcome comes when the last trial has ended."""
        if not running:
            self._end(name, *outcome)
        for trial in running:
            self.stop_trial(name, trial["id"])

    def stop_trial(self, name: str, trial: str) -> None:
        """STOPPING at once; its training is cancelled, and what it has measured so far counts."""
        with self._store.transaction():
            known = self._store.get(_kind(name), trial)
            if known is None or known["state"] in OVER:
                return
            self._store.put(_kind(name), trial, {**known, "state": "STOPPING"})
        self._trainings.cancel(known["customJob"])

    def _begin(self, job: Document, trials: list[Document], running: int, *, fresh: bool) -> bool:
        """As many new trials as may run beside those that do; False where nothing is left to begin."""
        begun = 0
        tried = [_tried(trial, job["studySpec"]) for trial in trials]
        most, parallel = int(job["maxTrialCount"]), int(job["parallelTrialCount"])
        while len(trials) + begun < most and running + begun < parallel:
            number = len(trials) + begun + 1
            values = study.suggest(job["studySpec"], number, tried, name=job["displayName"])
            if values is None:
                break
            try:
                self._launch(job, str(number), values)
            except ApiError as error:
                if fresh and not begun:
                    raise
                if error.status != "UNAVAILABLE":  # that is the emulator's own end: the next one goes on
                    self._end(job["name"], "JOB_STATE_FAILED", error.status, error.message)
                return True
            tried.append(space.Tried(values))
            begun += 1
        return begun > 0

    def _launch(self, job: Document, trial: str, values: Mapping[str, Value]) -> None:
        parent, tuning_id = job["name"].split("/hyperparameterTuningJobs/")
        custom_id = str(random.randint(10**18, 9 * 10**18))
        custom_job = f"{parent}/customJobs/{custom_id}"
        spec = _trial_spec(job["trialJobSpec"], values)
        env = {
            "CLOUD_ML_JOB_ID": tuning_id,
            "CLOUD_ML_TRIAL_ID": trial,
            "CLOUD_ML_HP_METRIC_FILE": measurements.METRIC_FILE,
        }
        display_name = f"{job['displayName']}-trial-{trial}"
        region = parent.rsplit("/", 1)[1]
        order = Order(
            *(TRIAL, custom_job, custom_id, region, spec, display_name),
            trial=trial,
            env=env,
            log=f"{tuning_id}/{trial}/{custom_id}",
            keep=measurements.METRIC_FILE,
        )

        def written(training: Document) -> None:
            times = {field: training[field] for field in ("state", "createTime", "updateTime")}
            shown = {"name": custom_job, "displayName": display_name, "jobSpec": spec, **times}
            self._store.put(CUSTOM_JOB, custom_job, shown)
            self._store.put(OWNER, custom_job, {"job": job["name"], "trial": trial})
            document = _trial(trial, custom_job, values, training["createTime"])
            self._store.put(_kind(job["name"]), trial, document)
            self._watch.add(custom_job)  # now: it may be over before `start` returns

        self._trainings.start(order, written)
        said = f"Trial {trial} runs as custom job {custom_id}: {' '.join(arguments(values))}"
        self._say(job["name"], "INFO", said)

    def _end(self, name: str, state: str, status: str, message: str) -> None:
        changes: Document = {"state": state, "endTime": self._now()}
        if status != "OK":
            changes["error"] = {"code": RPC_CODE.get(status, RPC_CODE["INTERNAL"]), "message": message}
            self._say(name, "ERROR" if state == "JOB_STATE_FAILED" else "INFO", message)
        self._save(name, **changes)

    # -- in the thread of the trainings, and in their transaction

    def _changed(self, training: Document) -> None:
        self._jobs.show(training)
        owner = self._store.get(OWNER, training["name"])
        trial = self._store.get(_kind(owner["job"]), owner["trial"]) if owner else None
        if owner is None or trial is None or trial["state"] in OVER:
            return
        job = self._job(owner["job"])
        if training["state"] == "JOB_STATE_RUNNING":
            trial.setdefault("began", time.time())
            if not job.get("startTime"):
                self._save(job["name"], state="JOB_STATE_RUNNING", startTime=self._now())
        if training["phase"] == "over":
            trial = self._ended(trial, job, training)
            self._watch.remove(training["name"])
            self._post(job["name"])
        elif trial["state"] != "STOPPING":
            trial["state"] = "REQUESTED" if training["state"] == "JOB_STATE_QUEUED" else "ACTIVE"
        self._store.put(_kind(job["name"]), trial["id"], trial)

    def _ended(self, trial: Document, job: Document, training: Document) -> Document:
        """SUCCEEDED needs a final measurement (the description of Trial.State.INFEASIBLE)."""
        spec = job["studySpec"]
        last = measurements.read(training.get("kept", ""), spec, trial.get("began", 0.0))
        found = measurements.merged(trial.get("measurements", []), last)
        final = measurements.final(found, spec)
        ended = {**trial, "measurements": found, "endTime": self._now(), "state": "SUCCEEDED"}
        stopped = trial["state"] == "STOPPING"
        if training["state"] != "JOB_STATE_SUCCEEDED" and not stopped:
            reason = training.get("error", {}).get("message", training["state"])
        elif final is None:
            metric = spec["metrics"][0]["metricId"]
            ended["stopped"] = stopped
            how = "was stopped" if stopped else "ended"
            reason = f'The trial {how} without a measurement of "{metric}".'
        else:
            return {**ended, "finalMeasurement": final}
        return {**ended, "state": "INFEASIBLE", "infeasibleReason": reason}

    # -- in the thread of the watch

    def _measured(self, custom_job: str, text: str) -> None:
        """What a running trial has reported so far."""
        with self._store.transaction():
            owner = self._store.get(OWNER, custom_job)
            trial = self._store.get(_kind(owner["job"]), owner["trial"]) if owner else None
            if owner is None or trial is None or trial["state"] in OVER:
                return
            job = self._job(owner["job"])
            new = measurements.read(text, job["studySpec"], trial.get("began", 0.0))
            known = trial.get("measurements", [])
            found = measurements.merged(known, new)
            if found == known:
                return
            self._store.put(_kind(job["name"]), trial["id"], {**trial, "measurements": found})
        if trial["state"] == "ACTIVE" and "medianAutomatedStoppingSpec" in job["studySpec"]:
            others = [
                other["measurements"]
                for other in self._trials(job["name"])
                if other["state"] == "SUCCEEDED" and other["id"] != trial["id"]
            ]
            if measurements.falls_behind(found, others, job["studySpec"]):
                self._say(job["name"], "INFO", f"Trial {trial['id']} is stopped early by the median rule.")
                self.stop_trial(job["name"], trial["id"])

    # -- small things

    def _job(self, name: str) -> Document:
        job = self._store.get(KIND, name)
        if job is None:
            raise not_found(name)
        return job

    def _trials(self, name: str) -> list[Document]:
        return self._store.list(_kind(name))[::-1]

    def _save(self, name: str, **changes: Any) -> None:
        """Nothing is written to a job that is over, or cancelled in the meantime by a lesser change."""
        with self._store.transaction():
            job = self._job(name)
            if job["state"] == "JOB_STATE_CANCELLING" and changes.get("state") == "JOB_STATE_RUNNING":
                changes.pop("state")
            if job["state"] not in FINAL:
                self._store.put(KIND, name, {**job, **changes, "updateTime": self._now()})

    def _say(self, name: str, severity: str, message: str) -> None:
        JobLog(self._store, self._clock, name.rsplit("/", 1)[1]).say(severity, message)

    def _now(self) -> str:
        return timestamp(self._clock.now_ns())


def _kind(name: str) -> str:
    return f"{TRIAL}:{name}"


def _trial(trial: str, custom_job: str, values: Mapping[str, Value], now: str) -> Document:
    """As it is kept; `began` and `stopped`, which come later, are the engine's own."""
    parameters = [{"parameterId": name, "value": value} for name, value in values.items()]
    return {
        "id": trial,
        "state": "REQUESTED",
        "parameters": parameters,
        "startTime": now,
        "customJob": custom_job,
    }


def _trial_spec(spec: Mapping[str, Any], values: Mapping[str, Value]) -> Document:
    """The job spec with the trial's parameters behind the arguments of every container."""
    found: Document = copy.deepcopy(dict(spec))
    for pool in found["workerPoolSpecs"]:
        if "containerSpec" in pool:
            container = pool["containerSpec"]
            container["args"] = [*container.get("args", []), *arguments(values)]
    return found


def _tried(trial: Document, spec: Mapping[str, Any]) -> space.Tried:
    """The trial as the next suggestion looks at it."""
    values = {parameter["parameterId"]: parameter["value"] for parameter in trial["parameters"]}
    final = trial.get("finalMeasurement")
    objective = measurements.objective(final, spec) if final else None
    return space.Tried(values, trial["state"] in OVER, objective)


def _too_many(failed: list[Document]) -> tuple[str, str, str]:
    last = failed[-1]
    text = f"Too many failed trials: {len(failed)}. Trial {last['id']}: {last['infeasibleReason']}"
    return "JOB_STATE_FAILED", "INVALID_ARGUMENT", text
