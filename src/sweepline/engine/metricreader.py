"""Reads a run's output as it grows, in bounded memory: METRIC lines, what patterns find, results and history."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Self

from sweepline.contract.metrics import PLACES, MetricPoint, read_metric_line, split_parts
from sweepline.contract.patterns import number_pattern, place_of
from sweepline.contract.text import strip_escapes
from sweepline.engine.runpoints import History

MAX_LINE_BYTES = 64 * 1024
MAX_METRICS = 500
MAX_BAD_LINES_KEPT = 3
MAX_DROPPED_COUNTED = 10_000

_WORD = b"METRIC"
_LINE_END = re.compile(rb"[\r\n]+")


class MetricReader:
    """Reads one stream of a run as it grows, in chunks of any size; equal output gives equal points however it is cut.

    Of a line longer than 64 KiB only its first 64 KiB are read. ``reserved`` names, and those of the patterns, are
    taken however many others there are. ``summaries`` tell which results are the least or the greatest value of a
    metric instead of its last: result name to metric name and ``min``, ``max`` or ``last``. The points of a ``watched``
    metric are put aside, all of them, for who judges the run.
    """

    def __init__(
        self,
        patterns: Mapping[str, re.Pattern[str]] | None = None,
        *,
        reserved: Collection[str] = (),
        summaries: Mapping[str, tuple[str, str]] | None = None,
        watched: str = "",
    ) -> None:
        self.patterns = dict(patterns or {})
        self.summaries = dict(summaries or {})
        self.reserved = frozenset([*reserved, *self.patterns, *(name for name, _ in self.summaries.values())])
        self.latest: dict[str, float] = {}
        self.history = History(self.reserved)
        self.fault = ""
        """Why the output could not be read to its end, if it could not."""
        self.place: Mapping[str, int] = {}  # of the last point that told one
        self.n_bad_lines = 0
        self.bad_lines: list[str] = []
        self.watched = watched
        self._watched: list[MetricPoint] = []
        self._patterns = [(name, number_pattern(pattern)) for name, pattern in self.patterns.items()]
        self._found_place: dict[str, int] = {}
        self._extremes: dict[str, float] = {}
        self._dropped_names: set[str] = set()
        self._partial = b""
        self._skipping = False
        self._skipped_end = b""  # what may be the beginning of a METRIC beyond the limit of a line
        self._hides_metric = False

    def fresh(self) -> Self:
        """Return a reader for another stream of the same run."""
        return type(self)(self.patterns, reserved=self.reserved, summaries=self.summaries, watched=self.watched)

    def take_watched(self) -> list[MetricPoint]:
        """Return the points of the watched metric since the last call."""
        found, self._watched = self._watched, []
        return found

    @property
    def points(self) -> list[MetricPoint]:
        """The stream's points, thinned where there are very many."""
        return self.history.points

    @property
    def n_dropped_names(self) -> int:
        """How many metrics beyond the first 500 were left out (counted up to 10,000)."""
        return len(self._dropped_names)

    @property
    def results(self) -> dict[str, float]:
        """The last value of each metric, or what ``summaries`` wants instead."""
        return summarize(self.latest, self._extremes, self.summaries)

    @property
    def extremes(self) -> Mapping[str, float]:
        """The least or greatest value so far of each result that ``summaries`` names."""
        return self._extremes

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the output; the end of a line may still be missing."""
        if not self.patterns and _WORD not in chunk and _WORD not in self._partial:
            end = self._skipped_end if self._skipping else self._partial[1 - len(_WORD) :]
            if _WORD not in end + chunk[: len(_WORD) - 1]:
                chunk = self._skip_lines(chunk)
        *lines, rest = _LINE_END.split(chunk)
        if lines:
            self._extend(lines[0])
            self._end_line()
            for line in lines[1:]:
                if len(line) > MAX_LINE_BYTES:
                    self._extend(line)
                    self._end_line()
                else:
                    self._take(line)
        self._extend(rest)

    def _extend(self, piece: bytes) -> None:
        """Add to the line that is being read; beyond its limit only look whether there is a METRIC."""
        if not self._skipping:
            self._partial += piece
            if len(self._partial) <= MAX_LINE_BYTES:
                return
            piece = self._partial[MAX_LINE_BYTES:]
            self._partial, self._skipping = self._partial[:MAX_LINE_BYTES], True
            self._skipped_end = self._partial[1 - len(_WORD) :]
        beyond = self._skipped_end + piece
        self._hides_metric |= _WORD in beyond
        self._skipped_end = beyond[1 - len(_WORD) :]

    def _end_line(self) -> None:
        line, is_cut, hides_metric = self._partial, self._skipping, self._hides_metric
        self._partial, self._skipping, self._skipped_end, self._hides_metric = b"", False, b"", False
        if is_cut:
            self._take_cut(line, hides_metric=hides_metric)
        else:
            self._take(line)

    def _skip_lines(self, chunk: bytes) -> bytes:
        """Pass over the lines that a chunk completes, none of which is a METRIC line; return what follows them."""
        end = max(chunk.rfind(b"\n"), chunk.rfind(b"\r"))
        if end < 0 or self._hides_metric:
            return chunk
        self._partial, self._skipping, self._skipped_end = b"", False, b""
        return chunk[end + 1 :]

    def close(self) -> None:
        """Take what is left as the last line."""
        self._end_line()

    def _take(self, raw: bytes) -> None:
        if _WORD in raw:
            points, faults = read_metric_line(raw.decode("utf-8", "replace"))
            for fault in faults:
                self._note_bad(fault)
            for point in points:
                if point.values:
                    self.add(point)
        if self._patterns and raw:
            self._take_matches(raw.decode("utf-8", "replace"))

    def _take_cut(self, raw: bytes, *, hides_metric: bool) -> None:
        """Take the beginning of a line that was too long: a number at its end may be half a number."""
        text = raw.decode("utf-8", "replace")
        part = next((part for part, _ in split_parts(strip_escapes(text).strip())), "")
        if part or hides_metric:
            self._note_bad(part or text)
        if self._patterns:
            self._take_matches(text.rpartition(" ")[0])

    def _take_matches(self, line: str) -> None:
        found: dict[str, float] = {}
        text = strip_escapes(line)
        for name, pattern in self._patterns:
            for value, matched in pattern.find(text):
                if value is None:
                    self._note_bad(matched)
                else:
                    found[name] = value
        if found:
            told = {name: value for name, value in found.items() if place_of(name) in PLACES and math.isfinite(value)}
            place = {place_of(name): int(found.pop(name)) for name in told}
            self._found_place = {**self._found_place, **place}  # a line of its own may tell where the next ones are
            if found:
                self.add(MetricPoint(found, self._found_place))

    def _note_bad(self, line: str) -> None:
        self.n_bad_lines += 1
        if len(self.bad_lines) < MAX_BAD_LINES_KEPT:
            self.bad_lines.append(line[:200])

    def add(self, point: MetricPoint) -> None:
        """Take a point; of the names that are not reserved those beyond the first 500 are left out and counted."""
        values = point.values
        if not values.keys() <= self.latest.keys():
            values = self._admit(values)
            point = MetricPoint(values, point.place) if len(values) < len(point.values) else point
        if values:
            self.latest.update(values)
            self.history.add(point)
            self.place = point.place or self.place
            if self.watched in values:
                self._watched.append(point)
            if self.summaries:
                note_extremes(self._extremes, values, self.summaries)

    def _admit(self, values: Mapping[str, float]) -> Mapping[str, float]:
        """Return the values whose names are known, reserved or find room."""
        fresh = [name for name in values if name not in self.latest]
        others = [name for name in fresh if name not in self.reserved]
        room = max(0, MAX_METRICS - len(self.latest) - (len(fresh) - len(others)))
        if len(others) <= room:
            return values
        self._dropped_names.update(others[room : room + MAX_DROPPED_COUNTED - len(self._dropped_names)])
        left_out = set(others[room:])
        return {name: value for name, value in values.items() if name not in left_out}


def note_extremes(
    extremes: dict[str, float], values: Mapping[str, float], summaries: Mapping[str, tuple[str, str]]
) -> None:
    """Bring the least and greatest values up to date; a nan stands only while there is nothing else."""
    for result, (name, kind) in summaries.items():
        value = values.get(name)
        if value is None:
            continue
        known = extremes.get(result, math.nan)
        if kind == "last" or math.isnan(known) or (value > known if kind == "max" else value < known):
            extremes[result] = value


def summarize(
    latest: Mapping[str, float], extremes: Mapping[str, float], summaries: Mapping[str, tuple[str, str]]
) -> dict[str, float]:
    """Return the results of a run; a name like ``loss.min`` that the run printed itself keeps its own value."""
    results = dict(latest)
    for result, (name, _) in summaries.items():
        if result in extremes and (result == name or result not in latest):
            results[result] = extremes[result]
    return results


@dataclass(kw_only=True)
class Measured:
    """What a run measured, all of its output taken together."""

    results: dict[str, float] = field(default_factory=dict)
    points: list[MetricPoint] = field(default_factory=list)
    n_bad_lines: int = 0
    bad_lines: list[str] = field(default_factory=list)
    n_dropped_names: int = 0
    stride: int = 1
    """Of so many points at most one is kept."""
    fault: str = ""
    """Why the output could not be read to its end, if it could not."""
