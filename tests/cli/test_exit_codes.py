"""Exit codes that no other test brings about; the others: tests/sweeps/test_sweeps.py (0, 1, 75, 129, 130, 143)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from tests.conftest import DEADLINE_S, Project, wait_until


def test_a_reader_that_has_gone_ends_a_command_with_141(project: Project) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "sweepline.cli.main", "schema"],
        cwd=project.path,
        env=project.environment(),
        stdout=writer,
        stderr=subprocess.PIPE,
        timeout=DEADLINE_S,
        check=False,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.parametrize(("words", "code"), [(["--version"], 0), (["help"], 0), ([], 2), (["status"], 2), (["run"], 2)])
def test_what_only_tells_ends_with_0_what_cannot_start_with_2(project: Project, words: list[str], code: int) -> None:
    assert project.command(*words).returncode == code


def test_a_command_that_only_looks_ends_with_130_at_ctrl_c(project: Project) -> None:
    project.write("train.py", "import pathlib, time\npathlib.Path('begun').touch()\ntime.sleep(600)\n")
    project.write("sweep.yaml", "program: train.py\nparameters: {lr: [1]}\ndevices: cpu\n")
    process = project.start("smoke", "--", "python", "train.py")
    wait_until(lambda: [*project.path.rglob("begun")], "the program has begun")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 130
