"""Numbers as their spread deserves: no digit that the next seed would change, all that it would not."""

from __future__ import annotations

import math

from sweepline.analysis.statistics import Interval

_FULL_DIGITS = 6
_MAX_DECIMALS = 8


def format_with_spread(value: float, spread: float) -> str:
    """Return a value rounded to the second digit of its spread; to six digits where there is none."""
    if not math.isfinite(value):
        return repr(value)
    if not math.isfinite(spread) or spread <= 0:
        return f"{value:.{_FULL_DIGITS}g}"
    n_decimals = _n_decimals(spread)
    if n_decimals <= 0:
        return f"{round(value, n_decimals):.0f}"
    if n_decimals > _MAX_DECIMALS or abs(value) >= 1e15:
        return f"{value:.{_FULL_DIGITS}g}"
    return f"{value:.{n_decimals}f}"


def format_interval(interval: Interval) -> str:
    """Return ``0.842 ± 0.013``, half of the 95 % interval behind the sign; the mean alone where there is none."""
    return format_plus_minus(interval.mean, interval.half_width)


def format_plus_minus(value: float, spread: float) -> str:
    """Return ``0.842 ± 0.013``, both to the second digit of the spread; the value alone where there is no spread."""
    text = format_with_spread(value, spread)
    if not math.isfinite(spread):
        return text
    is_plain = 1e-8 < spread < 1e15 and math.isfinite(value)
    return f"{text} ± {format_with_spread(spread, spread) if is_plain else f'{spread:.2g}'}"


def _n_decimals(spread: float) -> int:
    """Return behind the point up to where a spread has two digits; negative before it."""
    return 1 - int(f"{spread:.1e}".partition("e")[2])  # of the rounded one: 0.0996 is 0.10


def format_count(n: int, noun: str) -> str:
    """Return ``1 run``, ``2 runs``, ``10,000 runs``."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"
