"""Starting a sweep that outlives the terminal: a process of its own session, whose words go to a file."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from sweepline.config.settings import SweepSettings
from sweepline.contract.text import display_path
from sweepline.recording.folders import SweepFolder
from sweepline.recording.locks import LOCK

DETACHED = "--detach"
_OUTPUT = "detached.log"
_POLL_S = 0.05


def start_detached(settings: SweepSettings, command: Sequence[str]) -> int:
    """Start a command that runs a sweep in the background; return 0 once it holds its folder, else its exit code.

    What it says before that is printed here as well, so that a refusal is seen.
    """
    folder = SweepFolder(settings.sweep_dir)
    folder.path.mkdir(parents=True, exist_ok=True)
    path = folder.path / _OUTPUT
    with path.open("wb") as output:
        process = subprocess.Popen(
            [*(word for word in command if word != DETACHED), "--plain"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # no hangup, no Ctrl-C of this terminal
        )
    held = f"pid {process.pid} "
    while process.poll() is None:
        if _holder(folder.path).startswith(held):
            where = display_path(settings.path)
            print(f"{settings.name} runs in the background (pid {process.pid})")
            print(f"sweepline attach {where} follows it, sweepline stop --sweep {where} ends it")
            return 0
        time.sleep(_POLL_S)
    sys.stdout.write(path.read_text(errors="replace"))
    return process.returncode


def _holder(folder: Path) -> str:
    try:
        return (folder / LOCK).read_text()
    except OSError:  # it has not come that far
        return ""
