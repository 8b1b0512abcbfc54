"""``sweepline status``: how a sweep stands, while it runs or long after."""

from __future__ import annotations

import argparse
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

from sweepline.cli.asjson import add_json, print_json
from sweepline.cli.target import add_target, describe_others
from sweepline.cli.watching import add_watch, watch
from sweepline.contract.text import display_path
from sweepline.display.formats import describe_end, format_seconds
from sweepline.engine.planfile import count_planned
from sweepline.engine.queued import find_jobs
from sweepline.engine.recorded import RecordedSweep, open_recorded
from sweepline.recording.events import RunRecord
from sweepline.runs import State
from sweepline.space.shards import Part

HELP = "how a sweep stands"
DESCRIPTION = (
    "Tells how a sweep stands, while it runs or long after: how many runs are in which state, what is under way and "
    "where, and the latest ends. It only reads, so it can be asked at any time, from anywhere that sees the folder."
)
EXAMPLES = (
    ("sweepline status", "how the sweep of ./sweep.yaml stands"),
    ("sweepline status outputs/lr --watch", "look at it every 2 s, until it has ended"),
    ("sweepline status --json", "the same for a program: states, running and failed runs"),
)
EXIT_CODES = {
    0: "it was told, whatever the state of the runs",
    2: "no sweep has been run here",
}
_N_RECENT = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_target(parser)
    add_watch(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Print how a sweep stands."""
    if args.json:
        print_json(_as_json(open_recorded(args.sweep)))
        return 0
    if args.watch:
        return watch(lambda: _look(args.sweep))
    for line in _look(args.sweep)[0]:
        print(line)
    return 0


def _look(target: Path) -> tuple[list[str], bool]:
    """Return the lines on a sweep, and whether it may change by itself."""
    found = open_recorded(target)
    folder, plan = found.folder, found.plan
    records = [record for record in found.records.values() if record.belongs]
    is_running = folder.is_locked()
    states = _count(records, is_running=is_running)
    standing = {True: "running", False: "not running", None: "locks do not work here, so not known whether it runs"}
    lines = [
        f"{plan.get('sweep', folder.path.name)}: {standing[is_running]} ({display_path(folder.path)})",
        ", ".join(f"{n} {state.value}" for state, n in states.most_common()) or "no run has started",
    ]
    if is_running:
        jobs = find_jobs(folder, records)
        running = [record for record in records if record.state == State.RUNNING and jobs.get(record.run_id) != ""]
        lines += [
            f"  running {r.name} on {jobs.get(r.run_id, r.device)} for {format_seconds(_elapsed_s(r))}" for r in running
        ]
        n_waiting = sum(node == "" for node in jobs.values())
        lines += [f"  {n_waiting} of the running wait for a place"] if n_waiting else []
    ended = [record for record in records if record.is_ended]
    n_total = count_planned(plan, records)
    if isinstance(n_total, int):
        lines.append(f"{len(ended)} of {n_total} runs have ended")
    if plan.get("shard"):
        lines.append(f"the last start was of {Part(**plan['shard'])}; sweepline merge joins parts")
    lines += [f"  {describe_end(record, i, n_total)}" for i, record in list(enumerate(ended, 1))[-_N_RECENT:]]
    return [*lines, *describe_others(found)], is_running is not False


def _count(records: list[RunRecord], *, is_running: bool | None) -> Counter[State]:
    """Count runs by state; what runs in a sweep that does not is interrupted."""
    states = Counter(record.state for record in records)
    if is_running is False and states[State.RUNNING]:
        states[State.INTERRUPTED] += states.pop(State.RUNNING)
    return states


def _elapsed_s(record: RunRecord) -> float:
    return max(0.0, (datetime.now().astimezone() - datetime.fromisoformat(record.started_at)).total_seconds())


def _as_json(found: RecordedSweep) -> dict[str, Any]:
    records = [record for record in found.records.values() if record.belongs]
    is_running = found.folder.is_locked()
    running = [record for record in records if record.state == State.RUNNING] if is_running else []
    jobs = find_jobs(found.folder, running)
    return {
        "sweep": found.plan.get("sweep", found.folder.path.name),
        "path": found.folder.path,
        "is_running": is_running,
        "states": _count(records, is_running=is_running),
        "n_ended": sum(record.is_ended for record in records),
        "n_total": count_planned(found.plan, records),
        "shard": found.plan.get("shard"),
        "running": [
            {"run_id": r.run_id, "name": r.name, "device": r.device, "elapsed_s": _elapsed_s(r), "parameters": r.params}
            | ({"node": jobs[r.run_id] or None} if r.run_id in jobs else {})
            for r in running
        ],
        "failed": [
            {"run_id": r.run_id, "name": r.name, "state": r.state, "reason": r.reason}
            for r in records
            if r.is_ended and not r.has_result and r.state != State.PRUNED
        ],
        "remarks": list(describe_others(found)),
    }
