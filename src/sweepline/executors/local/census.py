"""The runs of all sweeps on this machine, as their processes tell: whoever started them, from whatever folder."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sweepline.contract import variables

_CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


# Where a run prints: also a warm run, whose environment in /proc is that of the process it was forked from.
_LOG = re.compile(r"(?P<run_dir>.+/runs/(?P<run_id>[^/]+))/std(?:out|err)\.log(?: \(deleted\))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningProcess:
    """A run under way: the first process of its session. ``rss_kib`` and ``n_processes`` are of the whole session."""

    pid: int
    run_id: str
    run_dir: Path
    user: int
    elapsed_s: float
    rss_kib: int
    n_processes: int


def find_runs() -> tuple[list[RunningProcess], int]:
    """Return the runs of this machine, the longest first; and how many sessions of others could not be looked at."""
    sessions: dict[int, list[int]] = {}
    for pid in all_pids():
        session = session_of(pid)
        if session is not None:
            sessions.setdefault(session, []).append(pid)
    found, n_hidden = [], 0
    for leader, members in sessions.items():
        try:
            place = _place_of(leader)
        except PermissionError:
            n_hidden += 1
            continue
        run = None if place is None else _describe(leader, *place, members)
        found += [run] if run is not None else []
    return sorted(found, key=lambda run: -run.elapsed_s), n_hidden


def _place_of(pid: int) -> tuple[Path, str] | None:
    """Return the folder and the id of the run that a process is; None when it is none.

    Raises:
        PermissionError: it is somebody else's.
    """
    try:
        for fd in (1, 2):
            match = _LOG.fullmatch(str(Path(f"/proc/{pid}/fd/{fd}").readlink()))
            if match:
                return Path(match["run_dir"]), match["run_id"]
        environ = _environ_of(pid)
    except PermissionError:
        raise
    except OSError:  # it has ended, or has closed its output
        return None
    if variables.RUN_DIR in environ and variables.RUN_ID in environ:
        return Path(environ[variables.RUN_DIR]), environ[variables.RUN_ID]
    return None


def run_dir_of(pid: int) -> Path | None:
    """Return the folder of the run that a process belongs to: by itself, its session or its parents."""
    for one in _kin_of(pid):
        try:
            place = _place_of(one)
        except PermissionError:  # it is somebody else's
            continue
        if place is not None:
            return place[0]
    return None


def _kin_of(pid: int) -> Iterator[int]:
    """Yield a process, the first of its session, and its parents, as far as they live."""
    yield pid
    try:
        parent, _, session = (int(field) for field in _stat_fields(pid)[1:4])
        yield session
        while parent > 1:
            yield parent
            parent = int(_stat_fields(parent)[1])
    except (OSError, IndexError, ValueError):  # it has ended
        return


def _describe(pid: int, run_dir: Path, run_id: str, members: list[int]) -> RunningProcess | None:
    try:
        owner = Path(f"/proc/{pid}").stat().st_uid
        elapsed_s = _uptime_s() - int(_stat_fields(pid)[19]) / _CLOCK_TICKS
    except (OSError, IndexError, ValueError):
        return None
    return RunningProcess(
        pid=pid,
        run_id=run_id,
        run_dir=run_dir,
        user=owner,
        elapsed_s=max(0.0, elapsed_s),
        rss_kib=sum(map(_rss_kib, members)),
        n_processes=len(members),
    )


def all_pids() -> Iterator[int]:
    """Yield the processes of this machine."""
    for name in os.listdir("/proc"):  # noqa: PTH208 (a listing of thousands)
        if name.isdecimal():
            yield int(name)


def _stat_fields(pid: int) -> list[str]:
    """Return the fields of proc_pid_stat(5) from the third on."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()


def session_of(pid: int) -> int | None:
    """Return the session that a process is in; None where it has ended."""
    try:
        return int(_stat_fields(pid)[3])
    except (OSError, IndexError, ValueError):
        return None


def _environ_of(pid: int) -> dict[str, str]:
    text = Path(f"/proc/{pid}/environ").read_bytes().decode("utf-8", "surrogateescape")
    return dict(item.split("=", 1) for item in text.split("\0") if "=" in item)


def _rss_kib(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0
    line = next((line for line in text.splitlines() if line.startswith("VmRSS:")), "")
    return int(line.split()[1]) if line else 0


def _uptime_s() -> float:
    return float(Path("/proc/uptime").read_text().split()[0])
