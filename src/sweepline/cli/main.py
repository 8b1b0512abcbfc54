"""The console command ``sweepline`` and the entry of ``orchestrate_sweep.py``."""

from __future__ import annotations

import argparse
import errno
import importlib
import keyword
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType, ModuleType

from sweepline import __version__
from sweepline.contract.text import printable
from sweepline.display.terminal import prepare_streams
from sweepline.errors import SweeplineError, SweepLockedError

EXIT_UNUSABLE, EXIT_LOCKED = 2, 75
_FULL = (errno.ENOSPC, errno.EDQUOT)
_DISK_ERRORS = (*_FULL, errno.EROFS, errno.EIO)


_COMMANDS = (
    "init",
    "run",
    "train",
    "batch-size",
    "studies",
    "data",
    "status",
    "top",
    "best",
    "importance",
    "diff",
    "explain",
    "rerun",
    "align",
    "smoke",
    "compare",
    "extract",
    "report",
    "sql",
    "verify",
    "rebuild-csv",
    "repair",
    "import",
    "export",
    "schema",
)
"""Each is a file of this package, with ``HELP`` and either ``add_arguments`` and ``run``, or ``run_with_words``."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the ``sweepline`` command; return its exit code."""
    prepare_streams()
    argv = list(sys.argv[1:] if argv is None else argv)
    return _guard(lambda: _dispatch(argv))


def orchestrate(argv: Sequence[str] | None, *, default_sweep: Path) -> int:
    """Run ``orchestrate_sweep.py``: the command ``run`` with a sweep file of its own; return the exit code."""
    from sweepline.cli import run

    prepare_streams()
    parser = argparse.ArgumentParser(description="Run a sweep of train_single.py.", allow_abbrev=False)
    run.add_arguments(parser, default_sweep=default_sweep)
    folder = default_sweep.parent.parent

    def orchestrated() -> int:
        words, study_options = run.split_study_options(list(sys.argv[1:] if argv is None else argv), folder)
        args = parser.parse_args(words, argparse.Namespace(study_options=study_options, study_folder=folder))
        return run.run(args)

    return _guard(orchestrated)


def _dispatch(argv: Sequence[str]) -> int:
    """Run the command that is named first; of the others only their names are needed, or what they are for."""
    chosen = argv[0] if argv and argv[0] in _COMMANDS else None
    command: ModuleType | None = None
    if chosen is not None:
        command = _load(chosen)
        if hasattr(command, "run_with_words"):
            return int(command.run_with_words(argv[1:]))
    parser = argparse.ArgumentParser(
        prog="sweepline", description="Hyperparameter sweeps that lose nothing.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"sweepline {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in _COMMANDS:
        own = commands.add_parser(name, help=_load(name).HELP.replace("%", "%%") if chosen is None else None)
        if name == chosen and command is not None:
            command.add_arguments(own)
    study_options: list[str] = []
    if command is not None and hasattr(command, "split_study_options"):
        argv, study_options = command.split_study_options(argv, None)
    given = argparse.Namespace(study_options=study_options)
    args = parser.parse_args(argv, given)  # ends the process where no command is named: for --help, or with a fault
    assert command is not None
    return int(command.run(args))


def _load(name: str) -> ModuleType:
    word = f"{name}_" if keyword.iskeyword(name) else name.replace("-", "_")
    return importlib.import_module(f"sweepline.cli.{word}")


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
