"""The parent's side of probes: one process each, so that nothing here needs restoring and even a kill is a result."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import IO, Any, NoReturn

from sweepline.errors import ConfigError, SweeplineError
from sweepline.training import memory
from sweepline.training.batchsize.probe import (
    ERROR,
    EVALUATE,
    OK,
    OOM,
    TIMEOUT,
    UNSUPPORTED,
    Probe,
    Request,
    Setup,
    end_with,
    run_probe,
)
from sweepline.training.config import TrainConfig

_WORDS = {OOM: "out of memory", TIMEOUT: "not ready in time", UNSUPPORTED: "not supported"}


class ProbeError(SweeplineError):
    """A probe failed for another reason than memory; no other size would mend it."""


class Prober:
    """Tries sizes and keeps how each went. ``tell`` takes what a person reads meanwhile, in pieces of lines.

    ``start`` begins a probe in a process of its own and returns it; see :func:`forking` and :func:`spawning`.
    """

    def __init__(
        self,
        start: Callable[[Request, IO[bytes]], Child],
        *,
        n_steps: int = 3,
        evaluation_batch_size: int = 1000,
        drop_last: bool = False,
        budget_bytes: int | None = None,
        timeout_s: float = 300.0,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.probes: list[Probe] = []
        self.evaluation_batch_size = evaluation_batch_size
        self._start, self._n_steps, self._drop_last = start, n_steps, drop_last
        self._budget_bytes, self._timeout_s, self._tell = budget_bytes, timeout_s, tell

    def try_size(self, size: int, is_confirmation: bool) -> bool:
        """Whether a size fits; its confirmation takes twice the steps.

        Raises:
            ProbeError: it fails, and not for want of memory or time.
        """
        self._tell(f"{'Confirming' if is_confirmation else 'Trying'} batch_size={size} ... ")
        has_been_refused = False
        while True:
            probe = replace(self._probe(size, is_confirmation), is_confirmation=is_confirmation)
            self.probes.append(probe)
            if probe.status == OOM and probe.phase == EVALUATE and self.evaluation_batch_size > 1:
                self.evaluation_batch_size = max(
                    1, min(self.evaluation_batch_size, probe.evaluation_batch_size or 1) // 2
                )
                self._tell(f"out of memory in evaluation, now {self.evaluation_batch_size} at a time ... ")
            elif probe.status == UNSUPPORTED and not has_been_refused:
                has_been_refused = True
                self._tell("not supported, once more ... ")
            else:
                break
        if probe.status == ERROR:
            self._tell("error\n")
            raise ProbeError(
                f"batch size {size} fails in its {probe.phase} phase, not for want of memory: {probe.message}"
            )
        self._tell(f"{_describe(probe)}\n")
        return probe.status == OK

    def time_size(self, size: int, n_steps: int) -> Probe:
        """Return how long a step takes, the least of ``n_steps``; this is no trial of whether the size fits."""
        request = Request(size, n_steps, self.evaluation_batch_size, is_timing=True)
        probe = self._run(request)
        self.probes.append(probe)
        return probe

    def _probe(self, size: int, is_confirmation: bool) -> Probe:
        return self._run(
            Request(
                batch_size=size,
                n_steps=self._n_steps * (2 if is_confirmation else 1),
                evaluation_batch_size=self.evaluation_batch_size,
                drop_last=self._drop_last,
                budget_bytes=self._budget_bytes,
                is_confirmation=is_confirmation,
            )
        )

    def _run(self, request: Request) -> Probe:
        began = time.perf_counter()
        with tempfile.TemporaryFile() as errors:
            child = self._start(request, errors)
            answer = child.wait(self._timeout_s)
            errors.seek(0)
            probe = _judge(request, answer, child.status, errors.read().decode("utf-8", "replace"))
        return replace(probe, seconds=time.perf_counter() - began)


def _describe(probe: Probe) -> str:
    if probe.status != OK:
        return _WORDS[probe.status] + (f" ({probe.message})" if probe.message and probe.status != OOM else "")
    peak_mib = (probe.peak_bytes or 0) / 2**20
    return f"ok ({peak_mib:,.0f} MiB, {1000 * (probe.step_s or 0):.1f} ms a step)"


def _judge(request: Request, answer: bytes | None, status: int, errors: str) -> Probe:
    """Return how a probe went; ``answer`` is None when it took too long, ``status`` how its process ended."""
    size, n_steps = request.batch_size, request.n_steps
    if answer is None:
        return Probe(size, n_steps, TIMEOUT)
    with suppress(ValueError, TypeError):
        return Probe(**json.loads(answer))
    tail = " ".join(errors.split())[-400:]
    code = os.waitstatus_to_exitcode(status)
    if code == -signal.SIGKILL or memory.tells_out_of_memory(errors):
        return Probe(size, n_steps, OOM, message=tail or "killed by the system")
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    return Probe(size, n_steps, ERROR, phase="unknown", message=f"{how}: {tail}" if tail else how)


class Child:
    """A probe's process: its pid, and the descriptor it answers on."""

    def __init__(self, pid: int, answer_fd: int) -> None:
        self.pid, self._answer_fd = pid, answer_fd
        self.status = 0

    def wait(self, timeout_s: float) -> bytes | None:
        """Return what it answered, once it has ended; None when it took too long and was killed."""
        until, data = time.monotonic() + timeout_s, b""
        poll = select.poll()
        poll.register(self._answer_fd, select.POLLIN)
        is_late = False
        try:
            while not is_late:
                if not poll.poll(max(0.0, until - time.monotonic()) * 1000):
                    is_late = True
                elif chunk := os.read(self._answer_fd, 1 << 16):
                    data += chunk
                else:
                    break
        finally:  # whatever interrupts this leaves no process behind
            os.close(self._answer_fd)
            if is_late or sys.exc_info()[0] is not None:
                os.kill(self.pid, signal.SIGKILL)
            _, self.status = os.waitpid(self.pid, 0)
        return None if is_late else data


def forking(build: Callable[[], Setup]) -> Callable[[Request, IO[bytes]], Child]:
    """Return what starts probes as forks of this process, which has imported and loaded everything already."""

    def start(request: Request, errors: IO[bytes]) -> Child:
        sys.stdout.flush()
        sys.stderr.flush()
        reading, writing = os.pipe()
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            _be_probe(build, request, parent=parent, answer_fd=writing, errors_fd=errors.fileno())
        os.close(writing)
        return Child(pid, reading)

    return start


def _be_probe(build: Callable[[], Setup], request: Request, *, parent: int, answer_fd: int, errors_fd: int) -> NoReturn:
    """Run a probe in this forked process, and end it without anything that belongs to its parent."""
    code = 1
    try:
        end_with(parent)
        for number in (1, 2):
            os.dup2(errors_fd, number)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        probe = run_probe(build, request)
        os.write(answer_fd, json.dumps(probe.to_dict()).encode())
        code = 0
    finally:
        os._exit(code)


def starting(build: Callable[[], Setup], device_type: str) -> Callable[[Request, IO[bytes]], Child]:
    """Return what starts probes: forks where this process may fork, else processes from nothing, of the same set-up.

    Raises:
        ConfigError: this process may not fork, and no other could build that.
    """
    return forking(build) if can_fork(device_type) else spawning(describe_build(build))


def describe_build(build: Callable[[], Setup]) -> dict[str, Any]:
    """Return how a process from nothing comes to the same set-up.

    Raises:
        ConfigError: it cannot: a function within a function, or one that was typed in.
    """
    config = getattr(build, "config", None)
    if isinstance(config, TrainConfig):
        return {"config": config.model_dump(mode="json")}
    module, name = getattr(build, "__module__", ""), getattr(build, "__qualname__", "<unnamed>")
    file = getattr(sys.modules.get(module), "__file__", None)
    if "<" in name or not module or (module == "__main__" and file is None):
        raise ConfigError(
            f"{name}: this process has other threads, so that it may not fork, and no other process can import that; "
            "build from a function of a module, or set OPENBLAS_NUM_THREADS=1 before numpy is imported"
        )
    return {"file": file if module == "__main__" else None, "module": module, "name": name, "sys_path": sys.path}


def spawning(how: Mapping[str, Any] | TrainConfig) -> Callable[[Request, IO[bytes]], Child]:
    """Return what starts probes as processes from nothing: for GPUs, which no fork may share."""
    told = {"config": how.model_dump(mode="json")} if isinstance(how, TrainConfig) else dict(how)

    def start(request: Request, errors: IO[bytes]) -> Child:
        process = subprocess.Popen(
            [sys.executable, "-m", "sweepline.training.batchsize.probe"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        order = {**told, "request": asdict(request), "parent": os.getpid()}
        with suppress(BrokenPipeError), process.stdin:  # one that is dead already tells by its end
            process.stdin.write(json.dumps(order).encode())
        process.returncode = 0  # its end is waited for by the Child, not by Popen
        with process.stdout:
            return Child(process.pid, os.dup(process.stdout.fileno()))

    return start


def can_fork(device_type: str) -> bool:
    """Whether this process is one that may fork: no GPU in use, a single thread, nothing computed by others."""
    return device_type == "cpu" and len(list(Path("/proc/self/task").iterdir())) == 1


def describe_probes(probes: Sequence[Probe]) -> str:
    """Return how many there were and what they cost."""
    return f"{len(probes)} probes in {sum(probe.seconds for probe in probes):.1f} s"
