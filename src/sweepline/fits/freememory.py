"""What memory is free on this machine, for the processes of a control group too. Linux."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

SHARE_OF_FREE = 0.9  # a margin for what others begin to use meanwhile
_CGROUPS = Path("/sys/fs/cgroup")
# The file of a limit and that of what is used, of version 2 and of version 1.
_LIMITS = (
    ("memory.max", "memory.current"),
    ("memory.high", "memory.current"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes"),
)


def free_bytes() -> int:
    """Return what is free on the machine, or in the control groups of this process where that is less."""
    return max(0, min([_meminfo("MemAvailable"), *cgroup_free_bytes()]))


def cgroup_free_bytes(root: Path = _CGROUPS, listing: Path = Path("/proc/self/cgroup")) -> list[int]:
    """Return what is free in each control group that this process is in, from its own up to the root.

    Slurm and systemd nest them, and the least of their limits holds. Where one has no limit, it adds nothing.
    """
    folders = control_groups("memory", root, listing)
    free = [_free_below(folder / limit, folder / usage) for folder in folders for limit, usage in _LIMITS]
    return [n_bytes for n_bytes in free if n_bytes is not None]


def control_groups(controller: str, root: Path = _CGROUPS, listing: Path = Path("/proc/self/cgroup")) -> list[Path]:
    """Return the folders of the control groups of this process, of both versions, from its own up to the root."""
    paths: dict[str, list[str]] = {"": ["/"], controller: ["/"]}  # in version 1 each controller has a folder of its own
    with suppress(OSError, ValueError):
        for line in listing.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers == "" or controller in controllers.split(","):
                paths[controller if controllers else ""].append(path)
    return sorted({folder for top, own in paths.items() for path in own for folder in _up_to(root / top, path)})


def _up_to(root: Path, path: str) -> Iterator[Path]:
    """Yield the folder of a control group and those above it, within ``root``."""
    own = Path(os.path.normpath(f"{root}/{path}"))
    yield from (folder for folder in (own, *own.parents) if folder == root or root in folder.parents)


def _free_below(limit: Path, usage: Path) -> int | None:
    try:
        cached = _field(usage.with_name("memory.stat"), "inactive_file")
        return int(limit.read_text()) - int(usage.read_text()) + cached
    except (OSError, ValueError):  # no such group, or "max"
        return None


def _field(path: Path, name: str) -> int:
    """Return a number of a file that has one to a line."""
    for line in path.read_text().splitlines():
        if line.split()[:1] == [name]:
            return int(line.split()[1])
    return 0


def _meminfo(name: str) -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")  # a kernel that does not tell: all there is
