"""``sweepline verify``: what a folder promises, checked."""

from __future__ import annotations

import argparse

from sweepline.cli.asjson import add_json, print_json
from sweepline.cli.target import add_target
from sweepline.contract.text import display_path
from sweepline.engine.recorded import csv_path, find_sweep, table_label
from sweepline.engine.verify import check_invariants
from sweepline.errors import RecordError

HELP = "check that nothing was lost: journal, table, run folders, processes"
DESCRIPTION = (
    "Checks that a sweep's folder keeps its promises: that journal, table and run folders agree, that nothing was "
    "lost, and that no process is left. It only reads; repair mends."
)
EXAMPLES = (
    ("sweepline verify", "of ./sweep.yaml"),
    ("sweepline verify outputs/lr --json", "of a sweep by its folder, as JSON"),
)
EXIT_CODES = {
    0: "all promises hold",
    1: "one is broken",
    2: "the sweep is running, or there is none",
}
_MAX_FAULTS_SHOWN = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_target(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Print every invariant of a sweep's folder; return 0 when all hold."""
    found = find_sweep(args.sweep)
    folder = found.folder
    is_running = folder.is_locked()
    if is_running:
        raise RecordError(f"{display_path(folder.path)}: the sweep is running; verify it when it has ended")
    invariants = check_invariants(folder.path, csv_path=csv_path(found), table_label=table_label(found))
    holds = not any(invariant.faults for invariant in invariants)
    if args.json:
        print_json({"path": folder.path, "holds": holds, "locks_work": is_running is not None, "promises": invariants})
        return 0 if holds else 1
    if is_running is None:
        print("note   locks do not work here: make sure that the sweep does not run")
    for invariant in invariants:
        print(f"{'ok    ' if not invariant.faults else 'BROKEN'} {invariant.name}: {invariant.promise}")
        for fault in invariant.faults[:_MAX_FAULTS_SHOWN]:
            print(f"       {fault}")
        if len(invariant.faults) > _MAX_FAULTS_SHOWN:
            print(f"       and {len(invariant.faults) - _MAX_FAULTS_SHOWN} more")
    return 0 if holds else 1
