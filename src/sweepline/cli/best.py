"""``sweepline best``: the best configurations of a sweep."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from sweepline.analysis.differences import differing
from sweepline.analysis.effects import find_no_effects
from sweepline.analysis.pareto import find_front, read_objectives
from sweepline.analysis.racing import find_standing, rank_raced, read_race
from sweepline.analysis.statistics import mean_interval
from sweepline.cli.asjson import add_json, print_json
from sweepline.cli.summary import build_summary
from sweepline.cli.target import add_objective, add_target, comparable_records, describe_others, read_objective
from sweepline.display.widths import columns_of
from sweepline.engine.recorded import RecordedSweep, open_recorded
from sweepline.recording.events import RunRecord
from sweepline.runs import Objective

HELP = "the best configurations, mean ± std and 95 % interval over seeds, and whether the first can be told apart"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_target(parser)
    add_objective(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Print the best configurations of a sweep."""
    found = open_recorded(args.sweep)
    records = comparable_records(found)
    objective = read_objective(args, found.plan, records)
    objectives = [] if args.metric else read_objectives(found.plan)
    swept = [name for name in found.plan.get("parameters", {}) if len({repr(r.params.get(name)) for r in records}) > 1]
    if args.json:
        print_json(_as_json(found, records, objective, objectives))
        return 0
    race = read_race(found.plan)
    lines = build_summary(
        records,
        objective=objective,
        objectives=objectives,
        logged=(),
        swept=swept,
        has_intervals=True,
        race=race,
        runs_dir=found.folder.runs,
        width=columns_of(sys.stdout),
    )
    for line in lines[1:]:
        print(line)
    for line in describe_others(found):
        print(line)
    return 0


def _as_json(
    found: RecordedSweep, records: Sequence[RunRecord], objective: Objective | None, objectives: Sequence[Objective]
) -> dict[str, Any]:
    """Return the configurations, best first, each metric with its 95 % interval, and how the first stands."""
    race = read_race(found.plan)
    ranked = rank_raced(records, objective, race)
    idle = set() if objective is None else {effect.parameter for effect in find_no_effects(records, objective.name)}
    standing = None
    if objective is not None and len(objectives) < 2:
        standing = find_standing(records, ranked, objective, race, idle)
    front = {id(config) for config in find_front(ranked, objectives)} if len(objectives) > 1 else None
    return {
        "sweep": found.plan.get("sweep", found.folder.path.name),
        "objective": objective,
        "standing": None if standing is None else {"text": str(standing), "standing": standing},
        "objectives": objectives,
        "front": None if front is None else [i for i, config in enumerate(ranked) if id(config) in front],
        "without_effect": sorted(idle),
        "differing": differing(config.params for config in ranked),
        "configurations": [
            {
                "parameters": config.params,
                "runs": [run.run_id for run in config.runs],
                "metrics": {name: mean_interval(config.values_of(name)) for name in config.means},
            }
            for config in ranked
        ],
    }
