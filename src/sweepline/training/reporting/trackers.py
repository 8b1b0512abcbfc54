"""Places outside the run folder that take its metrics: Weights & Biases, TensorBoard. They never fail a run."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sweepline.contract.wandbkey import has_wandb_key
from sweepline.training.config.schema import TrainConfig
from sweepline.training.reporting.console import say
from sweepline.training.reporting.wandbservice import shorten_wait

ONLINE_TIMEOUT_S = 5  # W&B's own is 90 s, longer than many a run trains


class Tracker:
    """A place outside the run folder. Its first failure is said and ends it; the run goes on."""

    def __init__(
        self, name: str, log: Callable[[Mapping[str, float], Mapping[str, int]], None], finish: Callable[[], None]
    ) -> None:
        self.name, self._log, self._finish = name, log, finish
        self._is_broken = False

    def log(self, metrics: Mapping[str, float], place: Mapping[str, int]) -> None:
        """Hand over one epoch's metrics."""
        self._try(lambda: self._log(metrics, place))

    def finish(self) -> None:
        """Flush and close."""
        self._try(self._finish)

    def _try(self, action: Callable[[], None]) -> None:
        if self._is_broken:
            return
        try:
            action()
        except Exception as error:
            self._is_broken = True
            say(f"{self.name} failed and is left out from here on: {type(error).__name__}: {error}")


def start_wandb(config: TrainConfig, run_dir: Path, beside: Mapping[str, Any] | None = None) -> Tracker | None:
    """Start a W&B run: online with a key (waiting at most 5 s), else offline; None when disabled or not installed."""
    settings = config.wandb
    mode = os.environ.get("WANDB_MODE", settings.mode) if settings.mode == "auto" else settings.mode
    if mode == "disabled":
        return None
    try:
        import wandb
    except ImportError:
        if settings.mode != "auto":
            say("wandb is not installed, the run is not tracked: pip install 'sweepline[wandb]'")
        return None
    if mode == "auto":
        mode = "online" if has_wandb_key() else "offline"
    environ = os.environ
    options: dict[str, Any] = {
        "project": environ.get("WANDB_PROJECT") or settings.project,
        "group": environ.get("WANDB_RUN_GROUP") or settings.group,
        "name": environ.get("WANDB_NAME") or settings.name,
        "id": environ.get("WANDB_RUN_ID"),
        "job_type": environ.get("WANDB_JOB_TYPE"),
        "tags": [tag for tag in environ.get("WANDB_TAGS", "").split(",") if tag] or list(settings.tags),
        "resume": "allow",
        "dir": str(run_dir),
        "config": {**config.model_dump(mode="json"), **(beside or {})},
    }
    quiet = {"silent": True, "console": "off"}
    shorten_wait()
    try:
        try:
            limits = wandb.Settings(init_timeout=ONLINE_TIMEOUT_S, x_graphql_retry_max=0, **quiet)
            run = wandb.init(mode="online" if mode == "online" else "offline", settings=limits, **options)
        except wandb.errors.Error as error:
            say(f"W&B cannot be reached ({type(error).__name__}), the run is kept offline")
            wandb.teardown()  # else the failed attempt still holds the run's id
            run = wandb.init(mode="offline", settings=wandb.Settings(**quiet), **options)
    except Exception as error:
        say(f"W&B cannot be started, the run is not tracked: {type(error).__name__}: {error}")
        return None
    return Tracker("W&B", lambda metrics, place: run.log({**place, **metrics}, step=place["epoch"]), run.finish)


def start_tensorboard(config: TrainConfig, run_dir: Path) -> Tracker | None:
    """Start writing TensorBoard scalars into ``tensorboard/``; None when switched off or not installed."""
    if not config.tensorboard:
        return None
    try:
        from torch.utils.tensorboard.writer import SummaryWriter
    except ImportError:
        say("tensorboard is not installed: pip install 'sweepline[tensorboard]'")
        return None
    writer = SummaryWriter(str(run_dir / "tensorboard"))

    def log(metrics: Mapping[str, float], place: Mapping[str, int]) -> None:
        for name, value in metrics.items():
            writer.add_scalar(name, value, place["step"])

    return Tracker("TensorBoard", log, writer.close)
