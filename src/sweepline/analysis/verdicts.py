"""Whether a run is better than the baseline, in a word. Pure: from the tables of a comparison.

**Two seeds or more on both sides**: a t-test of the best values that the runs have at the end of the common window,
paired where both sides ran with the same seeds, else Welch's; at a level of 5 %, corrected by Holm's method for the
number of runs that are compared with the baseline. Each metric and each axis is tested for itself.

**One seed on a side**: how far another seed would have come is not known, so it is not conclusive unless, along each
axis,

1. the best values at the end of the common window are farther apart than twice the tolerance: each of the two may be
   off by one;
2. and the curves are apart: at 18 of 20 places, evenly spread over the last quarter of the window, the value of one is
   better than that of the other (of all runs of the other, where it has several). Noise from point to point alone would
   do that once in 5,000 times.

Then the word is said of these runs, not of their settings. Who knows how far seeds are apart gives that as tolerance.

**In all**, better (or worse) means so along every axis that was held equal. What is better at equal steps and worse at
equal time is not conclusive, and said to be both.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sweepline.analysis.compare import MetricTable, RunMeasure, Tables
from sweepline.analysis.goals import MIN
from sweepline.analysis.series import Side
from sweepline.analysis.statistics import holm, paired_p_value, welch_p_value

BETTER, WORSE, NOT_CONCLUSIVE = "better", "worse", "not conclusive"
LEVEL, MIXED = "level", "mixed"
ALPHA = 0.05
N_APART = 18
"""At so many of the last places one has to be better."""
END = "end"
"""What is held equal where nothing can be: whole runs are compared."""

_OPPOSITE = {BETTER: WORSE, WORSE: BETTER}


@dataclass(frozen=True, slots=True, kw_only=True)
class AxisVerdict:
    """How a metric stands at the end of the common window along one axis.

    ``gap`` is by how much better it is than the baseline's (below zero: worse), ``share`` that gap as a share of the
    baseline's value. ``p_value`` is corrected; None with one seed. ``why`` says what a verdict lacks.
    """

    axis: str
    word: str
    gap: float
    share: float | None
    p_value: float | None = None
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How one metric of a side stands to the baseline's.

    ``direction`` says where the values lie, beyond the tolerance, whether or not that is conclusive: better, worse,
    level, or mixed (it depends on what is held equal). ``n_seeds`` are those of the baseline and of the side.
    """

    metric: str
    word: str
    direction: str
    axes: Sequence[AxisVerdict]
    n_seeds: tuple[int, int]
    is_paired: bool = False

    @property
    def is_tested(self) -> bool:
        """Whether a t-test decided."""
        return min(self.n_seeds) > 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Conclusion:
    """What is to be said of a side.

    ``word`` is that of the objective; where there is none, that of all metrics with a goal, should they agree.
    ``disagreeing`` metrics lie in the other direction than the objective (than most, without one).
    """

    label: str
    word: str
    direction: str
    verdicts: Mapping[str, Verdict]
    disagreeing: Sequence[str]


def conclude(tables: Tables) -> list[Conclusion]:
    """Return what is to be said of each side but the first."""
    judged = {
        table.name: judge_metric(table, tables.sides, tables.options.tolerance)
        for table in tables.metrics
        if table.goal is not None
    }
    found = []
    for i, side in enumerate(tables.sides[1:]):
        verdicts = {name: verdict for name, own in judged.items() if (verdict := own[i]) is not None}
        main = verdicts.get(tables.objective) if tables.objective is not None else None
        if main is not None:
            word, direction = main.word, main.direction
        elif tables.objective is not None:
            word, direction = NOT_CONCLUSIVE, LEVEL
        else:
            word = _combine([verdict.word for verdict in verdicts.values()])
            directions = [verdict.direction for verdict in verdicts.values() if verdict.direction in _OPPOSITE]
            direction = statistics.mode(directions) if directions else LEVEL
        against = _OPPOSITE.get(direction)
        disagreeing = [name for name, verdict in verdicts.items() if verdict.direction == against]
        found.append(
            Conclusion(label=side.label, word=word, direction=direction, verdicts=verdicts, disagreeing=disagreeing)
        )
    return found


@dataclass(frozen=True, slots=True)
class _Pair:
    """A metric of the baseline and of the side that is compared with it."""

    table: MetricTable
    baseline: Side
    side: Side
    of_baseline: Sequence[RunMeasure | None]
    of_side: Sequence[RunMeasure | None]

    def values(self, axis: str) -> tuple[list[float], list[float]]:
        """Return the best values of both sides' runs at the end of the common window."""
        one, other = (
            [value for measure in measures if (value := _value(measure, axis)) is not None]
            for measures in (self.of_baseline, self.of_side)
        )
        return one, other

    def differences(self, axis: str) -> list[float] | None:
        """Return the differences seed by seed where all runs of the side with fewer have a run to be compared with."""
        one, other = _by_seed(self.baseline, self.of_baseline, axis), _by_seed(self.side, self.of_side, axis)
        shared = [seed for seed in one if seed in other]
        is_paired = len(shared) > 1 and len(shared) == min(map(len, self.values(axis)))
        return [one[seed] - other[seed] for seed in shared] if is_paired else None


def judge_metric(table: MetricTable, sides: Sequence[Side], tolerance: float) -> list[Verdict | None]:
    """Return the verdict of a metric on each side but the first; None of one that lacks it, or all without a goal."""
    if table.goal is None or not any(table.measures[0]):
        return [None] * (len(sides) - 1)
    axes = table.axes or (END,)
    pairs = [
        _Pair(table, sides[0], side, table.measures[0], measures)
        for side, measures in zip(sides[1:], table.measures[1:], strict=True)
    ]
    corrected = {axis: _test(pairs, axis) for axis in axes}
    verdicts: list[Verdict | None] = []
    for i, pair in enumerate(pairs):
        n_seeds = _count(pair.of_baseline), _count(pair.of_side)
        judged = [_judge_axis(pair, axis, corrected[axis].get(str(i)), tolerance) for axis in axes]
        found = [verdict for verdict in judged if verdict is not None]
        verdicts.append(
            Verdict(
                metric=table.name,
                word=_combine([verdict.word for verdict in found]),
                direction=_direction(found, tolerance),
                axes=found,
                n_seeds=n_seeds,
                is_paired=any(pair.differences(axis) is not None for axis in axes),
            )
            if n_seeds[1]
            else None
        )
    return verdicts


def _count(measures: Sequence[RunMeasure | None]) -> int:
    return sum(measure is not None for measure in measures)


def _value(measure: RunMeasure | None, axis: str) -> float | None:
    """Return the best value of a run at the end of the common window, of the whole run where there is none."""
    if measure is None:
        return None
    return measure.best if axis == END else measure.common[axis][-1].best


def _by_seed(side: Side, measures: Sequence[RunMeasure | None], axis: str) -> dict[int, float]:
    values = ((run.seed, _value(measure, axis)) for run, measure in zip(side.runs, measures, strict=True))
    return {seed: value for seed, value in values if seed is not None and value is not None}


def _test(pairs: Sequence[_Pair], axis: str) -> dict[str, float]:
    """Return the corrected p-values of the pairs that have two seeds or more on both sides, by their number."""
    found = {}
    for i, pair in enumerate(pairs):
        one, other = pair.values(axis)
        if min(len(one), len(other)) > 1:
            differences = pair.differences(axis)
            found[str(i)] = welch_p_value(one, other) if differences is None else paired_p_value(differences)
    return holm(found)


def _judge_axis(pair: _Pair, axis: str, p_value: float | None, tolerance: float) -> AxisVerdict | None:
    one, other = pair.values(axis)
    if not one or not other:
        return _judge_diverged(pair, axis, has_base=bool(one), has_other=bool(other))
    base = statistics.fmean(one)
    gap = (base - statistics.fmean(other)) * (1 if pair.table.goal == MIN else -1)
    share = gap / abs(base) if base else None
    found = AxisVerdict(axis=axis, word=NOT_CONCLUSIVE, gap=gap, share=share, p_value=p_value)
    word = BETTER if gap > 0 else WORSE
    if p_value is not None:
        return replace(found, word=word) if p_value < ALPHA else replace(found, why="chance may do as much")
    if axis == END:
        return replace(found, why="there are no curves to look at")
    if abs(gap) <= 2 * tolerance * abs(base):
        return replace(found, why=f"within twice the tolerance ({200 * tolerance:.3g} %)")
    if not _are_apart(pair, axis, is_better=gap > 0):
        return replace(found, why="the curves are not apart in the last quarter")
    return replace(found, word=word)


def _judge_diverged(pair: _Pair, axis: str, *, has_base: bool, has_other: bool) -> AxisVerdict | None:
    """Return the verdict where a side was never finite in the window; None where it began after that, or both do."""
    measures = pair.of_baseline if has_other else pair.of_side
    if has_base == has_other or not any(measure is not None and measure.n_not_finite for measure in measures):
        return None
    gap = math.inf if has_other else -math.inf
    return AxisVerdict(axis=axis, word=BETTER if has_other else WORSE, gap=gap, share=None)


def _are_apart(pair: _Pair, axis: str, *, is_better: bool) -> bool:
    """Whether all runs of one side are better than all of the other, at nearly all of the last places."""
    sides = (pair.of_side, pair.of_baseline) if is_better else (pair.of_baseline, pair.of_side)
    better, worse = ([measure.last_quarter[axis] for measure in side if measure is not None] for side in sides)
    sign = 1 if pair.table.goal == MIN else -1
    n_apart = 0
    for of_better, of_worse in zip(zip(*better, strict=True), zip(*worse, strict=True), strict=True):
        n_apart += max(_loss(value, sign) for value in of_better) < min(_loss(value, sign) for value in of_worse)
    return n_apart >= N_APART


def _loss(value: float | None, sign: int) -> float:
    """Return a value of which less is better; what is not finite, or not there, is worse than all others."""
    return sign * value if value is not None and math.isfinite(value) else math.inf


def _combine(words: Sequence[str]) -> str:
    return words[0] if words and len(set(words)) == 1 else NOT_CONCLUSIVE


def _direction(found: Sequence[AxisVerdict], tolerance: float) -> str:
    signs = {
        BETTER if verdict.gap > 0 else WORSE
        for verdict in found
        if verdict.gap and (verdict.share is None or abs(verdict.share) > tolerance)
    }
    return MIXED if len(signs) > 1 else signs.pop() if signs else LEVEL
