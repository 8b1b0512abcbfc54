"""Which commands are Python programs that can be forked instead of started."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from sweepline.programs.interpreter import editable_roots, find_interpreter


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        ([sys.executable, "train.py", "--lr=0.1"], (0, 1)),
        (["python", "train.py"], (0, 1)),
        (["/opt/conda/bin/python3.12", "-u", "train.py"], (0, 2)),
        (["python", "-uB", "-W", "error", "-Xdev", "-OO", "train.py", "-c", "x"], (0, 6)),
        (["/usr/bin/env", "python3", "train.py"], (1, 2)),
        (["python", "-m", "package.train", "--lr=0.1"], (0, 1)),
        (["python", "-I", "-m", "package"], (0, 2)),
        (["python", "no_suffix"], (0, 1)),
    ],
)
def test_python_programs_are_found(tmp_path: Path, argv: list[str], expected: tuple[int, int]) -> None:
    assert find_interpreter(argv, working_dir=tmp_path) == expected


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["python"],
        ["python", "-"],
        ["python", "-c", "print()"],
        ["python", "-ic", "print()"],
        ["python", "-i", "train.py"],
        ["python", "-m"],
        ["python", "--help"],
        ["python", "train.pyc"],
        ["python", "app.pyz"],
        ["python", "folder"],
        ["python", "folder/"],
        ["env", "X=1", "python", "train.py"],
        ["torchrun", "train.py"],
        ["./train.py"],
        ["./train.sh", "python", "train.py"],
        ["pythonw", "train.py"],
        ["bash", "-c", "python train.py"],
    ],
)
def test_what_is_none_is_left_alone(tmp_path: Path, argv: list[str]) -> None:
    (tmp_path / "folder").mkdir()
    assert find_interpreter(argv, working_dir=tmp_path) is None


def test_folders_of_packages_that_are_installed_to_be_edited_are_found(tmp_path: Path) -> None:
    site = tmp_path / "env" / "lib" / "python3.12" / "site-packages"
    site.mkdir(parents=True)
    for name in ("by_path", "hooked/pkg"):
        (tmp_path / name).mkdir(parents=True)
    (site / "_one.pth").write_text(f"import os\n{tmp_path / 'by_path'}\nrelative\n{tmp_path / 'gone'}\n")
    mapping = {"pkg": str(tmp_path / "hooked" / "pkg")}
    (site / "__editable___pkg_1_0_finder.py").write_text(f"import sys\nMAPPING: dict[str, str] = {mapping!r}\n")
    (site / "__editable___bad_1_0_finder.py").write_text("MAPPING: dict[str, str] = {")
    python = str(tmp_path / "env" / "bin" / "python")
    assert editable_roots(python) == (tmp_path / "by_path", tmp_path / "hooked")


def test_an_interpreter_that_is_not_there_has_none() -> None:
    assert editable_roots("/nowhere/bin/python") == ()
