"""Runs execute the code that their start was made with, whatever happens to the files meanwhile."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pandas as pd
import pytest

from tests.conftest import Project

# The first run does to the files what a git checkout in the middle of a sweep would do.
TRAIN = """
import argparse, importlib, multiprocessing, os, pathlib, subprocess, sys
import helper
import inner.deep

def show(x):
    print(f"METRIC loss={helper.OLD * x}", flush=True)

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--x", type=int)
    parser.add_argument("--as-child", action="store_true")
    args = parser.parse_args()
    here = pathlib.Path(__file__).resolve().parent
    if args.x == 1 and not args.as_child:
        (here / "helper.py").write_text("OLD = 1000\\n")
        (here / "late.py").unlink()
        (here / "inner" / "deep.py").unlink()
        (here / "inner").rename(here / "outer")
        (here / "tracked.py").write_text("OLD = 1000\\n")
        text = pathlib.Path(__file__).read_text()
        pathlib.Path(__file__).write_text(text.replace("loss=", "loss=9"))
    import late
    other = importlib.import_module("".join(["trac", "ked"]))
    HOW
    print(f"METRIC sum={late.OLD + other.OLD + inner.deep.OLD} epoch=1")
    print("file", pathlib.Path(__file__).name, pathlib.Path(helper.__file__).name)
"""
DIRECTLY = "show(args.x)"
SPAWNED = """p = multiprocessing.get_context("spawn").Process(target=show, args=(args.x,))
    p.start(); p.join(); assert p.exitcode == 0"""
STARTED = """words = [sys.executable, "-u", __file__, "--x", str(args.x), "--as-child"]
    show(args.x) if args.as_child else subprocess.run(words, check=True)"""
SWEEP = """
program: train.py
name: demo
method: grid
metric: {name: loss}
parameters: {x: [1, 2, 3]}
devices: cpu
max_concurrent: 1
start: START
report: never
"""


@pytest.fixture
def toys(project: Project) -> Project:
    """A project with a program of several files, one of which only git knows to be its own."""
    write(project)
    subprocess.run(["git", "init", "-q"], cwd=project.path, check=True)
    subprocess.run(["git", "add", "."], cwd=project.path, check=True)
    return project


def write(project: Project, *, how: str = DIRECTLY, start: str = "cold") -> None:
    """Write the program as it is at first, and its sweep."""
    project.write("train.py", TRAIN.replace("HOW", how))
    for name in ("helper.py", "late.py", "inner/deep.py", "tracked.py"):
        project.write(name, "OLD = 1\n")
    project.write("sweep.yaml", SWEEP.replace("START", start))


def results(project: Project) -> list[tuple[float, float]]:
    """Return what each run printed, in the order of ``x``."""
    rows = project.rows().sort_values("x")
    return list(zip(rows["loss"], rows["sum"], strict=True))


@pytest.mark.parametrize("start", ["cold", "warm"])
@pytest.mark.parametrize("how", [DIRECTLY, SPAWNED, STARTED], ids=["directly", "spawned", "started"])
def test_what_happens_to_the_files_changes_nothing_for_later_runs(toys: Project, how: str, start: str) -> None:
    write(toys, how=how, start=start)
    result = toys.run()
    assert results(toys) == [(1, 3), (2, 3), (3, 3)]
    assert "edited while the sweep runs; this start goes on with what it was (code: frozen)" in result.stdout
    assert result.stdout.count("edited while") == 1
    assert toys.rows()["code"].nunique() == 1
    logs = [path.read_text() for path in toys.sweep_dir.glob("runs/*/stdout.log")]
    assert all("file train.py helper.py" in log for log in logs)


@pytest.mark.parametrize("start", ["cold", "warm"])
def test_a_program_that_is_a_module_is_frozen_too(toys: Project, start: str) -> None:
    toys.write(
        "sweep.yaml",
        SWEEP.replace("program: train.py", "command: [python, -m, train, '${args}']").replace("START", start),
    )
    toys.run()
    assert results(toys) == [(1, 3), (2, 3), (3, 3)]


def test_a_later_start_takes_the_code_as_it_is_or_goes_on_with_what_was_kept(toys: Project) -> None:
    toys.run("--count", "1")
    new = toys.run("--count", "1", "--code", "kept")
    assert results(toys) == [(1, 3), (2, 3)]
    assert "helper.py, train.py as of now would be other code" in new.stdout
    assert "edited while the sweep runs" not in new.stdout
    write(toys)
    toys.write("helper.py", "OLD = 7\n")
    last = toys.run()
    assert results(toys) == [(1, 3), (2, 3), (21, 3)]
    assert "helper.py has changed since 2 of 2 runs ended" in last.stdout
    assert "results of 2 states of the program's code" in last.stdout


def test_code_that_is_gone_cannot_be_gone_on_with(toys: Project) -> None:
    toys.run("--count", "1")
    next(path for path in toys.sweep_dir.glob("code/files/*") if b"OLD" in path.read_bytes()).unlink()
    result = toys.run("--code", "kept")
    assert result.returncode == 2
    assert "--code kept: the code of the latest run was not kept, or is gone" in result.stderr
    assert len(results(toys)) == 1


def test_live_code_is_executed_as_it_is(toys: Project) -> None:
    toys.write("sweep.yaml", SWEEP.replace("START", "cold") + "code: live\n")
    write_simple(toys)
    result = toys.run()
    assert toys.rows()["loss"].tolist() == [1, 1000, 1000]
    assert "helper.py: edited while the sweep runs; runs from here on execute what it is now" in result.stdout
    assert not (toys.sweep_dir / "code").exists()


def write_simple(project: Project) -> None:
    """Write a program whose every run edits a module of it, and asks for its name."""
    project.write("helper.py", "OLD = 1\n")
    project.write(
        "train.py",
        """
        import pathlib, helper
        print(f"METRIC loss={helper.OLD}")
        pathlib.Path(helper.__file__).write_text("OLD = 1000")
        """,
    )


def test_a_program_that_is_no_python_file_is_said_to_be_live(project: Project) -> None:
    project.write("train.sh", "echo METRIC loss=1\n")
    project.write(
        "sweep.yaml", SWEEP.replace("program: train.py", "command: [sh, train.sh, '${args}']").replace("START", "cold")
    )
    result = project.run()
    assert "code: live: the program is no Python file" in result.stdout


def test_a_shell_script_has_its_python_programs_frozen(project: Project) -> None:
    write_simple(project)
    project.write("train.sh", "python train.py\n")
    project.write(
        "sweep.yaml", SWEEP.replace("program: train.py", "command: [sh, train.sh, '${args}']").replace("START", "cold")
    )
    project.run()
    assert project.rows()["loss"].tolist() == [1, 1, 1]


def test_a_start_up_module_of_the_users_own_is_imported_still(toys: Project) -> None:
    write_simple(toys)
    toys.write("own/sitecustomize.py", "print('METRIC own=5')\n")
    toys.run(PYTHONPATH=os.pathsep.join(filter(None, [str(toys.path / "own"), os.environ.get("PYTHONPATH")])))
    assert toys.rows()["own"].tolist() == [5, 5, 5]
    assert toys.rows()["loss"].tolist() == [1, 1, 1]


def test_a_module_that_failed_to_compile_later_is_of_no_consequence(project: Project) -> None:
    write_simple(project)
    project.write("train.py", (project.path / "train.py").read_text().replace("OLD = 1000", "def ("))
    project.write("sweep.yaml", SWEEP.replace("START", "cold"))
    project.run()
    assert project.rows()["loss"].tolist() == [1, 1, 1]


def test_an_interpreter_that_takes_no_part_is_told(project: Project) -> None:
    write_simple(project)
    project.write(
        "sweep.yaml",
        SWEEP.replace("program: train.py", "command: [python, -E, train.py, '${args}']").replace("START", "cold"),
    )
    result = project.run()
    assert "code: live: the Python of the runs does not take part" in result.stdout
    assert result.stdout.count("does not take part") == 1
    assert project.rows()["loss"].tolist() == [1, 1000, 1000]


def test_the_difference_between_two_runs_is_shown_with_the_code(toys: Project) -> None:
    write_simple(toys)
    toys.run("--count", "2")
    toys.write("helper.py", "OLD = 7\nNEW = 8\n")
    toys.run()
    result = toys.command("diff", "x1", "x3")
    assert result.returncode == 1
    lines = result.stdout.splitlines()
    assert lines[1].split() == ["x", "1", "3"]
    assert [line for line in lines if line[:1] in ("+", "-") and line[:3] not in ("+++", "---")] == [
        "-OLD = 1",
        "+OLD = 7",
        "+NEW = 8",
    ]
    same = toys.command("diff", "x1", "x1")
    assert (same.returncode, same.stdout) == (0, "nothing is known to be different\n")
    told = json.loads(toys.command("diff", "x1", str(next(toys.sweep_dir.glob("runs/*"))), "--json").stdout)
    assert set(told) == {"runs", "is_equal", "difference"}


@pytest.mark.parametrize(
    ("word", "said"),
    [("x9", "x9: no such run in outputs/demo"), ("", "no such run"), ("x", "x: no such run in outputs/demo")],
)
def test_a_run_that_is_not_there_is_one_sentence(toys: Project, word: str, said: str) -> None:
    toys.run("--count", "1")
    result = toys.command("diff", "x1", word)
    assert result.returncode == 2
    assert said in result.stderr


def test_a_package_that_is_installed_to_be_edited_is_kept_too(project: Project) -> None:
    """It lies outside the program's folder, and its own files are read through the same door."""
    elsewhere = project.path / "elsewhere"
    project.write("elsewhere/mylib/__init__.py", "from mylib.size import SIZE\n")
    project.write("elsewhere/mylib/size.py", "SIZE = 1\n")
    python = project.path / "env" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(python.parents[1])], check=True)
    site = next((project.path / "env").glob("lib/python3*/site-packages"))
    (site / "_mylib.pth").write_text(f"{elsewhere}\n")
    project.write(
        "work/train.py",
        """
        import pathlib
        import mylib
        print(f"METRIC loss={mylib.SIZE}")
        size = pathlib.Path(mylib.__file__).with_name("size.py")
        size.write_text("SIZE = 100\\n")
        """,
    )
    project.write(
        "work/sweep.yaml",
        f"""
        program: train.py
        command: [{python}, "${{program}}"]
        name: demo
        method: grid
        metric: {{name: loss}}
        parameters: {{x: [1, 2, 3]}}
        devices: cpu
        max_concurrent: 1
        report: never
        """,
    )
    done = project.command("run", "work")
    assert done.returncode == 0, done.stdout + done.stderr
    rows = pd.read_csv(project.path / "work" / "outputs" / "demo" / "runs.csv")
    assert list(rows.loss) == [1, 1, 1]
    assert "size.py: edited while the sweep runs" in done.stdout


def test_code_that_is_set_aside_cannot_be_kept(project: Project) -> None:
    project.write("train.py", "print('METRIC loss=1')\n")
    project.write(
        "sweep.yaml",
        "program: train.py\nname: demo\nmethod: grid\nmetric: {name: loss}\nparameters: {x: [1]}\ndevices: cpu\n",
    )
    project.run()
    done = project.run("--fresh", "--code", "kept")
    assert done.returncode == 2
    assert "leave out one of --fresh, --code kept" in done.stderr
    assert len(project.rows()) == 1


BY_NAME = """
import argparse, importlib, json, pathlib
parser = argparse.ArgumentParser()
parser.add_argument("--x", type=int)
parser.add_argument("--config")
args = parser.parse_args()
net = importlib.import_module("nets." + "net_" + "a")
settings = json.load(open(args.config)) if args.config else {"k": 1}
print(f"METRIC loss={net.SCALE * settings['k'] * args.x}")
"""
ONE_BY_ONE = """
program: train.py
name: demo
method: grid
metric: {name: loss}
parameters: {x: [1, 2, 3, 4]}
devices: cpu
max_concurrent: 1
report: never
"""


def test_a_module_that_is_imported_by_a_computed_name_makes_other_code(project: Project) -> None:
    project.write("train.py", BY_NAME)
    project.write("nets/net_a.py", "SCALE = 1\n")
    project.write("sweep.yaml", ONE_BY_ONE)
    for words in (["init", "-q"], ["add", "train.py", "nets"]):
        subprocess.run(["git", *words], cwd=project.path, check=True, capture_output=True)
    project.run("--count", "2")
    project.write("nets/net_a.py", "SCALE = 100\n")
    done = project.run()
    rows = project.rows().set_index("x")
    assert list(rows.loss.sort_index()) == [1, 2, 300, 400]
    assert rows.code[1] == rows.code[2] != rows.code[3] == rows.code[4]
    assert "nets/net_a.py: changed since 2 of 2 runs ended" in done.stdout
    for name in ("x1", "x3"):
        assert project.command("rerun", name).returncode == 0, name
    assert "SCALE = 100" in project.command("diff", "x1", "x3").stdout


def test_a_config_that_the_command_names_is_what_it_was_to_those_who_open_it(project: Project) -> None:
    project.write("train.py", BY_NAME.replace("print(f", "pathlib.Path('c.json').write_text('{\"k\": 7}'); print(f"))
    project.write("nets/net_a.py", "SCALE = 1\n")
    project.write("settings.yaml", '{"k": 1}\n')
    text = BY_NAME.replace("print(f", "pathlib.Path('settings.yaml').write_text('{\"k\": 7}')\nprint(f")
    project.write("train.py", text)
    command = 'command: ["${interpreter}", "${program}", "--config", settings.yaml, "${args}"]\n'
    project.write("sweep.yaml", ONE_BY_ONE + command)
    done = project.run()
    assert list(project.rows().loss) == [1, 2, 3, 4]
    assert "settings.yaml: edited while the sweep runs; this start goes on with what it was" in done.stdout


def test_source_that_a_library_inspects_is_what_is_executed(project: Project) -> None:
    project.write("ops.py", "def scale(x):\n    return x * 1\n")
    project.write(
        "train.py",
        """
        import argparse, inspect, pathlib
        import ops
        parser = argparse.ArgumentParser()
        parser.add_argument("--x", type=int)
        args = parser.parse_args()
        names = {}
        exec(inspect.getsource(ops.scale), names)
        pathlib.Path("ops.py").write_text("def scale(x):\\n    return x * 500\\n")
        print(f"METRIC loss={names['scale'](args.x)}")
        """,
    )
    project.write("sweep.yaml", ONE_BY_ONE)
    assert project.run().returncode == 0
    assert list(project.rows().loss) == [1, 2, 3, 4]


def test_where_nobody_is_served_later_edits_are_told_as_what_is_executed(project: Project) -> None:
    project.write("helper.py", "SCALE = 1\n")
    project.write(
        "train.py",
        """
        import argparse, pathlib, sys
        sys.path.insert(0, str(pathlib.Path(__file__).parent))
        import helper
        parser = argparse.ArgumentParser()
        parser.add_argument("--x", type=int)
        args = parser.parse_args()
        pathlib.Path(__file__).with_name("helper.py").write_text(f"SCALE = {helper.SCALE + 1}  # {'x' * args.x}\\n")
        print(f"METRIC loss={helper.SCALE}")
        """,
    )
    command = 'command: ["${interpreter}", "-E", "${program}", "${args}"]\nstart: cold\n'
    project.write("sweep.yaml", ONE_BY_ONE + command)
    done = project.run()
    assert list(project.rows().loss) == [1, 2, 3, 4]
    assert "code: live: the Python of the runs does not take part" in done.stdout
    said = done.stdout.partition("does not take part")[2]
    assert "goes on with what it was" not in said
    assert "runs from here on execute what it is now" in said
    assert project.rows().code.nunique() >= 3


def test_a_tracked_config_that_the_program_opens_by_itself_is_told_when_it_changes(project: Project) -> None:
    project.write("c.json", '{"k": 1}\n')
    project.write(
        "train.py",
        """
        import argparse, json, pathlib, time
        parser = argparse.ArgumentParser()
        parser.add_argument("--x", type=int)
        args = parser.parse_args()
        print(f"METRIC loss={json.loads(pathlib.Path('c' + '.json').read_text())['k'] * args.x}")
        time.sleep(0.7)
        pathlib.Path("c" + ".json").write_text('{"k": 3}')
        """,
    )
    project.write("sweep.yaml", ONE_BY_ONE)
    for words in (["init", "-q"], ["add", "train.py", "c.json"]):
        subprocess.run(["git", *words], cwd=project.path, check=True, capture_output=True)
    done = project.run()
    assert list(project.rows().loss) == [1, 6, 9, 12]
    assert "c.json: changed while the sweep runs; what a program opens by itself is not kept" in done.stdout


@pytest.mark.parametrize("link", ["folder", "module"])
def test_modules_behind_links_are_what_they_were(project: Project, link: str) -> None:
    """The link stands where the module is looked for; what is kept is the file that it leads to."""
    project.write("elsewhere/common_utils.py", "SCALE = 1\n")
    project.write(
        "work/train.py",
        f"""
        import argparse, pathlib
        import {"shared.common_utils as utils" if link == "folder" else "utils"}
        parser = argparse.ArgumentParser()
        parser.add_argument("--x", type=int)
        args = parser.parse_args()
        pathlib.Path("../elsewhere/common_utils.py").write_text("SCALE = 100\\n")
        print(f"METRIC loss={{utils.SCALE * args.x}}")
        """,
    )
    if link == "folder":
        (project.path / "work" / "shared").symlink_to("../elsewhere")
    else:
        (project.path / "work" / "utils.py").symlink_to("../elsewhere/common_utils.py")
    project.write("work/sweep.yaml", ONE_BY_ONE)
    assert project.command("run", "work").returncode == 0
    rows = pd.read_csv(project.path / "work" / "outputs" / "demo" / "runs.csv")
    assert list(rows.loss) == [1, 2, 3, 4]
