"""The device of a run: which torch device its config means, and the name of its kind."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from sweepline.errors import ConfigError

if TYPE_CHECKING:
    import torch

    from sweepline.training.config.schema import TrainConfig


def resolve_device(wanted: str) -> torch.device:
    """Return the torch device, ``auto`` being a GPU where there is one.

    Raises:
        ConfigError: the device is not there.
    """
    import torch

    name = ("cuda" if torch.cuda.is_available() else "cpu") if wanted == "auto" else wanted
    device = torch.device(name)
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ConfigError(f"device {wanted}: this machine has no Metal GPU; use device=cpu")
    if device.type == "cuda" and (not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count()):
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "all")
        raise ConfigError(f"device {wanted}: no such GPU (CUDA_VISIBLE_DEVICES: {visible or 'none'}); use device=cpu")
    return device


def check_precision(config: TrainConfig) -> None:
    """Refuse half precision where it would need a GPU that is not used; ``auto`` may be one.

    Raises:
        ConfigError: 16-mixed anywhere else: its gradients vanish without a scaler, and torch has one for CUDA.
    """
    if config.precision == "16-mixed" and not config.device.startswith(("cuda", "auto")):
        raise ConfigError(f"precision 16-mixed needs a GPU, the device is {config.device}; use bf16-mixed, or 32")


def device_name(device: torch.device) -> str:
    """Return which kind of device this is: what fits on it fits on others of the kind."""
    if device.type != "cuda":
        return device.type
    import torch

    return torch.cuda.get_device_name(device)
