"""``sweepline attach``: look at a sweep that runs elsewhere on this machine, until it ends. Ctrl-C leaves it alone."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from sweepline.cli.target import add_target
from sweepline.cli.wait import tell_end
from sweepline.display.logfile import LATEST_LOG
from sweepline.engine.recorded import find_sweep, open_recorded
from sweepline.errors import ConfigError

HELP = "follow a sweep that was started elsewhere, until it ends; Ctrl-C ends the looking, not the sweep"
DESCRIPTION = (
    "Shows what a sweep tells while it runs, from another terminal or after a detached start: the last lines of "
    "its log and every new one, until it ends. Ctrl-C ends the looking, not the sweep."
)
EXAMPLES = (
    ("sweepline attach", "follow the sweep of ./sweep.yaml"),
    ("sweepline attach outputs/lr --all", "from its first line on"),
)
EXIT_CODES = {
    0: "all runs have finished, or you stopped looking",
    1: "it has ended, and not all runs have finished",
}
_POLL_S, _N_FIRST = 0.3, 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_target(parser)
    parser.add_argument("--all", action="store_true", help=f"from the beginning, not the last {_N_FIRST} lines")


def run(args: argparse.Namespace) -> int:
    """Print the log of the sweep as it grows, and how it has ended; return that as an exit code, 0 after Ctrl-C.

    Raises:
        SweeplineError: there is no such sweep, or it has no log.
    """
    folder = find_sweep(args.sweep).folder
    log = folder.path / LATEST_LOG
    offset = _start(log, is_whole=args.all)
    try:
        while folder.is_locked():
            offset = _print_new(log, offset)
            time.sleep(_POLL_S)
    except KeyboardInterrupt:  # how one stops looking
        return 0
    _print_new(log, offset)
    return tell_end(open_recorded(folder.path))


def _start(log: Path, *, is_whole: bool) -> int:
    """Return where to begin: some lines before the end."""
    try:
        text = log.read_bytes()
    except OSError as error:
        raise ConfigError(f"{log}: {error.strerror}; sweepline status --watch shows how the sweep stands") from None
    if is_whole:
        return 0
    return len(text) - len(b"".join(text.splitlines(keepends=True)[-_N_FIRST:]))


def _print_new(log: Path, offset: int) -> int:
    with log.open("rb") as file:
        file.seek(offset)
        text = file.read()
    sys.stdout.write(text.decode("utf-8", "replace"))
    sys.stdout.flush()
    return offset + len(text)
