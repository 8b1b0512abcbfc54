"""METRIC lines: the one text protocol between a training script and the sweep. Writer and reader, and nothing else.

A line ``METRIC name=number [name=number ...]`` anywhere in a run's output. ``epoch=``, ``step=`` and ``samples=`` on
the line place it in the run; the other names are metrics. Scripts without such lines are read by regular expressions.
"""

from __future__ import annotations

import csv
import io
import re
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

PLACES = ("epoch", "step", "samples")
MAX_LINE_BYTES = 64 * 1024
MAX_METRICS = 500
MAX_BAD_LINES_KEPT = 3
MAX_DROPPED_COUNTED = 10_000
MAX_HISTORY_VALUES = 10_000
MAX_HISTORY_KINDS = 100

_NAME = r"[A-Za-z_][A-Za-z0-9_./-]*"
_NUMBER = r"[+-]?(?:(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?|(?i:nan|inf(?:inity)?))"
_PAIR = re.compile(rf"({_NAME})=({_NUMBER})(?=\s|$)", re.ASCII)
_LINE = re.compile(rf"METRIC(?:[ \t]+{_NAME}={_NUMBER})+[ \t]*", re.ASCII)
_AFTER_BAR = re.compile(rf"(?<![A-Za-z0-9_])METRIC(?:[ \t]+{_NAME}={_NUMBER})+[ \t]*$", re.ASCII)
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
_ONE_NUMBER = re.compile(_NUMBER, re.ASCII)
_WORD_GOES_ON = re.compile(r"METRIC\w")
_LINE_END = re.compile(rb"[\r\n]+")


@dataclass(frozen=True, slots=True)
class MetricPoint:
    """The metrics of one line, with its place in the run where the line tells it."""

    values: Mapping[str, float]
    place: Mapping[str, int] = field(default_factory=dict)


def format_metric_line(values: Mapping[str, float], **place: int) -> str:
    """Return the METRIC line for ``values``; floats keep every digit."""
    pairs = [f"{name}={number}" for name, number in place.items()]
    pairs += [f"{name}={float(value)!r}" for name, value in values.items()]
    return "METRIC " + " ".join(pairs)


def parse_metric_line(line: str) -> MetricPoint | None:
    """Return what a METRIC line says; None when the line is something else.

    Raises:
        ValueError: the line begins with METRIC and cannot be read.
    """
    text = _ANSI.sub("", line).strip()
    if not text.startswith("METRIC"):
        match = _AFTER_BAR.search(text)
        return _point(match.group()) if match else None
    if _WORD_GOES_ON.match(text):
        return None
    if not _LINE.fullmatch(text):
        raise ValueError(text[:200])
    return _point(text)


def _point(text: str) -> MetricPoint:
    pairs = [(sys.intern(name), float(number)) for name, number in _PAIR.findall(text)]
    place = {name: int(value) for name, value in pairs if name in PLACES and abs(value) < 2**63}
    return MetricPoint({name: value for name, value in pairs if name not in PLACES}, place)


class History:
    """A run's points. Where there are too many for memory, every second, fourth ... is kept, and always the last.

    Points with other names are thinned apart, so that a script that tells its metrics in turn keeps all of them.
    """

    def __init__(self) -> None:
        self.stride = 1
        self._kept: list[tuple[int, int, MetricPoint]] = []  # number among all, number among its kind, point
        self._n_values = 0
        self._n_points = 0
        self._n_of_kind: Counter[tuple[str, ...]] = Counter()
        self._last: dict[tuple[str, ...], tuple[int, int, MetricPoint]] = {}

    def add(self, point: MetricPoint) -> None:
        """Take the next point."""
        kind = tuple(point.values)
        if kind not in self._last and len(self._last) >= MAX_HISTORY_KINDS:
            kind = ()
        entry = (self._n_points, self._n_of_kind[kind], point)
        self._n_points += 1
        self._n_of_kind[kind] += 1
        self._last[kind] = entry
        if entry[1] % self.stride == 0:
            self._kept.append(entry)
            self._n_values += len(point.values)
            if self._n_values > MAX_HISTORY_VALUES:
                self._thin()

    def _thin(self) -> None:
        while self._n_values > MAX_HISTORY_VALUES // 2 and self.stride < self._n_points:
            self.stride *= 2
            self._kept = [entry for entry in self._kept if entry[1] % self.stride == 0]
            self._n_values = sum(len(point.values) for _, _, point in self._kept)

    @property
    def points(self) -> list[MetricPoint]:
        """The points that are kept, in their order."""
        kept = {entry[0] for entry in self._kept}
        last = [entry for entry in self._last.values() if entry[0] not in kept]
        return [point for _, _, point in sorted([*self._kept, *last], key=lambda entry: entry[0])]


class MetricReader:
    """Reads a run's output as it grows, in chunks of any size; equal output gives equal points however it is cut.

    A line longer than 64 KiB is cut there: only its first 64 KiB are read.
    """

    def __init__(self, patterns: Mapping[str, re.Pattern[str]] | None = None) -> None:
        self.patterns = dict(patterns or {})
        self.latest: dict[str, float] = {}
        self.history = History()
        self.fault = ""
        """Why the output could not be read to its end, if it could not."""
        self.place: Mapping[str, int] = {}  # of the last point that told one
        self.n_bad_lines = 0
        self.bad_lines: list[str] = []
        self._dropped_names: set[str] = set()
        self._partial = b""
        self._skipping = False

    @property
    def points(self) -> list[MetricPoint]:
        """The run's points, thinned where there are very many."""
        return self.history.points

    @property
    def n_dropped_names(self) -> int:
        """How many metrics beyond the first 500 were left out (counted up to 10,000)."""
        return len(self._dropped_names)

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the output; the end of a line may still be missing."""
        if not self.patterns and b"METRIC" not in chunk and b"METRIC" not in self._partial + chunk[:5]:
            chunk = self._skip_lines(chunk)
        *lines, rest = _LINE_END.split(chunk)
        if lines:
            self._take(self._partial if self._skipping else self._partial + lines[0])
            self._partial, self._skipping = b"", False
            for line in lines[1:]:
                self._take(line)
        if not self._skipping:
            self._partial += rest
            if len(self._partial) > MAX_LINE_BYTES:
                self._partial, self._skipping = self._partial[:MAX_LINE_BYTES], True

    def _skip_lines(self, chunk: bytes) -> bytes:
        """Pass over the lines that a chunk completes, none of which is a METRIC line; return what follows them."""
        end = max(chunk.rfind(b"\n"), chunk.rfind(b"\r"))
        if end < 0:
            return chunk
        self._partial, self._skipping = b"", False
        return chunk[end + 1 :]

    def close(self) -> None:
        """Take what is left as the last line."""
        self._take(self._partial)
        self._partial, self._skipping = b"", False

    def _take(self, raw: bytes) -> None:
        if b"METRIC" in raw:
            self._take_metric_line(raw, is_cut=self._skipping or len(raw) > MAX_LINE_BYTES)
        if self.patterns and raw:
            self._take_matches(raw[:MAX_LINE_BYTES].decode("utf-8", "replace"))

    def _take_metric_line(self, raw: bytes, *, is_cut: bool) -> None:
        line = raw[:MAX_LINE_BYTES].decode("utf-8", "replace")
        try:
            point = parse_metric_line(line)
        except ValueError as error:
            self._note_bad(str(error))
            return
        if is_cut and point is not None:
            self._note_bad(line)  # its last number may be half a number
            return
        if point is not None and point.values:
            self.add(point)

    def _take_matches(self, line: str) -> None:
        found = {}
        for name, pattern in self.patterns.items():
            for match in pattern.finditer(_ANSI.sub("", line)):
                text = (match.group(1) or "").strip().replace(",", "")
                if _ONE_NUMBER.fullmatch(text):
                    found[name] = float(text)
                else:
                    self._note_bad(match.group())
        if found:
            self.add(MetricPoint(found))

    def _note_bad(self, line: str) -> None:
        self.n_bad_lines += 1
        if len(self.bad_lines) < MAX_BAD_LINES_KEPT:
            self.bad_lines.append(line[:200])

    def add(self, point: MetricPoint) -> None:
        """Take a point; names beyond the first 500 are left out and counted."""
        values = point.values
        if len(self.latest) + len(values) > MAX_METRICS:
            known = {name: value for name, value in values.items() if name in self.latest}
            room = MAX_METRICS - len(self.latest)
            fresh = [name for name in values if name not in self.latest]
            known.update({name: values[name] for name in fresh[:room]})
            self._dropped_names.update(fresh[room : room + MAX_DROPPED_COUNTED - len(self._dropped_names)])
            values = known
        if values:
            self.latest.update(values)
            self.history.add(MetricPoint(values, point.place))
            self.place = point.place or self.place


def format_history(points: Iterable[MetricPoint]) -> str:
    """Return points as a CSV: ``epoch, step, samples`` where known, then one column per metric."""
    rows = list(points)
    names = list(dict.fromkeys(name for point in rows for name in point.values))
    places = [place for place in PLACES if any(place in point.place for point in rows)]
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([*places, *names])
    for point in rows:
        writer.writerow([*_cells(point.place, places), *_cells(point.values, names)])
    return text.getvalue()


def _cells(values: Mapping[str, float], names: Sequence[str]) -> list[str]:
    return [repr(values[name]) if name in values else "" for name in names]
