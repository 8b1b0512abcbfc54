"""``sweepline run`` and ``orchestrate_sweep.py``: from arguments to a running sweep and an exit code."""

from __future__ import annotations

import argparse
import hashlib
import platform
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from sweepline import __version__
from sweepline.cli.dry_run import print_dry_run
from sweepline.config.command import missing_program
from sweepline.config.sweepfile import SweepSettings, load_sweep
from sweepline.devices import Slots, build_slots, read_gpus, thread_budget
from sweepline.errors import ConfigError
from sweepline.launch import Launcher
from sweepline.preflight import check_with_trainer
from sweepline.recording.folders import SweepFolder
from sweepline.recording.history import RunRecord, fold
from sweepline.recording.journal import read_events
from sweepline.runs import SUCCESSFUL
from sweepline.space.plan import Plan, count_all
from sweepline.values import display_path

EXIT_INCOMPLETE, EXIT_SIGNAL_BASE = 1, 128
MAX_PLAN_COMPARED = 200_000


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
    parser.add_argument("--count", type=_positive, metavar="N", help="start at most N runs now")
    parser.add_argument("--retry-failed", action="store_true", help="run failed runs again")
    parser.add_argument("--max-failures", type=_positive, metavar="N", help="stop launching after N failures")
    parser.add_argument("--keep-going", action="store_true", help="go on although the first runs all fail")
    parser.add_argument("--fresh", action="store_true", help="archive what was recorded and start over")
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
    settings = load_sweep(args.sweep, fixed=args.fixed, is_strict=args.strict)
    devices = settings.devices
    if args.devices:
        devices = args.devices if args.devices in ("auto", "cpu") else args.devices.split(",")
    gpus = None if devices == "cpu" else read_gpus()
    max_concurrent = args.max_concurrent or settings.max_concurrent
    slots, device_notes = build_slots(
        devices, runs_per_device=settings.runs_per_device, max_concurrent=max_concurrent, gpus=gpus
    )
    folder = SweepFolder(settings.sweep_dir)
    records = fold(read_events(folder.journal)) if not args.fresh else {}
    plan = Plan(_bounded(settings, args.count, records))
    notes = [*settings.warnings, *device_notes]
    launcher = Launcher(
        settings=settings,
        runs_dir=folder.runs,
        sweep_token=str((folder.read_plan() or {}).get("sweep_token") or secrets.token_hex(3)),
        threads=thread_budget(settings.threads, slots.n_max),
    )
    if args.dry_run:
        problem = missing_program(settings.command)
        print_dry_run(
            settings, plan, slots, launcher, records, notes=[*notes, *([problem] if problem else [])], count=args.count
        )
        return 0
    return _start(args, settings, plan=plan, slots=slots, folder=folder, launcher=launcher, notes=notes)


def _bounded(settings: SweepSettings, count: int | None, records: dict[str, RunRecord]) -> Any:
    """Bound an endless search by what ``--count`` adds to what is recorded."""
    if not settings.needs_limit:
        return settings.space
    n_ended = sum(record.is_ended for record in records.values())
    n_seeds = max(1, len(settings.space.seeds))
    return settings.space if count is None else replace(settings.space, limit=-(-(n_ended + count) // n_seeds))


def _start(
    args: argparse.Namespace,
    settings: SweepSettings,
    *,
    plan: Plan,
    slots: Slots,
    folder: SweepFolder,
    launcher: Launcher,
    notes: Sequence[str],
) -> int:
    from sweepline.sweep import Sweep, SweepOptions

    problem = missing_program(settings.command)
    if problem:
        raise ConfigError(
            f"{display_path(settings.path)}: {problem}; looked in {display_path(settings.experiment_dir)} "
            f"and {Path.cwd()}"
        )
    if settings.needs_limit and args.count is None:
        raise ConfigError(
            f"{display_path(settings.path)}: random search needs an end: set samples or run_cap, or --count N"
        )
    first = next(plan.runs(), None)
    if first is None:
        count_all(plan)
        raise ConfigError(f"{display_path(settings.path)}: no runs to plan")
    folder.lock()
    try:
        if args.fresh:
            launcher = replace(launcher, sweep_token=secrets.token_hex(3))
            archived = folder.archive(csv=settings.csv_path)
            notes = [*notes, *([f"--fresh: earlier records moved to {display_path(archived)}"] if archived else [])]
        check_with_trainer(settings, first, launcher.inherited)
        old_plan = folder.read_plan()
        folder.write_plan(_plan_record(settings, plan, slots, launcher, old_plan))
        folder.freeze(settings.source)
        log_path = settings.experiment_dir / "outputs" / f"sweep_{datetime.now():%Y%m%d_%H%M%S}.log"
        with _observers(args, settings, slots, log_path) as (observer, say):
            for note in notes:
                say(note)
            options = SweepOptions(
                count=args.count,
                retry_failed=args.retry_failed,
                max_failures=args.max_failures,
                keep_going=args.keep_going,
            )
            planned = _planned_ids(plan) if folder.journal.exists() else None
            sweep = Sweep(
                settings,
                plan,
                folder=folder,
                slots=slots,
                launcher=launcher,
                observer=observer,
                options=options,
                planned=planned,
            )
            has_changed = old_plan is not None and old_plan.get("inputs") != _inputs(settings)
            for line in describe_resume(sweep.book.records, planned, has_changed=has_changed):
                say(line)
            sweep.run()
        from sweepline.cli.summary import print_summary

        print_summary(settings, sweep.records, folder, log_path, csv_path=sweep.book.table.path)
        return _exit_code(sweep.records, sweep.signals.first)
    finally:
        folder.unlock()


def _exit_code(records: Sequence[RunRecord], stop_signal: int | None) -> int:
    if stop_signal is not None:
        return EXIT_SIGNAL_BASE + stop_signal
    return 0 if all(record.state in SUCCESSFUL for record in records) else EXIT_INCOMPLETE


def _planned_ids(plan: Plan) -> set[str] | None:
    """Return the ids of all runs; None where making them would take longer than they are worth."""
    is_large = (plan.n_combinations or plan.space.limit or 0) > MAX_PLAN_COMPARED
    return None if is_large else {run.run_id for run in plan.runs()}


def describe_resume(records: dict[str, RunRecord], planned: set[str] | None, *, has_changed: bool) -> Iterator[str]:
    """Yield what a start finds: runs done, interrupted and to do; and what an edited sweep file changed."""
    if not records:
        return
    if planned is None:
        yield f"resuming: {len(records):,} runs are recorded"
        return
    kept = [record for run_id, record in records.items() if run_id in planned]
    n_new = len(planned) - len(kept)
    if has_changed:
        n_gone = len(records) - len(kept)
        yield f"sweep file changed: {len(kept)} runs kept, {n_gone} no longer in the sweep, {n_new} new"
    n_finished = sum(record.state in SUCCESSFUL for record in kept)
    n_open = sum(not record.is_ended for record in kept)
    n_failed = len(kept) - n_finished - n_open
    failed = f", {n_failed} failed (--retry-failed runs them again)" if n_failed else ""
    yield f"resuming: {n_finished} finished, {n_open} interrupted{failed}, {n_new + n_open} to do"


@contextmanager
def _observers(
    args: argparse.Namespace, settings: SweepSettings, slots: Slots, log_path: Path
) -> Iterator[tuple[Any, Any]]:
    """Yield what watches the sweep, and a function that says a line everywhere."""
    from sweepline.display import LineDisplay, LiveDisplay, LogFile, Observers, TerminalLines

    log = LogFile(log_path)
    to_log = LineDisplay(log.write_line)
    try:
        if sys.stdout.isatty() and not args.plain:
            from rich.console import Console

            title = f"{settings.name} · {slots.n_max} slots"
            with LiveDisplay(Console(), title=title, n_slots=slots.n_max, objective=settings.objective) as live:
                observers = Observers([live, to_log])
                yield observers, observers.note
        else:
            observers = Observers([LineDisplay(TerminalLines().write_line), to_log])
            yield observers, observers.note
    finally:
        log.close()


def _inputs(settings: SweepSettings) -> dict[str, str]:
    """Return the hash of every file that decides what runs."""
    files = {display_path(settings.path): settings.source}
    for path in (settings.command.config, settings.command.program_path):
        if path is not None:
            files[display_path(path)] = path.read_bytes()
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    return hashes | {"parameters": hashlib.sha256(repr(settings.space.parameters).encode()).hexdigest()}


def _plan_record(
    settings: SweepSettings, plan: Plan, slots: Slots, launcher: Launcher, old: dict[str, Any] | None
) -> dict[str, Any]:
    space = settings.space
    start = {"at": datetime.now().astimezone().isoformat(timespec="seconds"), "argv": sys.argv[1:]}
    return {
        "version": 1,
        "sweep": settings.name,
        "sweep_token": launcher.sweep_token,
        "sweepline": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "host": platform.node(),
        "git_commit": _git_commit(settings.experiment_dir),
        "inputs": _inputs(settings),
        "method": space.method,
        "n_combinations": plan.n_combinations,
        "limit": space.limit,
        "seeds": list(space.seeds),
        "sampler_seed": space.sampler_seed,
        "parameters": {name: repr(parameter) for name, parameter in space.parameters.items()},
        "constraints": [rule.text for rule in space.rules],
        "objective": None
        if settings.objective is None
        else {"name": settings.objective.name, "goal": settings.objective.goal},
        "slots": [slot.label for slot in slots.all],
        "max_concurrent": slots.n_max,
        "threads": launcher.threads,
        "csv": str(settings.csv_path or settings.sweep_dir / "runs.csv"),
        "starts": [*((old or {}).get("starts") or []), start],
    }


def _git_commit(folder: Path) -> str | None:
    git = shutil.which("git")
    if git is None:
        return None
    result = subprocess.run([git, "-C", str(folder), "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return result.stdout.strip() or None
