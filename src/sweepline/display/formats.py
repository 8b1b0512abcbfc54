"""How numbers, times and ends are written for a person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from sweepline.contract.text import printable
from sweepline.executors.devices import is_elsewhere
from sweepline.recording.events import RunRecord

if TYPE_CHECKING:
    pass

MAX_METRICS_SHOWN = 4
MAX_DIGITS = 10  # of a parameter; one that has more is shown to six


def format_number(value: float) -> str:
    """Return a metric in six significant digits at most."""
    return f"{value:.6g}"


def format_metrics(metrics: Mapping[str, float], limit: int = MAX_METRICS_SHOWN) -> str:
    """Return ``name=value`` pairs, and how many more there are."""
    shown = [f"{name}={format_number(value)}" for name, value in list(metrics.items())[:limit]]
    more = len(metrics) - len(shown)
    return " ".join([*shown, f"(+{more} more)"] if more > 0 else shown)


def align_columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows of equal length as lines, each column as wide as its widest cell."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def format_seconds(seconds: float) -> str:
    """Return a time as a person says it: ``9.3 s``, ``4 min 05 s``, ``2 h 10 min``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def describe_end(record: RunRecord, n_ended: int, n_total: int | None) -> str:
    """Return the one line that tells a run's end."""
    parts = [f"[{n_ended}/{n_total if n_total is not None else '?'}]", record.state.value, record.name]
    if record.metrics:
        parts.append(format_metrics(record.metrics))
    where = record.device if record.device == "cpu" or is_elsewhere(record.device) else f"gpu {record.device}"
    parts.append(f"{format_seconds(record.duration_s)} on {where}")
    if record.reason:
        parts.append(f"({record.reason})")
    return printable(" ".join(parts))
