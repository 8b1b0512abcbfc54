"""The memory that a run takes: of its processes together, and of the largest as a limit on one process counts it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sweepline.contract.runfolder import STDERR, STDOUT
from sweepline.executors.local.census import all_pids, session_of


@dataclass(frozen=True, slots=True)
class Usage:
    """Bytes: ``own`` is the most that all processes took for themselves, ``data`` the most that one allocated.

    ``own`` leaves out files that are mapped, and has once what forked processes share. ``data`` is what RLIMIT_DATA
    bounds, as it was when the process held the most.
    """

    own: int = 0
    data: int = 0


class UsageMeter:
    """Reads the memory of the processes of one run, by its folder; they are of one session."""

    def __init__(self, run_dir: Path) -> None:
        self._logs = {str(run_dir / name) for name in (STDOUT, STDERR)}
        self._session: int | None = None
        self._untouched: dict[int, int] = {}
        self.peak = Usage()

    def read(self) -> None:
        """Take the memory of now into account; nothing where the run has no process any more."""
        own = data = 0
        for pid, status in self._statuses():
            held, anonymous, allocated = (status.get(name, 0) for name in ("VmRSS", "RssAnon", "VmData"))
            most = max(held, status.get("VmHWM", 0))
            own += _read_own(pid) + most - held  # what was held between two looks is taken to be its own
            # What is allocated and not touched is least between two steps; in one it may be what is about to be filled.
            if allocated >= anonymous:  # else it gave memory back between the kernel's reading of the two
                self._untouched[pid] = min(self._untouched.get(pid, allocated), allocated - anonymous)
            data = max(data, allocated, self._untouched.get(pid, 0) + most - (held - anonymous))
        self.peak = Usage(max(self.peak.own, own), max(self.peak.data, data))

    def owns(self, pid: int) -> bool:
        """Whether a process is one of the run, as far as the last look has found it."""
        return self._session is not None and session_of(pid) == self._session

    def _statuses(self) -> Iterator[tuple[int, dict[str, int]]]:
        if self._session is None:
            self._session = next((session_of(pid) for pid in all_pids() if self._prints_here(pid)), None)
        if self._session is None:
            return
        for pid in all_pids():
            if session_of(pid) == self._session:
                yield pid, _read_status(pid)

    def _prints_here(self, pid: int) -> bool:
        for fd in (1, 2):
            try:
                if str(Path(f"/proc/{pid}/fd/{fd}").readlink()) in self._logs:
                    return session_of(pid) == pid
            except OSError:
                continue
        return False


def _read_own(pid: int) -> int:
    """Return what a process has in memory that is in no file, its share of what it shares with others; in bytes."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8", errors="replace")
    except OSError:  # it has ended, or is another user's
        return 0
    rows = (line.split() for line in text.splitlines())
    return sum(int(row[1]) * 1024 for row in rows if row and row[0] in ("Pss_Anon:", "Pss_Shmem:"))


def _read_status(pid: int) -> dict[str, int]:
    """Return the sizes of a process in bytes, by proc_pid_status(5)'s names; none where it has ended."""
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    pairs = (line.split() for line in text.splitlines() if line.endswith(" kB"))
    return {pair[0].rstrip(":"): int(pair[1]) * 1024 for pair in pairs if len(pair) == 3}
