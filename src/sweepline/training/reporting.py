"""Where a run's numbers go: METRIC lines, metrics.csv, Weights & Biases, TensorBoard. Trackers never fail a run."""

from __future__ import annotations

import csv
import hashlib
import netrc
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from sweepline.contract.metrics import format_metric_line
from sweepline.training.config import TrainConfig
from sweepline.training.console import say, tell
from sweepline.training.loop import EpochResult

ONLINE_TIMEOUT_S = 5


def write_effective_config(config: TrainConfig, run_dir: Path, marks: Mapping[str, Any] | None = None) -> None:
    """Write the config that is really used, and last its hash, by which readers know it is whole.

    ``marks`` are keys that tell what trained where it differs from what was asked for; no config is made of them.
    """
    text = yaml.safe_dump({**config.model_dump(mode="json"), **(marks or {})}, sort_keys=False)
    _write_whole(run_dir / "config.yaml", text)
    digest = hashlib.sha256(text.encode()).hexdigest()
    _write_whole(run_dir / "config.sha256", f"{digest}  config.yaml\n")


def _write_whole(path: Path, text: str) -> None:
    temporary = path.with_name(f"{path.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


class Reporter:
    """Reports epochs as they end, and the last one's metrics as the run's result."""

    def __init__(self, config: TrainConfig, run_dir: Path, *, told: Mapping[str, Any] | None = None) -> None:
        """Start the trackers; ``told`` goes beside the config into W&B."""
        self._history = run_dir / "metrics.csv"
        self._columns: list[str] = []
        self._trackers = [t for t in (start_wandb(config, run_dir, told), start_tensorboard(config, run_dir)) if t]

    def epoch(self, result: EpochResult) -> None:
        """Report one epoch."""
        place = {"epoch": result.epoch, "step": result.step, "samples": result.samples}
        tell(format_metric_line(result.metrics, **place))
        self._append({**place, **result.metrics})
        for tracker in self._trackers:
            tracker.log(result.metrics, place)

    def finish(self, metrics: Mapping[str, float]) -> None:
        """Report the run's result and close the trackers."""
        self.close()
        for name, value in metrics.items():
            tell(format_metric_line({name: value}))

    def close(self) -> None:
        """Close the trackers of a run that has ended or goes on later."""
        for tracker in self._trackers:
            tracker.finish()

    def _append(self, row: Mapping[str, Any]) -> None:
        """Add a row; a metric that was not there before widens the file."""
        if not self._columns:
            self._columns = list(row)
            self._history.write_text(",".join(self._columns) + "\n")
        fresh = [name for name in row if name not in self._columns]
        if fresh:
            self._columns += fresh
            with self._history.open(newline="") as file:
                rows = list(csv.DictReader(file))
            with self._history.open("w", newline="") as file:
                writer = csv.DictWriter(file, self._columns, restval="")
                writer.writeheader()
                writer.writerows(rows)
        with self._history.open("a", newline="") as file:
            csv.DictWriter(file, self._columns, restval="").writerow({k: repr(v) for k, v in row.items()})


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


def start_wandb(config: TrainConfig, run_dir: Path, told: Mapping[str, Any] | None = None) -> Tracker | None:
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
        mode = "online" if _has_key() else "offline"
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
        "config": {**config.model_dump(mode="json"), **(told or {})},
    }
    quiet = {"silent": True, "console": "off"}
    _shorten_wait()
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


def _shorten_wait() -> None:
    """Have W&B look more often than every 0.2 s whether its service is ready, which takes 0.02 s."""
    try:
        from wandb.sdk.lib.service import service_port_file
    except ImportError:  # another version, which waits as it likes
        return
    if hasattr(service_port_file, "_SLEEP"):
        service_port_file._SLEEP = lambda seconds: time.sleep(min(seconds, 0.005))


def _has_key() -> bool:
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    try:
        return netrc.netrc(os.environ.get("NETRC") or str(Path.home() / ".netrc")).authenticators(host) is not None
    except (OSError, ValueError, netrc.NetrcParseError):
        return False


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
