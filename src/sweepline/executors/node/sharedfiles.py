"""Files that another machine writes, on a file system over a network.

An NFS client remembers what is in a folder, also what is not, for a minute (nfs(5), acdirmax). What it changes in a
folder itself makes it ask the server anew.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def refresh(folder: Path) -> None:
    """Have what is looked for in a folder from here on be what is there, not what is remembered."""
    path = folder / f".look-{os.uname().nodename}-{os.getpid()}"
    with suppress(OSError):  # a folder that is gone, or shut, has nothing new either
        path.touch()
        path.unlink()
