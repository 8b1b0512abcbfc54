"""What a start finds of earlier ones, in words: runs done and to do, and what edits of file or program changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set

from sweepline.contract.text import name_some
from sweepline.engine.freezing import Code
from sweepline.programs.sourcecode import changed_files, describe_change
from sweepline.recording.events import RunRecord
from sweepline.runs import SETTLED, RunOutcome, State
from sweepline.space.plan import Plan


def describe_edit(records: Mapping[str, RunRecord], planned: Set[str]) -> str:
    """Return what an edited sweep file has changed about the recorded runs."""
    n_kept = sum(run_id in planned for run_id in records)
    n_gone = len(records) - n_kept
    return f"sweep changed: {n_kept} runs kept, {n_gone} no longer in the sweep, {len(planned) - n_kept} new"


def describe_resume(records: Mapping[str, RunRecord], planned: Set[str] | None, *, retry_failed: bool) -> Iterator[str]:
    """Yield what a start finds: runs done, interrupted and to do."""
    if not records:
        return
    if planned is None:
        yield f"resuming: {len(records):,} runs are recorded"
        return
    kept = [record for run_id, record in records.items() if run_id in planned]
    n_new = len(planned) - len(kept)
    n_finished = sum(record.has_result for record in kept)
    n_open = sum(record.goes_on for record in kept)
    n_pruned = sum(record.state == State.PRUNED for record in kept)
    n_failed = len(kept) - n_finished - n_pruned - n_open
    n_again = n_failed if retry_failed else 0
    hint = "" if retry_failed else " (--retry-failed runs them again)"
    failed = f", {n_failed} failed{hint}" if n_failed else ""
    pruned = f", {n_pruned} pruned" if n_pruned else ""
    yield f"resuming: {n_finished} finished{pruned}, {n_open} interrupted{failed}, {n_new + n_open + n_again} to do"


def describe_code(records: Sequence[RunRecord], codes: Mapping[str, Mapping[str, str]], code: Code) -> Iterator[str]:
    """Yield a sentence where runs have ended with other code than the program's of now."""
    now = code.state
    ended = [record for record in records if record.is_ended]
    other = [record for record in ended if record.code and record.code != now]
    if other and now:  # else the program is not found from here
        states = [codes.get(state, {}) for state in {record.code for record in other}]
        n = f"{len(other)} of {len(ended)}"
        if all(_program_of(record.code) == _program_of(now) for record in other):
            names = sorted({name for state in states for name in changed_files(state, code.files)})
            if names:  # else it is the same program, in a folder that was moved
                told = f"{name_some(names)}: changed since {n} runs ended"
                yield f"{told}; the program imports nothing of it by a plain name"
        else:
            yield (
                f"{describe_change(states, code.files)} since {n} runs ended: their results are kept; "
                "--fresh runs all again"
            )


def take_up(plan: Plan, records: Iterable[RunRecord], *, retry_failed: bool) -> None:
    """Tell a plan what earlier starts of this program and config recorded; one that learns goes on where they were."""
    known = [r for r in records if plan.is_enumerable or plan.belongs(r.params, r.seed, r.run_id)]
    if not plan.is_enumerable:
        done = {r.run_id for r in known if not (r.goes_on or (retry_failed and r.state not in SETTLED))}
        plan.take_up([record.params for record in known], lambda run_id: run_id not in done)
    for record in known:
        goes_again = retry_failed and record.state not in SETTLED
        outcome = None if goes_again else record.outcome
        if outcome is not None or not plan.is_enumerable:
            plan.tell(record.params, outcome or RunOutcome(state=State.RUNNING))


def _program_of(state: str) -> str:
    """Return what of a state of the code stands for the program and what it imports by name."""
    return state.partition("+")[0].partition(".")[0]
