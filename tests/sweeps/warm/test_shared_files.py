"""What is told from what by when it was made: the imports' own files, those of others, and those of a run."""

from __future__ import annotations

import atexit
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from sweepline.executors.local.keeper.warm_parent import shared_files as module
from sweepline.executors.local.keeper.warm_parent.shared_files import Made


@pytest.fixture(params=["with times of birth", "without"])
def made(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Made]:
    """Imports that make a folder and a file, between what others have made before and afterwards."""
    if request.param == "without":
        monkeypatch.setattr(module, "libc", SimpleNamespace())
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("SWEEPLINE_RUN_DIR", str(tmp_path / "folder" / "of_run"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "before").mkdir()
    module.time.sleep(module._TICK_S)
    found = Made()
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    found.seal()
    (tmp_path / "folder" / "of_another_run").touch()
    (tmp_path / "folder" / "of_run" / "in").mkdir(parents=True)
    (tmp_path / "before" / "after").touch()
    (tmp_path / "after").touch()
    yield found
    atexit.unregister(found._protect)


@pytest.mark.parametrize("name", ["folder", "file", "folder/of_another_run", "folder/never_there", "before/../file"])
def test_what_imports_made_and_what_lies_in_it_is_theirs(made: Made, tmp_path: Path, name: str) -> None:
    assert made.holds(tmp_path / name)
    assert made.holds(name)
    assert made.holds(os.fsencode(name))


@pytest.mark.parametrize("name", ["before", "after", "before/after", "folder/of_run", "folder/of_run/in", ".", "none"])
def test_all_else_is_not(made: Made, tmp_path: Path, name: str) -> None:
    assert not made.holds(tmp_path / name)


def test_a_path_may_be_one_from_an_open_folder(made: Made, tmp_path: Path) -> None:
    fd = os.open(tmp_path / "folder", os.O_RDONLY)
    try:
        assert made.holds("of_another_run", fd)
    finally:
        os.close(fd)
    assert not made.holds("of_another_run", fd)
