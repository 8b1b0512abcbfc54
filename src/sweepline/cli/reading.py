"""``sweepline status`` and ``sweepline best``: what a sweep's folder says, while it runs or long after."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from sweepline.cli.summary import build_summary
from sweepline.config.naming import check_owner
from sweepline.config.sweepfile import SweepSettings, load_sweep
from sweepline.contract.text import display_path
from sweepline.display.formats import describe_end, format_seconds
from sweepline.engine.planfile import build_plan_record, search_hash
from sweepline.errors import ConfigError, did_you_mean
from sweepline.recording.events import EXTRA, REMOVED, RunRecord, fold
from sweepline.recording.folders import FROZEN, SweepFolder
from sweepline.recording.journal import JOURNAL, read_events
from sweepline.runs import Objective, State
from sweepline.space.plan import Plan

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
    found = _open(args.sweep)
    folder, plan = found.folder, found.plan
    records = [record for record in found.records.values() if record.belongs]
    states = Counter(record.state for record in records)
    is_running = folder.is_locked()
    if is_running is False and states[State.RUNNING]:
        states[State.INTERRUPTED] += states.pop(State.RUNNING)
    standing = {True: "running", False: "not running", None: "locks do not work here, so not known whether it runs"}
    print(f"{plan.get('sweep', folder.path.name)}: {standing[is_running]} ({display_path(folder.path)})")
    print(", ".join(f"{n} {state.value}" for state, n in states.most_common()) or "no run has started")
    if is_running:
        for record in (r for r in records if r.state == State.RUNNING):
            since = datetime.now().astimezone() - datetime.fromisoformat(record.started_at)
            print(f"  running {record.name} on {record.device} for {format_seconds(max(0.0, since.total_seconds()))}")
    ended = [record for record in records if record.is_ended]
    n_total = plan.get("n_runs")
    if isinstance(n_total, int):
        print(f"{len(ended)} of {n_total} runs have ended")
    for i, record in list(enumerate(ended, 1))[-_N_RECENT:]:
        print(f"  {describe_end(record, i, n_total)}")
    for line in _remarks(found):
        print(line)
    return 0


def _remarks(found: RecordedSweep) -> Iterator[str]:
    """Yield what a reader should know of runs that are not among those shown, and of a file edited since."""
    others = Counter(record.in_sweep for record in found.records.values() if not record.belongs)
    for standing, what in ((EXTRA, "outside the sweep file, as --set asked for"), (REMOVED, "no longer in the sweep")):
        n = others[standing]
        if n:
            yield f"and {n} run{'s' * (n > 1)} {what} (in_sweep: {standing} in the table)"
    if found.settings is not None and found.plan.get("search") not in (None, search_hash(found.settings)):
        yield f"{display_path(found.settings.path)} was edited since the last start; this is the sweep as it was then"


def best_command(args: argparse.Namespace) -> int:
    """Print the best configurations of a sweep."""
    found = _open(args.sweep)
    belonging = [record for record in found.records.values() if record.belongs]
    latest = next((record.identity for record in reversed(belonging)), "")
    records = [record for record in belonging if record.identity == latest]
    objective = _objective(args, found.plan, records)
    swept = [name for name in found.plan.get("parameters", {}) if len({repr(r.params.get(name)) for r in records}) > 1]
    for line in build_summary(records, objective=objective, logged=(), swept=swept)[1:]:
        print(line)
    for line in _remarks(found):
        print(line)
    return 0


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


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedSweep:
    """A sweep that has been run: its folder, its plan, and the settings of its file where that was named."""

    folder: SweepFolder
    plan: Mapping[str, Any]
    settings: SweepSettings | None
    records: Mapping[str, RunRecord] = field(default_factory=dict)


def find_sweep(target: Path, *, needs_journal: bool = True) -> RecordedSweep:
    """Return a sweep that has been run, from its sweep file or its folder; its records are not read.

    Raises:
        ConfigError: nothing was run there, or another file's sweep of the same name.
    """
    is_folder = (target.is_dir() and not (target / "sweep.yaml").exists()) or (target / JOURNAL).exists()
    path = target / "sweep.yaml" if target.is_dir() else target
    settings = None if is_folder else load_sweep(path)
    folder = SweepFolder(target if settings is None else settings.sweep_dir)
    if not folder.journal.exists() and (needs_journal or not folder.runs.is_dir()):
        raise ConfigError(f"{display_path(folder.path)}: no sweep has been run here; start one with sweepline run")
    plan = folder.read_plan()
    if settings is None:
        settings = _load_told(folder, plan or {})
    else:
        check_owner(settings.path, folder.path, plan or {})
    if plan is None:
        source = settings or _load_frozen(folder)
        plan = {} if source is None else build_plan_record(source, Plan(source.whole), old=None, sweep_token="")
    return RecordedSweep(folder=folder, plan=plan, settings=settings)


def _load_told(folder: SweepFolder, plan: Mapping[str, Any]) -> SweepSettings | None:
    """Return the settings of the file that a plan names, where it is still there and still this sweep's."""
    told = plan.get("sweep_file")
    if not isinstance(told, str):
        return None
    try:
        settings = load_sweep(folder.path / told)
    except ConfigError:
        return None
    return settings if settings.sweep_dir.resolve() == folder.path.resolve() else None


def _load_frozen(folder: SweepFolder) -> SweepSettings | None:
    """Return the settings of the sweep file as it was started, as far as they do not depend on where it stands."""
    try:
        return load_sweep(folder.path / FROZEN)
    except ConfigError:
        return None


def _open(target: Path) -> RecordedSweep:
    found = find_sweep(target)
    return replace(found, records=fold(read_events(found.folder.journal)))
