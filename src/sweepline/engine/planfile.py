"""``plan.json``: what a sweep was started with. Settings, seeds, versions, git commit, hashes of every input."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from sweepline import __version__
from sweepline.analysis.racing import Race, plan_race
from sweepline.config.settings import SweepSettings
from sweepline.executors.local.slots import Slots
from sweepline.recording.events import ADDED, RunRecord
from sweepline.runs import Objective
from sweepline.space.plan import Plan, count_all
from sweepline.space.shards import Part

VERSION = 1


def build_plan_record(
    settings: SweepSettings,
    plan: Plan,
    *,
    old: Mapping[str, Any] | None,
    sweep_token: str,
    slots: Slots | None = None,
    threads: int | None = None,
    code: Mapping[str, str] | None = None,
    part: Part | None = None,
) -> dict[str, Any]:
    """Return the content of ``plan.json``: of the whole file, whatever ``--set`` picks of it.

    The starts of ``old`` are kept. ``slots`` and ``threads`` are those of this start, None where nothing is started;
    ``code`` holds a hash of each of the program's files; ``part`` is that of the runs that this start was asked for.
    """
    space, objective = settings.whole, settings.objective
    start = {"at": datetime.now().astimezone().isoformat(timespec="seconds"), "argv": sys.argv[1:]}
    return {
        "version": VERSION,
        "sweep": settings.name,
        "sweep_file": os.path.relpath(settings.path, settings.sweep_dir),
        "sweep_token": sweep_token,
        "sweepline": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "host": platform.node(),
        "git_commit": _git_commit(settings.experiment_dir),
        "inputs": _hash_inputs(settings),
        "code": dict(code or {}),
        "search": search_hash(settings),
        "reading": reading_hash(settings),
        "method": space.method,
        "n_combinations": plan.n_combinations,
        "n_runs": _n_runs(plan),
        "shard": None if part is None else asdict(part),
        "limit": space.limit,
        "seeds": list(space.seeds),
        "sampler_seed": space.sampler_seed,
        "parameters": {name: repr(parameter) for name, parameter in space.parameters.items()},
        "constraints": [constraint.text for constraint in space.constraints],
        "objective": None if objective is None else describe_objective(objective),
        "objectives": [describe_objective(one) for one in settings.objectives],
        "race": _describe_race(settings) or (old or {}).get("race"),
        "slots": None if slots is None else _describe_slots(slots),
        "runs_per_device": settings.runs_per_device,
        "max_concurrent": None if slots is None else slots.n_max,
        "threads": threads,
        "logged_metrics": list(settings.logged_metrics),
        "reserved_metrics": settings.reserved_metrics,
        "table_label": settings.table_label,
        "align": None if settings.align is None else settings.align.model_dump(by_alias=True),
        "csv": os.path.relpath(settings.csv_path or settings.sweep_dir / "runs.csv", settings.sweep_dir),
        "starts": [*((old or {}).get("starts") or []), start],
    }


def _describe_slots(slots: Slots) -> list[str]:
    """Return the slots by name; of devices that as many runs share as fit, each device once."""
    labels = [slot.label for slot in slots.all]
    return list(dict.fromkeys(labels)) if slots.is_packed else labels


def _n_runs(plan: Plan) -> int | None:
    """Return how many runs there are, as far as that is known before they are proposed."""
    if not plan.is_enumerable and plan.sampler.n_total is not None:
        return plan.sampler.n_total * plan.n_seeds
    return plan.n_runs(count_all(plan)) if plan.is_small else None


def count_planned(plan: Mapping[str, Any], records: Iterable[RunRecord]) -> int | None:
    """Return how many runs a sweep has: what ``plan.json`` tells, and those added to it; None: not known."""
    told = plan.get("n_runs")
    return told + sum(record.in_sweep in ADDED for record in records) if isinstance(told, int) else None


def race_of(settings: SweepSettings) -> Race | None:
    """Return the race that a sweep ends with."""
    space, objective = settings.whole, settings.objective
    if settings.race is None or objective is None:
        return None
    return plan_race(settings.race, objective.name, space.seeds, space.sampler_seed)


def _describe_race(settings: SweepSettings) -> dict[str, Any] | None:
    race = race_of(settings)
    return (
        None
        if race is None
        else {"top": race.top, "seeds": list(race.seeds), "alpha": race.alpha, "metric": race.metric}
    )


def describe_objective(objective: Objective) -> dict[str, str]:
    """Return an objective as records tell it; the summary where it is not the last value."""
    summary = {} if objective.summary == "last" else {"summary": objective.summary}
    return {"name": objective.name, "goal": objective.goal, **summary}


def search_hash(settings: SweepSettings) -> str:
    """Return a hash of all that decides which runs there are, whatever the layout and comments of the files."""
    space = settings.whole
    text = repr((space.parameters, space.constraints, space.method, space.sampler_seed, space.limit, space.seeds))
    if space.zipped or space.listed:
        text += repr((space.zipped, space.listed))
    text = text.replace("Constraint(text=", "Rule(text=")  # as it was called when sweeps on disk were hashed
    return _sha256(f"{text}\n{space.identity}".encode())


def reading_hash(settings: SweepSettings) -> str:
    """Return a hash of what decides which result is read out of a run's output."""
    patterns = {name: pattern.pattern for name, pattern in settings.patterns.items()}
    objectives = settings.objective if len(settings.objectives) < 2 else tuple(settings.objectives)
    sources = tuple(settings.metrics_from)
    return _sha256(repr((sorted(patterns.items()), objectives, *([sources] if sources else []))).encode())


def _hash_inputs(settings: SweepSettings) -> dict[str, str]:
    command = settings.command
    program = command.program_path
    paths = [*command.config_files, *([program] if program is not None and program.is_file() else [])]
    contents = {str(settings.path): settings.source} | {str(path): path.read_bytes() for path in paths}
    return {path: _sha256(content) for path, content in contents.items()}


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _git_commit(folder: Path) -> str | None:
    git = shutil.which("git")
    if git is None:
        return None
    command = [git, "-C", str(folder), "rev-parse", "HEAD"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:  # no further process is allowed; what a sweep needs says so itself
        return None
    return result.stdout.strip() or None
