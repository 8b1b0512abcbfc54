"""What must be true of a sweep's folder after any fault, checked from the files and from /proc alone."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sweepline.contract.runfolder import STDOUT
from sweepline.errors import RecordError
from sweepline.executors.local.exits import read_exit
from sweepline.executors.local.keeper.processes import find_by_token, find_printing_into
from sweepline.recording.cells import format_cell, says
from sweepline.recording.columns import MAX_METRIC_COLUMNS, OLDER_FIXED_COLUMNS, has_row
from sweepline.recording.events import RUN_END, RUN_FORGET, RUN_START, Replay, RunRecord
from sweepline.recording.folders import SweepFolder
from sweepline.recording.journal import START, read_events
from sweepline.recording.locks import read_keeper_token, why_unseen
from sweepline.recording.snapshot import SNAPSHOT, load_snapshot
from sweepline.runs import State


@dataclass(frozen=True, slots=True)
class Invariant:
    """One promise, and how it is broken; it holds when ``faults`` is empty."""

    name: str
    promise: str
    faults: list[str] = field(default_factory=list)


def check_invariants(path: Path, *, csv_path: Path | None = None, table_label: str = "") -> list[Invariant]:
    """Return every invariant of the sweep folder ``path``, with what breaks it.

    Nothing may be writing to the folder meanwhile. ``csv_path`` is where the table is, unless it is in the folder, and
    ``table_label`` what its column ``sweep`` calls this one, unless the folder's name.
    """
    folder = SweepFolder(path)
    try:
        events = list(read_events(folder.journal))
    except RecordError as error:
        return [Invariant("journal", "the journal is whole", [str(error)])]
    replay = Replay()
    faults = list(_fold_strictly(events, replay)) or list(_snapshot_faults(folder, events, replay))
    records = replay.records
    table_faults = list(_table_faults(folder, csv_path, records, table_label or path.name))
    return [
        Invariant("journal", "every event in sequence, every end after its start and once per attempt", faults),
        Invariant("I1", "every run that ended is in the journal", list(_unrecorded(folder, events))),
        Invariant("I2", "the table is what the journal tells", table_faults),
        Invariant("I3", "no process of the sweep is left", list(_survivors(folder))),
        Invariant("I4", "no run that finished was started again", list(_run_twice(events))),
        Invariant("I5", "every run that ended has its folder and its log", list(_lost_folders(folder, records))),
    ]


def _fold_strictly(events: list[dict[str, Any]], replay: Replay) -> Iterator[str]:
    ended: Counter[tuple[str, int]] = Counter()
    started: set[tuple[str, int]] = set()
    for event in events:
        key = (event.get("run", ""), event.get("attempt", 0))
        if event["ev"] == RUN_START:
            if key in started:
                yield f"{key[0]}: attempt {key[1]} was started twice"
            started.add(key)
        elif event["ev"] == RUN_END:
            ended[key] += 1
            if key not in started:
                yield f"{key[0]}: attempt {key[1]} ended without a start"
                continue
            if ended[key] > 1:
                yield f"{key[0]}: attempt {key[1]} ended {ended[key]} times"
        elif event["ev"] == RUN_FORGET:
            started = {other for other in started if other[0] != key[0]}
            ended = Counter({other: n for other, n in ended.items() if other[0] != key[0]})
        replay.apply(event)


def _snapshot_faults(folder: SweepFolder, events: list[dict[str, Any]], replay: Replay) -> Iterator[str]:
    snapshot = load_snapshot(folder.journal)
    told, records = snapshot.replay, replay.records
    if snapshot.position == START:  # there is none, or it is left aside
        return
    for event in events[snapshot.position.seq :]:
        told.apply(event)
    other = [run for run, record in records.items() if repr(told.records.get(run)) != repr(record)]  # nan is not nan
    has_same_rest = (list(told.records), told.codes, told.reread) == (list(records), replay.codes, replay.reread)
    if other or not has_same_rest:
        yield f"{SNAPSHOT} tells another story than the journal, of {len(other)} runs: remove that file"


def _unrecorded(folder: SweepFolder, events: list[dict[str, Any]]) -> Iterator[str]:
    ended = {(event["run"], event["attempt"]) for event in events if event["ev"] == RUN_END}
    for run_dir in sorted(folder.runs.iterdir()) if folder.runs.is_dir() else ():
        for place in (run_dir, *sorted(run_dir.glob("attempts/*"))):
            found = read_exit(place)
            if found is not None and (run_dir.name, found[0]) not in ended:
                yield f"{run_dir.name}: attempt {found[0]} is not recorded yet; the next start takes it from exit.json"


def _lost_folders(folder: SweepFolder, records: Mapping[str, RunRecord]) -> Iterator[str]:
    for record in records.values():
        run_dir = folder.run_dir(record.run_id)
        if not has_row(record) or record.state == State.SPAWN_ERROR:
            continue
        if not run_dir.is_dir():
            yield f"{record.run_id} ({record.name}): its folder is gone; the journal still has its result"
        elif _has_lost_output(run_dir):
            yield f"{record.run_id} ({record.name}): {STDOUT} is gone; the journal still has its result"


def _table_faults(
    folder: SweepFolder, csv_path: Path | None, records: Mapping[str, RunRecord], label: str
) -> Iterator[str]:
    path = csv_path or folder.csv
    is_shared = path.parent.resolve() != folder.path.resolve()
    expected = {record.run_id: record for record in records.values() if has_row(record)}
    try:
        text = path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        if expected:
            yield f"{path.name} is missing: sweepline rebuild-csv writes it"
        return
    except (OSError, UnicodeDecodeError) as error:
        yield f"{path.name} cannot be read: {error}"
        return
    if text and not text.endswith("\n"):
        yield f"{path.name}: the last row is torn"
    header, *rows = list(csv.reader(io.StringIO(text, newline=""))) or [[]]
    if header[: len(OLDER_FIXED_COLUMNS)] != list(OLDER_FIXED_COLUMNS):
        yield f"{path.name}: the header is not ours"
        return
    seen: set[str] = set()
    for number, cells in enumerate(rows, 2):
        if len(cells) != len(header):
            yield f"{path.name}:{number}: {len(cells)} cells, the header has {len(header)}"
            continue
        row = dict(zip(header, cells, strict=True))
        record = expected.get(row["run_id"])
        if is_shared and (row["sweep"] != label or record is None):
            continue  # of another sweep that writes the same table
        if record is None or row["run_id"] in seen:
            yield f"{path.name}:{number}: run {row['run_id']} is {'doubled' if record else 'not in the journal'}"
            continue
        seen.add(row["run_id"])
        yield from (f"{path.name}:{number}: {fault}" for fault in _row_faults(row, record))
    yield from (f"{path.name}: run {run_id} is missing" for run_id in expected.keys() - seen)


def _row_faults(row: Mapping[str, str], record: RunRecord) -> Iterator[str]:
    if (row["state"], row["attempt"]) != (record.state.value, str(record.attempt)):
        yield f"{row['state']} in attempt {row['attempt']}, the journal says {record.state} in {record.attempt}"
    for kind, values in (("param", record.params), ("metric", record.metrics)):
        for name, value in values.items():
            columns = [column for column in (f"{kind}.{kind}.{name}", f"{kind}.{name}", name) if column in row]
            is_left_out = kind == "metric" and not columns and len(row) >= MAX_METRIC_COLUMNS
            if name != "seed" and not is_left_out and not any(says(row[column], kind, value) for column in columns):
                yield f"{name} is not {format_cell(value)!r}"


def _survivors(folder: SweepFolder) -> Iterator[str]:
    token = read_keeper_token(folder.path)
    if folder.is_locked():
        return
    found = find_by_token(token)
    yield from (f"process {pid} still lives; the next start ends it" for pid in found)
    for pid in find_printing_into(str(folder.runs.resolve())):
        if pid not in found:
            yield f"process {pid} writes to a run's log without the marks of one: end it if a run has started it"
    doubt = why_unseen(folder.path)
    if doubt is not None:
        yield doubt


def _run_twice(events: list[dict[str, Any]]) -> Iterator[str]:
    finished: set[str] = set()
    for event in events:
        if event["ev"] == RUN_START and event["run"] in finished:
            yield f"{event['run']}: started again in attempt {event['attempt']}"
        elif event["ev"] == RUN_END and State(event["state"]) == State.FINISHED:
            finished.add(event["run"])
        elif event["ev"] == RUN_FORGET:
            finished.discard(event["run"])


def _has_lost_output(run_dir: Path) -> bool:
    """Whether a log is gone that had something in it: the keeper removes those that nothing was written into."""
    if (run_dir / STDOUT).exists():
        return False
    return read_exit(run_dir) is None  # it is not believed where its logs are shorter than it says
