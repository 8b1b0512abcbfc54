"""Which code a run executed: the program and the modules of its own that it imports, wherever and however."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sweepline.programs.sourcecode import SourceCode, changed_files, describe_change

FILES = {
    "train.py": "import helper\ndef main():\n    from pkg.models import net\n    import torch, not_there\n",
    "helper.py": "from pkg import losses as l\n",
    "pkg/__init__.py": "",
    "pkg/models.py": "from . import layers\nfrom .. import outside\n",
    "pkg/layers.py": "import helper\n",
    "pkg/losses.py": "",
    "pkg/unused.py": "",
    "src/lib/__init__.py": "",
    "src/lib/train.py": "import lib.data\n",
    "src/lib/data.py": "",
    "train.sh": "#!/bin/bash\necho hello\n",
    "lib/site-packages/installed.py": "",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A user's project."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def source(folder: Path, program: str) -> SourceCode:
    return SourceCode([folder / program], roots=[folder, folder / "src"])


def test_a_program_is_made_of_what_it_imports_anywhere_and_they_in_turn(folder: Path) -> None:
    code = source(folder, "train.py")
    code.digest()
    expected = {"train.py", "helper.py", "pkg/__init__.py", "pkg/models.py", "pkg/layers.py", "pkg/losses.py"}
    assert set(code.files) == expected


def test_a_module_of_a_src_layout_is_found(folder: Path) -> None:
    code = SourceCode([], roots=[folder, folder / "src"], module="lib.train")
    code.digest()
    assert set(code.files) == {"src/lib/__init__.py", "src/lib/train.py", "src/lib/data.py"}


def test_a_shell_script_is_one_file(folder: Path) -> None:
    code = source(folder, "train.sh")
    assert (code.digest() != "", set(code.files)) == (True, {"train.sh"})


@pytest.mark.parametrize("name", ["train.py", "helper.py", "pkg/layers.py"])
def test_an_edit_of_any_of_its_files_changes_the_digest_and_is_named(folder: Path, name: str) -> None:
    code = source(folder, "train.py")
    before, files = code.digest(), dict(code.files)
    (folder / name).write_text(FILES[name] + "# edited\n")
    assert code.digest() != before
    assert changed_files(files, code.files) == [name]


@pytest.mark.parametrize("name", ["pkg/unused.py", "src/lib/data.py"])
def test_a_file_that_is_not_imported_changes_nothing(folder: Path, name: str) -> None:
    code = source(folder, "train.py")
    before = code.digest()
    (folder / name).write_text("# edited\n")
    assert code.digest() == before


def test_a_file_that_was_touched_and_not_changed_is_the_same_code(folder: Path) -> None:
    code = source(folder, "train.py")
    before = code.digest()
    os.utime(folder / "helper.py", (1, 1))
    assert code.digest() == before


def test_the_same_project_elsewhere_is_the_same_code(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("moved") / "project"
    digest = source(folder, "train.py").digest()
    folder.rename(other)
    assert source(other, "train.py").digest() == digest


@pytest.mark.parametrize("text", ["import train\n", "def broken(:\n", "from . import x\n", "\0", "from ... import y\n"])
def test_files_that_import_each_other_or_cannot_be_read_are_no_obstacle(folder: Path, text: str) -> None:
    (folder / "helper.py").write_text(text)
    assert source(folder, "train.py").digest() != ""


def test_a_program_that_is_no_file_has_no_code() -> None:
    assert SourceCode([], roots=[]).digest() == ""


@pytest.mark.parametrize(
    ("program", "text", "told"),
    [
        ("run.sh", "#!/bin/bash\nset -e\npython train.py --lr $1\n", {"run.sh", "train.py", "helper.py"}),
        ("run.sh", "#!/bin/bash\nexec python -m lib.train\n", {"run.sh", "src/lib/train.py", "src/lib/data.py"}),
        (
            "plugins.py",
            "import importlib\nm = importlib.import_module('pkg.losses')\n",
            {"plugins.py", "pkg/losses.py"},
        ),
        (
            "app.py",
            "@hydra.main(config_path='conf', config_name='c')\ndef main(c): ...\n",
            {"app.py", "conf/db/a.yaml"},
        ),
    ],
)
def test_what_a_program_names_in_plain_words_belongs_to_it(
    folder: Path, program: str, text: str, told: set[str]
) -> None:
    (folder / "conf" / "db").mkdir(parents=True)
    (folder / "conf" / "db" / "a.yaml").write_text("a: 1\n")
    (folder / program).write_text(text)
    code = source(folder, program)
    code.digest()
    assert told <= set(code.files)


@pytest.mark.parametrize(
    ("states", "told"),
    [
        ([{"a.py": "1", "b.py": "1"}], "b.py has changed"),
        ([{"a.py": "0", "b.py": "0"}], "a.py, b.py have changed"),
        ([{"a.py": "1", "b.py": "2", "net.py": "1"}], "net.py is no longer part of the program"),
        ([{"a.py": "1"}], "b.py is new in the program"),
        (
            [{"a.py": "0", "net.py": "1"}],
            "a.py has changed and b.py is new in the program and net.py is no longer part",
        ),
        ([{"a.py": "1"}, {"a.py": "1", "b.py": "1"}], "b.py has changed"),
        ([{}], "a.py, b.py have changed"),
    ],
)
def test_what_came_or_went_was_not_changed(states: list[dict[str, str]], told: str) -> None:
    assert describe_change(states, {"a.py": "1", "b.py": "2"}).startswith(told)
