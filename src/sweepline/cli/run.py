"""``sweepline run`` and ``orchestrate_sweep.py``: from arguments to a running sweep and an exit code."""

from __future__ import annotations

import argparse
import itertools
import math
import os
import resource
import secrets
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from sweepline.cli.dry_run import print_dry_run
from sweepline.cli.resuming import describe_code, describe_edit, describe_resume
from sweepline.config.naming import check_owner
from sweepline.config.sweepfile import SweepSettings, load_sweep
from sweepline.contract.text import display_path
from sweepline.display.terminal import Terminal, is_dumb
from sweepline.engine.tasks import Launcher, source_of
from sweepline.errors import ConfigError, ExecutorUnavailableError, RecordError
from sweepline.executors.local.gpus import Gpu, read_gpus
from sweepline.executors.local.slots import Slots, build_slots, thread_budget
from sweepline.programs.location import missing_program
from sweepline.programs.sourcecode import SourceCode
from sweepline.recording.events import RunRecord, fold
from sweepline.recording.folders import SweepFolder
from sweepline.recording.journal import read_events
from sweepline.runs import SUCCESSFUL
from sweepline.space.plan import Plan, SearchSpace, count_all

if TYPE_CHECKING:
    from sweepline.display.lines import Observers
    from sweepline.engine.loop import Sweep

EXIT_INCOMPLETE, EXIT_SIGNAL_BASE = 1, 128
_N_DESCRIPTORS = 32


def add_arguments(parser: argparse.ArgumentParser, *, default_sweep: Path | None) -> None:
    """Declare the arguments of a sweep."""
    shown = display_path(default_sweep) if default_sweep else "sweep.yaml"
    parser.add_argument(
        "sweep",
        nargs="?",
        type=Path,
        default=default_sweep or Path("sweep.yaml"),
        metavar="SWEEP",
        help=f"the sweep file (default: {shown})",
    )
    parser.add_argument("-n", "--dry-run", action="store_true", help="print what would run; start and write nothing")
    parser.add_argument(
        "--set",
        dest="fixed",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="fix a parameter for every run; may be repeated",
    )
    parser.add_argument("--max-concurrent", type=_positive, metavar="N", help="at most N runs at a time")
    parser.add_argument("--devices", metavar="IDS", help="auto, cpu, or GPU ids such as 0,1")
    parser.add_argument(
        "--gpu-free-mib", type=_positive, metavar="N", help="start on a GPU only while N MiB of its memory are free"
    )
    parser.add_argument("--count", type=_positive, metavar="N", help="start at most N runs now")
    parser.add_argument(
        "--start",
        choices=["auto", "warm", "cold"],
        help="fork runs from one process that has done their imports, or not",
    )
    parser.add_argument("--retry-failed", action="store_true", help="run failed runs again")
    parser.add_argument("--max-failures", type=_positive, metavar="N", help="stop launching after N failures")
    parser.add_argument("--keep-going", action="store_true", help="go on although the first runs all fail")
    parser.add_argument("--fresh", action="store_true", help="archive what was recorded and start over")
    parser.add_argument(
        "--take-over", action="store_true", help="go on although another machine holds the sweep; it must be dead"
    )
    parser.add_argument("--strict", action="store_true", help="treat warnings about the sweep file as errors")
    parser.add_argument("--plain", action="store_true", help="one line per event, also on a terminal")


def _positive(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"needs a whole number above zero, got {text!r}")
    return number


def run_command(args: argparse.Namespace) -> int:
    """Run (or print) the sweep that the arguments name; return the exit code.

    Raises:
        SweeplineError: nothing could start.
    """
    path = args.sweep / "sweep.yaml" if args.sweep.is_dir() else args.sweep
    settings = load_sweep(path, fixed=args.fixed, is_strict=args.strict)
    devices = settings.devices
    if args.devices:
        devices = args.devices if args.devices in ("auto", "cpu") else args.devices.split(",")
    gpus, trouble, driver_notes = _ask_driver(devices, min_free_mib=args.gpu_free_mib or settings.gpu_free_mib)
    max_concurrent = args.max_concurrent or settings.max_concurrent
    slots, device_notes = build_slots(
        devices, runs_per_device=settings.runs_per_device, max_concurrent=max_concurrent, gpus=gpus, trouble=trouble
    )
    folder = SweepFolder(settings.sweep_dir)
    is_read_here = args.dry_run or (settings.needs_limit and args.count is not None)
    known_plan = folder.read_plan() or _last_start(folder)
    check_owner(settings.path, folder.path, known_plan)
    records = fold(read_events(folder.journal)) if is_read_here and not args.fresh else {}
    plan = Plan(_bounded(settings, settings.space, args.count, records))
    launcher = Launcher(
        settings=settings,
        runs_dir=folder.runs,
        sweep_token=str(known_plan.get("sweep_token") or secrets.token_hex(3)),
        threads=thread_budget(settings.threads, slots.n_max),
        n_slots=slots.n_max,
    )
    notes = [*settings.warnings, *driver_notes, *device_notes, *launcher.notes(slots.all)]
    if args.dry_run:
        problem = missing_program(settings.command)
        print_dry_run(
            settings,
            plan,
            slots,
            launcher,
            {} if args.fresh else records,
            notes=[
                *(note for note in notes if not problem or problem not in note),
                *([f"no run would start: {problem}"] if problem else []),
            ],
            count=args.count,
            retry_failed=args.retry_failed,
        )
        return 0
    whole = Plan(_bounded(settings, settings.whole, args.count, records)) if args.fixed else plan
    with Terminal(sys.stdout) as terminal:
        return _start(
            args,
            settings,
            plan=plan,
            whole=whole,
            slots=slots,
            gpus=gpus,
            folder=folder,
            launcher=launcher,
            notes=notes,
            terminal=terminal,
        )


def _last_start(folder: SweepFolder) -> Mapping[str, Any]:
    """Return what the journal says of the last start, for when ``plan.json`` does not; empty where there was none."""
    last: Mapping[str, Any] = {}
    try:
        for event in read_events(folder.journal):
            if event["ev"] == "sweep_start":
                last = event
    except RecordError:  # whoever writes it says so
        return last
    return last


def _ask_driver(
    devices: str | Sequence[int | str], *, min_free_mib: int | None
) -> tuple[Sequence[Gpu] | None, str, list[str]]:
    """Return the machine's GPUs where they matter, why they cannot be told, and what is worth saying about them."""
    if devices == "cpu":
        return None, "", []
    try:
        gpus, trouble = read_gpus()
    except ExecutorUnavailableError as error:
        if devices == "auto":
            raise
        return None, "", [f"{error}: nothing is known of the GPUs"]
    is_blind = gpus is None and min_free_mib is not None and devices != "auto"
    notes = ["gpu_free_mib: no GPU driver answers here, free memory is not checked"] if is_blind else []
    return gpus, trouble, notes


def _bounded(
    settings: SweepSettings, space: SearchSpace, count: int | None, records: Mapping[str, RunRecord]
) -> SearchSpace:
    """Bound an endless search by what ``--count`` adds to what is recorded."""
    if not settings.needs_limit or count is None:
        return space
    n_ended = sum(record.is_ended for record in records.values())
    return replace(space, limit=math.ceil((n_ended + count) / Plan(space).n_seeds))


def _start(
    args: argparse.Namespace,
    settings: SweepSettings,
    *,
    plan: Plan,
    whole: Plan,
    slots: Slots,
    gpus: Sequence[Gpu] | None,
    folder: SweepFolder,
    launcher: Launcher,
    notes: Sequence[str],
    terminal: Terminal,
) -> int:
    from sweepline.engine.loop import Sweep, SweepOptions
    from sweepline.engine.preflight import check_with_trainer
    from sweepline.engine.preloading import RUNS_WORTH_WARMING, plan_warm_start
    from sweepline.executors.local.admission import build_admission
    from sweepline.executors.local.executor import LocalExecutor

    _check_startable(settings, plan, count=args.count)
    _check_limits(slots)
    admission = build_admission(
        slots.all, gpus, min_free_mib=args.gpu_free_mib or settings.gpu_free_mib, sweep=settings.name
    )
    slots.admission = admission
    doubt = folder.lock(take_over=args.take_over)
    try:
        token = secrets.token_hex(8)
        folder.keeper_lock.take(token, say=terminal.write_line)
        folder.keeper_lock.write(token, grace_s=settings.grace_s)
        check_with_trainer(settings, plan, launcher.inherited)
        if folder.finished_archive is not None:
            notes = [*notes, f"an earlier --fresh was cut off; all of it is in {display_path(folder.finished_archive)}"]
        if args.fresh:
            launcher = replace(launcher, sweep_token=secrets.token_hex(3))
            archived = folder.archive(csv=settings.csv_path, table_label=settings.table_label)
            notes = [*notes, *([f"--fresh: earlier records moved to {display_path(archived)}"] if archived else [])]
        old_plan = folder.read_plan()
        if old_plan is None and folder.journal.exists():
            notes = [*notes, "plan.json was missing or damaged; written anew"]
        source = source_of(settings)
        new_plan = _write_inputs(
            settings, whole, old=old_plan, folder=folder, slots=slots, launcher=launcher, source=source
        )
        log_path = _unused_log(settings.experiment_dir / "outputs")
        with _observers(args, settings, slots, log_path, terminal) as (observer, say):
            for note in [*([doubt] if doubt else []), *notes]:
                say(note)
            options = SweepOptions(
                count=args.count,
                retry_failed=args.retry_failed,
                max_failures=args.max_failures,
                keep_going=args.keep_going,
            )
            warm = plan_warm_start(settings, args.start or settings.start)
            n_worth_warming = RUNS_WORTH_WARMING * slots.n_max if (args.start or settings.start) == "auto" else 1
            planned = _planned_ids(plan) if folder.journal.exists() or any(folder.runs.iterdir()) else None
            all_planned = planned if whole is plan else _planned_ids(whole)
            sweep = Sweep(
                settings,
                plan,
                folder=folder,
                slots=slots,
                launcher=launcher,
                observer=observer,
                options=options,
                admission=admission,
                source=source,
                planned=planned,
                whole=all_planned,
                make_executor=lambda watched: LocalExecutor(
                    watched=watched,
                    held=[fd for fd in (folder.keeper_lock.fd, *(admission.leases.fds if admission else ())) if fd],
                    token=token,
                    warm=warm if warm and sweep.has_to_do(n_worth_warming) else None,
                ),
            )
            _take_stock(sweep, say, old_plan=old_plan, new_plan=new_plan)
            sweep.run()
        from sweepline.cli.summary import print_summary

        print_summary(
            settings, sweep.records, folder, log_path, csv_path=sweep.book.table.path, write_line=terminal.write_line
        )
        return _exit_code(sweep.started_records, sweep.signals.first)
    finally:
        if admission is not None:
            admission.close()
        folder.unlock()


def _write_inputs(
    settings: SweepSettings,
    whole: Plan,
    *,
    old: Mapping[str, Any] | None,
    folder: SweepFolder,
    slots: Slots,
    launcher: Launcher,
    source: SourceCode,
) -> Mapping[str, Any]:
    """Write ``plan.json`` and the sweep file as they are at this start; return the plan.

    What the records were read by stays that of the start before until :func:`_take_stock` has read them again.
    """
    from sweepline.engine.planfile import build_plan_record

    source.digest()
    plan = build_plan_record(
        settings,
        whole,
        old=old,
        sweep_token=launcher.sweep_token,
        slots=slots,
        threads=launcher.threads,
        code=source.files,
    )
    folder.write_plan(plan | {"reading": (old or plan).get("reading")})
    folder.freeze(settings.source)
    return plan


def _take_stock(
    sweep: Sweep, say: Callable[[str], None], *, old_plan: Mapping[str, Any] | None, new_plan: Mapping[str, Any]
) -> None:
    """Bring the records up to date with the files as they are now, and say what that changes."""
    old = old_plan or {}
    sweep.open(reads_again=old.get("reading") not in (None, new_plan["reading"]))
    sweep.folder.write_plan(new_plan)
    if old and old.get("search") != new_plan["search"] and sweep.whole is not None:
        say(describe_edit(sweep.book.records, sweep.whole))
    for line in describe_resume(sweep.book.records, sweep.planned, options=sweep.options):
        say(line)
    for line in describe_code(sweep.records, sweep.book.codes, sweep.source):
        say(line)


def _unused_log(folder: Path) -> Path:
    """Return the log of this start, which nobody else has, nor has planted a link for."""
    stamp = f"sweep_{datetime.now():%Y%m%d_%H%M%S}"
    names = itertools.chain([stamp], (f"{stamp}_{i}" for i in itertools.count(2)))
    return next(path for path in (folder / f"{name}.log" for name in names) if not os.path.lexists(path))


def _check_startable(settings: SweepSettings, plan: Plan, *, count: int | None) -> None:
    """Say before anything starts that the program is not there, or that there is nothing to run, or no end to it."""
    problem = missing_program(settings.command)
    if problem:
        own, here = settings.experiment_dir, Path.cwd()
        places = f"{here}" if own.resolve() == here.resolve() else f"{own} and {here}"
        looked = f"; looked in {places}" if "not found" in problem else ""
        raise ConfigError(f"{display_path(settings.path)}: {problem}{looked}")
    if settings.needs_limit and count is None:
        raise ConfigError(
            f"{display_path(settings.path)}: random search needs an end: set samples or run_cap, or --count N"
        )
    if next(plan.runs(), None) is None:
        count_all(plan)
        raise ConfigError(f"{display_path(settings.path)}: no runs to plan")


def _check_limits(slots: Slots) -> None:
    """Say before anything starts that runs cannot be watched here, or that there are too few file descriptors."""
    from sweepline.executors.local.executor import check_available

    check_available()
    needed = _N_DESCRIPTORS + 3 * len(slots.all)  # of each slot a lease and two logs, which the keeper holds
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit < needed:
        raise ExecutorUnavailableError(
            f"a sweep with {len(slots.all)} slots needs {needed} file descriptors, the limit is {limit}: "
            "raise it with ulimit -n, or lower max_concurrent"
        )


def _exit_code(records: Sequence[RunRecord], stop_signal: int | None) -> int:
    if stop_signal is not None:
        return EXIT_SIGNAL_BASE + stop_signal
    return 0 if all(record.state in SUCCESSFUL for record in records) else EXIT_INCOMPLETE


def _planned_ids(plan: Plan) -> set[str] | None:
    """Return the ids of all runs; None where making them would take longer than they are worth."""
    return {run.run_id for run in plan.runs()} if plan.is_small else None


@contextmanager
def _observers(
    args: argparse.Namespace, settings: SweepSettings, slots: Slots, log_path: Path, terminal: Terminal
) -> Iterator[tuple[Observers, Callable[[str], None]]]:
    """Yield what watches the sweep, and a function that says a line everywhere."""
    from sweepline.display.lines import LineDisplay, LiveDisplay, LogFile, Observers

    log = LogFile(log_path)
    to_log = LineDisplay(log.write_line)
    try:
        if terminal.isatty() and not args.plain and not is_dumb():
            from rich.console import Console

            title = f"{settings.name} · {slots.n_max} slots"
            with LiveDisplay(
                Console(file=cast(IO[str], terminal)), title=title, n_slots=slots.n_max, objective=settings.objective
            ) as live:
                observers = Observers([live, to_log])
                yield observers, observers.note
        else:
            observers = Observers([LineDisplay(terminal.write_line, flush=terminal.flush), to_log])
            yield observers, observers.note
    finally:
        log.close()
