"""Runs commands as whole processes and tells their time and memory."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Cost:
    """What one process cost: wall seconds, and the peak memory of the largest process in MB."""

    wall_s: float
    peak_mb: float
    output: str


@dataclass(frozen=True, slots=True)
class Figure:
    """Something measured several times. ``key`` is what the goals call it, ``note`` says why there are no values."""

    title: str
    values: Sequence[float] = ()
    unit: str = "s"
    key: str = ""
    note: str = ""

    def __str__(self) -> str:
        return self.note or spread(self.values, self.unit)


def run(argv: Sequence[str], *, cwd: Path, environ: Mapping[str, str] | None = None) -> Cost:
    """Run a command to its end and return what it cost; a command that fails ends the benchmark."""
    started = time.perf_counter()
    process = subprocess.Popen(argv, cwd=cwd, env={**os.environ, **(environ or {})}, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    wall_s = time.perf_counter() - started
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(argv)} ended with {process.returncode}:\n{output}")
    return Cost(wall_s, usage.ru_maxrss / 1024, output)


def run_json(script: str, *words: str, cwd: Path | None = None) -> dict[str, float]:
    """Run a Python script to its end and return the JSON of its last line."""
    cost = run([sys.executable, "-c", script, *words], cwd=cwd or Path.cwd())
    result: dict[str, float] = json.loads(cost.output.splitlines()[-1])
    return result


def in_turn(first: Callable[[], float], second: Callable[[], float], n: int) -> tuple[list[float], list[float]]:
    """Measure two things in turn, A B A B, so that a drifting machine hits both."""
    a, b = [], []
    for _ in range(n):
        a.append(first())
        b.append(second())
    return a, b


def spread(values: Sequence[float], unit: str = "s") -> str:
    """Return ``median (lowest .. highest) unit``; a single value stands alone."""
    middle = f"{statistics.median(values):.3g}"
    return f"{middle} ({min(values):.3g} .. {max(values):.3g}) {unit}" if len(values) > 1 else f"{middle} {unit}"
