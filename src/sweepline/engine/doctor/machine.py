"""What this machine gives to a sweep: processors, memory, processes, descriptors, GPUs."""

from __future__ import annotations

import os
import re
import resource
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from sweepline.engine.doctor.finding import Finding, failed, note, ok
from sweepline.engine.preflight import check_descriptors
from sweepline.errors import ExecutorUnavailableError
from sweepline.executors.local.admission import leases_dir
from sweepline.executors.local.gpus import Gpu, read_gpus
from sweepline.executors.local.keeper import processes
from sweepline.executors.local.slots import Slots, build_slots, n_cores
from sweepline.fits.freememory import cgroup_free_bytes, control_groups, free_bytes

_LOW_MEMORY_BYTES = 1 << 30
_LOW_PROCESSES, _FEWEST_PROCESSES = 256, 16
"""A training with a data loader has dozens of threads, each of which counts; a sweep of one slot has about ten."""
_DRIVER = Path("/proc/driver/nvidia/version")


def look_at_gpus(environ: Mapping[str, str]) -> tuple[list[Finding], Sequence[Gpu], Slots | None]:
    """Return what is found of GPUs, the GPUs, and the slots that ``devices: auto`` would use."""
    try:
        gpus, trouble = read_gpus()
        slots, notes = build_slots("auto", gpus=gpus, trouble=trouble, environ=environ)
    except ExecutorUnavailableError as error:
        return [failed("gpus", str(error), "mend the driver, or write devices: cpu")], (), None
    findings = [_describe_gpus(gpus, trouble), _describe_slots(slots, notes)]
    if any(slot.is_gpu for slot in slots.all):
        findings.append(_look_at_leases())
    return findings, gpus or (), slots


def _describe_gpus(gpus: Sequence[Gpu] | None, trouble: str) -> Finding:
    if gpus is None and trouble:
        return note("gpus", trouble, "name the GPUs (devices: [0, 1]) to use them all the same")
    if not gpus:
        return ok("gpus", "none: runs are on the CPU")
    told = ", ".join(f"{g.id} {g.name} ({g.free_mib:,} of {g.total_mib:,} MiB free)" for g in gpus if not g.n_instances)
    return ok("gpus", f"driver {_driver_version()}: {told}")


def _driver_version() -> str:
    try:
        found = re.search(r"\s(\d+\.\d+(?:\.\d+)?)\s", _DRIVER.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        found = None
    return found[1] if found else "of unknown version"


def _describe_slots(slots: Slots, notes: Sequence[str]) -> Finding:
    labels = ", ".join(slot.label for slot in slots.all[:8]) + (", ..." if len(slots.all) > 8 else "")
    found = f"{slots.n_max} at a time by default ({labels})"
    return note("slots", f"{found}; {'; '.join(notes)}") if notes else ok("slots", found)


def _look_at_leases() -> Finding:
    """Whether GPUs can be leased: the folder is everybody's, whoever made it."""
    folder = leases_dir()
    place = folder if folder.exists() else folder.parent
    if place.is_dir() and os.access(place, os.W_OK | os.X_OK):
        return ok("gpu leases", str(folder))
    advice = "make it a folder in which everybody may write (chmod 1777), or set TMPDIR"
    return failed("gpu leases", f"{place} is no folder that can be written", advice)


def look_at_processors() -> Finding:
    """Whether the processors that may be used are those that the slots are counted by."""
    n_usable, n_all, quota = n_cores(), os.cpu_count() or 1, find_cpu_quota()
    found = f"{n_usable} of {n_all} cores"
    if quota is None or quota >= n_usable:
        return ok("cpu", found)
    advice = f"runs get fewer cores than they count on: set threads: 1 and max_concurrent: {max(1, int(quota))}"
    return note("cpu", f"{found}, but the control group allows the time of {quota:g}", advice)


def find_cpu_quota(folders: Sequence[Path] | None = None) -> float | None:
    """Return how many cores' time the control groups of this process allow; None without a limit."""
    found = []
    for folder in control_groups("cpu") if folders is None else folders:
        words = _read(folder / "cpu.max").split() or [
            _read(folder / "cpu.cfs_quota_us"),
            _read(folder / "cpu.cfs_period_us"),
        ]
        if len(words) == 2 and all(word.isdecimal() and int(word) for word in words):
            found.append(int(words[0]) / int(words[1]))
    return min(found, default=None)


def look_at_memory() -> Finding:
    """How much memory runs may use, and whether a control group bounds it."""
    n_free = free_bytes()
    bound = " (bounded by the control group)" if n_free in cgroup_free_bytes() else ""
    found = f"{n_free / 2**30:.1f} GiB free{bound}"
    if n_free < _LOW_MEMORY_BYTES:
        return note("memory", found, "runs may be killed for memory: lower max_concurrent, or ask for more")
    return ok("memory", found)


def look_at_process_limits() -> Iterator[Finding]:
    """Yield how many processes may be started, and whether all of a run's can be found again."""
    left = min(_processes_left(), default=None)
    if left is None:
        yield ok("processes", "no limit")
    elif left >= _LOW_PROCESSES:
        yield ok("processes", f"{left:,} more may be started")
    else:
        advice = "raise it (ulimit -u, or the container's limit of pids)"
        fails = left < _FEWEST_PROCESSES
        yield (failed if fails else note)("processes", f"only {left} more may be started", advice)
    if not processes.can_see_itself():
        yield failed("supervision", "/proc does not show this process", "mount /proc as it is, without hidepid")
    elif not processes.can_mark():
        text = "there is a limit of real-time processor time (ulimit -R)"
        yield note(
            "supervision", text, "a run that empties its environment and detaches may outlive a kill of the sweep"
        )
    else:
        yield ok("supervision", "every process of a run can be found again")


def _processes_left(groups: Sequence[Path] | None = None) -> list[int]:
    """Return how many more processes each limit allows."""
    found = []
    for folder in control_groups("pids") if groups is None else groups:
        most, now = _read(folder / "pids.max"), _read(folder / "pids.current")
        if most.isdecimal() and now.isdecimal():
            found.append(max(0, int(most) - int(now)))
    limit, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    if limit != resource.RLIM_INFINITY and os.geteuid() != 0:  # which does not hold for root
        found.append(max(0, limit - _n_threads_of_user()))
    return found


def _n_threads_of_user() -> int:
    """Return how many threads this user has, as the kernel counts them for RLIMIT_NPROC."""
    n_threads, user = 0, os.geteuid()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if folder.stat().st_uid == user:
                n_threads += sum(1 for _ in (folder / "task").iterdir())
        except OSError:  # ended meanwhile
            continue
    return n_threads


def look_at_descriptors(slots: Slots) -> Finding:
    """Whether there are enough file descriptors for all slots."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        check_descriptors(slots)
    except ExecutorUnavailableError as error:
        return failed("descriptors", f"{limit:,}", str(error))
    return ok("descriptors", f"{limit:,}")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
