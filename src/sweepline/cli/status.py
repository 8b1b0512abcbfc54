"""``sweepline status``: how a sweep stands, while it runs or long after."""

from __future__ import annotations

import argparse
from collections import Counter
from datetime import datetime

from sweepline.cli.target import add_target, describe_others
from sweepline.contract.text import display_path
from sweepline.display.formats import describe_end, format_seconds
from sweepline.engine.recorded import open_recorded
from sweepline.runs import State

HELP = "how a sweep stands"
_N_RECENT = 5


add_arguments = add_target


def run(args: argparse.Namespace) -> int:
    """Print how a sweep stands."""
    found = open_recorded(args.sweep)
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
    for line in describe_others(found):
        print(line)
    return 0
