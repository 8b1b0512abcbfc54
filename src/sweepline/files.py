"""Files that are there whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

TEMPORARY = ".tmp"
# O_NOFOLLOW: a link planted in the temporary file's place is not written through.
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC


def write_whole(path: Path, content: bytes, *, is_durable: bool = True) -> None:
    """Write beside ``path`` and rename over it; with ``is_durable`` the content is on disk before the rename."""
    os.close(replace_file(path, content, is_durable=is_durable))


def replace_file(path: Path, content: bytes, *, is_durable: bool = True) -> int:
    """Do what :func:`write_whole` does, and return the new file open for appending; the caller closes it."""
    temporary = path.with_name(f"{path.name}{TEMPORARY}")
    fd = os.open(temporary, _FLAGS, 0o666)
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(fd, rest) :]
        if is_durable:
            os.fsync(fd)
        temporary.replace(path)
    except OSError:
        os.close(fd)
        temporary.unlink(missing_ok=True)  # on a full disk it would keep the room that everybody waits for
        raise
    return fd
