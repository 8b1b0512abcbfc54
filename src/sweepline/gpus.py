"""The machine's GPUs as their driver tells them. A driver may hang, so it is asked by a process of its own.

Needs ``nvidia-ml-py``; without it, or without a driver, nothing is known and nothing is checked.
"""

from __future__ import annotations

import ctypes
import json
import select
import subprocess
import sys
import time
from dataclasses import dataclass

from sweepline.errors import ExecutorUnavailableError

ANSWER_S = 10.0
READING_AGE_S = 1.0

# Answers every line on standard input with one line of JSON: the GPUs, or null where there are none to ask.
_SENSOR = """
import ctypes, json, os, sys
ctypes.CDLL(None).prctl(1, 9)  # PR_SET_PDEATHSIG, SIGKILL: a driver that hangs holds nobody after its asker
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # what a driver prints is no answer
try:
    import pynvml
except ImportError:
    pynvml = None
def read():
    if pynvml is None:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    found = []
    for index in range(pynvml.nvmlDeviceGetCount()):
        try:
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
            uuid, name = pynvml.nvmlDeviceGetUUID(handle), pynvml.nvmlDeviceGetName(handle)
        except pynvml.NVMLError:
            continue  # fallen off the bus: a GPU that is not told is not there
        text = [word.decode() if isinstance(word, bytes) else word for word in (uuid, name)]
        found.append([index, *text, memory.free >> 20, memory.total >> 20])
    pynvml.nvmlShutdown()
    return found
for _ in sys.stdin:
    try:
        answer = read()
    except Exception as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        answer = None
    print(json.dumps(answer), file=answers, flush=True)
"""


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU as the driver tells it, numbered by PCI bus."""

    index: int
    uuid: str
    name: str
    free_mib: int = 0
    total_mib: int = 0


def read_gpus() -> list[Gpu] | None:
    """Return the machine's GPUs; None where there is no driver or no ``nvidia-ml-py``.

    Raises:
        ExecutorUnavailableError: there is a driver and it does not answer.
    """
    if not has_driver():
        return None
    sensor = GpuSensor()
    try:
        sensor.ask()
        found = sensor.wait()
    finally:
        sensor.close()
    if sensor.is_silent:
        raise ExecutorUnavailableError(
            f"devices: the GPU driver did not answer in {ANSWER_S:.0f} s; name the GPUs (devices: [0, 1]) or use cpu"
        )
    return found


def has_driver() -> bool:
    """Whether NVML can be loaded here; costs a tenth of what importing pynvml takes to find out."""
    try:
        ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return False
    return True


class GpuSensor:
    """Asks for the state of the GPUs without ever waiting for it: ask, go on, take the answer when it is there."""

    def __init__(self) -> None:
        self.is_silent = False  # it did not answer in time and is not asked again
        self.reading: list[Gpu] | None = None
        self.read_at = -READING_AGE_S
        self._asked_at: float | None = None
        self._partial = b""
        self._process = subprocess.Popen(
            [sys.executable, "-c", _SENSOR],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        self.fd = self._process.stdout.fileno()

    @property
    def is_asked(self) -> bool:
        """Whether an answer is due."""
        return self._asked_at is not None

    @property
    def is_fresh(self) -> bool:
        """Whether the reading is at most a second old."""
        return time.monotonic() - self.read_at <= READING_AGE_S

    def ask(self) -> None:
        """Ask for a new reading unless one is under way."""
        if self._asked_at is not None or self.is_silent:
            return
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(b"\n")
            self._process.stdin.flush()
        except OSError:
            self._give_up()
        else:
            self._asked_at = time.monotonic()

    def poll(self, timeout_s: float = 0.0) -> None:
        """Take the answer if it has come."""
        if self._asked_at is None:
            return
        ready, _, _ = select.select([self.fd], [], [], timeout_s)
        if ready:
            assert self._process.stdout is not None
            chunk = self._process.stdout.read1(1 << 16)  # type: ignore[attr-defined]
            self._partial += chunk
            line, newline, rest = self._partial.partition(b"\n")
            if newline:
                self._partial = rest
                answer = json.loads(line)
                self.reading = None if answer is None else [Gpu(*fields) for fields in answer]
                self.read_at, self._asked_at = time.monotonic(), None
            elif not chunk:
                self._give_up()
        elif time.monotonic() - self._asked_at > ANSWER_S:
            self._give_up()

    def wait(self) -> list[Gpu] | None:
        """Return the answer, waiting for it as long as a driver may take."""
        while self._asked_at is not None:
            self.poll(0.5)
        return self.reading

    def _give_up(self) -> None:
        self.is_silent, self._asked_at, self.reading = True, None, None
        self._process.kill()  # not awaited: inside a driver that hangs it may never end

    def close(self) -> None:
        """End the process that asks."""
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:  # what was not written any more is of no use
                    continue
        try:
            self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            self.is_silent = True
