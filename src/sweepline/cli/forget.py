"""``sweepline forget``: runs as if they had never been; their files are archived."""

from __future__ import annotations

import argparse

from sweepline.cli.chosen import add_runs, choose_runs
from sweepline.contract.text import display_path
from sweepline.engine.forgetting import forget_runs

HELP = "take runs out of the records, their files to archive/; the next start does those that the sweep has"
DESCRIPTION = (
    "Takes runs out of the records, as if they had never been: their rows leave the table, their files go to the "
    "archive folder of the sweep. Nothing is deleted. The next start does those again that the sweep still has."
)
EXAMPLES = (
    ("sweepline forget lr0.1-s3", "a run that was spoiled"),
    ("sweepline forget --filter \"state == 'failed'\"", "all that failed"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_runs(parser)


def run(args: argparse.Namespace) -> int:
    """Forget runs.

    Raises:
        SweeplineError: there is no such run, or the sweep runs.
    """
    chosen = choose_runs(args)
    archive, notes = forget_runs(chosen.sweep, chosen.records)
    n = len(chosen.records)
    print(f"{n} run{'' if n == 1 else 's'} forgotten; files and rows are kept in {display_path(archive)}")
    for note in notes:
        print(note)
    return 0
