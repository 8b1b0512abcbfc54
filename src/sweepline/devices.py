"""Slots: places to run. Which there are, which is free, and that none is given twice. Never imports torch."""

from __future__ import annotations

import ctypes
import itertools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sweepline.errors import ExecutorUnavailableError


@dataclass(frozen=True, slots=True)
class Slot:
    """A place to run: ``visible`` is its CUDA_VISIBLE_DEVICES, empty for a CPU slot."""

    index: int
    visible: str

    @property
    def is_gpu(self) -> bool:
        """Whether runs on this slot see a GPU."""
        return bool(self.visible)

    @property
    def label(self) -> str:
        """A short name for tables: ``gpu 0`` or ``cpu 1``."""
        return f"gpu {self.visible}" if self.visible else f"cpu {self.index}"

    @property
    def device(self) -> str:
        """The column ``device``: a GPU id or ``cpu``."""
        return self.visible or "cpu"

    @property
    def told(self) -> str:
        """What a program is told: index 0 of what it sees, never a global index."""
        return "cuda" if self.visible else "cpu"


class Slots:
    """Leases of slots, round-robin: the next free slot after the last one taken."""

    def __init__(self, slots: Sequence[Slot], *, max_concurrent: int | None = None) -> None:
        self.all = tuple(slots)
        self.n_max = min(len(self.all), max_concurrent or len(self.all))
        self._taken: set[int] = set()
        self._next = 0

    @property
    def n_taken(self) -> int:
        """How many leases are out."""
        return len(self._taken)

    def take(self) -> Slot | None:
        """Return a free slot, or None when all are taken; the caller owns it until it gives it back."""
        if len(self._taken) >= self.n_max:
            return None
        for offset in range(len(self.all)):
            slot = self.all[(self._next + offset) % len(self.all)]
            if slot.index not in self._taken:
                self._taken.add(slot.index)
                self._next = (slot.index + 1) % len(self.all)
                return slot
        return None

    def give_back(self, slot: Slot) -> None:
        """End a lease. A slot that is not out is a bug."""
        assert slot.index in self._taken, slot
        self._taken.remove(slot.index)


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU as the driver tells it, numbered by PCI bus."""

    index: int
    uuid: str
    name: str


def read_gpus() -> list[Gpu] | None:
    """Return the machine's GPUs from NVML; None where there is no driver or no ``nvidia-ml-py``."""
    try:
        ctypes.CDLL("libnvidia-ml.so.1")  # a tenth of the time that importing pynvml takes to find no driver
        import pynvml
    except (OSError, ImportError):
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    try:
        handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
        return [
            Gpu(i, _text(pynvml.nvmlDeviceGetUUID(handle)), _text(pynvml.nvmlDeviceGetName(handle)))
            for i, handle in enumerate(handles)
        ]
    except pynvml.NVMLError:
        return None
    finally:
        pynvml.nvmlShutdown()


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def build_slots(
    devices: str | Sequence[int | str],
    *,
    runs_per_device: int = 1,
    max_concurrent: int | None = None,
    gpus: Sequence[Gpu] | None = None,
    environ: Mapping[str, str] = os.environ,
) -> tuple[Slots, list[str]]:
    """Return the slots that ``devices`` names, and notes worth saying.

    Args:
        devices: ``auto``, ``cpu``, or ids: indexes, UUIDs, or comma lists of them for slots of several GPUs.
        runs_per_device: leases per device.
        max_concurrent: at most so many leases at once; on CPUs also the number of slots.
        gpus: what the driver tells, or None where none answers.
        environ: an inherited CUDA_VISIBLE_DEVICES bounds what may be used.

    Raises:
        ExecutorUnavailableError: a device does not exist, is named twice, or lies outside CUDA_VISIBLE_DEVICES.
    """
    inherited = environ.get("CUDA_VISIBLE_DEVICES")
    allowed = None if inherited is None else _visible(inherited)
    if devices == "auto":
        found = [str(gpu.index) for gpu in gpus or ()]
        ids = found if allowed is None else allowed if gpus else []
        groups = [[device] for device in ids]
    elif devices == "cpu":
        groups = []
    else:
        groups = [[part.strip() for part in str(device).split(",")] for device in devices]
    if not groups:
        n_slots = max_concurrent or max(1, n_cores() // 2)
        return Slots([Slot(i, "") for i in range(n_slots)]), []
    notes = _check_ids([device for group in groups for device in group], allowed, gpus)
    labels = [",".join(group) for _ in range(runs_per_device) for group in groups]
    return Slots([Slot(i, label) for i, label in enumerate(labels)], max_concurrent=max_concurrent), notes


def _visible(inherited: str) -> list[str]:
    """Return the ids of a CUDA_VISIBLE_DEVICES; as in CUDA, a negative one ends the list."""
    parts = [part.strip() for part in inherited.split(",") if part.strip()]
    return list(itertools.takewhile(lambda part: not part.startswith("-"), parts))


def _check_ids(ids: Sequence[str], allowed: Sequence[str] | None, gpus: Sequence[Gpu] | None) -> list[str]:
    if "" in ids:
        raise ExecutorUnavailableError("devices: an id is empty; write them as 0,1")
    known = {name: gpu for gpu in gpus or () for name in (str(gpu.index), gpu.uuid)}
    real = [known[device].uuid if device in known else device for device in ids]
    twice = next((device for device, uuid in zip(ids, real, strict=True) if real.count(uuid) > 1), None)
    if twice is not None:
        raise ExecutorUnavailableError(
            f"devices: GPU {twice} is named twice; use runs_per_device for several runs on one GPU"
        )
    if gpus is not None:
        for device in ids:
            if device not in known:
                available = ", ".join(str(gpu.index) for gpu in gpus) or "none"
                raise ExecutorUnavailableError(f"devices: GPU {device} not found; available: {available}")
    if allowed is not None:
        within = {known[name].uuid if name in known else name for name in allowed}
        for device in ids:
            if (known[device].uuid if device in known else device) not in within:
                raise ExecutorUnavailableError(
                    f"devices: GPU {device} is outside the inherited CUDA_VISIBLE_DEVICES={','.join(allowed)}"
                )
    return [] if gpus is not None else ["no GPU driver answers here: the devices are used as given"]


def n_cores() -> int:
    """Return how many CPU cores this process may use."""
    return len(os.sched_getaffinity(0))


def thread_budget(threads: str | int, n_slots: int) -> int:
    """Return the CPU threads of one run: as told, or the cores shared among the slots."""
    return threads if isinstance(threads, int) else max(1, n_cores() // max(1, n_slots))


def device_environment(slot: Slot, threads: int) -> dict[str, str]:
    """Return the variables that place a run on its slot."""
    count = str(threads)
    return {
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": slot.visible,
        "OMP_NUM_THREADS": count,
        "MKL_NUM_THREADS": count,
        "OPENBLAS_NUM_THREADS": count,
    }
