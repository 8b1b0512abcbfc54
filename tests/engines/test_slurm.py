"""Sweeps whose runs are jobs of a real Slurm cluster of two nodes with four GPUs each, which none are."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.conftest import Project, wait_until
from tests.engines.slurmcluster import SlurmCluster

pytestmark = pytest.mark.engines

# Trains so many steps, keeps the next one in its folder, and tells where and when it ran.
PROGRAM = """
    import argparse, json, os, signal, sys, time
    parser = argparse.ArgumentParser()
    parser.add_argument("--x", type=float)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--pause", type=float, default=0.1)
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    state = os.path.join(os.environ["SWEEPLINE_RUN_DIR"], "ckpt", "step")
    os.makedirs(os.path.dirname(state), exist_ok=True)
    first = int(open(state).read()) if os.path.exists(state) else 0
    began = time.time()
    for step in range(first, args.steps):
        print(f"METRIC step={step} loss={args.x + 1 / (step + 1)} first={first}", flush=True)
        time.sleep(args.pause)
        with open(state + ".new", "w") as file:
            file.write(str(step + 1))
        os.replace(state + ".new", state)
    where = [os.environ.get("SLURMD_NODENAME"), os.environ.get("CUDA_VISIBLE_DEVICES")]
    with open("uses.jsonl", "a") as file:
        file.write(json.dumps([*where, began, time.time(), os.environ["SWEEPLINE_RUN_ID"]]) + "\\n")
    """
SWEEP = """
    program: train.py
    name: jobs
    metric: {{name: loss, goal: minimize}}
    parameters:
      x: {{values: {values}}}
      steps: {{value: {steps}}}
      pause: {{value: {pause}}}
    executor: slurm
    grace: 5s
    slurm: {{poll: 1s, {slurm}}}
    {more}
    """


@pytest.fixture
def jobs(project: Project, cluster: SlurmCluster) -> Iterator[Project]:
    """A project whose sweeps are jobs of the cluster, and which leaves none."""
    project.write("train.py", PROGRAM)
    project.environ["SLURM_CONF"] = cluster.environ["SLURM_CONF"]
    yield project
    cluster.settle()


def write_sweep(
    project: Project, n: int, *, steps: int = 4, pause: float = 0.1, slurm: str = "", more: str = ""
) -> None:
    values = [round(0.1 * i, 1) for i in range(n)]
    project.write("sweep.yaml", SWEEP.format(values=values, steps=steps, pause=pause, slurm=slurm, more=more))


def uses(project: Project) -> list[list[Any]]:
    """Return where each run was that came to its end: node, devices, from, to, run."""
    return [json.loads(line) for line in (project.path / "uses.jsonl").read_text().splitlines()]


def n_overlaps(found: list[list[Any]]) -> int:
    """Return how often two runs were on one device of one node at a time."""
    by_device: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for node, devices, began, ended, _ in found:
        for device in devices.split(","):
            by_device.setdefault((node, device), []).append((began, ended))
    return sum(
        later[0] < earlier[1]
        for spans in by_device.values()
        for earlier, later in zip(sorted(spans), sorted(spans)[1:], strict=False)
    )


def batches(project: Project) -> list[Path]:
    """Return the folders of the arrays that were submitted."""
    return sorted((project.path / "outputs" / "jobs" / "slurm" / "batches").iterdir())


def run_dirs(project: Project) -> list[Path]:
    folder = project.path / "outputs" / "jobs" / "runs"
    return sorted(folder.iterdir()) if folder.is_dir() else []


def printed(project: Project) -> str:
    return "".join(log.read_text() for run_dir in run_dirs(project) if (log := run_dir / "stdout.log").exists())


def check_complete(project: Project, n: int) -> pd.DataFrame:
    rows = project.rows()
    assert len(rows) == n == rows["run_id"].nunique()
    assert set(rows["state"]) == {"finished"}
    assert all(abs(row.loss - (row.x + 1 / 4)) < 1e-9 for row in rows.itertuples())
    return rows


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, cluster: SlurmCluster) -> Project:
    """A sweep of 24 runs that nothing has happened to."""
    project = Project(tmp_path_factory.mktemp("whole"))
    project.environ["SLURM_CONF"] = cluster.environ["SLURM_CONF"]
    project.write("train.py", PROGRAM)
    write_sweep(project, 24, slurm="gres: 'gpu:1'", more="env: {TOKEN: '${envvar:SECRET_OF_MINE}'}")
    ended = project.run(SECRET_OF_MINE="s3cr3t-value")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return project


class TestAWholeSweep:
    """A sweep that nothing happens to."""

    def test_every_run_has_its_row(self, done: Project) -> None:
        check_complete(done, 24)

    def test_no_two_runs_share_a_device(self, done: Project) -> None:
        found = uses(done)
        assert len(found) == 24
        assert {node for node, *_ in found} == {"n1", "n2"}
        assert n_overlaps(found) == 0

    def test_each_run_has_a_log_of_its_job_by_its_number(self, done: Project) -> None:
        logs = sorted(path.name for path in (done.sweep_dir / "slurm_logs").iterdir())
        assert logs == [f"jobs_run_{i:03}.out" for i in range(1, 25)]
        assert "exit code 0" in (done.sweep_dir / "slurm_logs" / logs[0]).read_text()

    def test_all_of_it_was_one_array(self, done: Project) -> None:
        assert len(list((done.sweep_dir / "slurm" / "batches").iterdir())) == 1

    def test_a_run_tells_its_job_and_node(self, done: Project) -> None:
        told = json.loads((run_dirs(done)[0] / "job.json").read_text())
        assert told["job"].isdecimal()

    def test_nothing_is_left_in_the_mailbox(self, done: Project) -> None:
        assert [*(done.sweep_dir / "slurm" / "ends").iterdir(), *(done.sweep_dir / "slurm" / "stops").iterdir()] == []

    def test_no_secret_is_in_any_file(self, done: Project) -> None:
        files = [path for path in done.path.rglob("*") if path.is_file()]
        assert not [path for path in files if b"s3cr3t" in path.read_bytes()]

    def test_a_second_start_runs_nothing(self, done: Project) -> None:
        assert done.run(SECRET_OF_MINE="x").returncode == 0
        assert len(uses(done)) == 24

    def test_a_dry_run_shows_the_script_that_was_submitted(self, done: Project) -> None:
        shown = [line.strip() for line in done.run("-n", "--fresh", SECRET_OF_MINE="x").stdout.splitlines()]
        script = (batches(done)[0] / "script.sh").read_text().replace(batches(done)[0].name, "000001-xxxx").splitlines()
        assert [line for line in script if line not in shown] == []


def test_a_run_reads_what_the_environment_holds(jobs: Project) -> None:
    jobs.write("train.py", "import os\nprint('METRIC loss=' + os.environ['TOKEN'])\n")
    write_sweep(jobs, 1, more="env: {TOKEN: '${envvar:SECRET_OF_MINE}'}")
    assert jobs.run(SECRET_OF_MINE="41.5").returncode == 0
    assert list(jobs.rows()["loss"]) == [41.5]


def test_a_sweep_that_is_killed_finds_its_jobs_again(jobs: Project, cluster: SlurmCluster) -> None:
    write_sweep(jobs, 6, steps=12, pause=0.4)
    first = jobs.start("run")
    wait_until(lambda: printed(jobs).count("METRIC step=2") == 6, "all are under way")
    kill(first)
    n_before = len(cluster.call("squeue", "-h", "-r").splitlines())
    ended = jobs.run("--plain")
    assert n_before == 6  # they went on
    assert "outlived the sweep that started it" in ended.stdout
    rows = jobs.rows()
    assert set(rows["state"]) == {"finished"}
    assert set(rows["attempt"]) == {1}
    assert len(uses(jobs)) == 6


def test_jobs_that_end_while_nobody_looks_are_recorded(jobs: Project, cluster: SlurmCluster) -> None:
    write_sweep(jobs, 4, pause=0.5)
    first = jobs.start("run")
    wait_until(lambda: printed(jobs).count("METRIC step=0") == 4, "all are under way")
    kill(first)
    wait_until(lambda: cluster.call("squeue", "-h") == "", "the jobs have ended")
    assert jobs.run().returncode == 0
    assert set(check_complete(jobs, 4)["attempt"]) == {1}


def test_ctrl_c_ends_the_jobs_and_the_next_start_goes_on(jobs: Project, cluster: SlurmCluster) -> None:
    write_sweep(jobs, 4, steps=40, pause=0.1)
    first = jobs.start("run")
    wait_until(lambda: printed(jobs).count("METRIC step=2") == 4, "all are under way")
    first.send_signal(signal.SIGINT)
    first.communicate(timeout=60)
    assert cluster.call("squeue", "-h") == ""
    assert set(jobs.rows()["state"]) == {"interrupted"}
    assert jobs.run().returncode == 0
    rows = jobs.rows()
    assert set(rows["state"]) == {"finished"}
    assert rows["first"].min() > 1  # from where they were


def test_a_node_that_dies_costs_no_run(jobs: Project, cluster: SlurmCluster) -> None:
    write_sweep(jobs, 8, steps=60, pause=0.5, slurm="gres: 'gpu:1'")
    sweep = jobs.start("run", "--plain")
    wait_until(lambda: printed(jobs).count("METRIC step=2") == 8, "all are under way")
    cluster.kill("n2")
    cluster.call("scontrol", "update", "NodeName=n2", "State=down", "Reason=test")  # as after SlurmdTimeout
    try:
        out, _ = sweep.communicate(timeout=120)
    finally:
        cluster.start_node("n2")
        cluster.call("scontrol", "update", "NodeName=n2", "State=resume")
        wait_until(lambda: cluster.count_nodes("idle") == 2, "the node is back")
    rows = jobs.rows()
    assert sweep.returncode == 0, out
    assert set(rows["state"]) == {"finished"}
    assert sorted(rows["attempt"]) == [1, 1, 1, 1, 2, 2, 2, 2]
    assert all(rows[rows["attempt"] == 2]["first"] > 1)
    assert "its job: node fail (n2)" in out
    assert len(uses(jobs)) == 8  # nobody came to the end twice: the first attempt was ended


def test_a_job_that_makes_room_for_another_goes_on_later(jobs: Project, cluster: SlurmCluster) -> None:
    write_sweep(jobs, 2, steps=100, pause=0.2, slurm="extra: {exclusive: true}, partition: normal")
    sweep = jobs.start("run", "--plain")
    wait_until(lambda: printed(jobs).count("METRIC step=2") == 2, "both are under way")
    urgent = cluster.call("sbatch", "--parsable", "-p", "urgent", "--exclusive", "-o", "/dev/null", "--wrap", "sleep 3")
    out, _ = sweep.communicate(timeout=100)
    assert urgent.strip().isdecimal()
    rows = jobs.rows()
    assert sweep.returncode == 0, out
    assert set(rows["state"]) == {"finished"}
    assert sorted(rows["attempt"]) == [1, 2]
    assert "taken back" in out


def test_a_job_that_somebody_cancels_is_not_started_again(jobs: Project, cluster: SlurmCluster) -> None:
    write_sweep(jobs, 2, steps=20, pause=0.2)
    sweep = jobs.start("run", "--plain")
    wait_until(lambda: printed(jobs).count("METRIC step=2") == 2, "both are under way")
    number = (batches(jobs)[0] / "job").read_text()
    cluster.call("scancel", f"{number}_1")
    sweep.communicate(timeout=60)
    rows = jobs.rows().set_index("x")
    assert list(rows["state"].sort_values()) == ["finished", "pruned"]
    assert "stopped by hand" in "".join(rows["reason"].fillna(""))


def test_a_controller_that_is_away_costs_no_run(jobs: Project, cluster: SlurmCluster) -> None:
    write_sweep(jobs, 4, steps=10, pause=0.3, more="max_concurrent: 2")
    sweep = jobs.start("run", "--plain")
    wait_until(lambda: printed(jobs).count("METRIC step=1") == 2, "two are under way")
    cluster.kill("slurmctld")
    time.sleep(4.0)  # the two end meanwhile, and the next cannot be submitted
    cluster.start_controller()
    out, _ = sweep.communicate(timeout=110)
    assert sweep.returncode == 0, out
    rows = jobs.rows()  # what Slurm could not launch meanwhile goes again
    assert set(rows["state"]) == {"finished"}, out
    assert len(uses(jobs)) == 4, out + rows.to_string()


def test_what_slurm_refuses_is_said_once_in_its_words(jobs: Project) -> None:
    write_sweep(jobs, 2, slurm="partition: nonesuch")
    ended = jobs.run("--plain")
    assert ended.returncode == 1
    assert "invalid partition specified: nonesuch" in ended.stdout
    assert "Traceback" not in ended.stderr


def test_a_job_whose_setup_fails_says_where_to_look(jobs: Project) -> None:
    write_sweep(jobs, 1, slurm="setup: ['echo no such module >&2', 'exit 3']")
    ended = jobs.run("--plain")
    assert ended.returncode == 1
    assert "slurm_logs/" in ended.stdout
    log = next((jobs.sweep_dir / "slurm_logs").iterdir())
    assert "no such module" in log.read_text()


def test_a_variable_that_does_not_reach_the_node_is_named(jobs: Project) -> None:
    write_sweep(jobs, 1, slurm="extra: {export: NONE}", more="env: {TOKEN: '${envvar:SECRET_OF_MINE}'}")
    ended = jobs.run("--plain", SECRET_OF_MINE="41.5")
    assert "SECRET_OF_MINE is not set on" in ended.stdout


def test_early_stopping_ends_jobs(jobs: Project) -> None:
    rule = "early_terminate: {type: median, warmup: 2, min_runs: 2}"
    write_sweep(jobs, 8, steps=40, pause=0.1, more=f"{rule}\n    max_concurrent: 4")
    ended = jobs.run("--plain")
    states = list(jobs.rows()["state"])
    assert states.count("pruned") >= 1, ended.stdout
    assert set(states) == {"finished", "pruned"}


def cgroup_memory() -> str:
    """Return why no limit of memory can be set here; nothing where one can."""
    folder = Path("/sys/fs/cgroup/memory")
    return "" if os.access(folder, os.W_OK) and (folder / "memory.limit_in_bytes").exists() else "no cgroup v1 here"


@pytest.fixture
def small_cgroup() -> Iterator[Path]:
    reason = cgroup_memory()
    if reason:
        pytest.skip(reason)
    folder = Path(f"/sys/fs/cgroup/memory/sweepline-test-{os.getpid()}")
    folder.mkdir()
    (folder / "memory.limit_in_bytes").write_text(str(200 << 20))
    yield folder
    wait_until(lambda: (folder / "cgroup.procs").read_text() == "", "nothing is in the group any more")
    folder.rmdir()


def test_a_run_killed_for_its_memory_goes_again_with_more(jobs: Project, small_cgroup: Path) -> None:
    # What the job asks for is what it gets: the first attempt is put under a limit, the second is not.
    jobs.write("train.py", "x = bytearray(400 << 20)\nprint('METRIC loss=1')\n")
    asks = "scontrol show job $SLURM_JOB_ID | grep -q MinMemoryNode=150M"
    limited = f"! {asks} || echo $$ > {small_cgroup}/cgroup.procs"
    write_sweep(jobs, 1, slurm=f"mem: 150M, on_oom: {{mem: x4}}, setup: [{json.dumps(limited)}]")
    ended = jobs.run("--plain")
    assert ended.returncode == 0, ended.stdout
    assert "goes again with 600 MiB" in ended.stdout
    row = jobs.rows().iloc[0]
    assert (row["state"], row["attempt"]) == ("finished", 2)
    assert "--mem=600M" in (batches(jobs)[1] / "script.sh").read_text()


def test_a_run_taken_back_goes_on_with_the_code_it_was_started_with(jobs: Project, cluster: SlurmCluster) -> None:
    write_sweep(jobs, 1, steps=30, pause=0.2)
    first = jobs.start("run")
    wait_until(lambda: printed(jobs).count("METRIC step=2") == 1, "it is under way")
    kill(first)
    jobs.write("train.py", PROGRAM.replace("loss={args.x", "loss={100 + args.x"))
    node = cluster.call("squeue", "-h", "-o", "%N").strip()
    cluster.call("scontrol", "update", f"NodeName={node}", "State=down", "Reason=test")
    cluster.call("scontrol", "update", f"NodeName={node}", "State=resume")
    ended = jobs.run("--plain")
    row = jobs.rows().iloc[0]
    assert (row["state"], row["attempt"]) == ("finished", 2), ended.stdout
    assert row["loss"] < 1
    assert "goes on with the code that it was started with" in ended.stdout


def test_two_hundred_runs_and_more_in_arrays_of_ten(jobs: Project, cluster: SlurmCluster) -> None:
    del cluster
    write_sweep(jobs, 30, steps=1, pause=0.0, more="max_concurrent: 12")
    assert jobs.run().returncode == 0
    assert len(jobs.rows()) == 30
    assert len(list((jobs.sweep_dir / "slurm_logs").iterdir())) == 30
