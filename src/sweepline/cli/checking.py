"""``sweepline verify``, ``rebuild-csv`` and ``repair``: what a folder promises, checked, and its records made anew."""

from __future__ import annotations

import argparse
import os
import secrets
from pathlib import Path

from sweepline.cli.reading import RecordedSweep, find_sweep
from sweepline.contract.text import display_path
from sweepline.engine.outcome import OutcomeReader, reader_of
from sweepline.engine.planfile import reading_hash
from sweepline.engine.recovery import read_again, recover
from sweepline.engine.repair import repair_journal
from sweepline.engine.verify import check_invariants
from sweepline.errors import RecordError
from sweepline.recording.book import RecordBook
from sweepline.space.plan import Plan

_MAX_FAULTS_SHOWN = 10


def verify_command(args: argparse.Namespace) -> int:
    """Print every invariant of a sweep's folder; return 0 when all hold."""
    found = find_sweep(args.sweep)
    folder = found.folder
    is_running = folder.is_locked()
    if is_running:
        raise RecordError(f"{display_path(folder.path)}: the sweep is running; verify it when it has ended")
    if is_running is None:
        print("note   locks do not work here: make sure that the sweep does not run")
    n_faults = 0
    for invariant in check_invariants(folder.path, csv_path=_csv_path(found), table_label=_table_label(found)):
        print(f"{'ok    ' if not invariant.faults else 'BROKEN'} {invariant.name}: {invariant.promise}")
        for fault in invariant.faults[:_MAX_FAULTS_SHOWN]:
            print(f"       {fault}")
        if len(invariant.faults) > _MAX_FAULTS_SHOWN:
            print(f"       and {len(invariant.faults) - _MAX_FAULTS_SHOWN} more")
        n_faults += len(invariant.faults)
    return 1 if n_faults else 0


def rebuild_csv_command(args: argparse.Namespace) -> int:
    """Write the table anew from the journal; another content is kept beside it.

    Where the sweep file's patterns have changed, the kept output of runs is read again by them.
    """
    found = find_sweep(args.sweep)
    settings = found.settings
    found.folder.lock()
    try:
        book = _open_book(found)
        notes = book.take_notes()
        if settings is not None and found.plan.get("reading") not in (None, reading_hash(settings)):
            notes.append(read_again(book, reader_of(settings)))
            found.folder.write_plan({**found.plan, "reading": reading_hash(settings)})
        notes += book.open_table()
        book.close()
    finally:
        found.folder.unlock()
    if book.table.problem is not None:
        raise book.table.problem
    for note in notes:
        print(note)
    print(f"{display_path(book.table.path)}: {len(book.records)} runs, as the journal tells them")
    return 0


def repair_command(args: argparse.Namespace) -> int:
    """Make a damaged or lost journal anew from the run folders, and plan and table from it; what was there is kept."""
    found = find_sweep(args.sweep, needs_journal=False)
    folder, settings = found.folder, found.settings
    whole = None if settings is None else Plan(settings.whole)
    folder.lock()
    try:
        folder.keeper_lock.take(secrets.token_hex(8), say=lambda text: print(text, flush=True))
        planned = {run.run_id: run for run in whole.runs()} if whole is not None and whole.is_small else {}
        repair = repair_journal(folder, planned=planned)
        book = _open_book(found)
        n_known = len(book.records)
        reader = OutcomeReader() if settings is None else reader_of(settings)
        notes = recover(book, reader, planned=lambda: planned)
        if planned:
            book.mark_membership(planned.keys())
        if folder.read_plan() is None and found.plan:
            folder.write_plan({**found.plan, "sweep_token": found.plan.get("sweep_token") or secrets.token_hex(3)})
            notes.append("plan.json: written anew from the sweep file")
        notes += book.open_table()
        book.close()
    finally:
        folder.unlock()
    lost = f", {repair.n_lines_lost} damaged lines left out" if repair.n_lines_lost else ""
    kept = f"; the old journal is kept as {display_path(repair.old)}" if repair.old else ""
    n_taken = len(book.records) - n_known
    print(f"{folder.journal.name}: {n_known} runs from what was readable{lost}, {n_taken} from their folders{kept}")
    for note in notes:
        print(note)
    return 0


def _open_book(found: RecordedSweep) -> RecordBook:
    plan = found.plan
    csv = _csv_path(found)
    return RecordBook(
        found.folder,
        csv=None if csv == found.folder.csv else csv,
        sweep=_table_label(found),
        params=list(plan.get("parameters", {})),
        metrics=list(plan.get("logged_metrics", ())),
        reserved=plan.get("reserved_metrics", ()),
    )


def _table_label(found: RecordedSweep) -> str:
    return str(found.plan.get("table_label") or found.plan.get("sweep") or found.folder.path.name)


def _csv_path(found: RecordedSweep) -> Path:
    """Return where the table is: ``plan.json`` tells it relative to the folder, which may have been moved."""
    folder = found.folder
    told = Path(str(found.plan.get("csv") or folder.csv.name))
    if told.is_absolute() and told.parent.name == folder.path.name:  # as older versions wrote it
        return folder.csv
    return Path(os.path.normpath(folder.path / told))
