"""How a comparison writes values, places and ratios."""

from __future__ import annotations

import math

from sweepline.analysis.compare import Reached
from sweepline.analysis.series import EPOCH, POINT, SAMPLES, STEP, TIME
from sweepline.contract.text import one_line
from sweepline.display.formats import format_seconds

AXIS_NAMES = {STEP: "step", TIME: "time", SAMPLES: "samples", EPOCH: "epoch", POINT: "point"}
"""In the order in which they are shown."""
AXIS_PLURALS = {STEP: "steps", TIME: "time", SAMPLES: "samples", EPOCH: "epochs", POINT: "points"}

_MAX_NAME = 60


def format_name(text: str) -> str:
    """Return a name that others chose, fit for a table."""
    return one_line(text, _MAX_NAME)


def format_share(share: float) -> str:
    """Return a share in percent, of three digits."""
    return f"{100 * share:.3g} %"


def format_place(place: float, axis: str) -> str:
    """Return where a point is: ``2,192,167``, ``1 h 02 min``."""
    if axis == TIME:
        return format_seconds(place)
    return f"{place:,.0f}" if place == round(place) or abs(place) >= 1000 else f"{place:.4g}"


def format_reached(reached: Reached, axis: str) -> str:
    """Return where a target is reached; ``> n`` where it is not."""
    return f"{'' if reached.is_reached else '> '}{format_place(reached.place, axis)}"


def format_ratio(value: float, base: float | None) -> str:
    """Return ``0.26x``; nothing of values of which one is not above zero: their ratio says nothing."""
    if base is None or base <= 0 or value <= 0 or not math.isfinite(value / base):
        return ""
    ratio = value / base
    return f"{ratio:.{4 if 0.9 < ratio < 1.1 else 3}g}x"


def format_reached_ratio(reached: Reached, base: Reached | None) -> str:
    """Return how many times as far a target is as for the baseline; nothing where the baseline has not reached it."""
    if base is None or not base.is_reached:
        return ""
    ratio = format_ratio(reached.place, base.place)
    return f"> {ratio}" if ratio and not reached.is_reached else ratio


def in_brackets(text: str) -> str:
    """Return a remark behind what it is about; nothing of nothing."""
    return f" ({text})" if text else ""
