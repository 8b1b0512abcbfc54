"""``sweepline tag``: words of one's own on runs."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence

from sweepline.cli.chosen import ChosenRuns, add_filter, add_sweep_option, choose_runs
from sweepline.engine.control import ask
from sweepline.engine.recorded import open_book
from sweepline.engine.steering import change_tags
from sweepline.errors import ConfigError, SweepLockedError

HELP = "give runs words of your own, to pick them by: sweepline ls --filter \"'paper' in tags\""
DESCRIPTION = (
    "Gives runs words of your own and takes them away, also while the sweep runs. Tags stay with a run however "
    "often it goes again, and runs are picked by them."
)
EXAMPLES = (
    ("sweepline tag lr0.1-s3 paper", "tag a run"),
    ('sweepline tag --filter "loss < 0.1" --add good', "tag all that match"),
    ("sweepline tag lr0.1-s3 --remove paper", "take a tag away"),
)
_WORD = re.compile(r"[\w.:+/-]+")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("run_names", nargs="*", metavar="RUN", help="ids, names or folders of runs")
    parser.add_argument("-t", "--add", action="append", default=[], metavar="WORD", help="a tag; may be repeated")
    parser.add_argument("-r", "--remove", action="append", default=[], metavar="WORD", help="a tag to take away")
    add_filter(parser)
    add_sweep_option(parser)


def run(args: argparse.Namespace) -> int:
    """Tag runs: by the sweep that runs, else here.

    Raises:
        SweeplineError: there is no such run, or no word.
    """
    if not args.add and not args.remove and len(args.run_names) > 1:
        *args.run_names, word = args.run_names  # sweepline tag RUN WORD
        args.add = [word]
    for word in [*args.add, *args.remove]:
        if not _WORD.fullmatch(word):
            raise ConfigError(f"{word!r}: a tag is one word of letters, digits and . : + / _ -")
    if not args.add and not args.remove:
        raise ConfigError("name a word: sweepline tag RUN WORD")
    chosen = choose_runs(args)
    print(_tag(chosen, args.add, args.remove))
    return 0


def _tag(chosen: ChosenRuns, words: Sequence[str], removed: Sequence[str]) -> str:
    folder, run_ids = chosen.sweep.folder, [record.run_id for record in chosen.records]
    try:
        folder.lock()
    except SweepLockedError:
        return ask(folder.path, "tag", runs=run_ids, words=words, removed=removed)
    try:
        book = open_book(chosen.sweep)
        for run_id in [run_id for run_id in run_ids if run_id in book.records]:
            book.tag(run_id, change_tags(book.records[run_id].tags, words, removed))
        book.close()
    finally:
        folder.unlock()
    return f"{len(run_ids)} run{'' if len(run_ids) == 1 else 's'} tagged"
