"""``sweepline explain``: why a run ended as it did, and on which numbers it was stopped early."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sweepline.cli.asjson import add_json, print_json
from sweepline.contract.text import printable
from sweepline.engine.pruning.pruner import read_verdict
from sweepline.engine.rundiff import FoundRun, find_run
from sweepline.runs import State

HELP = "why a run ended as it did, and on which numbers it was stopped early"
DESCRIPTION = (
    "Says why a run ended as it did: its state and reason, and for a run that was stopped early the numbers that "
    "decided and those that it was compared with."
)
EXAMPLES = (
    ("sweepline explain adam-lr0.001-s0", "a run of ./sweep.yaml by its name"),
    ("sweepline explain 3f9c2a71d0b4 --sweep outputs/lr --json", "one of another sweep by its id, as JSON"),
)
_MAX_SHOWN = 12


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("run", metavar="RUN", help="the id, the name or the folder of a run")
    parser.add_argument(
        "--sweep", type=Path, default=Path("sweep.yaml"), help="where names are looked for (default: sweep.yaml)"
    )
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Print why a run ended; return 0.

    Raises:
        SweeplineError: there is no such run.
    """
    found = find_run(args.run, args.sweep)
    record = found.record
    told = read_verdict(found.sweep.folder.run_dir(record.run_id)) if record.state == State.PRUNED else None
    if args.json:
        own = {"run": record.run_id, "name": record.name, "state": record.state, "reason": record.reason}
        print_json(own | {"early_stop": told})
        return 0
    for line in _lines(found, told):
        print(printable(line))
    return 0


def _lines(found: FoundRun, told: Mapping[str, Any] | None) -> Iterator[str]:
    record = found.record
    yield f"{record.name} ({record.run_id}): {record.state.value}{f', {record.reason}' if record.reason else ''}"
    if told is None:
        return
    place = f"{told['at']:g} {told['by']}"
    yield f"{'rule':12} {told['rule']}, {told['goal']} {told['metric']}"
    yield f"{'at':12} {place}"
    yield f"{'its value':12} {told['value']:.6g}"
    if told["threshold"] is not None:
        yield f"{'needed':12} {told['threshold']:.6g} or {'more' if told['goal'] == 'maximize' else 'less'}"
    if told["rank"] is None:
        return
    yield f"{'rank':12} {told['rank']} of the {told['n']} runs that had come there"
    values = [f"{value:.6g}" for value in told["others"][:_MAX_SHOWN]]
    more = f" ... ({told['n'] - len(values)} more)" if told["n"] > len(values) else ""
    yield f"{'values there':12} {'  '.join(values)}{more}"
