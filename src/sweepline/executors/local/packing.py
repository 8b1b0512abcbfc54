"""How many runs share a GPU, by the memory that runs were seen to take. Starts and stops nothing; never imports torch.

The first run has the GPU for itself. Once it has ended, as many go at a time as would fit if each took what the largest
run took that has ended as it should or is under way. GPUs of one size share what was seen.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from sweepline.executors.local.census import run_dir_of
from sweepline.executors.local.gpus import Gpu, GpuSensor, find_gpu
from sweepline.executors.local.slots import MAX_PACKED, Slot, Slots
from sweepline.fits.freememory import SHARE_OF_FREE
from sweepline.runs import SETTLED, State

SHARE_TO_RAISE = 0.8  # below the share that is used, so that a number near its limit does not go up and down
MEASURING_S = 0.4  # between two questions to the driver while a GPU has not been measured
WATCHING_S = 2.0  # and afterwards
_LEAST_MIB = 16  # a CUDA context alone takes more
_AT_MOST = "the most there may be"
_CORES = "as many as cores or max_concurrent allow"
_HAS_LASTED = SETTLED | {State.TIMEOUT}  # what such a run took is what a run takes


class Placed(Protocol):
    """A run under way, or one that has just ended."""

    @property
    def slot(self) -> Slot:
        """Where it runs."""

    @property
    def run_dir(self) -> Path:
        """Its folder."""

    @property
    def started(self) -> float:
        """The monotonic time of its start."""


@dataclass(slots=True)
class _Card:
    """A GPU and what others than our runs have on it, in MiB; ``tells_runs``: the driver has told what a run has.

    ``seen_mib`` is what seems to be others' by the last answer: it counts once the next one has it too, as a process
    that ends between two questions of one answer is nobody's.
    """

    total_mib: int
    others_mib: int
    seen_mib: int
    tells_runs: bool = False

    @classmethod
    def at_first(cls, gpu: Gpu) -> _Card:
        """Return a GPU before any run of ours: all that is used is others'."""
        used_mib = gpu.total_mib - gpu.free_mib
        return cls(gpu.total_mib, used_mib, used_mib)

    @property
    def usable_mib(self) -> int:
        return max(0, self.total_mib - self.others_mib)

    def note_others(self, mib: int) -> None:
        """Take into account what is not our runs'."""
        self.others_mib, self.seen_mib = max(0, min(mib, self.seen_mib)), mib  # the two are not of one moment


@dataclass(slots=True)
class _Peak:
    """The most that a run took of a GPU, in MiB: of its processes, and as the GPU filled up since it was there."""

    told_mib: int = 0
    grown_mib: int = 0

    @property
    def mib(self) -> int:
        found = self.told_mib or self.grown_mib
        return found if found >= _LEAST_MIB else 0


@dataclass(slots=True)
class _Run:
    device: str
    folders: Set[Path]  # by every name that it goes by
    n_beside: int = 0  # the most that were on its device, itself among them
    peaks: dict[str, _Peak] = field(default_factory=dict)  # by the GPU's UUID


def count_fitting(card_mib: int, peak_mib: int, share: float) -> int:
    """Return how many runs of ``peak_mib`` fit into a share of what is usable; one is tried in any case."""
    return max(1, int(share * card_mib / peak_mib))


class Packing:
    """Watches what runs take of their GPUs, and lets more of them share one, or fewer."""

    def __init__(self, slots: Slots, gpus: Sequence[Gpu] | None) -> None:
        self._slots = slots
        self._bounds = Counter(slot.device for slot in slots.all)
        self._gpus_of = _gpus_of(self._bounds, gpus)
        told = {gpu.uuid: gpu for found in self._gpus_of.values() for gpu in found}
        self._cards = {uuid: _Card.at_first(gpu) for uuid, gpu in told.items()}
        self._runs: dict[Path, _Run] = {}
        self._active: Set[Path] = frozenset()
        self._asked_with: Set[Path] = frozenset()
        self._folder_of: dict[int, Path] = {}  # of processes on GPUs; one that is ending does not tell it any more
        self._taken_at = 0.0
        self._peaks: dict[int, int] = {}  # MiB of the largest run that has lasted, by the size of the GPU
        self._n: dict[str, int] = {}
        self._limits: dict[str, int] = {}  # since runs on the device ran out of memory
        self._lowered_at: dict[str, float] = {}
        self._sensor: GpuSensor | None = None
        self._has_ended = False
        self._is_unseen_told = False
        self._notes: list[str] = []

    @property
    def watched(self) -> list[int]:
        """Descriptors that become readable when an answer of the driver has come."""
        return [self._sensor.fd] if self._sensor is not None and self._sensor.is_asked else []

    def take_notes(self) -> list[str]:
        """Return what is worth saying since the last call."""
        notes, self._notes = self._notes, []
        return notes

    def poll(self, active: Iterable[Placed]) -> None:
        """Take the driver's answer if it has come, and ask for the next; ``active`` are the runs under way."""
        self._follow(active)
        if self._has_ended or not self._active or self._slots.n_max < 2:
            return
        sensor = self._sensor = self._sensor or GpuSensor(asks_processes=True)
        sensor.poll()
        if sensor.is_silent:
            self._notes.append("the GPU driver does not answer: how many runs share a GPU stays as it is")
            self.close()
        elif sensor.is_asked:
            return
        elif sensor.reading is not None and sensor.read_at != self._taken_at:
            self._taken_at = sensor.read_at
            self._take(sensor.reading)
        if time.monotonic() - sensor.read_at >= self._pause_s:
            self._asked_with = self._active
            sensor.ask()

    def note_end(self, ended: Placed, state: State, *, ran_out: bool) -> None:
        """Take into account how a run ended; ``ran_out``: of memory, beside another on its GPU."""
        device, run = ended.slot.device, self._runs.pop(ended.run_dir, None)
        if device not in self._gpus_of:
            return
        if ran_out:
            self._back_off(ended, run)
        if self._has_ended:
            return
        if state in _HAS_LASTED:
            self._settle(device, run)
        self._decide()

    def close(self) -> None:
        """End the process that asks the driver; nothing changes any more but by runs that run out of memory."""
        self._has_ended = True
        if self._sensor is not None:
            self._sensor.close()
            self._sensor = None

    @property
    def _pause_s(self) -> float:
        is_measuring = any(self._runs[run_dir].device not in self._n for run_dir in self._active)
        return MEASURING_S if is_measuring else WATCHING_S

    def _follow(self, active: Iterable[Placed]) -> None:
        now = {run.run_dir: run.slot.device for run in active if run.slot.device in self._gpus_of}
        counts = Counter(now.values())
        for run_dir, device in now.items():
            if run_dir not in self._runs:
                self._runs[run_dir] = _Run(device, {run_dir, run_dir.resolve()})
            self._runs[run_dir].n_beside = max(self._runs[run_dir].n_beside, counts[device])
        self._active = now.keys()

    def _take(self, reading: Sequence[Gpu]) -> None:
        """Take an answer of the driver into account; of others only where no run came or went meanwhile."""
        is_steady = self._asked_with == self._active
        self._folder_of = self._find_folders(reading)
        found = {gpu.uuid: gpu for gpu in reading}
        for device, gpus in self._gpus_of.items():
            here = [run for run_dir, run in self._runs.items() if run_dir in self._active and run.device == device]
            for uuid in (gpu.uuid for gpu in gpus if gpu.uuid in found):
                self._measure(self._cards[uuid], found[uuid], here, is_steady=is_steady)
        if is_steady:
            self._decide()

    def _measure(self, card: _Card, told: Gpu, here: Sequence[_Run], *, is_steady: bool) -> None:
        used_mib, taken = told.total_mib - told.free_mib, self._taken_by_runs(told)
        own = [sum(taken[folder] for folder in run.folders) for run in here]
        card.tells_runs = card.tells_runs or any(own)
        peaks = [run.peaks.setdefault(told.uuid, _Peak()) for run in here]
        for peak, mib in zip(peaks, own, strict=True):
            peak.told_mib = max(peak.told_mib, mib)
        if not is_steady:
            return
        if card.tells_runs or not here:
            card.note_others(used_mib - sum(own))
            return
        card.others_mib = min(card.others_mib, used_mib)  # a run takes no less than nothing
        for peak in peaks:  # of several the largest takes at least the mean
            peak.grown_mib = max(peak.grown_mib, (used_mib - card.others_mib) // len(here))

    def _find_folders(self, reading: Sequence[Gpu]) -> dict[int, Path]:
        pids = {pid for gpu in reading for pid, _ in gpu.processes or ()}
        found = {pid: run_dir_of(pid) or self._folder_of.get(pid) for pid in pids}
        return {pid: folder for pid, folder in found.items() if folder is not None}

    def _taken_by_runs(self, gpu: Gpu) -> Mapping[Path, int]:
        """Return what runs have on a GPU, in MiB, by their folders; whoever runs them."""
        taken: Counter[Path] = Counter()
        for pid, mib in gpu.processes or ():
            if mib and pid in self._folder_of:
                taken[self._folder_of[pid]] += mib
        return taken

    def _settle(self, device: str, run: _Run | None) -> None:
        peaks = {} if run is None else {uuid: peak.mib for uuid, peak in run.peaks.items() if peak.mib}
        for uuid, mib in peaks.items():
            total_mib = self._cards[uuid].total_mib
            self._peaks[total_mib] = max(mib, self._peaks.get(total_mib, 0))
        if not peaks and device not in self._n and not self._is_unseen_told and self._slots.n_max > 1:
            self._is_unseen_told = True
            self._notes.append(
                f"GPU {device}: a run ended before it was seen to take memory: one at a time until one is seen"
            )

    def _back_off(self, ended: Placed, run: _Run | None) -> None:
        """Have fewer runs share a device, unless this was done since the run began."""
        device = ended.slot.device
        n = self._n.get(device, 1)
        if n < 2 or ended.started < self._lowered_at.get(device, 0.0):
            return
        n = n if run is None else min(n, max(2, run.n_beside))
        self._limits[device] = n - 1
        self._set(device, n - 1)
        self._notes.append(f"GPU {device}: out of memory with {n} runs at a time: {n - 1} from here on")

    def _decide(self) -> None:
        """Let as many runs share each device as fit now; devices of which the same is true are told of together."""
        changed: dict[str, list[str]] = {}
        for device in self._gpus_of:
            most = self._count(device, SHARE_OF_FREE)
            if most == 0:
                continue
            n = max(self._n.get(device, most), self._count(device, SHARE_TO_RAISE))
            n = min(n, most, self._limits.get(device, most))
            if n != self._n.get(device):
                self._set(device, n)
                changed.setdefault(self._describe(device, n), []).append(device)
        self._notes += [f"GPU{'s' * (len(on) > 1)} {', '.join(on)}: {text}" for text, on in changed.items()]

    def _set(self, device: str, n: int) -> None:
        if n < self._n.get(device, 0):
            self._lowered_at[device] = time.monotonic()
        self._n[device] = n
        self._slots.share(device, n)

    def _count(self, device: str, share: float) -> int:
        """Return how many runs fit on a device; 0 where that is not known yet."""
        found = self._tightest(device)
        if found is None:
            return 0
        usable_mib, peak_mib = found
        return min(self._bounds[device], count_fitting(usable_mib, peak_mib, share))

    def _tightest(self, device: str) -> tuple[int, int] | None:
        """Return what is usable, in MiB, of the GPU of a device on which the fewest runs fit, and the largest peak."""
        cards = [self._cards[gpu.uuid] for gpu in self._gpus_of[device]]
        pairs = [(card.usable_mib, self._largest(card.total_mib)) for card in cards]
        return min(pairs, key=lambda pair: pair[0] / pair[1]) if all(peak for _, peak in pairs) else None

    def _largest(self, total_mib: int) -> int:
        """Return the largest peak on GPUs of a size, in MiB; 0 while no run has lasted there."""
        if total_mib not in self._peaks:
            return 0
        under_way = [
            peak.mib
            for run in self._runs.values()
            for uuid, peak in run.peaks.items()
            if self._cards[uuid].total_mib == total_mib
        ]
        return max([self._peaks[total_mib], *under_way])

    def _describe(self, device: str, n: int) -> str:
        usable_mib, peak_mib = self._tightest(device) or (0, 0)
        text = f"peak {peak_mib / 1024:.1f} of {usable_mib / 1024:.1f} GiB: {n} run{'s' * (n > 1)} at a time"
        if n > self._slots.n_max:
            return f"{text}, max_concurrent permitting"
        if n < self._bounds[device] or n == count_fitting(usable_mib, peak_mib, SHARE_OF_FREE):
            return text
        return f"{text}, {_AT_MOST if n == MAX_PACKED else _CORES}"


def _gpus_of(devices: Iterable[str], gpus: Sequence[Gpu] | None) -> dict[str, list[Gpu]]:
    """Return the GPUs of each device, of devices all of whose GPUs the driver tells."""
    found = {device: [find_gpu(name.strip(), gpus) for name in device.split(",")] for device in devices}
    return {device: [gpu for gpu in named if gpu] for device, named in found.items() if all(named)}
