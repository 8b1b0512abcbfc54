"""``sweepline doctor`` below limits, in folders that cannot be used, with environments of other kinds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import DEADLINE_S, Project

SECRET = "0123456789abcdef0123456789abcdef01234567"


def examine(project: Project, **environ: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """Return the exit code, and the findings by name."""
    result = project.command("doctor", "--json", **environ)
    assert result.stderr == ""
    told = json.loads(result.stdout)
    assert told["works"] == (result.returncode == 0)
    return result.returncode, {finding["name"]: finding for finding in told["findings"]}


def limited(project: Project, limit: str) -> subprocess.CompletedProcess[str]:
    """Run doctor below a limit of the shell's."""
    command = f'ulimit {limit}; exec "$0" -m sweepline.cli.main doctor'
    return subprocess.run(
        ["bash", "-c", command, sys.executable],
        capture_output=True,
        text=True,
        cwd=project.path,
        env=project.environment(),
        timeout=DEADLINE_S,
        check=False,
    )


def test_where_sweeps_run_each_line_has_a_mark_and_the_code_is_zero(project: Project) -> None:
    result = project.command("doctor")
    assert result.returncode == 0, result.stdout
    assert {line[:6].strip() for line in result.stdout.splitlines()} <= {"ok", "note"}
    assert [*project.path.iterdir()] == []


def test_the_findings_name_everything_that_a_sweep_needs(project: Project) -> None:
    code, found = examine(project)
    assert code == 0
    needed = {"sweepline", "python", "torch", "wandb", "gpus", "slots", "cpu", "memory", "processes", "supervision"}
    assert needed | {"descriptors", "folder", "locks", "room"} <= found.keys()


def test_too_few_descriptors_fail_with_what_to_do(project: Project) -> None:
    result = limited(project, "-n 34")
    assert result.returncode == 1
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("FAILED")]
    assert "FAILED descriptors: 34;" in line
    assert "ulimit -n" in line


def test_a_limit_of_real_time_is_told(project: Project) -> None:
    result = limited(project, "-R 1000000")
    assert "note   supervision: there is a limit of real-time processor time (ulimit -R)" in result.stdout


@pytest.mark.skipif(not Path("/sys/kernel").is_dir(), reason="needs a folder in which nobody can write")
def test_a_folder_that_cannot_be_written_fails(project: Project) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "sweepline.cli.main", "doctor"],
        capture_output=True,
        text=True,
        cwd="/sys/kernel",
        env=project.environment(),
        timeout=DEADLINE_S,
        check=False,
    )
    assert result.returncode == 1
    assert "FAILED folder: /sys/kernel: " in result.stdout


def test_the_key_is_named_by_its_place_and_never_shown(project: Project) -> None:
    netrc = project.write("keys/netrc", f"machine api.wandb.ai login user password {SECRET}\n")
    netrc.chmod(0o600)
    by_variable = project.command("doctor", WANDB_API_KEY=SECRET).stdout
    by_file = project.command("doctor", NETRC=str(netrc)).stdout
    assert "key of api.wandb.ai in WANDB_API_KEY" in by_variable
    assert f"key of api.wandb.ai in {netrc}" in by_file
    assert SECRET not in by_variable + by_file


def test_without_a_key_runs_are_said_to_be_tracked_offline(project: Project) -> None:
    _, found = examine(project)
    assert found["wandb"]["standing"] == "note"
    assert "no key of api.wandb.ai" in found["wandb"]["found"]


def test_packages_are_looked_for_in_the_environment_that_runs_programs(project: Project) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", project.path / "own"], check=True)
    _, found = examine(project, VIRTUAL_ENV=str(project.path / "own"))
    assert found["python"]["found"].startswith(f"{project.path / 'own' / 'bin' / 'python'}, Python 3.")
    assert "not installed" in found["torch"]["found"]
    assert found["torch"]["advice"].endswith("into the environment that runs programs")


def test_an_interpreter_that_does_not_answer_fails(project: Project) -> None:
    broken = project.write("broken/bin/python", "#!/bin/sh\necho no such library >&2\nexit 127\n")
    broken.chmod(0o755)
    code, found = examine(project, VIRTUAL_ENV=str(project.path / "broken"))
    assert code == 1
    assert found["python"]["found"].endswith("which runs programs: no such library")


def test_an_activated_environment_without_a_python_is_noted(project: Project) -> None:
    _, found = examine(project, VIRTUAL_ENV=str(project.path / "gone"))
    assert found["python"]["standing"] == "note"
    assert "has no bin/python" in found["python"]["found"]


def test_neither_torch_nor_wandb_is_imported() -> None:
    script = (
        "import sys; from sweepline.cli.main import main; main(['doctor', '--json']); "
        "print(sorted({'torch', 'pandas', 'wandb', 'numpy', 'rich'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"
