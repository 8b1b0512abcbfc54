"""What there is to say of runs beside their metrics: which parameters differ, how fast they ran, gradient spikes."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sweepline.analysis.differences import differing
from sweepline.analysis.series import SAMPLES, STEP, TIME, RunHistory, Side
from sweepline.runs import canonical_json

_GRADIENT, _NORM = re.compile(r"grad", re.I), re.compile(r"norm", re.I)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spikes:
    """The gradient norms above a limit, or not finite, of one run."""

    label: str
    run: str
    metric: str
    n_spikes: int
    n_points: int
    greatest: float
    first_at: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Identical:
    """Metrics of one run that have the same values, one by one: one may be logged under the name of the other."""

    label: str
    run: str
    metrics: Sequence[str]
    n_points: int


def differing_parameters(sides: Sequence[Side]) -> dict[str, list[Any]]:
    """Return by name the values of each side, for what differs; None where a side lacks it or all that is known of it.

    A side whose runs have several values of a parameter has the list of them. The seed counts as one.
    """
    settings = [_fold([{**run.params, **_seed(run)} for run in side.runs]) for side in sides]
    names = differing([setting for setting in settings if setting])
    return {name: [setting.get(name) for setting in settings] for name in names}


def _fold(settings: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what runs were set to: a parameter of several values has the list of them."""
    found: dict[str, dict[str, Any]] = {}
    for setting in settings:
        for name, value in setting.items():
            found.setdefault(name, {})[canonical_json(value)] = value
    return {
        name: [*values.values()] if len(values) > 1 else next(iter(values.values())) for name, values in found.items()
    }


def _seed(run: RunHistory) -> dict[str, Any]:
    return {} if run.seed is None else {"seed": run.seed}


def measure_throughput(sides: Sequence[Side], objective: str | None) -> dict[str, list[float | None]]:
    """Return steps and samples per second, the mean over the runs of each side; None where they are not known."""
    found = {}
    for name, axis in (("steps/s", STEP), ("samples/s", SAMPLES)):
        rates = [[rate for run in side.runs if (rate := _rate(run, axis, objective)) is not None] for side in sides]
        if any(rates):
            found[name] = [statistics.fmean(own) if own else None for own in rates]
    return found


def _rate(run: RunHistory, axis: str, objective: str | None) -> float | None:
    """Return how far a run came per second: by the points of the objective, else of the metric that has most."""
    timed = [
        series
        for name, series in sorted(run.series.items(), key=lambda item: (item[0] != objective, -len(item[1])))
        if axis in series.places and TIME in series.places and series.places[TIME][-1] > series.places[TIME][0]
    ]
    if timed:
        places, times = timed[0].places[axis], timed[0].places[TIME]
        return (places[-1] - places[0]) / (times[-1] - times[0])
    bounds = run.bounds(axis)
    return bounds[1] / run.duration_s if bounds is not None and run.duration_s else None


def find_spikes(side: Side, run: RunHistory, limit: float) -> list[Spikes]:
    """Return for each gradient norm of a run its values above a limit; those that are not finite are some."""
    found = []
    for name, series in run.series.items():
        if not (_GRADIENT.search(name) and _NORM.search(name)):
            continue
        spikes = [i for i, value in enumerate(series.values) if not value <= limit]
        greatest = max(series.values, key=lambda value: math.inf if math.isnan(value) else value)
        found.append(
            Spikes(
                label=side.label,
                run=run.name,
                metric=name,
                n_spikes=len(spikes),
                n_points=len(series),
                greatest=greatest,
                first_at=series.place(spikes[0]) if spikes else {},
            )
        )
    return found
