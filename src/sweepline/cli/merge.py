"""``sweepline merge``: one sweep that was run in parts on several machines, joined in one folder."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from sweepline.contract.text import display_path, printable
from sweepline.engine.merging import Merge, Taken, merge_sweeps
from sweepline.engine.planfile import count_planned
from sweepline.engine.recorded import csv_path
from sweepline.engine.rerun import settings_of
from sweepline.engine.session import SweepResult, write_best_of
from sweepline.errors import ConfigError
from sweepline.recording.events import REMOVED
from sweepline.recording.folders import BEST
from sweepline.reports.numbers import format_count
from sweepline.reports.page import REPORT, write_final_page

HELP = "join the folders of one sweep that was run in parts on several machines"
DESCRIPTION = (
    "Takes the runs of other folders of the same sweep, copied from other machines, into the first folder: journal, "
    "run folders, code, provenance, measured batch sizes; table, best.yaml and report are brought up to date. Nothing "
    "runs, nothing is sent to W&B, and the other folders stay as they are. A run that both have is kept as it is in "
    "the first folder, unless it has come further in the other; what it replaces goes to the archive. Merging the "
    "same folder again takes what is new there, and a merge that was killed goes on by the same command."
)
EXAMPLES = (
    ("sweepline merge outputs/lr copies/b/lr", "what the other machine did, into the folder here"),
    ("sweepline merge copies/a/lr copies/b/lr --to sweep.yaml", "into the folder of a sweep file, begun where need be"),
)
EXIT_CODES = {
    0: "they are joined",
    2: "they cannot be: other sweeps, a damaged journal; the sentence says which and what to do",
    75: "one of them is being run",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="folders of the sweep, or its file")
    parser.add_argument(
        "--to", type=Path, metavar="DIR", help="merge all into this folder, or that of this sweep file; it may be new"
    )


def run(args: argparse.Namespace) -> int:
    """Merge folders of one sweep, and tell what came of each.

    Raises:
        SweeplineError: they cannot be merged.
    """
    if args.to is None and len(args.folders) < 2:
        raise ConfigError(f"{args.folders[0]}: name the folders to merge into it, or --to DIR to merge it into another")
    merge = merge_sweeps(args.folders, to=args.to, say=lambda text: print(text, flush=True))
    for line in [*_describe(merge), *_write_views(merge)]:
        print(printable(line))
    return 0


def _describe(merge: Merge) -> Iterator[str]:
    for taken in merge.taken:
        yield f"{display_path(taken.path)}: {', '.join(_counts(taken))}"
        yield from (f"  {note}" for note in taken.notes)
    if merge.archive is not None:
        yield f"what was replaced is in {display_path(merge.archive)}"
    yield from merge.notes
    records = [record for record in merge.sweep.records.values() if record.belongs]
    n_total = count_planned(merge.sweep.plan, records)
    n_ended = sum(record.is_ended for record in records)
    of_all = "" if n_total is None else f" of {n_total}"
    goes_on = "" if n_ended == n_total else "; sweepline run does the rest"
    yield f"{display_path(merge.sweep.folder.path)}: {n_ended}{of_all} runs have ended{goes_on}"


def _counts(taken: Taken) -> Iterator[str]:
    yield f"{taken.n_taken:,} of {format_count(taken.n_runs, 'run')} taken"
    if taken.n_replaced:
        yield f"{taken.n_replaced} of them in place of one that had come less far here"
    if taken.n_open:
        yield f"{taken.n_open} of them under way there, interrupted here"
    if taken.n_kept:
        yield f"{taken.n_kept} were run here too, and are kept as they are here"
    n_known = taken.n_runs - taken.n_taken - taken.n_kept
    if n_known:
        yield f"{n_known} known already"


def _write_views(merge: Merge) -> Iterator[str]:
    """Bring ``best.yaml`` and the report up to date; yield what is worth saying."""
    found = merge.sweep
    journal = found.folder.journal.stat().st_mtime_ns
    views = [found.folder.path / name for name in (BEST, REPORT)]
    if all(view.exists() and view.stat().st_mtime_ns >= journal for view in views):
        return
    try:
        settings = replace(found.settings or settings_of(found), records_dir=found.folder.path)
    except ConfigError as error:
        yield f"{BEST} and {REPORT} are as they were: {error}"
        return
    records = [record for record in found.records.values() if record.in_sweep != REMOVED]
    result = SweepResult(
        settings=settings,
        folder=found.folder,
        csv_path=csv_path(found),
        records=records,
        started=[],
        signal=None,
    )
    notes: list[str] = []
    write_best_of(result, notes.append)
    yield from filter(None, [*notes, write_final_page(result)])
