"""Follows a run's growing logs: each byte is read once, and no log is so long that others would have to wait for it.

Which of the two streams told a metric last follows from the files alone, so that a later reading says the same.
"""

from __future__ import annotations

import math
import os
import re
import stat
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from sweepline.contract.files import open_plain, open_plain_fd
from sweepline.contract.metrics import PLACES, MetricPoint
from sweepline.contract.runfolder import STDERR, STDOUT
from sweepline.engine.metricreader import MAX_METRICS, Measured, MetricReader, note_extremes, summarize
from sweepline.runs import Objective

_CHUNK_BYTES = 1 << 20
_LAST_LINE_BYTES = 1 << 16
SLICE_S = 0.05


class LogTail:
    """Feeds a reader from standard output as it grows, and another one from standard error."""

    def __init__(self, run_dir: Path, reader: MetricReader) -> None:
        self._output, self._errors = _Stream(run_dir / STDOUT, reader), _Stream(run_dir / STDERR, reader.fresh())

    @property
    def results(self) -> dict[str, float]:
        """What the run has measured so far."""
        return self._errors.reader.results | self._output.reader.results

    @property
    def has_told(self) -> bool:
        """Whether the run has told any metric."""
        return bool(self._output.reader.latest or self._errors.reader.latest)

    @property
    def place(self) -> Mapping[str, int]:
        """Where the run stands, as its last line with a place tells it."""
        return self._output.reader.place or self._errors.reader.place

    def read_new(self, *, within_s: float = SLICE_S, reopen_s: float = 0.0) -> bool:
        """Read what the logs have gained since the last call; return whether that was all of it.

        A log that was opened less than ``reopen_s`` seconds ago is opened only where its size says that it has grown.
        That is cheaper; but what another machine has written into it may show itself to who opens it alone (NFS).
        """
        now = time.monotonic()
        has_output = self._output.read_new(now, now + within_s, reopen_s)
        return self._errors.read_new(now, now + within_s, reopen_s) and has_output

    def take_watched(self) -> list[MetricPoint]:
        """Return the points of the watched metric since the last call."""
        return self._output.reader.take_watched() + self._errors.reader.take_watched()

    def finish(self) -> Measured:
        """Read to the end of a run that has ended, and return what it measured."""
        self.read_new(within_s=math.inf)
        out, err = self._output.reader, self._errors.reader
        out.close()
        err.close()
        latest, n_left_out = _cap(out.latest | self._told_last_by_errors(), out.reserved)
        return Measured(
            results=summarize(latest, _join_extremes(out, err), out.summaries),
            points=[*out.points, *err.points],
            n_bad_lines=out.n_bad_lines + err.n_bad_lines,
            bad_lines=[*out.bad_lines, *err.bad_lines],
            n_dropped_names=out.n_dropped_names + err.n_dropped_names + n_left_out,
            stride=max(out.history.stride, err.history.stride),
            fault="; ".join(fault for fault in (out.fault, err.fault) if fault),
        )

    def _told_last_by_errors(self) -> dict[str, float]:
        """Return the metrics that standard error alone told, or certainly told after standard output did.

        That is certain where their places in the run say so, and where the last line of all tells the metric.
        """
        latest = self._errors.reader.latest
        told_by_both = latest.keys() & self._output.reader.latest.keys()
        if not told_by_both:
            return latest
        out, err = self._output.places(), self._errors.places()
        at_end = self._errors.names_at_end() if self._errors.written_at > self._output.written_at else {}
        earlier = set()
        for name in told_by_both:
            order = _compare(err.get(name, {}), out.get(name, {}))
            if order < 0 or (order == 0 and name not in at_end):
                earlier.add(name)
        return {name: value for name, value in latest.items() if name not in earlier}


class _Stream:
    """One log of a run, and how far it has been read."""

    def __init__(self, path: Path, reader: MetricReader) -> None:
        self.path, self.reader = path, reader
        self._offset = 0
        self._opened_at = -math.inf

    def read_new(self, now: float, until: float, reopen_s: float) -> bool:
        if now - self._opened_at < reopen_s and not self._has_grown():
            return True
        self._opened_at = now
        try:
            fd = open_plain_fd(self.path)
        except FileNotFoundError:
            return True
        except OSError as error:
            self._note_fault(error)
            return True
        try:
            return self._read(fd, until)
        except OSError as error:
            self._note_fault(error)
            return True
        finally:
            os.close(fd)

    def _read(self, fd: int, until: float) -> bool:
        while chunk := os.pread(fd, _CHUNK_BYTES, self._offset):
            self.reader.feed(chunk)
            self._offset += len(chunk)
            if time.monotonic() > until:
                return False
        return True

    def _note_fault(self, error: OSError) -> None:
        self.reader.fault = f"{self.path.name} cannot be read: {error.strerror}"

    def _has_grown(self) -> bool:
        """Whether there is something to read, as far as that is known without opening it."""
        try:
            seen = self.path.stat()
        except FileNotFoundError:
            return False
        except OSError:
            return True  # who opens it says why
        return seen.st_size > self._offset or not stat.S_ISREG(seen.st_mode)

    def places(self) -> dict[str, Mapping[str, int]]:
        """Return where in the run each metric was told last, as far as that is known."""
        return {name: point.place for point in self.reader.points for name in point.values}

    @property
    def written_at(self) -> int:
        """When the log was written to last, in nanoseconds."""
        try:
            return self.path.stat().st_mtime_ns
        except OSError:
            return 0

    def names_at_end(self) -> Mapping[str, float]:
        """Return the metrics that the last line tells."""
        reader = self.reader.fresh()
        try:
            with open_plain(self.path) as file:
                file.seek(max(0, file.seek(0, 2) - _LAST_LINE_BYTES))
                reader.feed(re.split(rb"[\r\n]+", file.read().rstrip())[-1])
        except OSError:
            return {}
        reader.close()
        return reader.latest


def _compare(one: Mapping[str, int], other: Mapping[str, int]) -> int:
    """Return 1 where the first place is later in the run, -1 where it is earlier, 0 where that cannot be told."""
    first = [place for place in PLACES if place in one and place in other and one[place] != other[place]]
    return 0 if not first else 1 if one[first[0]] > other[first[0]] else -1


def _join_extremes(out: MetricReader, err: MetricReader) -> dict[str, float]:
    extremes = dict(out.extremes)
    for result, value in err.extremes.items():
        metric, kind = out.summaries[result]
        if kind != "last" or result not in extremes:
            note_extremes(extremes, {metric: value}, {result: (metric, kind)})
    return extremes


def _cap(latest: Mapping[str, float], reserved: Collection[str]) -> tuple[dict[str, float], int]:
    """Return the first 500 metrics and all reserved ones, and how many are left out."""
    others = [name for name in latest if name not in reserved]
    left_out = set(others[max(0, MAX_METRICS - (len(latest) - len(others))) :])
    return {name: value for name, value in latest.items() if name not in left_out}, len(left_out)


def build_tail(
    run_dir: Path,
    *,
    patterns: Mapping[str, re.Pattern[str]],
    objectives: Sequence[Objective],
    logged: Collection[str] = (),
    watched: str = "",
) -> LogTail:
    """Return what reads a run's logs; the objectives and ``logged`` metrics are read however many others there are.

    The points of a ``watched`` metric are put aside as they come.
    """
    return LogTail(run_dir, build_reader(objectives, logged, patterns=patterns, watched=watched))


def build_reader(
    objectives: Sequence[Objective],
    logged: Collection[str],
    *,
    patterns: Mapping[str, re.Pattern[str]] | None = None,
    watched: str = "",
) -> MetricReader:
    """Return what reads metrics; the objectives and ``logged`` ones are read however many others there are."""
    reserved = [*logged, *(objective.name for objective in objectives)]
    summaries = {name: summary for objective in objectives for name, summary in objective.summaries.items()}
    return MetricReader(patterns, reserved=reserved, summaries=summaries, watched=watched)
