"""How runs compare with a baseline: what each metric says at equal steps, time and samples, and up to a common target.

Pure: takes what ``engine/sides.py`` has read. What follows from the numbers is decided in ``analysis/verdicts.py``.
"""

from __future__ import annotations

import math
import statistics
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sweepline.analysis.goals import MAX, MIN, guess_goal
from sweepline.analysis.runfacts import Identical, Spikes, differing_parameters, find_spikes, measure_throughput
from sweepline.analysis.series import AXES, EPOCH, POINT, SAMPLES, STEP, RunHistory, Series, Side, find_identical
from sweepline.errors import ConfigError, did_you_mean

FRACTIONS = (0.25, 0.5, 0.75, 1.0)
"""Where in the common window of all runs they are compared."""
N_LAST_PLACES = 20
"""At so many places, evenly spread over the last quarter of the window, it is looked whether curves are apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareOptions:
    """How to compare. ``goals`` are ``min`` or ``max`` by metric; a name that tells its goal itself needs none.

    ``metrics`` are all that shall be compared, empty: all that the baseline and another side have. A target is the
    baseline's best value within ``tolerance``, a share of it, held for ``hold`` points in a row. ``axes`` restricts
    what is held equal, empty: all that is known. A gradient norm above ``spike`` is one.
    """

    metrics: Sequence[str] = ()
    objective: str | None = None
    goals: Mapping[str, str] = field(default_factory=dict)
    tolerance: float = 0.005
    hold: int = 1
    axes: Sequence[str] = ()
    spike: float = 100.0

    def __post_init__(self) -> None:
        faults = [
            f"goal of {name}: {goal!r} is neither min nor max"
            for name, goal in self.goals.items()
            if goal not in (MIN, MAX)
        ]
        faults += [f"axis {axis!r}: there are {', '.join(AXES)}" for axis in self.axes if axis not in AXES]
        if not 0 <= self.tolerance < 1:
            faults.append(f"tolerance {self.tolerance}: is a share, 0.005 for 0.5 %: 0 or more and less than 1")
        if self.hold < 1:
            faults.append(f"hold {self.hold}: is how many points in a row reach the target: 1 or more")
        if math.isnan(self.spike):
            faults.append("spike: nan is no limit of a gradient norm")
        if faults:
            raise ConfigError(*faults)


@dataclass(frozen=True, slots=True)
class Reached:
    """Where a target is first reached along an axis; where it is not, how far the run was seen without it."""

    place: float
    is_reached: bool


def median_reached(found: Sequence[Reached]) -> Reached:
    """Return the median of where runs reach a target, of two the later one; not reached where it may lie farther."""
    ordered = sorted(found, key=lambda reached: (reached.place, not reached.is_reached))
    middle = len(ordered) // 2
    return Reached(ordered[middle].place, all(reached.is_reached for reached in ordered[: middle + 1]))


@dataclass(frozen=True, slots=True)
class AtPlace:
    """What a run has at a common place: the last value until then, and the best one; None before its first point."""

    place: float
    value: float | None
    best: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunMeasure:
    """One metric of one run. Without a goal nothing is best, and no target reached.

    ``n_not_finite`` of its ``n_points`` are nan or infinite, first at ``not_finite_at``; they are never best. ``ends``
    is where it was told last. ``last_quarter`` has its values there, by axis; None before its first.
    """

    n_points: int
    n_not_finite: int
    not_finite_at: Mapping[str, float]
    last: float
    best: float | None
    best_at: Mapping[str, float]
    ends: Mapping[str, float]
    common: Mapping[str, Sequence[AtPlace]]
    last_quarter: Mapping[str, Sequence[float | None]]
    reached: Mapping[str, Reached]


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricTable:
    """A metric of all sides. ``measures`` has for each side its runs', None of one that lacks the metric.

    ``goal_from`` says how the goal is known. ``limits`` are where the common window ends, by axis: where the shortest
    run does, ``shortest`` by axis. ``target`` is None without a goal.
    """

    name: str
    goal: str | None
    goal_from: str
    limits: Mapping[str, float]
    shortest: Mapping[str, str]
    target: float | None
    measures: Sequence[Sequence[RunMeasure | None]]

    @property
    def axes(self) -> Sequence[str]:
        """What is held equal."""
        return tuple(self.limits)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """All that is told of the sides, the baseline's first."""

    sides: Sequence[Side]
    options: CompareOptions
    objective: str | None
    objective_from: str
    metrics: Sequence[MetricTable]
    left_out: Mapping[str, Sequence[str]]
    parameters: Mapping[str, Sequence[Any]]
    throughput: Mapping[str, Sequence[float | None]]
    spikes: Sequence[Spikes]
    identical: Sequence[Identical]
    notes: Sequence[str]


def tabulate_sides(sides: Sequence[Side], options: CompareOptions) -> Tables:
    """Return what there is to say of sides, the first of which is the baseline.

    Raises:
        ConfigError: they have no metric in common, or not one that is asked for.
    """
    names = _choose_metrics(sides, options)
    told = _told_objective(sides)
    objective, objective_from = _choose_objective(names, options, told)
    goals = {name: _goal_of(name, options, told) for name in names}
    if objective is not None and goals[objective][0] is None:
        raise ConfigError(f"objective {objective}: is less or more of it better? Say --goal {objective}=min, or =max")
    if objective is None and sum(goal is not None for goal, _ in goals.values()) == 1:
        objective = next(name for name, (goal, _) in goals.items() if goal is not None)
        objective_from = "the only metric with a goal"
    names.sort(key=lambda name: (name != objective, goals[name][0] is None))
    metrics = [_tabulate(name, *goals[name], sides, options) for name in names]
    for axis in options.axes:
        if not any(axis in table.limits for table in metrics):
            raise ConfigError(f"equal {axis} cannot be compared: no metric tells its {axis} in all runs")
    present = [{name for run in side.runs for name in run.series} for side in sides]
    left_out = {
        side.label: sorted(found - set(names)) for side, found in zip(sides, present, strict=True) if found - set(names)
    }
    return Tables(
        sides=sides,
        options=options,
        objective=objective,
        objective_from=objective_from,
        metrics=metrics,
        left_out={} if options.metrics else left_out,
        parameters=differing_parameters(sides),
        throughput=measure_throughput(sides, objective),
        spikes=[spikes for side in sides for run in side.runs for spikes in find_spikes(side, run, options.spike)],
        identical=[
            Identical(label=side.label, run=run.name, metrics=names, n_points=len(run.series[names[0]]))
            for side in sides
            for run in side.runs
            for names in find_identical(run.series)
        ],
        notes=[f"{side.label}: {_name(run, side)}{note}" for side in sides for run in side.runs for note in run.notes],
    )


def _name(run: RunHistory, side: Side) -> str:
    return "" if len(side.runs) == 1 else f"{run.name}: "


def _choose_metrics(sides: Sequence[Side], options: CompareOptions) -> list[str]:
    """Return the metrics to compare: those that are asked for, else those of the baseline and some other side."""
    baseline, *others = [list(dict.fromkeys(name for run in side.runs for name in run.series)) for side in sides]
    known = dict.fromkeys([*baseline, *(name for names in others for name in names)])
    wanted = [*options.metrics, *([options.objective] if options.objective else [])]
    for name in [*wanted, *options.goals]:
        if name not in known:
            raise ConfigError(f"no run has a metric {name!r}{did_you_mean(name, known, n=3)}")
    if options.objective is not None and options.objective not in baseline:
        raise ConfigError(f"objective {options.objective}: the baseline {sides[0].label} has none of it")
    if options.metrics:
        return list(dict.fromkeys(wanted))
    elsewhere = {name for names in others for name in names}
    found = [name for name in baseline if name in elsewhere]
    if not found:
        every = zip(sides, [baseline, *others], strict=True)
        labels = [f"{side.label} has {', '.join(sorted(names)[:5])}" for side, names in every]
        raise ConfigError(f"the baseline has no metric in common with the others: {'; '.join(labels[:3])}")
    return found


def _told_objective(sides: Sequence[Side]) -> tuple[str, str] | None:
    """Return the objective and its goal where all runs that were part of a sweep had the same one."""
    told = {run.objective for side in sides for run in side.runs if run.objective is not None}
    return told.pop() if len(told) == 1 else None


def _choose_objective(
    names: Sequence[str], options: CompareOptions, told: tuple[str, str] | None
) -> tuple[str | None, str]:
    if options.objective is not None:
        return options.objective, "as asked"
    if told is not None and told[0] in names:
        return told[0], "of the sweep"
    return None, ""


def _goal_of(name: str, options: CompareOptions, told: tuple[str, str] | None) -> tuple[str | None, str]:
    """Return the goal of a metric, and how it is known."""
    if name in options.goals:
        return options.goals[name], "as asked"
    if told is not None and name == told[0]:
        return told[1], "of the sweep"
    goal = guess_goal(name)
    return goal, "guessed from its name" if goal else "not known"


@dataclass(frozen=True, slots=True)
class _Aim:
    """What is wanted of a metric, and which value of it shall be reached, for how many points in a row."""

    goal: str | None
    target: float | None
    hold: int


def _tabulate(
    name: str, goal: str | None, goal_from: str, sides: Sequence[Side], options: CompareOptions
) -> MetricTable:
    found = [[run.series.get(name) or None for run in side.runs] for side in sides]
    axes = _shared_axes([series for own in found for series in own if series is not None], options.axes)
    if axes == [POINT]:
        found = [[_count_points(series) for series in own] for own in found]
    limits, shortest = {}, {}
    for axis in axes:
        ends = [
            (series.places[axis][-1], side.label)
            for side, own in zip(sides, found, strict=True)
            for series in own
            if series is not None
        ]
        if min(ends)[0] > 0:
            limits[axis], shortest[axis] = min(ends)
    finite = [[None if series is None else series.finite() for series in own] for own in found]
    bests = [own.values[own.best_index(goal)] for own in finite[0] if own] if goal else []
    aim = _Aim(goal, _target(bests, goal, options.tolerance), options.hold)
    return MetricTable(
        name=name,
        goal=goal,
        goal_from=goal_from,
        limits=limits,
        shortest=shortest,
        target=aim.target,
        measures=[
            [
                None if series is None or clean is None else _measure(series, clean, aim, limits)
                for series, clean in zip(own, of_own, strict=True)
            ]
            for own, of_own in zip(found, finite, strict=True)
        ],
    )


def _target(bests: Sequence[float], goal: str | None, tolerance: float) -> float | None:
    """Return the mean of the baseline's best values, worse by the tolerance."""
    if not bests:
        return None
    best = statistics.fmean(bests)
    return best + tolerance * abs(best) * (1 if goal == MIN else -1)


def _shared_axes(found: Sequence[Series], wanted: Sequence[str]) -> list[str]:
    """Return what can be held equal for all series: time, steps, samples; epochs or points where nothing else can."""
    shared = [axis for axis in AXES if found and all(axis in series.places for series in found)]
    if wanted:
        return [axis for axis in wanted if axis in shared]
    if STEP in shared or SAMPLES in shared:
        return [axis for axis in shared if axis != EPOCH]
    if not shared and found and all(not series.places and len(series) > 1 for series in found):
        return [POINT]
    return shared


def _count_points(series: Series | None) -> Series | None:
    if series is None:
        return None
    return Series(series.values, {POINT: array("d", range(1, len(series) + 1))})


def _measure(series: Series, finite: Series, aim: _Aim, limits: Mapping[str, float]) -> RunMeasure:
    best = finite.best_index(aim.goal) if aim.goal and finite.values else None
    bad = series.first_not_finite() if len(finite) < len(series) else None
    reached = {}
    if aim.goal and aim.target is not None:
        index = series.first_reached(aim.target, aim.goal, aim.hold)
        reached = {
            axis: Reached(column[-1], False) if index is None else Reached(column[index], True)
            for axis, column in series.places.items()
        }
    return RunMeasure(
        n_points=len(series),
        n_not_finite=len(series) - len(finite),
        not_finite_at={} if bad is None else series.place(bad),
        last=series.values[-1],
        best=None if best is None else finite.values[best],
        best_at={} if best is None else finite.place(best),
        ends=series.place(-1),
        common={
            axis: [_at_place(series, finite, axis, fraction * limit, aim.goal) for fraction in FRACTIONS]
            for axis, limit in limits.items()
        },
        last_quarter={axis: _last_quarter(series, axis, limit) for axis, limit in limits.items()},
        reached=reached,
    )


def _at_place(series: Series, finite: Series, axis: str, place: float, goal: str | None) -> AtPlace:
    n, n_finite = series.n_until(axis, place), finite.n_until(axis, place)
    best = finite.values[finite.best_index(goal, n_finite)] if goal and n_finite else None
    return AtPlace(place, series.values[n - 1] if n else None, best)


def _last_quarter(series: Series, axis: str, limit: float) -> list[float | None]:
    places = [limit * (1 - (N_LAST_PLACES - i) / N_LAST_PLACES / 4) for i in range(1, N_LAST_PLACES)] + [limit]
    counts = [series.n_until(axis, place) for place in places]
    return [series.values[n - 1] if n else None for n in counts]
