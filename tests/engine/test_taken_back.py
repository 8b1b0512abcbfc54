"""What a scheduler does to runs: it takes them back, ends them for their time or their memory; and what follows."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweepline.engine.outcome import LACKED_MEMORY, LACKED_TIME, TAKEN_BACK, OutcomeReader
from sweepline.engine.retries import MAX_FREE, MAX_TAKEN_BACK, Retry, RetryPolicy
from sweepline.executors.base import Exit, Lack, StopReason
from sweepline.runs import Run, RunOutcome, State

RUN = Run(run_id="a", name="a", params={}, seed=None, index=0)


def read(run_dir: Path, ended: Exit, *, resumable: bool = False) -> RunOutcome:
    return OutcomeReader(resumable=resumable).read(run_dir, ended)


def n_granted(policy: RetryPolicy, outcome: RunOutcome) -> int:
    """Return how often a run that ends so goes again."""
    return next(n for n in range(1000) if policy.decide(RUN, outcome, device="slurm", was_shared=False) is None)


def test_a_run_that_was_taken_back_is_not_to_blame(tmp_path: Path) -> None:
    outcome = read(tmp_path, Exit(stopped=StopReason.PREEMPTED, duration_s=7.0, remarks=["its job: node fail (n2)"]))
    assert (outcome.state, outcome.is_blameless) == (State.INTERRUPTED, True)
    assert outcome.reason == f"{TAKEN_BACK}; its job: node fail (n2)"


def test_it_goes_again_many_times_where_it_has_run(tmp_path: Path) -> None:
    outcome = read(tmp_path, Exit(stopped=StopReason.PREEMPTED, duration_s=7.0))
    assert n_granted(RetryPolicy(0), outcome) == MAX_TAKEN_BACK


def test_a_run_whose_jobs_never_begin_goes_again_a_few_times(tmp_path: Path) -> None:
    outcome = read(tmp_path, Exit(stopped=StopReason.PREEMPTED))
    assert n_granted(RetryPolicy(0), outcome) == MAX_FREE


def test_the_time_of_its_job_ends_a_run(tmp_path: Path) -> None:
    outcome = read(tmp_path, Exit(stopped=StopReason.TIME_LIMIT, duration_s=90.0))
    assert (outcome.state, outcome.is_blameless) == (State.TIMEOUT, False)
    assert outcome.reason == f"{LACKED_TIME} after 90 s"
    assert n_granted(RetryPolicy(0), outcome) == 0


def test_a_run_that_has_saved_goes_on_in_another_job(tmp_path: Path) -> None:
    outcome = read(tmp_path, Exit(stopped=StopReason.TIME_LIMIT, duration_s=90.0), resumable=True)
    assert (outcome.state, outcome.is_blameless) == (State.INTERRUPTED, True)
    assert n_granted(RetryPolicy(0), outcome) == MAX_TAKEN_BACK


def test_a_run_killed_for_its_memory_says_so(tmp_path: Path) -> None:
    outcome = read(tmp_path, Exit(signal=9, is_out_of_memory=True, duration_s=3.0))
    assert (outcome.state, outcome.reason) == (State.OUT_OF_MEMORY, LACKED_MEMORY)


@pytest.mark.parametrize(
    ("ended", "lack"),
    [
        (Exit(signal=9, is_out_of_memory=True), Lack.MEMORY),
        (Exit(stopped=StopReason.TIME_LIMIT, duration_s=90.0), Lack.TIME),
    ],
)
def test_a_run_that_lacked_something_goes_again_as_long_as_it_gets_more(
    tmp_path: Path, ended: Exit, lack: Lack
) -> None:
    asked: list[tuple[str, Lack]] = []

    def give_more(run_id: str, lacked: Lack) -> str:
        asked.append((run_id, lacked))
        return "more" if len(asked) <= 3 else ""

    outcome = read(tmp_path, ended)
    policy = RetryPolicy(0, give_more=give_more)
    assert policy.decide(RUN, outcome, device="slurm", was_shared=False) == Retry(RUN)
    assert n_granted(policy, outcome) == 2
    assert set(asked) == {("a", lack)}


@pytest.mark.parametrize("error", ["CUDA out of memory. Tried to allocate 2 GiB", "MemoryError"])
def test_a_gpu_that_is_full_is_no_lack_of_the_memory_of_a_job(tmp_path: Path, error: str) -> None:
    (tmp_path / "stderr.log").write_text(f"RuntimeError: {error}\n")
    asked: list[Lack] = []
    policy = RetryPolicy(0, give_more=lambda _, lack: asked.append(lack) or "more")
    policy.decide(RUN, read(tmp_path, Exit(exit_code=1)), device="slurm", was_shared=False)
    assert asked == []
