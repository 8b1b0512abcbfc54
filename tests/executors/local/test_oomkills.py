"""Whether the kernel has killed a run for its memory, in a control group of its own: needs the right to make one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sweepline.executors.local.exits import read_exit

V1, V2 = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")
LIMIT = 100 << 20

# Runs a task by LocalExecutor and says how it ended; the control group is this process's.
DRIVER = """
import os, sys
from pathlib import Path
from sweepline.executors.base import Task
from sweepline.executors.local.executor import LocalExecutor
run_dir = Path(sys.argv[1])
executor = LocalExecutor()
run = executor.submit(Task(run_id="a", attempt=1, argv=[sys.executable, "-c", sys.argv[2]], environ=dict(os.environ),
                           working_dir=run_dir, run_dir=run_dir))
while run.poll() is None:
    executor.wait(1.0)
executor.close()
"""


@pytest.fixture
def group() -> Iterator[Path]:
    """A control group whose processes may take 100 MiB together."""
    is_v1 = (V1 / "memory.limit_in_bytes").exists()
    folder = (V1 if is_v1 else V2) / f"sweepline-test-{os.getpid()}"
    try:
        folder.mkdir()
        (folder / ("memory.limit_in_bytes" if is_v1 else "memory.max")).write_text(str(LIMIT))
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")
    yield folder
    folder.rmdir()


def end_in(group: Path, run_dir: Path, program: str) -> tuple[int | None, bool]:
    """Return by which signal a program ended in a group, and whether that was for its memory."""
    run_dir.mkdir()
    subprocess.run(
        [sys.executable, "-c", DRIVER, str(run_dir), program],
        check=True,
        timeout=60,
        preexec_fn=lambda: (group / "cgroup.procs").write_text(str(os.getpid())),
    )
    _, ended = read_exit(run_dir) or (0, None)
    assert ended is not None
    return ended.signal, ended.is_out_of_memory


def test_a_run_that_takes_too_much_is_killed_and_says_why(group: Path, tmp_path: Path) -> None:
    assert end_in(group, tmp_path / "a", "x = bytearray(300 << 20)") == (9, True)


def test_a_run_that_is_killed_by_somebody_does_not(group: Path, tmp_path: Path) -> None:
    assert end_in(group, tmp_path / "b", "import os; os.kill(os.getpid(), 9)") == (9, False)
