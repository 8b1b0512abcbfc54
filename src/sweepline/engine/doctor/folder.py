"""Whether records can be kept in a folder: it can be written, locks work, there is room."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from sweepline.engine.doctor.finding import Finding, failed, note, ok
from sweepline.recording.mounts import find_network_mount

_LOW_ROOM_BYTES, _LEAST_ROOM_BYTES = 1 << 30, 16 << 20
_FEW_INODES = 1000


def look_at_folder(folder: Path) -> Iterator[Finding]:
    """Yield whether a sweep can keep its records in ``folder``; a file is made there, and removed."""
    shown = str(folder.absolute())
    try:
        with tempfile.NamedTemporaryFile(prefix=".sweepline_doctor_", dir=folder) as file:
            file.write(b"\0" * 4096)
            file.flush()
            os.fsync(file.fileno())
            locks_work = _can_lock(file.fileno())
    except OSError as error:
        yield failed("folder", f"{shown}: {error.strerror}", "go to a folder that can be written, and has room")
        return
    yield ok("folder", f"{shown} can be written")
    yield _describe_locks(find_network_mount(folder), locks_work=locks_work)
    yield _look_at_room(folder)


def _can_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    fcntl.flock(fd, fcntl.LOCK_UN)
    return True


def _describe_locks(network: str | None, *, locks_work: bool) -> Finding:
    if not locks_work:
        found = f"locks do not work here{f' ({network})' if network else ''}"
        return failed("locks", found, "keep sweeps on a file system with flock, such as a local disk")
    if network:
        advice = "one machine runs a sweep at a time; if it dies, another goes on with --take-over"
        return note("locks", f"they work on this machine; the file system is shared ({network})", advice)
    return ok("locks", "they work")


def _look_at_room(folder: Path) -> Finding:
    n_free, status = shutil.disk_usage(folder).free, os.statvfs(folder)
    found = f"{n_free / 2**30:,.1f} GiB free"
    if n_free < _LEAST_ROOM_BYTES:
        return failed("room", found, "make room: a sweep pauses while its records do not fit")
    if status.f_files and status.f_favail < _FEW_INODES:
        return note("room", f"{found}, but only {status.f_favail:,} more files", "a run takes about five files")
    if n_free < _LOW_ROOM_BYTES:
        return note("room", found, "logs and checkpoints of runs may fill it; a sweep pauses then")
    return ok("room", found)
