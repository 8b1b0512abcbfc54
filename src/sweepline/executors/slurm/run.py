"""An attempt of a run as a job of Slurm."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sweepline.contract.runfolder import JOB
from sweepline.executors.base import Exit, StopReason, Task
from sweepline.executors.slurm.client import JobRow, Key
from sweepline.executors.slurm.mailbox import name_of


@dataclass
class SlurmRun:
    """An attempt of a run, from its submission to its end."""

    run_id: str
    attempt: int
    run_dir: Path
    grace_s: float
    stop: Callable[[SlurmRun], None]
    task: Task | None = None
    batch: str = ""
    index: int = 0
    key: Key | None = None
    submitted_at: float = 0.0
    row: JobRow | None = None
    n_missed: int = 0
    refreshed_at: float = 0.0
    gone_since: float | None = None
    stopped: StopReason | None = None
    killed_at: float | None = None
    cancel_due: float | None = None
    verdict: tuple[float, Exit] | None = None
    exit: Exit | None = None

    @property
    def name(self) -> str:
        """What its files are called."""
        return name_of(self.run_id, self.attempt)

    @property
    def has_begun(self) -> bool:
        """Whether its job runs, as far as that is known: only then there is somebody who takes a signal."""
        is_running = self.row is not None and self.row.state not in ("PENDING", "CONFIGURING")
        return is_running or (self.run_dir / JOB).exists()

    @property
    def place(self) -> str:
        """Its node, or why it waits."""
        if self.row is None:
            return "submitted"
        if self.row.state == "PENDING":
            return f"waits: {self.row.reason}"
        return self.row.node if self.row.state == "RUNNING" else self.row.state.lower()

    def poll(self) -> Exit | None:
        """Return how the run ended, or None while it waits or runs."""
        return self.exit

    def cancel(self, reason: StopReason, *, now: bool = False) -> None:
        """Have the run end on its node, or not begin."""
        if self.exit is None and (self.stopped is None or (now and self.killed_at is None)):
            self.stopped = self.stopped or reason
            self.killed_at = time.monotonic() if now else None
            self.stop(self)

    def release(self) -> None:
        """Nothing is held."""
