"""METRIC lines: the one text protocol between a training script and the sweep. Writer and reader, and nothing else.

A line ``METRIC name=number [name=number ...]`` anywhere in a run's output. ``epoch=``, ``step=`` and ``samples=`` on
the line place it in the run; the other names are metrics. Scripts without such lines are read by regular expressions.
"""

from __future__ import annotations

import csv
import io
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from sweepline.contract.patterns import NUMBER
from sweepline.contract.text import strip_escapes

PLACES = ("epoch", "step", "samples")

_NAME = r"[A-Za-z_][A-Za-z0-9_./-]*+"
_PLAIN_LINE = re.compile(rf"METRIC(?:[ \t]++{_NAME}={NUMBER})++[ \t]*+", re.ASCII)
_PLAIN_PAIR = re.compile(rf"({_NAME})=({NUMBER})", re.ASCII)
_PAIR = re.compile(rf"(?<![^ \t,;])({_NAME})=((?>{NUMBER}))(?=[ \t]|\Z|[,;](?![\d.]))", re.ASCII)
_START = re.compile(rf"METRIC(?=:?[ \t]++{_NAME}[ \t]*+=(?![{{%$]))", re.ASCII)  # not: the source of a print
_SAID = r"(?:(?!METRIC)(?:[^\s\"'{}$=:,;%]|%(?![\w.(])){1,64}+[ \t]*+)"  # a word that is part of no source of a print
_LIKE_START = re.compile(
    rf"""(?<![A-Z_"'`])METRIC(?=:?[ \t]++(?:
    \{{[ \t]*+["'] | [(\[]{_NAME}[ \t]*+=(?![={{%$"'])
    | {_SAID}{{1,3}}=(?![={{%$"'])
    | (?:{_SAID}{{1,3}}:[ \t]*+(?:[\w.]{{1,64}}+\()?|{_SAID}{{0,2}}(?<=[ \t]))(?:{NUMBER}|None)(?!\w)))""",
    re.ASCII | re.VERBOSE,
)
_WORD_GOES_ON = re.compile(r"METRIC\w")


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
        ValueError: the line has a METRIC that cannot be read, in part or at all.
    """
    points, faults = read_metric_line(line)
    if faults:
        raise ValueError(faults[0][:200])
    return points[-1] if points else None


def read_metric_line(line: str) -> tuple[list[MetricPoint], list[str]]:
    """Return the points of a line, and each part of it that begins with METRIC and is not understood.

    A METRIC may follow anything: a bar without a line end, the prefix of a log, what another process printed.
    """
    text = strip_escapes(line).strip()
    if text.startswith("METRIC") and _PLAIN_LINE.fullmatch(text):
        return [_point(_PLAIN_PAIR.findall(text))], []
    points, faults = [], []
    for part, has_pairs in split_parts(text):
        pairs = _PAIR.findall(part) if has_pairs else []
        if pairs:
            points.append(_point(pairs))
        if not pairs or _PAIR.sub("", part.removeprefix("METRIC")).strip(" \t,;"):
            faults.append(part)
    return points, faults


def split_parts(text: str) -> Iterable[tuple[str, bool]]:
    """Yield each part of a line from its METRIC on, and whether its pairs are to be read.

    They are not where METRIC ends a longer name (``_`` is part of the part then), nor where a sentence may have it.
    """
    kinds = {match.start(): False for match in _LIKE_START.finditer(text)}
    if text.startswith("METRIC") and not _WORD_GOES_ON.match(text):
        kinds[0] = True
    kinds |= {match.start(): text[match.start() - 1 : match.start()] != "_" for match in _START.finditer(text)}
    starts = sorted(kinds)
    for start, end in zip(starts, [*starts, len(text)][1:], strict=True):
        yield text[start - (text[start - 1 : start] == "_") : end], kinds[start]


def _point(pairs: Iterable[tuple[str, str]]) -> MetricPoint:
    numbers = [(sys.intern(name), float(number)) for name, number in pairs]
    place = {name: int(value) for name, value in numbers if name in PLACES and abs(value) < 2**63}
    return MetricPoint({name: value for name, value in numbers if name not in PLACES}, place)


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


def read_history(lines: Iterable[str], *, n_metrics: int | None = None) -> list[MetricPoint]:
    """Undo :func:`format_history`; cells that hold no number, and rows without any, are left out.

    Args:
        lines: of the CSV, such as an open file.
        n_metrics: read the first so many metrics only, and hold nothing of the others.

    Raises:
        ValueError: it is no CSV.
    """
    found = []
    try:
        rows = csv.reader(lines)
        header = next(rows, [])
        metrics = [name for name in header if name not in PLACES][:n_metrics]
        columns = [(i, name) for i, name in enumerate(header) if name and (name in PLACES or name in metrics)]
        for row in rows:
            cells = ((name, row[i]) for i, name in columns if i < len(row))
            point = _point((name, cell) for name, cell in cells if _is_number(cell))
            if point.values or (point.place and n_metrics is None):
                found.append(point)
    except csv.Error as error:
        raise ValueError(str(error)) from None
    return found


def _is_number(cell: object) -> bool:
    try:
        float(cell)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False
    return True


def _cells(values: Mapping[str, float], names: Sequence[str]) -> list[str]:
    return [repr(values[name]) if name in values else "" for name in names]
