"""Files that are there whole or not at all."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

TEMPORARY = ".tmp"
CHUNK_BYTES = 1 << 16
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC  # nothing planted is written through


def open_plain(path: Path) -> BinaryIO:
    """Open a file that a run may have replaced: neither a pipe, which would block, nor a device without an end.

    Raises:
        OSError: it is not there, or no plain file.
    """
    return os.fdopen(open_plain_fd(path), "rb")


def open_plain_fd(path: Path) -> int:
    """Do what :func:`open_plain` does, more quickly; return the descriptor, which the caller closes.

    Raises:
        OSError: see there.
    """
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "is no plain file", str(path))
    return fd


def write_all(fd: int, content: bytes) -> None:
    """Write all of ``content``: a write that is cut short is followed by another, which tells why.

    Raises:
        OSError: the system takes no more; a part may be written.
    """
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(fd, rest) :]


def write_whole(path: Path, content: bytes, *, is_durable: bool = True) -> None:
    """Write beside ``path`` and rename over it; with ``is_durable`` the content is on disk before the rename."""
    os.close(replace_file(path, [content], is_durable=is_durable))


def replace_file(path: Path, parts: Iterable[bytes], *, is_durable: bool = True) -> int:
    """Do what :func:`write_whole` does, part after part; return the new file, open for appending.

    The caller closes it. However many parts there are, only some 64 KiB of them are in memory at once.
    """
    temporary = path.with_name(f"{path.name}{TEMPORARY}")
    temporary.unlink(missing_ok=True)
    fd = os.open(temporary, _FLAGS, 0o666)
    try:
        n_waiting = 0
        waiting: list[bytes] = []
        for part in parts:
            waiting.append(part)
            n_waiting += len(part)
            if n_waiting >= CHUNK_BYTES:
                write_all(fd, b"".join(waiting))
                waiting, n_waiting = [], 0
        write_all(fd, b"".join(waiting))
        if is_durable:
            os.fsync(fd)
        temporary.replace(path)
    except OSError:
        os.close(fd)
        temporary.unlink(missing_ok=True)  # on a full disk it would keep the room that everybody waits for
        raise
    return fd
