"""What commands that start single runs of a sweep have in common."""

from __future__ import annotations

import argparse

from sweepline.cli.run import positive, run_and_tell
from sweepline.engine.preparation import PreparedSweep
from sweepline.engine.state import SweepOptions


def add_start_options(parser: argparse.ArgumentParser) -> None:
    """Declare where and how runs start."""
    parser.add_argument("--max-concurrent", type=positive, metavar="N", help="at most N runs at a time")
    parser.add_argument("--devices", metavar="IDS", help="auto, cpu, or GPU ids such as 0,1")
    parser.add_argument("--start", choices=["auto", "warm", "cold"], help="warm: forked from one process")
    parser.add_argument("--plain", action="store_true", help="one line per event, also on a terminal")


def options_of(args: argparse.Namespace) -> SweepOptions:
    """Return what is asked of the start."""
    return SweepOptions(devices=args.devices, max_concurrent=args.max_concurrent, start=args.start, keep_going=True)


def start(prepared: PreparedSweep, args: argparse.Namespace) -> int:
    """Start what was prepared; return the exit code."""
    outputs = prepared.settings.experiment_dir / "outputs"
    return run_and_tell(prepared, outputs=outputs, is_plain=args.plain)
