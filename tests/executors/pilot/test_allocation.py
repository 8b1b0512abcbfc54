"""Which nodes a sweep may fill, as its user, Slurm or a file of another scheduler tells them."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweepline.errors import ExecutorUnavailableError
from sweepline.executors.local.slots import n_cores
from sweepline.executors.pilot.allocation import Node, find_allocation
from sweepline.executors.places import PilotOptions

STARTER = ("env", "NODE=${node}")
NAMED = PilotOptions(nodes=("a", "b"), starter=STARTER)

JOB = """JobId=7 JobName=x
   NumNodes=3 NumCPUs=24
   JOB_GRES=gpu:a100:10
     Nodes=n[1-2] CPU_IDs=8-15 Mem=0 GRES=gpu:a100:4(IDX:0-3)
     Nodes=n5 CPU_IDs=0-3,8-11 Mem=0 GRES=gpu:a100:2(IDX:1,3),nvme:1(IDX:0)
   MinCPUsNode=8
"""


@pytest.fixture
def scontrol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program in the place of scontrol, which says what ``job`` beside it holds."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("scontrol", "srun"):
        (folder / name).write_text(
            "#!/bin/bash\n"
            f'[ "$2" = job ] && exec cat {folder}/job\n'
            '[ "$3" = "n[1-2]" ] && exec printf "n1\\nn2\\n"\necho "$3"\n'
        )
        (folder / name).chmod(0o755)
    (folder / "job").write_text(JOB)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return folder


def test_named_nodes_are_used_where_that_is_asked_for() -> None:
    found = find_allocation(NAMED, is_asked_for=True, environ={})
    assert found is not None
    assert [node.name for node in found.nodes] == ["a", "b"]
    assert found.describe() == f"2 nodes (a, b), {n_cores()} cores each"
    assert not found.is_slurm


def test_nothing_is_found_where_there_is_no_job() -> None:
    assert find_allocation(NAMED, is_asked_for=False, environ={}) is None


def test_slurm_tells_nodes_cores_and_gpus(scontrol: Path) -> None:
    del scontrol
    environ = {"SLURM_JOB_ID": "7", "SLURM_JOB_NUM_NODES": "3", "SLURMD_NODENAME": "n1"}
    found = find_allocation(PilotOptions(), is_asked_for=False, environ=environ)
    assert found is not None
    assert found.nodes == [Node("n1", 8, 4), Node("n2", 8, 4), Node("n5", 8, 2)]
    assert found.starter[:2] == ["srun", "--jobid=7"]
    assert found.describe() == "3 nodes (n1, n2, n5), 2 to 4 GPUs each"


def test_the_one_node_of_a_job_is_this_machine(scontrol: Path) -> None:
    del scontrol
    environ = {"SLURM_JOB_ID": "7", "SLURM_JOB_NUM_NODES": "1", "SLURMD_NODENAME": "n1"}
    assert find_allocation(PilotOptions(), is_asked_for=False, environ=environ) is None


def test_a_shell_that_only_holds_the_job_is_none_of_its_nodes(scontrol: Path) -> None:
    (scontrol / "job").write_text("JobId=7\n     Nodes=n5 CPU_IDs=0-3 Mem=0 GRES=\n")
    found = find_allocation(PilotOptions(), is_asked_for=False, environ={"SLURM_JOB_ID": "7", "SLURM_NNODES": "1"})
    assert found is not None
    assert found.nodes == [Node("n5", 4, 0)]


def test_a_job_of_which_nothing_is_told_is_said(scontrol: Path) -> None:
    (scontrol / "job").write_text("JobId=7 JobName=x\n")
    with pytest.raises(ExecutorUnavailableError, match="the nodes of job 7 cannot be told"):
        find_allocation(PilotOptions(), is_asked_for=True, environ={"SLURM_JOB_ID": "7"})


@pytest.mark.parametrize(
    ("text", "nodes"),
    [
        ("x\nx\nx\ny\n", [Node("x", 3), Node("y", 1)]),
        ("x.cluster slots=4\ny.cluster slots=4\n", [Node("x.cluster", n_cores()), Node("y.cluster", n_cores())]),
    ],
)
def test_other_schedulers_list_their_nodes_in_a_file(tmp_path: Path, text: str, nodes: list[Node]) -> None:
    file = tmp_path / "nodes"
    file.write_text(text)
    found = find_allocation(
        PilotOptions(starter=STARTER), is_asked_for=True, environ={"PBS_NODEFILE": str(file), "PBS_JOBID": "9"}
    )
    assert found is not None
    assert found.nodes == nodes


def test_what_the_user_says_of_nodes_is_taken() -> None:
    options = PilotOptions(nodes=("a",), starter=STARTER, n_gpus=4, n_cpus=48)
    found = find_allocation(options, is_asked_for=True, environ={})
    assert found is not None
    assert found.nodes == [Node("a", 48, 4)]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (PilotOptions(), "executor: pilot needs an allocation"),
        (PilotOptions(nodes=("a",)), "needs the command that starts a process on a node"),
        (PilotOptions(nodes=("a",), starter=("env",)), r"names no \$\{node\}"),
        (PilotOptions(nodes=("a",), starter=("nonesuch", "${node}")), "nonesuch is not on PATH"),
    ],
)
def test_what_cannot_be_is_one_sentence(options: PilotOptions, sentence: str) -> None:
    with pytest.raises(ExecutorUnavailableError, match=sentence):
        find_allocation(options, is_asked_for=True, environ={})


def test_a_list_of_nodes_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ExecutorUnavailableError, match="the list of nodes cannot be read"):
        find_allocation(
            PilotOptions(starter=STARTER), is_asked_for=True, environ={"PBS_NODEFILE": str(tmp_path / "none")}
        )
