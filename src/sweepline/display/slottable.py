"""The runs under way as a table of text: as wide and as high as it may be, no number cut. Draws nothing."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from sweepline.display.formats import MAX_METRICS_SHOWN, format_number, format_seconds
from sweepline.display.tables import SPACE, align_numbers
from sweepline.display.widths import pad, shorten, shorten_apart, width_of
from sweepline.engine.progress import ActiveRun

_MAX_SLOT = 12
_LEAST_NAME = 16
_HEADINGS = (40, 14, 8)


@dataclass(slots=True)
class _Column:
    """A heading and its cells, all as wide as the column."""

    heading: str
    cells: list[str]
    is_right: bool = False

    @property
    def width(self) -> int:
        return max(map(width_of, (self.heading, *self.cells)), default=0)

    def lines(self) -> list[str]:
        """Return the column from top to bottom."""
        width = self.width
        return [pad(cell, width, is_right=self.is_right) for cell in (self.heading, *self.cells)]


def render_slots(
    active: Sequence[ActiveRun], *, n_slots: int, objective: str | None, width: int, height: int
) -> list[str]:
    """Return the table, its first line the header; what does not fit into ``height`` lines is counted in the last."""
    n_free = max(0, n_slots - len(active))
    is_folded = len(active) + 1 + bool(n_free) > height
    n_shown = max(1, height - 2) if is_folded else len(active)
    shown = active[:n_shown]
    rest = [f"... {len(active) - n_shown} more running"] if len(active) > n_shown else []
    rest += [f"{n_free} slot{'s' * (n_free > 1)} free"] if n_free else []
    rows = _join(_choose_columns(shown, objective, width)) if shown else []
    return [*rows, *([shorten(", ".join(rest), width)] if rest else [])]


def _choose_columns(active: Sequence[ActiveRun], objective: str | None, width: int) -> list[_Column]:
    """Return the columns that there is room for, headings cut only where that makes room for more of them."""
    tried = [_try_columns(active, objective, width, heading) for heading in _HEADINGS]
    return max(tried, key=lambda columns: sum(not c.heading.startswith("+") for c in columns))  # the first such


def _try_columns(active: Sequence[ActiveRun], objective: str | None, width: int, heading: int) -> list[_Column]:
    """Return which run and since when, then the objective, then what else there is room for."""
    slot = _Column("slot", shorten_apart([a.handle.place or a.slot.label for a in active], _MAX_SLOT))
    names = [a.run.name for a in active]
    widest = max(map(width_of, names))
    elapsed = _Column("elapsed", [format_seconds(time.monotonic() - a.started) for a in active], is_right=True)
    left = width - slot.width - elapsed.width - 2 * SPACE - min(widest, _LEAST_NAME)
    metrics = _metric_columns(active, objective)
    place = _Column("at", [_place(a) for a in active])
    chosen: list[_Column] = []
    for column in [*metrics[:1], place, *metrics[1:MAX_METRICS_SHOWN]]:
        if not any(cell.strip() for cell in column.cells):
            continue
        column.heading = shorten(column.heading, max(heading, _Column("", column.cells).width))
        if column.width + SPACE <= left:
            chosen.append(column)
            left -= column.width + SPACE
    n_hidden = sum(column not in chosen for column in metrics)
    more = _Column(f"+{n_hidden} more", [""] * len(active))
    has_more = n_hidden > 0 and more.width + SPACE <= left
    left -= (more.width + SPACE) * has_more
    name = _Column("run", shorten_apart(names, min(widest, _LEAST_NAME) + max(0, left)))
    places = [column for column in chosen if column is place]
    others = [column for column in chosen if column is not place]
    return [slot, name, *places, *others, *([more] if has_more else []), elapsed]


def _metric_columns(active: Sequence[ActiveRun], objective: str | None) -> list[_Column]:
    """Return a column for each metric, the objective first, the others as they are first met."""
    told = [a.tail.results for a in active]
    names = dict.fromkeys(name for results in told for name in results)
    ordered = [name for name in names if name == objective] + [name for name in names if name != objective]
    return [
        _Column(name, align_numbers([format_number(results[name]) if name in results else "" for results in told]))
        for name in ordered
    ]


def _place(active: ActiveRun) -> str:
    return " ".join(f"{name} {value}" for name, value in list(active.tail.place.items())[:1])


def _join(columns: Sequence[_Column]) -> list[str]:
    return [(" " * SPACE).join(row).rstrip() for row in zip(*(column.lines() for column in columns), strict=True)]
