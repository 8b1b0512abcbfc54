"""What is said of places to run that are more than this machine, beside Slurm's jobs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class PilotOptions:
    """An allocation, as far as its user describes it; None: as its scheduler does.

    ``starter`` starts a process on ``${node}``. ``n_gpus`` and ``n_cpus`` are of each node.
    """

    nodes: Sequence[str] | None = None
    starter: Sequence[str] | None = None
    n_gpus: int | None = None
    n_cpus: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RayOptions:
    """The address of a Ray cluster, None for one of this machine alone; and what each run asks of it."""

    address: str | None = None
    num_cpus: float = 1.0
    num_gpus: float = 0.0
