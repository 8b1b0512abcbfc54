"""Where a run takes place: what of its environment may change its numbers, and whether a sweep has started it."""

from __future__ import annotations

import functools
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

_PACKAGES = ("sweepline", "torch", "numpy")
ENVIRONMENT_FILE = "env.json"
_TOLD = {
    "CUDA_VISIBLE_DEVICES",
    "MKL_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "SWEEPLINE_DATA",
    "SWEEPLINE_RUNS_PER_DEVICE",
}


def is_in_sweep() -> bool:
    """Whether a sweep has given this run its folder."""
    return bool(os.environ.get("SWEEPLINE_RUN_DIR"))


@functools.cache
def describe_environment() -> dict[str, Any]:
    """Return versions, machine, commit and arguments of this process; no value of a variable that may be a secret."""
    versions = {}
    for name in _PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return {
        "python": platform.python_version(),
        **versions,
        "machine": f"{platform.node()} {platform.system()} {platform.machine()}",
        "commit": _commit(),
        "argv": sys.argv,
        "working_dir": str(Path.cwd()),
    }


def write_environment(run_dir: Path) -> None:
    """Write ``env.json`` for a run that no sweep has started, which writes its own."""
    told = {name: value for name, value in os.environ.items() if name in _TOLD}
    names = sorted(os.environ.keys() - told.keys())
    content = {**describe_environment(), "set": told, "inherited": names}
    (run_dir / ENVIRONMENT_FILE).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _commit() -> str | None:
    """Return the commit of the program's checkout; None where there is none."""
    command = ["git", "-C", str(Path(sys.argv[0]).resolve().parent), "rev-parse", "HEAD"]
    with suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
        return done.stdout.strip() or None
    return None
