"""Which runs go again, where and how often; and whole sweeps of which nothing comes but failures or no results."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
import yaml

from sweepline.engine.outcome import OUT_OF_MEMORY_IN_DOUBT
from sweepline.engine.retries import MAX_FREE, MAX_SMALLER, Retry, RetryPolicy
from sweepline.runs import SETTLED, UNSUCCESSFUL, Run, RunOutcome, State
from tests.conftest import Project
from tests.fakes import recorded
from tests.sweeps.test_sweeps import SWEEP, invocations

RUN = Run(run_id="a", name="a", params={}, seed=None, index=0)
OTHER = Run(run_id="b", name="b", params={}, seed=None, index=1)
LOST = RunOutcome(state=State.GPU_LOST, is_blameless=True)
FULL = RunOutcome(state=State.OUT_OF_MEMORY)
FAILED = RunOutcome(state=State.FAILED, reason="broken")
ORDINARY = sorted(UNSUCCESSFUL - {State.OUT_OF_MEMORY, State.GPU_LOST})


def decide(policy: RetryPolicy, outcome: RunOutcome, *, run: Run = RUN, shared: bool = False) -> Retry | None:
    return policy.decide(run, outcome, device="0", was_shared=shared)


@pytest.mark.parametrize("state", ORDINARY)
def test_a_run_that_failed_does_not_go_again_unless_asked(state: State) -> None:
    assert decide(RetryPolicy(0), RunOutcome(state=state)) is None


@pytest.mark.parametrize("state", ORDINARY)
def test_a_run_that_failed_goes_again_as_often_as_asked(state: State) -> None:
    policy = RetryPolicy(2)
    decisions = [decide(policy, RunOutcome(state=state)) for _ in range(4)]
    assert decisions == [Retry(RUN), Retry(RUN), None, None]


def test_a_failure_that_may_be_one_of_memory_goes_again_alone_where_the_gpu_was_shared() -> None:
    doubtful = RunOutcome(state=State.FAILED, reason=f"RuntimeError: cuDNN error {OUT_OF_MEMORY_IN_DOUBT}")
    policy = RetryPolicy(0)
    assert decide(policy, doubtful) is None
    assert decide(policy, doubtful, shared=True) == Retry(RUN, is_alone=True)
    assert decide(policy, doubtful, shared=True) is None


@pytest.mark.parametrize("state", sorted(SETTLED | {State.INTERRUPTED}))
def test_a_run_that_did_not_fail_does_not_go_again(state: State) -> None:
    assert decide(RetryPolicy(9), RunOutcome(state=state)) is None


def test_runs_are_counted_apart() -> None:
    policy = RetryPolicy(1)
    assert decide(policy, FAILED) == Retry(RUN)
    assert decide(policy, FAILED, run=OTHER) == Retry(OTHER)


def test_a_run_whose_overrides_did_not_arrive_does_not_go_again() -> None:
    reason = "override not applied (x: asked 1, got 2)"
    assert decide(RetryPolicy(9), RunOutcome(state=State.FAILED, reason=reason)) is None


def test_a_run_that_lost_its_gpu_goes_again_elsewhere_for_nothing() -> None:
    assert decide(RetryPolicy(0), LOST) == Retry(RUN, avoid=frozenset({"0"}))


def test_a_run_whose_keeper_died_goes_again_anywhere_for_nothing() -> None:
    assert decide(RetryPolicy(0), RunOutcome(state=State.KILLED, is_blameless=True)) == Retry(RUN)


def test_a_run_that_the_full_disk_stopped_goes_again_for_nothing() -> None:
    assert decide(RetryPolicy(0), RunOutcome(state=State.INTERRUPTED, is_blameless=True)) == Retry(RUN)


def test_free_attempts_have_an_end() -> None:
    policy = RetryPolicy(3)
    decisions = [decide(policy, LOST) is not None for _ in range(MAX_FREE + 2)]
    assert decisions == [True] * MAX_FREE + [False] * 2


def test_free_attempts_take_nothing_from_the_others() -> None:
    policy = RetryPolicy(1)
    for _ in range(MAX_FREE):
        decide(policy, LOST)
    assert [decide(policy, FAILED), decide(policy, FAILED)] == [Retry(RUN), None]


def test_a_run_out_of_memory_beside_another_goes_again_alone_and_once() -> None:
    policy = RetryPolicy(0)
    assert [decide(policy, FULL, shared=True) for _ in range(2)] == [Retry(RUN, is_alone=True), None]


def test_a_run_out_of_memory_on_a_device_of_its_own_does_not_go_again() -> None:
    assert decide(RetryPolicy(0), FULL) is None


def test_going_again_alone_takes_nothing_from_the_retries_that_were_asked_for() -> None:
    policy = RetryPolicy(1)
    decisions = [decide(policy, FULL, shared=True), decide(policy, FULL), decide(policy, FULL)]
    assert decisions == [Retry(RUN, is_alone=True), Retry(RUN), None]


def test_a_run_that_recommends_a_smaller_batch_goes_again_where_that_is_asked_for() -> None:
    full = RunOutcome(state=State.OUT_OF_MEMORY, metrics={"recommended_batch_size": 80.0})
    assert decide(RetryPolicy(0), full) is None
    policy = RetryPolicy(1, goes_smaller=True)
    decisions = [decide(policy, full) is not None for _ in range(MAX_SMALLER + 2)]
    assert decisions == [True] * MAX_SMALLER + [True, False]  # then come the retries that were asked for
    assert decide(RetryPolicy(0, goes_smaller=True), FULL) is None


def test_a_run_that_goes_again_is_told_the_bound_of_its_batches() -> None:
    record = recorded(RUN.run_id, state=State.OUT_OF_MEMORY, metrics={"recommended_batch_size": 80.0})
    told = RetryPolicy(0, goes_smaller=True).with_recommended_size(RUN, record)
    assert told == replace(RUN, params={**RUN.params, "batch_size_config.max_batch_size": 80})
    assert RetryPolicy(0).with_recommended_size(RUN, record) == RUN
    for other in (None, recorded(RUN.run_id, state=State.FAILED, metrics=record.metrics)):
        assert RetryPolicy(0, goes_smaller=True).with_recommended_size(RUN, other) == RUN


# whole sweeps


def toys(project: Project, *, mode: str, n: int = 9, extra: str = "") -> Project:
    """Write a sweep of ``n`` toys in this mode, three at a time."""
    project.asset("toy.py")
    text = SWEEP.replace("x: [1, 2, 3]", f"x: {list(range(n))}").replace("y: [0.5, 0.25]", f"mode: {mode}")
    project.write("sweep.yaml", text.replace("max_concurrent: 2", "max_concurrent: 3") + extra)
    return project


def test_a_sweep_of_nothing_but_failures_stops_soon_and_shows_a_log(project: Project) -> None:
    result = toys(project, mode="fail").run()
    assert result.returncode == 1
    assert 3 <= len(invocations(project)) <= 3 + 3
    assert "the first 3 runs all failed" in result.stdout
    assert "    | the toy broke on purpose" in result.stdout


def test_a_sweep_of_nothing_but_failures_goes_on_when_asked(project: Project) -> None:
    result = toys(project, mode="fail").run("--keep-going")
    assert result.returncode == 1
    assert len(invocations(project)) == 9
    assert set(project.rows().state) == {"failed"}


def test_attempts_of_a_run_that_goes_again_do_not_halt_the_sweep(project: Project) -> None:
    result = toys(project, mode="fail-once", extra="    retry: 1\n").run()
    assert result.returncode == 0, result.stdout
    assert list(project.rows().attempt) == [2] * 9


def test_no_more_failures_are_launched_than_allowed(project: Project) -> None:
    result = toys(project, mode="fail").run("--max-failures", "2")
    assert result.returncode == 1
    assert 2 <= len(invocations(project)) <= 2 + 3
    assert "stopped launching after 2 failures (--max-failures 2)" in result.stdout


SILENT = """
    import sys
    x = int(sys.argv[1].partition("=")[2])
    if x == 1:
        print("METRIC accuracy=0.9")
    elif x > 1:
        print(f"METRIC loss={x}")
"""


@pytest.fixture
def silent(project: Project) -> Project:
    """A sweep of which run 0 prints no metric at all, run 1 another one, and only 2 and 3 the objective."""
    project.write("silent.py", SILENT)
    project.write("sweep.yaml", SWEEP.replace("toy.py", "silent.py").replace("x: [1, 2, 3]", "x: [0, 1, 2, 3]"))
    text = (project.path / "sweep.yaml").read_text()
    project.write("sweep.yaml", "\n".join(line for line in text.splitlines() if "y: [" not in line) + "\n")
    return project


def test_a_run_without_the_objective_is_finished_and_says_so(silent: Project) -> None:
    result = silent.run()
    rows = silent.rows().set_index("x")
    assert result.returncode == 0, result.stderr
    assert list(rows.state.sort_index()) == ["finished"] * 4
    assert [rows.reason[x].split("; ")[0] for x in (0, 1)] == ["no METRIC loss"] * 2
    assert rows.reason[[2, 3]].isna().all()


def test_runs_without_the_objective_are_counted_at_the_end(silent: Project) -> None:
    assert "warning: 2 finished runs: no METRIC loss" in silent.run().stdout


@pytest.mark.parametrize("goal", ["minimize", "maximize"])
def test_runs_without_the_objective_are_never_the_best(silent: Project, goal: str) -> None:
    text = (silent.path / "sweep.yaml").read_text()
    silent.write("sweep.yaml", text.replace("goal: minimize", f"goal: {goal}"))
    silent.run()
    best = yaml.safe_load((silent.sweep_dir / "best.yaml").read_text())
    assert best["params"]["x"] == (2 if goal == "minimize" else 3)


def test_a_sweep_of_which_no_run_has_the_objective_has_no_best(silent: Project) -> None:
    silent.run("--set", "x=0")
    assert not (silent.sweep_dir / "best.yaml").exists()


def test_runs_without_the_objective_come_after_all_others(silent: Project) -> None:
    silent.run()
    table = [line.split() for line in silent.command("best").stdout.splitlines() if line[:1].isdigit()]
    has_objective = [row[2] != "-" for row in table]
    assert all(before or not after for before, after in pairwise(has_objective))
