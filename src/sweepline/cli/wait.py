"""``sweepline wait``: until a sweep has ended, or something has happened in it; the exit code tells which."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

from sweepline.cli.durations import duration
from sweepline.cli.target import add_target
from sweepline.engine.planfile import count_planned
from sweepline.engine.recorded import RecordedSweep, find_sweep, open_recorded
from sweepline.errors import ConfigError
from sweepline.recording.events import RunRecord
from sweepline.runs import SETTLED, UNSUCCESSFUL, State

HELP = "wait until a sweep has ended, a run has failed, or nothing happens any more; the exit code tells which"
DESCRIPTION = (
    "Waits until a sweep has ended, until a run of it has failed, or until nothing happens in it any more, and "
    "tells by its exit code which. For scripts; it only reads."
)
EXAMPLES = (
    ("sweepline wait", "until it has ended; such as: sweepline wait && sweepline best"),
    ("sweepline wait --until failure --timeout 2h", "wake up when a run fails"),
    ("sweepline wait --until stalled --quiet 10m", "when no run has printed anything for ten minutes"),
)
EXIT_CODES = {
    0: "all runs have finished",
    1: "it has ended, and not all runs have finished",
    3: "what --until names has happened",
    124: "it takes longer than --timeout",
}
DONE, INCOMPLETE, HAPPENED, TIMED_OUT = 0, 1, 3, 124
"""All runs have finished; it has ended and some have not; what ``--until`` names has happened; too long."""
_POLL_S = 1.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_target(parser)
    parser.add_argument(
        "--until",
        choices=["done", "failure", "stalled"],
        default="done",
        help="done: it has ended (0: all have finished, 1: not all); failure: a run has ended badly (3); stalled: no "
        "run under way has printed anything for --quiet (3)",
    )
    parser.add_argument("--quiet", type=duration, default=600.0, metavar="TIME", help="for stalled (default: 10m)")
    parser.add_argument("--timeout", type=duration, metavar="TIME", help="give up after 90s, 30m or 2h (124)")


def run(args: argparse.Namespace) -> int:
    """Wait; return what has happened as an exit code.

    Raises:
        SweeplineError: there is no such sweep.
    """
    began = time.monotonic()
    while True:
        found = _open(args.sweep)
        is_over = found is None or found.folder.is_locked() is False
        if found is not None and (is_over or args.until != "done"):  # else its records need not be read
            found = open_recorded(found.folder.path)
            records = [record for record in found.records.values() if record.belongs]
            for text in _happened(args, found, records, is_over=is_over):
                print(text)
                return HAPPENED
            if is_over:
                return tell_end(found)
        elif found is None and args.timeout is None:
            raise ConfigError(f"{args.sweep}: no sweep has been run here; start one with sweepline run")
        if args.timeout is not None and time.monotonic() - began >= args.timeout:
            print("it takes longer")
            return TIMED_OUT
        time.sleep(_POLL_S)


def _open(target: Path) -> RecordedSweep | None:
    """Return a sweep, its records unread; None where it has not begun to write any."""
    try:
        return find_sweep(target)
    except ConfigError as error:
        if "no sweep has been run" in str(error):
            return None
        raise


def _happened(
    args: argparse.Namespace, found: RecordedSweep, records: list[RunRecord], *, is_over: bool
) -> Iterator[str]:
    if args.until == "failure":
        for record in records:
            if record.state in UNSUCCESSFUL:
                yield f"{record.state.value}: {record.name} ({record.run_id}): {record.reason}"
    elif args.until == "stalled" and not is_over:
        running = [record for record in records if record.state == State.RUNNING]
        quiet = [_quiet_s(found.folder.run_dir(record.run_id)) for record in running]
        if running and min(quiet) > args.quiet:
            yield f"no run has printed anything for {min(quiet):.0f} s: {', '.join(r.name for r in running[:3])}"


def _quiet_s(run_dir: Path) -> float:
    """Return for how long a run has printed nothing."""
    times = []
    for path in [run_dir, *run_dir.glob("*.log")]:
        try:
            times.append(path.stat().st_mtime)
        except OSError:  # it has just been set aside
            continue
    return max(0.0, time.time() - max(times, default=time.time()))


def tell_end(found: RecordedSweep) -> int:
    """Print how a sweep has ended; return it as an exit code: runs that never started are not done."""
    records = [record for record in found.records.values() if record.belongs]
    n_well = sum(record.state in SETTLED for record in records)
    n_planned = count_planned(found.plan, records)
    n_all = max(len(records), n_planned or 0)
    not_begun = f", {n_all - len(records)} were not started" if n_all > len(records) else ""
    print(f"ended: {n_well} of {n_all} runs have ended well{not_begun}")
    return DONE if n_well == n_all and n_all else INCOMPLETE
