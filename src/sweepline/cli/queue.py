"""``sweepline queue``: sweeps that run one after the other, in the background."""

from __future__ import annotations

import argparse
from pathlib import Path

from sweepline.cli.asjson import add_json, print_json
from sweepline.config.sweepfile import load_sweep
from sweepline.contract.text import display_path, printable
from sweepline.engine.sweepqueue import QueuedSweep, SweepQueue

HELP = "run sweeps one after the other in the background; without a file: what waits"
DESCRIPTION = (
    "Runs sweeps one after the other in the background: each starts when the one before has ended, however that "
    "ended. The queue is one for each user of a machine; it outlives the terminal, and is told from any folder."
)
EXAMPLES = (
    ("sweepline queue lr.yaml width.yaml", "run the two sweeps, one after the other"),
    ("sweepline queue", "what runs, what waits, and how the others ended"),
    ("sweepline queue --remove width.yaml", "let this one wait no more"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("files", nargs="*", type=Path, metavar="SWEEP", help="sweep files to queue")
    parser.add_argument("--remove", metavar="SWEEP", help="take one that waits out of the queue")
    parser.add_argument("--clear", action="store_true", help="take those that have ended out of the list")
    parser.add_argument("--take-turn", metavar="ID", help=argparse.SUPPRESS)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Queue sweeps, or show the queue.

    Raises:
        SweeplineError: a file cannot be run, or does not wait.
    """
    queue = SweepQueue()
    if args.take_turn:
        queue.take_turn(args.take_turn)
        return 0
    if args.remove:
        queue.remove(args.remove)
    if args.clear:
        print(f"{queue.clear()} taken out")
    if args.files:
        paths = [path / "sweep.yaml" if path.is_dir() else path for path in args.files]
        for path in paths:
            load_sweep(path)  # a mistake is told now, not at night
        queue.add([QueuedSweep(file=str(path.resolve()), folder=str(Path.cwd())) for path in paths])
    if args.json:
        print_json(queue.sweeps())
        return 0
    for one in queue.sweeps():
        print(printable(f"{display_path(Path(one.folder, one.file))}: {_describe(one)}"))
    if not queue.sweeps():
        print("nothing is queued")
    return 0


def _describe(one: QueuedSweep) -> str:
    if one.exit_code is not None:
        return f"ended, exit code {one.exit_code}"
    if one.is_lost:
        return "nobody waits for it any more, as after a restart: queue it again"
    return "running" if one.is_running else "waits"
