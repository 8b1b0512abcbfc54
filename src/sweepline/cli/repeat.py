"""``sweepline repeat``: a configuration with more seeds."""

from __future__ import annotations

import argparse

from sweepline.cli.chosen import add_runs, choose_runs
from sweepline.cli.starting import add_start_options, options_of, positive, start
from sweepline.engine.again import prepare_repeat

HELP = "run the configuration of a run with more seeds (rerun proves that a run repeats to the last bit)"


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
