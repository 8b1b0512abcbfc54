"""Numbers as their spread deserves: no digit that the next seed would change, all that it would not."""

from __future__ import annotations

import math

from sweepline.analysis.statistics import Interval

_FULL_DIGITS = 6


def format_with_spread(value: float, spread: float) -> str:
    """Return a value rounded to the second digit of its spread; to six digits where there is none."""
    if not math.isfinite(value):
        return repr(value)
    if not math.isfinite(spread) or spread <= 0:
        return f"{value:.{_FULL_DIGITS}g}"
    n_decimals = 1 - math.floor(math.log10(spread))
    if n_decimals <= 0:
        return f"{round(value, n_decimals):.0f}"
    if n_decimals > 8 or abs(value) >= 1e15:
        return f"{value:.{_FULL_DIGITS}g}"
    return f"{value:.{n_decimals}f}"


def format_interval(interval: Interval) -> str:
    """Return ``0.842 ± 0.013``, half of the 95 % interval behind the sign; the mean alone where there is none."""
    return format_plus_minus(interval.mean, interval.half_width)


def format_plus_minus(value: float, spread: float) -> str:
    """Return ``0.842 ± 0.013``; the value alone where there is no spread."""
    text = format_with_spread(value, spread)
    return f"{text} ± {spread:.2g}" if math.isfinite(spread) else text


def format_count(n: int, noun: str) -> str:
    """Return ``1 run``, ``2 runs``, ``10,000 runs``."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"
