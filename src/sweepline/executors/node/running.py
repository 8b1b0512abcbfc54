"""Runs one task where it is called, as the sweep's own machine would, until it ends or somebody wants it to."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from sweepline.executors.base import Exit, StopReason, Task
from sweepline.executors.local.executor import LocalExecutor
from sweepline.executors.local.keeper import exitfile

LOOK_S = 2.0
"""How often to look whether the run is still wanted; many jobs do so on one file system."""

Wish = tuple[StopReason, bool]
"""Why a run is to end, and whether at once."""


def run_task(
    task: Task,
    is_wanted: Callable[[], bool],
    find_wish: Callable[[], Wish | None],
    *,
    look_s: float = LOOK_S,
    watched: Callable[[], Sequence[int]] = tuple,
) -> Exit | None:
    """Run a task to its end, which is in its ``exit.json`` then, and return it.

    Args:
        task: what to run; its folder exists.
        is_wanted: whether the run's folder is still that of this attempt. Where it is another's, the run is killed, and
            nothing is written into it: None is returned.
        find_wish: whether the run is to end.
        look_s: how often to look for both.
        watched: descriptors that end a wait.
    """
    executor = LocalExecutor(watched=watched, is_on_cluster=True)
    try:
        handle = executor.submit(task)
        while (ended := handle.poll()) is None:
            executor.wait(look_s)
            if not is_wanted():
                return None
            wish = find_wish()
            if wish is not None:
                handle.cancel(wish[0], now=wish[1])
    finally:
        executor.close()
    if ended.not_started is not None:
        write_not_started(task, ended)
    return ended


def write_not_started(task: Task, ended: Exit) -> None:
    """Write down that there never was a process, which no keeper does."""
    record = {"attempt": task.attempt, "not_started": ended.not_started, "errno": 0, "stopped": ended.stopped}
    exitfile.write(str(task.run_dir), {**record, "host": os.uname().nodename})
