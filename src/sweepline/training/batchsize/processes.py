"""The processes of probes, seen from their parent: forks where that is safe, else processes from nothing."""

from __future__ import annotations

import inspect
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, NoReturn

from sweepline.errors import ConfigError
from sweepline.training import places
from sweepline.training.batchsize.child import end_with_parent
from sweepline.training.batchsize.probe import Request, Setup, run_probe
from sweepline.training.config.schema import TrainConfig

CHILD = "sweepline.training.batchsize.child"


class ProbeProcess:
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


def forking(build: Callable[[], Setup]) -> Callable[[Request, IO[bytes]], ProbeProcess]:
    """Return what starts probes as forks of this process, which has imported and loaded everything already."""

    def start(request: Request, errors: IO[bytes]) -> ProbeProcess:
        sys.stdout.flush()
        sys.stderr.flush()
        reading, writing = os.pipe()
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            _run_as_probe(build, request, parent=parent, answer_fd=writing, errors_fd=errors.fileno())
        os.close(writing)
        return ProbeProcess(pid, reading)

    return start


def _run_as_probe(
    build: Callable[[], Setup], request: Request, *, parent: int, answer_fd: int, errors_fd: int
) -> NoReturn:
    """Run a probe in this forked process, and end it without anything that belongs to its parent."""
    code = 1
    try:
        end_with_parent(parent)
        for number in (1, 2):
            os.dup2(errors_fd, number)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        probe = run_probe(build, request)
        os.write(answer_fd, json.dumps(probe.to_dict()).encode())
        code = 0
    finally:
        os._exit(code)


def starting(build: Callable[[], Setup], device_type: str) -> Callable[[Request, IO[bytes]], ProbeProcess]:
    """Return what starts probes: forks where this process may fork, else processes from nothing, of the same set-up.

    Raises:
        ConfigError: this process may not fork, and no other could build that.
    """
    return forking(build) if can_fork(device_type) else spawning(describe_build(build, what="what builds"))


def describe_build(build: Callable[..., Any], *, what: str) -> dict[str, Any]:
    """Return how a process from nothing comes to the same set-up; ``what`` a person calls this function.

    Raises:
        ConfigError: it cannot: a function within a function, or one that was typed in; or this is such a process.
    """
    config = getattr(build, "config", None)
    if isinstance(config, TrainConfig):
        return _describe_config(config)
    module, name = getattr(build, "__module__", ""), getattr(build, "__qualname__", "<unnamed>")
    file = getattr(sys.modules.get(module), "__file__", None)
    if getattr(sys.modules["__main__"].__spec__, "name", None) == CHILD:  # it would start probes that start probes
        raise ConfigError(
            f'{file or module}: guard the main part with if __name__ == "__main__":, since each size is tried by a '
            "process of its own, which imports this file"
        )
    is_of_object = inspect.ismethod(build) and not inspect.isclass(build.__self__)
    is_typed_in = module == "__main__" and (file is None or not Path(file).is_file())
    if "<" in name or not module or is_of_object or is_typed_in:
        raise ConfigError(
            f"{what} must be a function of a module or of a script file, since each size is tried by a process of its "
            f"own, which imports it; got {name}{' of what was typed in' if is_typed_in else ''}"
        )
    return {"file": file if module == "__main__" else None, "module": module, "name": name, "sys_path": sys.path}


def _describe_config(config: TrainConfig) -> dict[str, Any]:
    return {"config": config.model_dump(mode="json"), "places": places.anchors()}


def spawning(how: Mapping[str, Any] | TrainConfig) -> Callable[[Request, IO[bytes]], ProbeProcess]:
    """Return what starts probes as processes from nothing: for GPUs, which no fork may share."""
    order_of_build = dict(how) if isinstance(how, Mapping) else _describe_config(how)

    def start(request: Request, errors: IO[bytes]) -> ProbeProcess:
        process = subprocess.Popen(
            [sys.executable, "-m", CHILD],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        order = {**order_of_build, "request": asdict(request), "parent": os.getpid()}
        with suppress(BrokenPipeError), process.stdin:  # of one that is dead already its exit status says why
            process.stdin.write(json.dumps(order).encode())
        process.returncode = 0  # its end is waited for by the ProbeProcess, not by Popen
        with process.stdout:
            return ProbeProcess(process.pid, os.dup(process.stdout.fileno()))

    return start


def can_fork(device_type: str) -> bool:
    """Whether this process is one that may fork: no GPU in use, a single thread, nothing computed by others."""
    return device_type == "cpu" and len(list(Path("/proc/self/task").iterdir())) == 1
