"""``sweepline show``: all that is known of a run."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sweepline.cli.asjson import add_json, print_json
from sweepline.cli.chosen import add_run
from sweepline.contract.runfolder import ATTEMPTS, COMMAND
from sweepline.contract.text import display_path, printable
from sweepline.display.formats import format_number, format_seconds
from sweepline.engine.rundiff import FoundRun, find_run
from sweepline.runs import State

HELP = "all that is known of a run: parameters, metrics, files, how it ended, the line that repeats it"
DESCRIPTION = (
    "Tells all that is known of a run: its parameters and metrics, how it ended and why, what it cost, its files, "
    "and the line that does it again by hand."
)
EXAMPLES = (
    ("sweepline show lr0.1-s3", "by its name"),
    ("sweepline show 3f2a", "by the beginning of its id"),
    ("sweepline show 3f2a --json", "for programs"),
)
_MAX_FILES = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_run(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Print what is known of a run.

    Raises:
        SweeplineError: there is no such run.
    """
    found = find_run(args.run_name, args.sweep)
    told = describe_run(found)
    if args.json:
        print_json(told)
        return 0
    for line in _lines(told):
        print(printable(line))
    return 0


def describe_run(found: FoundRun) -> dict[str, Any]:
    """Return what is known of a run, as ``--json`` prints it."""
    record, outcome, run_dir = found.record, found.record.outcome, run_dir_of(found)
    state = record.state
    if state == State.RUNNING and found.sweep.folder.is_locked() is False:
        state = State.INTERRUPTED
    return {
        "id": record.run_id,
        "name": record.name,
        "sweep": found.sweep.plan.get("sweep", found.sweep.folder.path.name),
        "state": state,
        "reason": record.reason,
        "exit_code": None if outcome is None else outcome.exit_code,
        "signal": None if outcome is None else outcome.signal,
        "attempt": record.attempt,
        "in_sweep": record.in_sweep,
        "tags": record.tags.split(),
        "seed": record.seed,
        "parameters": dict(record.params),
        "metrics": dict(record.metrics),
        "device": record.device,
        "host": "" if outcome is None else outcome.host,
        "started_at": record.started_at,
        "duration_s": record.duration_s,
        "peak_memory_gib": record.peak_memory_gib,
        "cpu_hours": record.cpu_hours,
        "gpu_hours": record.gpu_hours,
        "code": record.code,
        "path": run_dir,
        "command": read_command(run_dir),
        "files": {str(path.relative_to(run_dir)): path.stat().st_size for path in _files(run_dir)},
        "attempts": sorted(path.name for path in (run_dir / ATTEMPTS).glob("*/")),
    }


def run_dir_of(found: FoundRun) -> Path:
    """Return the folder of a run."""
    return found.sweep.folder.run_dir(found.record.run_id)


def read_command(run_dir: Path) -> str:
    """Return the line that does the run again by hand; empty where it was not kept."""
    try:
        text = (run_dir / COMMAND).read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:  # its folder was cleared away
        return ""
    return next((line for line in text.splitlines() if line and not line.startswith("#")), "")


def notes_on_command(command: str, run_id: str) -> Iterator[str]:
    """Yield what whoever pastes the command of a run should know: whether its folders are those of this machine."""
    try:
        words = shlex.split(command.partition(" && ")[0])
    except ValueError:  # a folder whose name has this sign in it
        return
    if words[:1] == ["cd"] and not Path(words[-1]).is_dir():
        yield f"{words[-1]} is not on this machine; sweepline rerun {run_id} does it here"


def _files(run_dir: Path) -> list[Path]:
    found = (path for path in run_dir.rglob("*") if path.is_file() and path.relative_to(run_dir).parts[0] != ATTEMPTS)
    return sorted(found)


def _lines(told: Mapping[str, Any]) -> Iterator[str]:
    yield f"{told['name']} ({told['id']}) of {told['sweep']}"
    why = f": {told['reason']}" if told["reason"] else ""
    code = f", exit code {told['exit_code']}" if told["exit_code"] else ""
    yield f"{'state':12} {told['state']}{code}{why}"
    yield f"{'attempt':12} {told['attempt']}, started {told['started_at']} on {told['device']} {told['host']}".rstrip()
    yield f"{'took':12} {format_seconds(told['duration_s'])}{_cost(told)}"
    if told["in_sweep"] != "yes":
        yield f"{'in the sweep':12} {told['in_sweep']}"
    if told["tags"]:
        yield f"{'tags':12} {' '.join(told['tags'])}"
    yield "parameters"
    seed = {} if told["seed"] is None or "seed" in told["parameters"] else {"seed": told["seed"]}
    for name, value in {**told["parameters"], **seed}.items():
        yield f"  {name} = {value}"
    if told["metrics"]:
        yield "metrics"
    for name, value in told["metrics"].items():
        yield f"  {name} = {format_number(value)}"
    yield f"folder       {display_path(told['path'])}"
    for name, size in list(told["files"].items())[:_MAX_FILES]:
        yield f"  {name} ({size:,} bytes)"
    if len(told["files"]) > _MAX_FILES:
        yield f"  ({len(told['files']) - _MAX_FILES} more files)"
    if told["command"]:
        yield "by hand"
        yield f"  {told['command']}"
        yield from (f"  ({note})" for note in notes_on_command(told["command"], told["id"]))


def _cost(told: Mapping[str, Any]) -> str:
    parts = [
        "" if told["peak_memory_gib"] is None else f"{told['peak_memory_gib']:.2f} GiB of memory at most",
        "" if told["cpu_hours"] is None else f"{told['cpu_hours']:.3g} h of processor time",
        f"{told['gpu_hours']:.3g} h of GPU time" if told["gpu_hours"] else "",
    ]
    return "".join(f", {part}" for part in parts if part)
