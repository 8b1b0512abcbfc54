"""The files that hold the records of an experiment's runs: one a run, and all of them in one file. Not what they mean.

``tuning/run_001.json`` is the record of run 1, whole at any moment; ``tuning/run_001.running`` is there as long as it
trains. ``batch_size_tuning.json`` holds the runs that have ended, for people and other programs: it grows at its end by
a record a run, and is made anew from ``tuning/`` where it is damaged.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from sweepline.training.experiment.folder import RECORDS, TUNING_LOG, write_whole
from sweepline.training.reporting.console import say

Record = Mapping[str, Any]
_NAME = re.compile(r"run_(\d+)\.json")
_RUNNING = re.compile(r"run_(\d+)\.running")
_HEAD = '{"records": {\n'
_TAIL = '\n}}, "last_updated": "{:26}"}}\n'
_TAIL_LENGTH = len(_TAIL.format(""))
_TAIL_PATTERN = re.compile(rb'\n}, "last_updated": "[0-9T:.-]{26}"}\n')


def record_path(experiment_dir: Path, number: int) -> Path:
    """Return where the record of a run is."""
    return experiment_dir / RECORDS / f"run_{number:03d}.json"


def read_record(experiment_dir: Path, number: int) -> Record | None:
    """Return the record of a run; None where there is none, or it is damaged."""
    path = record_path(experiment_dir, number)
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        value = None
    if isinstance(value, dict):
        return value
    set_aside(path, "is no record of a run")
    return None


def read_newest_first(experiment_dir: Path) -> Iterator[tuple[int, Record]]:
    """Yield runs and their records, each read when it is asked for."""
    if not (experiment_dir / RECORDS).is_dir():
        yield from sorted(_read_log(experiment_dir).items(), reverse=True)
        return
    for number in sorted(_numbers(experiment_dir, _NAME), reverse=True):
        record = read_record(experiment_dir, number)
        if record is not None:
            yield number, record


def running_numbers(experiment_dir: Path) -> list[int]:
    """Return the runs that train, as far as is known."""
    return sorted(_numbers(experiment_dir, _RUNNING))


def keep_record(experiment_dir: Path, number: int, record: Record, *, is_running: bool) -> None:
    """Write the record of a run; the caller holds the experiment's lock."""
    _divide_old_log(experiment_dir)
    path = record_path(experiment_dir, number)
    was_listed = path.exists() and not path.with_suffix(".running").exists()
    path.parent.mkdir(parents=True, exist_ok=True)
    if is_running:
        path.with_suffix(".running").touch()
    write_whole(path, json.dumps(record, indent=2) + "\n")
    if was_listed or (not is_running and not _append(experiment_dir / TUNING_LOG, number, record)):
        make_log(experiment_dir)
    if not is_running:
        path.with_suffix(".running").unlink(missing_ok=True)


def forget_running(experiment_dir: Path, number: int) -> None:
    """Drop the mark of a run that trains."""
    record_path(experiment_dir, number).with_suffix(".running").unlink(missing_ok=True)


def make_log(experiment_dir: Path) -> None:
    """Write ``batch_size_tuning.json`` anew; the caller holds the experiment's lock."""
    records = sorted(read_newest_first(experiment_dir), key=lambda item: item[0])
    lines = [_line(number, record) for number, record in records if _ended(record)]
    write_whole(experiment_dir / TUNING_LOG, _HEAD + ",\n".join(lines) + _tail())


def _ended(record: Record) -> bool:
    return not record.get("process")


def _append(path: Path, number: int, record: Record) -> bool:
    """Whether a record could be put at the end of the log: it is there, and ends as it should."""
    try:
        with path.open("r+b") as file:
            file.seek(-_TAIL_LENGTH, os.SEEK_END)
            if not _TAIL_PATTERN.fullmatch(file.read()):
                raise ValueError("another end")
            if file.seek(-_TAIL_LENGTH, os.SEEK_END) == len(_HEAD):
                return False  # it holds no record that a comma could follow
            file.write(f",\n{_line(number, record)}{_tail()}".encode())
    except FileNotFoundError:
        return False
    except (OSError, ValueError):
        _load_log(path)  # one that is damaged is moved away
        return False
    return True


def _line(number: int, record: Record) -> str:
    return f'"{number}": {json.dumps(record)}'


def _tail() -> str:
    return _TAIL.format(datetime.now().isoformat(timespec="microseconds"))


def _numbers(experiment_dir: Path, name: re.Pattern[str]) -> list[int]:
    with suppress(OSError):
        matches = (name.fullmatch(entry) for entry in os.listdir(experiment_dir / RECORDS))  # noqa: PTH208 - 10,000 names
        return [int(match[1]) for match in matches if match]
    return []


def set_aside(path: Path, why: str) -> None:
    """Move a damaged file away under a name that is free, and say so."""
    numbers = (n for n in range(1, 1000) if not path.with_name(f"{path.name}.damaged-{n}").exists())
    target = path.with_name(f"{path.name}.damaged-{next(numbers)}")
    with suppress(OSError):
        path.rename(target)
        say(f"{path} {why}: moved to {target.name}, the run goes on without it")


# The log of an older version, which was all there was


def _load_log(path: Path) -> Any:
    """Return the mapping of records in a log; None where there is none, or it is damaged and was moved away."""
    try:
        records = json.loads(path.read_text(encoding="utf-8"))["records"]
        if isinstance(records, dict):
            return records
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        pass
    set_aside(path, "is no tuning log")
    return None


def _read_log(experiment_dir: Path) -> dict[int, Record]:
    records = _load_log(experiment_dir / TUNING_LOG) or {}
    return {int(number): value for number, value in records.items() if number.isdecimal() and isinstance(value, dict)}


def _divide_old_log(experiment_dir: Path) -> None:
    """Make a file of every record in the log of an older version; bad ones are left out, and the log then kept."""
    folder, log = experiment_dir / RECORDS, experiment_dir / TUNING_LOG
    if folder.is_dir() or not log.exists():
        return
    in_log = _load_log(log) or {}
    records = _read_log(experiment_dir)
    temporary = experiment_dir / f".{RECORDS}.{os.getpid()}"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    for number, record in records.items():
        path = temporary / record_path(experiment_dir, number).name
        path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        if not _ended(record):
            path.with_suffix(".running").touch()
    temporary.rename(folder)
    if len(records) < len(in_log):
        set_aside(log, f"holds {len(in_log) - len(records)} records that are none")
