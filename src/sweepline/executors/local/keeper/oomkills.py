"""How many processes of this cgroup the kernel has killed because their memory was at its limit; see cgroup-v2.rst.

A job of a scheduler, a container or a slice of systemd has such a limit. The count says whether a SIGKILL was that.
"""

from __future__ import annotations

import os

_V2_EVENTS, _V1_CONTROL = "memory.events", "memory.oom_control"


class OomKills:
    """Looks whether the count has grown. Nothing is known where the kernel or the container shows no such file."""

    def __init__(self) -> None:
        self._path = _find_file()
        self._n_seen = self._read()

    def take_new(self) -> bool:
        """Return whether a process was killed since the last look."""
        before, self._n_seen = self._n_seen, self._read()
        return self._n_seen > before

    def _read(self) -> int:
        try:
            with open(self._path) as file:
                found = [line.split() for line in file]
        except OSError:
            return 0
        return next((int(words[1]) for words in found if words[0] == "oom_kill"), 0)


def _find_file() -> str:
    """Return the file that counts for this process; one that is not there where none does."""
    try:
        with open("/proc/self/cgroup") as file:
            lines = [line.rstrip("\n").split(":", 2) for line in file]
    except OSError:
        return ""
    paths = {controllers: path for _, controllers, path in lines}
    named = next((path for controllers, path in paths.items() if "memory" in controllers.split(",")), None)
    folder, name = ("/sys/fs/cgroup/memory", _V1_CONTROL) if named is not None else ("/sys/fs/cgroup", _V2_EVENTS)
    own = os.path.join(folder + (named or paths.get("", "/")), name)
    return own if os.path.exists(own) else os.path.join(folder, name)  # a container sees its own cgroup as the root
