"""``sweepline extract``: the points of metrics as a table, CSV or Parquet; all of them."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from pathlib import Path
from typing import Any

from sweepline.analysis.series import EPOCH, SAMPLES, STEP, TIME, RunHistory, Series
from sweepline.cli.compare import NAMES_HELP, add_reading
from sweepline.contract.files import TEMPORARY, replace_file
from sweepline.contract.text import display_path, printable
from sweepline.engine.sides import read_sides, tell_apart
from sweepline.errors import ConfigError, did_you_mean, record_error
from sweepline.recording.cells import csv_line

HELP = "all points of metrics as CSV or Parquet, of TensorBoard logs, run folders, sweeps and W&B files"
DESCRIPTION = (
    "Writes all points of metrics as a table with the columns run, tag, step, time_s, samples, epoch and value, of "
    "run folders, sweeps, TensorBoard logs and W&B files. Parquet needs the extra 'parquet'."
)
EXAMPLES = (
    ("sweepline extract --runs outputs/lr", "all points of a sweep as CSV to standard output"),
    ("sweepline extract --runs outputs/lr --tags loss accuracy -o points.parquet", "two metrics into a file"),
)
_PLACES = {"step": STEP, "time_s": TIME, "samples": SAMPLES, "epoch": EPOCH}
_COLUMNS = ("run", "tag", *_PLACES, "value")
_ROWS_TOGETHER = 10_000

_Chosen = Sequence[tuple[str, str, Series]]
"""Which run, which tag, and its points."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--runs", nargs="+", required=True, metavar="RUN", help=NAMES_HELP)
    parser.add_argument("--tags", nargs="+", default=[], metavar="NAME", help="exact names (default: all)")
    add_reading(parser)
    parser.add_argument(
        "--output",
        "-o",
        type=Path,
        metavar="FILE",
        help="a .csv or .parquet to write (default: CSV to standard output)",
    )


def run(args: argparse.Namespace) -> int:
    """Write the points."""
    output: Path | None = args.output
    if output is not None and output.suffix not in (".csv", ".parquet"):
        raise ConfigError(f"--output {output}: end its name with .csv or .parquet")
    found, notes = read_sides(args.runs, logdir=args.logdir, merges=args.merges, metrics=args.tags)
    sides = tell_apart([(word, side) for word, own in zip(args.runs, found, strict=True) for side in own])
    runs = [(side.label if len(side.runs) == 1 else run.name, run) for side in sides for run in side.runs]
    chosen = _choose(runs, args.tags)
    for note in [*notes, *(f"{label}: {note}" for label, own in runs for note in own.notes)]:
        print(f"note: {printable(note)}", file=sys.stderr)
    if output is None:
        for part in _csv_parts(chosen):
            sys.stdout.write(part.decode())
        return 0
    try:
        if output.suffix == ".parquet":
            _write_parquet(output, chosen)
        else:
            os.close(replace_file(output, _csv_parts(chosen), is_durable=False))
    except OSError as error:
        raise record_error(display_path(output), "cannot be written", error) from None
    n_points = sum(len(series) for _, _, series in chosen)
    print(f"{n_points:,} points of {len(chosen)} series in {display_path(output)}")
    return 0


def _choose(runs: Sequence[tuple[str, RunHistory]], tags: Sequence[str]) -> _Chosen:
    """Return the series of all runs, those of the tags that are asked for; a run may lack some, not all runs one."""
    known = dict.fromkeys(name for _, run in runs for name in run.series)
    for tag in tags:
        if tag not in known:
            raise ConfigError(f"no run has a tag {tag!r}{did_you_mean(tag, known, n=3)}")
    for label, run in runs:
        missing = [tag for tag in tags if tag not in run.series]
        if missing:
            print(printable(f"note: {label} has no {', '.join(missing)}"), file=sys.stderr)
    return [(label, tag, run.series[tag]) for label, run in runs for tag in tags or run.series if tag in run.series]


def _csv_parts(chosen: _Chosen) -> Iterator[bytes]:
    """Yield a CSV of all points; a cell of a place that is not known is empty."""
    yield csv_line(_COLUMNS)
    for label, tag, series in chosen:
        names = csv_line([label, tag]).decode()[:-1]
        columns = [series.places.get(axis) for axis in _PLACES.values()]
        for first in range(0, len(series), _ROWS_TOGETHER):
            part = slice(first, min(first + _ROWS_TOGETHER, len(series)))
            cells = [repeat("") if column is None else _format_places(column[part]) for column in columns]
            rows = zip(repeat(names), *cells, map(repr, series.values[part]), strict=False)
            yield "".join(f"{row}\n" for row in map(",".join, rows)).encode()


def _format_places(places: Sequence[float]) -> Iterable[str]:
    return map(str, map(int, places)) if all(map(float.is_integer, places)) else map(repr, places)


def _write_parquet(path: Path, chosen: _Chosen) -> None:
    """Write a Parquet file, a group of rows for each series; it is there whole or not at all."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise ConfigError(
            f"--output {path}: Parquet needs pyarrow: pip install 'sweepline[parquet]', or write a .csv"
        ) from None
    texts = pa.dictionary(pa.int32(), pa.string())
    schema = pa.schema([("run", texts), ("tag", texts), *((name, pa.float64()) for name in (*_PLACES, "value"))])
    temporary = path.with_name(f"{path.name}{TEMPORARY}")
    try:
        with pq.ParquetWriter(temporary, schema) as writer:
            for label, tag, series in chosen:
                n = len(series)
                names = [
                    pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int32()), n), [t]) for t in (label, tag)
                ]
                places = [_parquet_column(pa, series.places.get(axis), n) for axis in _PLACES.values()]
                writer.write_table(
                    pa.Table.from_arrays([*names, *places, _parquet_column(pa, series.values, n)], schema=schema)
                )
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _parquet_column(pa: Any, column: Any, n: int) -> Any:
    """Return a column without copying it; one that is not known is null."""
    if column is None:
        return pa.nulls(n, pa.float64())
    return pa.Array.from_buffers(pa.float64(), n, [None, pa.py_buffer(column)])
