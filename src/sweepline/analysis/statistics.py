"""Student's t and what is made of it: intervals of a mean, tests of a difference, Holm's correction.

Kept here because SciPy takes a second to import and this is needed at the end of every sweep; the functions agree with
``scipy.stats`` to ten digits.
"""

from __future__ import annotations

import functools
import math
import random
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_MAX_TERMS, _PRECISION = 300, 1e-15
N_RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and how far it may be off: the true mean lies within ``low`` .. ``high`` with a confidence of 95 %.

    With one value nothing is known of its spread: both are nan.
    """

    mean: float
    low: float
    high: float
    n: int

    @property
    def half_width(self) -> float:
        """Half of its length; nan with one value."""
        return (self.high - self.low) / 2


def student_cdf(t: float, df: float) -> float:
    """Return the share of Student's distribution with ``df`` degrees of freedom that lies below ``t``."""
    if math.isinf(t):
        return 0.0 if t < 0 else 1.0
    tail = _regularized_beta(df / (df + t * t), df / 2, 0.5) / 2
    return tail if t < 0 else 1 - tail


@functools.lru_cache(maxsize=4096)
def student_quantile(share: float, df: float) -> float:
    """Return the ``t`` below which a share of Student's distribution lies, ``0 < share < 1``."""
    if share < 0.5:
        return -student_quantile(1 - share, df)
    low, high = 0.0, 1.0
    while student_cdf(high, df) < share:
        low, high = high, high * 2
    for _ in range(200):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if student_cdf(middle, df) < share else (low, middle)
    return (low + high) / 2


def mean(values: Sequence[float]) -> float:
    """Return the mean; also of infinite values, and of such whose sum is beyond a float."""
    try:
        return statistics.fmean(values)
    except (ValueError, OverflowError):
        return sum(values) / len(values)


def mean_interval(values: Sequence[float], *, confidence: float = 0.95) -> Interval:
    """Return the mean of values and Student's interval of it.

    Raises:
        ZeroDivisionError: there are no values.
    """
    middle = mean(values)
    if len(values) < 2 or not all(map(math.isfinite, [*values, middle])):
        return Interval(middle, math.nan, math.nan, len(values))
    if min(values) == max(values):  # else rounding would be their spread
        return Interval(values[0], values[0], values[0], len(values))
    half = student_quantile((1 + confidence) / 2, len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
    return Interval(middle, middle - half, middle + half, len(values))


def bootstrap_interval(values: Sequence[float], *, confidence: float = 0.95, seed: int = 0) -> Interval:
    """Return the mean of values and the percentile bootstrap's interval of it (Efron 1979), 2,000 resamples."""
    middle = mean(values)
    if len(values) < 2 or not all(map(math.isfinite, [*values, middle])):
        return Interval(middle, math.nan, math.nan, len(values))
    draw = random.Random(seed).choices
    means = sorted(sum(draw(values, k=len(values))) / len(values) for _ in range(N_RESAMPLES))
    cut = round(N_RESAMPLES * (1 - confidence) / 2)
    return Interval(middle, means[cut], means[-1 - cut], len(values))


def paired_p_value(differences: Sequence[float]) -> float:
    """Return how likely differences at least this far from zero are where there is none (t-test, two-sided).

    1.0 where fewer than two say nothing.
    """
    if len(differences) < 2:
        return 1.0
    spread, middle = statistics.stdev(differences), statistics.fmean(differences)
    if spread == 0:
        return 1.0 if middle == 0 else 0.0
    t = middle / (spread / math.sqrt(len(differences)))
    return 2 * student_cdf(-abs(t), len(differences) - 1)


def welch_p_value(first: Sequence[float], second: Sequence[float]) -> float:
    """Return how likely means at least this far apart are where there is no difference (Welch's t-test, two-sided).

    1.0 where one side has fewer than two values.
    """
    if len(first) < 2 or len(second) < 2:
        return 1.0
    of_first, of_second = (statistics.variance(values) / len(values) for values in (first, second))
    gap = statistics.fmean(first) - statistics.fmean(second)
    if of_first + of_second == 0:
        return 1.0 if gap == 0 else 0.0
    df = (of_first + of_second) ** 2 / (of_first**2 / (len(first) - 1) + of_second**2 / (len(second) - 1))
    return 2 * student_cdf(-abs(gap) / math.sqrt(of_first + of_second), df)


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Return p-values corrected for their number, by Holm's step-down method (1979), under the same names."""
    found, highest = {}, 0.0
    for i, (name, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        highest = max(highest, min(1.0, p * (len(p_values) - i)))
        found[name] = highest
    return {name: found[name] for name in p_values}


def _regularized_beta(x: float, a: float, b: float) -> float:
    """Return the regularized incomplete beta function by its continued fraction (Lentz; DLMF 8.17.22)."""
    if x <= 0:
        return 0.0
    if x >= 1:
        return 1.0
    if x > (a + 1) / (a + b + 2):
        return 1 - _regularized_beta(1 - x, b, a)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)) / a
    tiny = 1e-300
    c, d = 1.0, 1 / max(abs(1 - (a + b) * x / (a + 1)), tiny)
    result = d
    for m in range(1, _MAX_TERMS):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / (1 + term * d or tiny)
            c = 1 + term / c or tiny
            result *= c * d
        if abs(c * d - 1) < _PRECISION:
            break
    return front * result
