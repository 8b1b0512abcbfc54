"""Slots: places to run. Which there are, which is free, and that none is given twice. Never imports torch."""

from __future__ import annotations

import itertools
import os
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Protocol

from sweepline.errors import ExecutorUnavailableError
from sweepline.executors.local.gpus import Gpu, find_gpu, gpu_key

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
CUDA, HIP, ROCR = "CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"
MAX_SLOTS = 10_000
MAX_PACKED = 16  # runs that share a GPU where the sweep decides how many
_NOT_PACKED_CPU = "runs_per_device: auto is for GPUs; on the CPU max_concurrent says how many run at a time"
_NOT_PACKED_GPUS = "runs_per_device: auto: no GPU driver tells here what runs take: one run per device"
_NO_DEVICE = ("nodevfiles", "none", "void")  # as schedulers say it


@dataclass(frozen=True, slots=True)
class Slot:
    """A place to run: ``visible`` is what ``variable`` names its devices by, empty for a CPU slot.

    It is of the node ``host``, or of this machine. Where a ``scheduler`` chooses node and devices for each run, the
    slot is one of the runs that it may have at a time, of ``n_gpus`` each.
    """

    index: int
    visible: str
    variable: str = CUDA
    host: str = ""
    scheduler: str = ""
    n_gpus: int = 0

    @property
    def is_gpu(self) -> bool:
        """Whether runs on this slot see a GPU that the sweep has chosen."""
        return bool(self.visible)

    @property
    def label(self) -> str:
        """A short name for tables: ``gpu 0``, ``cpu 1``, ``n1 gpu 0`` or ``slurm 7``."""
        if self.scheduler:
            return f"{self.scheduler} {self.index}"
        return f"{self.host} {self._own_label}".lstrip()

    @property
    def _own_label(self) -> str:
        return f"gpu {self.visible}" if self.visible else f"cpu {self.index}"

    @property
    def device(self) -> str:
        """The column ``device``: a GPU id or ``cpu``, after its node where there are several; or who gives GPUs."""
        if self.scheduler:
            return {0: "cpu", 1: self.scheduler}.get(self.n_gpus, f"{self.scheduler} x{self.n_gpus}")
        own = self.visible or "cpu"
        return f"{self.host}:{own}" if self.host else own

    @property
    def device_arg(self) -> str:
        """What a program is told: index 0 of what it sees, never a global index."""
        if self.scheduler:
            return "cuda" if self.n_gpus else "cpu"
        return "cuda" if self.visible else "cpu"


class Admission(Protocol):
    """Who else has a say in whether a slot may be used now: other sweeps, other users of its GPU."""

    def admit(self, slot: Slot) -> bool:
        """Reserve the slot's devices on this machine; False when they cannot be had now."""

    def release(self, slot: Slot) -> None:
        """Give back what :meth:`admit` reserved."""


class Slots:
    """Leases of slots, round-robin: the next free slot after the last one taken.

    The index of a slot is its place among all. There may be thousands of them: no lease looks at them all.
    """

    def __init__(
        self,
        slots: Sequence[Slot],
        *,
        max_concurrent: int | None = None,
        admission: Admission | None = None,
        is_packed: bool = False,
    ) -> None:
        """With ``is_packed`` each device has one lease at a time until :meth:`share` says otherwise."""
        self.all = tuple(slots)
        self._most = {slot.device: 1 for slot in self.all} if is_packed else {}
        self.n_max = min(len(self.all), max_concurrent or len(self.all))
        self.admission = admission
        self._devices = {slot.device for slot in self.all}
        self._free = list(range(len(self.all)))  # in order
        self._taken: set[int] = set()
        self._n_leases: Counter[str] = Counter()  # by device
        self._shared: set[int] = set()
        self._out_of_service: set[str] = set()
        self._reserved: str | None = None  # the device that a run wants for itself
        self._alone: int | None = None  # the slot of that run
        self._next = 0

    def resize(self, n_max: int) -> None:
        """Lease at most so many slots at once from now on; of GPUs no more than there are."""
        if not any(slot.is_gpu or slot.host for slot in self.all):
            more = range(len(self.all), n_max)
            self.all += tuple(replace(self.all[0], index=i) for i in more)
            self._free += more
            self._devices = {slot.device for slot in self.all}
        self.n_max = min(len(self.all), n_max)

    @property
    def is_packed(self) -> bool:
        """Whether how many leases a device may have at once is decided under way."""
        return bool(self._most)

    @property
    def n_at_once(self) -> int:
        """How many leases may be out at once as things are now."""
        return min(self.n_max, sum(self._most.values())) if self._most else self.n_max

    def share(self, device: str, n: int) -> None:
        """Let at most ``n`` leases of a device be out at once from now on; those that are out stay."""
        self._most[device] = n

    @property
    def n_taken(self) -> int:
        """How many leases are out."""
        return len(self._taken)

    @property
    def has_free(self) -> bool:
        """Whether a slot is free as far as this sweep is concerned."""
        return len(self._taken) < self.n_max and any(self._is_open(self.all[index]) for index in self._free)

    @property
    def usable(self) -> set[str]:
        """The devices that are in service."""
        return self._devices - self._out_of_service

    def take(self, *, avoid: Set[str] = frozenset()) -> Slot | None:
        """Return a free slot, or None when there is none; the caller owns it until it gives it back.

        Devices in ``avoid`` are passed over while there are others in service.
        """
        shunned = avoid if self.usable - avoid else frozenset()
        first, n_free = bisect_left(self._free, self._next), len(self._free)
        order: Iterator[int] = map(self._free.__getitem__, itertools.chain(range(first, n_free), range(first)))
        if self._most:  # devices differ in how many they bear: the one with the fewest first
            order = iter(sorted(order, key=lambda index: self._n_on(self.all[index].device)))
        for index in order:
            slot = self.all[index]
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
        if not self._is_open(slot) or len(self._taken) >= self.n_max:
            return False
        if self.admission is not None and not self._n_on(slot.device) and not self.admission.admit(slot):
            return False
        del self._free[bisect_left(self._free, slot.index)]
        self._taken.add(slot.index)
        self._n_leases[slot.device] += 1
        if slot.is_gpu and self._n_on(slot.device) > 1:
            self._shared |= {index for index in self._taken if self.all[index].device == slot.device}
        return True

    def _is_open(self, slot: Slot) -> bool:
        if slot.index in self._taken or slot.device in self._out_of_service:
            return False
        return slot.device not in self._most or self._n_on(slot.device) < self._most[slot.device]

    def _n_on(self, device: str) -> int:
        return self._n_leases[device]

    def was_shared(self, slot: Slot) -> bool:
        """Whether another run was on the same GPU while this lease was out."""
        return slot.is_gpu and slot.index in self._shared

    def give_back(self, slot: Slot) -> None:
        """End a lease. A slot that is not out is a bug."""
        assert slot.index in self._taken, slot
        self._end_lease(slot)
        if self.admission is not None and not self._n_on(slot.device):
            self.admission.release(slot)

    def write_off(self, slot: Slot) -> None:
        """End a lease whose run never ends; what was reserved for it stays reserved."""
        if slot.index in self._taken:
            self._end_lease(slot)

    def _end_lease(self, slot: Slot) -> None:
        self._taken.remove(slot.index)
        insort(self._free, slot.index)
        self._n_leases[slot.device] -= 1
        self._shared.discard(slot.index)
        if slot.index == self._alone:
            self._alone = self._reserved = None

    def take_out_of_service(self, device: str) -> None:
        """Use a device no more; leases that are out end as usual."""
        self._out_of_service.add(device)


def build_slots(
    devices: str | Sequence[int | str],
    *,
    runs_per_device: int | str = 1,
    max_concurrent: int | None = None,
    threads: int | str = "auto",
    gpus: Sequence[Gpu] | None = None,
    trouble: str = "",
    environ: Mapping[str, str] = os.environ,
) -> tuple[Slots, list[str]]:
    """Return the slots that ``devices`` names, and notes worth saying.

    Args:
        devices: ``auto``, ``cpu``, or ids: indexes, UUIDs, or comma lists of them for slots of several GPUs.
        runs_per_device: leases per device; ``auto``: one, until more are found to fit, as far as there are cores.
        max_concurrent: at most so many leases at once; on CPUs also the number of slots.
        threads: CPU threads of a run, which bound how many share a device with ``auto``.
        gpus: what the driver tells, or None where none answers.
        trouble: why none answers, where there seem to be GPUs.
        environ: an inherited CUDA_VISIBLE_DEVICES (or HIP's, where no driver answers) bounds what may be used.

    Raises:
        ExecutorUnavailableError: a device does not exist, is named twice, or lies outside CUDA_VISIBLE_DEVICES; or
            there would be more slots than a machine can have.
    """
    variable = _find_variable(environ, gpus)
    allowed = None if variable not in environ else _visible(environ[variable])
    notes: list[str] = []
    if devices == "auto":
        ids, notes = _choose_devices(gpus, allowed, variable, trouble)
        groups = [[device] for device in ids]
    elif devices == "cpu":
        groups = []
    else:
        groups = [[part.strip() for part in str(device).split(",")] for device in devices]
    is_packed = runs_per_device == "auto" and bool(groups) and gpus is not None
    if is_packed:
        runs_per_device = _bound_packing(len(groups), threads, max_concurrent, environ)
    elif isinstance(runs_per_device, str):
        notes += [_NOT_PACKED_GPUS] if groups else [] if max_concurrent else [_NOT_PACKED_CPU]
        runs_per_device = 1
    assert isinstance(runs_per_device, int)
    n_slots = len(groups) * runs_per_device if groups else max_concurrent or max(1, n_cores() // 2)
    if n_slots > MAX_SLOTS:
        key = "runs_per_device" if groups else "max_concurrent"
        raise ExecutorUnavailableError(f"{key}: {n_slots:,} runs at a time are more than {MAX_SLOTS:,}; lower it")
    if not groups:
        return Slots([Slot(i, "") for i in range(n_slots)]), notes
    is_checked = gpus is not None or devices == "auto"
    _check_ids([device for group in groups for device in group], allowed, variable, gpus)
    notes += [] if is_checked else ["no GPU driver answers here: the devices are used as given"]
    if max_concurrent and max_concurrent > n_slots and not is_packed:
        notes.append(
            f"max_concurrent {max_concurrent} is more than {n_slots} slots on {len(groups)} devices: "
            f"runs_per_device: {-(-max_concurrent // len(groups))} is what lets runs share a device"
        )
    labels = [",".join(group) for _ in range(runs_per_device) for group in groups]
    slots = [Slot(i, label, variable) for i, label in enumerate(labels)]
    return Slots(slots, max_concurrent=max_concurrent, is_packed=is_packed), notes


def _bound_packing(n_devices: int, threads: int | str, max_concurrent: int | None, environ: Mapping[str, str]) -> int:
    """Return how many runs may share a device at most: as many as have cores, or as ``max_concurrent`` asks for."""
    n_with_cores = n_cores() // (thread_budget(threads, n_cores(), environ) * n_devices)
    n_asked = -(-(max_concurrent or 0) // n_devices)
    return min(MAX_PACKED, max(1, n_with_cores, n_asked))


def _find_variable(environ: Mapping[str, str], gpus: Sequence[Gpu] | None) -> str:
    """Return the variable that says which GPUs a program sees: AMD's where it is set and no NVIDIA driver answers."""
    if gpus:
        return CUDA
    return next((name for name in (HIP, CUDA, ROCR) if name in environ), CUDA)


def _choose_devices(
    gpus: Sequence[Gpu] | None, allowed: Sequence[str] | None, variable: str, trouble: str
) -> tuple[list[str], list[str]]:
    """Return the ids of all GPUs that may be used, and a note where it is not sure that these are all."""
    if gpus is not None:
        found = [gpu.id for gpu in gpus if not gpu.n_instances]
        return found if allowed is None else list(allowed) if gpus else [], []
    if allowed and (trouble or variable != CUDA):
        named = f"the GPUs of {variable}={','.join(allowed)} are used as named"
        return list(allowed), [f"{trouble or 'no NVIDIA driver answers'}: {named}"]
    if allowed:
        trouble = f"{variable}={','.join(allowed)} is set, but there is no sign of a GPU driver"
    if not trouble or allowed == []:
        return [], []
    return [], [f"{trouble}: runs are on the CPU; name the GPUs (devices: [0, 1]) to use them all the same"]


def _visible(inherited: str) -> list[str]:
    """Return the ids of a CUDA_VISIBLE_DEVICES; as in CUDA, what is no device ends the list."""
    parts = [part.strip() for part in inherited.split(",") if part.strip()]
    return list(itertools.takewhile(lambda part: not part.startswith("-") and part.lower() not in _NO_DEVICE, parts))


def _check_ids(ids: Sequence[str], allowed: Sequence[str] | None, variable: str, gpus: Sequence[Gpu] | None) -> None:
    if "" in ids:
        raise ExecutorUnavailableError("devices: an id is empty; write them as 0,1")
    keys = {device: gpu_key(device, gpus) for device in ids}
    named = [keys[device] for device in ids]
    twice = next((device for device in ids if named.count(keys[device]) > 1), None)
    if twice is not None:
        raise ExecutorUnavailableError(
            f"devices: GPU {twice} is named twice; use runs_per_device for several runs on one GPU"
        )
    if gpus is not None:
        for device in ids:
            if find_gpu(device, gpus) is None and not _is_untold_instance(device, gpus):
                available = ", ".join(gpu.id for gpu in gpus if not gpu.n_instances) or "none"
                raise ExecutorUnavailableError(f"devices: GPU {device} not found; available: {available}")
    if allowed is not None:
        within = {gpu_key(name, gpus) for name in allowed}
        for device in ids:
            if keys[device] not in within:
                raise ExecutorUnavailableError(
                    f"devices: GPU {device} is outside the inherited {variable}={','.join(allowed)}"
                )


def _is_untold_instance(device: str, gpus: Sequence[Gpu]) -> bool:
    """Whether a name is one of a MIG instance that this driver does not tell, at all or by this older name."""
    return device.startswith("MIG-GPU-") or (device.startswith("MIG-") and not any(gpu.is_instance for gpu in gpus))


def n_cores() -> int:
    """Return how many CPU cores this process may use."""
    return len(os.sched_getaffinity(0))


def thread_budget(threads: str | int, n_slots: int, environ: Mapping[str, str] = os.environ) -> int:
    """Return the CPU threads of one run: as told, as the user has set OMP_NUM_THREADS, or the cores shared."""
    set_by_user = environ.get("OMP_NUM_THREADS", "")
    if isinstance(threads, str) and set_by_user.isdecimal() and int(set_by_user) > 0:
        return int(set_by_user)
    return threads if isinstance(threads, int) else max(1, n_cores() // max(1, n_slots))


def slot_cpus(slot: Slot, threads: int) -> list[int]:
    """Return the CPU cores of a slot of this machine: as many as it has threads, after those of the slot before."""
    if slot.host or slot.scheduler:
        return []
    cores = sorted(os.sched_getaffinity(0))
    return sorted({cores[(slot.index * threads + i) % len(cores)] for i in range(min(threads, len(cores)))})


def device_environment(slot: Slot, threads: int, inherited: Mapping[str, str] = MappingProxyType({})) -> dict[str, str]:
    """Return the variables that place a run on its slot."""
    if slot.scheduler:  # which has set what its devices are called
        return dict.fromkeys(THREAD_VARIABLES, str(threads))
    variables = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", CUDA: slot.visible}
    if slot.variable == HIP:
        variables[HIP] = slot.visible
    elif slot.variable == ROCR:  # the others count only what it leaves
        variables[ROCR] = slot.visible
        variables[CUDA] = ",".join(map(str, range(slot.visible.count(",") + 1)))
    elif not slot.is_gpu and HIP in inherited:
        variables[HIP] = "-1"
    return variables | dict.fromkeys(THREAD_VARIABLES, str(threads))
