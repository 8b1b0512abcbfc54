"""Going on with the run of a folder, by hand: its config, and where its outputs are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sweepline.contract.runfolder import BATCH_SIZE_STATE, CHECKPOINTS, CONFIG_HASH, EFFECTIVE_CONFIG
from sweepline.errors import ConfigError
from sweepline.training.config.identity import asked_identity
from sweepline.training.config.loading import load_config
from sweepline.training.config.schema import TrainConfig
from sweepline.training.folder import SINGLE_RUNS


def load_resumed(run_dir: Path, overrides: Sequence[str], *, remarks: list[str]) -> TrainConfig:
    """Return the config of the run in a folder, with overrides on top, such as more epochs.

    Raises:
        ConfigError: it is no run's folder, or its config is not whole; an override would make another run of it.
    """
    if not (run_dir / CONFIG_HASH).is_file():
        raise ConfigError(f"--resume {run_dir}: no folder of a run: it needs {EFFECTIVE_CONFIG} and {CONFIG_HASH}")
    before = load_config(run_dir / EFFECTIVE_CONFIG)
    config = load_config(run_dir / EFFECTIVE_CONFIG, overrides, remarks=remarks)
    if asked_identity(config) != asked_identity(before):
        raise ConfigError(
            f"--resume {run_dir}: {', '.join(overrides)} would make another run of it; leave out all that changes "
            "results (epochs may grow), or start a new run with --config"
        )
    if not any((run_dir / CHECKPOINTS).glob("ckpt_*.pt")):
        remarks.append(f"{run_dir} holds no checkpoint: the run begins anew")
    if config.run_numbers == "auto" and not (run_dir / BATCH_SIZE_STATE).exists():
        return config.model_copy(update={"run_numbers": "never"})  # it had none
    return config


def outputs_of(run_dir: Path) -> Path | None:
    """Return the outputs that a run by hand was made in; None for a run of a sweep."""
    parent = run_dir.resolve().parent
    return parent.parent if parent.name == SINGLE_RUNS else None
