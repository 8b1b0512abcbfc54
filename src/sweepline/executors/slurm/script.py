"""The script of an array of jobs, as it is submitted and as a dry run shows it."""

from __future__ import annotations

import math
import os
import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sweepline.executors.slurm.options import SlurmOptions

_JOB = "sweepline.executors.slurm.job"
_PAD = 3
BEGUN = "begun"
"""What a job makes before anything else, in the folder of its array, its index after it."""

FROM_ENVIRONMENT = {
    "SBATCH_ACCOUNT": "account",
    "SBATCH_PARTITION": "partition",
    "SBATCH_QOS": "qos",
    "SBATCH_TIMELIMIT": "time",
    "SBATCH_CONSTRAINT": "constraint",
    "SBATCH_GRES": "gres",
    "SBATCH_RESERVATION": "reservation",
    "SBATCH_MEM_PER_NODE": "mem",
    "SBATCH_MEM_PER_CPU": "mem-per-cpu",
    "SBATCH_EXCLUSIVE": "exclusive",
}
"""Variables by which users tell sbatch what all of their jobs want. sbatch takes them before what the script says."""

_LEAST_TIME_S = 60.0  # Slurm counts in minutes


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayScript:
    """An array of jobs: one for each of ``indexes``, which are the numbers of runs below ``prefix``."""

    sweep: str
    comment: str
    batch: Path
    logs: Path
    indexes: Sequence[int]
    prefix: str
    options: SlurmOptions

    def render(self) -> str:
        """Return the script."""
        directives = "\n".join(f"#SBATCH --{key}{_value(value)}" for key, value in self._directives())
        begun = f": > {shlex.quote(str(self.batch / BEGUN))}.$SLURM_ARRAY_TASK_ID\n"
        setup = begun + "".join(f"{line}\n" for line in self.options.setup)
        words = [sys.executable, "-P", "-m", _JOB, str(self.batch)]
        return f"#!/bin/bash\n{directives}\n{setup}exec {shlex.join(words)}\n"

    def _directives(self) -> list[tuple[str, str | None]]:
        options = self.options
        parallel = f"%{options.array_parallelism}" if options.array_parallelism else ""
        pad = len(str(max(self.indexes))) if self.prefix else _PAD
        log = f"{_escape(str(self.logs / job_name(self.sweep)))}_run_{self.prefix}%{max(pad, _PAD)}a.out"
        directives = {**self._inherited(), **options.directives}
        limits: list[tuple[str, str | None]] = []
        if options.time_s is not None:
            limits = [("time", format_time(options.time_s))]
        if options.time_s is not None or "time" in directives:
            limits.append(("signal", f"B:USR1@{math.ceil(options.margin_s)}"))
        memory: list[tuple[str, str | None]] = [("mem", f"{options.mem_mib}M")] if options.mem_mib is not None else []
        return [
            ("job-name", job_name(self.sweep)),
            ("comment", self.comment),
            ("array", f"{format_indexes(self.indexes)}{parallel}"),
            ("output", log),
            ("open-mode", "append"),
            ("no-requeue", None),
            *directives.items(),
            *limits,
            *memory,
        ]

    def _inherited(self) -> dict[str, str | None]:
        """Return what the user's environment says of all jobs and the sweep file says nothing of."""
        own = {"time"} if self.options.time_s is not None else set()
        own |= {"mem"} if self.options.mem_mib is not None else set()
        return {
            key: os.environ[name]
            for name, key in FROM_ENVIRONMENT.items()
            if os.environ.get(name) and key not in own and "\n" not in os.environ[name]
        }


def job_name(sweep: str) -> str:
    """Return a sweep's name as that of its jobs."""
    return re.sub(r"[^\w.+-]+", "_", sweep) or "sweep"


def format_indexes(indexes: Sequence[int]) -> str:
    """Return ``1-3,7`` for 1, 2, 3 and 7."""
    parts: list[list[int]] = []
    for index in sorted(indexes):
        if parts and index == parts[-1][1] + 1:
            parts[-1][1] = index
        else:
            parts.append([index, index])
    return ",".join(f"{first}-{last}" if last > first else str(first) for first, last in parts)


def format_time(seconds: float) -> str:
    """Return a time as Slurm reads it, to the next minute."""
    minutes = math.ceil(max(seconds, _LEAST_TIME_S) / 60)
    days, minutes = divmod(minutes, 24 * 60)
    return f"{days}-{minutes // 60:02}:{minutes % 60:02}:00" if days else f"{minutes // 60:02}:{minutes % 60:02}:00"


def _value(value: str | None) -> str:
    if value is None:
        return ""
    return f'="{value}"' if re.search(r"[\s#'\\]", value) else f"={value}"


def _escape(path: str) -> str:
    """Return a path in which sbatch replaces nothing."""
    return path.replace("%", "%%")
