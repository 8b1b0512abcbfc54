"""Taking up what an earlier start left: runs without an end, ends that no journal knows, output to be read again."""

from __future__ import annotations

import functools
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sweepline.contract.runfolder import ATTEMPTS, EXIT_FILE, OVERRIDES, START_MARK, read_start_line
from sweepline.contract.yamlfile import read_yaml
from sweepline.engine.outcome import OutcomeReader, discard_own_history
from sweepline.errors import ConfigError
from sweepline.executors.base import Attempt, Executor, Exit, RunHandle
from sweepline.executors.local.exits import read_exit
from sweepline.programs.wandb import RUN_ID as WANDB_RUN_ID
from sweepline.recording.book import RecordBook
from sweepline.recording.events import IN_SWEEP, RunRecord
from sweepline.runs import Run, RunOutcome, State


def start_fields(run: Run, *, attempt: int, device: str, code: str = "", in_sweep: str = IN_SWEEP) -> dict[str, Any]:
    """Return the fields of a ``run_start`` event."""
    return {
        "run": run.run_id,
        "attempt": attempt,
        "name": run.name,
        "params": dict(run.params),
        "seed": run.seed,
        "identity": run.identity,
        "device": device,
        "started_at": _tell_second(int(time.time())),
        "code": code,
        "in_sweep": in_sweep,
    }


@functools.lru_cache(maxsize=1)
def _tell_second(second: int) -> str:
    """Return a wall time with its zone; runs that start in one second share one text."""
    return datetime.fromtimestamp(second).astimezone().isoformat(timespec="seconds")


def read_start(run_dir: Path, planned: Mapping[str, Run]) -> dict[str, Any] | None:
    """Return the fields of the ``run_start`` event of the attempt in a folder; None where nothing tells them.

    A folder that the first version wrote is told by the plan.
    """
    fields = read_start_line(run_dir)
    if fields is not None:
        fields.pop(WANDB_RUN_ID, None)
        return fields
    older = _read_older_start(run_dir)
    if older is not None:
        return older
    found = read_exit(run_dir)
    run_id = run_dir.parent.parent.name if run_dir.parent.name == ATTEMPTS else run_dir.name
    run = planned.get(run_id)
    if run is None or found is None:
        return None
    return start_fields(run, attempt=found[0], device="")


def _read_older_start(run_dir: Path) -> dict[str, Any] | None:
    """Return what stood on top of ``overrides.yaml``: the names of parameters there, their values below it."""
    try:
        with (run_dir / OVERRIDES).open(encoding="utf-8", errors="surrogateescape") as file:
            first = file.readline()
        if not first.startswith(START_MARK):
            return None
        fields: dict[str, Any] = json.loads(first.removeprefix(START_MARK))
        values = (read_yaml(run_dir / OVERRIDES).value or {}) | fields.pop("unexpanded", {})
        return fields | {"params": {name: values[name] for name in fields["params"]}}
    except (OSError, ConfigError, ValueError, KeyError, TypeError):
        return None  # as good as no file: what is planned may tell it


@dataclass(frozen=True, slots=True)
class Survivor:
    """A run that outlived its orchestrator, where its executor still has it."""

    record: RunRecord
    handle: RunHandle


def recover(
    book: RecordBook,
    reader: OutcomeReader,
    executor: Executor,
    *,
    planned: Callable[[], Mapping[str, Run]] = dict,
) -> tuple[list[Survivor], list[str]]:
    """End what a dead orchestrator left open, and record what it did not.

    ``planned`` gives the runs of the plan by id, for folders of runs that do not tell it themselves. Returns what lives
    on, and sentences worth saying.
    """
    left_open = [record for record in book.records.values() if record.state == State.RUNNING]
    found = executor.recover(
        [Attempt(run_id=r.run_id, attempt=r.attempt, run_dir=book.folder.run_dir(r.run_id)) for r in left_open]
    )
    survivors: list[Survivor] = []
    for record in left_open:
        end = found.get(record.run_id)
        if end is None:
            outcome = RunOutcome(state=State.INTERRUPTED, reason="the sweep ended before this run did")
        elif isinstance(end, Exit):
            outcome = reader.read_kept(book.folder.run_dir(record.run_id), end)
        else:
            survivors.append(Survivor(record, end))
            continue
        book.end(record.run_id, record.attempt, outcome)
    note = _take_in_unrecorded(book, reader, planned)
    return survivors, [*book.take_notes(), *([note] if note else [])]


def _take_in_unrecorded(
    book: RecordBook, reader: OutcomeReader, planned: Callable[[], Mapping[str, Run]]
) -> str | None:
    """Record attempts that ended and that the journal does not know: an older copy of it was put back, or none."""
    n_taken, unknown = 0, []
    runs: Mapping[str, Run] | None = None
    for place, attempt, end in find_unrecorded(book.folder.runs, book.records):
        runs = planned() if runs is None else runs
        start = read_start(place, runs)
        if start is None:
            unknown.append(place.name)
            continue
        book.start(start)
        book.end(start["run"], attempt, reader.read_kept(place, end))
        n_taken += 1
    taken = f"{n_taken} ended runs that the journal did not know were taken from their folders" if n_taken else ""
    left = f"{len(unknown)} run folders do not tell their parameters and are left alone" if unknown else ""
    return "; ".join(filter(None, (taken, left))) or None


def read_again(book: RecordBook, reader: OutcomeReader) -> str:
    """Read the kept output of all runs that finished by patterns that have changed; return a sentence."""
    n_changed = 0
    for record in list(book.records.values()):
        run_dir = book.folder.run_dir(record.run_id)
        found = read_exit(run_dir)
        if record.state != State.FINISHED or found is None or found[0] != record.attempt:
            continue
        discard_own_history(run_dir)
        outcome = reader.read_kept(run_dir, found[1])
        metrics, reason = _merge_reading(record, outcome, reader)
        if outcome.state == State.FINISHED and (reason, metrics) != (record.reason, dict(record.metrics)):
            book.correct(record.run_id, metrics=metrics, reason=reason)
            n_changed += 1
    return f"what is read from the output has changed: {n_changed} results were read again from the logs"


def _merge_reading(record: RunRecord, outcome: RunOutcome, reader: OutcomeReader) -> tuple[dict[str, float], str]:
    """Return metrics and reason after a second reading: what came from a source that is gone by now stays.

    W&B's files are often removed once they are uploaded. What a pattern of the sweep file finds is in the logs.
    """
    read = outcome.metrics
    gone = {name: v for name, v in record.metrics.items() if name not in read and name not in reader.patterns}
    is_told_before = reader.objective is not None and reader.objective.name in gone
    return {**read, **gone}, record.reason if is_told_before else outcome.reason


def find_unrecorded(runs_dir: Path, records: Mapping[str, RunRecord]) -> Iterator[tuple[Path, int, Exit]]:
    """Yield the folder, the attempt and the end of every attempt that has ended and that ``records`` do not know.

    Of runs that are known to have finished nothing further is looked for.
    """
    settled = {run_id for run_id, record in records.items() if record.state in (State.FINISHED, State.RUNNING)}
    unsettled = [run_dir for run_dir in _folders(runs_dir) if run_dir.name not in settled]
    for run_dir in sorted(unsettled, key=_ended_at):
        record = records.get(run_dir.name)
        n_known = record.attempt if record is not None else 0
        places = [*_folders(run_dir / ATTEMPTS), run_dir]
        ends = [(found, place) for place in places if (found := read_exit(place)) is not None and found[0] > n_known]
        for (attempt, end), place in sorted(ends, key=lambda entry: entry[0][0]):
            yield place, attempt, end


def _folders(path: Path) -> list[Path]:
    try:
        with os.scandir(path) as entries:
            return [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []


def _ended_at(run_dir: Path) -> float:
    try:
        return (run_dir / EXIT_FILE).stat().st_mtime
    except OSError:
        return 0.0
