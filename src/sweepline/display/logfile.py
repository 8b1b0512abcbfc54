"""The log of a sweep as a file."""

from __future__ import annotations

import itertools
import os
from contextlib import suppress
from datetime import datetime
from io import FileIO
from pathlib import Path

from sweepline.contract.files import TEMPORARY
from sweepline.contract.text import printable
from sweepline.errors import RecordError

LATEST_LOG = "sweep.log"
"""The link in a sweep's folder to the log of its latest start."""


class LogFile:
    """The sweep's log: what the terminal shows, in plain text, each line with its time.

    What is written before it is opened is for the terminal alone: a start that is refused leaves no log. ``path`` is
    where it shall be; where something is there already, the name gets a number. ``link`` becomes a link to it.
    """

    def __init__(self, path: Path, *, link: Path | None = None) -> None:
        self.path, self._link = path, link
        self._file: FileIO | None = None
        self._n_lost = 0

    def open(self) -> None:
        """Make the file.

        Raises:
            RecordError: it cannot be made.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = FileIO(self._make(), "ab")
        except OSError as error:
            raise RecordError(f"{self.path}: cannot be written: {error.strerror}") from None
        if self._link is not None:
            with suppress(OSError):  # a file system without links: the log is where it is, and the end names it
                fresh = self._link.with_name(f"{self._link.name}{TEMPORARY}")
                fresh.unlink(missing_ok=True)
                fresh.symlink_to(os.path.relpath(self.path, self._link.parent))
                fresh.replace(self._link)

    def _make(self) -> int:
        """Make a file that nobody else has, nor has planted a link for; return its descriptor."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        wanted = self.path
        for i in itertools.count(2):
            try:
                return os.open(self.path, flags, 0o644)
            except FileExistsError:
                self.path = wanted.with_name(f"{wanted.stem}_{i}{wanted.suffix}")
        raise AssertionError("unreachable")

    def write_line(self, text: str) -> None:
        """Write one line, with the time of day; what a full disk does not take is counted and told later."""
        if self._file is None:
            return
        lost = f"({self._n_lost} lines could not be written)\n" if self._n_lost else ""
        try:
            self._file.write(f"{lost}{datetime.now():%H:%M:%S} {printable(text)}\n".encode(errors="backslashreplace"))
        except OSError:
            self._n_lost += 1
        else:
            self._n_lost = 0

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
