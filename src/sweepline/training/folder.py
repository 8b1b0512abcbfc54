"""The folder of one run: which it is, and what the run writes down there of what decided it.

``config.yaml`` is the effective config, ``config.sha256`` its hash, ``env.json`` the environment. The metrics come from
``reporting``, checkpoints and ``batch_size.json`` from those who read them again.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from sweepline.contract import configfile, variables
from sweepline.contract.files import write_whole
from sweepline.contract.runfolder import CONFIG_HASH, EFFECTIVE_CONFIG
from sweepline.errors import ConfigError
from sweepline.training.config.schema import TrainConfig

_PACKAGES = ("sweepline", "torch", "numpy")
ENVIRONMENT_FILE = "env.json"
SINGLE_RUNS = "single"
_held: dict[Path, int] = {}
"""The folders that this process trains in, with the open descriptor that locks each."""
# Variables whose values may change a run's numbers, and are no secret.
_RECORDED = {
    "CUDA_VISIBLE_DEVICES",
    "MKL_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    variables.DATA,
    variables.RUNS_PER_DEVICE,
}


def experiment_dir(config: Path | None) -> Path:
    """Return the config file's folder, or its parent when that folder is called ``cfg``."""
    return configfile.experiment_dir(Path.cwd() / "config.yaml" if config is None else config)


def make_run_dir(config: TrainConfig, outputs: Path) -> Path:
    """Return this run's folder: ``$SWEEPLINE_RUN_DIR``, else a new one under ``single/`` in the outputs."""
    given = os.environ.get(variables.RUN_DIR)
    if given:
        path = Path(given)
        path.mkdir(parents=True, exist_ok=True)
        return path
    parent = (Path(config.output_dir) if config.output_dir else outputs) / SINGLE_RUNS
    stamp = datetime.now().strftime("%Y%m%d_%H%M%S")
    parent.mkdir(parents=True, exist_ok=True)
    for suffix in ("", *(f"_{i}" for i in range(1, 1000))):
        path = parent / f"{stamp}_s{config.seed}{suffix}"
        try:
            path.mkdir()
        except FileExistsError:
            continue
        return path
    raise ConfigError(f"{parent}: cannot make a folder for this run")


def hold_run_dir(run_dir: Path) -> None:
    """Keep other processes from training in a run's folder until this one ends; this one may train there again.

    Raises:
        ConfigError: another one does.
    """
    path = run_dir.resolve()
    if path in _held:
        return
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    _held[path] = fd  # stays open, and with it the lock
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(_held.pop(path))
        raise ConfigError(f"{run_dir}: another process is training in this folder; wait for it, or stop it") from None
    except OSError:  # a file system without locks
        return


def write_effective_config(config: TrainConfig, run_dir: Path, trained: Mapping[str, Any] | None = None) -> None:
    """Write the config that is really used, and last its hash, by which readers know it is whole.

    ``trained`` are keys that say what trained where it differs from what was asked for; no config is made of them.
    """
    text = yaml.safe_dump({**config.model_dump(mode="json"), **(trained or {})}, sort_keys=False)
    write_whole(run_dir / EFFECTIVE_CONFIG, text.encode(), is_durable=False)
    digest = hashlib.sha256(text.encode()).hexdigest()
    write_whole(run_dir / CONFIG_HASH, f"{digest}  config.yaml\n".encode(), is_durable=False)


def is_in_sweep() -> bool:
    """Whether a sweep has given this run its folder."""
    return bool(os.environ.get(variables.RUN_DIR))


@functools.cache
def describe_environment() -> dict[str, Any]:
    """Return versions, machine, commit and arguments of this process; no value of a variable that may be a secret."""
    versions = {}
    for name in _PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return {
        "python": platform.python_version(),
        **versions,
        "machine": f"{platform.node()} {platform.system()} {platform.machine()}",
        "commit": _commit(),
        "argv": sys.argv,
        "working_dir": str(Path.cwd()),
    }


def write_environment(run_dir: Path) -> None:
    """Write ``env.json`` for a run that no sweep has started, which writes its own."""
    recorded = {name: value for name, value in os.environ.items() if name in _RECORDED}
    names = sorted(os.environ.keys() - recorded.keys())
    content = {**describe_environment(), "set": recorded, "inherited": names}
    (run_dir / ENVIRONMENT_FILE).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _commit() -> str | None:
    """Return the commit of the program's checkout; None where there is none."""
    command = ["git", "-C", str(Path(sys.argv[0]).resolve().parent), "rev-parse", "HEAD"]
    with suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
        return done.stdout.strip() or None
    return None
