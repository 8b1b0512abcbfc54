"""How a sweep stands: what is counted once, what a retry takes back, and which run is best."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from sweepline.engine import progress as progress_module
from sweepline.engine.progress import Progress
from sweepline.recording.events import RunRecord
from sweepline.runs import Objective, State
from sweepline.space.constraints import parse_constraint
from sweepline.space.parameters import Categorical, Constant
from sweepline.space.plan import Plan, SearchSpace
from tests.conftest import Project
from tests.fakes import recorded

PARAMETERS = {"opt": Categorical(("sgd", "adam")), "lr": Categorical((0.1, 0.01, 0.001)), "epochs": Constant(3)}
LOSS = Objective(name="loss")


def plan_of(*rules: str, seeds: Sequence[int | None] = (None,), limit: int | None = None, method: str = "grid") -> Plan:
    """Return the plan of six combinations, before rules."""
    return Plan(
        SearchSpace(
            parameters=PARAMETERS,
            constraints=[parse_constraint(rule) for rule in rules],
            seeds=seeds,
            limit=limit,
            method=method,
        )
    )


def walk(progress: Progress) -> int | None:
    """Walk the plan to its end, in a thousand slices at most; return the total."""
    for _ in range(1000):
        if not progress.walk_plan():
            return progress.n_total
    raise AssertionError("the plan has no end")


def ended(run_id: str, state: State = State.FINISHED, **metrics: float) -> RunRecord:
    return recorded(run_id, name=run_id, state=state, attempt=1, metrics=metrics)


def progress_of(*records: RunRecord, objective: Objective | None = LOSS) -> Progress:
    """Return the progress of a start in which these runs ended."""
    progress = Progress(plan_of(), objective)
    for record in records:
        progress.add(record)
    return progress


# the total


def test_the_total_is_unknown_until_the_plan_has_been_walked() -> None:
    assert Progress(plan_of(), None).n_total is None


@pytest.mark.parametrize(
    ("plan", "total"),
    [
        (plan_of(), 6),
        (plan_of(seeds=(0, 1, 2)), 18),
        (plan_of("opt=adam -> lr=0.1"), 4),
        (plan_of("opt=adam -> lr=0.1", seeds=(0, 1)), 8),
        (plan_of(limit=2, seeds=(0, 1)), 4),
        (plan_of(limit=100), 6),
        (plan_of(method="random", limit=5), 5),
    ],
    ids=["grid", "seeds", "merged", "merged with seeds", "limited", "limited beyond", "random"],
)
def test_the_total_is_the_number_of_runs(plan: Plan, total: int) -> None:
    assert (walk(Progress(plan, None)), len(list(plan.runs()))) == (total, total)


def test_the_total_is_the_same_in_slices_of_a_single_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_module, "COUNT_SLICE_S", 0.0)
    assert walk(Progress(plan_of(seeds=(0, 1)), None)) == 12


def test_a_plan_that_has_been_walked_is_not_walked_again() -> None:
    progress = Progress(plan_of(), None)
    walk(progress)
    assert (progress.walk_plan(), progress.n_total) == (False, 6)


# counts


def test_ends_are_counted_by_how_they_ended() -> None:
    progress = progress_of(
        ended("a"), ended("b", State.PRUNED), ended("c", State.FAILED), ended("d", State.SPAWN_ERROR), ended("e")
    )
    assert (progress.n_finished, progress.n_pruned, progress.n_failed, progress.n_ended) == (2, 1, 2, 5)


@pytest.mark.parametrize("state", [State.INTERRUPTED, State.RUNNING])
def test_a_run_that_goes_on_later_is_not_counted(state: State) -> None:
    progress = progress_of(ended("a", state))
    assert (progress.n_ended, progress.n_session) == (0, 0)


def test_a_retry_that_ends_well_takes_back_its_failure() -> None:
    progress = progress_of(ended("a", State.FAILED), ended("a"))
    assert (progress.n_finished, progress.n_failed) == (1, 0)


def test_a_retry_that_fails_again_is_one_failure() -> None:
    assert progress_of(ended("a", State.FAILED), ended("a", State.TIMEOUT)).n_failed == 1


def test_a_failed_run_whose_retry_is_interrupted_is_open_again() -> None:
    assert progress_of(ended("a", State.FAILED), ended("a", State.INTERRUPTED)).n_ended == 0


def test_ends_of_earlier_starts_are_counted_but_not_as_of_this_one() -> None:
    progress = Progress(plan_of(), LOSS)
    progress.load([ended("a"), ended("b", State.FAILED), ended("c", State.INTERRUPTED)])
    progress.add(ended("d"))
    assert (progress.n_ended, progress.n_session) == (3, 1)


def test_an_edited_sweep_never_counts_more_runs_than_it_has(project: Project) -> None:
    project.asset("toy.py")
    sweep = "program: toy.py\nname: toys\nparameters: {x: XS}\ndevices: cpu\nmax_concurrent: 1\n"
    project.write("sweep.yaml", sweep.replace("XS", "[1, 2, 3]"))
    project.run()
    project.write("sweep.yaml", sweep.replace("XS", "[3, 4]"))
    lines = project.run().stdout.splitlines()
    assert [line.split()[0] for line in lines if line.startswith("[")] == ["[2/2]"]


# the best


def test_there_is_no_best_before_a_run_has_finished() -> None:
    assert progress_of().best is None


@pytest.mark.parametrize(("goal", "best"), [("minimize", "b"), ("maximize", "c")])
def test_the_best_run_is_the_one_nearest_to_the_goal(goal: str, best: str) -> None:
    progress = progress_of(
        ended("a", loss=2), ended("b", loss=1), ended("c", loss=3), objective=Objective(name="loss", goal=goal)
    )
    assert progress.best
    assert progress.best.run_id == best


def test_of_equal_runs_the_first_stays_best() -> None:
    progress = progress_of(ended("a", loss=1), ended("b", loss=1))
    assert progress.best
    assert progress.best.run_id == "a"


@pytest.mark.parametrize("goal", ["minimize", "maximize"])
def test_a_run_without_a_number_is_never_best(goal: str) -> None:
    objective = Objective(name="loss", goal=goal)
    progress = progress_of(ended("a", loss=math.nan), ended("b", acc=9), ended("c", loss=5), objective=objective)
    assert progress.best
    assert progress.best.run_id == "c"


def test_a_failed_run_is_never_best() -> None:
    assert progress_of(ended("a", State.FAILED, loss=0)).best is None


def test_without_an_objective_no_run_is_best() -> None:
    assert progress_of(ended("a", loss=1), objective=None).best is None


def test_the_best_of_earlier_starts_is_remembered() -> None:
    progress = Progress(plan_of(), LOSS)
    progress.load([ended("old", loss=1)])
    progress.add(ended("new", loss=2))
    assert progress.best
    assert progress.best.run_id == "old"
