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
    paired_p_value,
    student_quantile,
    welch_p_value,
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
    that runs were compared seed by seed.
    """

    interval: Interval
    n_compared: int
    n_tied: int
    n_more_seeds: int | None
    noise: float | None
    is_paired: bool

    def __str__(self) -> str:
        how = "paired by seed" if self.is_paired else "Welch's t-test"
        if self.n_compared < 2:
            return "only one configuration has a result"
        if self.n_tied == 0 and self.noise is not None:
            return f"one seed: differences below {self.noise:.2g} are noise"
        if self.n_tied == 0:
            return "one seed each: no interval, the first may be the luckiest"
        if self.n_tied == 1:
            return f"the first is better than the next {self.n_compared - 1} (95 %, {how}, Holm)"
        more = (
            f"about {self.n_more_seeds} more seeds each would tell the first from the second"
            if self.n_more_seeds is not None
            else "more seeds would hardly tell the first from the second"
        )
        return f"the first {self.n_tied} cannot be told apart (95 %, {how}, Holm); {more}"


def judge_best(ranked: Sequence[RankedConfig], metric: str) -> Standing | None:
    """Return how the first of the configurations, best first, stands to those after it; None where it has no result.

    The first ten are compared, each with each by a t-test: seed by seed where two configurations share seeds (Student),
    else by their means (Welch). The p-values are corrected for all of these pairs by Holm's method, because which one
    is the best was seen in the same runs.
    """
    values = [_by_seed(config.runs, metric) for config in ranked[:N_COMPARED]]
    values = [found for found in values if found and all(map(math.isfinite, found.values()))]
    if not values:
        return None
    best = values[0]
    p_values = {f"{i} {j}": p_value(values[i], values[j]) for i, j in itertools.combinations(range(len(values)), 2)}
    has_spread = len(best) > 1 and any(len(other) > 1 for other in values[1:])
    n_tied, n_more = 0, None
    if has_spread and len(values) > 1:
        adjusted = holm(p_values)
        tied = [j for j in range(1, len(values)) if adjusted[f"0 {j}"] > ALPHA]
        n_tied = 1 + len(tied)
        n_more = _seeds_to_tell(best, values[1], n_pairs=len(p_values)) if tied else None
    return Standing(
        interval=mean_interval(list(best.values())),
        n_compared=len(values),
        n_tied=n_tied,
        n_more_seeds=n_more,
        noise=noise_floor(ranked, metric),
        is_paired=len(values) > 1 and len(best.keys() & values[1].keys()) > 1,
    )


def without_twins(ranked: Sequence[RankedConfig], idle: Set[str]) -> list[RankedConfig]:
    """Return the configurations without those that another one equals but for parameters ``idle``, without effect."""
    found: dict[str, RankedConfig] = {}
    for config in ranked:
        rest = {name: value for name, value in config.params.items() if name not in idle}
        found.setdefault(canonical_json(rest) if idle else str(len(found)), config)
    return list(found.values())


def p_value(first: BySeed, second: BySeed) -> float:
    """Return the p-value of a difference between two configurations, given a value for each of their seeds."""
    shared = [seed for seed in first if seed in second]
    if len(shared) > 1:
        return paired_p_value([first[seed] - second[seed] for seed in shared])
    return welch_p_value(list(first.values()), list(second.values()))


def noise_floor(ranked: Sequence[RankedConfig], metric: str) -> float | None:
    """Return how far apart two runs of one configuration are in 95 % of cases, from all configurations that ran twice.

    The standard deviation is pooled over them; Student's quantile has its degrees of freedom.
    """
    squares, df = 0.0, 0
    for config in ranked:
        values = [run.metrics[metric] for run in config.runs if metric in run.metrics]
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


def _seeds_to_tell(first: BySeed, second: BySeed, *, n_pairs: int) -> int | None:
    """Return how many seeds more two configurations need, should their difference and its spread stay as they are."""
    shared = [seed for seed in first if seed in second]
    if len(shared) > 1:
        differences = [first[seed] - second[seed] for seed in shared]
        gap, spread = abs(statistics.fmean(differences)), statistics.stdev(differences)
    else:
        gap = abs(statistics.fmean(first.values()) - statistics.fmean(second.values()))
        parts = [statistics.variance(side.values()) for side in (first, second) if len(side) > 1]
        spread = math.sqrt(2 * statistics.fmean(parts))
    n_now = min(len(first), len(second))
    if gap == 0:
        return None

    def is_enough(n: int) -> bool:
        return gap * math.sqrt(n) >= spread * student_quantile(1 - ALPHA / 2 / n_pairs, n - 1)

    # The more seeds the nearer: the first number that is enough is found by halving.
    n = bisect.bisect_left(range(MAX_SEEDS + 1), True, lo=n_now + 1, key=is_enough)
    return n - n_now if n <= MAX_SEEDS else None
