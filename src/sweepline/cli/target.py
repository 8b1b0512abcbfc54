"""Which sweep a command is about, and what its reader should know beside the answer."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sweepline.contract.text import display_path
from sweepline.engine.planfile import search_hash
from sweepline.engine.recorded import RecordedSweep
from sweepline.errors import ConfigError, did_you_mean
from sweepline.recording.events import EXTRA, REMOVED, RunRecord, names_in
from sweepline.runs import Objective


class _Target(argparse.Action):
    """Takes the sweep by its place or as an option; where one is given, the other's default does not undo it."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        if values is not self.default:
            setattr(namespace, self.dest, values)


def add_target(parser: argparse.ArgumentParser) -> None:
    """Declare which sweep is read: by its place, or by the option that commands about runs have."""
    parser.add_argument(
        "sweep",
        nargs="?",
        action=_Target,
        type=Path,
        default=Path("sweep.yaml"),
        metavar="SWEEP",
        help="a sweep file, or the folder of a sweep (default: sweep.yaml)",
    )
    parser.add_argument(
        "--sweep", action=_Target, type=Path, default=argparse.SUPPRESS, metavar="SWEEP", help="the same as SWEEP alone"
    )


def add_objective(parser: argparse.ArgumentParser) -> None:
    """Declare by which metric runs are ranked."""
    parser.add_argument("--metric", metavar="NAME", help="rank by this metric instead of the sweep's objective")
    parser.add_argument(
        "--goal", choices=["minimize", "maximize"], help="whether less or more of that metric is better"
    )


def comparable_records(found: RecordedSweep) -> list[RunRecord]:
    """Return the runs of a sweep whose results mean the same: those of the program and config of the latest one."""
    belonging = [record for record in found.records.values() if record.belongs]
    latest = next((record.identity for record in reversed(belonging)), "")
    return [record for record in belonging if record.identity == latest]


def read_objective(args: argparse.Namespace, plan: Mapping[str, Any], records: Sequence[RunRecord]) -> Objective | None:
    """Return the objective that is asked for, else the sweep's own; None where it has none.

    Raises:
        ConfigError: no run has the metric, or its goal is not known.
    """
    recorded = plan.get("objective") or {}
    name = args.metric or recorded.get("name")
    if name is None:
        return None
    known = names_in(record.metrics for record in records)
    if args.metric and name not in known:
        raise ConfigError(
            f"--metric {name}: no run has it{did_you_mean(name, known) or '; there are ' + ', '.join(known)}"
        )
    goal = args.goal or (recorded.get("goal") if name == recorded.get("name") else None)
    if goal is None:
        raise ConfigError(f"--metric {name}: add --goal minimize or --goal maximize")
    is_recorded = (name, goal) == (recorded.get("name"), recorded.get("goal"))
    return Objective(name=name, goal=goal, summary=recorded.get("summary", "last") if is_recorded else "last")


def describe_others(found: RecordedSweep) -> Iterator[str]:
    """Yield what a reader should know of runs that are not among those shown, and of a file edited since."""
    others = Counter(record.in_sweep for record in found.records.values() if not record.belongs)
    for standing, what in ((EXTRA, "outside the sweep file, as --set asked for"), (REMOVED, "no longer in the sweep")):
        n = others[standing]
        if n:
            yield f"and {n} run{'s' * (n > 1)} {what} (in_sweep: {standing} in the table)"
    if found.settings is not None and found.plan.get("search") not in (None, search_hash(found.settings)):
        yield f"{display_path(found.settings.path)} was edited since the last start; this is the sweep as it was then"
