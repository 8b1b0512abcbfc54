"""Which metric decides the best epoch, as a config says it."""

from __future__ import annotations

from sweepline.training.config.schema import TrainConfig
from sweepline.training.stopping import Monitor


def monitor_of(config: TrainConfig) -> Monitor | None:
    """Return what decides which epoch is the best: what early stopping watches, else the loss on held-out examples."""
    stopping = config.early_stopping
    if stopping.monitor is not None:
        is_low = is_low_better(stopping.monitor) if stopping.mode == "auto" else stopping.mode == "min"
        return Monitor(stopping.monitor, bool(is_low), stopping.min_delta, stopping.patience)
    if config.evaluate.every and config.evaluate.split == "valid":
        return Monitor("valid_loss", is_low_better=True)
    return None


def is_low_better(metric: str) -> bool | None:
    """Return which way a metric of ours is better, by its name; None where the name does not tell."""
    name = metric.rpartition("_")[2]
    return {"loss": True, "accuracy": False}.get(name)
