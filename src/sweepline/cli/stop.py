"""``sweepline stop``: a run, or a sweep, from another terminal."""

from __future__ import annotations

import argparse
from pathlib import Path

from sweepline.cli.chosen import add_filter, choose_runs
from sweepline.cli.steer import open_running
from sweepline.engine.control import ask
from sweepline.errors import ConfigError
from sweepline.runs import State

HELP = "stop runs under way, which then count as stopped early; without names the sweep, as by Ctrl-C"
DESCRIPTION = (
    "Stops runs of a sweep that is under way, or all of it. A run that is stopped by name gets SIGTERM and its "
    "grace, counts as stopped early, and is not started again unless by retry. Without names the sweep stops as "
    "by Ctrl-C, and goes on by the same command."
)
EXAMPLES = (
    ("sweepline stop lr0.1-s3", "one run; the others go on"),
    ("sweepline stop --filter lr=0.1", "all under way that match"),
    ("sweepline stop", "the sweep"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("run_names", nargs="*", metavar="RUN", help="runs to stop; none: the whole sweep")
    add_filter(parser)
    parser.add_argument(
        "--sweep", type=Path, default=Path("sweep.yaml"), metavar="SWEEP", help="the sweep (default: sweep.yaml)"
    )


def run(args: argparse.Namespace) -> int:
    """Ask the sweep for it, and say what it answers.

    Raises:
        SweeplineError: it does not run, or none of the runs is under way.
    """
    if not args.run_names and args.filter is None:
        print(ask(open_running(args.sweep).folder.path, "stop"))
        return 0
    chosen = choose_runs(args)
    wanted = [record.run_id for record in chosen.records if record.state == State.RUNNING]
    if not wanted or chosen.sweep.folder.is_locked() is False:
        names = ", ".join(f"{record.name}: {record.state.value}" for record in chosen.records[:3])
        raise ConfigError(f"nothing to stop ({names})")
    print(ask(chosen.sweep.folder.path, "stop_runs", runs=wanted))
    return 0
