"""The contract of a place to run: submit, wait, poll, cancel. Executors know processes, not parameters or metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol


class StopReason(StrEnum):
    """Why the sweep ended a run before it ended by itself."""

    INTERRUPTED = "interrupted"
    TIMEOUT = "timeout"
    OVERRIDE_NOT_APPLIED = "override_not_applied"


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One attempt of a run as an executor sees it.

    ``environ`` is the whole environment; ``run_dir`` exists and takes ``stdout.log``, ``stderr.log`` and ``exit.json``.
    """

    run_id: str
    attempt: int
    argv: Sequence[str]
    environ: Mapping[str, str] = field(repr=False)
    working_dir: Path
    run_dir: Path
    timeout_s: float | None = None
    grace_s: float = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """How a process ended. ``exit_code`` is None when a signal ended it; ``stopped`` says who asked for it."""

    exit_code: int | None
    signal: int | None
    duration_s: float
    max_rss_kib: int | None = None
    stopped: StopReason | None = None


class SpawnError(Exception):
    """The process could not be started; the text says why."""


class RunHandle(Protocol):
    """A submitted run."""

    task: Task

    def poll(self) -> Exit | None:
        """Return how the run ended, or None while it runs; never blocks."""

    def cancel(self, reason: StopReason, *, now: bool = False) -> None:
        """Ask the run to end: SIGTERM, after the grace SIGKILL; at once with ``now``. Asking twice is harmless."""


class Executor(Protocol):
    """A place to run."""

    def submit(self, task: Task) -> RunHandle:
        """Start a run.

        Raises:
            SpawnError: nothing was started.
        """

    def wait(self, timeout_s: float | None) -> None:
        """Block until a run may have ended, a signal arrived, or the time is over."""

    def close(self) -> None:
        """Give up all resources; every run must have ended."""
