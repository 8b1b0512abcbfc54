"""Reads what is optimized, ``metric`` or a list of ``metrics``, and the expressions that find metrics in output."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from sweepline.config.faults import Faults
from sweepline.config.schema import MetricModel, SeveralModel, SweepModel
from sweepline.runs import Objective


def read_objectives(model: SweepModel, faults: Faults) -> tuple[Objective, ...]:
    """Return what is optimized: one thing, several, or nothing."""
    metric, several = model.metric, several_of(model)
    if metric is not None and several:
        faults.error(("metrics",), "is a list of objectives, and metric names one more: keep one of them")
    twice = [name for name, n in Counter(one.name for one in several).items() if n > 1]
    if twice:
        faults.error(("metrics",), f"{twice[0]} stands here twice")
    found: Sequence[MetricModel] = several or ([metric] if metric is not None else [])
    if not found and "metric" not in faults.document.value:
        faults.warn((), "no metric: the best run cannot be told; add metric: {name: ..., goal: minimize}")
    return tuple(Objective(name=one.name, goal=one.goal, summary=one.summary) for one in found)


def several_of(model: SweepModel) -> Sequence[SeveralModel]:
    """Return the objectives where ``metrics`` is a list."""
    return model.metrics if isinstance(model.metrics, tuple) else ()


def read_patterns(model: SweepModel, faults: Faults) -> dict[str, re.Pattern[str]]:
    """Return the expressions by metric."""
    patterns = {}
    metrics = model.metrics
    named = metrics if isinstance(metrics, dict) else {one.name: one.pattern for one in metrics if one.pattern}
    for name, text in named.items():
        try:
            patterns[name] = re.compile(text)
        except re.error as error:
            faults.error(("metrics", name), f"{text!r} is no regular expression: {error}")
            continue
        if patterns[name].groups != 1:
            faults.error(("metrics", name), f"{text!r} needs one group for the number, as in 'Accuracy: (\\d+)/'")
    return patterns
