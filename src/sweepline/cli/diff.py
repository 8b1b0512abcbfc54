"""``sweepline diff``: what is different between two runs."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sweepline.cli.asjson import add_json, print_json
from sweepline.contract.text import printable
from sweepline.contract.values import format_value
from sweepline.display.formats import align_columns
from sweepline.engine.rundiff import FoundRun, RunDifference, compare_two, find_run

HELP = "what is different between two runs: parameters, environment, code"
DESCRIPTION = (
    "Shows what is different between two runs: parameters, environment, packages, and the code that each of them "
    "executed, as a patch."
)
EXAMPLES = (
    ("sweepline diff adam-lr0.001-s0 adam-lr0.01-s0", "two runs of ./sweep.yaml by name"),
    ("sweepline diff 3f9c2a71d0b4 outputs/old/runs/77aa01c2de3f --json", "an id and a folder, as JSON"),
)
EXIT_CODES = {
    0: "nothing is known to be different",
    1: "something is",
    2: "a run cannot be found",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    for name in ("first", "second"):
        parser.add_argument(name, metavar="RUN", help="the id, the name or the folder of a run")
    parser.add_argument(
        "--sweep",
        type=Path,
        default=Path("sweep.yaml"),
        help="where names are looked for (default: sweep.yaml)",
    )
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Print what is different between two runs; return 0 when nothing is, else 1, as ``diff`` does."""
    runs = [find_run(word, args.sweep) for word in (args.first, args.second)]
    found = compare_two(*runs)
    is_equal = not (found.parameters or found.environment or found.files or found.patch)
    if args.json:
        print_json({"runs": [run.record.run_id for run in runs], "is_equal": is_equal, "difference": found})
    else:
        for line in _lines(runs, found, is_equal=is_equal):
            print(printable(line))
    return 0 if is_equal else 1


def _lines(runs: list[FoundRun], found: RunDifference, *, is_equal: bool) -> Iterator[str]:
    if is_equal:
        yield "nothing is known to be different"
        return
    heads = [f"{run.record.name} ({run.record.run_id})" for run in runs]
    for title, values in (("parameters", found.parameters), ("environment", found.environment)):
        if values:
            yield from align_columns([[title, *heads], *_rows(values)])
            yield ""
    if found.files or found.patch:
        states = " -> ".join(run.record.code or "unknown" for run in runs)
        yield f"code         {states}: {', '.join(found.files)}"
        if found.code_note:
            yield f"             {found.code_note}"
        yield from found.patch


def _rows(values: Mapping[str, tuple[Any, Any]]) -> list[list[str]]:
    return [[f"  {name}", *("-" if v is None else format_value(v) for v in pair)] for name, pair in values.items()]
