"""The folder of an experiment: which it is, what its files are called, and how they are changed. Not what they say.

``<outputs>/experimentruns/<data>/<model>/<size>/<distillation|no_distillation>/<mode>/`` holds ``run_counter.txt`` (the
next number), frozen configs, weights and the records of runs.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sweepline.errors import ConfigError
from sweepline.training.config.schema import TrainConfig
from sweepline.training.plugins import file_word

COUNTER, TUNING_LOG, LOCK = "run_counter.txt", "batch_size_tuning.json", ".lock"
CONFIGS, MODELS, RECORDS = "configs", "models", "tuning"
_POLL_S = 0.002  # filelock's own 50 ms is many times what taking a number needs


_NUMBERED_THERE = (
    "the runs of an experiment are numbered there: make it writable, set output_dir, or use run_numbers=never"
)


@contextmanager
def locked(folder: Path, name: str = LOCK, *, use: str = _NUMBERED_THERE) -> Iterator[None]:
    """Hold a lock of an experiment's folder, by default its own.

    Numbers, frozen configs and the tuning log change under that alone. ``use`` is what the folder is needed for.

    Raises:
        ConfigError: it cannot be written.
    """
    from filelock import FileLock

    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / name, poll_interval=_POLL_S):
            yield
    except OSError as error:
        raise ConfigError(f"{error.filename or folder}: {error.strerror or error}; {use}") from None


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
    """Return the folder of the experiment that a config belongs to."""
    distillation = "distillation" if config.training.use_knowledge_distillation else "no_distillation"
    root = Path(config.output_dir) if config.output_dir else outputs
    return (
        root
        / "experimentruns"
        / file_word(config.data.name)
        / file_word(config.model.name)
        / config.model.size_word
        / distillation
        / file_word(config.training.mode)
    )


def weights_path(experiment_dir: Path, config: TrainConfig, number: int) -> Path:
    """Return where a run keeps its weights."""
    words = [file_word(config.model.name), config.model.size_word, file_word(config.training.mode)]
    return experiment_dir / MODELS / f"{'_'.join(words)}_run_{number:03d}.pth"


def frozen_path(experiment_dir: Path, number: int) -> Path:
    """Return where the config of a run is kept."""
    return experiment_dir / CONFIGS / f"frozen_config_run_{number:03d}.json"
