"""Fixtures shared by all tests: where things are, and a project folder in which real sweeps run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import hypothesis
import pandas as pd
import pytest

from tests import forked

REPOSITORY = Path(__file__).resolve().parents[1]
EXPERIMENT = REPOSITORY / "experiments" / "hyperparameters_sweep"
ASSETS = REPOSITORY / "tests" / "assets"
CACHE = REPOSITORY / ".test_cache"
"""Where the charting library is kept, which takes seconds to put together."""

TOKEN = "SWEEPLINE_TEST_TOKEN"
DEADLINE_S = 120

hypothesis.settings.register_profile("sweepline", deadline=None)  # a machine with other work to do is no fault
hypothesis.settings.load_profile("sweepline")
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup it is ignored, and would be by what the tests start


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests in which real sweeps run: ``make test-fast`` leaves them out."""
    for item in items:
        if {"project", "toys"} & set(getattr(item, "fixturenames", ())):
            item.add_marker("sweep")


@dataclass
class Project:
    """A user's folder: scripts, a sweep file, and ``sweepline`` commands run in it as real processes."""

    path: Path
    token: str = field(default_factory=lambda: uuid.uuid4().hex)
    environ: dict[str, str] = field(default_factory=dict)
    sweepline: tuple[str, ...] = (sys.executable, "-m", "sweepline.cli.main")

    def write(self, name: str, text: str) -> Path:
        """Write a file of the project, its indentation removed."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text).lstrip("\n"))
        return path

    def asset(self, name: str, *, to: str | None = None) -> Path:
        """Copy a script of ``tests/assets``."""
        return self.write(to or name, (ASSETS / name).read_text())

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return an environment without the tester's own accounts and GPUs."""
        dropped = ("WANDB_", "CUDA_VISIBLE", "SWEEPLINE_", "NETRC", "VIRTUAL_ENV", "CONDA_PREFIX", "OMP_", "MASTER_")
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(dropped)}
        own = {"HOME": str(self.path), "XDG_CACHE_HOME": str(CACHE), TOKEN: self.token}
        return inherited | own | self.environ | dict(extra or {})

    def start(self, *args: str, **extra: str) -> subprocess.Popen[str]:
        """Start ``sweepline ARGS`` and return the process."""
        return subprocess.Popen(
            [*self.sweepline, *args],
            cwd=self.path,
            env=self.environment(extra),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *args: str, **extra: str) -> subprocess.CompletedProcess[str]:
        """Run ``sweepline run ARGS`` to its end."""
        return self.command("run", *args, **extra)

    def command(self, *args: str, **extra: str) -> subprocess.CompletedProcess[str]:
        """Run ``sweepline ARGS`` to its end, in a fork of one process where nothing speaks against it."""
        environ = self.environment(extra)
        needs_own = any(
            name.startswith(("PYTHON", "LD_")) for name in self.environ | extra
        )  # read when a process starts
        is_as_usual = self.sweepline == Project.sweepline and not needs_own
        if is_as_usual and forked.is_idle() and threading.current_thread() is threading.main_thread():
            return forked.run_forked(
                ["sweepline", *args], cwd=self.path, environ=environ, imports=forked.SWEEP, module=self.sweepline[-1]
            )
        process = self.start(*args, **extra)
        out, err = process.communicate(timeout=DEADLINE_S)
        return subprocess.CompletedProcess(args, process.returncode, out, err)

    @property
    def sweep_dir(self) -> Path:
        """The only sweep's folder."""
        return next(path for path in (self.path / "outputs").iterdir() if path.is_dir())

    def rows(self) -> pd.DataFrame:
        """Return the sweep's CSV."""
        return pd.read_csv(self.sweep_dir / "runs.csv")

    def survivors(self) -> list[int]:
        """Return the pids of processes that were started from here and still live."""
        return [
            pid
            for pid in map(int, filter(str.isdigit, (path.name for path in Path("/proc").iterdir())))
            if self._is_ours(pid)
        ]

    def _is_ours(self, pid: int) -> bool:
        try:
            return f"{TOKEN}={self.token}".encode() in Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            return False


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Return when ``condition`` holds; fail when it does not within the deadline."""
    until = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < until, f"waited in vain until {what}"
        time.sleep(0.01)


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """A project folder; whatever was started in it is killed at the end."""
    found = Project(tmp_path)
    yield found
    for pid in found.survivors():
        os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="session")
def mnist_root() -> Path:
    """A folder with the real MNIST; tests that need it are skipped where there is none."""
    candidates = [os.environ.get("SWEEPLINE_DATA"), str(REPOSITORY.parent / "shared" / "data")]
    for candidate in filter(None, candidates):
        if (Path(candidate) / "MNIST" / "raw" / "train-images-idx3-ubyte").is_file():
            return Path(candidate).resolve()
    pytest.skip("needs the real MNIST: point SWEEPLINE_DATA at a folder that holds MNIST/raw")
