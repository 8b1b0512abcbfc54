"""Sweeps that fill an allocation of a real Slurm cluster of two nodes with four GPUs each, which none are."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests.conftest import Project, wait_until
from tests.engines.slurmcluster import SlurmCluster
from tests.engines.test_slurm import PROGRAM, n_overlaps, printed, run_dirs, uses

pytestmark = pytest.mark.engines

SWEEP = """
    program: train.py
    name: jobs
    metric: {{name: loss, goal: minimize}}
    parameters:
      x: {{values: {values}}}
      steps: {{value: {steps}}}
      pause: {{value: {pause}}}
    grace: 5s
    {more}
    """


@pytest.fixture
def pilot(project: Project, cluster: SlurmCluster) -> Iterator[Project]:
    """A project whose sweep is submitted as one job of two nodes; it leaves no job behind."""
    project.write("train.py", PROGRAM)
    project.environ["SLURM_CONF"] = cluster.environ["SLURM_CONF"]
    yield project
    cluster.settle()


def write_sweep(project: Project, n: int, *, steps: int = 4, pause: float = 0.1, more: str = "") -> None:
    values = [round(0.1 * i, 1) for i in range(n)]
    project.write("sweep.yaml", SWEEP.format(values=values, steps=steps, pause=pause, more=more))


def submit(project: Project, *options: str, command: str = "run --plain") -> str:
    """Submit the sweep as one job, and return its number."""
    project.write("job.sh", f"#!/bin/bash\nexec {sys.executable} -m sweepline.cli.main {command} >> out.txt 2>&1\n")
    words = ["sbatch", "--parsable", "--requeue", "--open-mode=append", "-o", "slurm.out", *options, "job.sh"]
    done = subprocess.run(
        words, cwd=project.path, env=project.environment(), capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


WHOLE = ("--nodes=2", "--ntasks-per-node=8", "--gres=gpu:4")


def said(project: Project) -> str:
    path = project.path / "out.txt"
    return path.read_text() if path.exists() else ""


def wait_for_end(cluster: SlurmCluster) -> None:
    wait_until(lambda: cluster.call("squeue", "-h") == "", "the job has ended")


def check_complete(project: Project, n: int) -> None:
    rows = project.rows()
    assert len(rows) == n == rows["run_id"].nunique(), said(project)
    assert set(rows["state"]) == {"finished"}, rows.to_string()


def test_a_sweep_fills_all_nodes_and_gpus_of_its_job(pilot: Project, cluster: SlurmCluster) -> None:
    write_sweep(pilot, 16, steps=6)
    submit(pilot, *WHOLE)
    wait_for_end(cluster)
    check_complete(pilot, 16)
    assert {(node, devices) for node, devices, *_ in uses(pilot)} == {
        (n, str(i)) for n in ("n1", "n2") for i in range(4)
    }
    assert n_overlaps(uses(pilot)) == 0
    assert "runs execute on 2 nodes (n1, n2), 4 GPUs each" in said(pilot)


def test_several_runs_share_a_gpu_where_that_is_asked(pilot: Project, cluster: SlurmCluster) -> None:
    write_sweep(pilot, 16, steps=20, more="runs_per_device: 2")
    submit(pilot, *WHOLE)
    wait_for_end(cluster)
    check_complete(pilot, 16)
    spans = [(began, ended) for node, devices, began, ended, _ in uses(pilot) if (node, devices) == ("n2", "3")]
    assert len(spans) == 2
    assert max(began for began, _ in spans) < min(ended for _, ended in spans)


def test_a_job_that_is_requeued_again_and_again_loses_nothing(pilot: Project, cluster: SlurmCluster) -> None:
    write_sweep(pilot, 24, steps=10, pause=0.2, more="runs_per_device: 2")
    number = submit(pilot, *WHOLE)
    for life in range(1, 4):
        wait_until(lambda n=8 * life: len(run_dirs(pilot)) >= n, "runs are under way")
        wait_until(lambda n=life: said(pilot).count("started ") > 16 * (n - 1), "runs have begun in this life")
        time.sleep(0.5)
        cluster.call("scontrol", "requeue", number)
        n_lives = life
        wait_until(lambda n=n_lives: f"Restarts={n}" in cluster.call("scontrol", "show", "job", number), "it waits")
        cluster.call("scontrol", "release", number)
        wait_until(lambda: cluster.call("squeue", "-h", "-t", "RUNNING") != "", "it runs again")
    wait_for_end(cluster)
    check_complete(pilot, 24)
    assert len(uses(pilot)) == len({run for *_, run in uses(pilot)}) == 24
    assert pilot.rows()["attempt"].max() > 1


def test_in_an_allocation_that_is_held_from_elsewhere_the_nodes_are_used(pilot: Project) -> None:
    # As on a login node after salloc: this machine is none of the nodes.
    write_sweep(pilot, 4)
    words = ["salloc", "-Q", "--nodes=1", "--ntasks=4", sys.executable, "-m", "sweepline.cli.main", "run", "--plain"]
    done = subprocess.run(
        words, cwd=pilot.path, env=pilot.environment(), capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "runs execute on 1 node (n" in done.stdout
    check_complete(pilot, 4)


def test_a_step_that_somebody_cancels_costs_no_run(pilot: Project, cluster: SlurmCluster) -> None:
    write_sweep(pilot, 16, steps=15, pause=0.2)
    submit(pilot, *WHOLE, "--no-kill")
    wait_until(lambda: printed(pilot).count("METRIC step=2") >= 8, "all GPUs are used")
    steps = cluster.call("squeue", "--steps", "-h", "-o", "%i|%j|%N").splitlines()
    of_n2 = next(line.partition("|")[0] for line in steps if "|sweepline-" in line and line.endswith("n2"))
    cluster.call("scancel", of_n2)
    wait_for_end(cluster)
    check_complete(pilot, 16)
    rows = pilot.rows()
    assert sorted(rows["attempt"]) == [1] * 12 + [2] * 4
    assert all(rows[rows["attempt"] == 2]["first"] > 1)  # from where they were
    assert len(uses(pilot)) == 16


def test_a_sweep_killed_in_its_allocation_goes_on_there(pilot: Project, cluster: SlurmCluster) -> None:
    write_sweep(pilot, 8, steps=80, pause=0.1)
    pilot.write(
        "twice.sh",
        f"""
        #!/bin/bash
        {sys.executable} -m sweepline.cli.main run --plain >> out.txt 2>&1 &
        sleep 5; kill -9 $!; wait
        exec {sys.executable} -m sweepline.cli.main run --plain >> out.txt 2>&1
        """,
    )
    subprocess.run(
        ["sbatch", "-o", "slurm.out", *WHOLE, "twice.sh"], cwd=pilot.path, env=pilot.environment(), check=True
    )
    wait_for_end(cluster)
    check_complete(pilot, 8)
    assert len(uses(pilot)) == 8  # what the first start had begun was ended, not left


def test_a_signal_before_the_end_of_the_job_lets_runs_save(pilot: Project, cluster: SlurmCluster) -> None:
    write_sweep(pilot, 4, steps=100, pause=0.1)
    number = submit(pilot, *WHOLE)
    wait_until(lambda: printed(pilot).count("METRIC step=3") == 4, "all are under way")
    cluster.call("scancel", f"--signal={signal.SIGTERM.value}", "--batch", number)
    wait_for_end(cluster)
    assert set(pilot.rows()["state"]) == {"interrupted"}
