"""What the column ``device`` of a run stands for; :attr:`~sweepline.executors.local.slots.Slot.device` writes it."""

from __future__ import annotations


def count_gpus(device: str) -> int:
    """Return how many GPUs a ``device`` stands for; one that is not known stands for none."""
    if device in ("", "cpu") or device.endswith(":cpu"):
        return 0
    _, _, n_assigned = device.partition(" x")
    return int(n_assigned) if n_assigned.isdecimal() else device.count(",") + 1


def is_elsewhere(device: str) -> bool:
    """Whether a ``device`` is one of a node or a cluster, not of the machine that the sweep ran on."""
    named = device.partition(",")[0]
    return ":" in device or (named != "cpu" and not named.isdecimal() and not named.startswith(("GPU-", "MIG-")))
