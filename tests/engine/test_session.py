"""A start of a sweep on an executor without processes: who is asked, told, adopted and recorded, and in which order."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sweepline.config.settings import SweepSettings
from sweepline.config.sweepfile import load_sweep
from sweepline.contract.runfolder import STDOUT
from sweepline.engine import ends, starts
from sweepline.engine.preparation import prepare_sweep
from sweepline.engine.session import SweepResult, run_sweep
from sweepline.engine.state import SweepOptions
from sweepline.executors.base import Exit, StopReason, Task
from sweepline.runs import RunOutcome, State
from tests.fakes import FakeExecutor, FakeRun, Listener

SWEEP = "program: t.py\nname: s\nmetric: {name: loss}\nparameters: {x: [1, 2, 3]}\nmax_concurrent: 1\ndevices: cpu\n"


@pytest.fixture
def settings(tmp_path: Path) -> SweepSettings:
    (tmp_path / "t.py").touch()
    (tmp_path / "sweep.yaml").write_text(SWEEP)
    return load_sweep(tmp_path / "sweep.yaml")


def run(
    settings: SweepSettings, executor: FakeExecutor, *, listener: Listener | None = None, sampler: Any = None
) -> SweepResult:
    prepared = prepare_sweep(settings, SweepOptions(), sampler=sampler)
    return run_sweep(prepared, listener or Listener(), executor=executor)


def x_of(task: Task) -> float:
    return float(next(word for word in task.argv if word.startswith("--x=")).removeprefix("--x="))


def loss_is_x(task: Task) -> str:
    return f"METRIC loss={x_of(task)}\n"


def test_runs_are_submitted_in_order_and_recorded_with_what_they_print(settings: SweepSettings) -> None:
    executor = FakeExecutor(prints=loss_is_x)
    result = run(settings, executor)
    assert [x_of(task) for task in executor.submitted] == [1, 2, 3]
    assert {record.params["x"]: record.metrics["loss"] for record in result.records} == {1: 1.0, 2: 2.0, 3: 3.0}
    assert (result.best, result.is_complete, executor.is_closed) == ({"x": 1}, True, True)


def test_the_journal_tells_of_a_start_before_the_executor_is_asked(settings: SweepSettings) -> None:
    known: list[list[str]] = []

    def look(_task: Task) -> str:
        lines = (settings.sweep_dir / "events.jsonl").read_text().splitlines()
        known.append([event["run"] for event in map(json.loads, lines) if event["ev"] == "run_start"])
        return ""

    executor = FakeExecutor(prints=look)
    run(settings, executor)
    assert [task.run_id for task in executor.submitted] == [runs[-1] for runs in known]


def test_a_slot_that_is_lost_ends_a_sweep_that_has_no_other(settings: SweepSettings) -> None:
    executor = FakeExecutor(ends=lambda _: Exit(is_slot_lost=True, remarks=("its node is gone",)))
    result = run(settings, executor)
    assert {record.state for record in result.records} == {State.UNKILLABLE}
    assert all("its node is gone" in record.reason for record in result.records)


class Bisection:
    """Halves towards the smallest loss; what it proposes depends on everything that it was told."""

    is_enumerable = False
    n_total = 4

    def __init__(self) -> None:
        self.told: list[tuple[float, float]] = []
        self.n_asked = 0

    def ask(self) -> Mapping[str, Any] | None:
        self.n_asked += 1
        if len(self.told) >= self.n_total:
            return None
        if len(self.told) < 2:
            return {"x": [0.0, 8.0][len(self.told)]}
        (first, _), (second, _) = sorted(self.told, key=lambda pair: pair[1])[:2]
        return {"x": (first + second) / 2}

    def tell(self, params: Mapping[str, Any], outcome: RunOutcome) -> None:
        if outcome.state == State.FINISHED:
            self.told.append((params["x"], outcome.metrics["loss"]))


def distance_to_three(task: Task) -> str:
    return f"METRIC loss={abs(x_of(task) - 3)}\n"


def test_a_sampler_that_learns_is_asked_when_a_slot_is_free_and_told_every_end(settings: SweepSettings) -> None:
    executor = FakeExecutor(prints=distance_to_three)
    run(settings, executor, sampler=Bisection())
    assert [x_of(task) for task in executor.submitted] == [0.0, 8.0, 4.0, 2.0]


def test_a_sampler_that_learns_is_told_what_earlier_starts_recorded(settings: SweepSettings) -> None:
    first = Bisection()
    first.n_total = 3
    run(settings, FakeExecutor(prints=distance_to_three), sampler=first)
    again = Bisection()
    executor = FakeExecutor(prints=distance_to_three)
    result = run(settings, executor, sampler=again)
    assert [x_of(task) for task in executor.submitted] == [2.0]
    assert len(result.records) == 4  # nothing is dropped because another walk would not propose it


class Counting:
    """Proposes 1, 2, 3, ... one after another; learns nothing, but says that it might."""

    is_enumerable = False
    n_total = None

    def __init__(self) -> None:
        self.n_asked = 0

    def ask(self) -> Mapping[str, Any]:
        self.n_asked += 1
        return {"x": self.n_asked}

    def tell(self, params: Mapping[str, Any], outcome: RunOutcome) -> None:
        """Nothing to learn."""


def test_every_proposal_runs_with_every_seed_and_no_more_are_asked_for_than_the_file_allows(tmp_path: Path) -> None:
    (tmp_path / "t.py").touch()
    (tmp_path / "sweep.yaml").write_text(
        "program: t.py\nname: s\nmethod: random\nsamples: 3\nseeds: [0, 1]\nmetric: {name: loss}\n"
        "parameters: {x: {min: 1, max: 9}}\nmax_concurrent: 1\ndevices: cpu\n"
    )
    sampler, executor = Counting(), FakeExecutor(prints=loss_is_x)
    run(load_sweep(tmp_path / "sweep.yaml"), executor, sampler=sampler)
    assert [x_of(task) for task in executor.submitted] == [1, 1, 2, 2, 3, 3]
    assert sampler.n_asked == 3


def leave_running(settings: SweepSettings) -> str:
    """Leave the books as an orchestrator that died while its first run was under way; return that run's id."""
    executor = FakeExecutor()
    run(settings, executor)
    journal = settings.sweep_dir / "events.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    last = next(i for i, line in enumerate(lines) if json.loads(line)["ev"] == "run_start")
    journal.write_text("".join(lines[: last + 1]))
    return executor.submitted[0].run_id


def test_a_run_that_outlived_its_orchestrator_is_adopted_and_its_end_recorded(settings: SweepSettings) -> None:
    run_id = leave_running(settings)
    (settings.sweep_dir / "runs" / run_id / STDOUT).write_text("METRIC loss=7\n")
    listener, executor = Listener(), FakeExecutor(prints=loss_is_x, survivors={run_id: FakeRun()})
    result = run(settings, executor, listener=listener)
    (found,) = [record for record in result.records if record.run_id == run_id]
    assert (found.attempt, found.metrics, found.state) == (1, {"loss": 7.0}, State.FINISHED)
    assert run_id not in [task.run_id for task in executor.submitted]
    assert any("outlived the sweep that started it" in note for note in listener.notes)


def test_a_run_that_the_executor_lost_is_interrupted_and_goes_again(settings: SweepSettings) -> None:
    run_id = leave_running(settings)
    executor = FakeExecutor(prints=loss_is_x)
    result = run(settings, executor)
    (found,) = [record for record in result.records if record.run_id == run_id]
    assert (found.attempt, found.state) == (2, State.FINISHED)


def test_a_fault_of_the_executor_leaves_nothing_open(settings: SweepSettings) -> None:
    class Broken(FakeExecutor):
        def take_notes(self) -> list[str]:
            raise RuntimeError("a bug")

    executor = Broken()
    with pytest.raises(RuntimeError, match="a bug"):
        run(settings, executor)
    assert executor.is_closed
    assert run(settings, FakeExecutor(prints=loss_is_x)).is_complete  # its locks are free again


def test_a_cancelled_run_says_by_whom() -> None:
    run = FakeRun()
    run.cancel(StopReason.TIMEOUT)
    assert run.poll() == Exit(signal=15, stopped=StopReason.TIMEOUT)


def test_runs_that_start_and_end_all_at_once_are_taken_in_as_many_turns_as_it_takes(
    settings: SweepSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(starts, "START_SLICE_S", 0.0)
    monkeypatch.setattr(ends, "RECORD_SLICE_S", 0.0)
    wide = replace(settings, max_concurrent=3)
    executor = FakeExecutor(prints=loss_is_x)
    result = run(wide, executor)

    assert sorted(record.metrics["loss"] for record in result.records) == [1, 2, 3]
    assert result.is_complete
