"""``train_single.py`` as a process of its own that runs to its end, and what it leaves."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest
from filelock import FileLock

from tests.conftest import DEADLINE_S, EXPERIMENT, Project

TRAINER = EXPERIMENT / "train_single.py"
DIGITS = ("data.name=digits", "data.limit=100", "batch_size=32", "epochs=1", "wandb.mode=disabled")
IDX_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


@dataclass(frozen=True)
class Ended:
    """A process that has ended, and the folder in which it ran."""

    folder: str
    exit_code: int
    stdout: str
    stderr: str

    @property
    def run_dir(self) -> Path:
        """The run folder that the process was given."""
        return Path(self.folder) / "the run's folder"

    @property
    def lines(self) -> list[str]:
        """What it printed, line by line."""
        return self.stdout.splitlines()


def train_single(
    folder: Path, arguments: Sequence[str], *, program: Path = TRAINER, stdin: str = "", **environ: str
) -> Ended:
    """Run ``train_single.py`` to its end in ``folder``, without the tester's accounts and GPUs."""
    result = subprocess.run(
        [sys.executable, str(program), *arguments],
        cwd=folder,
        env=Project(folder).environment({"CUDA_VISIBLE_DEVICES": "", **environ}),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    return Ended(str(folder), result.returncode, result.stdout, result.stderr)


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], Ended]) -> Ended:
    """Return what ``make`` does in a fresh folder; the test workers share it, so that it is done once."""
    own = factory.getbasetemp()
    folder = (own.parent if own.name.startswith("popen-") else own) / name
    record = folder / "ended.json"
    with FileLock(f"{folder}.lock"):
        if not record.exists():
            folder.mkdir()
            record.write_text(json.dumps(asdict(make(folder))))
    return Ended(**json.loads(record.read_text()))


def train_once(factory: pytest.TempPathFactory, name: str, *overrides: str, **environ: str) -> Ended:
    """Return a run of ``train_single.py`` into a run folder, made once."""

    def make(folder: Path) -> Ended:
        run_dir = str(folder / "the run's folder")
        return train_single(folder, ["--", *DIGITS, *overrides], SWEEPLINE_RUN_DIR=run_dir, **environ)

    return once(factory, name, make)


def sentences(ended: Ended) -> list[str]:
    """Return what a refused run printed, line by line, with its exit code first."""
    return [f"exit code {ended.exit_code}", *ended.stdout.splitlines(), *ended.stderr.splitlines()]
