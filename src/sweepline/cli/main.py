"""The console command ``sweepline`` and the entry of ``orchestrate_sweep.py``."""

from __future__ import annotations

import argparse
import errno
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType

from sweepline import __version__
from sweepline.contract.text import printable
from sweepline.display.terminal import prepare_streams
from sweepline.errors import SweeplineError, SweepLockedError

EXIT_UNUSABLE, EXIT_LOCKED = 2, 75
_FULL = (errno.ENOSPC, errno.EDQUOT)
_DISK_ERRORS = (*_FULL, errno.EROFS, errno.EIO)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the ``sweepline`` command; return its exit code."""
    prepare_streams()
    argv = list(sys.argv[1:] if argv is None else argv)
    if argv[:1] == ["train"]:
        os.execv(sys.executable, [sys.executable, "-m", "sweepline.training", *argv[1:]])
    if argv[:1] == ["batch-size"]:
        from sweepline.cli.batch_size import batch_size_command

        return _guard(lambda: batch_size_command(argv[1:]))
    return _guard(lambda: _dispatch(argv))


def orchestrate(argv: Sequence[str] | None, *, default_sweep: Path) -> int:
    """Run ``orchestrate_sweep.py``: the command ``run`` with a sweep file of its own; return the exit code."""
    from sweepline.cli.run import add_arguments, run_command

    prepare_streams()
    parser = argparse.ArgumentParser(description="Run a sweep of train_single.py.", allow_abbrev=False)
    add_arguments(parser, default_sweep=default_sweep)
    args = parser.parse_args(argv)
    return _guard(lambda: run_command(args))


def _dispatch(argv: Sequence[str]) -> int:
    from sweepline.cli import checking, reading
    from sweepline.cli.run import add_arguments, run_command

    parser = argparse.ArgumentParser(
        prog="sweepline", description="Hyperparameter sweeps that lose nothing.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"sweepline {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="run a sweep file, or go on with it")
    add_arguments(run, default_sweep=None)
    commands.add_parser(
        "train", help="one run of the built-in trainer: sweepline train -- key=value ...", add_help=False
    )
    commands.add_parser(
        "batch-size",
        help="the batch size that fits and the efficient one: sweepline batch-size -- key=value ...",
        add_help=False,
    )
    status = commands.add_parser("status", help="how a sweep stands")
    reading.add_target(status)
    best = commands.add_parser("best", help="the best configurations, mean ± std over seeds")
    reading.add_target(best)
    best.add_argument("--metric", metavar="NAME", help="rank by this metric instead of the sweep's objective")
    best.add_argument("--goal", choices=["minimize", "maximize"])
    verify = commands.add_parser("verify", help="check that nothing was lost: journal, table, run folders, processes")
    reading.add_target(verify)
    rebuild = commands.add_parser("rebuild-csv", help="write runs.csv anew from the journal")
    reading.add_target(rebuild)
    repair = commands.add_parser("repair", help="make a damaged or lost journal anew from the run folders")
    reading.add_target(repair)
    commands.add_parser("schema", help="print the JSON schema of sweep files, for editors")
    args = parser.parse_args(argv)
    handlers: dict[str, Callable[[argparse.Namespace], int]] = {
        "run": run_command,
        "status": reading.status_command,
        "best": reading.best_command,
        "verify": checking.verify_command,
        "rebuild-csv": checking.rebuild_csv_command,
        "repair": checking.repair_command,
        "schema": lambda _: _print_schema(),
    }
    return handlers[args.command](args)


def _print_schema() -> int:
    from sweepline.config.jsonschema import json_schema

    print(json.dumps(json_schema(), indent=2))
    return 0


def _guard(command: Callable[[], int]) -> int:
    """Turn the errors that a user can cause into sentences and exit codes; a bug keeps its traceback."""
    signal.signal(signal.SIGINT, _interrupt_once)  # also where a shell starts background jobs with it ignored
    try:
        try:
            return _tell_errors(command)
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # all is done
    except KeyboardInterrupt:
        return 130


def _tell_errors(command: Callable[[], int]) -> int:
    try:
        code = command()
        sys.stdout.flush()
        return code
    except SweepLockedError as error:
        _tell(str(error))
        return EXIT_LOCKED
    except SweeplineError as error:
        _tell(str(error))
        return EXIT_UNUSABLE
    except BrokenPipeError:
        _leave_output()
        return 128 + 13
    except OSError as error:
        _leave_output()
        if error.errno not in _DISK_ERRORS and not error.filename:
            raise
        where = f"{error.filename}: " if error.filename else ""
        hint = "; make room and start again, recorded runs are kept" if error.errno in _FULL else ""
        _tell(f"{where}{error.strerror}{hint}")
        return EXIT_UNUSABLE


def _interrupt_once(number: int, _frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt at the first Ctrl-C alone: one that is held down shall not break the last steps."""
    signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _leave_output() -> None:
    """Let what cannot be written any more go nowhere, so that Python's own last words do not fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _tell(text: str) -> None:
    with suppress(OSError):  # no terminal any more, or no room for what it writes to
        print(f"sweepline: {printable(text)}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
