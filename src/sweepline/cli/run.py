"""``sweepline run`` and ``orchestrate_sweep.py``: from arguments to a running sweep and an exit code."""

from __future__ import annotations

import argparse
import importlib
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import fields, replace
from datetime import datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from sweepline.cli.detaching import DETACHED, start_detached
from sweepline.cli.dry_run import add_forms, form_of, print_dry_run
from sweepline.cli.progress import write_progress
from sweepline.config.settings import SweepSettings
from sweepline.config.studies import describe_unknown, find_studies, load_study, read_study
from sweepline.config.sweepfile import load_sweep
from sweepline.contract.text import display_path
from sweepline.display.logfile import LATEST_LOG, LogFile
from sweepline.display.terminal import Terminal, is_dumb
from sweepline.display.widths import columns_of
from sweepline.engine.batchsize.finder import measure_batch_size
from sweepline.engine.preparation import PreparedSweep, prepare_sweep
from sweepline.engine.session import run_sweep
from sweepline.engine.signals import StopSignals
from sweepline.engine.state import SweepOptions
from sweepline.errors import ConfigError
from sweepline.executors.local.slots import Slots
from sweepline.space.shards import parse_shard

if TYPE_CHECKING:
    from sweepline.display.lines import Observers
    from sweepline.engine.progress import ActiveRun, Progress
    from sweepline.recording.events import RunRecord
    from sweepline.runs import RunOutcome

HELP = "run a sweep file, or go on with it"
DESCRIPTION = (
    "Runs a sweep file to its end, or goes on with it: what has finished is kept and does not run again, what was "
    "interrupted goes on from its checkpoint where the program has one, and only what is missing starts. On a "
    "terminal it shows a live table; elsewhere, and with --plain, a line per event. Everything is written below "
    "outputs/NAME/ beside the sweep file; the report is written at the end. Ctrl-C ends it, with the runs under way "
    "given time to save."
)
EXAMPLES = (
    ("sweepline run -n", "what would run: counts, and every command line, ready to paste"),
    ("sweepline run", "run ./sweep.yaml, or go on with it"),
    (
        "sweepline run cfg/lr.yaml --count 8 --set epochs=1",
        "try a part of it: 8 runs at most, one parameter fixed for all of them",
    ),
    ("sweepline run --devices 0,1 --max-concurrent 2", "on two GPUs, two runs at a time"),
    ("sweepline run --retry-failed", "run once more what has failed"),
)
EXIT_CODES = {
    0: "all runs of the sweep have finished",
    1: "some did not: failed, stopped by --count or --max-failures, or still to run",
    2: "nothing could start",
    75: "another process runs this sweep",
}
EXIT_INCOMPLETE, EXIT_SIGNAL_BASE = 1, 128
_NEEDED_AT_END = ("sweepline.cli.summary", "sweepline.reports.page")


class ImportsForTheEnd:
    """Imports what the end of a sweep needs while runs are under way: by then sweepline may have been upgraded."""

    refresh_s = 1.0

    def __init__(self) -> None:
        self._left = list(_NEEDED_AT_END)

    def begin(self) -> None:
        """Nothing yet: runs shall start first."""

    def note(self, text: str) -> None:
        """Nothing."""

    def run_started(self, active: ActiveRun) -> None:
        """Nothing."""

    def run_ended(self, record: RunRecord, outcome: RunOutcome) -> None:
        """Nothing."""

    def refresh(self, progress: Progress) -> None:
        """Import one module, in a moment in which the loop has nothing else to do."""
        if self._left and progress.active and progress.n_session:
            importlib.import_module(self._left.pop(0))


def add_arguments(parser: argparse.ArgumentParser, *, default_sweep: Path | None = None) -> None:
    """Declare the arguments of a sweep."""
    shown = display_path(default_sweep) if default_sweep else "sweep.yaml"
    default = default_sweep or Path("sweep.yaml")
    parser.set_defaults(default_sweep=default)
    parser.add_argument(
        "sweep",
        nargs="?",
        type=Path,
        default=default,
        metavar="SWEEP",
        help=f"the sweep file (default: {shown})",
    )
    parser.add_argument(
        "--study", nargs="?", const="", metavar="NAME", help="run a study of cfg/studies (sweepline studies lists them)"
    )
    parser.add_argument(
        "--no-save", action="store_true", help="keep nothing: everything is written to a folder that is removed"
    )
    parser.add_argument(
        DETACHED, action="store_true", help="run in the background, beyond this terminal: sweepline attach follows it"
    )
    parser.add_argument("-n", "--dry-run", action="store_true", help="print what would run; start and write nothing")
    add_forms(parser)
    parser.add_argument(
        "-o",
        "--set",
        dest="fixed",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="fix a parameter for every run; may be repeated",
    )
    parser.add_argument(
        "--max-concurrent", "--max-workers", type=positive, metavar="N", help="at most N runs at a time"
    )
    parser.add_argument(
        "--executor",
        choices=["auto", "local", "slurm", "pilot", "ray"],
        help="where runs execute: here, as jobs of Slurm, on all nodes of an allocation, on a Ray cluster",
    )
    parser.add_argument("--devices", metavar="IDS", help="auto, cpu, or GPU ids such as 0,1")
    parser.add_argument(
        "--gpu-free-mib", type=positive, metavar="N", help="start on a GPU only while N MiB of its memory are free"
    )
    parser.add_argument("--count", type=positive, metavar="N", help="start at most N runs now")
    parser.add_argument(
        "--only", metavar="WHICH", help="start only the runs of the sweep that match, such as 'lr=0.1' or 'lr < 0.01'"
    )
    parser.add_argument(
        "--shard",
        type=_shard,
        metavar="K/N",
        help="start only part K of N of the runs, one part on each machine; sweepline merge joins them",
    )
    parser.add_argument(
        "--start",
        choices=["auto", "warm", "cold"],
        help="fork runs from one process that has done their imports, or not",
    )
    parser.add_argument(
        "--race", type=_at_least_two, metavar="N", help="at the end: more seeds for the N leading configurations"
    )
    parser.add_argument("--retry-failed", action="store_true", help="run failed runs again")
    parser.add_argument("--max-failures", type=positive, metavar="N", help="stop launching after N failures")
    parser.add_argument("--keep-going", action="store_true", help="go on although the first runs all fail")
    parser.add_argument(
        "--code",
        choices=["new", "kept"],
        default="new",
        help="the program as it is now, or as the latest run executed it (default: new)",
    )
    parser.add_argument("--fresh", action="store_true", help="archive what was recorded and start over")
    parser.add_argument(
        "--take-over", action="store_true", help="go on although another machine holds the sweep; it must be dead"
    )
    parser.add_argument("--strict", action="store_true", help="treat warnings about the sweep file as errors")
    parser.add_argument(
        "--plain", action="store_true", help="one line per event, also on a terminal; as with NO_COLOR or TERM=dumb"
    )


def positive(text: str) -> int:
    """Return a whole number above zero, of an option."""
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"needs a whole number above zero, got {text!r}")
    return number


def _shard(text: str) -> str:
    try:
        parse_shard(text)
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error).removeprefix(f"--shard {text}: ")) from None
    return text


def _at_least_two(text: str) -> int:
    number = positive(text)
    if number < 2:
        raise argparse.ArgumentTypeError("a race needs two configurations")
    return number


def run(args: argparse.Namespace) -> int:
    """Run (or print) the sweep that the arguments name; return the exit code.

    Raises:
        SweeplineError: nothing could start.
    """
    form_of(args)
    settings = _load(args)
    if args.detach and not args.dry_run:
        return start_detached(settings, args.command_again)
    if args.no_save and not args.dry_run:
        with tempfile.TemporaryDirectory(prefix="sweepline_") as folder:
            return _run(args, replace(settings, records_dir=Path(folder) / settings.name, csv_path=None))
    return _run(args, settings)


def split_study_options(argv: list[str], folder: Path | None) -> tuple[list[str], list[str]]:
    """Return the words of a command without the options that the study among them has of its own, and these.

    Raises:
        ConfigError: a study cannot be read.
    """
    name = next((word.partition("=")[2] for word in argv if word.startswith("--study=")), None)
    if name is None and "--study" in argv[:-1]:
        name = argv[argv.index("--study") + 1]
    if name is None:
        return argv, []
    named = next((Path(word) for word in argv if Path(word).is_dir()), Path())
    own: Mapping[str, object] = next((s.model.options for s in find_studies(folder or named) if s.name == name), {})
    rest, options = [], []
    words = iter(argv)
    for word in words:
        if word.removeprefix("--").partition("=")[0] not in own or not word.startswith("--"):
            rest.append(word)
        elif "=" in word:
            options.append(word)
        else:
            options += [word, *([value] if (value := next(words, None)) is not None else [])]
    return rest, options


def parse_words(parser: argparse.ArgumentParser, words: list[str], own: argparse.Namespace) -> argparse.Namespace:
    """Return the arguments of a command; an option that is not known is told with the studies in mind.

    Raises:
        ConfigError: a study has no such option, or an option of a study is given without it.
    """
    args, unknown = parser.parse_known_args(words, own)
    if unknown:
        option = next((word.partition("=")[0] for word in unknown if word.startswith("--")), unknown[0])
        if args.study is not None:
            known = [word for word in re.findall(r"--[\w-]+", parser.format_usage()) if word != "--study"]
            raise ConfigError(describe_unknown(args.study, _study_folder(args), option, known))
        named = [read_study(args.sweep)] if args.sweep.is_file() else find_studies(_study_folder(args))
        study = next((one for one in named if one and option.removeprefix("--") in one.model.options), None)
        if study is not None:
            raise ConfigError(f"{option}: is an option of a study; use --study {study.name}, without a sweep file")
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    return args


def _study_folder(args: argparse.Namespace) -> Path:
    """Return the experiment whose studies are meant: the folder that is named instead of a sweep file, else this."""
    return getattr(args, "study_folder", None) or (args.sweep if args.sweep.is_dir() else Path())


def _load(args: argparse.Namespace) -> SweepSettings:
    """Return the settings of the sweep file, or of the study, that the arguments name."""
    if args.study is not None:
        is_given = args.sweep is not args.default_sweep
        if is_given and (getattr(args, "study_folder", None) is not None or not args.sweep.is_dir()):
            raise ConfigError(f"{display_path(args.sweep)}: --study {args.study} names what runs; give one of the two")
        study, text = load_study(args.study, _study_folder(args), args.study_options, args.fixed)
        return load_sweep(study.path, text=text, is_strict=args.strict)
    path = args.sweep / "sweep.yaml" if args.sweep.is_dir() else args.sweep
    return load_sweep(path, fixed=args.fixed, is_strict=args.strict)


def _run(args: argparse.Namespace, settings: SweepSettings) -> int:
    if not args.dry_run:
        settings = measure_batch_size(settings, _options_of(args), write_progress)
    prepared = prepare_sweep(settings, _options_of(args), is_dry=args.dry_run)
    if args.dry_run:
        print_dry_run(prepared, form_of(args))
        if settings.align is not None:
            from sweepline.engine.aligning import check_alignment

            check_alignment(settings)
        return 0
    outputs = settings.sweep_dir.parent if args.no_save else settings.experiment_dir / "outputs"
    return run_and_tell(prepared, outputs=outputs, is_plain=args.plain, is_kept=not args.no_save)


def run_and_tell(prepared: PreparedSweep, *, outputs: Path, is_plain: bool = False, is_kept: bool = True) -> int:
    """Run what was prepared, tell of it on the terminal and in a log below ``outputs``; return the exit code."""
    settings = prepared.settings
    with Terminal(sys.stdout) as terminal:
        log = LogFile(outputs / f"sweep_{datetime.now():%Y%m%d_%H%M%S}.log", link=settings.sweep_dir / LATEST_LOG)
        is_live = terminal.isatty() and not is_plain and not is_dumb()
        with _live_report(settings), _observers(settings, prepared.slots, log, terminal, is_live=is_live) as observer:
            result = run_sweep(prepared, observer, requests=StopSignals(is_final=True), owns_process=True)
        from sweepline.cli.summary import print_summary
        from sweepline.reports.page import write_final_page

        print_summary(
            result,
            log.path,
            report=write_final_page(result) if is_kept else "",
            width=columns_of(sys.stdout),
            is_kept=is_kept,
            write_line=terminal.write_line,
        )
    if result.signal is not None:
        return EXIT_SIGNAL_BASE + result.signal
    return 0 if result.is_complete else EXIT_INCOMPLETE


def _options_of(args: argparse.Namespace) -> SweepOptions:
    return SweepOptions(**{field.name: getattr(args, field.name) for field in fields(SweepOptions)})


def _live_report(settings: SweepSettings) -> AbstractContextManager[object]:
    """Return what keeps the report current while the sweep runs, where its file asks for that."""
    if settings.report != "live":
        return nullcontext()
    from sweepline.reports.live import LiveReport

    return LiveReport(settings.sweep_dir)


def _count_slots(slots: Slots) -> str:
    n, noun = (len(slots.usable), "GPU") if slots.is_packed else (slots.n_max, "slot")
    return f"{n} {noun}{'s' * (n > 1)}"


@contextmanager
def _observers(
    settings: SweepSettings, slots: Slots, log: LogFile, terminal: Terminal, *, is_live: bool
) -> Iterator[Observers]:
    """Yield what watches the sweep: the terminal, live or line by line, and the log."""
    from sweepline.display.lines import LineDisplay, Observers

    to_log = LineDisplay(log.write_line, open_sink=log.open)
    try:
        if is_live:
            from rich.console import Console

            from sweepline.display.live import LiveDisplay

            title = f"{settings.name} · {_count_slots(slots)}"
            n_slots = 0 if slots.is_packed else slots.n_max  # how many are free changes under way: not shown
            with LiveDisplay(
                Console(file=cast(IO[str], terminal)), title=title, n_slots=n_slots, objective=settings.objective
            ) as live:
                yield Observers([live, to_log, ImportsForTheEnd()])
        else:
            yield Observers([LineDisplay(terminal.write_line, flush=terminal.flush), to_log, ImportsForTheEnd()])
    finally:
        log.close()
