"""What the runs of a sweep ask of Slurm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class SlurmOptions:
    """Options of the jobs of a sweep. Times are in seconds, memory in MiB.

    ``directives`` are options of sbatch by their long names, None for one without a value. ``setup`` are lines of the
    script. A run that lacked memory or time goes again with ``more_memory`` or ``more_time`` times as much. It is asked
    to end ``margin_s`` before its time is over. Slurm is asked for the states of jobs every ``poll_s``.
    """

    directives: Mapping[str, str | None] = field(default_factory=dict)
    time_s: float | None = None
    mem_mib: int | None = None
    setup: Sequence[str] = ()
    array_parallelism: int | None = None
    more_memory: float | None = None
    more_time: float | None = None
    margin_s: float = 50.0
    poll_s: float = 10.0
    n_cpus: int = 1
    n_gpus: int = 0
