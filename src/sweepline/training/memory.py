"""Running out of memory: telling it from other errors, setting a limit for it, and measuring how near it is."""

from __future__ import annotations

import ctypes
import errno
import os
import re
import resource
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from sweepline.contract import outofmemory, variables
from sweepline.errors import ConfigError, SweeplineError
from sweepline.fits.freememory import SHARE_OF_FREE, free_bytes

GIB = 1 << 30
_UNMAPPED = re.compile(r"cannot map zero-fill pages|failed to map segment")  # a library that finds no room
_NO_PRIMITIVE = "could not create a primitive"
_UNSUPPORTED = re.compile(r"CUDNN_STATUS_NOT_SUPPORTED|CUDNN_STATUS_EXECUTION_FAILED|could not create a primitive")
_FULL_GPU_BYTES = 256 << 20  # what a library of CUDA's may need to be set up, its workspace with it


class BatchTooLargeError(SweeplineError):
    """Memory ran out in training. ``batch_size`` examples were going through the network at once."""

    def __init__(self, batch_size: int, why: str) -> None:
        super().__init__(f"out of memory with {batch_size} examples at once: {why}")
        self.batch_size = batch_size


def describe(error: BaseException, limit: int = 200) -> str:
    """Return an error in one line."""
    return " ".join(f"{type(error).__name__}: {error}".removesuffix(": ").split())[:limit]


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error, or any that caused it, is a failed allocation."""
    return any(_is_failed_allocation(link) for link in _chain(error))


def is_unsupported(error: BaseException) -> bool:
    """Whether a library could not do its work at this size, as happens for want of memory too."""
    return any(_UNSUPPORTED.search(str(link)) or outofmemory.IN_DOUBT.search(str(link)) for link in _chain(error))


def is_refused_by_limit(error: BaseException) -> bool:
    """Whether a CPU library could not do its work in a process whose memory is limited, which is for want of it."""
    return is_limited() and any(_NO_PRIMITIVE in str(link) for link in _chain(error))


def tells_out_of_memory(text: str) -> bool:
    """Whether what a process wrote before it was aborted speaks of a failed allocation."""
    return bool(outofmemory.IN_ERROR.search(text))


def _is_failed_allocation(error: BaseException) -> bool:
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    if isinstance(error, ImportError) and _UNMAPPED.search(str(error)):
        return True
    names = {kind.__name__ for kind in type(error).__mro__}  # by name: nothing here need import torch
    if "OutOfMemoryError" in names:
        return True
    if not isinstance(error, RuntimeError):
        return False
    if outofmemory.IN_DOUBT.search(str(error)):
        return _is_gpu_full()
    return bool(outofmemory.IN_ERROR.search(str(error)))


def _is_gpu_full() -> bool:
    """Whether hardly anything is free on a GPU that this process uses."""
    import torch

    try:
        return any(torch.cuda.mem_get_info(gpu)[0] < _FULL_GPU_BYTES for gpu in gpus_in_use())
    except RuntimeError:  # a GPU that is asked in vain tells nothing
        return False


def gpus_in_use() -> list[int]:
    """Return the numbers of the GPUs that this process has tensors on, else of the current one; none before CUDA is.

    A run on ``cuda:3`` need not have made that one the current one.
    """
    import torch

    if not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return []
    used = [gpu for gpu in range(torch.cuda.device_count()) if torch.cuda.memory_reserved(gpu) > 0]
    return used or [torch.cuda.current_device()]


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error, its causes and its contexts, each once."""
    seen: list[BaseException] = []
    todo: list[BaseException | None] = [error]
    while todo:
        link = todo.pop()
        if link is None or any(link is known for known in seen):
            continue
        seen.append(link)
        yield link
        todo += [link.__context__, link.__cause__]


def limit_data(n_bytes: int) -> None:
    """Have the kernel refuse this process, and its children, more than ``n_bytes`` of private memory beyond now's."""
    limit = data_bytes() + n_bytes
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard == resource.RLIM_INFINITY or limit < hard:
        resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))


def is_limited() -> bool:
    """Whether the kernel refuses this process memory from some point on."""
    return resource.getrlimit(resource.RLIMIT_DATA)[0] != resource.RLIM_INFINITY


def trim_heap() -> None:
    """Give freed memory that the allocator keeps back to the kernel, so that it does not add to a limit."""
    with suppress(OSError, AttributeError):  # not glibc
        ctypes.CDLL(None).malloc_trim(0)


def data_bytes() -> int:
    """Return the private, writable memory of this process as RLIMIT_DATA counts it."""
    return _status("VmData")


def resident_bytes() -> int:
    """Return the memory of this process that is really there."""
    return _status("VmRSS")


def anonymous_bytes() -> int:
    """Return the memory of this process that is really there and in no file: what it has allocated and used."""
    return _status("RssAnon")


def peak_resident_bytes() -> int:
    """Return the most there ever was since :func:`reset_peak`."""
    return _status("VmHWM")


def reset_peak() -> None:
    """Let the peak begin anew; where the kernel does not allow it the old one stays."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def _status(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return 0


def runs_per_device() -> int:
    """Return how many runs share this run's device, or this machine's memory on a CPU; a sweep says so by a variable.

    Raises:
        ConfigError: it is no whole number above zero.
    """
    text = os.environ.get(variables.RUNS_PER_DEVICE, "").strip() or "1"
    if not text.isdecimal() or int(text) < 1:
        raise ConfigError(f"{variables.RUNS_PER_DEVICE}: needs a whole number above zero, got {text!r}")
    return int(text)


def usable_bytes() -> int:
    """Return the share of what is free here that one of the runs that share it may take."""
    return int(SHARE_OF_FREE * free_bytes() / runs_per_device())
