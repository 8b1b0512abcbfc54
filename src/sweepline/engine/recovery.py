"""Taking up what an earlier start left: runs without an end, ends that no journal knows, output to be read again."""

from __future__ import annotations

import functools
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from sweepline.contract.runfolder import ATTEMPTS, EXIT_FILE, OVERRIDES
from sweepline.contract.yamlfile import read_yaml
from sweepline.engine.outcome import OutcomeReader, discard_own_history
from sweepline.errors import ConfigError
from sweepline.executors.base import Exit
from sweepline.executors.local.exits import read_exit
from sweepline.recording.book import RecordBook
from sweepline.recording.events import IN_SWEEP, RunRecord
from sweepline.runs import Run, RunOutcome, State

_START = "# run "


def format_start(fields: Mapping[str, Any]) -> str:
    """Return the first line of a run's ``overrides.yaml``, a comment: the fields of its ``run_start`` event.

    The values of the parameters stand below it, in the file itself, but for those in which macros are replaced there.
    """
    params = fields["params"]
    unexpanded = {name: value for name, value in params.items() if isinstance(value, str) and "${" in value}
    return f"{_START}{json.dumps({**fields, 'params': list(params), 'unexpanded': unexpanded})}\n"


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

    A folder that an older version wrote is told by the plan.
    """
    try:
        with (run_dir / OVERRIDES).open(encoding="utf-8", errors="surrogateescape") as file:
            first = file.readline()
        values = read_yaml(run_dir / OVERRIDES).value or {}
        fields: dict[str, Any] = json.loads(first.removeprefix(_START)) if first.startswith(_START) else {}
        if fields:
            values |= fields.pop("unexpanded", {})
            return fields | {"params": {name: values[name] for name in fields["params"]}}
    except (OSError, ConfigError, ValueError, KeyError, TypeError):
        pass  # as good as no file: what is planned may tell it
    found = read_exit(run_dir)
    run_id = run_dir.parent.parent.name if run_dir.parent.name == ATTEMPTS else run_dir.name
    run = planned.get(run_id)
    if run is None or found is None:
        return None
    return start_fields(run, attempt=found[0], device="")


def recover(book: RecordBook, reader: OutcomeReader, *, planned: Callable[[], Mapping[str, Run]] = dict) -> list[str]:
    """End what a dead orchestrator left open, and record what it did not; return sentences worth saying.

    ``planned`` gives the runs of the plan by id, for folders of runs that do not tell it themselves.
    """
    for record in list(book.records.values()):
        if record.state == State.RUNNING:
            book.end(record.run_id, record.attempt, _outcome_of(record, book, reader))
    note = _take_in_unrecorded(book, reader, planned)
    return [*book.take_notes(), *([note] if note else [])]


def _outcome_of(record: RunRecord, book: RecordBook, reader: OutcomeReader) -> RunOutcome:
    """Return the end of a run that nobody recorded: by its ``exit.json``, else interrupted."""
    run_dir = book.folder.run_dir(record.run_id)
    found = read_exit(run_dir)
    if found is None or found[0] != record.attempt:
        return RunOutcome(state=State.INTERRUPTED, reason="the sweep ended before this run did")
    return reader.read_kept(run_dir, found[1])


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
