"""Which configurations are best where several things are wanted at once: those that no other one beats."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from sweepline.analysis.ranking import RankedConfig
from sweepline.runs import Objective


def find_front(configs: Sequence[RankedConfig], objectives: Sequence[Objective]) -> list[RankedConfig]:
    """Return the Pareto front by the means over seeds, best first in the first objective.

    No configuration of it is beaten in one objective by another that is as good in all others. Those without a finite
    mean of every objective are left out; of equal ones all are kept.
    """
    rows = [(_costs(config, objectives), config) for config in configs]
    sound = sorted(((costs, i, config) for i, (costs, config) in enumerate(rows) if all(map(math.isfinite, costs))))
    front: list[tuple[tuple[float, ...], RankedConfig]] = []
    for costs, _, config in sound:  # whoever beats it comes before it in this order; of two objectives the last one
        rivals = front[-1:] if len(objectives) == 2 else front
        if not any(_beats(other, costs) for other, _ in rivals):
            front.append((costs, config))
    return [config for _, config in front]


def read_objectives(plan: Mapping[str, Any]) -> list[Objective]:
    """Return the objectives that ``plan.json`` tells of."""
    told = plan.get("objectives") or ([plan["objective"]] if plan.get("objective") else [])
    return [Objective(**one) for one in told]


def describe_front(n_front: int, n: int, objectives: Sequence[Objective]) -> str:
    """Return in words what a front is."""
    goals = ", ".join(f"{objective.name} ({objective.goal})" for objective in objectives)
    are = "1 configuration is" if n_front == 1 else f"{n_front} configurations are"
    return f"{are} on the Pareto front of {goals}: no other of {n} is better in one of them and as good in the rest"


def _costs(config: RankedConfig, objectives: Sequence[Objective]) -> tuple[float, ...]:
    means = config.means
    return tuple(means.get(o.name, math.nan) * (-1.0 if o.goal == "maximize" else 1.0) for o in objectives)


def _beats(first: Sequence[float], second: Sequence[float]) -> bool:
    return first != second and all(a <= b for a, b in zip(first, second, strict=True))
