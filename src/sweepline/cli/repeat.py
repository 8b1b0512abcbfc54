"""``sweepline repeat``: a configuration with more seeds."""

from __future__ import annotations

import argparse

from sweepline.cli.chosen import add_runs, choose_runs
from sweepline.cli.run import positive
from sweepline.cli.starting import add_start_options, options_of, start
from sweepline.engine.again import prepare_repeat

HELP = "run the configuration of a run with more seeds (rerun proves that a run repeats to the last bit)"
DESCRIPTION = (
    "Runs configurations of a sweep with more seeds. They count for the mean and the interval of their "
    "configuration, stand in the table as in_sweep: repeat, and stay when the sweep is started again."
)
EXAMPLES = (
    ("sweepline repeat lr0.1-s3 --seeds 3", "three seeds more"),
    ('sweepline repeat --filter "loss < 0.1" --seeds 2', "two more for each that matches, the same for all"),
)
EXIT_CODES = {
    0: "all of them have finished",
    1: "some have not",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_runs(parser)
    parser.add_argument("--seeds", type=positive, default=1, metavar="N", help="how many seeds more (default: 1)")
    add_start_options(parser)


def run(args: argparse.Namespace) -> int:
    """Run them; return the exit code of a sweep.

    Raises:
        SweeplineError: nothing could start.
    """
    chosen = choose_runs(args)
    return start(prepare_repeat(chosen.sweep, chosen.records, args.seeds, options_of(args)), args)
