"""``sweepline log``: what a run has printed, also while it prints."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from sweepline.cli.chosen import add_run
from sweepline.cli.show import run_dir_of
from sweepline.contract.files import open_plain
from sweepline.contract.runfolder import STDERR, STDOUT
from sweepline.contract.text import printable
from sweepline.engine.recorded import open_recorded
from sweepline.engine.rundiff import FoundRun, find_run
from sweepline.errors import ConfigError
from sweepline.runs import State

HELP = "what a run has printed; -f follows one that is under way"
DESCRIPTION = (
    "Prints what a run has written to standard output and standard error, also while it runs. What a program "
    "prints cannot steer the terminal."
)
EXAMPLES = (
    ("sweepline log lr0.1-s3 -n 20", "the last twenty lines"),
    ("sweepline log lr0.1-s3 -f", "follow it until it ends"),
    ("sweepline log 3f2a --stderr", "standard error alone"),
)
_POLL_S, _STATE_S = 0.2, 2.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_run(parser)
    parser.add_argument("-f", "--follow", action="store_true", help="go on until the run has ended, or Ctrl-C")
    parser.add_argument("-n", "--lines", type=int, metavar="N", help="the last N lines alone")
    parser.add_argument("--stderr", action="store_true", help="what it wrote to standard error alone")
    parser.add_argument("--stdout", action="store_true", help="what it wrote to standard output alone")


def run(args: argparse.Namespace) -> int:
    """Print the output of a run; return 0.

    Raises:
        SweeplineError: there is no such run, or it has printed nothing.
    """
    found = find_run(args.run_name, args.sweep)
    chosen = [STDERR] if args.stderr and not args.stdout else [STDOUT] if args.stdout and not args.stderr else []
    paths = [run_dir_of(found) / name for name in chosen or (STDOUT, STDERR)]
    texts = {path: text for path in paths if (text := _read(path, 0))}
    if not texts and not args.follow:
        raise ConfigError(f"{found.record.name}: nothing was printed, or its output is gone: {paths[0].parent}")
    for path, text in texts.items():
        if len(texts) > 1:
            print(f"==> {path.name} <==")
        _write(_last_lines(text, args.lines))
    if args.follow:
        _follow(found, {path: len(texts.get(path, b"")) for path in paths})
    return 0


def _read(path: Path, offset: int) -> bytes:
    try:
        with open_plain(path) as file:
            file.seek(offset)
            return file.read()
    except OSError:  # a stream to which nothing was written has no file
        return b""


def _last_lines(text: bytes, n: int | None) -> bytes:
    return text if n is None else b"".join(text.splitlines(keepends=True)[-n:] if n > 0 else [])


def _write(text: bytes) -> None:
    """Write output; what a program printed cannot steer the terminal."""
    for line in text.decode("utf-8", "replace").splitlines():
        sys.stdout.write(f"{printable(line)}\n")
    sys.stdout.flush()


def _follow(found: FoundRun, offsets: dict[Path, int]) -> None:
    try:
        for text in _news(found, offsets):
            _write(text)
    except KeyboardInterrupt:  # how one stops looking
        return


def _news(found: FoundRun, offsets: dict[Path, int]) -> Iterator[bytes]:
    """Yield whole lines as they come, of both streams, until the run has ended."""
    looked, is_under_way = 0.0, True
    while True:
        for path, offset in offsets.items():
            text = _read(path, offset)
            whole = text[: text.rfind(b"\n") + 1] if is_under_way else text
            if whole:
                offsets[path] = offset + len(whole)
                yield whole
        if not is_under_way:
            return
        if time.monotonic() - looked > _STATE_S:
            looked, is_under_way = time.monotonic(), _is_under_way(found)
        time.sleep(_POLL_S)


def _is_under_way(found: FoundRun) -> bool:
    now = open_recorded(found.sweep.folder.path)
    record = now.records.get(found.record.run_id)
    return record is not None and record.state == State.RUNNING and now.folder.is_locked() is not False
