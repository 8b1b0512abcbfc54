"""What commands that change a sweep under way have in common."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from sweepline.cli.target import add_target
from sweepline.contract.text import display_path
from sweepline.engine.control import ask
from sweepline.engine.recorded import RecordedSweep, find_sweep
from sweepline.errors import ConfigError


def open_running(target: Path) -> RecordedSweep:
    """Return a sweep that runs now; its records are not read.

    Raises:
        ConfigError: it does not run.
    """
    found = find_sweep(target)
    if found.folder.is_locked() is False:
        raise ConfigError(f"{display_path(found.folder.path)}: the sweep does not run; start it with sweepline run")
    return found


def asking(op: str) -> tuple[Callable[[argparse.ArgumentParser], None], Callable[[argparse.Namespace], int]]:
    """Return the arguments and the action of a command that asks one thing of a sweep."""

    def run(args: argparse.Namespace) -> int:
        print(ask(open_running(args.sweep).folder.path, op))
        return 0

    return add_target, run
