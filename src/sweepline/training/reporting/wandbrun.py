"""One run in Weights & Biases: online while the server answers, else offline. It costs no run, and at most 5 s of one.

What is kept offline lies in the run's folder under ``wandb/offline-run-*``, from where ``wandb sync`` sends it.
"""

from __future__ import annotations

import csv
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sweepline.contract.runfolder import ATTEMPTS, METRICS
from sweepline.contract.wandbkey import has_wandb_key
from sweepline.contract.wandbserver import find_server_fault
from sweepline.training.config.schema import TrainConfig, WandbConfig
from sweepline.training.reporting.console import say
from sweepline.training.reporting.exitcodes import EXIT_INTERRUPTED, EXIT_STOPPED
from sweepline.training.reporting.trackers import Tracker
from sweepline.training.reporting.wandbservice import shorten_wait

FAILED_TAG = "failed"
# W&B's own wait is 90 s at the start and without end at the end, longer than many a run trains.
ONLINE_WAIT_S = 4.0  # and about one to give up and begin again offline
_LEAST_WAIT_S = 1.0  # for the client to connect, whatever asking before has taken
_ONLINE_FOLDER, _OFFLINE_FOLDER = "run-", "offline-run-"


class WandbRun:
    """A run that W&B has begun. Its steps are epochs; those before ``first_epoch`` it has from an earlier attempt."""

    def __init__(self, run: Any, first_epoch: int) -> None:
        self._run, self._first_epoch = run, first_epoch

    def log(self, metrics: Mapping[str, float], place: Mapping[str, int]) -> None:
        """Add a row to the history, unless it is there: a resumed run reports again what came before."""
        if place["epoch"] >= self._first_epoch:
            self._run.log({**place, **metrics}, step=place["epoch"])

    def finish(self, exit_code: int, metrics: Mapping[str, float]) -> None:
        """End the run: one that was asked to end is preempted and may be resumed; one that failed is tagged so."""
        run = self._run
        if metrics:
            run.summary.update(dict(metrics))
        if exit_code == EXIT_STOPPED:
            run.mark_preempting()
        elif exit_code not in (0, EXIT_INTERRUPTED):
            run.tags = (*(run.tags or ()), FAILED_TAG)
        try:
            run.finish(exit_code=exit_code)
        except TimeoutError:
            folder = _keep_for_sync(Path(run.dir).parent)
            say(f"W&B has not taken everything in time; what is missing: wandb sync {folder}")


def start_wandb(config: TrainConfig, run_dir: Path, beside: Mapping[str, Any] | None = None) -> Tracker | None:
    """Start a W&B run, online with a key where the server answers; None when disabled or not installed.

    Args:
        config: the effective config, which W&B gets as it is.
        run_dir: the run's folder.
        beside: goes with the config.
    """
    settings = config.wandb
    mode = _choose_mode(settings)
    if mode == "disabled":
        return None
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # reports to a server that is gone take 20 s more
    try:
        import wandb
    except ImportError:
        if settings.mode != "auto":
            say("wandb is not installed, the run is not tracked: pip install 'sweepline[wandb]'")
        return None
    shorten_wait()
    options = _options(settings, run_dir) | {"config": {**config.model_dump(mode="json"), **(beside or {})}}
    quiet = {"silent": True, "console": "off"}
    try:
        run = _start_online(wandb, options, quiet) if mode == "online" else None
        if run is not None:
            return Tracker("W&B", WandbRun(run, getattr(run, "starting_step", 0)))
        run = wandb.init(mode="offline", settings=wandb.Settings(**quiet), **options)
        return Tracker("W&B", WandbRun(run, _last_epoch_told(run_dir, run.id) + 1))
    except Exception as error:
        say(f"W&B cannot be started, the run is not tracked: {type(error).__name__}: {error}")
        return None


def _choose_mode(settings: WandbConfig) -> str:
    mode = os.environ.get("WANDB_MODE", settings.mode) if settings.mode == "auto" else settings.mode
    if mode == "auto":
        mode = "online" if has_wandb_key() else "offline"
    return mode if mode in ("online", "disabled") else "offline"


def _options(settings: WandbConfig, run_dir: Path) -> dict[str, Any]:
    environ = os.environ
    return {
        "project": environ.get("WANDB_PROJECT") or settings.project,
        "group": environ.get("WANDB_RUN_GROUP") or settings.group,
        "name": environ.get("WANDB_NAME") or settings.name,
        "id": environ.get("WANDB_RUN_ID"),
        "job_type": environ.get("WANDB_JOB_TYPE"),
        "tags": [tag for tag in environ.get("WANDB_TAGS", "").split(",") if tag] or list(settings.tags),
        "resume": "allow",
        "dir": str(run_dir),
    }


def _start_online(wandb: Any, options: Mapping[str, Any], quiet: Mapping[str, Any]) -> Any:
    """Return the run that W&B's server has taken; None, and said why, when it takes none in time."""
    since = time.monotonic()
    fault = find_server_fault(timeout_s=ONLINE_WAIT_S - _LEAST_WAIT_S)
    if fault is None:
        limits = {
            "init_timeout": max(_LEAST_WAIT_S, ONLINE_WAIT_S - (time.monotonic() - since)),
            "finish_timeout": ONLINE_WAIT_S,
            "finish_timeout_raises": True,
        }
        known = wandb.Settings.model_fields  # not every version has all of them
        limits = {k: v for k, v in limits.items() if k in known and f"WANDB_{k.upper()}" not in os.environ}
        try:
            return wandb.init(mode="online", settings=wandb.Settings(**limits, **quiet), **options)
        except Exception as error:
            fault = type(error).__name__
            wandb.teardown()  # else the failed attempt still holds the run's id
    say(f"W&B cannot be reached ({fault}), the run is kept offline")
    return None


def _last_epoch_told(run_dir: Path, wandb_id: str) -> int:
    """Return up to which epoch earlier attempts have logged to this W&B run: ``wandb sync`` sends all their files."""
    last = 0
    for attempt in (run_dir / ATTEMPTS).glob("*"):
        is_same_run = any(path.name.endswith(f"-{wandb_id}") for path in attempt.glob(f"wandb/*{_ONLINE_FOLDER}*"))
        if is_same_run and (attempt / METRICS).exists():
            with (attempt / METRICS).open(newline="") as file:
                epochs = [row.get("epoch") or "" for row in csv.DictReader(file)]
            last = max([last, *(int(epoch) for epoch in epochs if epoch.isdecimal())])  # the last may be cut off
    return last


def _keep_for_sync(folder: Path) -> Path:
    """Name the folder of a run that was not sent whole as W&B names those not sent at all; return it."""
    if not folder.name.startswith(_ONLINE_FOLDER):
        return folder
    return folder.rename(folder.with_name(_OFFLINE_FOLDER + folder.name.removeprefix(_ONLINE_FOLDER)))
