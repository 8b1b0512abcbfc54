"""``sweepline ls``: the runs of a sweep as a table, sorted and picked."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from sweepline.analysis.filters import FACTS, names_of, value_of
from sweepline.analysis.pareto import read_objectives
from sweepline.cli.asjson import add_json, print_json
from sweepline.cli.chosen import add_filter, pick
from sweepline.cli.target import add_target, describe_others
from sweepline.contract.text import printable
from sweepline.display.formats import align_columns, format_number, format_seconds
from sweepline.display.widths import columns_of, cut
from sweepline.engine.recorded import RecordedSweep, open_recorded
from sweepline.errors import ConfigError, did_you_mean
from sweepline.recording.events import REMOVED, RunRecord, names_in
from sweepline.runs import State

HELP = "the runs of a sweep: sorted, picked by what they are, with the columns that are asked for"
DESCRIPTION = (
    "Lists the runs of a sweep as a table: those that an expression picks, in the order of any value, with the "
    "columns that are asked for. An expression asks for parameters, metrics and facts of a run, such as state, "
    "duration_s, tags, peak_memory_gib or gpu_hours."
)
EXAMPLES = (
    ("sweepline ls --sort loss -m 10", "the ten best by a metric"),
    ("sweepline ls --filter \"lr < 0.01 and state == 'failed'\"", "what failed of the small step sizes"),
    ("sweepline ls --columns id,lr,loss,gpu_hours", "with these columns"),
    ("sweepline ls --ids --filter lr=0.1", "ids alone, for other commands"),
)
_MAX_PARAMETERS, _MAX_METRICS = 6, 3
_MAX_CELL = 40


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_target(parser)
    add_filter(parser)
    parser.add_argument("--sort", metavar="NAME", help="by a parameter, a metric or a column; the best first")
    parser.add_argument("--reverse", action="store_true", help="the other way round")
    parser.add_argument("--columns", metavar="A,B", help="these columns alone, such as id,lr,loss,peak_memory_gib")
    parser.add_argument("-m", "--max", type=int, default=0, metavar="N", dest="n_max", help="the first N alone")
    parser.add_argument("--all", action="store_true", help="also runs that are no longer in the sweep")
    parser.add_argument("--ids", action="store_true", help="nothing but ids, one a line, for other commands")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Print the runs of a sweep.

    Raises:
        SweeplineError: there is no such sweep, or nothing is called so.
    """
    found = open_recorded(args.sweep)
    records = [record for record in found.records.values() if args.all or record.in_sweep != REMOVED]
    is_running = found.folder.is_locked() is not False
    chosen = _sorted(pick(records, args.filter), found.plan, args.sort, is_reversed=args.reverse)
    n_more = max(0, len(chosen) - args.n_max) if args.n_max > 0 else 0
    chosen = chosen[: len(chosen) - n_more]
    if args.ids:
        sys.stdout.writelines(f"{record.run_id}\n" for record in chosen)
        return 0
    columns = _columns(args.columns, records)
    if args.json:
        names = list(dict.fromkeys(["id", "name", "state", *(columns or names_of(records))]))
        print_json([{name: _value(record, name, is_running=is_running) for name in names} for record in chosen])
        return 0
    if args.filter and not chosen:
        print(f"no run matches, of {len(records)}")
        return 0
    for line in _table(chosen, columns or _default_columns(chosen, found.plan), is_running=is_running):
        print(line)
    if n_more:
        print(f"({n_more:,} more)")
    if not args.all:
        _print_others(found)
    return 0


def _print_others(found: RecordedSweep) -> None:
    for line in describe_others(found):
        print(line)


def _columns(text: str | None, records: Sequence[RunRecord]) -> list[str]:
    """Return the columns that are asked for; none where none are."""
    wanted = [name.strip() for name in (text or "").split(",") if name.strip()]
    known = names_of(records)
    for name in wanted:
        _check_known("--columns", name, known)
    return wanted


def _check_known(option: str, name: str, known: Sequence[str]) -> None:
    if name not in known:
        hint = did_you_mean(name, known) or f"; there are {', '.join(known)}"
        raise ConfigError(f"{option}: nothing is called {name}{hint}")


def _default_columns(records: Sequence[RunRecord], plan: Mapping[str, Any]) -> list[str]:
    """Return what tells runs apart, and what they came to: the objective first."""
    params = names_in(record.params for record in records)
    varying = [name for name in params if len({repr(record.params.get(name)) for record in records}) > 1]
    told = [objective.name for objective in read_objectives(plan)]
    metrics = list(dict.fromkeys([*told, *names_in(record.metrics for record in records)]))
    seed = ["seed"] if len({record.seed for record in records}) > 1 and "seed" not in varying else []
    tags = ["tags"] if any(record.tags for record in records) else []
    return ["id", *varying[:_MAX_PARAMETERS], *seed, "state", *metrics[:_MAX_METRICS], "duration_s", *tags]


def _sorted(
    records: list[RunRecord], plan: Mapping[str, Any], name: str | None, *, is_reversed: bool
) -> list[RunRecord]:
    """Return runs by a value, those that lack it last; by the objective the best first."""
    if name is None:
        return records[::-1] if is_reversed else records
    _check_known("--sort", name, names_of(records))
    goals = {objective.name: objective.goal for objective in read_objectives(plan)}
    descends = (goals.get(name) == "maximize") != is_reversed
    values = {record.run_id: value_of(record, name) for record in records}
    has = [r for r in records if not _is_missing(values[r.run_id])]
    lacks = [r for r in records if _is_missing(values[r.run_id])]
    return [*sorted(has, key=lambda r: _sort_key(values[r.run_id]), reverse=descends), *lacks]


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _sort_key(value: Any) -> tuple[int, Any]:
    return (0, value) if isinstance(value, (int, float)) else (1, str(value))


def _value(record: RunRecord, name: str, *, is_running: bool) -> Any:
    if name == "state" and record.state == State.RUNNING and not is_running:
        return State.INTERRUPTED.value
    return value_of(record, name)


def _table(records: Sequence[RunRecord], columns: Sequence[str], *, is_running: bool) -> list[str]:
    rows = [[_cell(name, _value(record, name, is_running=is_running)) for name in columns] for record in records]
    lines = align_columns([list(columns), *rows])
    width = columns_of(sys.stdout)
    return lines if width is None else [cut(line, width) for line in lines]


def _cell(name: str, value: Any) -> str:
    if value is None or value == []:
        return ""
    if name == "duration_s":
        return format_seconds(value)
    if isinstance(value, float):
        return format_number(value)
    text = printable(" ".join(map(str, value)) if isinstance(value, list) and name in FACTS else str(value))
    return cut(text, _MAX_CELL)
