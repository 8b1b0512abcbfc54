"""``batch_size_tuning.json``: what every run of an experiment used, how it went, and what the next should use.

Written under the experiment's lock and by rename, so that writers at the same time lose nothing and readers see whole
files. A run writes its record before it trains, so that one which is killed is known too.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from sweepline.errors import ConfigError
from sweepline.training.experiment import SHRINK, TUNING_LOG, locked, write_whole

SUCCESS, FAILED, SKIPPED, REUSED, RUNNING = "success", "failed", "skipped", "reused", "running"
KILLED = "killed: it ended without a word"


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningRecord:
    """One run. Sizes count examples; ``run_batch_size`` is what trained, ``training_error`` None while all is well.

    ``tuner_cap`` is the largest size that the tuner would have found, whatever the memory. ``tuning_key`` tells set-ups
    apart that need different amounts of it. ``process`` is the process that trains,
    as long as it does.
    """

    run_number: int
    timestamp: str
    config_key: str
    default_batch_size: int
    tuned_batch_size_previous: int | None
    optimize_batch_size: bool
    safety_factor: float
    tuner_max_batch_size: int | None = None
    tuner_cap: int | None = None
    tuner_trials: int | None = None
    tuner_status: str | None = None
    run_batch_size: int | None = None
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
_DEFAULTS: dict[str, Any] = {
    "timestamp": "",
    "config_key": "",
    "default_batch_size": 64,
    "tuned_batch_size_previous": None,
    "optimize_batch_size": False,
    "safety_factor": 0.5,
}


def read_records(experiment_dir: Path) -> dict[int, TuningRecord]:
    """Return all records by run number; those of older versions too. Nothing of a log that is not there.

    Raises:
        ConfigError: the log is damaged.
    """
    path = experiment_dir / TUNING_LOG
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        records = content["records"]
        return {int(number): _from_dict(int(number), value) for number, value in records.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"{path}: is no tuning log ({error}); move it away, and the next run begins a new one"
        ) from None


def _from_dict(number: int, value: Mapping[str, Any]) -> TuningRecord:
    known = {name: item for name, item in value.items() if name in _FIELDS}
    return TuningRecord(**{**_DEFAULTS, **known, "run_number": number})


def write_record(experiment_dir: Path, record: TuningRecord) -> None:
    """Add or replace a run's record.

    Raises:
        ConfigError: the log is damaged, or cannot be written.
    """
    with locked(experiment_dir):
        _change(experiment_dir, lambda records: {**records, record.run_number: record})


def finish_record(
    experiment_dir: Path, record: TuningRecord, *, error: str | None = None, ran_out_at: int | None = None
) -> TuningRecord:
    """Write how training ended, with what the next run should use; return the record.

    ``ran_out_at`` is the size with which memory ran out.
    """
    with locked(experiment_dir):
        records = read_records(experiment_dir)
        finished = replace(
            record,
            training_succeeded=error is None,
            training_error=error,
            recommended_batch_size=recommend(records, record, succeeded=error is None, ran_out_at=ran_out_at),
            process=None,
        )
        _change(experiment_dir, lambda known: {**known, record.run_number: finished})
    return finished


def recommend(
    records: Mapping[int, TuningRecord], record: TuningRecord, *, succeeded: bool, ran_out_at: int | None
) -> int | None:
    """Return the size that the next run should use.

    What was used, after a success. After memory ran out the size of the latest success of such a set-up that is
    smaller, else 0.8 of it. After any other error nothing follows for the size.
    """
    if succeeded:
        return record.run_batch_size
    if ran_out_at is None:
        return None
    for number in sorted(records, reverse=True):
        other = records[number]
        size = other.run_batch_size
        if (
            other.training_succeeded
            and other.tuning_key == record.tuning_key
            and size is not None
            and size < ran_out_at
        ):
            return size
    return max(1, int(ran_out_at * SHRINK))


def note_killed(experiment_dir: Path) -> list[int]:
    """Say of runs whose process is no more that they were killed; return their numbers."""
    if not any(_is_dead(record) for record in read_records(experiment_dir).values()):
        return []
    found: list[int] = []

    def mark(records: Mapping[int, TuningRecord]) -> dict[int, TuningRecord]:
        found[:] = [number for number, record in records.items() if _is_dead(record)]
        killed = {number: replace(records[number], training_error=KILLED, process=None) for number in found}
        return {**records, **killed}

    with locked(experiment_dir):
        _change(experiment_dir, mark)
    return found


def _change(experiment_dir: Path, change: Callable[[Mapping[int, TuningRecord]], Mapping[int, TuningRecord]]) -> None:
    records = change(read_records(experiment_dir))
    content = {
        "records": {str(number): asdict(records[number]) for number in sorted(records)},
        "last_updated": datetime.now().isoformat(),
    }
    write_whole(experiment_dir / TUNING_LOG, json.dumps(content, indent=2) + "\n")


def this_process() -> dict[str, Any]:
    """Return what tells this process from any other, also after its number has been given away."""
    return {"host": platform.node(), "boot": _boot(), "pid": os.getpid(), "started": _started(os.getpid())}


def _is_dead(record: TuningRecord) -> bool:
    """Whether a run's process is gone; of another machine's nothing is known."""
    process = record.process
    if not process or process.get("host") != platform.node():
        return False
    if process.get("boot") != _boot():
        return True
    return _started(int(process.get("pid", 0))) != process.get("started")


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
