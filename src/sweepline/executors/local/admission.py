"""Whether a GPU may be used now: not by another sweep of this machine, not too full, not broken."""

from __future__ import annotations

import fcntl
import os
import re
import stat
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from sweepline.errors import ExecutorUnavailableError
from sweepline.executors.local.gpus import Gpu, GpuSensor, find_gpu, gpu_key
from sweepline.executors.local.packing import Packing, Placed
from sweepline.executors.local.slots import Slot
from sweepline.runs import SETTLED, State

MAX_LOST_IN_A_ROW = 2


def leases_dir() -> Path:
    """Return the folder of this machine's GPU leases, shared by all its users."""
    return Path(tempfile.gettempdir()) / "sweepline-gpus"


class Leases:
    """One lock file per GPU. The kernel frees a lock when its last holder is gone; the files stay."""

    def __init__(self, gpus: Mapping[str, str], *, folder: Path | None = None, holder: str = "") -> None:
        """Open the lock files of ``gpus``: the name that a slot uses for a GPU, and the name that all sweeps use.

        Raises:
            ExecutorUnavailableError: the folder of leases cannot be used.
        """
        folder = folder or leases_dir()
        self.holder = holder or f"pid {os.getpid()}"
        try:
            folder.mkdir(exist_ok=True)
            place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            with suppress(PermissionError):  # somebody else made it, and made it so
                os.fchmod(place, 0o1777)
            os.close(place)
            self._fds = {
                name: _open_lock(folder / f"{re.sub(r'[^A-Za-z0-9-]', '_', key)}.lock") for name, key in gpus.items()
            }
        except OSError as error:
            raise ExecutorUnavailableError(
                f"GPU leases: {folder}: {error.strerror}; is it somebody else's file?"
            ) from None

    @property
    def fds(self) -> list[int]:
        """The open lock files; a keeper that holds them too keeps the leases while runs may still live."""
        return list(self._fds.values())

    def take(self, name: str) -> bool:
        """Lease a GPU; False when another sweep has it."""
        fd = self._fds[name]
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        with suppress(OSError):  # the text is for messages; the lock is held without it
            os.ftruncate(fd, 0)
            os.pwrite(fd, self.holder.encode("utf-8", "replace"), 0)
        return True

    def give_back(self, name: str) -> None:
        """End a lease."""
        fcntl.flock(self._fds[name], fcntl.LOCK_UN)

    def close(self) -> None:
        """Close the lock files; a keeper that still lives holds what it must."""
        for fd in self._fds.values():
            os.close(fd)
        self._fds = {}

    def holder_of(self, name: str) -> str:
        """Return who wrote itself into the lock file last."""
        return os.pread(self._fds[name], 300, 0).decode("utf-8", "replace").strip() or "another sweep"


def _open_lock(path: Path) -> int:
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        fd = os.open(path, flags)
    except FileNotFoundError:
        fd = os.open(path, flags | os.O_CREAT, 0o666)
        os.fchmod(fd, 0o666)  # whatever the umask: other users lease the same GPU
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
        os.close(fd)
        raise OSError(22, f"{path.name} is no plain file")
    return fd


class GpuAdmission:
    """Admits slots whose GPUs are leased, free enough and well. What keeps it from that is said once."""

    def __init__(self, leases: Leases, *, min_free_mib: int | None = None, gpus: Sequence[Gpu] | None = None) -> None:
        self.leases, self.min_free_mib = leases, min_free_mib
        self.packing: Packing | None = None
        self._gpus = gpus
        self._sensor = GpuSensor() if gpus and min_free_mib is not None else None
        self._lost_in_a_row: Counter[str] = Counter()
        self._said: set[tuple[str, str]] = set()
        self._notes: list[str] = []

    @property
    def watched(self) -> list[int]:
        """Descriptors that become readable when an answer of the driver has come."""
        own = [self._sensor.fd] if self._sensor is not None and self._sensor.is_asked else []
        return own + (self.packing.watched if self.packing is not None else [])

    def take_notes(self) -> list[str]:
        """Return what is worth saying since the last call."""
        notes, self._notes = self._notes, []
        return notes + (self.packing.take_notes() if self.packing is not None else [])

    def admit(self, slot: Slot) -> bool:
        """Lease all GPUs of a slot; none of them when one cannot be had."""
        names = _names(slot)
        if not all(map(self._is_free_enough, names)):
            return False
        leased: list[str] = []
        for name in names:
            if not self.leases.take(name):
                self._say_once(name, "leased", f"GPU {name} is in use by {self.leases.holder_of(name)}: waiting for it")
                for taken in leased:
                    self.leases.give_back(taken)
                return False
            self._said.discard((name, "leased"))
            leased.append(name)
        return True

    def release(self, slot: Slot) -> None:
        """End the leases of a slot."""
        for name in _names(slot):
            self.leases.give_back(name)

    def note_end(self, slot: Slot, state: State) -> str | None:
        """Take the end of a run into account; return why its device is to be left out from now on, if it is."""
        if state in SETTLED:
            self._lost_in_a_row.pop(slot.device, None)
        if state != State.GPU_LOST:
            return None
        self._lost_in_a_row[slot.device] += 1
        if self._lost_in_a_row[slot.device] < MAX_LOST_IN_A_ROW:
            return None
        return f"GPU {slot.device}: {MAX_LOST_IN_A_ROW} runs in a row lost it; it is left out from here on"

    def poll(self, active: Iterable[Placed] = ()) -> None:
        """Take the driver's answer if it has come; ``active`` are the runs under way."""
        if self.packing is not None:
            self.packing.poll(active)
        if self._sensor is not None:
            self._sensor.poll()
            if self._sensor.is_silent:
                self._notes.append("the GPU driver did not answer in 10 s: free memory is not checked any more")
                self._sensor.close()
                self._sensor = None

    def close(self) -> None:
        """End the process that asks the driver, and all leases."""
        self.leases.close()
        if self._sensor is not None:
            self._sensor.close()
        if self.packing is not None:
            self.packing.close()

    def _is_free_enough(self, name: str) -> bool:
        sensor, told = self._sensor, find_gpu(name, self._gpus)
        if sensor is None or self.min_free_mib is None:
            return True
        if told is None:
            self._say_once(name, "untold", f"GPU {name}: its driver tells no free memory, which is not checked")
            return True
        if not sensor.is_fresh:
            sensor.ask()
            return False
        gpu = next((gpu for gpu in sensor.reading or () if gpu.uuid == told.uuid), None)
        if gpu is None:
            self._say_once(name, "gone", f"GPU {name} is not told by the driver any more: waiting for it")
            return False
        if gpu.free_mib < self.min_free_mib:
            used, total = (gpu.total_mib - gpu.free_mib) / 1024, gpu.total_mib / 1024
            self._say_once(
                name,
                "full",
                f"GPU {name}: {used:.1f} of {total:.1f} GiB are used, {self.min_free_mib} MiB free are asked: waiting",
            )
            return False
        self._said -= {(name, "gone"), (name, "full")}
        return True

    def _say_once(self, name: str, what: str, text: str) -> None:
        if (name, what) not in self._said:
            self._said.add((name, what))
            self._notes.append(text)


def _names(slot: Slot) -> list[str]:
    return [name.strip() for name in slot.visible.split(",")] if slot.is_gpu else []


def build_admission(
    slots: Sequence[Slot], gpus: Sequence[Gpu] | None, *, min_free_mib: int | None, sweep: str
) -> GpuAdmission | None:
    """Return who admits GPU slots; None where there are none.

    Raises:
        ExecutorUnavailableError: the leases cannot be used.
    """
    names = dict.fromkeys(name for slot in slots for name in _names(slot))
    if not names:
        return None
    since = time.strftime("%H:%M:%S")
    holder = f"sweep {sweep!r} (pid {os.getpid()}, since {since})"
    leases = Leases({name: gpu_key(name, gpus) for name in names}, holder=holder)
    return GpuAdmission(leases, min_free_mib=min_free_mib, gpus=gpus)
