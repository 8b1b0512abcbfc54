"""The console command ``sweepline`` and the entry of ``orchestrate_sweep.py``."""

from __future__ import annotations

import argparse
import errno
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType

from sweepline.cli.commands import COMMANDS, load
from sweepline.cli.exitcodes import EXIT_LOCKED, EXIT_UNUSABLE
from sweepline.cli.manual import build_parser, build_top_parser, describe_commands, print_words_help
from sweepline.contract.text import printable
from sweepline.display.terminal import prepare_streams
from sweepline.errors import SweeplineError, SweepLockedError, did_you_mean

_FULL = (errno.ENOSPC, errno.EDQUOT)
_DISK_ERRORS = (*_FULL, errno.EROFS, errno.EIO)


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
        given = list(sys.argv[1:] if argv is None else argv)
        words, study_options = run.split_study_options(given, folder)
        again = [sys.executable, str(Path(sys.argv[0]).resolve()), *given]
        own = argparse.Namespace(study_options=study_options, study_folder=folder, command_again=again)
        return run.run(run.parse_words(parser, words, own))

    return _guard(orchestrated)


def _dispatch(argv: Sequence[str]) -> int:
    """Run the command that is named first; no other is loaded. ``help NAME`` is the same as ``NAME --help``."""
    if argv[:1] == ["help"]:
        argv = [*argv[1:2], "--help"]
    name, words = (argv[0], list(argv[1:])) if argv else ("", [])
    if name not in COMMANDS:
        return _tell_commands(argv)
    command = load(name)
    if hasattr(command, "run_with_words"):
        is_question = words in (["-h"], ["--help"])
        return print_words_help(name, command) if is_question else int(command.run_with_words(words))
    parser = build_parser(name, command)
    assert parser is not None
    again = [sys.executable, "-m", "sweepline.cli.main", *argv]
    own = argparse.Namespace(study_options=[], command_again=again)
    if hasattr(command, "split_study_options"):
        words, own.study_options = command.split_study_options(words, None)
        return int(command.run(command.parse_words(parser, words, own)))
    return int(command.run(parser.parse_args(words, own)))


def _tell_commands(argv: Sequence[str]) -> int:
    """Tell which commands there are, where none of them is named; ends the process where it was not asked for."""
    parser = build_top_parser()
    if argv[:1] in (["-h"], ["--help"]):
        parser.epilog = describe_commands()
    name = parser.parse_args(argv[:1]).command
    parser.error(f"there is no command {name!r}{did_you_mean(name, COMMANDS)} (sweepline --help tells of all)")


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
