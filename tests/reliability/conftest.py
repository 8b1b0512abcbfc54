"""A GPU driver made for the tests."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ASSETS


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a libnvidia-ml.so.1 that does as a text file says."""
    gcc = shutil.which("gcc")
    if gcc is None:
        pytest.skip("needs gcc: the GPU driver is a small C library here")
    return compile_library(gcc, (ASSETS / "fake_nvml.c").read_text(), tmp_path_factory.mktemp("driver"))


def compile_library(gcc: str, source: str, folder: Path) -> Path:
    """Compile a source as the driver's library; return its folder."""
    (folder / "library.c").write_text(source)
    name = folder / "libnvidia-ml.so.1"
    subprocess.run([gcc, "-shared", "-fPIC", "-O1", "-o", str(name), str(folder / "library.c")], check=True)
    return folder
