"""Reads what is optimized, ``metric`` or a list of ``metrics``, and the expressions that find metrics in output."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

from sweepline.config.faults import Faults
from sweepline.config.schema import MetricModel, SeveralModel, SweepModel
from sweepline.contract.metrics import PLACES
from sweepline.contract.patterns import NUMBER, place_of
from sweepline.runs import Objective

PLACEHOLDER = "{number}"
_EXAMPLES = (
    r"as in 'Accuracy: (\d+)/' or 'Accuracy: {number}', or several that are named: "
    r"'step (?P<step>\d+) loss (?P<loss>{number})'"
)


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
    patterns: dict[str, re.Pattern[str]] = {}
    metrics = model.metrics
    named = metrics if isinstance(metrics, dict) else {one.name: one.pattern for one in metrics if one.pattern}
    for name, text in named.items():
        try:
            found = _split(name, text)
        except re.error as error:
            faults.error(("metrics", name), f"{text!r} is no regular expression: {error}")
            continue
        if not found:
            faults.error(("metrics", name), f"{text!r} needs one group for the number, {_EXAMPLES}")
        twice = next((other for other in found if other in patterns and other not in PLACES), None)
        if twice is not None:
            faults.error(("metrics", name), f"{twice} is found by another expression as well")
        patterns |= {_unused(other, patterns): pattern for other, pattern in found.items()}
    return patterns


def _split(name: str, text: str) -> dict[str, re.Pattern[str]]:
    """Return the expressions that an expression stands for, each with one group; none where its groups are unclear.

    ``{number}`` stands for a number. Of several groups each finds what it is called: a metric, or ``step``, ``epoch``
    or ``samples``, which place the others.
    """
    has_group = re.compile(text.replace(PLACEHOLDER, "")).groups > 0
    text = text.replace(PLACEHOLDER, f"(?:{NUMBER})" if has_group else f"({NUMBER})")
    whole = re.compile(text)
    if whole.groups == 1:
        return {name: whole}
    if whole.groups != len(whole.groupindex):
        return {}
    return {group: re.compile(_only_group(text, group)) for group in whole.groupindex}


def _unused(name: str, patterns: Mapping[str, re.Pattern[str]]) -> str:
    """Return a name under which an expression is kept: several may tell the same place."""
    n = sum(place_of(other) == name for other in patterns) if name in PLACES else 0
    return f"{name} {n + 1}" if n else name


def _only_group(text: str, name: str) -> str:
    """Return an expression in which one of the named groups is a group."""
    return re.sub(r"\(\?P<(\w+)>", lambda found: found[0] if found[1] == name else "(?:", text)
