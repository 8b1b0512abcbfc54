"""Networks that a run has trained: which config they have, and where their weights are. Imports no torch."""

from __future__ import annotations

import functools
import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

from sweepline.contract.runfolder import BEST_WEIGHTS, CHECKPOINTS, EFFECTIVE_CONFIG
from sweepline.errors import ConfigError
from sweepline.training import places
from sweepline.training.config.files import read_with_bases, without_outcome
from sweepline.training.config.loading import check_config
from sweepline.training.config.schema import TrainConfig

_WEIGHTS = re.compile(r".*_run_(\d+)(?:_best)?\.pth")
_FROZEN = re.compile(r"frozen_config_run_(\d+)\.json")
_HOW = "name a run's folder, or its weights in models/"


@dataclass(frozen=True, slots=True)
class Trained:
    """A network that was trained: with which config, and its weights, a state dict or a checkpoint."""

    config: TrainConfig
    weights: Path

    @property
    def digest(self) -> str:
        """What tells these weights from others."""
        seen = self.weights.stat()
        return _digest(self.weights, seen.st_ino, seen.st_size, seen.st_mtime_ns)


@functools.lru_cache(maxsize=64)
def _digest(path: Path, *_: int) -> str:
    """Return the digest of a file as it is; what else tells its state has it read again once it has changed."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def find_trained(name: str, key: str) -> Trained:
    """Return what a run has trained: by its folder, by its weights, or by its frozen config.

    Raises:
        ConfigError: there is no such file, it is nothing of the kind, or the run has kept no weights.
    """
    path = places.find(name)
    if path is None:
        raise ConfigError(f"{key} {name}: nothing of this name in {places.describe()}; {_HOW}")
    if path.is_symlink() and not path.is_dir():
        path = path.resolve()  # models/latest.pth
    if path.is_dir():
        return Trained(_config_of_run(path, key), _weights_of_run(path, key))
    weights, frozen = _WEIGHTS.fullmatch(path.name), _FROZEN.fullmatch(path.name)
    experiment = path.parent.parent
    if weights:
        number, kept = int(weights[1]), path
    elif frozen:
        number = int(frozen[1])
        found = [
            p for p in sorted((experiment / "models").glob(f"*_run_{number:03d}.pth")) if _WEIGHTS.fullmatch(p.name)
        ]
        if not found:
            raise ConfigError(f"{key} {name}: run {number} has kept no weights in {experiment / 'models'}")
        kept = found[0]
    else:
        raise ConfigError(f"{key} {name}: is neither a run's folder nor what a run has kept; {_HOW}")
    return Trained(_config_of_number(experiment, number, f"{key} {name}"), kept)


def _config_of_run(folder: Path, key: str) -> TrainConfig:
    if not (folder / EFFECTIVE_CONFIG).is_file():
        raise ConfigError(f"{key} {folder}: no folder of a run: it has no {EFFECTIVE_CONFIG}; {_HOW}")
    tree, origin = read_with_bases(folder / EFFECTIVE_CONFIG)
    return check_config(tree, origin, label=str(folder / EFFECTIVE_CONFIG))


def _weights_of_run(folder: Path, key: str) -> Path:
    """Return the best weights where they were kept, else those of the last checkpoint."""
    last = sorted((folder / CHECKPOINTS).glob("ckpt_*.pt"), key=lambda path: int(path.stem.partition("_")[2]))
    found = [path for path in (folder / BEST_WEIGHTS, *reversed(last)) if path.is_file()]
    if not found:
        raise ConfigError(
            f"{key} {folder}: has kept no weights ({BEST_WEIGHTS}, {CHECKPOINTS}/); "
            "run it with checkpoint.interval_s=0, or name its weights in models/"
        )
    return found[0]


def _config_of_number(experiment: Path, number: int, what: str) -> TrainConfig:
    path = experiment / "configs" / f"frozen_config_run_{number:03d}.json"
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{what}: its config {path} cannot be read: {error}") from None
    tree = without_outcome(value)
    return check_config(tree, {}, label=str(path))
