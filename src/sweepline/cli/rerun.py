"""``sweepline rerun``: a run once more, and whether it comes to the same."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from sweepline.cli.asjson import add_json, print_json
from sweepline.contract.text import display_path, printable
from sweepline.display.lines import LineDisplay
from sweepline.engine.rerun import Difference, RerunResult, compare_rerun, prepare_rerun
from sweepline.engine.rundiff import find_run
from sweepline.engine.session import run_sweep
from sweepline.engine.signals import StopSignals

HELP = "do a finished run once more, as it was, and say whether it comes to the same"
DESCRIPTION = (
    "Does a finished run once more as it was, by the code that it had then, in a folder of its own, and compares "
    "every METRIC value with the first time: identical to the last bit, or the first value that is not."
)
EXAMPLES = (
    ("sweepline rerun adam-lr0.001-s0", "a run of ./sweep.yaml by its name"),
    (
        "sweepline rerun 3f9c2a71d0b4 --sweep outputs/lr --ignore seconds --json",
        "by its id; a metric that may differ; as JSON",
    ),
)
EXIT_CODES = {
    0: "all values are the same",
    1: "some are not, or the run did not finish",
    2: "it cannot be repeated",
}
EXIT_SIGNAL_BASE = 128


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("run_name", metavar="RUN", help="the id, the name or the folder of a run")
    parser.add_argument(
        "--sweep", type=Path, default=Path("sweep.yaml"), help="where names are looked for (default: sweep.yaml)"
    )
    parser.add_argument("--start", choices=["warm", "cold"], help="how it is started (default: as the sweep file says)")
    parser.add_argument("--devices", metavar="IDS", help="where it runs (default: where it ran)")
    parser.add_argument(
        "--ignore", action="append", default=[], metavar="METRIC", help="a metric that may differ, such as a time"
    )
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Do the run again; return 0 when all METRIC values are the same, else 1.

    Raises:
        SweeplineError: it cannot be repeated.
    """
    found = find_run(args.run_name, args.sweep)
    prepared = prepare_rerun(found, start=args.start, devices=args.devices)
    write = (lambda text: print(text, file=sys.stderr, flush=True)) if args.json else _print
    for note in prepared.notes:
        write(note)
    ended = run_sweep(prepared.sweep, LineDisplay(write), requests=StopSignals(is_final=True), owns_process=True)
    if ended.signal is not None:
        return EXIT_SIGNAL_BASE + ended.signal
    result = compare_rerun(prepared, is_ignored=set(args.ignore).__contains__)
    if args.json:
        print_json({"run": found.record.run_id, "is_identical": result.is_identical, "result": result})
    else:
        for line in _lines(result):
            _print(line)
    return 0 if result.is_identical else 1


def _print(text: str) -> None:
    print(printable(text), flush=True)


def _lines(result: RerunResult) -> Iterator[str]:
    yield ""
    yield _verdict(result)
    if result.first is not None:
        yield f"  first: {_describe(result.first)}"
        yield f"  metrics that differ: {', '.join(result.differing)}"
    for name, (before, after) in result.environment.items():
        yield f"environment  {name}: {'-' if before is None else before} -> {'-' if after is None else after}"
    for line in result.output:
        yield f"output       {line}"
    if result.n_output_lines > len(result.output):
        yield f"output       ... and {result.n_output_lines - len(result.output)} lines more"
    for name, how in result.files.items():
        yield f"file         {name} {how}"
    yield f"folder       {display_path(result.run_dir)}"


def _verdict(result: RerunResult) -> str:
    if result.state != "finished":
        return f"not repeated: the run ended as {result.state} ({result.reason})"
    if not result.n_values:
        return "nothing to compare: no METRIC values are left" if result.first is None else "not identical"
    counted = f"{result.n_values} values of {result.n_metrics} metric{'' if result.n_metrics == 1 else 's'}"
    return f"identical: {counted}, bit for bit" if result.first is None else f"not identical: of {counted}"


def _describe(difference: Difference) -> str:
    before, after = ("nothing" if value is None else repr(value) for value in (difference.before, difference.after))
    return f"{difference.metric} at {difference.place or 'the end'}: {before} before, {after} now"
