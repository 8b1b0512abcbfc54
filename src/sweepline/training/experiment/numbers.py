"""Run numbers: from 1 on, none given twice, none lost with a file. Not what a run does with its number."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from sweepline.training.experiment.folder import CONFIGS, COUNTER, RECORDS, TUNING_LOG, frozen_path, locked, write_whole

PROPOSED_BY = "_proposed_by_run"  # marks a frozen config whose run has not begun
_NUMBERED = re.compile(r"(?:^|_)run_(\d+)\.")


def reserve_run_number(experiment_dir: Path) -> int:
    """Return a number, from 1 on, that no other run of this experiment has or will have.

    Any number of processes may ask at once, also on a shared file system. ``run_counter.txt`` holds the next number;
    where it is unreadable, lost or behind (from a backup), numbers continue after the highest that any file carries.

    Raises:
        ConfigError: the folder cannot be written.
    """
    with locked(experiment_dir):
        number = next_run_number(experiment_dir)
        write_whole(experiment_dir / COUNTER, f"{number + 1}\n")
    return number


def next_run_number(experiment_dir: Path) -> int:
    """Return the number that the next run will get; only the holder of the lock can rely on it."""
    counter = 0
    with suppress(OSError, ValueError):
        counter = int((experiment_dir / COUNTER).read_text(encoding="utf-8"))
    return max(counter, highest_number_in_use(experiment_dir) + 1)


def is_taken(experiment_dir: Path, number: int) -> bool:
    """Whether a run has this number already; a config that is only proposed for it does not count."""
    try:
        text = frozen_path(experiment_dir, number).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return f'"{PROPOSED_BY}"' not in text


def highest_number_in_use(experiment_dir: Path) -> int:
    """Return the highest number that a file of a run carries, 0 where there is none."""
    in_configs = set(_numbers_in_names(experiment_dir / CONFIGS))
    folders = (path for path in _entries(experiment_dir) if path.name != CONFIGS and path.is_dir())
    highest = max((number for folder in folders for number in _numbers_in_names(folder)), default=0)
    if not (experiment_dir / RECORDS).exists():  # the log of an older version, which knows runs by number alone
        with suppress(OSError):
            text = (experiment_dir / TUNING_LOG).read_text(encoding="utf-8", errors="replace")
            highest = max(highest, *map(int, re.findall(r'"run_number":\s*(\d+)', text)), 0)
    later = sorted((number for number in in_configs if number > highest), reverse=True)
    return next((number for number in later if is_taken(experiment_dir, number)), highest)


def _entries(folder: Path) -> Iterator[Path]:
    with suppress(OSError):
        yield from folder.iterdir()


def _numbers_in_names(folder: Path) -> Iterator[int]:
    for path in _entries(folder):
        match = _NUMBERED.search(path.name)
        if match:
            yield int(match[1])
