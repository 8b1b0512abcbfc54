"""``sweepline retry``: runs that ended without a result, once more."""

from __future__ import annotations

import argparse

from sweepline.cli.chosen import add_runs, choose_runs
from sweepline.cli.starting import add_start_options, options_of, start
from sweepline.engine.again import prepare_retry

HELP = "let runs that failed or were stopped go again, as further attempts"
DESCRIPTION = (
    "Lets runs that failed, or that were stopped early, go again as further attempts, under their ids. Other runs "
    "of the sweep are left alone. A run that has finished is not done again: repeat gives its configuration other "
    "seeds, rerun proves that it repeats."
)
EXAMPLES = (
    ("sweepline retry lr0.1-s3", "one run"),
    ("sweepline retry --filter \"state == 'out_of_memory'\"", "all that ran out of memory"),
)
EXIT_CODES = {
    0: "all of them have finished",
    1: "some have not",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_runs(parser)
    add_start_options(parser)


def run(args: argparse.Namespace) -> int:
    """Run them again; return the exit code of a sweep.

    Raises:
        SweeplineError: nothing could start.
    """
    chosen = choose_runs(args)
    return start(prepare_retry(chosen.sweep, chosen.records, options_of(args)), args)
