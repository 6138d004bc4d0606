"""What becomes of a job: queue, start, restarts, preemption, time, cancel, and the emulator's own end.

Nothing is started here and no time passes: replicas are ended by hand and the clock is stepped.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from headway_emulator.engine.jobs.ladder import Fall, Tried, step
from headway_emulator.engine.store import LogQuery
from headway_emulator.errors import ApiError
from tests.unit.emulator.simulated import Bench

DAY = 24 * 3600
A100 = "NVIDIA_TESLA_A100"
ONE_A100 = ({"region": "us-central1", "metric": "custom_model_training_nvidia_a100_gpus", "limit": 1},)
SEGFAULT = 139


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.close()


@pytest.fixture
def scarce(tmp_path: Path) -> Iterator[Bench]:
    """With quota for one A100 in us-central1."""
    made = Bench(tmp_path, quotas=ONE_A100)
    yield made
    made.close()


def service_messages(bench: Bench, name: str) -> str:
    entries = bench.store.logs(LogQuery(owner=name.rsplit("/", 1)[1]), 1000)
    return "\n".join(str(entry.payload["message"]) for entry in entries if entry.task == "service")


class TestTheStraightWay:
    def test_a_job_runs_when_all_its_replicas_are_up_and_succeeds_with_the_primary(
        self, bench: Bench
    ) -> None:
        job = bench.create(1, 2)
        assert bench.state(job) == "RUNNING"
        assert bench.running(job) == ["workerpool0-0", "workerpool1-0", "workerpool1-1"]
        bench.end(job, 0, "workerpool1-0")
        assert bench.state(job) == "RUNNING"
        bench.end(job, 0)
        assert bench.state(job) == "SUCCEEDED"
        assert bench.running(job) == []
        assert bench.unfinished() == []

    def test_code_may_run_before_the_job_reads_running(self, bench: Bench) -> None:
        bench.add_fault(kind="late", after=20)
        job = bench.create()
        assert bench.running(job) == ["workerpool0-0"]
        assert bench.state(job) == "PENDING"
        bench.step(20)
        assert bench.state(job) == "RUNNING"

    def test_a_job_can_end_before_it_ever_read_running(self, bench: Bench) -> None:
        bench.add_fault(kind="late", after=20)
        job = bench.create()
        bench.end(job, 0)
        assert bench.state(job) == "SUCCEEDED"
        assert bench.jobs.get(job)["startTime"] == bench.jobs.get(job)["endTime"]

    def test_an_image_that_is_missing_fails_the_job(self, bench: Bench) -> None:
        bench.machines.missing_images.add("image")
        job = bench.create()
        assert bench.state(job) == "FAILED"
        assert bench.jobs.get(job)["error"]["code"] == 5


class TestTheLadder:
    def test_an_ordinary_failure_is_permanent(self, bench: Bench) -> None:
        job = bench.create(1, 1)
        bench.end(job, 1, "workerpool1-0")
        assert bench.state(job) == "FAILED"
        assert bench.running(job) == []
        assert "workerpool1-0 exited with a non-zero status of 1" in bench.jobs.get(job)["error"]["message"]

    def test_a_crash_restarts_the_worker_alone_under_the_same_name(self, bench: Bench) -> None:
        job = bench.create(1, 1)
        before = bench.machine(job, "workerpool1-0")
        bench.end(job, SEGFAULT, "workerpool1-0")
        after = bench.machine(job, "workerpool1-0")
        assert bench.state(job) == "RUNNING"
        assert before.removed
        assert after is not before
        assert after.replica.env["HOSTNAME"] == before.replica.env["HOSTNAME"]
        assert bench.machine(job).replica.launch == 1

    def test_five_restarts_then_three_retries_then_the_end(self, bench: Bench) -> None:
        job = bench.create()
        falls = 0
        while bench.state(job) != "FAILED":
            bench.end(job, SEGFAULT)
            falls += 1
            assert falls < 100
        assert falls == 6 * 4
        assert len({id(m) for m in bench.machines.all}) == 24

    def test_disable_retries_ends_it_at_the_first_crash(self, bench: Bench) -> None:
        job = bench.create(disableRetries=True, restartJobOnWorkerRestart=True)
        bench.end(job, SEGFAULT)
        assert bench.state(job) == "FAILED"

    def test_restart_job_on_worker_restart_takes_all_replicas_along(self, bench: Bench) -> None:
        job = bench.create(1, 1, restartJobOnWorkerRestart=True)
        started = bench.jobs.get(job)["startTime"]
        bench.step(60)
        bench.end(job, SEGFAULT, "workerpool1-0")
        assert bench.state(job) == "RUNNING"
        assert {bench.machine(job, task).replica.launch for task in bench.running(job)} == {2}
        assert bench.jobs.get(job)["startTime"] == started

    def test_running_out_of_memory_is_permanent(self, bench: Bench) -> None:
        job = bench.create()
        bench.end(job, 137, out_of_memory=True)
        assert "out-of-memory" in bench.jobs.get(job)["error"]["message"]

    def test_a_lost_replica_is_an_internal_error_and_retried_three_times(self, bench: Bench) -> None:
        job = bench.create()
        for _ in range(3):
            bench.end(job, -1, lost="its container is gone")
            assert bench.state(job) == "RUNNING"
        bench.end(job, -1, lost="its container is gone")
        assert bench.state(job) == "FAILED"

    @pytest.mark.parametrize("code", [6, 11, 134, 139])
    def test_abort_and_segfault_are_transient_in_both_spellings(self, code: int) -> None:
        assert step(Fall("workerpool0-0", "exit", code), {}, Tried()) == "restart_worker"


class TestQuota:
    def test_a_job_waits_in_the_queue_until_another_gives_its_gpus_back(self, scarce: Bench) -> None:
        first, second = scarce.create(gpus=A100), scarce.create(gpus=A100)
        assert (scarce.state(first), scarce.state(second)) == ("RUNNING", "QUEUED")
        scarce.step(3 * DAY)
        assert scarce.state(second) == "QUEUED"
        scarce.end(first, 0)
        assert scarce.state(second) == "RUNNING"

    def test_who_came_first_is_served_first(self, scarce: Bench) -> None:
        running, second, third = (scarce.create(gpus=A100) for _ in range(3))
        scarce.end(running, 0)
        assert (scarce.state(second), scarce.state(third)) == ("RUNNING", "QUEUED")

    def test_what_can_never_fit_is_refused_in_googles_words(self, scarce: Bench) -> None:
        with pytest.raises(ApiError) as caught:
            scarce.create(gpus=f"{A100}:2")
        assert caught.value.http_status == 429
        assert caught.value.message == (
            "The following quota metrics exceed quota limits: "
            "aiplatform.googleapis.com/custom_model_training_nvidia_a100_gpus"
        )
        assert scarce.store.list("customJob") == []

    def test_spot_counts_against_the_preemptible_quota(self, scarce: Bench) -> None:
        first, second = scarce.create(gpus=A100), scarce.create(gpus=A100, strategy="SPOT")
        assert (scarce.state(first), scarce.state(second)) == ("RUNNING", "RUNNING")

    def test_a_queued_job_is_cancelled_at_once(self, scarce: Bench) -> None:
        scarce.create(gpus=A100)
        waiting = scarce.create(gpus=A100)
        scarce.jobs.cancel(waiting)
        scarce.step()
        assert scarce.state(waiting) == "CANCELLED"
        assert "startTime" not in scarce.jobs.get(waiting)

    def test_a_fault_holds_a_job_in_the_queue_or_refuses_it(self, bench: Bench) -> None:
        bench.add_fault(kind="quota", region="us-*", times=2)
        job = bench.create(gpus=A100)
        assert bench.state(job) == "QUEUED"
        bench.step(60)
        assert bench.state(job) == "RUNNING"
        bench.add_fault(kind="quota_exceeded", accelerator=A100)
        with pytest.raises(ApiError, match="exceed quota limits"):
            bench.create(gpus=A100)


class TestMachines:
    def test_a_stockout_fails_the_job_with_the_region_in_the_message(self, bench: Bench) -> None:
        bench.add_fault(kind="stockout", region="us-central1", accelerator=A100, after=600)
        job = bench.create(gpus=A100)
        assert bench.state(job) == "PENDING"
        bench.step(600)
        assert bench.state(job) == "FAILED"
        error = bench.jobs.get(job)["error"]
        assert error["code"] == 8
        assert "Resources are insufficient in region: us-central1" in error["message"]

    def test_flexible_start_waits_for_machines(self, bench: Bench) -> None:
        fault = bench.add_fault(kind="stockout", times=0)
        job = bench.create(gpus=A100, strategy="FLEX_START", maxWaitDuration="7200s")
        bench.step(7000)
        assert bench.state(job) == "PENDING"
        bench.faults.remove(fault["id"])
        bench.step(60)
        assert bench.state(job) == "RUNNING"

    @pytest.mark.parametrize(("given", "waits"), [("3600s", 3600), ("", DAY)])
    def test_flexible_start_expires_after_its_longest_wait(
        self, bench: Bench, given: str, waits: int
    ) -> None:
        bench.add_fault(kind="stockout", times=0)
        wait = {"maxWaitDuration": given} if given else {}
        job = bench.create(gpus=A100, strategy="FLEX_START", **wait)
        bench.step(waits - 1)
        assert bench.state(job) == "PENDING"
        bench.step(2)
        assert bench.state(job) == "EXPIRED"

    def test_flexible_start_with_zero_waits_for_ever(self, bench: Bench) -> None:
        bench.add_fault(kind="stockout", times=0)
        job = bench.create(gpus=A100, strategy="FLEX_START", maxWaitDuration="0s")
        bench.step(2 * DAY)
        assert bench.state(job) == "PENDING"


class TestPreemption:
    def test_a_spot_job_is_restarted_six_times_and_then_fails_as_a_stockout(self, bench: Bench) -> None:
        job = bench.create(strategy="SPOT")
        for _ in range(6):
            bench.add_fault(kind="preempt", job=job.rsplit("/", 1)[1])
            bench.step()
            assert bench.state(job) == "RUNNING"
        bench.add_fault(kind="preempt")
        bench.step()
        assert bench.state(job) == "FAILED"
        assert "STOCKOUT" in bench.jobs.get(job)["error"]["message"]
        assert bench.jobs.get(job)["error"]["code"] == 8

    def test_a_replica_that_ignores_the_notice_is_taken_after_thirty_seconds(self, bench: Bench) -> None:
        bench.machines.stubborn = True
        job = bench.create(strategy="SPOT")
        bench.add_fault(kind="preempt", task="workerpool0-0", after=100)
        bench.step(129)
        assert bench.machine(job).replica.launch == 1
        bench.step(2)
        bench.step()
        assert bench.machine(job).replica.launch == 2

    def test_a_random_moment_is_the_same_for_the_same_seed(self, tmp_path: Path) -> None:
        moments = []
        for name in ("one", "two"):
            bench = Bench(tmp_path / name)
            bench.create(strategy="SPOT")
            bench.add_fault(kind="preempt", within=3600, seed=7)
            seconds = 0
            while len(bench.machines.all) < 2:
                bench.step(10)
                seconds += 10
                assert seconds < 3700
            moments.append(seconds)
            bench.close()
        assert moments[0] == moments[1]

    def test_a_fault_that_was_armed_before_waits_for_its_job(self, bench: Bench) -> None:
        bench.add_fault(kind="preempt", display_name="job", after=5)
        job = bench.create(strategy="SPOT")
        bench.step(6)
        bench.step()
        assert bench.machine(job).replica.launch == 2
        assert [fired["on"]["task"] for fired in bench.faults.fired()] == ["workerpool0-0"]


class TestTime:
    def test_a_job_without_a_timeout_is_stopped_after_seven_days(self, bench: Bench) -> None:
        job = bench.create()
        bench.step(7 * DAY - 1)
        assert bench.state(job) == "RUNNING"
        bench.step(2)
        assert bench.state(job) == "FAILED"
        assert bench.jobs.get(job)["error"]["code"] == 4

    def test_the_timeout_goes_on_through_restarts(self, bench: Bench) -> None:
        job = bench.create(timeout="600s", restartJobOnWorkerRestart=True)
        bench.step(500)
        bench.end(job, SEGFAULT)
        bench.step(101)
        assert bench.state(job) == "FAILED"

    def test_a_stubborn_replica_is_killed_after_the_grace(self, bench: Bench) -> None:
        bench.machines.stubborn = True
        job = bench.create()
        bench.jobs.cancel(job)
        bench.step(29)
        assert bench.state(job) == "CANCELLING"
        bench.step(2)
        bench.step()
        assert bench.state(job) == "CANCELLED"
        assert bench.machines.all[0].outcome is not None
        assert bench.machines.all[0].outcome.code == 137


class TestCancelling:
    def test_a_cancel_wins_over_a_restart_that_is_under_way(self, bench: Bench) -> None:
        bench.machines.stubborn = True
        job = bench.create(1, 1, restartJobOnWorkerRestart=True)
        bench.end(job, SEGFAULT, "workerpool1-0")
        bench.jobs.cancel(job)
        bench.step(31)
        bench.step()
        assert bench.state(job) == "CANCELLED"

    def test_a_settled_outcome_is_not_cancelled_any_more(self, bench: Bench) -> None:
        bench.machines.stubborn = True
        job = bench.create(1, 1)
        bench.end(job, 0)
        bench.jobs.cancel(job)
        bench.step(31)
        bench.step()
        assert bench.state(job) == "SUCCEEDED"

    def test_a_replica_that_does_not_start_any_more_does_not_hold_up_the_end(self, bench: Bench) -> None:
        gate = bench.machines.gate = threading.Event()
        job = bench.order()
        bench.jobs.cancel(job)
        gate.set()
        bench.step(31)
        assert bench.state(job) == "CANCELLED"

    def test_a_finished_job_refuses(self, bench: Bench) -> None:
        job = bench.create()
        bench.end(job, 0)
        with pytest.raises(ApiError) as caught:
            bench.jobs.cancel(job)
        assert caught.value.status == "FAILED_PRECONDITION"


class TestTheEmulatorsOwnEnd:
    def test_a_running_job_goes_on_under_the_next_emulator(self, bench: Bench) -> None:
        job = bench.create(1, 1, timeout="600s")
        bench.step(300)
        bench.restart()
        bench.step()
        assert bench.state(job) == "RUNNING"
        bench.step(301)
        assert bench.jobs.get(job)["error"]["code"] == 4
        assert [m for m in bench.machines.all if m.running] == []

    def test_what_ended_while_nobody_looked_is_accounted_for(self, bench: Bench) -> None:
        job = bench.create()
        bench.machines.forget()
        bench.machine(job).end(0)
        bench.restart()
        bench.step()
        assert bench.state(job) == "SUCCEEDED"

    def test_restarts_are_counted_across_emulators(self, bench: Bench) -> None:
        job = bench.create()
        for _ in range(23):
            bench.end(job, SEGFAULT)
            bench.restart()
            bench.step()
            assert bench.state(job) == "RUNNING"
        bench.end(job, SEGFAULT)
        assert bench.state(job) == "FAILED"

    def test_a_cancel_that_was_asked_for_is_carried_out(self, bench: Bench) -> None:
        bench.machines.stubborn = True
        job = bench.create()
        bench.jobs.cancel(job)
        bench.step(10)
        bench.restart()
        bench.step(21)
        bench.step()
        assert bench.state(job) == "CANCELLED"

    def test_the_queue_keeps_its_order(self, scarce: Bench) -> None:
        first, second, third = (scarce.create(gpus=A100) for _ in range(3))
        scarce.restart()
        scarce.step()
        assert [scarce.state(job) for job in (first, second, third)] == ["RUNNING", "QUEUED", "QUEUED"]
        scarce.end(first, 0)
        assert [scarce.state(job) for job in (second, third)] == ["RUNNING", "QUEUED"]

    def test_a_flexible_start_keeps_its_deadline(self, bench: Bench) -> None:
        bench.add_fault(kind="stockout", times=0)
        job = bench.create(gpus=A100, strategy="FLEX_START", maxWaitDuration="3600s")
        bench.step(3000)
        bench.restart()
        bench.step(601)
        assert bench.state(job) == "EXPIRED"

    def test_a_replica_that_is_gone_with_the_emulator_fails_the_job(self, bench: Bench) -> None:
        job = bench.create(1, 1)
        bench.machine(job, "workerpool1-0").removed = True
        bench.restart()
        bench.step()
        assert bench.state(job) == "FAILED"
        assert "workerpool1-0 was lost when the emulator stopped" in bench.jobs.get(job)["error"]["message"]
        assert [m for m in bench.machines.all if m.running] == []


def test_each_rung_is_said_in_the_jobs_log(bench: Bench) -> None:
    job = bench.create(1, strategy="SPOT")
    bench.end(job, SEGFAULT)
    bench.add_fault(kind="preempt")
    bench.step()
    said = service_messages(bench, job)
    assert "The replica is restarted (1 of 5)" in said
    assert "is being preempted" in said
    assert "The job is restarted" in said
