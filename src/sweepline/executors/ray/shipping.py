"""The files of a run whose node does not share the folder of its sweep: there with the task, back while it runs."""

from __future__ import annotations

import base64
import os
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sweepline.contract.files import open_plain
from sweepline.contract.runfolder import (
    COMMAND,
    EXIT_FILE,
    JOB,
    KEPT_ACROSS_ATTEMPTS,
    OUTPUT_FOLDER,
    RECORDED,
    STDERR,
    STDOUT,
)
from sweepline.executors.node.claim import FENCE_S, drop_claim, read_job

_LOGS = (STDOUT, STDERR)
_RETURNED = frozenset(RECORDED) - {COMMAND, EXIT_FILE, JOB}
_CHUNK = 1 << 20
_MOST_AT_ONCE = 16  # chunks of one file in one look
_LARGEST_SENT = 1 << 20


class FolderError(Exception):
    """The folder of a run cannot be made on its node."""


def pack_folder(run_dir: Path) -> dict[str, str]:
    """Return the files that the sweep has written for a run, by name; the program's own folder has a slash behind."""
    found = {
        path.name: base64.b64encode(path.read_bytes()).decode()
        for path in run_dir.iterdir()
        if path.name in RECORDED and path.stat().st_size <= _LARGEST_SENT
    }
    return {**found, f"{OUTPUT_FOLDER}/": ""} if (run_dir / OUTPUT_FOLDER).is_dir() else found


def unpack_folder(run_dir: Path, files: Mapping[str, str], *, sweep: str) -> None:
    """Make a run's folder on its node: with what an earlier attempt of the same sweep saved there, if it was here.

    Raises:
        FolderError: it cannot be made.
    """
    try:
        job = read_job(run_dir)
        kept = KEPT_ACROSS_ATTEMPTS if job.get("sweep") == sweep else ()
        if job and not (run_dir / EXIT_FILE).exists():
            drop_claim(run_dir)
            time.sleep(FENCE_S)
        run_dir.mkdir(parents=True, exist_ok=True)
        for path in run_dir.iterdir():
            if path.name not in kept:
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        for name, content in files.items():
            if name.endswith("/"):
                (run_dir / name).mkdir()
            else:
                (run_dir / name).write_bytes(base64.b64decode(content))
    except OSError as error:
        raise FolderError(
            f"its folder {run_dir} cannot be made on {os.uname().nodename}: {error.strerror}; have the nodes share the "
            "folder of the sweep"
        ) from None


class Shipment:
    """Tells what is written in a run's folder, as messages ``{"ev": "part", "name", "offset", "data"}``."""

    def __init__(self, run_dir: Path, tell: Callable[..., None]) -> None:
        self._run_dir, self._tell = run_dir, tell
        self._sent: dict[str, int] = {}

    def send_gains(self, *, names: tuple[str, ...] = _LOGS, most: int = _MOST_AT_ONCE) -> None:
        """Send what the logs have gained."""
        for name in names:
            for _ in range(most):
                if not self._send_next(name):
                    break

    def send_rest(self) -> None:
        """Send what is left of the logs, and all other files that tell how the run went."""
        names = tuple(name for name in sorted(_RETURNED) if (self._run_dir / name).exists())
        self.send_gains(names=names, most=1 << 30)

    def _send_next(self, name: str) -> bool:
        """Send the next part of a file; return whether there may be more."""
        try:
            with open_plain(self._run_dir / name) as file:
                offset = self._sent.get(name, 0)
                offset = offset if os.fstat(file.fileno()).st_size >= offset else 0  # replaced: all of it again
                data = os.pread(file.fileno(), _CHUNK, offset)
        except OSError:  # nothing there, or nothing that could be read
            return False
        if data:
            self._tell(ev="part", name=name, offset=offset, data=base64.b64encode(data).decode())
            self._sent[name] = offset + len(data)
        return len(data) == _CHUNK


def write_part(run_dir: Path, message: Mapping[str, Any]) -> None:
    """Write a part of a file where it belongs in the sweep's own folder of the run.

    Raises:
        OSError: the disk does not take it.
    """
    name, offset = message["name"], message["offset"]
    if name not in _RETURNED:
        return
    fd = os.open(run_dir / name, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    with os.fdopen(fd, "wb") as file:  # a descriptor is not truncated by that
        file.truncate(offset)
        file.seek(offset)
        file.write(base64.b64decode(message["data"]))
