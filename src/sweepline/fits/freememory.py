"""What memory is free on this machine, for the processes of a control group too. Linux."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

SHARE_OF_FREE = 0.9  # a margin for what others begin to use meanwhile
_CGROUPS = Path("/sys/fs/cgroup")
# Below it: the folder, the files of limits and the file of what is used.
_CGROUP_V2 = ("", ("memory.max", "memory.high"), "memory.current")
_CGROUP_V1 = ("memory", ("memory.limit_in_bytes",), "memory.usage_in_bytes")


def free_bytes() -> int:
    """Return what is free on the machine, or in the control groups of this process where that is less."""
    return max(0, min([_meminfo("MemAvailable"), *cgroup_free_bytes()]))


def cgroup_free_bytes(root: Path = _CGROUPS, listing: Path = Path("/proc/self/cgroup")) -> list[int]:
    """Return what is free in each control group that this process is in, from its own up to the root.

    Slurm and systemd nest them, and the least of their limits holds. Of both versions: where one is not there, or has
    no limit, it adds nothing.
    """
    paths = {_CGROUP_V2: ["/"], _CGROUP_V1: ["/"]}
    with suppress(OSError, ValueError):
        for line in listing.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers == "" or "memory" in controllers.split(","):
                paths[_CGROUP_V1 if controllers else _CGROUP_V2].append(path)
    free = []
    for (top, limits, usage), own_paths in paths.items():
        for folder in {parent for path in own_paths for parent in _up_to(root / top, path)}:
            free += [_free_below(folder / name, folder / usage) for name in limits]
    return [n_bytes for n_bytes in free if n_bytes is not None]


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
