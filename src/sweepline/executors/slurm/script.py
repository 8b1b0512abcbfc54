"""The script of an array of jobs, as it is submitted and as a dry run shows it."""

from __future__ import annotations

import math
import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sweepline.executors.slurm.options import SlurmOptions

_JOB = "sweepline.executors.slurm.job"
_PAD = 3
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
        setup = "".join(f"{line}\n" for line in self.options.setup)
        words = [sys.executable, "-P", "-m", _JOB, str(self.batch)]
        return f"#!/bin/bash\n{directives}\n{setup}exec {shlex.join(words)}\n"

    def _directives(self) -> list[tuple[str, str | None]]:
        options = self.options
        parallel = f"%{options.array_parallelism}" if options.array_parallelism else ""
        pad = len(str(max(self.indexes))) if self.prefix else _PAD
        log = f"{_escape(str(self.logs / job_name(self.sweep)))}_run_{self.prefix}%{max(pad, _PAD)}a.out"
        limits: list[tuple[str, str | None]] = []
        if options.time_s is not None:
            limits = [("time", format_time(options.time_s)), ("signal", f"B:USR1@{math.ceil(options.margin_s)}")]
        memory: list[tuple[str, str | None]] = [("mem", f"{options.mem_mib}M")] if options.mem_mib is not None else []
        return [
            ("job-name", job_name(self.sweep)),
            ("comment", self.comment),
            ("array", f"{format_indexes(self.indexes)}{parallel}"),
            ("output", log),
            ("open-mode", "append"),
            ("no-requeue", None),
            *options.directives.items(),
            *limits,
            *memory,
        ]


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
