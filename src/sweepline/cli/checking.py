"""``sweepline verify`` and ``sweepline rebuild-csv``: what a folder promises, checked, and its table written anew."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from sweepline.cli.reading import find_folder
from sweepline.errors import RecordError
from sweepline.recording.folders import SweepFolder
from sweepline.recording.history import fold
from sweepline.recording.invariants import check_invariants
from sweepline.recording.journal import read_events
from sweepline.recording.table import RunTable
from sweepline.values import display_path

_MAX_FAULTS_SHOWN = 10


def verify_command(args: argparse.Namespace) -> int:
    """Print every invariant of a sweep's folder; return 0 when all hold."""
    folder = find_folder(args.sweep)
    if folder.is_locked():
        raise RecordError(f"{display_path(folder.path)}: the sweep is running; verify it when it has ended")
    n_faults = 0
    for invariant in check_invariants(folder.path, csv_path=_csv_path(folder)):
        print(f"{'ok    ' if not invariant.faults else 'BROKEN'} {invariant.name}: {invariant.promise}")
        for fault in invariant.faults[:_MAX_FAULTS_SHOWN]:
            print(f"       {fault}")
        if len(invariant.faults) > _MAX_FAULTS_SHOWN:
            print(f"       and {len(invariant.faults) - _MAX_FAULTS_SHOWN} more")
        n_faults += len(invariant.faults)
    return 1 if n_faults else 0


def rebuild_csv_command(args: argparse.Namespace) -> int:
    """Write the table anew from the journal; another content is kept beside it."""
    folder = find_folder(args.sweep)
    folder.lock()
    try:
        plan = folder.read_plan() or {}
        path = _csv_path(folder)
        table = RunTable(
            path,
            sweep=str(plan.get("sweep", folder.path.name)),
            params=list(plan.get("parameters", {})),
            metrics=list(plan.get("logged_metrics", ())),
            reserved=plan.get("reserved_metrics", ()),
        )
        records = fold(read_events(folder.journal))
        note = table.open(records.values())
        table.close()
    finally:
        folder.unlock()
    print(note or f"{display_path(path)}: {len(records)} runs, as the journal tells them")
    return 0


def _csv_path(folder: SweepFolder) -> Path:
    """Return where the table is: ``plan.json`` tells it relative to the folder, which may have been moved."""
    told = Path(str((folder.read_plan() or {}).get("csv") or folder.csv.name))
    if told.is_absolute() and told.parent.name == folder.path.name:  # as older versions wrote it
        return folder.csv
    return Path(os.path.normpath(folder.path / told))
