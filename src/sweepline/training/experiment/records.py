"""What every run of an experiment used, how it went, and what the next should use; the files are in ``recordfiles``.

Written under the experiment's lock and by rename, so that writers at the same time lose nothing. A run writes its
record before it trains, so that one which is killed is known too.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from sweepline.training.experiment.folder import locked
from sweepline.training.experiment.recordfiles import (
    forget_running,
    keep_record,
    make_log,
    read_newest_first,
    read_record,
    record_path,
    running_numbers,
    set_aside,
)

SUCCESS, FAILED, SKIPPED, REUSED, RUNNING = "success", "failed", "skipped", "reused", "running"
KILLED = "killed: it ended without a word"
OUT_OF_MEMORY = "out of memory"
SHRINK = 0.8  # of a size that ran out of memory, where no smaller one is known to work


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningRecord:
    """One run. Sizes count examples; ``run_batch_size`` is what trained, ``training_error`` None while all is well.

    ``tuner_cap`` is the largest size that the tuner would have found, whatever the memory, ``tuner_run`` the run whose
    tuner it was. ``effective_step_size`` is what the optimizer began with. ``tuning_key`` is the same of set-ups that
    need the same memory. ``process`` is the process that trains, as long as it does.
    """

    run_number: int
    timestamp: str
    config_key: str
    default_batch_size: int
    tuned_batch_size_previous: int | None
    optimize_batch_size: bool | str
    safety_factor: float
    tuner_max_batch_size: int | None = None
    tuner_cap: int | None = None
    tuner_run: int | None = None
    tuner_trials: int | None = None
    tuner_status: str | None = None
    run_batch_size: int | None = None
    effective_step_size: float | None = None
    training_succeeded: bool = False
    training_error: str | None = None
    recommended_batch_size: int | None = None
    notes: str = ""
    probes: list[dict[str, Any]] = field(default_factory=list)
    tuning_key: str | None = None
    evaluation_batch_size: int | None = None
    memory_limit_bytes: int | None = None
    process: dict[str, Any] | None = None


_FIELDS = {item.name for item in fields(TuningRecord)}
_SIZES = ("tuner_max_batch_size", "tuner_cap", "run_batch_size", "recommended_batch_size", "evaluation_batch_size")
_DEFAULTS: dict[str, Any] = {
    "timestamp": "",
    "config_key": "",
    "default_batch_size": 64,
    "tuned_batch_size_previous": None,
    "optimize_batch_size": False,
    "safety_factor": 0.5,
}


def newest_first(experiment_dir: Path) -> Iterator[TuningRecord]:
    """Yield records from the highest number down, each read when it is asked for."""
    for number, value in read_newest_first(experiment_dir):
        record = _from_dict(experiment_dir, number, value)
        if record is not None:
            yield record


def find_record(experiment_dir: Path, number: int | None) -> TuningRecord | None:
    """Return the record of a run; None where there is none."""
    value = read_record(experiment_dir, number) if number is not None else None
    return _from_dict(experiment_dir, number, value) if number is not None and value is not None else None


def _from_dict(experiment_dir: Path, number: int, value: Mapping[str, Any]) -> TuningRecord | None:
    known = {name: item for name, item in value.items() if name in _FIELDS}
    sizes = [known.get(name) for name in _SIZES]
    if all(size is None or (isinstance(size, int) and size > 0) for size in sizes):
        return TuningRecord(**{**_DEFAULTS, **known, "run_number": number})
    set_aside(record_path(experiment_dir, number), "holds sizes that are none")
    return None


def write_record(experiment_dir: Path, record: TuningRecord) -> None:
    """Add or replace a run's record.

    Raises:
        ConfigError: the folder cannot be written.
    """
    with locked(experiment_dir):
        keep_record(experiment_dir, record.run_number, asdict(record), is_running=record.process is not None)


def finish_record(
    experiment_dir: Path, record: TuningRecord, *, error: str | None = None, ran_out_at: int | None = None
) -> TuningRecord:
    """Write how training ended, with what the next run should use; return the record.

    ``ran_out_at`` is the size with which memory ran out. A run that has ended well stays so.
    """
    known = find_record(experiment_dir, record.run_number)
    if error is not None and known is not None and known.training_succeeded:
        return known
    finished = replace(
        record,
        training_succeeded=error is None,
        training_error=error,
        recommended_batch_size=record.run_batch_size if error is None else None,
        process=None,
    )
    if error is not None and ran_out_at is not None:
        finished = replace(
            finished, recommended_batch_size=smaller_size(newest_first(experiment_dir), record, ran_out_at)
        )
    write_record(experiment_dir, finished)
    return finished


def join_notes(*notes: str) -> str:
    """Return notes in one line, empty ones left out."""
    return "; ".join(note for note in notes if note)


def smaller_size(newest: Iterable[TuningRecord], record: TuningRecord, ran_out_at: int) -> int:
    """Return the size to go on with after memory ran out.

    That of the latest success of such a set-up that is smaller, else 0.8 of what failed.
    """
    for other in newest:
        size = other.run_batch_size
        is_alike = other.training_succeeded and other.tuning_key == record.tuning_key
        if is_alike and size is not None and size < ran_out_at:
            return size
    return max(1, int(ran_out_at * SHRINK))


def mark_killed(experiment_dir: Path) -> list[int]:
    """Say of runs whose process is no more that they were killed; return their numbers."""
    killed = []
    for number in running_numbers(experiment_dir):
        if _is_alive(find_record(experiment_dir, number)):
            continue
        with locked(experiment_dir):
            record = find_record(experiment_dir, number)  # again: it may have ended, or gone on, meanwhile
            if record is None or record.process is None:  # it was killed while it wrote its end
                make_log(experiment_dir)
                forget_running(experiment_dir, number)
            elif not _is_alive(record):
                ended = replace(record, training_error=KILLED, process=None)
                keep_record(experiment_dir, number, asdict(ended), is_running=False)
                killed.append(number)
    return killed


def this_process() -> dict[str, Any]:
    """Return what identifies this process, also after the system has given its number to another."""
    return {"host": platform.node(), "boot": _boot(), "pid": os.getpid(), "started": _started(os.getpid())}


def _is_alive(record: TuningRecord | None) -> bool:
    """Whether a run's process is there, as far as is known: of another machine's nothing is."""
    process = record.process if record is not None else None
    if process is None:
        return False
    if not process or process.get("host") != platform.node():
        return True
    return process.get("boot") == _boot() and _started(int(process.get("pid", 0))) == process.get("started")


def _boot() -> str:
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return ""


def _started(pid: int) -> int | None:
    """Return when a process began, in ticks since the machine did; None when there is none, or it is a zombie."""
    with suppress(OSError, IndexError, ValueError):
        fields_after_name = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return None if fields_after_name[0] == b"Z" else int(fields_after_name[19])
    return None
