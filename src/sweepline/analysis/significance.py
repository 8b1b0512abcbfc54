"""Whether the best configuration can be told from the next ones, by its runs over seeds; if not, what it would take."""

from __future__ import annotations

import bisect
import itertools
import math
import statistics
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

from sweepline.analysis.ranking import RankedConfig
from sweepline.analysis.statistics import (
    Interval,
    holm,
    mean_interval,
    student_cdf,
    student_quantile,
)
from sweepline.recording.events import RunRecord
from sweepline.runs import canonical_json

BySeed = Mapping[int | str, float]
"""A configuration's results by seed; by run id where a run has no seed, or one that another run had."""

N_COMPARED = 10
ALPHA = 0.05
MAX_SEEDS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How the best configuration stands to the next ones.

    ``interval`` is of the best one's mean, ``n_tied`` how many of the first cannot be told apart, itself included; 0
    where nothing can be said. Where they cannot, ``n_more_seeds`` for each would tell the first from the second, should
    their difference and spread stay (None: beyond 1,000, or not known). ``noise`` is the difference that two single
    runs of one configuration stay below in 95 % of cases, None where no configuration ran twice. ``is_paired`` tells
    that runs were compared seed by seed. Of configurations that differ in ``idle`` parameters alone one was compared.
    """

    interval: Interval
    n_compared: int
    n_tied: int
    n_more_seeds: int | None
    noise: float | None
    is_paired: bool
    idle: Sequence[str] = ()

    def __str__(self) -> str:
        how = "t-tests by seed" if self.is_paired else "t-tests"
        if self.n_compared < 2:
            return "only one configuration has a result"
        if self.n_tied == 0 and self.noise is not None:
            return f"one seed: differences below {self.noise:.2g} are noise"
        if self.n_tied == 0:
            return "one seed each: no interval, the first may be the luckiest"
        if self.n_tied == 1:
            others = f" that differ in more than {' and '.join(self.idle)}" if self.idle else ""
            return f"the first is better than the next {self.n_compared - 1}{others} (95 %, {how}, Holm)"
        seeds = "seed" if self.n_more_seeds == 1 else "seeds"
        more = (
            f"about {self.n_more_seeds} more {seeds} each would tell the first from the second"
            if self.n_more_seeds is not None
            else "more seeds would hardly tell the first from the second"
        )
        return f"the first {self.n_tied} cannot be told apart (95 %, {how}, Holm); {more}"


def judge_best(ranked: Sequence[RankedConfig], metric: str) -> Standing | None:
    """Return how the first of the configurations, best first, stands to those after it; None where it has no result.

    The first ten are compared, each with each, by Student's t: the variance is pooled over all of them, as in an
    analysis of variance, with the seeds as blocks where all share them, because three seeds tell little of a spread; a
    pair whose own variance is greater is judged by that. The p-values are corrected for all pairs by Holm's method:
    which one is the best was seen in the same runs. So equal configurations are told apart in fewer than 5 of 100
    sweeps, and in 7 of 100 where half of them spread three times as far as the others.
    """
    values = [_by_seed(config.runs, metric) for config in ranked[:N_COMPARED]]
    values = [found for found in values if found and all(map(math.isfinite, found.values()))]
    if not values:
        return None
    compared = Compared(values)
    n_tied, n_more = 0, None
    if compared.df > 0 and len(values) > 1 and len(values[0]) > 1:
        pairs = itertools.combinations(range(len(values)), 2)
        adjusted = holm({f"{i} {j}": compared.p_value(i, j) for i, j in pairs})
        tied = [j for j in range(1, len(values)) if adjusted[f"0 {j}"] > ALPHA]
        n_tied = 1 + len(tied)
        n_more = compared.seeds_to_tell(0, tied[0]) if tied else None
    return Standing(
        interval=mean_interval(list(values[0].values())),
        n_compared=len(values),
        n_tied=n_tied,
        n_more_seeds=n_more,
        noise=noise_floor(ranked, metric),
        is_paired=compared.is_paired,
    )


class Compared:
    """Configurations that are compared, two or more: their results, and the variance of one, pooled over them all."""

    def __init__(self, values: Sequence[BySeed]) -> None:
        self.values = values
        self.n_pairs = math.comb(len(values), 2)
        first = values[0]
        self.is_paired = len(values) > 1 and len(first) > 1 and all(v.keys() == first.keys() for v in values)
        means = [statistics.fmean(found.values()) for found in values]
        luck = dict.fromkeys(first, 0.0)  # of each seed, for all configurations alike
        if self.is_paired:
            overall = statistics.fmean(means)
            luck = {seed: statistics.fmean(found[seed] for found in values) - overall for seed in first}
        residuals = [
            value - mean - luck.get(seed, 0.0)
            for found, mean in zip(values, means, strict=True)
            for seed, value in found.items()
        ]
        self.df = self.df_of([len(found) for found in values])
        self._pooled = sum(residual**2 for residual in residuals) / self.df if self.df else 0.0

    def df_of(self, counts: Sequence[int]) -> int:
        """Return the degrees of freedom of the pooled variance, given how many results each configuration has."""
        if self.is_paired:
            return (len(counts) - 1) * (counts[0] - 1)
        return sum(n - 1 for n in counts)

    def p_value(self, i: int, j: int) -> float:
        """Return how likely two means at least this far apart are where there is no difference, two-sided."""
        gap = self._gap(i, j)
        variance = self._variance(i, j) * (1 / len(self.values[i]) + 1 / len(self.values[j]))
        if variance == 0:
            return 1.0 if gap == 0 else 0.0
        return 2 * student_cdf(-gap / math.sqrt(variance), self.df)

    def seeds_to_tell(self, i: int, j: int) -> int | None:
        """Return how many seeds more everyone needs to tell two apart, should their means and spread stay."""
        gap, variance = self._gap(i, j), self._variance(i, j)
        n_now = min(len(self.values[i]), len(self.values[j]))
        if gap == 0 or variance == 0:
            return None

        def is_enough(n: int) -> bool:
            t = gap / math.sqrt(2 * variance / n)
            return t >= student_quantile(1 - ALPHA / 2 / self.n_pairs, self.df_of([n] * len(self.values)))

        # The more seeds the nearer: the first number that is enough is found by halving.
        n = bisect.bisect_left(range(MAX_SEEDS + 1), True, lo=n_now + 1, key=is_enough)
        return n - n_now if n <= MAX_SEEDS else None

    def _gap(self, i: int, j: int) -> float:
        return abs(statistics.fmean(self.values[i].values()) - statistics.fmean(self.values[j].values()))

    def _variance(self, i: int, j: int) -> float:
        """Return the variance of one result that a pair is judged by: that of all, or its own where it is greater."""
        first, second = self.values[i], self.values[j]
        if self.is_paired:
            return max(self._pooled, statistics.variance(first[seed] - second[seed] for seed in first) / 2)
        own = [statistics.variance(found.values()) for found in (first, second) if len(found) > 1]
        return max([self._pooled, *own])


def without_twins(ranked: Sequence[RankedConfig], idle: Set[str]) -> list[RankedConfig]:
    """Return the configurations without those that another one equals but for parameters ``idle``, without effect."""
    if not idle:
        return list(ranked)
    found: dict[str, RankedConfig] = {}
    for config in ranked:
        rest = {name: value for name, value in config.params.items() if name not in idle}
        found.setdefault(canonical_json(rest), config)
    return list(found.values())


def noise_floor(ranked: Sequence[RankedConfig], metric: str) -> float | None:
    """Return how far apart two runs of one configuration are in 95 % of cases, from all configurations that ran twice.

    The standard deviation is pooled over them; Student's quantile has its degrees of freedom.
    """
    squares, df = 0.0, 0
    for config in ranked:
        values = config.values_of(metric)
        if len(values) > 1 and all(map(math.isfinite, values)):
            squares += statistics.variance(values) * (len(values) - 1)
            df += len(values) - 1
    return student_quantile(1 - ALPHA / 2, df) * math.sqrt(2 * squares / df) if df else None


def _by_seed(runs: Sequence[RunRecord], metric: str) -> dict[int | str, float]:
    found: dict[int | str, float] = {}
    for run in runs:
        if metric in run.metrics:
            seed = run.params.get("seed") if run.seed is None else run.seed
            found[seed if isinstance(seed, int) and seed not in found else run.run_id] = run.metrics[metric]
    return found
