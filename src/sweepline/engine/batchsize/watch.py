"""What a probe of a batch size shows while it runs: lines that count, memory, and that memory has run out."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sweepline.config.schema import FitsModel
from sweepline.contract import outofmemory
from sweepline.contract.files import open_plain
from sweepline.contract.metrics import parse_metric_line
from sweepline.contract.runfolder import STDERR, STDOUT
from sweepline.contract.text import one_line, strip_escapes
from sweepline.executors.local.gpus import GpuSensor, find_gpu
from sweepline.executors.local.usage import UsageMeter

_MEASURING_LINE = re.compile(r"\d\.\d|\bnan\b|\binf\b")  # what a line of training shows
_NUMBER = re.compile(r"[-+]?\d[\d.,]*(?:e[-+]?\d+)?|\bnan\b|\binf\b", re.IGNORECASE)
_BAR = re.compile(r"(?:[\u2580-\u259f━╸╺#=>|*-]|\.{2,})[\u2580-\u259f━╸╺#=>|*\s.-]*")  # of progress, as long as it is
_IN_TRACEBACK = re.compile(r'\s*(?:File ".*", line \d|Traceback \()')
_MAX_TOLD = 200  # characters of a line


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


class Watched:
    """What a probe has printed and taken so far."""

    def __init__(self, run_dir: Path, fits: FitsModel, limit: Limit) -> None:
        self.n_lines, self.was_stopped = 0, False
        self.line_s: float | None = None
        self.lacks_memory = ""  # the line by which it said so first
        self.lacks_memory_at: float | None = None
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

    def read_lines(self, *, is_over: bool = False) -> None:
        """Read the lines that are new; once it ``is_over``, one that has no end, too."""
        now = time.monotonic()
        for line in (line for stream in self._streams for line in stream.new(is_over=is_over)):
            point = parse_metric_line(line)
            if point is None and not self.lacks_memory and self._tells_out_of_memory(line):
                self.lacks_memory, self.lacks_memory_at = one_line(line.strip())[:_MAX_TOLD], now
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

    def _tells_out_of_memory(self, line: str) -> bool:
        kinds = (
            outofmemory.IN_LOG,
            outofmemory.KILLED,
            *([outofmemory.UNDER_LIMIT] if self._limit.is_enforced else []),
        )
        return any(kind.search(line) for kind in kinds) and not outofmemory.NO_FAILURE.search(line)

    def _counts(self, line: str, *, is_metric: bool) -> bool:
        if self._progress is not None:
            return self._progress.search(line) is not None
        if _IN_TRACEBACK.match(line):
            return False
        return is_metric if self._has_metrics else _MEASURING_LINE.search(line) is not None

    def _count_alike(self, line: str) -> int:
        """Return how many different lines of the commonest shape there were: a banner says each thing once."""
        lines = self._by_shape.setdefault(_BAR.sub(" ", _NUMBER.sub("0", line)), set())
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

    def new(self, *, is_over: bool = False) -> Sequence[str]:
        try:
            with open_plain(self._path) as file:
                file.seek(self._at)
                data = file.read()
        except OSError:
            return ()
        self._at += len(data)
        *lines, self._rest = re.split(rb"[\r\n]+", self._rest + data)
        if is_over:
            lines, self._rest = [*lines, self._rest], b""
        return [strip_escapes(line.decode("utf-8", "replace")) for line in lines if line.strip()]
