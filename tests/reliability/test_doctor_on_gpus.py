"""``sweepline doctor`` where there are GPUs, by a driver made for the test."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Project
from tests.reliability.test_gpus import Driver


@pytest.fixture
def driver(project: Project, library: Path) -> Driver:
    """The driver of a machine with two GPUs, whose runs have a Python without torch."""
    found = Driver(project.path / "gpus.txt")
    found.tell("24000 24000", "9000 24000")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", project.path / "own"], check=True)
    temporary = project.path / "tmp"
    temporary.mkdir()
    project.environ |= {"LD_LIBRARY_PATH": str(library), "FAKE_NVML_STATE": str(found.path), "TMPDIR": str(temporary)}
    project.environ["VIRTUAL_ENV"] = str(project.path / "own")
    return found


def examine(project: Project, **environ: str) -> tuple[int, dict[str, dict[str, Any]]]:
    result = project.command("doctor", "--json", **environ)
    return result.returncode, {finding["name"]: finding for finding in json.loads(result.stdout)["findings"]}


def torch_that(project: Project, text: str) -> None:
    """Install a torch of the test's own into the environment that runs programs."""
    (site,) = (project.path / "own").glob("lib/python*/site-packages")
    (site / "torch-2.9.0.dist-info").mkdir()
    (site / "torch-2.9.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 2.9.0\n")
    (site / "torch.py").write_text(text)


@pytest.mark.usefixtures("driver")
def test_gpus_are_told_and_used_as_a_sweep_would(project: Project) -> None:
    code, found = examine(project)
    assert code == 0
    assert "(9,000 of 24,000 MiB free)" in found["gpus"]["found"]
    assert found["slots"]["found"] == "2 at a time by default (gpu 0, gpu 1)"
    assert found["gpu leases"]["standing"] == "ok"


@pytest.mark.usefixtures("driver")
def test_what_the_environment_hides_is_no_slot(project: Project) -> None:
    assert examine(project, CUDA_VISIBLE_DEVICES="1")[1]["slots"]["found"] == "1 at a time by default (gpu 1)"


@pytest.mark.usefixtures("driver")
def test_a_torch_without_cuda_is_noted_where_there_are_gpus(project: Project) -> None:
    torch_that(
        project,
        "class cuda:\n    is_available = staticmethod(lambda: False)\n    device_count = staticmethod(lambda: 0)\n"
        "class version:\n    cuda = None\n",
    )
    code, found = examine(project)
    assert (code, found["torch"]["standing"]) == (0, "note")
    assert found["torch"]["found"] == "2.9.0 sees none of 2 GPUs; it was built without CUDA"


@pytest.mark.usefixtures("driver")
def test_a_torch_that_cannot_be_imported_is_noted_with_its_error(project: Project) -> None:
    torch_that(project, "raise ImportError('libcudart.so.13: cannot open shared object file')\n")
    found = examine(project)[1]["torch"]["found"]
    assert found == "2.9.0 cannot be imported: ImportError: libcudart.so.13: cannot open shared object file"


@pytest.mark.usefixtures("driver")
def test_leases_in_whose_place_a_file_stands_fail(project: Project) -> None:
    project.write("tmp/sweepline-gpus", "not a folder\n")
    code, found = examine(project)
    assert (code, found["gpu leases"]["standing"]) == (1, "failed")
