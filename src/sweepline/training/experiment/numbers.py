"""Run numbers: from 1 on, none given twice, none lost with a file. Not what a run does with its number."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from sweepline.training.experiment.folder import CONFIGS, COUNTER, RECORDS, TUNING_LOG, frozen_path, locked, write_whole

LAST = ".run_number_"  # begins the name of an empty file, whose end is the last number that was given
PROPOSED_BY = "_proposed_by_run"  # marks a frozen config whose run has not begun
_NUMBERED = re.compile(r"(?:^|_)run_(\d+)\.")


def reserve_run_number(experiment_dir: str | Path) -> int:
    """Return a number, from 1 on, that no other run of this experiment has or will have.

    Any number of processes may ask at once, also on a shared file system. ``run_counter.txt`` holds the next number,
    and the name of an empty file beside it the last; where the counter is unreadable, lost or behind (from a backup),
    numbers continue after the highest that any file carries. A damaged one is warned of, and written anew.

    Raises:
        ConfigError: the folder cannot be written.
    """
    folder = Path(experiment_dir)
    with locked(folder):
        last = {path: int(path.name.removeprefix(LAST)) for path in _last_numbers(folder)}
        number = next_run_number(folder)
        if _read_counter(folder) is None and (last or (folder / COUNTER).exists()):
            warnings.warn(f"{folder / COUNTER}: is damaged or was removed; numbers go on with {number}", stacklevel=2)
        (folder / f"{LAST}{number}").touch(exist_ok=False)
        write_whole(folder / COUNTER, f"{number + 1}\n")
        for path in last:
            path.unlink(missing_ok=True)
    return number


def next_run_number(experiment_dir: Path) -> int:
    """Return the number that the next run will get; only the holder of the lock can rely on it."""
    last = max((int(path.name.removeprefix(LAST)) for path in _last_numbers(experiment_dir)), default=0)
    return max(_read_counter(experiment_dir) or 0, last + 1, highest_number_in_use(experiment_dir) + 1)


def _read_counter(experiment_dir: Path) -> int | None:
    """Return the next number as the counter has it; None where it tells none."""
    with suppress(OSError, ValueError):
        number = int((experiment_dir / COUNTER).read_text(encoding="utf-8"))
        return number if number >= 1 else None
    return None


def _last_numbers(experiment_dir: Path) -> list[Path]:
    """Return the files whose names hold the last number; several where a process was killed in between."""
    return [path for path in _entries(experiment_dir) if re.fullmatch(rf"{re.escape(LAST)}\d+", path.name)]


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
