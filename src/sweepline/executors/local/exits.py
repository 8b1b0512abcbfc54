"""How runs of this machine ended: as the keeper tells it, and as ``exit.json`` keeps it for whoever comes later."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sweepline.contract.runfolder import STDERR, STDOUT
from sweepline.executors.base import DISK_FULL, Attempt, Exit, StopReason
from sweepline.executors.local.keeper import exitfile

_ALWAYS_TOLD = ("exit_code", "signal", "duration_s", "max_rss_kib")
_TOLD_LATELY = ("cpu_s", "host", "is_disk_full", "is_warm", "is_out_of_memory")  # not by older versions


def exit_of(record: Mapping[str, Any]) -> Exit:
    """Return the end that a record of the keeper tells; KeyError and ValueError where it is none."""
    stopped = StopReason(record["stopped"]) if record["stopped"] else None
    if "not_started" in record:
        is_disk_full = record["errno"] in DISK_FULL
        return Exit(stopped=stopped, not_started=record["not_started"], is_disk_full=is_disk_full)
    n_left = record.get("n_left_behind", 0)
    left = (f"left {n_left} process{'es' if n_left > 1 else ''} behind, killed",) if n_left else ()
    told = {name: record[name] for name in _ALWAYS_TOLD}
    told |= {name: record[name] for name in _TOLD_LATELY if name in record}
    lost = {"is_slot_lost": record.get("is_unkillable", False), "is_output_lost": record.get("is_log_lost", False)}
    return Exit(**told | lost, stopped=stopped, remarks=left)


def read_exit(run_dir: Path) -> tuple[int, Exit] | None:
    """Return the attempt and its end as ``exit.json`` tells them; None when it is not there or not whole.

    A record whose logs are shorter than it says is not believed either: a power cut took their ends, and metrics too.
    """
    record = exitfile.read(str(run_dir))
    try:
        if record is None or _n_log_bytes(run_dir) < record.get("n_log_bytes", 0):
            return None
        return record["attempt"], exit_of(record)
    except (ValueError, KeyError, TypeError):
        return None


def read_end(run_dir: Path, attempt: int) -> Exit | None:
    """Return how an attempt has ended; None where its folder does not tell it, or tells it of another attempt."""
    found = read_exit(run_dir)
    return found[1] if found is not None and found[0] == attempt else None


def find_exits(attempts: Sequence[Attempt]) -> dict[str, Exit]:
    """Return by run id how attempts have ended, of those whose folders tell it."""
    found = {attempt.run_id: read_end(attempt.run_dir, attempt.attempt) for attempt in attempts}
    return {run_id: end for run_id, end in found.items() if end is not None}


def _n_log_bytes(run_dir: Path) -> int:
    logs = [run_dir / STDOUT, run_dir / STDERR]
    return sum(log.stat().st_size for log in logs if log.exists())
