"""The batch size that fits any program, on a GPU whose driver was made for the test."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Project
from tests.reliability.test_gpus import Driver

LIMIT_MIB = 0.9 * 24000
# Takes 400 MiB and ten for each example, and prints its lines all at once, sooner than a driver answers.
PROGRAM = """
    import os, signal, sys, time
    from pathlib import Path
    state, size = os.environ["FAKE_NVML_STATE"], int(sys.argv[1].split("=")[1])
    mine = Path(f"{state}.held/0.{os.getpid()}")

    def leave(*_):
        mine.unlink(missing_ok=True)
        os._exit(1)

    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, leave)
    mine.with_name("new").write_text(str(400 + 10 * size))
    if 400 + 10 * size > 24000:
        sys.exit("torch.OutOfMemoryError: CUDA out of memory.")
    STRANGER
    mine.with_name("new").replace(mine)
    for i in range(9):
        print(f"METRIC step={i} loss=0.{i}")
    sys.stdout.flush()
    time.sleep(20)
"""
# From the second size on another has 9,000 MiB, which are not the program's.
STRANGER = "size > 64 and mine.with_name('0.999999').write_text('9000')"


@pytest.fixture
def driver(project: Project, library: Path) -> Driver:
    """The driver of a machine with one GPU, and where it keeps what processes have on it."""
    found = Driver(project.path / "gpus.txt")
    for name in ("tmp", "gpus.txt.held", "gpus.txt.counted"):
        (project.path / name).mkdir()
    temporary = str(project.path / "tmp")
    project.environ |= {"LD_LIBRARY_PATH": str(library), "FAKE_NVML_STATE": str(found.path), "TMPDIR": temporary}
    return found


def _find(project: Project, stranger: str) -> dict[str, Any]:
    project.write("train.py", PROGRAM.replace("STRANGER", stranger))
    words = ["--flag", "batch-size", "--json", "--devices", "0", "--", sys.executable, "train.py"]
    done = project.command("batch-size", *words)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("telling", ["", "refuses", "foreign"])
def test_lines_that_come_sooner_than_the_driver_answers_are_not_all_that_is_waited_for(
    project: Project, driver: Driver, telling: str
) -> None:
    driver.tell(f"24000 24000 {telling}")
    found = _find(project, "")
    by_size = {probe["batch_size"]: probe for probe in found["probes"]}
    assert all(probe["peak_bytes"] >> 20 == 400 + 10 * size for size, probe in by_size.items())
    assert sum(probe["status"] != "ok" for probe in found["probes"]) <= 1
    assert 0.85 * LIMIT_MIB < 400 + 10 * found["largest"] <= LIMIT_MIB


def test_what_a_stranger_begins_to_use_meanwhile_is_not_taken_for_the_programs(
    project: Project, driver: Driver
) -> None:
    driver.tell("24000 24000")
    found = _find(project, STRANGER)
    assert 0.85 * LIMIT_MIB < 400 + 10 * found["largest"] <= LIMIT_MIB
