"""What sites and users do that the commands and files of Slurm's executor have to bear."""

from __future__ import annotations

import json
import os
import stat
import textwrap
from pathlib import Path

import pytest

from sweepline.config.placemodels import SlurmModel
from sweepline.executors.base import Attempt, Task
from sweepline.executors.node.taskfile import decode_task, encode_task
from sweepline.executors.pilot.allocation import find_allocation
from sweepline.executors.places import PilotOptions
from sweepline.executors.slurm.client import SlurmClient
from sweepline.executors.slurm.executor import SlurmExecutor
from sweepline.executors.slurm.options import SlurmOptions
from sweepline.executors.slurm.run import SlurmRun


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of programs that come before Slurm's own."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


def write_program(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/bash\n{textwrap.dedent(text)}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def test_an_sbatch_that_greets_first_still_tells_its_number(programs: Path, tmp_path: Path) -> None:
    write_program(programs, "sbatch", "echo '--- Welcome to the cluster ---'; echo '17;main'")
    assert SlurmClient().submit(tmp_path / "script.sh") == "17"


@pytest.mark.parametrize("name", ["SBATCH_JOB_NAME", "SBATCH_PARTITION", "SBATCH_TIMELIMIT"])
def test_variables_of_sbatch_do_not_replace_what_the_script_says(
    programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "999")
    write_program(programs, "sbatch", f"echo ${{{name}:-1}}")
    assert SlurmClient().submit(tmp_path / "script.sh") == "1"


@pytest.mark.parametrize("key", ["job-name", "clusters"])
def test_an_option_that_hides_jobs_from_the_sweep_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match=key):
        SlurmModel(extra={key: "other"})


def test_a_run_that_outlived_its_sweep_has_its_grace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SlurmClient, "list_jobs", lambda *_: {})
    batch = tmp_path / "slurm" / "batches" / "000001"
    batch.mkdir(parents=True)
    run_dir = tmp_path / "runs" / "a"
    run_dir.mkdir(parents=True)
    task = {"run": "a", "attempt": 1, "number": 1, "grace_s": 600.0}
    told = {"index": 1, **task, "run_dir": str(run_dir), "resources": {"mem_mib": None, "time_s": None, "n_grown": 0}}
    (batch / "tasks.jsonl").write_text(json.dumps(told) + "\n")
    (batch / "job").write_text("7")
    executor = SlurmExecutor(tmp_path, sweep="s", token="t", options=SlurmOptions())
    found = executor.recover([Attempt(run_id="a", attempt=1, run_dir=run_dir)])["a"]
    assert isinstance(found, SlurmRun)
    assert found.grace_s == 600.0


def test_a_variable_that_the_sweep_file_sets_can_be_named_in_its_command(tmp_path: Path) -> None:
    task = Task(
        run_id="a",
        attempt=1,
        argv=["train", "--data=/home/u/x"],
        masked_argv=["train", "--data=${envvar:DATA}"],
        environ={"HOME": "/home/u", "DATA": "/home/u/x"},
        masked_environ={"DATA": "${envvar:HOME}/x"},
        working_dir=tmp_path,
        run_dir=tmp_path,
    )
    inherited = {"HOME": "/home/u"}
    assert decode_task(encode_task(task, inherited), inherited).argv == ["train", "--data=/home/u/x"]


def test_the_nodes_of_other_tasks_of_an_array_are_not_ours(programs: Path) -> None:
    write_program(programs, "srun", "exit 0")
    write_program(
        programs,
        "scontrol",
        """
        [ "$2" = hostnames ] && { echo "$3"; exit; }
        case "$4" in
            *_*) echo '     Nodes=n1 CPU_IDs=0-3 Mem=0 GRES=gpu:1(IDX:0)';;
            *) echo '     Nodes=n2 CPU_IDs=0-3 Mem=0 GRES=gpu:1(IDX:0)'
               echo '     Nodes=n1 CPU_IDs=0-3 Mem=0 GRES=gpu:1(IDX:0)';;
        esac
        """,
    )
    job = {"SLURM_JOB_ID": "7", "SLURM_JOB_NUM_NODES": "2", "SLURMD_NODENAME": "n1"}
    environ = {**job, "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "2"}  # the last task has the array's number
    found = find_allocation(PilotOptions(), is_asked_for=True, environ=environ)
    assert found is not None
    assert [node.name for node in found.nodes] == ["n1"]


def test_ending_one_job_that_waits_filters_by_no_state(programs: Path, tmp_path: Path) -> None:
    """``scancel --state=PENDING 7_20`` of Slurm 22.05 ends all tasks of array 7 that wait."""
    write_program(programs, "scancel", f'echo "$*" >> {tmp_path}/calls')
    SlurmClient().ask_to_end([("7", 20)])
    assert "--state" not in (tmp_path / "calls").read_text()


def test_more_memory_of_no_amount_is_refused() -> None:
    with pytest.raises(ValueError, match="mem"):
        SlurmModel.model_validate({"on_oom": {"mem": "x2"}})


def test_a_signal_before_the_run_can_have_begun_is_refused() -> None:
    with pytest.raises(ValueError, match="margin"):
        SlurmModel.model_validate({"time": "1m", "margin": "2m"})
