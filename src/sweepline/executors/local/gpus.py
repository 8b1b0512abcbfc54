"""The machine's GPUs as their driver tells them. A driver may hang, so it is asked by a process of its own.

The driver's own library is asked (NVML), no Python package; where there is none, nothing is known and nothing checked.
"""

from __future__ import annotations

import ctypes
import json
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sweepline.errors import ExecutorUnavailableError

ANSWER_S = 10.0
READING_AGE_S = 1.0
_LIBRARY = "libnvidia-ml.so.1"
_SIGNS_OF_GPUS = ("/dev/nvidia0", "/dev/kfd", "/dev/dxg")  # NVIDIA, AMD, Windows' for Linux

# Answers every line on standard input with one line of JSON: the GPUs, or the text of what keeps them from being told.
# A line with "processes" asks for those of each GPU too.
_SENSOR = """
import ctypes, json, os, sys
ctypes.CDLL(None).prctl(1, 9)  # PR_SET_PDEATHSIG, SIGKILL: a driver that hangs holds nobody after its asker
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # what a driver prints is no answer
class Memory(ctypes.Structure):
    _fields_ = [(name, ctypes.c_ulonglong) for name in ("total", "free", "used")]
class Refused(Exception):
    pass
nvml = ctypes.CDLL("libnvidia-ml.so.1")
nvml.nvmlErrorString.restype = ctypes.c_char_p
def ask(name, *words):
    code = getattr(nvml, name)(*words)
    if code:
        raise Refused(nvml.nvmlErrorString(code).decode(errors="replace"))
def number(name, *words):
    found = ctypes.c_uint()
    ask(name, *words, ctypes.byref(found))
    return found.value
def handle_of(name, *words):
    handle = ctypes.c_void_p()
    ask(name, *words, ctypes.byref(handle))
    return handle
def text(name, handle):
    found = ctypes.create_string_buffer(128)
    ask(name, handle, found, 128)
    return found.value.decode(errors="replace")
def describe(index, handle):
    memory = Memory()
    ask("nvmlDeviceGetMemoryInfo", handle, ctypes.byref(memory))
    uuid, name = text("nvmlDeviceGetUUID", handle), text("nvmlDeviceGetName", handle)
    return [index, uuid, name, memory.free >> 20, memory.total >> 20]
class Process(ctypes.Structure):
    _fields_ = [("pid", ctypes.c_uint), ("used", ctypes.c_ulonglong), ("gpu", ctypes.c_uint), ("part", ctypes.c_uint)]
class OldProcess(ctypes.Structure):
    _fields_ = Process._fields_[:2]
def processes(handle):
    for version, kind in (("_v3", Process), ("_v2", Process), ("", OldProcess)):
        count, told = ctypes.c_uint(4096), (kind * 4096)()
        try:
            ask("nvmlDeviceGetComputeRunningProcesses" + version, handle, ctypes.byref(count), told)
        except AttributeError:
            continue  # a driver from before there was this one
        except Refused:
            return None
        unknown = ctypes.c_ulonglong(-1).value
        return [[one.pid, None if one.used == unknown else one.used >> 20] for one in told[: count.value]]
def instances(index, handle, with_processes):
    found, pending = [], ctypes.c_uint()
    try:
        mode = ctypes.c_uint()
        ask("nvmlDeviceGetMigMode", handle, ctypes.byref(mode), ctypes.byref(pending))
        n_most = number("nvmlDeviceGetMaxMigDeviceCount", handle) if mode.value else 0
    except (Refused, AttributeError):
        return []  # no GPU that can be divided, or a driver from before there were any
    for i in range(n_most):
        try:
            part = handle_of("nvmlDeviceGetMigDeviceHandleByIndex", handle, i)
            found.append(describe(index, part) + [0, True, processes(part) if with_processes else None])
        except Refused:
            continue  # a place that no instance has
    return found
def read(with_processes):
    ask("nvmlInit_v2")
    found = []
    for index in range(number("nvmlDeviceGetCount_v2")):
        try:
            handle = handle_of("nvmlDeviceGetHandleByIndex_v2", index)
            whole = describe(index, handle)
            parts = instances(index, handle, with_processes)
            told = processes(handle) if with_processes else None
        except Refused:
            continue  # fallen off the bus: a GPU that is not told is not there
        found += [whole + [len(parts), False, told], *parts]
    ask("nvmlShutdown")
    return found
for question in sys.stdin:
    try:
        answer = read(with_processes=question.strip() == "processes")
    except Exception as error:
        answer = str(error)
    print(json.dumps(answer), file=answers, flush=True)
"""


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU as the driver tells it, numbered by PCI bus, or a MIG instance of one, which goes by its UUID alone.

    ``processes`` are its process ids, each with its MiB, None where these are not told; None where it was not asked for
    them or does not tell.
    """

    index: int
    uuid: str
    name: str
    free_mib: int = 0
    total_mib: int = 0
    n_instances: int = 0
    is_instance: bool = False
    processes: Sequence[tuple[int, int | None]] | None = None

    @property
    def id(self) -> str:
        """What CUDA_VISIBLE_DEVICES calls it."""
        return self.uuid if self.is_instance else str(self.index)


def find_gpu(name: str, gpus: Sequence[Gpu] | None) -> Gpu | None:
    """Return the GPU that an index, a UUID or the beginning of exactly one UUID names."""
    for gpu in gpus or ():
        if name in (gpu.id, gpu.uuid):
            return gpu
    begun = [gpu for gpu in gpus or () if name.startswith(("GPU-", "MIG-")) and gpu.uuid.startswith(name)]
    return begun[0] if len(begun) == 1 else None


def gpu_key(name: str, gpus: Sequence[Gpu] | None) -> str:
    """Return what all sweeps call a GPU: its UUID, and where none is known the name that is there."""
    gpu = find_gpu(name, gpus)
    if gpu is not None:
        return gpu.uuid
    return name if name.startswith(("GPU-", "MIG-")) else f"index-{name}"


def read_gpus() -> tuple[list[Gpu] | None, str]:
    """Return the machine's GPUs; None where they cannot be told, with why, if GPUs seem to be there.

    Raises:
        ExecutorUnavailableError: there is a driver and it does not answer.
    """
    if not has_driver():
        sign = next((path for path in _SIGNS_OF_GPUS if Path(path).exists()), None)
        return None, f"there is {sign}, but no {_LIBRARY} to ask for the GPUs" if sign else ""
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
    return found, f"the GPU driver does not tell the GPUs ({sensor.problem})" if found is None else ""


def has_driver() -> bool:
    """Whether NVML can be loaded here; costs nothing where it cannot."""
    try:
        ctypes.CDLL(_LIBRARY)
    except OSError:
        return False
    return True


def _gpu_of(*fields: Any) -> Gpu:
    """Return a GPU of the fields that the sensor writes of it."""
    gpu = Gpu(*fields)
    pairs = None if gpu.processes is None else tuple((pid, mib) for pid, mib in gpu.processes)
    return replace(gpu, processes=pairs)


class GpuSensor:
    """Asks for the state of the GPUs without ever waiting for it: ask, go on, take the answer when it is there.

    With ``asks_processes`` also for what each process has on them.
    """

    def __init__(self, *, asks_processes: bool = False) -> None:
        self._question = b"processes\n" if asks_processes else b"\n"
        self.is_silent = False  # it did not answer in time and is not asked again
        self.problem = ""  # what the driver said instead of a reading
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
            self._process.stdin.write(self._question)
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
                is_told = isinstance(answer, list)
                self.reading = [_gpu_of(*fields) for fields in answer] if is_told else None
                self.problem = "" if is_told else str(answer)
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
