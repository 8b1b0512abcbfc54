"""The folder of an experiment, where runs of one set-up are numbered and keep what the next ones learn from.

``<outputs>/experimentruns/<data>/<model>/<size>/<distillation|no_distillation>/<mode>/`` holds ``run_counter.txt`` (the
next number), frozen configs, weights, the tuning records and room for Slurm's logs.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sweepline.errors import ConfigError
from sweepline.training.config import TrainConfig

COUNTER, TUNING_LOG, LOCK = "run_counter.txt", "batch_size_tuning.json", ".lock"
CONFIGS, MODELS, RECORDS, SLURM_LOGS = "configs", "models", "tuning", "slurm_logs"
PROPOSED_BY = "_proposed_by_run"  # marks a frozen config whose run has not begun
SHRINK = 0.8  # of a size that ran out of memory, where no smaller one is known to work
_POLL_S = 0.002
_NUMBERED = re.compile(r"(?:^|_)run_(\d+)\.")


def reserve_run_number(experiment_dir: Path) -> int:
    """Return a number, from 1 on, that no other run of this experiment has or will have.

    Any number of processes may ask at once, also on a shared file system. ``run_counter.txt`` tells the next number;
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
    told = 0
    with suppress(OSError, ValueError):
        told = int((experiment_dir / COUNTER).read_text(encoding="utf-8"))
    return max(told, highest_number_in_use(experiment_dir) + 1)


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


@contextmanager
def locked(experiment_dir: Path) -> Iterator[None]:
    """Hold the experiment's lock: numbers, frozen configs and the tuning log change under it alone."""
    from filelock import FileLock

    try:
        experiment_dir.mkdir(parents=True, exist_ok=True)
        with FileLock(experiment_dir / LOCK, poll_interval=_POLL_S):
            yield
    except OSError as error:
        raise ConfigError(
            f"{error.filename or experiment_dir}: {error.strerror or error}; the runs of an experiment are numbered "
            "there: make it writable, set output_dir, or use run_numbers=never"
        ) from None


def write_whole(path: Path, text: str) -> None:
    """Write a file so that it is there whole or not at all, on the disk when this returns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fd, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # noqa: PTH101 - mkstemp's own mode is for secrets
        os.replace(temporary, path)  # noqa: PTH105
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)  # noqa: PTH108
        raise


def find_experiment_dir(config: TrainConfig, outputs: Path) -> Path:
    """Return the folder of the experiment that a config belongs to; a model's size is its width."""
    distillation = "distillation" if config.training.use_knowledge_distillation else "no_distillation"
    root = Path(config.output_dir) if config.output_dir else outputs
    return (
        root
        / "experimentruns"
        / config.data.name
        / config.model.name
        / _size(config)
        / distillation
        / config.training.mode
    )


def _size(config: TrainConfig) -> str:
    return f"width_{config.model.width}"


def weights_path(experiment_dir: Path, config: TrainConfig, number: int) -> Path:
    """Return where a run keeps its weights."""
    return experiment_dir / MODELS / f"{config.model.name}_{_size(config)}_{config.training.mode}_run_{number:03d}.pth"


def frozen_path(experiment_dir: Path, number: int) -> Path:
    """Return where the config of a run is kept."""
    return experiment_dir / CONFIGS / f"frozen_config_run_{number:03d}.json"
