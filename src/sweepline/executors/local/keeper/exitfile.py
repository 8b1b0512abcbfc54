"""``exit.json``: how a process ended, written before anybody is told; its room on the disk is taken at the start."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from sweepline.contract.runfolder import EXIT_FILE

_RESERVED = ".exit.json"
_SIZE = 512  # one sector: written whole or not at all


def reserve(run_dir: str) -> None:
    """Take the room that the record will need.

    Raises:
        OSError: there is none; better known now than when the result is there.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(os.path.join(run_dir, _RESERVED), flags, 0o644)
    try:
        if os.write(fd, b" " * (_SIZE - 1) + b"\n") != _SIZE:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    finally:
        os.close(fd)


def write(run_dir: str, record: Mapping[str, Any]) -> None:
    """Write the record into its reserved room and give it its name; whatever dies now, it stays.

    Raises:
        OSError: the folder is gone, or the disk is broken.
    """
    reserved = os.path.join(run_dir, _RESERVED)
    fd = _open_reserved(reserved)
    try:
        os.pwrite(fd, json.dumps(record).encode().ljust(_SIZE - 1) + b"\n", 0)
        os.rename(reserved, os.path.join(run_dir, EXIT_FILE))
    finally:
        os.close(fd)


def _open_reserved(path: str) -> int:
    """Open the reserved file; where the run has removed it, it is made anew, as the disk allows."""
    flags = os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # not: wait for a pipe's reader
    try:
        return os.open(path, flags)
    except FileNotFoundError:
        if os.path.islink(os.path.dirname(path)):  # put in the place of the run's folder: nothing is made through it
            raise
        return os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o644)


def sync(run_dir: str, names: Sequence[str]) -> None:
    """Return when the files ``names``, as far as they are there, and then the record are on the disk.

    Raises:
        OSError: the disk is broken, or the record is gone.
    """
    for name in (*names, EXIT_FILE):
        try:
            fd = os.open(os.path.join(run_dir, name), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            if name == EXIT_FILE:
                raise
            continue  # a log that nothing was written into
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def read(run_dir: str) -> dict[str, Any] | None:
    """Return the record; None when it is not there or not whole."""
    try:
        with open(os.path.join(run_dir, EXIT_FILE), "rb") as file:
            record = json.loads(file.read())
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None
