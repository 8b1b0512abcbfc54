"""An attempt of a run as a task of Ray."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sweepline.executors.base import Exit, StopReason, Task


@dataclass
class RayRun:
    """An attempt of a run, from its submission to its end.

    ``told`` is the record of its end as its node tells it, ``lost`` why nothing more is heard of it. Its end is taken
    for granted when ``patience_due`` has come; it is ended by force when ``force_due`` has.
    """

    task: Task
    stop: Callable[[RayRun], None]
    host: str = ""
    is_shared: bool = True
    began_at: float | None = None
    stopped: StopReason | None = None
    is_killed: bool = False
    is_forced: bool = False
    force_due: float | None = None
    told: Mapping[str, Any] | None = None
    lost: str = ""
    is_out_of_memory: bool = False
    patience_due: float | None = None
    is_fenced: bool = False
    fault: OSError | None = None
    exit: Exit | None = None

    @property
    def run_id(self) -> str:
        """Its run's id."""
        return self.task.run_id

    @property
    def key(self) -> str:
        """The name of this attempt."""
        return f"{self.task.run_id}.{self.task.attempt}"

    @property
    def place(self) -> str:
        """Its node, or that it waits."""
        return self.host or "waits"

    def poll(self) -> Exit | None:
        """Return how the run ended, or None while it waits or runs."""
        return self.exit

    def cancel(self, reason: StopReason, *, now: bool = False) -> None:
        """Have the run end on its node, or not begin."""
        if self.exit is None and (self.stopped is None or (now and not self.is_killed)):
            self.stopped, self.is_killed = self.stopped or reason, now
            self.stop(self)

    def release(self) -> None:
        """Nothing is held."""
