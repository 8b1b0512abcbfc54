"""``sweepline repair``: a damaged or lost journal, made anew from the run folders."""

from __future__ import annotations

import argparse
import secrets

from sweepline.cli.target import add_target
from sweepline.contract.text import display_path
from sweepline.engine.outcome import OutcomeReader, reader_of
from sweepline.engine.recorded import find_sweep, open_book
from sweepline.engine.recovery import recover
from sweepline.engine.repair import repair_journal
from sweepline.executors.local.executor import LocalExecutor
from sweepline.space.plan import Plan

HELP = "make a damaged or lost journal anew from the run folders"
DESCRIPTION = (
    "Makes a damaged or lost journal anew from the folders of the runs, and the plan and the table from it. What was "
    "there is kept beside it. For the day on which verify says BROKEN."
)
EXAMPLES = (
    ("sweepline repair", "of ./sweep.yaml"),
    ("sweepline repair outputs/lr", "of a sweep by its folder"),
)
EXIT_CODES = {
    75: "the sweep is running",
}

add_arguments = add_target


def run(args: argparse.Namespace) -> int:
    """Make a damaged or lost journal anew from the run folders, and plan and table from it; what was there is kept."""
    found = find_sweep(args.sweep, needs_journal=False)
    folder, settings = found.folder, found.settings
    whole = None if settings is None else Plan(settings.whole)
    folder.lock()
    try:
        folder.keeper_lock.take(secrets.token_hex(8), say=lambda text: print(text, flush=True))
        planned = {run.run_id: run for run in whole.runs()} if whole is not None and whole.is_small else {}
        repair = repair_journal(folder, planned=planned)
        book = open_book(found)
        n_known = len(book.records)
        reader = OutcomeReader() if settings is None else reader_of(settings)
        _, notes = recover(book, reader, LocalExecutor(), planned=lambda: planned)
        if planned:
            book.mark_membership(planned.keys())
        if folder.read_plan() is None and found.plan:
            folder.write_plan({**found.plan, "sweep_token": found.plan.get("sweep_token") or secrets.token_hex(3)})
            notes.append("plan.json: written anew from the sweep file")
        notes += book.open_table(is_anew=True)
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
