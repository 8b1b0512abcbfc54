"""Follows a run's growing log: each byte is read once, and no log is so long that others would have to wait for it."""

from __future__ import annotations

import math
import time
from pathlib import Path

from sweepline.files import open_plain
from sweepline.keeper.child import STDERR, STDOUT
from sweepline.metrics import MetricReader

_CHUNK_BYTES = 1 << 20
SLICE_S = 0.05


class LogTail:
    """Feeds a reader from standard output as it grows, and at the end from standard error where patterns look at it."""

    def __init__(self, run_dir: Path, reader: MetricReader) -> None:
        self.run_dir = run_dir
        self.reader = reader
        self._offset = 0

    def read_new(self, *, within_s: float = SLICE_S) -> bool:
        """Read what standard output has gained since the last call; return whether that was all of it."""
        self._offset, is_all = self._feed(self.run_dir / STDOUT, self._offset, within_s)
        return is_all

    def finish(self) -> MetricReader:
        """Read to the end of a run that has ended, and return the reader."""
        self.read_new(within_s=math.inf)
        self.reader.close()
        if self.reader.patterns:
            self._feed(self.run_dir / STDERR, 0, math.inf)
            self.reader.close()
        return self.reader

    def _feed(self, path: Path, offset: int, within_s: float) -> tuple[int, bool]:
        until = time.monotonic() + within_s
        try:
            with open_plain(path) as file:
                file.seek(offset)
                while chunk := file.read(_CHUNK_BYTES):
                    self.reader.feed(chunk)
                    if time.monotonic() > until:
                        return file.tell(), False
                return file.tell(), True
        except FileNotFoundError:
            return offset, True
        except OSError as error:
            self.reader.fault = f"{path.name} cannot be read: {error.strerror}"
            return offset, True
