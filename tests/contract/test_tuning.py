"""Hyperparameter tuning jobs with real trials, driven by the SDK and by the GAPIC client over REST."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import requests
from google.api_core import exceptions
from google.cloud.aiplatform_v1 import HyperparameterTuningJob, JobServiceClient, JobState, Trial

from tests.contract import real
from tests.contract.conftest import custom_job, job_client, log_lines
from tests.contract.servers import (
    BUCKET,
    IMAGE,
    NUMBER,
    PARENT,
    PLACE,
    Emulator,
    StorageServer,
    until,
)

if TYPE_CHECKING:
    from pathlib import Path

FINAL = (JobState.JOB_STATE_SUCCEEDED, JobState.JOB_STATE_FAILED, JobState.JOB_STATE_CANCELLED)
ARGUMENTS = "import sys; given = dict(a.removeprefix('--').split('=', 1) for a in sys.argv[1:])"
REPORT = "import hypertune; tune = hypertune.HyperTune(); report = tune.report_hyperparameter_tuning_metric"
BARE_REPORT = """
import json, os, time
lines = []
def report(tag, value, step=None):
    path = os.environ['CLOUD_ML_HP_METRIC_FILE']
    os.makedirs(os.path.dirname(path), exist_ok=True)
    lines.append({'timestamp': time.time(), 'trial': os.environ['CLOUD_ML_TRIAL_ID'], tag: str(value),
                  'global_step': str(int(step or 0)), 'checkpoint_path': ''})
    with open(path, 'w') as file:
        file.writelines(json.dumps(line) + chr(10) for line in lines)
"""
"""What cloudml-hypertune does, for an image that does not have it."""
if PLACE is not None:
    REPORT = BARE_REPORT  # a real project's image is whatever the suite is given
UNIT = {"parameter_id": "x", "double_value_spec": {"min_value": 0, "max_value": 1}, "scale_type": 1}


def tuning_job(
    *program: str, trials: int = 2, parallel: int = 1, study: dict[str, Any] | None = None, **more: Any
) -> dict[str, Any]:
    """A tuning job of one parameter x and one metric to maximize; `study` and `more` replace fields."""
    spec = custom_job(ARGUMENTS, *program, **more.pop("spec", {}))["job_spec"]
    return {
        "display_name": "tuning",
        "max_trial_count": trials,
        "parallel_trial_count": parallel,
        "study_spec": {
            "metrics": [{"metric_id": "accuracy", "goal": "MAXIMIZE"}],
            "parameters": [UNIT],
            **(study or {}),
        },
        "trial_job_spec": spec,
        **more,
    }


def created(jobs: JobServiceClient, job: dict[str, Any]) -> str:
    request = {"parent": PARENT, "hyperparameter_tuning_job": job}
    return str(jobs.create_hyperparameter_tuning_job(request).name)


def finished(jobs: JobServiceClient, name: str, seconds: float = 60.0) -> HyperparameterTuningJob:
    until(lambda: jobs.get_hyperparameter_tuning_job(name=name).state in FINAL, seconds=seconds)
    return jobs.get_hyperparameter_tuning_job(name=name)


def tuned(jobs: JobServiceClient, *program: str, **more: Any) -> HyperparameterTuningJob:
    return finished(jobs, created(jobs, tuning_job(*program, **more)))


def values(trial: Trial) -> dict[str, Any]:
    return {parameter.parameter_id: parameter.value for parameter in trial.parameters}


def lines(emulator: Emulator, job: str, trial: str) -> list[str]:
    """What a trial wrote: in the log of its tuning job, labelled with its id."""
    return [
        entry["jsonPayload"]["message"]
        for entry in log_lines(emulator, job)
        if entry.get("labels", {}).get("ml.googleapis.com/trial_id") == trial
    ]


def measured(trial: Trial) -> float:
    return float(trial.final_measurement.metrics[0].value)


@pytest.fixture(params=["process", pytest.param("docker", marks=pytest.mark.docker)])
def tuner(request: pytest.FixtureRequest) -> tuple[Emulator, dict[str, Any], str]:
    """An emulator of either executor, what its jobs need beside a program, and how they report."""
    if request.param == "process":
        return request.getfixturevalue("emulator"), {}, REPORT
    if PLACE is not None:
        real.only_here("the Docker executor")
    image = request.getfixturevalue("base_image")
    return request.getfixturevalue("docker_emulator"), {"image": image}, BARE_REPORT


def test_every_trial_runs_with_its_parameters_and_is_measured(
    tuner: tuple[Emulator, dict[str, Any], str],
) -> None:
    emulator, image, report = tuner
    jobs = job_client(emulator)
    job = tuned(
        jobs,
        report,
        "report('accuracy', 1 - abs(float(given['x']) - 0.5), 7)",
        trials=3,
        parallel=2,
        spec=image,
    )
    assert (job.state, job.error.code) == (JobState.JOB_STATE_SUCCEEDED, 0)
    assert job.create_time <= job.start_time <= job.end_time
    assert [trial.id for trial in job.trials] == ["1", "2", "3"]
    for trial in job.trials:
        assert trial.state == Trial.State.SUCCEEDED
        assert measured(trial) == pytest.approx(1 - abs(values(trial)["x"] - 0.5))
        assert trial.final_measurement.step_count == 7
        assert trial.start_time <= trial.end_time
    assert len({values(trial)["x"] for trial in job.trials}) == 3


def test_a_trial_sees_vertex_ais_environment(tuner: tuple[Emulator, dict[str, Any], str]) -> None:
    emulator, image, report = tuner
    jobs = job_client(emulator)
    names = "CLOUD_ML_TRIAL_ID CLOUD_ML_JOB_ID AIP_MODEL_DIR AIP_CHECKPOINT_DIR AIP_TENSORBOARD_LOG_DIR"
    base = {"base_output_directory": {"output_uri_prefix": f"gs://{BUCKET}/out"}}
    job = tuned(
        jobs,
        "import json, os",
        f"print(json.dumps({{n: os.environ[n] for n in '{names}'.split()}}))",
        "print(json.loads(os.environ['CLUSTER_SPEC'])['task']['trial'])",
        report,
        "report('accuracy', 1)",
        trials=1,
        spec={**image, **base},
    )
    environment, trial = lines(emulator, job.name, "1")
    assert json.loads(environment) == {
        "CLOUD_ML_TRIAL_ID": "1",
        "CLOUD_ML_JOB_ID": job.name.rsplit("/", 1)[1],
        "AIP_MODEL_DIR": f"gs://{BUCKET}/out/1/model/",
        "AIP_CHECKPOINT_DIR": f"gs://{BUCKET}/out/1/checkpoints/",
        "AIP_TENSORBOARD_LOG_DIR": f"gs://{BUCKET}/out/1/logs/",
    }
    assert trial == "1"


def test_the_log_of_a_job_has_that_of_all_trials(jobs: JobServiceClient, emulator: Emulator) -> None:
    job = tuned(jobs, "import os; print('I am', os.environ['CLOUD_ML_TRIAL_ID'])", trials=2, parallel=2)
    assert [lines(emulator, job.name, trial) for trial in "12"] == [["I am 1"], ["I am 2"]]
    tasks = {entry["resource"]["labels"]["task_name"] for entry in log_lines(emulator, job.name)}
    assert tasks == {"service", "workerpool0-0"}


def test_a_trials_custom_job_is_found_with_its_arguments(jobs: JobServiceClient) -> None:
    job = tuned(jobs, REPORT, "report('accuracy', 1)", trials=1)
    (trial,) = job.trials
    assert trial.custom_job.startswith(f"projects/{NUMBER}/locations/us-central1/customJobs/")
    run = jobs.get_custom_job(name=trial.custom_job)
    assert run.state == JobState.JOB_STATE_SUCCEEDED
    (argument,) = run.job_spec.worker_pool_specs[0].container_spec.args
    assert float(argument.removeprefix("--x=")) == pytest.approx(values(trial)["x"])


def test_measurements_are_seen_while_a_trial_runs(jobs: JobServiceClient) -> None:
    name = created(jobs, tuning_job(REPORT, "report('accuracy', .25, 1)", "import time; time.sleep(60)"))
    until(
        lambda: [
            t.measurements for t in jobs.get_hyperparameter_tuning_job(name=name).trials if t.measurements
        ]
    )
    job = jobs.get_hyperparameter_tuning_job(name=name)
    (trial,) = job.trials
    assert (job.state, trial.state) == (JobState.JOB_STATE_RUNNING, Trial.State.ACTIVE)
    (measurement,) = trial.measurements
    assert (measurement.step_count, measurement.metrics[0].value) == (1, 0.25)
    jobs.cancel_hyperparameter_tuning_job(name=name)
    finished(jobs, name)


@pytest.mark.parametrize(
    ("selection", "final"), [(None, 0.5), ("LAST_MEASUREMENT", 0.5), ("BEST_MEASUREMENT", 0.9)]
)
def test_the_final_measurement_is_the_last_or_the_best(
    jobs: JobServiceClient, selection: str | None, final: float
) -> None:
    study = {"measurement_selection_type": selection} if selection else {}
    steps = "[report('accuracy', v, s) for s, v in enumerate((.1, .9, .5))]"
    job = tuned(jobs, REPORT, steps, trials=1, study=study)
    assert measured(job.trials[0]) == final
    assert [m.step_count for m in job.trials[0].measurements] == [0, 1, 2]


def test_a_grid_is_searched_to_its_end_and_no_further(jobs: JobServiceClient) -> None:
    parameters = [
        {"parameter_id": "layers", "integer_value_spec": {"min_value": 1, "max_value": 2}},
        {
            "parameter_id": "optimizer",
            "categorical_value_spec": {"values": ["sgd", "adam"]},
            "conditional_parameter_specs": [
                {
                    "parent_categorical_values": {"values": ["adam"]},
                    "parameter_spec": {"parameter_id": "beta", "discrete_value_spec": {"values": [0.5, 2]}},
                }
            ],
        },
    ]
    job = tuned(
        jobs,
        REPORT,
        "print(sorted(given.items()))",
        "report('accuracy', 1)",
        trials=20,
        parallel=3,
        study={"parameters": parameters, "algorithm": "GRID_SEARCH"},
    )
    tried = [values(trial) for trial in job.trials]
    assert (job.state, len(tried)) == (JobState.JOB_STATE_SUCCEEDED, 6)
    assert tried[:3] == [
        {"layers": 1, "optimizer": "sgd"},
        {"layers": 1, "optimizer": "adam", "beta": 0.5},
        {"layers": 1, "optimizer": "adam", "beta": 2},
    ]


def test_whole_numbers_reach_the_program_without_a_decimal_point(
    jobs: JobServiceClient, emulator: Emulator
) -> None:
    parameter = {"parameter_id": "units", "discrete_value_spec": {"values": [64]}}
    job = tuned(
        jobs,
        REPORT,
        "print(int(given['units']))",
        "report('accuracy', 1)",
        trials=1,
        study={"parameters": [parameter]},
    )
    assert lines(emulator, job.name, "1") == ["64"]


def test_the_same_study_gets_the_same_trials(jobs: JobServiceClient) -> None:
    if PLACE is not None:
        real.only_here("a search that is the same each time")
    for algorithm in ("ALGORITHM_UNSPECIFIED", "RANDOM_SEARCH"):
        program = (REPORT, "report('accuracy', float(given['x']))")
        first, second = (tuned(jobs, *program, trials=3, study={"algorithm": algorithm}) for _ in range(2))
        assert [values(trial) for trial in first.trials] == [values(trial) for trial in second.trials]


def test_no_more_trials_run_at_once_than_asked_for(jobs: JobServiceClient) -> None:
    name = created(
        jobs,
        tuning_job(REPORT, "import time; time.sleep(.4)", "report('accuracy', 1)", trials=4, parallel=2),
    )
    most = 0
    while (job := jobs.get_hyperparameter_tuning_job(name=name)).state not in FINAL:
        most = max(most, sum(t.state in (Trial.State.ACTIVE, Trial.State.REQUESTED) for t in job.trials))
    assert (most, len(job.trials)) == (2, 4)


def test_a_failed_trial_is_infeasible_and_the_others_go_on(jobs: JobServiceClient) -> None:
    fail_first = "import os; os.environ['CLOUD_ML_TRIAL_ID'] == '1' and sys.exit(3)"
    job = tuned(jobs, fail_first, REPORT, "report('accuracy', 1)", trials=2)
    first, second = job.trials
    assert job.state == JobState.JOB_STATE_SUCCEEDED
    assert (first.state, second.state) == (Trial.State.INFEASIBLE, Trial.State.SUCCEEDED)
    assert "non-zero status of 3" in first.infeasible_reason


def test_a_trial_that_reports_nothing_is_infeasible(jobs: JobServiceClient) -> None:
    job = tuned(jobs, REPORT, "report('loss', 1)", trials=1)
    assert job.state == JobState.JOB_STATE_FAILED
    assert job.trials[0].state == Trial.State.INFEASIBLE
    assert 'without a measurement of "accuracy"' in job.trials[0].infeasible_reason


def test_too_many_failed_trials_fail_the_job(jobs: JobServiceClient) -> None:
    job = tuned(jobs, "sys.exit(4)", trials=9, max_failed_trial_count=2)
    assert (job.state, len(job.trials)) == (JobState.JOB_STATE_FAILED, 2)
    assert job.error.code == 3
    assert "Too many failed trials: 2." in job.error.message


def test_a_cancel_ends_the_running_trials_and_begins_no_others(jobs: JobServiceClient) -> None:
    name = created(jobs, tuning_job("import time; time.sleep(60)", trials=5, parallel=2))
    until(lambda: jobs.get_hyperparameter_tuning_job(name=name).state == JobState.JOB_STATE_RUNNING)
    jobs.cancel_hyperparameter_tuning_job(name=name)
    state = jobs.get_hyperparameter_tuning_job(name=name).state
    assert state in (JobState.JOB_STATE_CANCELLING, JobState.JOB_STATE_CANCELLED)
    job = finished(jobs, name)
    assert (job.state, job.error.code) == (JobState.JOB_STATE_CANCELLED, 1)
    assert {trial.state for trial in job.trials} == {Trial.State.INFEASIBLE}
    runs = [jobs.get_custom_job(name=trial.custom_job).state for trial in job.trials]
    assert runs == [JobState.JOB_STATE_CANCELLED] * len(job.trials)


def test_a_trial_that_falls_behind_the_median_is_stopped_early(jobs: JobServiceClient) -> None:
    """The first trials finish well; the last reports badly and would run for a minute."""
    job = tuned(
        jobs,
        REPORT,
        "import os, time",
        "late = os.environ['CLOUD_ML_TRIAL_ID'] == '3'",
        "[report('accuracy', .1 if late else .9, step) for step in (1, 2)]",
        "late and time.sleep(60)",
        trials=3,
        study={"median_automated_stopping_spec": {"use_elapsed_duration": False}},
    )
    assert job.state == JobState.JOB_STATE_SUCCEEDED
    assert [measured(trial) for trial in job.trials] == [0.9, 0.9, 0.1]
    assert jobs.get_custom_job(name=job.trials[2].custom_job).state == JobState.JOB_STATE_CANCELLED


def test_jobs_are_listed_filtered_and_masked_and_deleted_when_over(jobs: JobServiceClient) -> None:
    job = tuned(jobs, REPORT, "report('accuracy', 1)", trials=1, labels={"set": "listed"})
    request: dict[str, Any] = {
        "parent": PARENT,
        "filter": 'labels.set="listed" AND state="JOB_STATE_SUCCEEDED"',
    }
    (listed,) = jobs.list_hyperparameter_tuning_jobs(request)
    assert (listed.name, len(listed.trials)) == (job.name, 1)
    (bare,) = jobs.list_hyperparameter_tuning_jobs({**request, "read_mask": {"paths": ["name"]}})
    assert (bare.name, bare.display_name, len(bare.trials)) == (job.name, "", 0)
    jobs.delete_hyperparameter_tuning_job(name=job.name).result(timeout=10)
    for read, name in (
        (jobs.get_hyperparameter_tuning_job, job.name),
        (jobs.get_custom_job, job.trials[0].custom_job),
    ):
        with pytest.raises(exceptions.NotFound):
            read({"name": name})


def test_a_running_job_is_not_deleted_and_a_finished_one_not_cancelled(jobs: JobServiceClient) -> None:
    name = created(jobs, tuning_job("import time; time.sleep(60)"))
    with pytest.raises(exceptions.BadRequest, match="cancel it before deleting it"):
        jobs.delete_hyperparameter_tuning_job(name=name)
    jobs.cancel_hyperparameter_tuning_job(name=name)
    finished(jobs, name)
    job = tuned(jobs, REPORT, "report('accuracy', 1)", trials=1)
    with pytest.raises(exceptions.BadRequest, match="cannot be cancelled"):
        jobs.cancel_hyperparameter_tuning_job(name=job.name)


GOOD: dict[str, Any] = {
    "displayName": "checked",
    "maxTrialCount": 1,
    "parallelTrialCount": 1,
    "studySpec": {
        "metrics": [{"metricId": "loss", "goal": "MINIMIZE"}],
        "parameters": [{"parameterId": "x", "doubleValueSpec": {"minValue": 0, "maxValue": 1}}],
    },
    "trialJobSpec": {
        "workerPoolSpecs": [
            {
                "machineSpec": {"machineType": "n1-standard-4"},
                "replicaCount": "1",
                "containerSpec": {"imageUri": "trainer", "command": ["true"]},
            }
        ]
    },
}
Change = Callable[[dict[str, Any]], Any]


def study(**fields: Any) -> Change:
    return lambda job: job["studySpec"].update(fields)


def parameter(**fields: Any) -> Change:
    return study(parameters=[{"parameterId": "x", **fields}])


def child(condition: dict[str, Any], parent: dict[str, Any]) -> Change:
    inner = {"parameterId": "y", "discreteValueSpec": {"values": [1]}}
    return parameter(**parent, conditionalParameterSpecs=[{"parameterSpec": inner, **condition}])


BAD: dict[str, list[tuple[str, Change, str]]] = {
    'HyperparameterTuningJob: "Required." of names, specs and counts': [
        ("no name", lambda job: job.pop("displayName"), "display_name"),
        ("no study", lambda job: job.pop("studySpec"), "study_spec.metrics"),
        ("no trial job", lambda job: job.pop("trialJobSpec"), "trial_job_spec"),
        ("no trials", lambda job: job.pop("maxTrialCount"), "max_trial_count"),
        ("none at once", lambda job: job.update(parallelTrialCount=0), "parallel_trial_count"),
        ("failures below zero", lambda job: job.update(maxFailedTrialCount=-1), "max_failed_trial_count"),
    ],
    "CustomJobSpec.worker_pool_specs, as for a custom job": [
        ("no pool", lambda job: job.update(trialJobSpec={}), "trial_job_spec.worker_pool_specs"),
    ],
    'StudySpec.metrics; MetricSpec.metric_id: "Must not contain whitespaces and must be unique"': [
        ("no metric", study(metrics=[]), "study_spec.metrics"),
        ("no goal", study(metrics=[{"metricId": "loss"}]), "metrics[0].goal"),
        (
            "space",
            study(metrics=[{"metricId": "my loss", "goal": "MINIMIZE"}]),
            "must not contain whitespaces",
        ),
        ("twice", study(metrics=[{"metricId": "loss", "goal": "MINIMIZE"}] * 2), "must be unique"),
    ],
    'StudySpec.parameters: "Required."; ParameterSpec: one value spec': [
        ("no parameter", study(parameters=[]), "study_spec.parameters"),
        ("no values", parameter(), "Exactly one value spec must be set, not 0."),
        ("no categories", parameter(categoricalValueSpec={"values": []}), "categorical_value_spec.values"),
        ("upside down", parameter(doubleValueSpec={"minValue": 2, "maxValue": 1}), "greater than max_value"),
    ],
    'DiscreteValueSpec.values: "in increasing order and at least 1e-10 apart ... not more than 1,000"': [
        ("unordered", parameter(discreteValueSpec={"values": [2, 1]}), "increasing order"),
        ("1001 values", parameter(discreteValueSpec={"values": list(range(1001))}), "at most 1000"),
    ],
    'ParameterSpec.scale_type: "Leave unset for CATEGORICAL"; UNIT_LOG_SCALE: "must be strictly positive"': [
        (
            "scaled categories",
            parameter(categoricalValueSpec={"values": ["a"]}, scaleType="UNIT_LOG_SCALE"),
            "Leave scale_type unset",
        ),
        (
            "log from zero",
            parameter(doubleValueSpec={"minValue": 0, "maxValue": 1}, scaleType="UNIT_LOG_SCALE"),
            "strictly positive",
        ),
    ],
    'GRID_SEARCH: "all parameters must be INTEGER, CATEGORICAL, or DISCRETE"': [
        ("grid of doubles", study(algorithm="GRID_SEARCH"), "To use grid search"),
    ],
    'ConditionalParameterSpec: a condition of the parent\'s type; "All values must exist in ... parent"': [
        (
            "condition of another type",
            child({"parentIntValues": {"values": ["1"]}}, {"categoricalValueSpec": {"values": ["a"]}}),
            "parent_value_condition",
        ),
        (
            "value that the parent lacks",
            child(
                {"parentCategoricalValues": {"values": ["b"]}}, {"categoricalValueSpec": {"values": ["a"]}}
            ),
            "no value b",
        ),
        (
            "no value of the parent",
            child({"parentCategoricalValues": {}}, {"categoricalValueSpec": {"values": ["a"]}}),
            "conditional_parameter_specs[0].parent_categorical_values.values",
        ),
    ],
    "StudySpec.automated_stopping_spec is a oneof": [
        ("two rules", study(medianAutomatedStoppingSpec={}, decayCurveStoppingSpec={}), "Only one automated"),
    ],
    "Google's JSON front (discovery document)": [
        (
            "unknown field",
            study(metric=[]),
            "Unknown name \"metric\" at 'hyperparameter_tuning_job.study_spec'",
        ),
        ("unknown algorithm", study(algorithm="BAYES"), "StudySpec.Algorithm"),
    ],
}
"""By where it is written: what, how, and a part of the answer."""
ROWS = [row for rows in BAD.values() for row in rows]


@pytest.mark.parametrize(("change", "message"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_a_bad_tuning_job_is_refused_with_the_field_at_fault(
    emulator: Emulator, change: Change, message: str
) -> None:
    body = copy.deepcopy(GOOD)
    change(body)
    url = f"{emulator.url}/aiplatform/v1/{PARENT}/hyperparameterTuningJobs"
    answer = requests.post(url, json=body, timeout=10)
    assert (answer.status_code, answer.json()["error"]["status"]) == (400, "INVALID_ARGUMENT"), answer.text
    assert message in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (study(convexAutomatedStoppingSpec={}), "convexAutomatedStoppingSpec"),
        (study(studyStoppingConfig={"maxNumTrials": 3}), "studyStoppingConfig"),
    ],
)
def test_what_is_not_emulated_of_a_study_is_refused_by_name(
    emulator: Emulator, change: Change, name: str
) -> None:
    if PLACE is not None:
        real.only_here("a 501")
    body = copy.deepcopy(GOOD)
    change(body)
    url = f"{emulator.url}/aiplatform/v1/{PARENT}/hyperparameterTuningJobs"
    answer = requests.post(url, json=body, timeout=10)
    assert answer.status_code == 501
    assert name in answer.json()["error"]["message"]


def test_a_trial_has_the_time_of_its_scheduling_and_waits_for_quota(
    twin: Emulator, request: pytest.FixtureRequest
) -> None:
    """Under a virtual clock: a trial that is queued is REQUESTED; its timeout of a week is a step."""

    def ask(what: str, **body: Any) -> None:
        answer = requests.post(f"{twin.url}/emulator/{what}", json=body, timeout=60)
        assert answer.ok, answer.text

    def first(state: str) -> bool:
        trials = jobs.get_hyperparameter_tuning_job(name=name).trials
        return bool(trials) and trials[0].state.name == state

    jobs = job_client(twin)
    ask("faults", kind="quota", times=1)
    image = request.getfixturevalue("base_image") if twin.executor == "docker" else IMAGE
    spec = {"image": image, "scheduling": {"timeout": {"seconds": 7 * 24 * 3600}}}
    wait = "import signal, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(0)); time.sleep(600)"
    name = created(jobs, tuning_job(wait, trials=1, spec=spec))
    until(lambda: first("REQUESTED"))
    ask("clock", advance="10s")
    until(lambda: first("ACTIVE"))
    until(lambda: jobs.get_hyperparameter_tuning_job(name=name).state == JobState.JOB_STATE_RUNNING)
    ask("clock", advance=f"{7 * 24 * 3600 - 60}s")
    assert first("ACTIVE")
    ask("clock", advance="120s")
    job = finished(jobs, name)
    assert job.state == JobState.JOB_STATE_FAILED
    assert "ran longer than its scheduling.timeout" in job.trials[0].infeasible_reason
    assert (job.end_time - job.start_time).days == 7


def test_a_job_beyond_all_quota_is_refused_and_not_kept(twin: Emulator) -> None:
    jobs = job_client(twin)
    requests.post(
        f"{twin.url}/emulator/faults", json={"kind": "quota_exceeded"}, timeout=10
    ).raise_for_status()
    with pytest.raises(exceptions.TooManyRequests, match="exceed quota limits"):
        created(jobs, tuning_job("pass"))
    assert list(jobs.list_hyperparameter_tuning_jobs(parent=PARENT)) == []


@pytest.mark.docker
def test_trials_outlive_a_killed_emulator(mortal: Emulator, base_image: str) -> None:
    """The finished one is kept, the running one is found again, the rest follow."""
    jobs = job_client(mortal)
    program = (
        BARE_REPORT,
        "first = os.environ['CLOUD_ML_TRIAL_ID'] == '1'",
        "report('accuracy', .5, 1)",
        "first or time.sleep(3)",
        "report('accuracy', .75, 2)",
    )
    name = created(jobs, tuning_job(*program, trials=3, spec={"image": base_image}))

    def second() -> Any:
        trials = jobs.get_hyperparameter_tuning_job(name=name).trials
        return trials[1].measurements and trials[0] if len(trials) > 1 else None

    done = until(second)
    mortal.kill()
    mortal.start()
    job = finished(jobs, name)
    assert job.state == JobState.JOB_STATE_SUCCEEDED
    assert [trial.id for trial in job.trials] == ["1", "2", "3"]
    assert job.trials[0] == done
    assert [measured(trial) for trial in job.trials] == [0.75] * 3
    assert [[m.step_count for m in trial.measurements] for trial in job.trials] == [[1, 2]] * 3


def test_processes_end_with_a_killed_emulator_and_the_next_trials_follow(
    storage_server: StorageServer, tmp_path: Path
) -> None:
    emulator = Emulator(tmp_path / "state", storage_server.url)
    emulator.start()
    try:
        jobs = job_client(emulator)
        wait = "import os, time; os.environ['CLOUD_ML_TRIAL_ID'] == '1' and time.sleep(60)"
        name = created(jobs, tuning_job(wait, REPORT, "report('accuracy', 1)", trials=2))
        until(lambda: jobs.get_hyperparameter_tuning_job(name=name).state == JobState.JOB_STATE_RUNNING)
        emulator.kill()
        emulator.start()
        job = finished(jobs, name)
        assert job.state == JobState.JOB_STATE_SUCCEEDED
        assert [trial.state for trial in job.trials] == [Trial.State.INFEASIBLE, Trial.State.SUCCEEDED]
        assert "was lost when the emulator stopped" in job.trials[0].infeasible_reason
    finally:
        emulator.stop()


def test_a_job_whose_emulator_is_killed_again_and_again_runs_no_trial_twice(
    storage_server: StorageServer, tmp_path: Path
) -> None:
    """Each trial notes itself when it begins; one that was lost with the emulator is not repeated."""
    begun = tmp_path / "begun"
    note = f"import os; open({str(begun)!r}, 'a').write(os.environ['CLOUD_ML_TRIAL_ID'] + chr(10))"
    work = "import time; time.sleep(.3)"
    emulator = Emulator(tmp_path / "state", storage_server.url)
    emulator.start()
    try:
        jobs = job_client(emulator)
        parameters = [UNIT, {"parameter_id": "n", "integer_value_spec": {"min_value": 1, "max_value": 4}}]
        program = (note, work, BARE_REPORT, "report('accuracy', float(given['x']))")
        name = created(jobs, tuning_job(*program, trials=9, parallel=2, study={"parameters": parameters}))
        begun.touch()
        for seen in (2, 4, 6):
            until(partial(lambda least: len(begun.read_text().split()) >= least, seen), seconds=60)
            emulator.kill()
            emulator.start()
        job = finished(jobs, name)
        assert [trial.id for trial in job.trials] == [str(number + 1) for number in range(9)]
        noted = begun.read_text().split()
        assert len(noted) == len(set(noted)), "none began twice"
        assert len({str(values(trial)) for trial in job.trials}) == 9
        done = [trial.state for trial in job.trials].count(Trial.State.SUCCEEDED)
        assert done >= 3, "two at most are lost at each kill"
        assert job.state == JobState.JOB_STATE_SUCCEEDED
    finally:
        emulator.stop()
