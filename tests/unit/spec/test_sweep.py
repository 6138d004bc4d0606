"""The sweep section of config.yaml, its plan, and the plans of its trials."""

from __future__ import annotations

from typing import Any

import pytest

from headway.errors import InputError
from headway.spec.job import JobSpec
from headway.spec.plan import Plan, make_sweep_plan
from headway.spec.sweep import Sweep, pinned
from headway.spec.unfit import Unfit
from tests.unit.spec.test_plan import CODE, CONFIG, DATA, IMAGE, PLACE, plan

SECTION: dict[str, Any] = {
    "parameters": {
        "lr": "1e-4..1e-2:log",
        "optimizer": "adam,sgd",
        "momentum": "0.5..0.99 if optimizer=sgd",
        "width": [64, 128],
    },
    "metric": "val_loss:min",
    "trials": 30,
    "parallel": 4,
}


def section(**changed: Any) -> dict[str, Any]:
    return {**SECTION, **changed}


def sweep_plan(sweep: dict[str, Any] | None = None, **config: Any) -> Plan:
    spec = JobSpec.model_validate({**CONFIG, "sweep": sweep or SECTION, **config})
    return make_sweep_plan(spec, PLACE, code=CODE, image=IMAGE, data=DATA)


def test_a_sweep_is_pinned_with_its_parameters_in_the_order_of_the_file() -> None:
    pin = pinned(Sweep.model_validate(SECTION), "digits-sweep-1")
    assert [each.name for each in pin.parameters] == ["lr", "optimizer", "momentum", "width"]
    assert (pin.metric, pin.goal, pin.trials, pin.parallel, pin.attempt) == ("val_loss", "min", 30, 4, 1)
    assert (pin.algorithm, pin.early_stopping, pin.max_failed) == ("default", "none", 0)


@pytest.mark.parametrize(
    "metric", ["val_loss:min", "val_loss:minimize", " val_loss : MIN", {"name": "val_loss", "goal": "min"}]
)
def test_a_metric_and_its_goal_are_written_in_one_word_or_two_keys(metric: object) -> None:
    assert Sweep.model_validate({"metric": metric}).metric == "val_loss:min"


def test_a_metrics_own_name_may_have_a_colon() -> None:
    pin = pinned(Sweep.model_validate(section(metric="val:loss/dataloader_idx_0:max")), "s")
    assert (pin.metric, pin.goal) == ("val:loss/dataloader_idx_0", "max")


@pytest.mark.parametrize(
    ("changed", "key", "message"),
    [
        ({"parameters": {}}, "sweep.parameters", "there is nothing to vary"),
        ({"metric": None}, "sweep.metric", "no metric to judge its trials by"),
        ({"trials": None}, "sweep.trials", "does not say how many trials"),
        ({"algorithm": "grid"}, "sweep.parameters.lr", "a grid has no end over the continuous range"),
        ({"parameters": {"a b": "1..2"}}, "sweep.parameters.a b", "no name of an argument"),
        ({"parameters": {"a": "1..2", "args.a": "1..2"}}, "sweep.parameters.a", "there twice"),
        (
            {"parameters": {"a": "1..2 if b=1"}},
            "sweep.parameters.a",
            "depends on b, which the sweep does not",
        ),
        (
            {"parameters": {"a": "1..2 if b=0.5", "b": "0..1.0"}},
            "sweep.parameters.a",
            "b, which is continuous",
        ),
        ({"parameters": {"a": "1..2 if b=z", "b": "x,y"}}, "sweep.parameters.a", "b=z, and b is x,y"),
        ({"parameters": {"a": "1..2 if b=9", "b": "1..5"}}, "sweep.parameters.a", "b=9, and b is 1..5"),
        ({"parameters": {"a": "1..2 if b=1", "b": "true,false"}}, "sweep.parameters.a", "b=1, and b is true"),
        (
            {"parameters": {"a": "1..2 if b=1.0", "b": "1,adam"}},
            "sweep.parameters.a",
            "b=1.0, and b is 1,adam",
        ),
        ({"parameters": {"a": "1..2 if b=true", "b": "1,2"}}, "sweep.parameters.a", "b=true, and b is 1,2"),
        ({"parameters": {"a": "1..2 if b=true", "b": "0..3"}}, "sweep.parameters.a", "b=true, and b is 0..3"),
        ({"parameters": {"a": "1..2 if b=1.5", "b": "0..3"}}, "sweep.parameters.a", "b=1.5, and b is 0..3"),
        ({"parameters": {"a": "1,2 if b=1", "b": "1,2 if a=1"}}, "sweep.parameters.a", "depends on itself"),
    ],
)
def test_a_sweep_that_cannot_be_names_the_key_at_fault(
    changed: dict[str, Any], key: str, message: str
) -> None:
    with pytest.raises(Unfit, match=message) as error:
        pinned(Sweep.model_validate(section(**changed)), "s")
    assert error.value.key == key
    assert error.value.hint


def test_a_condition_is_on_its_parents_own_values() -> None:
    made = {"a": "1..2 if b=2.0", "b": "1..1000000000", "c": "1..2 if d=1", "d": "0.5,1.0"}
    a, _, c, _ = pinned(Sweep.model_validate(section(parameters=made)), "s").parameters
    assert a.condition is not None
    assert c.condition is not None
    assert [(type(value), value) for value in (*a.condition.values, *c.condition.values)] == [
        (int, 2),
        (float, 1.0),
    ]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (["adam", None], "a value is nothing; quotes make it text"),
        ([{"a": 1}, {"b": 2}], "a value is a mapping"),
        ([float("nan"), 1], "a value is not finite"),
        ([[1, 2], [None, 3]], "a value is nothing"),
    ],
)
def test_what_no_argument_can_be_is_no_value(values: list[object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Sweep.model_validate(section(parameters={"x": values}))


def test_without_a_section_there_is_nothing_to_vary() -> None:
    with pytest.raises(Unfit, match="nothing to vary"):
        pinned(None, "s")


@pytest.mark.parametrize(
    ("parameters", "size"),
    [
        ({"a": "1,2,3", "b": "x,y"}, 6),
        ({"a": "1..10"}, 10),
        ({"a": "x,y", "b": "1,2,3 if a=x"}, 4),
        ({"a": "x,y,z", "b": "1,2,3 if a=x|y", "c": "true,false"}, 14),
        ({"a": "x,y", "b": "1,2 if a=x", "c": "1,2,3 if b=2"}, 5),
    ],
)
def test_a_grid_without_a_number_of_trials_is_run_whole(parameters: dict[str, str], size: int) -> None:
    sweep = Sweep.model_validate(section(parameters=parameters, algorithm="grid", trials=None, parallel=99))
    assert pinned(sweep, "s").trials == size
    assert pinned(sweep, "s").parallel == size


def test_a_runs_identity_is_its_own_whatever_its_config_says_of_a_sweep() -> None:
    assert plan({"sweep": SECTION}).claim == plan().claim


def test_a_sweeps_identity_is_its_content_and_what_is_varied() -> None:
    one = sweep_plan()
    assert one == sweep_plan()
    assert one.run_id == f"digits-sweep-{one.claim[:8]}"
    assert one.claim not in (plan().claim, sweep_plan(section(trials=31)).claim)
    assert one.claim != sweep_plan(args={"lr": 0.2}).claim


def test_a_sweep_lies_in_a_folder_of_its_own_and_each_of_its_jobs_below_it() -> None:
    one = sweep_plan()
    base = f"headway/sweeps/{one.run_id}"
    assert one.name_in_bucket == f"{base}/plan.json"
    assert one.base_output_uri == f"gs://my-bucket/{base}/1"
    assert one.sweep is not None
    second = one.model_copy(update={"sweep": one.sweep.model_copy(update={"attempt": 2})})
    assert second.name_in_bucket == f"{base}/plan-2.json"
    assert second.base_output_uri == f"gs://my-bucket/{base}/2"
    assert second.labels["headway-sweep"] == "2"
    assert second.trial("3", {}).run_id == f"{one.run_id}-2-t3"
    assert second.trial("3", {}).folder.status == f"{base}/2/3/status.json"


def test_a_trial_is_the_sweeps_run_with_its_values() -> None:
    one = sweep_plan(args={"lr": 0.1, "max_epochs": 3, "momentum": 0.9})
    trial = one.trial("7", {"width": "64", "lr": "0.001", "optimizer": "adam"})
    assert trial.run_id == f"{one.run_id}-t7"
    assert trial.config["args"] == {
        "lr": 0.001,
        "max_epochs": 3,
        "momentum": 0.9,
        "optimizer": "adam",
        "width": 64,
    }
    assert trial.argv == (
        *("--lr", "0.001", "--max_epochs", "3", "--momentum", "0.9", "--optimizer", "adam", "--width", "64"),
    )
    assert trial.folder.outputs == f"headway/sweeps/{one.run_id}/1/7/outputs"
    assert trial.sweep is not None
    assert trial.sweep.trial == "7"
    assert trial.plan_uri == one.plan_uri
    assert (trial.code, trial.image, trial.claim) == (one.code, one.image, one.claim)
    assert Plan.model_validate_json(trial.model_dump_json()) == trial


def test_a_trial_of_a_flag_and_of_a_list_has_pythons_values() -> None:
    one = sweep_plan(section(parameters={"fast": "true,false", "layers": "[64,64],[32,32]"}))
    assert one.trial("1", {"fast": "true", "layers": "[32,32]"}).argv[-4:] == (
        "--fast",
        "--layers",
        "32",
        "32",
    )
    assert "--fast" not in one.trial("1", {"fast": "false", "layers": "[32,32]"}).argv


def test_a_trial_with_a_value_or_parameter_that_is_not_the_sweeps_is_refused() -> None:
    with pytest.raises(InputError, match="has no parameter depth"):
        sweep_plan().trial("1", {"depth": "3"})
    with pytest.raises(InputError, match="trial 1 cannot be run: optimizer has no value adamw"):
        sweep_plan().trial("1", {"optimizer": "adamw"})
    with pytest.raises(InputError, match="is no sweep"):
        plan().trial("1", {})


def test_a_budget_is_for_the_whole_sweep_and_each_trial_has_its_share() -> None:
    alone = plan({"limits": {"budget": 30.0}})
    one = sweep_plan(limits={"budget": 30.0})
    assert one.budget_usd == 30.0
    assert one.timeout_s == pytest.approx(30.0 / 30 / (one.candidates[0].usd_hour or 0) * 3600, abs=1)
    assert one.timeout_s < alone.timeout_s
    with pytest.raises(Unfit, match=r"for 30 trials each has its share: .* pays for"):
        sweep_plan(limits={"budget": 0.05})
