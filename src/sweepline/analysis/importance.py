"""Which parameters matter: how differently the best runs are spread over a parameter's values than all runs are.

PED-ANOVA (Watanabe, Bansal, Hutter: PED-ANOVA, IJCAI 2023) for values that are counted, not smoothed by a kernel: a
swept parameter takes few values, and where it takes many they are sorted into bins of equal counts.
"""

from __future__ import annotations

import bisect
import math
import statistics
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sweepline.analysis.differences import comparable
from sweepline.analysis.statistics import mean
from sweepline.contract.values import is_number
from sweepline.recording.events import RunRecord
from sweepline.runs import Objective

BEST_SHARE, MIN_BEST = 0.1, 5
MAX_VALUES, N_BINS = 12, 8
FEW_RUNS_PER_PARAMETER = 10


@dataclass(frozen=True, slots=True)
class Importance:
    """Shares of 1 by parameter, the greatest first, from ``n_runs`` runs and the best ``n_best`` of them."""

    shares: Mapping[str, float]
    n_runs: int
    n_best: int

    @property
    def is_doubtful(self) -> bool:
        """Whether they rest on few runs."""
        return self.n_runs < FEW_RUNS_PER_PARAMETER * len(self.shares)

    def __str__(self) -> str:
        doubt = f", few for {len(self.shares)} parameters" if self.is_doubtful else ""
        return f"from {self.n_runs} runs, the best {self.n_best} beside all (PED-ANOVA){doubt}"


def find_importance(
    records: Sequence[RunRecord], objective: Objective, names: Sequence[str], *, idle: Collection[str] = ()
) -> Importance | None:
    """Return how much each of the parameters ``names`` matters; None where too few runs have a finite result.

    ``idle`` parameters are known to have no effect and get no share: where a constraint ties one to another parameter,
    it would take over what that does. A run that diverged is among the worst. A share of 0 means: the best runs are
    spread over a parameter's values as chance would have it.
    """
    runs = [r for r in records if r.has_result and objective.name in r.metrics]
    n_finite = sum(math.isfinite(run.metrics[objective.name]) for run in runs)
    n_best = min(n_finite // 2, max(MIN_BEST, round(BEST_SHARE * len(runs))))
    if n_best < 2 or not names:
        return None
    runs.sort(
        key=lambda run: (
            not math.isfinite(run.metrics[objective.name]),
            objective.sort_key(run.metrics[objective.name]),
        )
    )
    found = dict.fromkeys(names, 0.0)
    for name in (name for name in names if name not in idle):
        found[name] = _divergence(_bins([run.params.get(name) for run in runs]), n_best)
    total = sum(found.values())
    shares = {name: value / total if total else 0.0 for name, value in found.items()}
    return Importance(dict(sorted(shares.items(), key=lambda item: -item[1])), len(runs), n_best)


@dataclass(frozen=True, slots=True)
class MarginalEffect:
    """The results of all runs in which a parameter lies between ``low`` and ``high``, whatever the rest of them.

    ``spread`` is their sample standard deviation, nan for a single one; ``n_diverged`` runs more have no finite result.
    """

    low: Any
    high: Any
    mean: float
    spread: float
    n: int
    n_diverged: int


def marginal_effects(records: Sequence[RunRecord], objective: Objective, name: str) -> list[MarginalEffect]:
    """Return the effect of each value of a parameter, in their order, or of ranges where it takes many."""
    runs = [r for r in records if r.has_result and objective.name in r.metrics]
    groups: dict[int, list[RunRecord]] = {}
    for number, run in zip(_bins([run.params.get(name) for run in runs]), runs, strict=True):
        groups.setdefault(number, []).append(run)
    found = []
    for members in groups.values():
        values: list[Any] = [run.params.get(name) for run in members]
        low, high = (min(values), max(values)) if all(map(is_number, values)) else (values[0], values[0])
        results = [result for run in members if math.isfinite(result := run.metrics[objective.name])]
        average = mean(results) if results else math.nan
        spread = statistics.stdev(results) if len(results) > 1 else math.nan
        found.append(MarginalEffect(low, high, average, spread, len(results), len(members) - len(results)))
    if all(is_number(effect.low) for effect in found):
        found.sort(key=lambda effect: effect.low)
    return found


def _divergence(bins: Sequence[int], n_best: int) -> float:
    """Return Pearson's divergence of the first ``n_best`` bins from all of them, less what chance alone would give."""
    of_all, of_best = Counter(bins), Counter(bins[:n_best])
    n = len(bins)
    found = sum((of_best[one] / n_best - count / n) ** 2 / (count / n) for one, count in of_all.items())
    # The expected value where the best are drawn from all without looking (hypergeometric).
    by_chance = (len(of_all) - 1) * (n - n_best) / (n_best * (n - 1))
    return max(0.0, found - by_chance)


def _bins(values: Sequence[Any]) -> list[int]:
    """Return a bin for each value: one for each value where there are few, else quantiles of the numbers."""
    kinds = [comparable(value) for value in values]
    known = {kind: i for i, kind in enumerate(dict.fromkeys(kinds))}
    numbers = list(filter(is_number, values))
    if len(known) <= MAX_VALUES or len(numbers) < len(values):
        return [known[kind] for kind in kinds]
    ordered = sorted(numbers)
    edges = [ordered[len(ordered) * i // N_BINS] for i in range(1, N_BINS)]
    return [bisect.bisect_right(edges, value) for value in values]
