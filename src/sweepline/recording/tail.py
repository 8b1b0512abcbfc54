"""Follows a run's growing log: each byte is read once."""

from __future__ import annotations

from pathlib import Path

from sweepline.keeper.child import STDERR, STDOUT
from sweepline.metrics import MetricReader

_CHUNK_BYTES = 1 << 20


class LogTail:
    """Feeds a reader from standard output as it grows, and at the end from standard error where patterns look at it."""

    def __init__(self, run_dir: Path, reader: MetricReader) -> None:
        self.run_dir = run_dir
        self.reader = reader
        self._offset = 0

    def read_new(self) -> None:
        """Read what standard output has gained since the last call."""
        self._offset = self._feed(self.run_dir / STDOUT, self._offset)

    def finish(self) -> MetricReader:
        """Read to the end of a run that has ended, and return the reader."""
        self.read_new()
        self.reader.close()
        if self.reader.patterns:
            self._feed(self.run_dir / STDERR, 0)
            self.reader.close()
        return self.reader

    def _feed(self, path: Path, offset: int) -> int:
        try:
            with path.open("rb") as file:
                file.seek(offset)
                while chunk := file.read(_CHUNK_BYTES):
                    self.reader.feed(chunk)
                return file.tell()
        except FileNotFoundError:
            return offset
