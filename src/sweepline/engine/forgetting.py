"""Taking runs out of a sweep's records. Nothing is deleted: files and rows go to its archive."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from sweepline.engine.recorded import RecordedSweep, csv_path, open_book, table_label
from sweepline.errors import ConfigError, SweepLockedError, record_error
from sweepline.recording.events import RunRecord
from sweepline.recording.folders import ARCHIVE, CSV
from sweepline.recording.journal import unused_path
from sweepline.recording.rows import take_rows_out
from sweepline.runs import State


def forget_runs(found: RecordedSweep, records: Sequence[RunRecord]) -> tuple[Path, list[str]]:
    """Forget runs; return where their files and the table of before are, and sentences worth saying.

    The journal comes first: a run whose folder is moved is one that nobody knows of. Folders that a fault leaves
    behind are set aside by the next start, as those of any earlier attempt.

    Raises:
        ConfigError: one of them has no end.
        SweepLockedError: the sweep runs.
        RecordError: the folder cannot be written.
    """
    folder = found.folder
    _check_ended(records)
    try:
        folder.lock()
    except SweepLockedError as error:
        raise SweepLockedError(f"{error}; stop it first: sweepline stop") from None
    try:
        target = unused_path(folder.path / ARCHIVE / f"{time.strftime('%Y%m%d_%H%M%S')}_forgotten")
        target.mkdir(parents=True)
        book = open_book(found)
        known = [book.records[record.run_id] for record in records if record.run_id in book.records]
        _check_ended(known)  # as they are now that nobody else writes
        run_ids = [record.run_id for record in known]
        for run_id in run_ids:
            book.forget(run_id)
        book.journal.sync()
        for run_id in run_ids:
            if folder.run_dir(run_id).is_dir():
                folder.run_dir(run_id).rename(target / run_id)
        take_rows_out(csv_path(found), table_label(found), run_ids, to=target / CSV)
        notes = book.open_table()
        book.close()
    except OSError as error:
        raise record_error(folder.path, "cannot be written", error) from None
    finally:
        folder.unlock()
    return target, notes


def _check_ended(records: Sequence[RunRecord]) -> None:
    under_way = next((record for record in records if record.state == State.RUNNING), None)
    if under_way is not None:
        raise ConfigError(
            f"{under_way.name} ({under_way.run_id}) has no end yet: stop the sweep, or start it once more if it was "
            "killed"
        )
