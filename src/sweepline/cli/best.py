"""``sweepline best``: the best configurations of a sweep."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from sweepline.analysis.differences import differing
from sweepline.analysis.effects import find_no_effects
from sweepline.analysis.ranking import rank_configs
from sweepline.analysis.significance import judge_best, without_twins
from sweepline.analysis.statistics import mean_interval
from sweepline.cli.asjson import add_json, print_json
from sweepline.cli.summary import build_summary
from sweepline.cli.target import add_target, describe_others
from sweepline.engine.recorded import RecordedSweep, open_recorded
from sweepline.errors import ConfigError, did_you_mean
from sweepline.recording.events import RunRecord
from sweepline.runs import Objective

HELP = "the best configurations, mean ± std over seeds"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_target(parser)
    parser.add_argument("--metric", metavar="NAME", help="rank by this metric instead of the sweep's objective")
    parser.add_argument("--goal", choices=["minimize", "maximize"])
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Print the best configurations of a sweep."""
    found = open_recorded(args.sweep)
    belonging = [record for record in found.records.values() if record.belongs]
    latest = next((record.identity for record in reversed(belonging)), "")
    records = [record for record in belonging if record.identity == latest]
    objective = _objective(args, found.plan, records)
    swept = [name for name in found.plan.get("parameters", {}) if len({repr(r.params.get(name)) for r in records}) > 1]
    if args.json:
        print_json(_as_json(found, records, objective))
        return 0
    for line in build_summary(records, objective=objective, logged=(), swept=swept)[1:]:
        print(line)
    for line in describe_others(found):
        print(line)
    return 0


def _as_json(found: RecordedSweep, records: Sequence[RunRecord], objective: Objective | None) -> dict[str, Any]:
    """Return the configurations, best first, each metric with its 95 % interval, and how the first stands."""
    ranked = rank_configs(records, objective)
    idle = set() if objective is None else {effect.parameter for effect in find_no_effects(records, objective.name)}
    standing = None if objective is None else judge_best(without_twins(ranked, idle), objective.name)
    return {
        "sweep": found.plan.get("sweep", found.folder.path.name),
        "objective": objective,
        "standing": None if standing is None else {"text": str(standing), "standing": standing},
        "without_effect": sorted(idle),
        "differing": differing(config.params for config in ranked),
        "configurations": [
            {
                "parameters": config.params,
                "runs": [run.run_id for run in config.runs],
                "metrics": {
                    name: mean_interval([run.metrics[name] for run in config.runs if name in run.metrics])
                    for name in config.means
                },
            }
            for config in ranked
        ],
    }


def _objective(args: argparse.Namespace, plan: Mapping[str, Any], records: Sequence[RunRecord]) -> Objective | None:
    recorded = plan.get("objective") or {}
    name = args.metric or recorded.get("name")
    if name is None:
        return None
    known = dict.fromkeys(metric for record in records for metric in record.metrics)
    if args.metric and name not in known:
        raise ConfigError(
            f"--metric {name}: no run has it{did_you_mean(name, known) or '; there are ' + ', '.join(known)}"
        )
    goal = args.goal or (recorded.get("goal") if name == recorded.get("name") else None)
    if goal is None:
        raise ConfigError(f"--metric {name}: add --goal minimize or --goal maximize")
    is_recorded = (name, goal) == (recorded.get("name"), recorded.get("goal"))
    return Objective(name=name, goal=goal, summary=recorded.get("summary", "last") if is_recorded else "last")
