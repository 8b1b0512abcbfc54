"""``sweepline status`` and ``sweepline best``: what a sweep's folder says, while it runs or long after."""

from __future__ import annotations

import argparse
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

from sweepline.cli.summary import build_summary
from sweepline.config.sweepfile import load_sweep
from sweepline.display import describe_end, format_seconds
from sweepline.errors import ConfigError
from sweepline.recording.folders import SweepFolder
from sweepline.recording.history import RunRecord, fold
from sweepline.recording.journal import read_events
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
            print(f"  running {record.name} on {record.device} for {format_seconds(since.total_seconds())}")
    ended = [record for record in records.values() if record.is_ended]
    for i, record in list(enumerate(ended, 1))[-_N_RECENT:]:
        print(f"  {describe_end(record, i, len(records))}")
    return 0


def best_command(args: argparse.Namespace) -> int:
    """Print the best configurations of a sweep."""
    folder, records = _open(args.sweep)
    plan = folder.read_plan() or {}
    objective = _objective(args, plan)
    swept = [
        name for name in plan.get("parameters", {}) if len({repr(r.params.get(name)) for r in records.values()}) > 1
    ]
    for line in build_summary(list(records.values()), objective=objective, logged=(), swept=swept)[1:]:
        print(line)
    return 0


def _objective(args: argparse.Namespace, plan: dict[str, Any]) -> Objective | None:
    if args.metric:
        return Objective(name=args.metric, goal=args.goal or "minimize")
    recorded = plan.get("objective")
    return Objective(name=recorded["name"], goal=args.goal or recorded["goal"]) if recorded else None


def _open(target: Path) -> tuple[SweepFolder, dict[str, RunRecord]]:
    folder = SweepFolder(target if target.is_dir() else load_sweep(target).sweep_dir)
    if not folder.journal.exists():
        raise ConfigError(f"{display_path(folder.path)}: no sweep has been run here; start one with sweepline run")
    return folder, fold(read_events(folder.journal))
