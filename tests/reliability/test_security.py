"""Secrets stay where they are, names never become paths, planted links lead nowhere, and nothing is ever evaluated."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from sweepline.config.sweepfile import load_sweep
from sweepline.space.plan import Plan
from tests.conftest import DEADLINE_S, REPOSITORY, Project, wait_until
from tests.reliability import IS_SOAK

SWEEP = """
    program: run.py
    name: s
    metric: {name: loss}
    parameters: {x: [1, 2, 3]}
    devices: cpu
    max_concurrent: 2
    logging: {wandb: {project: p, tags: [t]}}
"""
HOLD = """
    import os, pathlib, sys, time
    print("METRIC loss=1", flush=True)
    until = time.monotonic() + 100
    while not pathlib.Path("go").exists() and time.monotonic() < until:
        time.sleep(0.01)
"""
SECRETS = {
    "WANDB_API_KEY": "canary-0123456789abcdef0123456789abcdef01",
    "HF_TOKEN": "canary-hf_abcdefghijklmnop",
    "MY_TOKEN": "canary-mine-$(touch hacked)",
    "AWS_SECRET_ACCESS_KEY": "canary-aws",
    "https_proxy": "http://me:canary-proxy@localhost:1",
}


# secrets


def command_lines(project: Project) -> dict[int, bytes]:
    """Return the argument lists of all processes that were started from the project."""
    found = {}
    for pid in project.survivors():
        try:
            found[pid] = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
    return found


def files_with(text: bytes, folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and text in path.read_bytes()]


@pytest.mark.parametrize(
    "command", [None, '["${interpreter}", "${program}", "${args}"]', '["${program}", "${args_json_file}"]']
)
def test_no_secret_of_the_environment_is_in_a_command_line_or_a_file(project: Project, command: str | None) -> None:
    project.environ |= SECRETS
    project.write("run.py", f"#!{sys.executable}\n").chmod(0o755)
    project.write("run.py", f"#!{sys.executable}\n" + "\n".join(line[4:] for line in HOLD.splitlines()))
    project.write("sweep.yaml", SWEEP + (f"    command: {command}\n" if command else ""))

    process = project.start("run")
    wait_until(lambda: len(list(project.path.glob("outputs/*/runs/*/stdout.log"))) >= 2, "two runs have started")
    wait_until(lambda: all(line for line in command_lines(project).values()), "they are programs")
    lines = command_lines(project)
    project.write("go", "")
    out, err = process.communicate(timeout=DEADLINE_S)
    status, best = project.command("status"), project.command("best")

    assert process.returncode == 0, err
    assert len(lines) >= 4  # the sweep, its keeper, two runs
    assert not [line for line in lines.values() if b"canary" in line]
    assert files_with(b"canary", project.path) == []
    assert "canary" not in out + err + status.stdout + best.stdout
    assert "MY_TOKEN" in (project.sweep_dir / "environment.json").read_text()  # by name


@pytest.mark.parametrize("fate", ["fine", "fails", "cannot start", "preview"])
def test_a_secret_that_a_command_asks_for_reaches_its_run_and_nothing_else(project: Project, fate: str) -> None:
    project.environ |= SECRETS
    project.write("run.py", HOLD + "    sys.exit('--fail' in sys.argv)\n")
    words = ["${interpreter}", "${program}", "--token=${envvar:MY_TOKEN}", "${envvar:HF_TOKEN}", "${args}"]
    if fate == "fails":
        words.append("--fail")
    if fate == "cannot start":
        words.append("x" * 200_000)
    project.write("sweep.yaml", SWEEP + f"    command: {words}\n")

    process = project.start("run", "--keep-going", *(["-n"] if fate == "preview" else []))
    if fate in ("fine", "fails"):
        wait_until(lambda: any(b"canary" in line for line in command_lines(project).values()), "a run has the secret")
    lines = command_lines(project)
    project.write("go", "")
    out, err = process.communicate(timeout=DEADLINE_S)

    assert process.returncode == (0 if fate in ("fine", "preview") else 1), err
    assert all(b"run.py" in line for line in lines.values() if b"canary" in line)
    assert files_with(b"canary", project.path) == []
    assert "canary" not in out + err
    assert list(project.path.rglob("hacked")) == []
    if fate != "preview":
        told = [path.read_text() for path in project.sweep_dir.glob("runs/*/command.txt")]
        assert len(told) == 3
        assert all("${envvar:MY_TOKEN}" in text for text in told)


def test_a_secret_of_the_environment_never_becomes_the_name_of_a_missing_program(project: Project) -> None:
    project.environ |= SECRETS
    project.write("sweep.yaml", SWEEP + '    command: ["${envvar:MY_TOKEN}", "${args}"]\n')

    result = project.run()

    assert result.returncode == 2
    assert "canary" not in result.stdout + result.stderr


# names

NAMES = [
    *["../../x", "/etc/passwd", "..", ".", "...", "/", "\\", "a/../../b", "..\\..\\x", "~root", "~/x", "-rf", "--help"],
    *[
        "x" * 300,
        "🔥",
        "🔥" * 100,
        "火" * 300,
        "𝒳" * 300,
        "é" * 300,
        "CON",
        "nul.txt",
        "a\0b",
        "\0",
        "a\nb",
        "\x1b[31m",
    ],
    *[
        " ",
        "",
        "\u202e",
        "archive",
        "runs",
        "sweep.lock",
        "%s",
        "$(touch hacked)",
        "`touch hacked`",
        "; touch hacked",
        "*",
    ],
]


def quoted(text: str) -> str:
    return '"' + "".join(char if char.isalnum() and char.isascii() else f"\\U{ord(char):08x}" for char in text) + '"'


def tree(folder: Path, *, without: Path) -> dict[str, bytes | None]:
    """Return what is in a folder, contents and all, except for one folder in it."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
        if without not in (path, *path.parents)
    }


@pytest.mark.parametrize("name", NAMES, ids=lambda name: ascii(name)[:20])
def test_a_sweep_of_any_name_is_one_folder_under_outputs(name: str, project: Project) -> None:
    project.write("run.py", "print('METRIC loss=1')")
    path = project.write("sweep.yaml", SWEEP.replace("name: s\n", f"name: {quoted(name)}\n"))

    folder = load_sweep(path).sweep_dir

    assert folder.parent == path.parent / "outputs"
    assert folder.name not in ("", ".", "..")
    assert len(os.fsencode(folder.name)) <= 255
    assert folder.name.isprintable()


def test_parameters_of_any_name_and_value_write_nothing_beside_their_run_folders(project: Project) -> None:
    home = project.path / "a" / "b" / "home"
    project.path.joinpath("a/precious").mkdir(parents=True)
    inner = Project(home, project.token)
    inner.write("run.py", "print('METRIC loss=1')")
    names = [name for name in NAMES if "\0" not in name]
    values = ", ".join(quoted(name) for name in NAMES)
    fixed = "".join(
        f"      {quoted(name)}: {{value: {quoted(name)}}}\n" for name in names if 0 < len(quoted(name)) < 1000
    )
    inner.write(
        "sweep.yaml",
        SWEEP.replace("    parameters: {x: [1, 2, 3]}\n", f"    parameters:\n      x: [{values}]\n{fixed}"),
    )
    before = tree(project.path, without=home / "outputs")

    result = inner.run("--keep-going")

    assert result.returncode == 1, result.stderr
    rows = inner.rows()
    folders = [path.name for path in (inner.sweep_dir / "runs").iterdir()]
    assert "Traceback" not in result.stdout + result.stderr
    assert tree(project.path, without=home / "outputs") == before
    assert len(rows) == len(NAMES)
    assert sorted(folders) == sorted(rows.run_id)
    assert all(len(name) == 12 and set(name) <= set("0123456789abcdef") for name in folders)
    assert set(rows.state) <= {"finished", "spawn_error"}
    assert (rows.state == "finished").sum() == len(names)


# planted links


def plant(path: Path, target: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to(target)


@pytest.fixture
def planted(project: Project) -> Project:
    """A project whose sweep has run twice of three times, and a folder outside of it."""
    project.write("run.py", "import sys; print('METRIC loss=1')")
    project.write("sweep.yaml", SWEEP)
    project.write("outside/precious", "precious\n")
    project.write("outside/folder/precious", "precious\n")
    return project


TARGETS = ["precious", "missing", "folder"]
PLANTED = [
    *[
        "sweep.lock",
        "keeper.lock",
        "events.jsonl",
        "runs.csv",
        "runs.csv.tmp",
        "plan.json",
        "plan.json.tmp",
        "sweep.yaml",
    ],
    *["sweep.yaml.tmp", "best.yaml", "best.yaml.tmp", "sweep.owner", "archive", "quarantine"],
]


BETWEEN = TARGETS if IS_SOAK else []


@pytest.mark.parametrize("name", PLANTED)
@pytest.mark.parametrize(
    ("is_new", "target"),
    [*((True, target) for target in TARGETS), *((False, target) for target in BETWEEN)],
    ids=[
        *(f"before a sweep, {target}" for target in TARGETS),
        *(f"between two starts, {target}" for target in BETWEEN),
    ],
)
def test_a_link_planted_for_a_file_of_the_sweep_leads_nowhere(
    planted: Project, name: str, target: str, is_new: bool
) -> None:
    if not is_new:
        planted.run("--count", "2")
        if (planted.sweep_dir / name).is_dir():
            shutil.rmtree(planted.sweep_dir / name)
    plant(planted.path / "outputs" / "s" / name, planted.path / "outside" / target)

    result = planted.run()

    check_outside(planted)
    assert "Traceback" not in result.stderr, result.stderr
    assert result.returncode in (0, 2), result.stderr


def check_outside(project: Project) -> None:
    outside = project.path / "outside"
    assert {str(path.relative_to(outside)) for path in outside.rglob("*")} == {"precious", "folder", "folder/precious"}
    assert (outside / "precious").read_text() == (outside / "folder" / "precious").read_text() == "precious\n"


RUN_FILES = [
    *[
        "stdout.log",
        "stderr.log",
        "exit.json",
        ".exit.json",
        "overrides.yaml",
        "command.txt",
        "metrics.csv",
    ],
    *["metrics.csv.tmp", "args.json", "config.yaml", "wandb"],
]


def run_ids(project: Project) -> list[str]:
    settings = load_sweep(project.path / "sweep.yaml")
    return [run.run_id for run in Plan(settings.space).runs()]


@pytest.mark.parametrize("target", TARGETS)
def test_links_planted_for_the_files_of_a_run_lead_nowhere(planted: Project, target: str) -> None:
    for run_id in run_ids(planted):
        for name in RUN_FILES:
            plant(planted.path / "outputs" / "s" / "runs" / run_id / name, planted.path / "outside" / target)

    result = planted.run("--keep-going")

    check_outside(planted)
    assert "Traceback" not in result.stderr, result.stderr
    assert result.returncode in (0, 1, 2), result.stderr


@pytest.mark.parametrize("target", TARGETS)
def test_a_link_planted_for_the_folder_of_earlier_attempts_leads_nowhere(planted: Project, target: str) -> None:
    for run_id in run_ids(planted):
        folder = planted.path / "outputs" / "s" / "runs" / run_id
        plant(folder / "attempts", planted.path / "outside" / target)
        (folder / "stdout.log").write_text("of an earlier attempt")

    result = planted.run("--keep-going")

    check_outside(planted)
    assert "Traceback" not in result.stderr, result.stderr
    assert result.returncode in (0, 1, 2), result.stderr


@pytest.mark.parametrize("target", TARGETS)
def test_a_link_planted_for_a_run_folder_is_refused(planted: Project, target: str) -> None:
    plant(planted.path / "outputs" / "s" / "runs" / run_ids(planted)[1], planted.path / "outside" / target)

    result = planted.run("--keep-going")

    check_outside(planted)
    assert "Traceback" not in result.stderr
    assert "is a link" in result.stdout + result.stderr


def test_links_planted_for_the_log_of_the_terminal_are_not_followed(planted: Project) -> None:
    now = datetime.now()
    for second in range(DEADLINE_S):  # one of them is when the sweep starts
        name = f"sweep_{now + timedelta(seconds=second):%Y%m%d_%H%M%S}.log"
        plant(planted.path / "outputs" / name, planted.path / "outside" / ("precious" if second % 2 else "missing"))

    result = planted.run()

    check_outside(planted)
    assert "Traceback" not in result.stderr, result.stderr
    assert result.returncode in (0, 2), result.stderr


# no shell, no evaluation

CANARIES = [
    "$(touch hacked)",
    "`touch hacked`",
    "; touch hacked ;",
    "| touch hacked",
    "&& touch hacked",
    "\ntouch hacked\n",
]
CANARIES += [
    "'; touch hacked; '",
    '"; touch hacked; "',
    "__import__('os').system('touch hacked')",
    "${IFS}touch${IFS}hacked",
]


@pytest.mark.parametrize("is_native", [False, True])
def test_no_value_name_tag_or_metric_is_ever_run(project: Project, is_native: bool) -> None:
    program = "train_single.py" if is_native else "run.py"
    project.write(
        program, "import sys; print('METRIC loss=1 $(touch hacked)\\nMETRIC loss=2'); sys.exit('`touch hacked`')"
    )
    values = ", ".join(quoted(text) for text in CANARIES)
    lines = [f"program: {program}", f"name: {quoted(CANARIES[0])}", "metric: {name: loss}", "devices: cpu"]
    lines += [f"parameters: {{x: [{values}], {quoted(CANARIES[1])}: {quoted(CANARIES[2])}}}"]
    lines += [f"logging: {{wandb: {{group: {quoted(CANARIES[0])}, tags: [{values}], name: {quoted(CANARIES[0])}}}}}"]
    project.write("sweep.yaml", "\n".join(lines) + "\n")

    result = project.run("--keep-going", "--set", "y=$(touch hacked)", "--set", "z=`touch hacked`")
    project.command("status")
    project.command("best")

    assert "Traceback" not in result.stderr
    assert len(project.rows()) == len(CANARIES)
    assert list(project.path.rglob("hacked")) == []


def test_the_line_that_repeats_a_run_repeats_it_and_nothing_else(project: Project) -> None:
    project.write(
        "run.py",
        """
        import os, sys
        print("METRIC loss=1")
        with open("seen", "ab") as file:
            file.write(b"\\0".join(os.fsencode(word) for word in sys.argv[1:]) + b"\\0\\0")
        """,
    )
    project.write("sweep.yaml", SWEEP.replace("[1, 2, 3]", f"[{', '.join(quoted(text) for text in CANARIES)}]"))
    project.run()
    seen = (project.path / "seen").read_bytes()
    (project.path / "seen").unlink()

    for path in project.sweep_dir.glob("runs/*/command.txt"):
        subprocess.run(["sh", str(path)], check=True, env=project.environment(), capture_output=True)

    again = (project.path / "seen").read_bytes()
    assert sorted(again.split(b"\0\0")) == sorted(seen.split(b"\0\0"))
    assert list(project.path.rglob("hacked")) == []


FORBIDDEN_NAMES = {"eval", "exec", "compile", "__import__"}
FORBIDDEN_CALLS = {
    *["os.system", "os.popen", "os.spawnlp", "os.spawnl", "subprocess.getoutput", "subprocess.getstatusoutput"],
    *[
        "yaml.load",
        "yaml.load_all",
        "yaml.unsafe_load",
        "yaml.full_load",
        "pty.spawn",
        "tempfile.mktemp",
        "joblib.load",
    ],
}
FORBIDDEN_MODULES = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "marshal", "shelve", "joblib", "commands"}


def find_dangers(source: str) -> Iterator[str]:
    """Yield what in a program could run data as code, or a text as a command line."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            yield from (f"line {node.lineno}: {name}" for name in names if name.split(".")[0] in FORBIDDEN_MODULES)
            if isinstance(node, ast.ImportFrom):
                imported = {f"{node.module}.{alias.name}" for alias in node.names}
                yield from (f"line {node.lineno}: {name}" for name in imported & (FORBIDDEN_CALLS | {"torch.load"}))
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            is_loose_load = called.endswith("torch.load") and keywords.get("weights_only") != "True"
            is_loose_array = called in ("np.load", "numpy.load") and keywords.get("allow_pickle", "False") != "False"
            has_shell = keywords.get("shell", "False") != "False"
            if called in FORBIDDEN_NAMES | FORBIDDEN_CALLS or is_loose_load or is_loose_array or has_shell:
                yield f"line {node.lineno}: {ast.unparse(node)[:80]}"
        if isinstance(node, ast.Attribute) and node.attr in ("UnsafeLoader", "FullLoader", "Loader", "CLoader"):
            yield f"line {node.lineno}: {ast.unparse(node)}"


@pytest.mark.parametrize(
    "source",
    [
        "import subprocess; subprocess.run('ls', shell=True)",
        "import subprocess; subprocess.run('ls', shell=is_shell)",
        "import os; os.system('ls')",
        "eval('1')",
        "exec('1')",
        "import pickle",
        "from pickle import loads",
        "import torch; torch.load(path)",
        "import torch; torch.load(path, weights_only=False)",
        "from torch import load",
        "import yaml; yaml.load(text, Loader=yaml.UnsafeLoader)",
        "__import__('os')",
        "import numpy as np; np.load(path, allow_pickle=True)",
    ],
)
def test_the_search_for_dangers_finds_each(source: str) -> None:
    assert list(find_dangers(source))


@pytest.mark.parametrize(
    "source",
    ["model.eval()", "re.compile('x')", "torch.load(p, weights_only=True)", "os.execvpe(a, b, c)", "run(['ls'])"],
)
def test_the_search_for_dangers_lets_pass_what_is_none(source: str) -> None:
    assert list(find_dangers(source)) == []


def test_no_source_file_runs_data_as_code_or_text_as_a_command_line() -> None:
    files = [path for folder in ("src", "experiments", "benchmarks") for path in (REPOSITORY / folder).rglob("*.py")]

    found = {str(path.relative_to(REPOSITORY)): list(find_dangers(path.read_text())) for path in files}

    programs = found.pop("src/sweepline/executors/local/keeper/warm_parent/child.py")  # does what an interpreter does
    assert [danger.split("compile(")[1][:6] for danger in programs] == ["f'impo", "source"]
    kept = found.pop("src/sweepline/executors/local/keeper/startup/_sweepline_code.py")  # does what it does as well
    assert [danger.split(": ")[1][:7] for danger in kept] == ["compile", "exec(co", "compile"]
    start_up = found.pop(
        "src/sweepline/executors/local/keeper/startup/sitecustomize.py"
    )  # makes way for the user's own of that name
    assert [danger.split(": ")[1] for danger in start_up] == ["__import__(__name__)"]
    assert len(files) > 40
    assert {path: dangers for path, dangers in found.items() if dangers} == {}
