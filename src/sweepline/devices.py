"""Slots: places to run. Which there are, which is free, and that none is given twice. Never imports torch."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Protocol

from sweepline.errors import ExecutorUnavailableError
from sweepline.gpus import Gpu


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


class Admission(Protocol):
    """Who else has a say in whether a slot may be used now: other sweeps, other users of its GPU."""

    def admit(self, slot: Slot) -> bool:
        """Reserve the slot's devices on this machine; False when they cannot be had now."""

    def release(self, slot: Slot) -> None:
        """Give back what :meth:`admit` reserved."""


class Slots:
    """Leases of slots, round-robin: the next free slot after the last one taken."""

    def __init__(
        self, slots: Sequence[Slot], *, max_concurrent: int | None = None, admission: Admission | None = None
    ) -> None:
        self.all = tuple(slots)
        self.n_max = min(len(self.all), max_concurrent or len(self.all))
        self.admission = admission
        self._taken: set[int] = set()
        self._shared: set[int] = set()
        self._out_of_service: set[str] = set()
        self._reserved: str | None = None  # the device that a run wants for itself
        self._alone: int | None = None  # the slot of that run
        self._next = 0

    @property
    def n_taken(self) -> int:
        """How many leases are out."""
        return len(self._taken)

    @property
    def has_free(self) -> bool:
        """Whether a slot is free as far as this sweep is concerned."""
        return len(self._taken) < self.n_max and any(
            slot.index not in self._taken and slot.device not in self._out_of_service for slot in self.all
        )

    @property
    def usable(self) -> set[str]:
        """The devices that are in service."""
        return {slot.device for slot in self.all} - self._out_of_service

    def take(self, *, avoid: Set[str] = frozenset()) -> Slot | None:
        """Return a free slot, or None when there is none; the caller owns it until it gives it back.

        Devices in ``avoid`` are passed over while there are others in service.
        """
        shunned = avoid if self.usable - avoid else frozenset()
        for offset in range(len(self.all)):
            slot = self.all[(self._next + offset) % len(self.all)]
            if slot.device not in shunned and slot.device != self._reserved and self._occupy(slot):
                self._next = (slot.index + 1) % len(self.all)
                return slot
        return None

    def take_alone(self) -> Slot | None:
        """Return a slot whose device nobody else uses until it is given back; None while it is being cleared."""
        if self._alone is not None:
            return None
        if self._reserved not in self.usable:
            self._reserved = min(sorted(self.usable), key=self._n_on, default=None)
        if self._reserved is None or self._n_on(self._reserved):
            return None
        slot = next(slot for slot in self.all if slot.device == self._reserved)
        if not self._occupy(slot):
            return None
        self._alone = slot.index
        return slot

    def _occupy(self, slot: Slot) -> bool:
        is_out = slot.index in self._taken or slot.device in self._out_of_service
        if is_out or len(self._taken) >= self.n_max:
            return False
        if self.admission is not None and not self._n_on(slot.device) and not self.admission.admit(slot):
            return False
        self._taken.add(slot.index)
        neighbours = {other.index for other in self.all if other.device == slot.device} & self._taken
        if len(neighbours) > 1:
            self._shared |= neighbours
        return True

    def _n_on(self, device: str) -> int:
        return sum(slot.device == device and slot.index in self._taken for slot in self.all)

    def was_shared(self, slot: Slot) -> bool:
        """Whether another run was on the same GPU while this lease was out."""
        return slot.is_gpu and slot.index in self._shared

    def give_back(self, slot: Slot) -> None:
        """End a lease. A slot that is not out is a bug."""
        assert slot.index in self._taken, slot
        self._taken.remove(slot.index)
        self._shared.discard(slot.index)
        if slot.index == self._alone:
            self._alone = self._reserved = None
        if self.admission is not None and not self._n_on(slot.device):
            self.admission.release(slot)

    def write_off(self, slot: Slot) -> None:
        """End a lease whose run never ends; what was reserved for it stays reserved."""
        self._taken.discard(slot.index)
        self._shared.discard(slot.index)
        if slot.index == self._alone:
            self._alone = self._reserved = None

    def take_out_of_service(self, device: str) -> None:
        """Use a device no more; leases that are out end as usual."""
        self._out_of_service.add(device)


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


def slot_cpus(slot: Slot, threads: int) -> list[int]:
    """Return the CPU cores of a slot: as many as it has threads, after those of the slot before."""
    cores = sorted(os.sched_getaffinity(0))
    return sorted({cores[(slot.index * threads + i) % len(cores)] for i in range(threads)})


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
