"""One probe of a batch size: a program as it is, started with the size, watched, and ended once it has shown enough."""

from __future__ import annotations

import re
import shutil
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from sweepline.config.schema import FitsModel
from sweepline.engine.batchsize.watch import Limit, Watched
from sweepline.engine.outcome import OutcomeReader
from sweepline.engine.preparation import PreparedSweep
from sweepline.executors.base import Exit, RunHandle, StopReason, Task
from sweepline.executors.local.executor import LocalExecutor
from sweepline.executors.local.slots import Slot
from sweepline.runs import Run, State

OK, OOM, ERROR, TIMEOUT, NOT_STARTED = "ok", "out of memory", "error", "timeout", "not started"
_POLL_S = 0.05
_GRACE_S = 2.0
_SIGKILL = 9
_KILLED_CODE = 128 + _SIGKILL  # a shell's, whose command was killed
_NOT_STARTED_CODES = (126, 127)  # a shell's, and ours, where a command is not there or may not be executed
_NO_SCRIPT = re.compile(r"can't open file")
_LIMITED = """
import os, resource, sys
limit = int(sys.argv[1])
hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
resource.setrlimit(resource.RLIMIT_DATA, (limit if hard < 0 else min(limit, hard), hard))
try:
    os.execvp(sys.argv[2], sys.argv[2:])
except OSError as error:
    print(f"{sys.argv[2]}: {error.strerror}", file=sys.stderr)
    sys.exit(127)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeProbe:
    """How a size went. ``peak_bytes`` is the most that it took, of what the limit is on.

    ``n_lines`` counts what it printed that counts, ``line_s`` is the least time between two of these lines, and
    ``examples_per_s`` follows where its METRIC lines count samples or steps.
    """

    batch_size: int
    status: str
    is_confirmation: bool = False
    n_lines: int = 0
    peak_bytes: int | None = None
    line_s: float | None = None
    examples_per_s: float | None = None
    seconds: float = 0.0
    message: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


@dataclass
class Prober:
    """Starts probes of a program, one at a time, each in a folder of its own below ``folder``."""

    prepared: PreparedSweep
    parameter: str
    fits: FitsModel
    base: Mapping[str, Any]
    limit: Limit
    slot: Slot
    folder: Path
    seed: int | None = None
    reader: OutcomeReader = field(default_factory=OutcomeReader)

    def probe(self, size: int, *, is_confirmation: bool = False) -> SizeProbe:
        """Run the program with a size; a confirmation goes on for twice as many lines or seconds."""
        n_lines = self.fits.lines * (2 if is_confirmation else 1)
        name = f"{self.parameter}_{size}{'_again' if is_confirmation else ''}"
        run_dir = self.folder / name
        if run_dir.exists():
            shutil.rmtree(run_dir)  # a program that finds its checkpoint of an earlier search would go on from there
        run_dir.mkdir(parents=True)
        params = {**self.base, self.parameter: size}
        run = Run(run_id=name, name=name, params=params, seed=self.seed, index=0)
        tasks = replace(self.prepared.tasks, runs_dir=self.folder)
        task = tasks.prepare(run, self.slot, run_dir, attempt=1, n_tries=0, start={})
        executor = LocalExecutor()
        began = time.monotonic()
        watched = Watched(run_dir, self.fits, self.limit)
        try:
            handle = executor.submit(self._limited(task))
            is_late = self._watch(executor, handle, watched, n_lines=n_lines)
            ended = handle.poll()
        finally:
            watched.close()
            executor.close()
        status, message = self._judge(run_dir, ended, watched, n_lines=n_lines, is_late=is_late)
        return SizeProbe(
            batch_size=size,
            status=status,
            is_confirmation=is_confirmation,
            n_lines=watched.n_lines,
            peak_bytes=watched.peak_bytes or None,
            line_s=watched.line_s,
            examples_per_s=watched.examples_per_s(size),
            seconds=time.monotonic() - began,
            message=message,
        )

    def _limited(self, task: Task) -> Task:
        """Return a task whose processes the kernel refuses more memory than the limit."""
        task = replace(task, grace_s=_GRACE_S, timeout_s=None, stall_s=None, interpreter=None)
        if not self.limit.is_enforced or self.limit.n_bytes is None:
            return task
        return replace(task, argv=[sys.executable, "-S", "-c", _LIMITED, str(self.limit.n_bytes), *task.argv])

    def _watch(self, executor: LocalExecutor, handle: RunHandle, watched: Watched, *, n_lines: int) -> bool:
        """Let a run go on until it has shown enough, or has ended; return whether it was too slow for that."""
        began, seconds = time.monotonic(), self.fits.seconds
        n_times = n_lines / self.fits.lines
        until = began + max(self.fits.timeout, seconds or 0.0) * n_times
        shown_at = began + seconds * n_times if seconds is not None else None
        is_late = False
        while handle.poll() is None:
            executor.wait(_POLL_S)
            watched.look()
            if handle.poll() is not None:
                break  # how it ended tells more than what it has shown
            now = time.monotonic()
            is_shown = now >= shown_at if shown_at is not None else watched.n_lines >= n_lines
            has_failed = watched.lacks_memory_at is not None and now > watched.lacks_memory_at + _GRACE_S
            is_late = now > until and not is_shown
            if is_shown or is_late or has_failed:
                watched.look_finally()
                watched.was_stopped = True
                handle.cancel(StopReason.INTERRUPTED)
                while handle.poll() is None:
                    executor.wait(1.0)
        watched.read_lines(is_over=True)
        return is_late

    def _judge(
        self, run_dir: Path, ended: Exit | None, watched: Watched, *, n_lines: int, is_late: bool
    ) -> tuple[str, str]:
        """Return how a probe went, and what it said where it did not go well."""
        said = f"it said: {watched.lacks_memory}" if watched.lacks_memory else ""
        if watched.was_stopped:
            if said:
                return OOM, said
            late = f"{watched.n_lines} of {n_lines} lines in {self.fits.timeout * n_lines / self.fits.lines:g} s"
            return (TIMEOUT, late) if is_late else self._judge_memory(watched.peak_bytes)
        assert ended is not None
        outcome = self.reader.read(run_dir, ended)
        is_killed = ended.stopped is None and (outcome.signal == _SIGKILL or outcome.exit_code == _KILLED_CODE)
        if outcome.state == State.OUT_OF_MEMORY or (is_killed and not said):
            return OOM, outcome.reason
        if said:
            return OOM, said
        if outcome.state == State.FINISHED:
            return self._judge_memory(watched.peak_bytes)
        is_missing = outcome.exit_code in _NOT_STARTED_CODES or _NO_SCRIPT.search(outcome.reason)
        return NOT_STARTED if outcome.state == State.SPAWN_ERROR or is_missing else ERROR, outcome.reason

    def _judge_memory(self, peak: int) -> tuple[str, str]:
        """Return how a probe went that ran: more than its share is taken from what others need."""
        if self.limit.allows(peak):
            return OK, ""
        return OOM, f"it took {peak / 2**20:,.0f} MiB of {(self.limit.n_bytes or 0) / 2**20:,.0f} MiB"
