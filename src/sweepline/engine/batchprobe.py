"""One probe of a batch size: a program as it is, started with the size, watched, and ended once it has shown enough."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from sweepline.config.schema import FitsModel
from sweepline.contract.files import open_plain
from sweepline.contract.metrics import parse_metric_line
from sweepline.contract.runfolder import STDERR, STDOUT
from sweepline.contract.text import strip_escapes
from sweepline.engine.outcome import OutcomeReader
from sweepline.engine.preparation import PreparedSweep
from sweepline.executors.base import Exit, RunHandle, StopReason, Task
from sweepline.executors.local.executor import LocalExecutor
from sweepline.executors.local.gpus import GpuSensor, find_gpu
from sweepline.executors.local.slots import Slot
from sweepline.executors.local.usage import UsageMeter
from sweepline.runs import Run, State

OK, OOM, ERROR, TIMEOUT = "ok", "out of memory", "error", "timeout"
_POLL_S = 0.05
_GRACE_S = 2.0
_MEASURING_LINE = re.compile(r"\d\.\d|\bnan\b|\binf\b")  # what a line of training shows
_NUMBER = re.compile(r"[-+]?\d[\d.,]*(?:e[-+]?\d+)?|\bnan\b|\binf\b", re.IGNORECASE)
_LIMITED = """
import os, resource, sys
limit = int(sys.argv[1])
hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
resource.setrlimit(resource.RLIMIT_DATA, (limit if hard < 0 else min(limit, hard), hard))
os.execvp(sys.argv[2], sys.argv[2:])
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


@dataclass(frozen=True, slots=True)
class Limit:
    """Bytes that there are. ``is_enforced`` where the kernel refuses a process more; of a ``gpu`` it is its memory.

    ``n_used`` are in use on the GPU before anything is tried.
    """

    n_bytes: int | None
    is_enforced: bool = False
    gpu: str | None = None
    n_used: int = 0

    def allows(self, n_bytes: int) -> bool:
        """Whether so much is within it; an enforced one has refused more by itself."""
        return self.is_enforced or self.n_bytes is None or n_bytes <= self.n_bytes


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
        """Run the program with a size; a confirmation sees twice as many lines."""
        n_lines = self.fits.lines * (2 if is_confirmation else 1)
        name = f"{self.parameter}_{size}{'_again' if is_confirmation else ''}"
        run_dir = self.folder / name
        run_dir.mkdir(parents=True, exist_ok=True)
        for log in (STDOUT, STDERR):
            (run_dir / log).unlink(missing_ok=True)
        params = {**self.base, self.parameter: size}
        run = Run(run_id=name, name=name, params=params, seed=self.seed, index=0)
        tasks = replace(self.prepared.tasks, runs_dir=self.folder)
        task = tasks.prepare(run, self.slot, run_dir, attempt=1, n_tries=0, start={})
        executor = LocalExecutor()
        began = time.monotonic()
        watched = _Watched(run_dir, self.fits, self.limit)
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

    def _watch(self, executor: LocalExecutor, handle: RunHandle, watched: _Watched, *, n_lines: int) -> bool:
        """Let a run go on until it has shown enough, or has ended; return whether it was too slow for that."""
        until = time.monotonic() + self.fits.timeout
        seconds = self.fits.seconds
        shown_at = time.monotonic() + seconds if seconds is not None else None
        is_late = False
        while handle.poll() is None:
            executor.wait(_POLL_S)
            watched.look()
            now = time.monotonic()
            is_shown = now >= shown_at if shown_at is not None else watched.n_lines >= n_lines
            is_late = now > until and not is_shown
            if is_shown or is_late:
                watched.look_finally()
                watched.was_stopped = True
                handle.cancel(StopReason.INTERRUPTED)
                while handle.poll() is None:
                    executor.wait(1.0)
        watched.read_lines()
        return is_late

    def _judge(
        self, run_dir: Path, ended: Exit | None, watched: _Watched, *, n_lines: int, is_late: bool
    ) -> tuple[str, str]:
        """Return how a probe went, and what it said where it did not go well."""
        if is_late:
            return TIMEOUT, f"{watched.n_lines} of {n_lines} lines in {self.fits.timeout:g} s"
        if watched.was_stopped:
            return self._judge_memory(watched.peak_bytes)
        assert ended is not None
        outcome = self.reader.read(run_dir, ended)
        if outcome.state == State.FINISHED:
            return self._judge_memory(watched.peak_bytes)
        is_killed = outcome.signal is not None and ended.stopped is None and outcome.signal == 9
        if outcome.state == State.OUT_OF_MEMORY or is_killed:
            return OOM, outcome.reason
        return ERROR, outcome.reason

    def _judge_memory(self, peak: int) -> tuple[str, str]:
        """Return how a probe went that ran: more than its share is taken from what others need."""
        if self.limit.allows(peak):
            return OK, ""
        return OOM, f"it took {peak / 2**20:,.0f} MiB of {(self.limit.n_bytes or 0) / 2**20:,.0f} MiB"


class _Watched:
    """What a probe has printed and taken so far."""

    def __init__(self, run_dir: Path, fits: FitsModel, limit: Limit) -> None:
        self.n_lines, self.was_stopped = 0, False
        self.line_s: float | None = None
        self._progress = re.compile(fits.progress) if fits.progress else None
        self._streams = [_Lines(run_dir / name) for name in (STDOUT, STDERR)]
        self._has_metrics = False
        self._by_shape: dict[str, set[str]] = {}
        self._last_at: float | None = None
        self._places: list[tuple[float, Mapping[str, int]]] = []
        self._meter, self._limit = UsageMeter(run_dir), limit
        self._sensor = GpuSensor(asks_processes=True) if limit.gpu is not None else None
        self._own_most = self._gpu_most = 0  # bytes of a GPU: those of its processes, and by how much it filled up

    @property
    def peak_bytes(self) -> int:
        """The most that was taken, of what the limit is on."""
        if self._limit.gpu is not None:
            return self._own_most or self._gpu_most  # what strangers take meanwhile is not its own
        if not self._limit.is_enforced or self._limit.n_bytes is None:
            return self._meter.peak.own
        return min(self._meter.peak.data, self._limit.n_bytes)  # partly an estimate, and the kernel gave no more

    def look(self) -> None:
        """Read what is new of both."""
        self._meter.read()
        self._ask_gpu()
        self.read_lines()

    def look_finally(self) -> None:
        """Read what is new, and the GPU as it is now: lines may come faster than the driver answers."""
        self._meter.read()
        if self._sensor is not None:
            for _ in range(2):  # one answer may be under way that is older
                self._sensor.ask()
                self._sensor.wait()
                self._note_gpu()
        self.read_lines()

    def read_lines(self) -> None:
        """Count the lines that are new."""
        now = time.monotonic()
        for line in (line for stream in self._streams for line in stream.new()):
            point = parse_metric_line(line)
            if point is not None and not self._has_metrics and self._progress is None:
                self._has_metrics, self.n_lines = True, 0  # what was counted were no measurements
            if not self._counts(line, is_metric=point is not None):
                continue
            self.n_lines = self.n_lines + 1 if self._has_metrics or self._progress else self._count_alike(line)
            if self._last_at is not None and now > self._last_at:
                self.line_s = min(self.line_s or now - self._last_at, now - self._last_at)
            self._last_at = now
            if point is not None:
                self._places.append((now, point.place))

    def _counts(self, line: str, *, is_metric: bool) -> bool:
        if self._progress is not None:
            return self._progress.search(line) is not None
        return is_metric if self._has_metrics else _MEASURING_LINE.search(line) is not None

    def _count_alike(self, line: str) -> int:
        """Return how many different lines of the commonest shape there were: a banner says each thing once."""
        lines = self._by_shape.setdefault(_NUMBER.sub("#", line), set())
        lines.add(line)
        return max(map(len, self._by_shape.values()))

    def examples_per_s(self, size: int) -> float | None:
        """Return how many examples a second the METRIC lines tell, between the first and the last of them."""
        for name, n_each in (("samples", 1), ("step", size)):
            told = [(at, place[name]) for at, place in self._places if name in place]
            if len(told) > 1 and told[-1][0] > told[0][0] and told[-1][1] > told[0][1]:
                return (told[-1][1] - told[0][1]) * n_each / (told[-1][0] - told[0][0])
        return None

    def _ask_gpu(self) -> None:
        if self._sensor is None:
            return
        self._sensor.poll()
        self._note_gpu()
        self._sensor.ask()

    def _note_gpu(self) -> None:
        gpu = find_gpu(self._limit.gpu, self._sensor.reading) if self._sensor and self._limit.gpu else None
        if gpu is None:
            return
        own = sum(mib for pid, mib in gpu.processes or () if mib and self._meter.owns(pid)) << 20
        self._own_most = max(self._own_most, own)
        self._gpu_most = max(self._gpu_most, ((gpu.total_mib - gpu.free_mib) << 20) - self._limit.n_used)

    def close(self) -> None:
        """Give up what was opened."""
        if self._sensor is not None:
            self._sensor.close()


class _Lines:
    """The lines of a log, each once, as it grows; a progress bar's states count as lines."""

    def __init__(self, path: Path) -> None:
        self._path, self._at, self._rest = path, 0, b""

    def new(self) -> Sequence[str]:
        try:
            with open_plain(self._path) as file:
                file.seek(self._at)
                data = file.read()
        except OSError:
            return ()
        self._at += len(data)
        *lines, self._rest = re.split(rb"[\r\n]+", self._rest + data)
        return [strip_escapes(line.decode("utf-8", "replace")) for line in lines if line.strip()]
