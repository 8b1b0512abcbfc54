"""``sweepline rebuild-csv``: the table, written anew from the journal."""

from __future__ import annotations

import argparse

from sweepline.cli.target import add_target
from sweepline.contract.text import display_path
from sweepline.engine.outcome import reader_of
from sweepline.engine.planfile import reading_hash
from sweepline.engine.recorded import find_sweep, open_book
from sweepline.engine.recovery import read_again

HELP = "write runs.csv anew from the journal"
DESCRIPTION = (
    "Writes runs.csv anew from the journal, which is the truth of a sweep. Where the patterns of the sweep file's "
    "metrics have changed, the kept output of runs is read again by them. A table of another content is kept beside "
    "the new one."
)
EXAMPLES = (
    ("sweepline rebuild-csv", "of ./sweep.yaml"),
    ("sweepline rebuild-csv outputs/lr", "of a sweep by its folder"),
)
EXIT_CODES = {
    75: "the sweep is running",
}

add_arguments = add_target


def run(args: argparse.Namespace) -> int:
    """Write the table anew from the journal; another content is kept beside it.

    Where the sweep file's patterns have changed, the kept output of runs is read again by them.
    """
    found = find_sweep(args.sweep)
    settings = found.settings
    found.folder.lock()
    try:
        book = open_book(found)
        notes = book.take_notes()
        if settings is not None and found.plan.get("reading") not in (None, reading_hash(settings)):
            notes.append(read_again(book, reader_of(settings)))
            found.folder.write_plan({**found.plan, "reading": reading_hash(settings)})
        notes += book.open_table(is_anew=True)
        book.close()
    finally:
        found.folder.unlock()
    if book.table.problem is not None:
        raise book.table.problem
    for note in notes:
        print(note)
    print(f"{display_path(book.table.path)}: {len(book.records)} runs, as the journal tells them")
    return 0
