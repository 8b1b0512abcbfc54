"""Where the runs of a start execute: on this machine, as jobs of a scheduler, or on all nodes of an allocation."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from os import environ as _environ
from pathlib import Path

from sweepline.config.settings import SweepSettings
from sweepline.engine.state import SweepOptions
from sweepline.errors import ExecutorUnavailableError
from sweepline.executors.base import Executor
from sweepline.executors.local.gpus import Gpu, read_gpus
from sweepline.executors.local.slots import MAX_SLOTS, Slot, Slots, build_slots, thread_budget
from sweepline.executors.pilot.allocation import Allocation, find_allocation
from sweepline.recording.mounts import find_network_mount

AUTO, LOCAL, SLURM, PILOT, RAY = "auto", "local", "slurm", "pilot", "ray"
MAX_JOBS = 100
"""How many jobs wait or run at a time where nothing else is said."""

_NOT_FOR_SBATCH = frozenset('"\n')

Watched = Callable[[], Sequence[int]]


@dataclass(frozen=True, kw_only=True)
class Place:
    """A place to run, and what is to be said of it. ``threads`` are of one run, ``gpus`` those of this machine."""

    kind: str
    slots: Slots
    threads: int
    gpus: Sequence[Gpu] | None = None
    allocation: Allocation | None = None
    notes: Sequence[str] = ()

    @property
    def is_here(self) -> bool:
        """Whether runs are processes of this machine."""
        return self.kind == LOCAL


def choose_place(settings: SweepSettings, options: SweepOptions) -> Place:
    """Return where runs execute, with its slots; asks the driver and the scheduler, and starts nothing.

    Raises:
        ExecutorUnavailableError: there is no such place, or no such device.
    """
    kind = options.executor or settings.executor
    allocation = None
    if kind in (AUTO, PILOT):
        allocation = find_allocation(settings.pilot, is_asked_for=kind == PILOT)
        kind = LOCAL if allocation is None else PILOT
    if kind == LOCAL:
        return _this_machine(settings, options)
    if allocation is not None:
        return _all_nodes(settings, options, allocation)
    return _jobs(settings, options, kind)


def _this_machine(settings: SweepSettings, options: SweepOptions) -> Place:
    devices = _devices(settings, options)
    gpus, trouble, driver_notes = _ask_driver(devices, min_free_mib=options.gpu_free_mib or settings.gpu_free_mib)
    slots, notes = build_slots(
        devices,
        runs_per_device=settings.runs_per_device,
        max_concurrent=options.max_concurrent or settings.max_concurrent,
        threads=settings.threads,
        gpus=gpus,
        trouble=trouble,
    )
    threads = thread_budget(settings.threads, slots.n_max)
    return Place(kind=LOCAL, slots=slots, threads=threads, gpus=gpus, notes=[*driver_notes, *notes])


def _devices(settings: SweepSettings, options: SweepOptions) -> str | Sequence[int | str]:
    if not options.devices:
        return settings.devices
    return options.devices if options.devices in ("auto", "cpu") else options.devices.split(",")


def _ask_driver(
    devices: str | Sequence[int | str], *, min_free_mib: int | None
) -> tuple[Sequence[Gpu] | None, str, list[str]]:
    """Return the machine's GPUs where they matter, why they cannot be told, and what is worth saying about them."""
    if devices == "cpu":
        return None, "", []
    try:
        gpus, trouble = read_gpus()
    except ExecutorUnavailableError as error:
        if devices == "auto":
            raise
        return None, "", [f"{error}: nothing is known of the GPUs"]
    is_blind = gpus is None and min_free_mib is not None and devices != "auto"
    notes = ["gpu_free_mib: no GPU driver answers here, free memory is not checked"] if is_blind else []
    return gpus, trouble, notes


def _jobs(settings: SweepSettings, options: SweepOptions, kind: str) -> Place:
    """Return slots that are jobs: as many as may wait or run at a time."""
    n_max = options.max_concurrent or settings.max_concurrent
    n_jobs = n_max or MAX_JOBS
    if n_jobs > MAX_SLOTS:
        raise ExecutorUnavailableError(f"max_concurrent: {n_jobs:,} at a time are more than {MAX_SLOTS:,}; lower it")
    n_gpus = settings.slurm.n_gpus if kind == SLURM else math.ceil(settings.ray.num_gpus)
    n_cpus = settings.slurm.n_cpus if kind == SLURM else max(1, int(settings.ray.num_cpus))
    slots = [Slot(i, "", scheduler=kind, n_gpus=n_gpus) for i in range(n_jobs)]
    notes = _ineffective(settings, options, kind)
    if n_max is None:
        notes.append(f"at most {MAX_JOBS} jobs wait or run at a time: max_concurrent changes that")
    return Place(kind=kind, slots=Slots(slots), threads=_threads(settings, n_cpus), notes=notes)


def _all_nodes(settings: SweepSettings, options: SweepOptions, allocation: Allocation) -> Place:
    """Return slots on every node of an allocation: of its GPUs, else of half its cores."""
    per_device = settings.runs_per_device if isinstance(settings.runs_per_device, int) else 1
    most = max((node.n_gpus or max(1, node.n_cpus // 2) for node in allocation.nodes), default=0)
    found = [
        Slot(0, str(i) if node.n_gpus else "", host=node.name)
        for _ in range(per_device if any(node.n_gpus for node in allocation.nodes) else 1)
        for i in range(most)
        for node in allocation.nodes
        if i < (node.n_gpus or max(1, node.n_cpus // 2))
    ]
    slots = Slots(
        [replace(slot, index=i) for i, slot in enumerate(found)],
        max_concurrent=options.max_concurrent or settings.max_concurrent,
    )
    per_node = -(-slots.n_max // len(allocation.nodes))
    n_cpus = max(1, min(node.n_cpus for node in allocation.nodes) // max(1, per_node))
    notes = [f"runs execute on {allocation.describe()}", *_ineffective(settings, options, PILOT)]
    return Place(kind=PILOT, slots=slots, threads=_threads(settings, n_cpus), allocation=allocation, notes=notes)


def _threads(settings: SweepSettings, n_cpus: int, environ: Mapping[str, str] = _environ) -> int:
    """Return the CPU threads of one run where its cores are not those of this machine."""
    if isinstance(settings.threads, int):
        return settings.threads
    set_by_user = environ.get("OMP_NUM_THREADS", "")
    return int(set_by_user) if set_by_user.isdecimal() and int(set_by_user) else n_cpus


def _ineffective(settings: SweepSettings, options: SweepOptions, kind: str) -> list[str]:
    """Return what is asked for that has no effect away from this machine."""
    is_job = kind != PILOT
    asked = {
        "devices": settings.devices != "auto" or bool(options.devices),
        "gpu_free_mib": bool(settings.gpu_free_mib or options.gpu_free_mib),
        "pin": settings.pin,
        "runs_per_device": is_job and settings.runs_per_device != 1,
        "runs_per_device: auto": not is_job and settings.runs_per_device == "auto",
        "start: warm": is_job and (options.start or settings.start) == "warm",
    }
    named = [name for name, is_asked in asked.items() if is_asked]
    return [f"{', '.join(named)}: no effect with executor: {kind}"] if named else []


def build_remote_executor(
    place: Place, settings: SweepSettings, *, folder: Path, token: str, watched: Watched, abandoned: str = ""
) -> Executor:
    """Return the executor of a place that is more than this machine.

    Args:
        place: what :func:`choose_place` has returned.
        settings: of the sweep.
        folder: of the sweep; all nodes see it.
        token: what marks the jobs of this sweep, in all of its starts.
        watched: descriptors that end a wait.
        abandoned: the token of the sweep that was in this folder before, where that was set aside.

    Raises:
        ExecutorUnavailableError: it is not there.
    """
    is_remote = find_network_mount(folder) is not None
    if place.kind == SLURM:
        from sweepline.executors.slurm.client import check_available
        from sweepline.executors.slurm.executor import SlurmExecutor

        check_available()
        if set(str(folder)) & _NOT_FOR_SBATCH:
            raise ExecutorUnavailableError(f"{folder}: sbatch takes no folder with a quote or a new line in its name")
        return SlurmExecutor(
            folder,
            sweep=settings.name,
            token=token,
            options=settings.slurm,
            is_remote=is_remote,
            abandoned=abandoned,
            watched=watched,
        )
    if place.kind == PILOT:
        from sweepline.executors.pilot.executor import PilotExecutor

        assert place.allocation is not None
        return PilotExecutor(
            place.allocation, token=token, grace_s=settings.grace_s, is_remote=is_remote, watched=watched
        )
    from sweepline.executors.ray.bridgeprocess import check_installed
    from sweepline.executors.ray.executor import RayExecutor

    check_installed()
    return RayExecutor(settings.ray, folder=folder, token=token, watched=watched)


def preview_script(place: Place, settings: SweepSettings, *, folder: Path, token: str, n_runs: int) -> str:
    """Return the script by which the first runs would be submitted; nothing where none is."""
    if place.kind != SLURM:
        return ""
    from sweepline.executors.slurm.arrays import preview_script as preview

    n_first = min(n_runs, place.slots.n_max)
    return preview(folder, sweep=settings.name, token=token, options=settings.slurm, n_runs=n_first)
