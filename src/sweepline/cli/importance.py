"""``sweepline importance``: which parameters matter, and how the metric goes with each."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sweepline.analysis.differences import differing
from sweepline.analysis.effects import find_no_effects
from sweepline.analysis.importance import Importance, MarginalEffect, find_importance, marginal_effects
from sweepline.analysis.ranking import without_seed
from sweepline.cli.asjson import add_json, print_json
from sweepline.cli.summary import describe_goal
from sweepline.cli.target import add_objective, add_target, comparable_records, describe_others, read_objective
from sweepline.contract.text import printable
from sweepline.display.formats import align_columns
from sweepline.engine.recorded import open_recorded
from sweepline.errors import ConfigError
from sweepline.recording.events import RunRecord
from sweepline.reports.numbers import format_plus_minus
from sweepline.runs import Objective, State

HELP = "which parameters matter, and the mean ± std of the metric for each of their values"
DESCRIPTION = (
    "Says which parameters of a sweep matter for its objective, as shares of the variance that they explain, and "
    "gives the mean ± std of the metric for each value of each. It needs at least four finished runs."
)
EXAMPLES = (
    ("sweepline importance", "of ./sweep.yaml"),
    ("sweepline importance outputs/lr --metric loss --goal minimize --json", "for another metric, as JSON"),
)
_MAX_VALUE_CHARS = 32


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_target(parser)
    add_objective(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Print the importance of the parameters of a sweep.

    Raises:
        ConfigError: the sweep has no objective, or too few runs to tell.
    """
    found = open_recorded(args.sweep)
    records = comparable_records(found)
    objective = read_objective(args, found.plan, records)
    if objective is None:
        raise ConfigError("the sweep has no metric to rank by: add --metric NAME --goal minimize or maximize")
    names = differing(without_seed(record.params) for record in records)
    effects = find_no_effects(records, objective.name)
    importance = find_importance(records, objective, names, idle={effect.parameter for effect in effects})
    if importance is None:
        raise ConfigError(
            "importance needs a parameter that varies, and at least four runs that finished with a number for "
            f"{objective.name}"
        )
    marginal = {name: marginal_effects(records, objective, name) for name in importance.shares}
    if args.json:
        print_json(
            {
                "sweep": found.plan.get("sweep", found.folder.path.name),
                "objective": objective,
                "importance": {"text": str(importance), "is_doubtful": importance.is_doubtful, **asdict(importance)},
                "without_effect": [effect.parameter for effect in effects],
                "marginal_effects": marginal,
            }
        )
        return 0
    print(printable(f"importance for {objective.name} ({describe_goal(objective)}), {importance}"))
    print()
    for line in _table(importance, marginal, objective):
        print(printable(line))
    for line in [*_describe_limits(found.plan, records), *map(str, effects), *describe_others(found)]:
        print(printable(line))
    return 0


def _describe_limits(plan: Mapping[str, Any], records: Sequence[RunRecord]) -> Iterator[str]:
    """Yield what these figures do not say."""
    n_stopped = sum(record.state == State.PRUNED for record in records)
    if n_stopped:
        yield f"{n_stopped} runs that were stopped early are left out: of bad values the better runs are seen"
    if plan.get("method") == "bayes":
        yield (
            "a model chose the runs: where it saw little good there are few of them, and a mean there rests on those "
            "few; values that it tried together are told apart by nothing"
        )


def _table(importance: Importance, marginal: dict[str, list[MarginalEffect]], objective: Objective) -> list[str]:
    has_diverged = any(effect.n_diverged for effects in marginal.values() for effect in effects)
    rows = [["parameter", "share", "value", f"mean {objective.name} ± std", "runs", *(["diverged"] * has_diverged)]]
    for name, share in importance.shares.items():
        values = _describe_values(marginal[name])
        for i, effect in enumerate(marginal[name]):
            first = [name, f"{share:.0%}"] if i == 0 else ["", ""]
            diverged = [str(effect.n_diverged) if effect.n_diverged else ""] if has_diverged else []
            rows.append([*first, values[i], _describe_result(effect), str(effect.n), *diverged])
    return align_columns(rows)


def _describe_values(effects: Sequence[MarginalEffect]) -> list[str]:
    """Return the values, or ranges of them, with as many digits as tell them apart."""
    for n_digits in range(4, 18):
        ends = [[_describe_value(value, n_digits) for value in (effect.low, effect.high)] for effect in effects]
        texts = [low if low == high else f"{low} … {high}" for low, high in ends]
        if len(set(texts)) == len(texts):
            break
    return [_cut(text) for text in texts]


def _describe_value(value: Any, n_digits: int) -> str:
    if isinstance(value, float):
        return f"{value:.{n_digits}g}"
    return "-" if value is None else str(value)


def _cut(text: str) -> str:
    """Return a text with its two ends, which tell paths and names apart."""
    half = (_MAX_VALUE_CHARS - 1) // 2
    return text if len(text) <= _MAX_VALUE_CHARS else f"{text[:half]}…{text[-half:]}"


def _describe_result(effect: MarginalEffect) -> str:
    return "-" if math.isnan(effect.mean) else format_plus_minus(effect.mean, effect.spread)
