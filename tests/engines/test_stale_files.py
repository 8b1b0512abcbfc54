"""A sweep whose file system remembers what was in its folders, as NFS does, while jobs write beside it.

The sweep sees its project through a mount that answers from memory for some seconds; the nodes see it directly.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.conftest import Project
from tests.engines.slurmcluster import SlurmCluster
from tests.engines.test_slurm import PROGRAM

pytestmark = [
    pytest.mark.engines,
    pytest.mark.skipif(shutil.which("bindfs") is None, reason="bindfs is not installed (apt-get install bindfs)"),
    pytest.mark.skipif(not os.access("/dev/fuse", os.W_OK), reason="there is no /dev/fuse to mount with"),
]
MEMORY_S = 6
SWEEP = """
    program: train.py
    name: jobs
    metric: {name: loss, goal: minimize}
    parameters: {x: {values: [0.1, 0.2, 0.3, 0.4]}, steps: {value: 4}, pause: {value: 0.1}}
    slurm: {poll: 1s}
    """


@pytest.fixture
def jobs(project: Project, cluster: SlurmCluster) -> Iterator[Project]:
    project.write("train.py", PROGRAM)
    project.write("sweep.yaml", SWEEP)
    project.environ["SLURM_CONF"] = cluster.environ["SLURM_CONF"]
    yield project
    cluster.settle()


def run_behind_memory(project: Project, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the project, which it sees through the mount."""
    if subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode:
        pytest.skip("no mount namespace can be made here")
    here = shlex.quote(str(project.path))
    memory = ",".join(f"{name}_timeout={MEMORY_S}" for name in ("attr", "entry", "negative"))
    script = f"bindfs -o {memory},nonempty {here} {here} && cd {here} && {shlex.join(words)}; umount -l {here}"
    return subprocess.run(
        ["unshare", "-m", "bash", "-c", script],
        cwd=project.path,
        env=project.environment(),
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )


@pytest.mark.parametrize("holder", [[], ["salloc", "-Q", "--nodes=2", "--ntasks-per-node=4"]], ids=["jobs", "pilot"])
def test_results_that_are_seen_late_are_not_lost(jobs: Project, holder: list[str]) -> None:
    executor = "pilot" if holder else "slurm"
    words = [*holder, sys.executable, "-m", "sweepline.cli.main", "run", "--plain", "--executor", executor]
    ended = run_behind_memory(jobs, *words)
    rows = jobs.rows()
    assert set(rows["state"]) == {"finished"}, ended.stdout + ended.stderr
    assert [round(row.loss - row.x, 6) for row in rows.itertuples()] == [0.25] * 4
    assert list(rows["attempt"]) == [1] * 4
