"""The first NVIDIA GPU of this machine; without one these tests are skipped."""

from __future__ import annotations

import pytest

from sweepline.errors import SweeplineError
from sweepline.executors.local.gpus import Gpu, GpuSensor, read_gpus
from tests.conftest import Project


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs a GPU."""
    for item in items:
        if "/tests/gpu/" in str(item.path):
            item.add_marker("gpu")


@pytest.fixture(scope="session")
def gpu() -> Gpu:
    """The GPU with number 0."""
    try:
        found, problem = read_gpus()
    except SweeplineError as error:
        pytest.skip(str(error))
    if not found:
        pytest.skip(f"needs an NVIDIA GPU: {problem or 'none is told'}")
    return found[0]


@pytest.fixture
def lab(project: Project, gpu: Gpu) -> Project:  # noqa: ARG001
    """A project whose GPU leases are its own, so that tests may use one GPU side by side."""
    temporary = project.path / "tmp"
    temporary.mkdir()
    project.environ["TMPDIR"] = str(temporary)
    return project


def free_mib(gpu: Gpu) -> int:
    """Return what of the GPU's memory is free now."""
    sensor = GpuSensor()
    try:
        sensor.ask()
        return next(told.free_mib for told in sensor.wait() or [] if told.uuid == gpu.uuid)
    finally:
        sensor.close()
