"""Files that are there whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

TEMPORARY = ".tmp"
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC  # a planted link is not written through


def write_whole(path: Path, content: bytes, *, is_durable: bool = True) -> None:
    """Write beside ``path`` and rename over it; with ``is_durable`` the content is on disk before the rename."""
    temporary = path.with_name(f"{path.name}{TEMPORARY}")
    try:
        with os.fdopen(os.open(temporary, _FLAGS, 0o666), "wb") as file:
            file.write(content)
            if is_durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)  # on a full disk it would keep the room that everybody waits for
        raise
