"""Where a program is found, how it is started when the file does not say, and what is said when it is nowhere."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from sweepline.config.sweepfile import load_sweep
from sweepline.programs.command import Command
from sweepline.programs.interpreter import find_python
from sweepline.programs.location import find_executable_place, missing_program
from sweepline.programs.usage import find_hint


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project folder with a script, a package and an installed command; no environment is activated."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    monkeypatch.delenv("CONDA_PREFIX", raising=False)
    for name in ("train.py", "pkg/train.py", "app/__main__.py", "src/deep/fit.py", "train.jl"):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).touch()
    (tmp_path / "calls.py").write_text("def fit(): pass\n")
    (tmp_path / "plain.sh").touch()
    (tmp_path / "dash.sh").write_text("#!/usr/bin/env -S dash -e\n")
    (tmp_path / "tool").write_text("#!/usr/bin/env python3\n")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "my-train").write_text("#!/bin/sh\n")
    (tmp_path / "bin" / "my-train").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


def load(program: str | None, command: Sequence[str] | None = None) -> Command:
    text = "" if program is None else f"program: {program!r}\n"
    text += "" if command is None else f"command: {list(command)}\n"
    Path("sweep.yaml").write_text(f"{text}parameters: {{a: [1]}}\n")
    return load_sweep(Path("sweep.yaml")).command


def argv_of(command: Command) -> list[str]:
    return command.build({"a": 1}, None, device="cpu", run_dir=Path("run"))


@pytest.mark.parametrize(
    ("program", "command", "argv"),
    [
        ("my-train", None, ["FOLDER/bin/my-train", "--a=1"]),
        ("my-train", ["${program}", "launch", "${args}"], ["FOLDER/bin/my-train", "launch", "--a=1"]),
        ("pkg.train", ["${interpreter}", "-m", "${program}"], ["PYTHON", "-m", "pkg.train"]),
        ("json.tool", ["${interpreter}", "-m", "${program}"], ["PYTHON", "-m", "json.tool"]),
        ("app", None, ["PYTHON", "FOLDER/app", "--a=1"]),
        ("plain.sh", None, ["bash", "FOLDER/plain.sh", "--a=1"]),
        ("dash.sh", None, ["/usr/bin/env", "-S dash -e", "FOLDER/dash.sh", "--a=1"]),
        ("tool", None, ["PYTHON", "FOLDER/tool", "--a=1"]),
        ("train.py", ["${env}", "-u", "X", "A=1", "${interpreter}"], ["/usr/bin/env", "-u", "X", "A=1", "PYTHON"]),
    ],
)
def test_a_program_need_not_be_a_python_file(
    folder: Path, program: str, command: list[str] | None, argv: list[str]
) -> None:
    found = load(program, command)

    names = {"FOLDER": str(folder), "PYTHON": sys.executable}
    expected = [names.get(word, word.replace("FOLDER", str(folder))) for word in argv]
    assert (missing_program(found), argv_of(found)) == (None, expected)


@pytest.mark.parametrize(
    ("program", "command", "module", "inner"),
    [
        ("calls:fit", None, "calls", "."),
        ("calls.py:fit", ["${env}", "${interpreter}", "-u", "${program}", "${args}"], "calls", "."),
        ("lib.calls:Fit", ["python3", "${program}", "${args}"], "lib.calls", "."),
        ("lib/calls.py:again", None, "calls", "lib"),
        ("calls:Fit.fit", None, "calls", "."),
        ("lib:run", None, "lib", "."),
        ("broken:any", None, "broken", "."),  # its runs complain of it
        ("starred:any", None, "starred", "."),
    ],
)
def test_a_program_may_be_a_function_of_a_module(
    folder: Path, program: str, command: list[str] | None, module: str, inner: str
) -> None:
    (folder / "lib").mkdir()
    (folder / "lib" / "__init__.py").write_text("if True:\n    from lib.calls import fit as run\n")
    for path in ("calls.py", "lib/calls.py"):
        (folder / path).write_text("def fit(): pass\nclass Fit: pass\nagain = fit\n")
    (folder / "starred.py").write_text("from calls import *\n")
    (folder / "broken.py").write_text("def any(:\n")

    found = load(program, command)

    call = f"importlib.import_module('{module}').{program.rpartition(':')[2]}()"
    option, code, *values = argv_of(found)[-3:]
    assert (missing_program(found), option, values) == (None, "-c", ["--a=1"])
    assert call in code
    assert found.working_dir == (folder / inner).resolve()


@pytest.mark.parametrize("called", ["wait", "Trainer.wait", "plain", "Trainer.plain"])
def test_a_function_is_called_and_one_that_is_async_is_run_to_its_end(folder: Path, called: str) -> None:
    (folder / "calls.py").write_text(
        "import asyncio\n"
        "async def wait():\n    await asyncio.sleep(0)\n    print('METRIC loss=1')\n"
        "def plain():\n    print('METRIC loss=1')\n"
        "class Trainer:\n    wait = staticmethod(wait)\n    plain = staticmethod(plain)\n"
    )
    argv = argv_of(load(f"calls:{called}"))
    assert subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=True).stdout == "METRIC loss=1\n"


def test_a_program_that_is_a_link_keeps_its_own_name(folder: Path) -> None:
    (folder / "link.py").symlink_to(folder / "pkg" / "train.py")

    command = load("link.py")

    assert (argv_of(command)[1], command.working_dir) == (str(folder / "link.py"), folder)


def test_a_command_s_executable_is_looked_for_beside_the_interpreter_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    name = Path(sys.executable).name

    assert argv_of(load("train.py", [name, "${program}"]))[0] == str(Path(sys.executable).parent / name)


@pytest.mark.parametrize(
    ("program", "command", "sentence"),
    [
        (
            None,
            None,
            "names no program: write program: FILE, the script that trains once (there is train.py, pkg/train.py",
        ),
        ("train:main", None, "program 'train:main': train.py has no function 'main'"),
        ("calls.py:fitt", None, "program 'calls.py:fitt': calls.py has no function 'fitt'; did you mean 'fit'?"),
        ("fit:main", None, "program 'fit:main' not found; there is src/deep/fit.py:main: write program: src/deep/fit"),
        ("calls:fit", ["${interpreter}", "-m", "${program}"], "is a function, which Python alone can call"),
        ("calls:fit", ["torchrun", "${program}"], "is a function, which Python alone can call: write command: ['$"),
        ("fit.py", None, "program 'fit.py' not found; there is src/deep/fit.py: write program: src/deep/fit.py"),
        ("nothing.py", None, "program 'nothing.py' not found"),
        ("train.py", ["${args}"], "command: program and interpreter are missing: write ${interpreter} and ${program}"),
        ("train.py", ["${args}", "${program}"], "command: program and interpreter are missing"),
        ("plain.sh", ["${interpreter}", "${program}"], "program plain.sh would be run by Python, which it is not"),
        (
            "train.jl",
            None,
            "program train.jl would be run by Python, which it is not written for: write command: [julia",
        ),
        ("plain.sh", ["${program}"], "is there but not executable: chmod +x plain.sh"),
    ],
)
def test_what_cannot_start_is_told_with_what_to_write(
    program: str | None, command: list[str] | None, sentence: str
) -> None:
    assert sentence in (missing_program(load(program, command)) or "")


@pytest.mark.parametrize(
    ("words", "place"),
    [
        (["a", "b"], 0),
        (["${env}", "a"], 1),
        (["/usr/bin/env", "-i", "X=1", "-u", "Y", "-C", "/", "a"], 7),
        (["env", "-S", "python -u"], None),
        ([], None),
    ],
)
def test_what_env_starts_is_found_after_its_options(words: list[str], place: int | None) -> None:
    assert find_executable_place(words) == place


@pytest.mark.parametrize("variable", ["VIRTUAL_ENV", "CONDA_PREFIX"])
def test_the_python_of_an_activated_environment_runs_other_programs(
    folder: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    python = folder / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    monkeypatch.setenv(variable, str(folder / "venv"))

    settings = [argv_of(load("train.py"))[0], argv_of(load("train_single.py"))[0]]

    assert settings == [str(python), sys.executable]
    assert any(f"are started with {python} ({variable})" in note for note in load_sweep_notes("train.py"))


def load_sweep_notes(program: str, command: Sequence[str] | None = None) -> Sequence[str]:
    load(program, command)
    return load_sweep(Path("sweep.yaml")).warnings


@pytest.mark.parametrize("prefix", ["", "/nowhere", sys.prefix])
def test_an_environment_that_is_gone_or_our_own_changes_nothing(prefix: str) -> None:
    assert find_python({"VIRTUAL_ENV": prefix}) == (sys.executable, None)


@pytest.mark.parametrize(
    ("program", "command", "n_told"),
    [
        ("sources.fit", ["${interpreter}", "-m", "${program}"], 1),
        ("train.py", ["torchrun", "-m", "sources", "${args}"], 1),
        ("sources.fit:run", None, 1),
        ("pkg.train", ["${interpreter}", "-m", "${program}"], 0),
        ("json.tool", ["${interpreter}", "-m", "${program}"], 0),
        ("train.py", ["${interpreter}", "${program}", "-m", "lr=1"], 0),
    ],
)
def test_a_package_in_src_that_is_not_installed_is_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch, program: str, command: list[str] | None, n_told: int
) -> None:
    for name in ("sources/__init__.py", "sources/fit.py", "pkg/train.py"):
        (folder / "src" / name).parent.mkdir(exist_ok=True)
        (folder / "src" / name).write_text("def run(): pass\n")
    sentence = "sources lies in src/: install it (pip install -e .), or start sweepline with PYTHONPATH=src"
    assert [note.endswith(sentence) for note in load_sweep_notes(program, command) if "src" in note] == [True] * n_told
    monkeypatch.setenv("PYTHONPATH", "src")
    assert not any("src" in note for note in load_sweep_notes(program, command))


def notes(parameters: str, command: str = "['${interpreter}', '${program}', '${args}']", script: str = "") -> list[str]:
    """Return what is noted of a sweep file beside the missing metric."""
    Path("train.py").write_text(script)
    text = f"program: train.py\nname: s\nmetric: {{name: x}}\nparameters: {parameters}\ncommand: {command}\n"
    Path("sweep.yaml").write_text(text)
    return [note.split(": ", 1)[1] for note in load_sweep(Path("sweep.yaml")).warnings]


@pytest.mark.parametrize(
    ("parameters", "command", "script", "begins"),
    [
        ("{lr: [1, 2], output_dir: out}", "['${program}']", "", "parameters.output_dir: all runs write to one folder"),
        ("{lr: [1, 2]}", "['${program}', '--save-dir', 'x']", "", "command.1: all runs write to one folder"),
        (
            "{lr: [1, 2]}",
            "['${program}', '--trainer.default_root_dir=x']",
            "",
            "command.1: all runs write to one folder",
        ),
        ("{lr: [1, 2]}", "['${program}']", "import hydra\n", "Hydra writes to outputs/DATE/TIME"),
        ("{lr: [1, 2]}", "['${program}', '$HOME/x']", "", "command.1: $HOME stays as it is, as no shell reads"),
        (
            "{lr: [1, 2]}",
            "['${program}', '${HOME}']",
            "",
            "command.1: unknown macro ${HOME}: the item is dropped; did you",
        ),
        (
            "{lr: [1, '${envvar:HOME}']}",
            "['${program}']",
            "",
            "parameters.lr: ${envvar:HOME} in a value stays as it is",
        ),
        ("{lr: [010, 1:30]}", "['${program}']", "", "parameters.lr: 010 is read as 8, 1:30 is read as 90; quote what"),
        ("{lr: [3e563]}", "['${program}']", "", "parameters.lr: 3e563 is read as inf; quote what is meant as text"),
    ],
)
def test_what_is_rarely_meant_is_noted_once(parameters: str, command: str, script: str, begins: str) -> None:
    found = notes(parameters, command, script)

    assert [note.startswith(begins) for note in found] == [True], found


@pytest.mark.parametrize(
    ("parameters", "command", "script"),
    [
        ("{lr: [1, 2], output_dir: '${run_dir}'}", "['${program}']", ""),
        ("{lr: [1, 2]}", "['${program}', '--out=${run_dir}/x', '--id', '${run_id}']", ""),
        ("{lr: [1, 2]}", "['${program}', '--out=${envvar:SWEEPLINE_RUN_DIR}']", ""),
        ("{lr: [1, 2], out: [a, b]}", "['${program}', '--output=x_${lr}']", ""),
        ("{lr: {value: 1}, output_dir: out}", "['${program}']", ""),
        ("{lr: [1, 2]}", "['${program}', 'hydra.run.dir=${run_dir}']", "from hydra import main\n"),
        ("{lr: [1, 2], data_dir: /data, layout: out}", "['${program}', '--price=$5']", "# import hydra\n"),
        ("{lr: [0, 10, 0x1F, 1_000, 0.5, .inf]}", "['${program}']", ""),
    ],
)
def test_what_is_meant_is_not_noted(parameters: str, command: str, script: str) -> None:
    assert notes(parameters, command, script) == []


def test_a_number_that_nothing_can_print_is_refused_with_its_line() -> None:
    with pytest.raises(Exception, match=r"sweep.yaml:4: '0xf+…' is a number beyond any use; quote it as text"):
        notes(f"{{lr: [0x{'f' * 20_000}]}}")


@pytest.mark.parametrize(
    ("line", "place"),
    [
        ("python: No module named deep", "src"),
        (
            "Error while finding module specification for 'deep.fit' (ModuleNotFoundError: No module named 'deep')",
            "src",
        ),
        ("ModuleNotFoundError: No module named 'deep.fit'", "src"),
        ("ModuleNotFoundError: No module named 'pkg'", "."),
        ("ModuleNotFoundError: No module named 'deep.nothing'", None),
        ("ModuleNotFoundError: No module named 'bin'", None),
        ("ModuleNotFoundError: No module named 'torch'", None),
        ("ValueError: deep", None),
    ],
)
def test_a_module_that_lies_where_python_does_not_look_is_told_of(line: str, place: str | None) -> None:
    hint = find_hint(["Traceback", line], {"a": 1}, load("train.py"))
    assert hint is None if place is None else hint is not None and hint.endswith(f"PYTHONPATH={place}")
