"""Which runs of a sweep a command is about: by id, the beginning of one, name or folder, or by an expression."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from sweepline.analysis.filters import Filter, names_of
from sweepline.contract.text import display_path
from sweepline.engine.recorded import RecordedSweep, open_recorded
from sweepline.engine.rundiff import find_run
from sweepline.errors import ConfigError
from sweepline.recording.events import RunRecord


def add_sweep_option(parser: argparse.ArgumentParser) -> None:
    """Declare where names of runs are looked for."""
    parser.add_argument(
        "--sweep",
        type=Path,
        default=Path("sweep.yaml"),
        metavar="SWEEP",
        help="the sweep file or folder in which runs are looked for (default: sweep.yaml)",
    )


def add_run(parser: argparse.ArgumentParser) -> None:
    """Declare the one run that is meant."""
    parser.add_argument("run_name", metavar="RUN", help="the id (or its beginning), the name or the folder of a run")
    add_sweep_option(parser)


def add_runs(parser: argparse.ArgumentParser, *, nargs: str = "*") -> None:
    """Declare the runs that are meant."""
    parser.add_argument(
        "run_names", nargs=nargs, metavar="RUN", help="ids (or their beginnings), names or folders of runs"
    )
    add_filter(parser)
    add_sweep_option(parser)


def add_filter(parser: argparse.ArgumentParser) -> None:
    """Declare the expression by which runs are picked."""
    parser.add_argument(
        "--filter", metavar="WHICH", help="runs that match, such as \"lr < 0.01 and state == 'failed'\" or lr=0.1"
    )


@dataclass(frozen=True)
class ChosenRuns:
    """Runs, and the one sweep that they are of."""

    sweep: RecordedSweep
    records: list[RunRecord]


def choose_runs(args: argparse.Namespace) -> ChosenRuns:
    """Return the runs that are named, and those that an expression means.

    Raises:
        SweeplineError: there is no such run, none is named, or they are of several sweeps.
    """
    names: list[str] = args.run_names
    if not names and args.filter is None:
        raise ConfigError("name runs by their ids or names (sweepline ls shows them), or pick them by --filter")
    found = [find_run(name, args.sweep) for name in names]
    sweep = found[0].sweep if found else open_recorded(args.sweep)
    other = next((run.sweep for run in found if run.sweep.folder.path != sweep.folder.path), None)
    if other is not None:
        raise ConfigError(
            f"runs of two sweeps: {display_path(sweep.folder.path)} and {display_path(other.folder.path)}; name those "
            "of one"
        )
    records = {run.record.run_id: run.record for run in found}
    if args.filter is not None:
        records |= {record.run_id: record for record in pick(list(sweep.records.values()), args.filter)}
        if not records:
            raise ConfigError(f"--filter {args.filter}: no run of {display_path(sweep.folder.path)} matches")
    return ChosenRuns(sweep, list(records.values()))


def pick(records: list[RunRecord], text: str | None) -> list[RunRecord]:
    """Return the runs that an expression means; all of them without one.

    Raises:
        ConfigError: it cannot be read, or asks for what no run has.
    """
    if text is None:
        return records
    try:
        is_meant = Filter(text, names_of(records))
        return [record for record in records if is_meant.of_record(record)]
    except ConfigError as error:
        raise ConfigError(f"--filter: {error}") from None
