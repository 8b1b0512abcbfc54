"""``sweepline status`` and ``sweepline best``: what a sweep's folder says, while it runs or long after."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from sweepline.cli.summary import build_summary
from sweepline.config.sweepfile import load_sweep
from sweepline.display import describe_end, format_seconds
from sweepline.errors import ConfigError, did_you_mean
from sweepline.recording.folders import SweepFolder
from sweepline.recording.history import RunRecord, fold
from sweepline.recording.journal import JOURNAL, read_events
from sweepline.runs import Objective, State
from sweepline.values import display_path

_N_RECENT = 5


def add_target(parser: argparse.ArgumentParser) -> None:
    """Declare which sweep is read."""
    parser.add_argument(
        "sweep",
        nargs="?",
        type=Path,
        default=Path("sweep.yaml"),
        metavar="SWEEP",
        help="a sweep file, or the folder of a sweep (default: sweep.yaml)",
    )


def status_command(args: argparse.Namespace) -> int:
    """Print how a sweep stands."""
    folder, records = _open(args.sweep)
    plan = folder.read_plan() or {}
    states = Counter(record.state for record in records.values())
    is_running = folder.is_locked()
    if not is_running and states[State.RUNNING]:
        states[State.INTERRUPTED] += states.pop(State.RUNNING)
    standing = "running" if is_running else "not running"
    print(f"{plan.get('sweep', folder.path.name)}: {standing} ({display_path(folder.path)})")
    print(", ".join(f"{n} {state.value}" for state, n in states.most_common()) or "no run has started")
    if is_running:
        for record in (r for r in records.values() if r.state == State.RUNNING):
            since = datetime.now().astimezone() - datetime.fromisoformat(record.started_at)
            print(f"  running {record.name} on {record.device} for {format_seconds(max(0.0, since.total_seconds()))}")
    ended = [record for record in records.values() if record.is_ended]
    n_total = plan.get("n_runs")
    if isinstance(n_total, int):
        print(f"{len(ended)} of {n_total} runs have ended")
    for i, record in list(enumerate(ended, 1))[-_N_RECENT:]:
        print(f"  {describe_end(record, i, n_total)}")
    return 0


def best_command(args: argparse.Namespace) -> int:
    """Print the best configurations of a sweep."""
    folder, found = _open(args.sweep)
    plan = folder.read_plan() or {}
    latest = next((record.identity for record in reversed(found.values())), "")
    records = {run_id: record for run_id, record in found.items() if record.identity == latest}
    objective = _objective(args, plan, records)
    swept = [
        name for name in plan.get("parameters", {}) if len({repr(r.params.get(name)) for r in records.values()}) > 1
    ]
    for line in build_summary(list(records.values()), objective=objective, logged=(), swept=swept)[1:]:
        print(line)
    return 0


def _objective(args: argparse.Namespace, plan: Mapping[str, Any], records: Mapping[str, RunRecord]) -> Objective | None:
    recorded = plan.get("objective") or {}
    name = args.metric or recorded.get("name")
    if name is None:
        return None
    known = dict.fromkeys(metric for record in records.values() for metric in record.metrics)
    if args.metric and name not in known:
        raise ConfigError(
            f"--metric {name}: no run has it{did_you_mean(name, known) or '; there are ' + ', '.join(known)}"
        )
    goal = args.goal or (recorded.get("goal") if name == recorded.get("name") else None)
    if goal is None:
        raise ConfigError(f"--metric {name}: add --goal minimize or --goal maximize")
    is_recorded = (name, goal) == (recorded.get("name"), recorded.get("goal"))
    return Objective(name=name, goal=goal, summary=recorded.get("summary", "last") if is_recorded else "last")


def find_folder(target: Path) -> SweepFolder:
    """Return the folder of a sweep that has been run, from its sweep file or its own path.

    Raises:
        ConfigError: nothing was run there.
    """
    is_folder = (target.is_dir() and not (target / "sweep.yaml").exists()) or (target / JOURNAL).exists()
    path = target / "sweep.yaml" if target.is_dir() else target
    folder = SweepFolder(target if is_folder else load_sweep(path).sweep_dir)
    if not folder.journal.exists():
        raise ConfigError(f"{display_path(folder.path)}: no sweep has been run here; start one with sweepline run")
    return folder


def _open(target: Path) -> tuple[SweepFolder, dict[str, RunRecord]]:
    folder = find_folder(target)
    return folder, fold(read_events(folder.journal))
