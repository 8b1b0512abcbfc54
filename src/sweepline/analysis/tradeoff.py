"""The golden middle: the setting of one or two parameters beyond which more quality costs too much, or none is left.

The knee of the Pareto front of quality and cost: the setting farthest from the line between the front's two ends when
both are scaled to 0 .. 1 (the geometry of Satopaa et al., Finding a Kneedle in a Haystack, 2011). Without a cost it is
the setting of the best quality.
"""

from __future__ import annotations

import itertools
import math
import random
import statistics
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sweepline.analysis.statistics import Interval, mean_interval
from sweepline.contract.values import is_number
from sweepline.recording.events import RunRecord
from sweepline.runs import Objective

N_RESAMPLES = 500
DURATION = "duration_s"
_GEOMETRIC_FROM = 4.0  # positive values that reach this multiple of the smallest are steps of a factor
Setting = tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """The runs of one setting: their mean quality and cost with intervals, over ``n_runs``."""

    setting: Setting
    quality: Interval
    cost: Interval | None
    n_runs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenMiddle:
    """Where the middle is, and how sure that is.

    ``support`` is the share of resamples over the runs of each setting in which it is this one; None where no setting
    ran twice. ``next_values`` are values to try for the parameters whose tested range ends at the middle. ``cost`` is
    what the quality was weighed against; None: nothing.
    """

    parameters: Sequence[str]
    cost: str | None
    middle: Cell
    cells: Sequence[Cell]
    front: Sequence[Cell]
    neighbours: Sequence[Cell]
    support: float | None
    rival: Setting | None
    next_values: Mapping[str, Sequence[float]]

    @property
    def name(self) -> str:
        """The setting of the middle in words."""
        return describe_setting(self.parameters, self.middle.setting)

    @property
    def is_at_edge(self) -> bool:
        """Whether the tested range ends at the middle, so that it may lie beyond."""
        return bool(self.next_values)

    def __str__(self) -> str:
        cost = self.middle.cost
        quality = f"{self.middle.quality.mean:.3g}"
        found = "" if cost is None or self.cost is None else f" has {quality} at {_tell(self.cost, cost.mean)}"
        where = f"{self.name}{found}"
        if self.support is None:
            sure = "no setting ran twice, so how sure that is is not known"
        else:
            sure = f"in {self.support:.0%} of resamples over seeds"
            if self.rival is not None:
                sure += f", else mostly {describe_setting(self.parameters, self.rival)}"
        what = "" if self.cost is None else f" of quality and {'duration' if self.cost == DURATION else self.cost}"
        if not self.is_at_edge:
            return f"golden middle{what}: {where} ({sure})"
        what = f"golden middle{what}" if what else "best"
        tries = "; ".join(f"{name}: {', '.join(f'{v:g}' for v in values)}" for name, values in self.next_values.items())
        return f"{what} at the edge of the tested range: {where} ({sure}); next to try: {tries}"


def _tell(cost: str, value: float) -> str:
    return f"{value:.3g} s" if cost == DURATION else f"{cost} {value:.3g}"


def describe_setting(parameters: Sequence[str], setting: Setting) -> str:
    """Return ``batch_size=512, lr=0.1``."""
    return ", ".join(f"{name}={value:g}" for name, value in zip(parameters, setting, strict=True))


def find_golden_middle(
    records: Sequence[RunRecord], objective: Objective, parameters: Sequence[str], *, cost: str | None = None
) -> GoldenMiddle | None:
    """Return the golden middle over one or two numeric parameters; None where no run with a number for each has ended.

    Args:
        records: runs; those without a finite result are left out.
        objective: the quality.
        parameters: their names. Runs that differ in others only count as runs of one setting.
        cost: a metric of which less is better, or ``duration_s``; None: quality alone counts.
    """
    runs: dict[Setting, list[tuple[float, float]]] = {}
    tried = set()  # also where every run failed or diverged: beyond that, nothing is left to be tried
    for record in records:
        setting = _setting_of(record, parameters)
        values = (record.metrics.get(objective.name, math.nan), _cost_of(record, cost))
        if setting is not None and record.is_ended:
            tried.add(setting)
        if setting is not None and record.has_result and all(map(math.isfinite, values)):
            runs.setdefault(setting, []).append(values)
    if not runs:
        return None
    cells = {setting: _cell(setting, found, has_cost=cost is not None) for setting, found in sorted(runs.items())}
    sign = -1.0 if objective.goal == "maximize" else 1.0
    points = {s: (sign * c.quality.mean, c.cost.mean if c.cost else 0.0) for s, c in cells.items()}
    chosen, front = _knee(points)
    support, rival = _support(runs, chosen, sign)
    return GoldenMiddle(
        parameters=tuple(parameters),
        cost=cost,
        middle=cells[chosen],
        cells=list(cells.values()),
        front=[cells[setting] for setting in front],
        neighbours=[cells[s] for s in _neighbours(chosen, list(cells))],
        support=support,
        rival=rival,
        next_values=_beyond(parameters, chosen, tried),
    )


def _setting_of(record: RunRecord, parameters: Sequence[str]) -> Setting | None:
    values: list[Any] = [record.params.get(name) for name in parameters]
    return tuple(map(float, values)) if all(map(is_number, values)) else None


def _cost_of(record: RunRecord, cost: str | None) -> float:
    if cost is None:
        return 0.0
    return record.duration_s if cost == DURATION else record.metrics.get(cost, math.nan)


def _cell(setting: Setting, values: Sequence[tuple[float, float]], *, has_cost: bool) -> Cell:
    quality, cost = ([value[i] for value in values] for i in (0, 1))
    of_cost = mean_interval(cost) if has_cost else None
    return Cell(setting=setting, quality=mean_interval(quality), cost=of_cost, n_runs=len(values))


def _knee(points: Mapping[Setting, tuple[float, float]]) -> tuple[Setting, list[Setting]]:
    """Return the knee of the Pareto front of points to minimize, and the front from the best quality on."""
    front: list[Setting] = []
    for setting in sorted(points, key=lambda s: points[s]):
        if not front or points[setting][1] < points[front[-1]][1]:
            front.append(setting)
    (quality_low, cost_high), (quality_high, cost_low) = points[front[0]], points[front[-1]]
    if len(front) < 3:
        return front[0], front

    def distance(setting: Setting) -> float:
        quality, cost = points[setting]
        return 1 - (quality - quality_low) / (quality_high - quality_low) - (cost - cost_low) / (cost_high - cost_low)

    return max(front, key=distance), front


def _support(
    runs: Mapping[Setting, Sequence[tuple[float, float]]], chosen: Setting, sign: float
) -> tuple[float | None, Setting | None]:
    """Return in which share of bootstrap resamples the knee is the chosen one, and which it is else most often."""
    if all(len(values) < 2 for values in runs.values()):
        return None, None
    draw = random.Random(0).choices
    found: Counter[Setting] = Counter()
    for _ in range(N_RESAMPLES):
        points = {}
        for setting, values in runs.items():
            drawn = draw(values, k=len(values)) if len(values) > 1 else values
            points[setting] = (sign * statistics.fmean(v[0] for v in drawn), statistics.fmean(v[1] for v in drawn))
        found[_knee(points)[0]] += 1
    rivals = [setting for setting, _ in found.most_common() if setting != chosen]
    return found[chosen] / N_RESAMPLES, rivals[0] if rivals else None


def _neighbours(chosen: Setting, settings: Sequence[Setting]) -> list[Setting]:
    """Return the tested settings that are one step away in one parameter."""
    found = []
    for i in range(len(chosen)):
        line = sorted(s for s in settings if s[:i] + s[i + 1 :] == chosen[:i] + chosen[i + 1 :])
        at = line.index(chosen)
        found += line[max(0, at - 1) : at] + line[at + 1 : at + 2]
    return found


def _beyond(parameters: Sequence[str], chosen: Setting, settings: Collection[Setting]) -> dict[str, list[float]]:
    """Return two values to try next for each parameter whose range ends at the chosen setting."""
    found = {}
    for i, name in enumerate(parameters):
        values = sorted({setting[i] for setting in settings})
        if len(values) > 1 and chosen[i] in (values[0], values[-1]):
            found[name] = _next_values(values, upwards=chosen[i] == values[-1])
    return found


def _next_values(values: Sequence[float], *, upwards: bool) -> list[float]:
    """Go on with the steps of the values: by their factor where they are steps of one, else by their difference."""
    edge, inner = (values[-1], values[-2]) if upwards else (values[0], values[1])
    is_whole = all(float(value).is_integer() for value in values)
    if values[0] > 0 and values[-1] >= _GEOMETRIC_FROM * values[0]:
        found = list(itertools.accumulate([edge / inner] * 2, lambda value, factor: value * factor, initial=edge))[1:]
    else:
        found = [edge + (edge - inner) * k for k in (1, 2)]
    found = [float(f"{value:.3g}") if not is_whole else value for value in found]
    return [value for value in found if not is_whole or (value.is_integer() and value >= min(1.0, values[0]))]
