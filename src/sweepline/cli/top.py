"""``sweepline top``: all sweeps of this machine, and who holds which slot and GPU."""

from __future__ import annotations

import argparse
import os
import pwd
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sweepline.cli.asjson import add_json, print_json
from sweepline.cli.watching import add_watch, watch
from sweepline.contract.text import display_path, printable
from sweepline.display.formats import align_columns, format_seconds
from sweepline.engine.planfile import count_planned
from sweepline.engine.recorded import open_recorded
from sweepline.errors import SweeplineError
from sweepline.executors.local.census import RunningProcess, find_runs
from sweepline.executors.local.gpus import Gpu, read_gpus
from sweepline.recording.events import RunRecord
from sweepline.runs import UNSUCCESSFUL

HELP = "all sweeps of this machine, and who holds which slot"
DESCRIPTION = (
    "Shows all sweeps of this machine of which runs are under way, whoever started them: which run is on which "
    "device, for how long, with how much memory, and how full the GPUs are."
)
EXAMPLES = (
    ("sweepline top", "who uses what now"),
    ("sweepline top --watch", "look every 2 s"),
    ("sweepline top --json", "the same for a program"),
)


@dataclass(frozen=True, slots=True)
class _Sweep:
    """A sweep of which runs are under way; its counts are None where its records cannot be read."""

    name: str
    path: Path
    runs: Sequence[RunningProcess]
    records: Mapping[str, RunRecord]
    n_ended: int | None = None
    n_failed: int | None = None
    n_total: int | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_watch(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Show the sweeps of this machine."""
    if args.json:
        sweeps, gpus, n_hidden = _look()
        print_json(_as_json(sweeps, gpus, n_hidden))
        return 0
    if args.watch:
        return watch(lambda: (_describe(*_look()), True))
    for line in _describe(*_look()):
        print(line)
    return 0


def _look() -> tuple[list[_Sweep], Sequence[Gpu], int]:
    processes, n_hidden = find_runs()
    by_folder: dict[Path, list[RunningProcess]] = {}
    for process in processes:
        by_folder.setdefault(process.run_dir.parent.parent, []).append(process)
    gpus, _ = read_gpus()
    return [_read(folder, runs) for folder, runs in by_folder.items()], gpus or (), n_hidden


def _read(folder: Path, runs: Sequence[RunningProcess]) -> _Sweep:
    """Return a sweep with what its records say, as far as they can be read: it may be somebody else's."""
    try:
        found = open_recorded(folder)
    except (SweeplineError, OSError):
        return _Sweep(folder.name, folder, runs, {})
    records = [record for record in found.records.values() if record.belongs]
    n_total = count_planned(found.plan, found.records.values())
    return _Sweep(
        name=str(found.plan.get("sweep") or folder.name),
        path=folder,
        runs=runs,
        records=found.records,
        n_ended=sum(record.is_ended for record in records),
        n_failed=sum(record.state in UNSUCCESSFUL for record in records),
        n_total=n_total if isinstance(n_total, int) else None,
    )


def _describe(sweeps: Sequence[_Sweep], gpus: Sequence[Gpu], n_hidden: int) -> list[str]:
    lines = []
    for sweep in sweeps:
        of = f" of {sweep.n_total:,}" if sweep.n_total is not None else ""
        told = f", {sweep.n_ended:,}{of} ended" if sweep.n_ended is not None else ""
        failed = f", {sweep.n_failed:,} failed" if sweep.n_failed else ""
        n = len(sweep.runs)
        lines.append(f"{sweep.name} ({display_path(sweep.path)}): {n} run{'s' * (n != 1)} under way{told}{failed}")
        rows = [
            [
                _device(sweep, process) or "-",
                format_seconds(process.elapsed_s),
                f"{process.rss_kib / 1024:.0f} MiB",
                str(process.pid),
                _user(process.user),
                _name(sweep, process),
            ]
            for process in sweep.runs
        ]
        lines += _table(["device", "for", "memory", "pid", "user", "run"], rows)
    if not sweeps:
        lines.append("no run of a sweep is under way on this machine")
    for gpu in gpus:
        holders = [f"{s.name} {_name(s, p)}" for s in sweeps for p in s.runs if _is_on(_device(s, p), gpu)]
        held = ", ".join(holders) or "no run of a sweep"
        lines.append(f"gpu {gpu.index}: {gpu.free_mib:,} of {gpu.total_mib:,} MiB free; {held}")
    if n_hidden and os.geteuid() != 0:
        lines.append(f"({n_hidden} processes of other users cannot be looked at; root sees all)")
    return [printable(line) for line in lines]


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"  {line}" for line in align_columns([header, *rows])]


def _name(sweep: _Sweep, process: RunningProcess) -> str:
    record = sweep.records.get(process.run_id)
    return process.run_id if record is None else record.name


def _device(sweep: _Sweep, process: RunningProcess) -> str:
    record = sweep.records.get(process.run_id)
    return "" if record is None else record.device


def _is_on(device: str, gpu: Gpu) -> bool:
    named = device.replace("gpu", "").replace(" ", "").split(",")
    return str(gpu.index) in named or gpu.uuid in named


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def _as_json(sweeps: Sequence[_Sweep], gpus: Sequence[Gpu], n_hidden: int) -> dict[str, Any]:
    return {
        "sweeps": [
            {
                "sweep": sweep.name,
                "path": sweep.path,
                "n_ended": sweep.n_ended,
                "n_failed": sweep.n_failed,
                "n_total": sweep.n_total,
                "runs": [
                    {**asdict(run), "name": _name(sweep, run), "device": _device(sweep, run)} for run in sweep.runs
                ],
            }
            for sweep in sweeps
        ],
        "gpus": [asdict(gpu) for gpu in gpus],
        "n_hidden_processes": n_hidden,
    }
