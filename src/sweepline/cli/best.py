"""``sweepline best``: the best configurations of a sweep."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from sweepline.analysis.differences import differing
from sweepline.analysis.effects import find_no_effects
from sweepline.analysis.pareto import find_front, read_objectives
from sweepline.analysis.racing import find_standing, rank_raced, read_race
from sweepline.analysis.ranking import RankedConfig
from sweepline.analysis.statistics import mean_interval
from sweepline.cli.asjson import add_json, print_json
from sweepline.cli.show import notes_on_command, read_command
from sweepline.cli.summary import build_summary
from sweepline.cli.target import add_objective, add_target, comparable_records, describe_others, read_objective
from sweepline.contract.text import display_path
from sweepline.display.widths import columns_of
from sweepline.engine.recorded import RecordedSweep, open_recorded
from sweepline.recording.events import RunRecord
from sweepline.runs import Objective

HELP = "the best configurations, mean ± std and 95 % interval over seeds, and whether the first can be told apart"
DESCRIPTION = (
    "Ranks the configurations of a sweep by its objective: the mean over the seeds, the standard deviation and the 95 "
    "% interval, and whether the first can be told apart from the next. Only runs of the latest program and config "
    "are compared."
)
EXAMPLES = (
    ("sweepline best", "the best of ./sweep.yaml"),
    ("sweepline best outputs/lr --metric loss --goal minimize", "by another metric than the sweep's objective"),
    ("sweepline best --json", "all configurations, best first, for a program"),
)


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
    for line in [*lines[1:], *_describe_best(found, rank_raced(records, objective, race), objective)]:
        print(line)
    for line in describe_others(found):
        print(line)
    return 0


def _describe_best(found: RecordedSweep, ranked: Sequence[RankedConfig], objective: Objective | None) -> Iterator[str]:
    """Yield where the best run is, and the line that does it again."""
    best = _best_run(ranked, objective)
    if best is None:
        return
    run_dir = found.folder.run_dir(best.run_id)
    yield ""
    yield f"best run  {best.name} ({best.run_id})"
    yield f"folder    {display_path(run_dir)}"
    command = read_command(run_dir)
    if command:
        yield f"by hand   {command}"
        yield from (f"          ({note})" for note in notes_on_command(command, best.run_id))


def _best_run(ranked: Sequence[RankedConfig], objective: Objective | None) -> RunRecord | None:
    """Return the best run of the first configuration; None where nothing says what is best."""
    if objective is None or not ranked:
        return None
    runs = sorted(ranked[0].runs, key=lambda run: objective.sort_key(run.metrics.get(objective.name)))
    return runs[0] if objective.name in runs[0].metrics else None


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
    best = _best_run(ranked, objective)
    run_dir = None if best is None else found.folder.run_dir(best.run_id)
    front = {id(config) for config in find_front(ranked, objectives)} if len(objectives) > 1 else None
    return {
        "sweep": found.plan.get("sweep", found.folder.path.name),
        "objective": objective,
        "standing": None if standing is None else {"text": str(standing), "standing": standing},
        "best_run": None
        if best is None or run_dir is None
        else {"id": best.run_id, "name": best.name, "path": run_dir, "command": read_command(run_dir)},
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
