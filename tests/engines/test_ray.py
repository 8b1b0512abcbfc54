"""Sweeps on a cluster of Ray: three nodes in one host, whose GPUs are none; nodes, workers and sweeps are killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest

from sweepline.contract.runfolder import JOB
from sweepline.executors.base import StopReason
from sweepline.executors.places import RayOptions
from sweepline.executors.ray import executor as ray_executor
from sweepline.executors.ray.executor import RayExecutor
from tests.conftest import Project, wait_until
from tests.executors.test_contract import PROGRAM, start, task_of, wait_for_end
from tests.rayclusters import NEEDS_RAY, RayCluster, find_processes, shared_cluster
from tests.reliability import IS_SOAK

AT_LENGTH = pytest.mark.skipif(not IS_SOAK, reason="takes minutes: SWEEPLINE_SOAK=1 make test-engines")
pytestmark = [pytest.mark.engines, pytest.mark.ray, NEEDS_RAY, pytest.mark.timeout(300)]

# Tells its loss, when it ran and on which device; two processes of one run at a time leave a file that says so.
TRAIN = """
import fcntl, os, pathlib, signal, sys, time
arguments = dict(word.removeprefix("--").split("=") for word in sys.argv[1:])
started = time.monotonic()
lock = open(pathlib.Path(__file__).with_name(os.environ["SWEEPLINE_RUN_ID"] + ".lock"), "w")
try:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
except OSError:
    lock_path = pathlib.Path(__file__).with_name("doubled")
    lock_path.touch()
def save(*_):
    print("METRIC saved=1", flush=True)
    sys.exit(1)
signal.signal(signal.SIGTERM, save)
print("METRIC begun=1", flush=True)
time.sleep(float(arguments["seconds"]))
device = os.environ.get("CUDA_VISIBLE_DEVICES") or -1
print(f"METRIC loss={int(arguments['x']) / 4} started={started} ended={time.monotonic()} gpu={device}")
"""
SWEEP = """
program: train.py
method: grid
metric: {{name: loss, goal: minimize}}
executor: ray
grace: 20
ray: {{num_gpus: {num_gpus}, num_cpus: 1}}
parameters:
  seconds: {{value: {seconds}}}
  x: {{values: {values}}}
"""
HIDDEN = "import sys; sys.modules['ray'] = None; from sweepline.cli.main import main; sys.exit(main())"


def write_sweep(project: Project, *, n: int, seconds: float, num_gpus: float = 1) -> None:
    project.write("train.py", TRAIN)
    project.write("sweep.yaml", SWEEP.format(num_gpus=num_gpus, seconds=seconds, values=list(range(n))))


@pytest.fixture
def cluster() -> Iterator[RayCluster]:
    """A head on which nothing runs, and three nodes of two GPUs each."""
    made = RayCluster({"num_cpus": 0}, *[{"num_cpus": 2, "num_gpus": 2}] * 3)
    yield made
    made.close()


@pytest.fixture
def on_cluster(project: Project, cluster: RayCluster) -> Project:
    """A project whose sweeps run on the cluster."""
    project.environ["RAY_ADDRESS"] = cluster.address
    return project


def finished_rows(project: Project, n: int) -> pd.DataFrame:
    """Return the rows, which are ``n`` and all right."""
    rows = project.rows().sort_values("x")
    assert list(rows.x) == list(range(n))
    assert set(rows.state) == {"finished"}, rows[["state", "reason"]]
    assert list(rows.loss) == [x / 4 for x in range(n)]
    assert not (project.path / "doubled").exists()
    return rows


def nodes_of(project: Project, rows: pd.DataFrame) -> list[str]:
    jobs = [json.loads((project.sweep_dir / "runs" / run_id / JOB).read_bytes()) for run_id in rows.run_id]
    return [job["node_id"] for job in jobs]


def n_begun(project: Project) -> int:
    logs = (project.path / "outputs").glob("*/runs/*/stdout.log")
    return sum("begun" in log.read_text() for log in logs)


def test_all_nodes_are_used_and_no_device_has_two_runs_at_a_time(on_cluster: Project) -> None:
    write_sweep(on_cluster, n=24, seconds=1)
    done = on_cluster.run()
    assert done.returncode == 0, done.stderr
    rows = finished_rows(on_cluster, 24)
    rows["node"] = nodes_of(on_cluster, rows)
    places = [place.sort_values("started") for _, place in rows.groupby(["node", "gpu"])]
    assert len(places) == 6
    spans = [list(zip(place.started, place.ended, strict=True)) for place in places]
    assert all(earlier[1] <= later[0] for span in spans for earlier, later in pairwise(span))


@AT_LENGTH
def test_what_ran_on_a_node_that_was_killed_goes_again(on_cluster: Project, cluster: RayCluster) -> None:
    write_sweep(on_cluster, n=12, seconds=8)
    sweep = on_cluster.start("run")
    wait_until(lambda: n_begun(on_cluster) >= 6, "all nodes are busy")
    cluster.kill_node(2)
    out, err = sweep.communicate(timeout=200)
    assert sweep.returncode == 0, out + err
    rows = finished_rows(on_cluster, 12)
    assert sorted(rows.attempt) == [1] * 10 + [2] * 2


@AT_LENGTH
def test_a_sweep_whose_cluster_has_gone_ends_with_a_sentence_and_goes_on_with_another(
    on_cluster: Project, cluster: RayCluster
) -> None:
    on_cluster.environ["RAY_gcs_rpc_server_reconnect_timeout_s"] = "5"
    write_sweep(on_cluster, n=4, seconds=600)
    sweep = on_cluster.start("run")
    wait_until(lambda: n_begun(on_cluster) >= 4, "nodes are busy")
    cluster.close()
    out, err = sweep.communicate(timeout=100)
    assert (sweep.returncode, len(err.splitlines())) == (2, 1), out + err
    assert set(on_cluster.rows().state) == {"interrupted"}
    assert on_cluster.survivors() == []
    del on_cluster.environ["RAY_ADDRESS"]  # of its own, on this machine
    write_sweep(on_cluster, n=4, seconds=600, num_gpus=0)
    (on_cluster.path / "train.py").write_text(TRAIN.replace('float(arguments["seconds"])', "0"))
    assert on_cluster.run().returncode == 0
    finished_rows(on_cluster, 4)


@AT_LENGTH
def test_ctrl_c_gives_runs_their_grace_and_the_next_start_goes_on(on_cluster: Project, cluster: RayCluster) -> None:
    write_sweep(on_cluster, n=8, seconds=600)
    sweep = on_cluster.start("run")
    wait_until(lambda: n_begun(on_cluster) >= 6, "all nodes are busy")
    sweep.send_signal(signal.SIGINT)
    out, err = sweep.communicate(timeout=100)
    assert sweep.returncode == 130, out + err
    rows = on_cluster.rows()
    assert set(rows.state) == {"interrupted"}
    assert rows.saved.sum() == 6
    assert (on_cluster.survivors(), cluster.processes(of="sweepline.executors")) == ([], [])
    write_sweep(on_cluster, n=8, seconds=600)
    (on_cluster.path / "train.py").write_text(TRAIN.replace('float(arguments["seconds"])', "0"))
    assert on_cluster.run().returncode == 0
    finished_rows(on_cluster, 8)


@AT_LENGTH
@pytest.mark.parametrize("is_at_once", [False, True])
def test_runs_end_with_a_sweep_that_was_killed_and_the_next_start_goes_on(
    on_cluster: Project, cluster: RayCluster, is_at_once: bool
) -> None:
    write_sweep(on_cluster, n=8, seconds=600)
    sweep = on_cluster.start("run")
    wait_until(lambda: n_begun(on_cluster) >= 6, "all nodes are busy")
    sweep.kill()
    sweep.communicate()
    wait_until(lambda: is_at_once or not on_cluster.survivors(), "nothing of the sweep lives")
    wait_until(lambda: is_at_once or not cluster.processes(of="sweepline.executors"), "nothing on the nodes lives")
    (on_cluster.path / "train.py").write_text(TRAIN.replace('float(arguments["seconds"])', "0"))
    assert on_cluster.run().returncode == 0
    rows = finished_rows(on_cluster, 8)
    assert set(rows.attempt) == {2}
    assert (on_cluster.survivors(), cluster.processes(of="sweepline.executors")) == ([], [])


@AT_LENGTH
def test_a_node_that_does_not_share_the_folder_sends_what_runs_tell(project: Project) -> None:
    cluster = RayCluster({"num_cpus": 0})
    try:
        outputs = project.path / "outputs"
        outputs.mkdir()
        if subprocess.run(["unshare", "--mount", "true"], check=False).returncode:
            pytest.skip("this user may not unshare a mount namespace")
        node = cluster.start_node_without(outputs, num_cpus=2, num_gpus=2)
        project.environ["RAY_ADDRESS"] = cluster.address
        write_sweep(project, n=4, seconds=3)
        sweep = project.start("run", "--plain")
        wait_until(lambda: n_begun(project) >= 2, "what runs print comes while they run")
        out, err = sweep.communicate(timeout=100)
        assert sweep.returncode == 0, out + err
        finished_rows(project, 4)
        assert (out + err).count("does not see") == 1
        node.kill()
        node.wait()
    finally:
        cluster.close()


@AT_LENGTH
def test_a_secret_is_in_no_file_of_ray(project: Project) -> None:
    cluster = RayCluster({"num_cpus": 2})
    try:
        project.environ |= {"RAY_ADDRESS": cluster.address, "MY_SECRET": "hush-7f3a"}
        write_sweep(project, n=2, seconds=0, num_gpus=0)
        with (project.path / "sweep.yaml").open("a") as file:
            file.write("env: {API_KEY: '${envvar:MY_SECRET}'}\n")
        project.write("train.py", TRAIN + "\nassert os.environ['API_KEY'] == 'hush-7f3a'\n")
        assert project.run().returncode == 0
        files = [path for path in cluster.temp_dir.rglob("*") if path.is_file() and not path.is_symlink()]
        assert any(b"run_attempt" in path.read_bytes() or b"sweepline" in path.read_bytes() for path in files)
        assert not [path for path in files if b"hush-7f3a" in path.read_bytes()]
    finally:
        cluster.close()


@AT_LENGTH
def test_a_sweep_without_an_address_has_a_ray_of_its_own(project: Project) -> None:
    write_sweep(project, n=3, seconds=0, num_gpus=0)
    before = set(Path("/tmp").glob("sweepline-ray-*"))
    done = project.run()
    assert done.returncode == 0, done.stderr
    finished_rows(project, 3)
    assert project.survivors() == []
    wait_until(lambda: set(Path("/tmp").glob("sweepline-ray-*")) <= before, "what others have beside is gone too")


@AT_LENGTH
def test_a_ray_of_its_own_dies_with_its_sweep(project: Project) -> None:
    write_sweep(project, n=3, seconds=600, num_gpus=0)
    sweep = project.start("run")
    wait_until(lambda: n_begun(project) >= 1, "a run is under way")
    sweep.kill()
    sweep.communicate()
    wait_until(lambda: not project.survivors(), "nothing of it lives")


@AT_LENGTH
def test_more_than_this_machine_has_is_said_in_one_sentence(project: Project) -> None:
    write_sweep(project, n=3, seconds=0, num_gpus=64)
    done = project.run()
    assert done.returncode == 2
    assert "num_gpus: 64" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


@AT_LENGTH
@pytest.mark.parametrize("address", ["127.0.0.1:1", "no.such.host.invalid:6379", "ray://127.0.0.1:10001", "nonsense"])
def test_a_cluster_that_does_not_answer_is_said_in_one_sentence(project: Project, address: str) -> None:
    project.environ["RAY_ADDRESS"] = address
    write_sweep(project, n=3, seconds=0)
    done = project.run()
    assert done.returncode == 2
    assert address in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


@pytest.fixture
def executor(tmp_path: Path) -> Iterator[RayExecutor]:
    made = RayExecutor(RayOptions(address=shared_cluster().address), folder=tmp_path, token="abc")
    yield made
    made.close()


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    (tmp_path / "program.py").write_text(PROGRAM)
    made = tmp_path / "run"
    made.mkdir()
    return made


def worker_of_run() -> int:
    """Return the worker below which the only run is: the parent of the process that waits for the helper."""
    helpers = shared_cluster().processes(of="sweepline.executors.ray.helper")
    parents = {pid: int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]) for pid in helpers}
    return next(parent for parent in parents.values() if parent not in parents)


def test_a_run_whose_worker_is_killed_is_taken_back_with_its_grace(executor: RayExecutor, run_dir: Path) -> None:
    handle = start(executor, task_of(run_dir, "leaves", grace_s=20))
    os.kill(worker_of_run(), signal.SIGKILL)
    ended = wait_for_end(executor, handle)
    assert (ended.stopped, ended.exit_code) == (StopReason.PREEMPTED, 7)
    wait_until(lambda: not shared_cluster().processes(of="sweepline.executors"), "nothing of it lives")


@AT_LENGTH
def test_a_run_whose_worker_does_not_answer_is_dead_before_its_end_is_told(
    executor: RayExecutor, run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_executor, "HURRY_S", 1.0)
    monkeypatch.setattr(ray_executor, "SETTLE_S", 1.0)
    handle = start(executor, task_of(run_dir, "ignores"))
    worker = worker_of_run()
    os.kill(worker, signal.SIGSTOP)
    try:
        handle.cancel(StopReason.BY_HAND, now=True)
        ended = wait_for_end(executor, handle)
        assert ended.stopped == StopReason.BY_HAND
        assert not find_processes(str(run_dir.parent / "program.py"))
    finally:
        os.kill(worker, signal.SIGKILL)


@AT_LENGTH
def test_a_run_whose_helper_is_killed_ends_and_is_taken_back(executor: RayExecutor, run_dir: Path) -> None:
    handle = start(executor, task_of(run_dir, "holds", grace_s=20))
    for pid in shared_cluster().processes(of="sweepline.executors.ray.helper"):
        os.kill(pid, signal.SIGKILL)
    ended = wait_for_end(executor, handle)
    assert ended.stopped == StopReason.PREEMPTED
    wait_until(lambda: not shared_cluster().processes(of="sweepline.executors"), "nothing of it lives")


@AT_LENGTH
def test_a_sweep_that_loses_the_process_that_speaks_to_ray_finds_another(executor: RayExecutor, run_dir: Path) -> None:
    handle = start(executor, task_of(run_dir, "leaves", grace_s=20))
    assert executor._bridge is not None
    executor._bridge._process.kill()
    ended = wait_for_end(executor, handle)
    assert (ended.stopped, ended.exit_code) == (StopReason.PREEMPTED, 7)
    again = executor.submit(task_of(run_dir, "exits", 3, attempt=2))
    assert wait_for_end(executor, again).exit_code == 3


def test_a_run_that_waits_in_the_queue_says_so_and_can_be_stopped(executor: RayExecutor, run_dir: Path) -> None:
    first = start(executor, task_of(run_dir, "holds"))
    others = []
    for i in range(4):  # of four places
        (run_dir.parent / f"run{i}").mkdir()
        others.append(executor.submit(task_of(run_dir.parent / f"run{i}", "holds", run_id=f"{i}" * 12)))
    wait_until(lambda: executor.wait(0.1) or sum(bool(run.host) for run in others) == 3, "all places are taken")
    waiting = next(run for run in others if not run.host)
    assert (first.place, waiting.place) == (os.uname().nodename, "waits")
    waiting.cancel(StopReason.INTERRUPTED)
    ended = wait_for_end(executor, waiting)
    assert (ended.not_started, ended.stopped) == ("stopped before it could be started", StopReason.INTERRUPTED)


def test_the_program_that_needs_ray_is_told_where_it_is_not_installed(project: Project) -> None:
    project.sweepline = (sys.executable, "-c", HIDDEN)
    write_sweep(project, n=3, seconds=0)
    done = project.run()
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "pip install 'sweepline[ray]'" in done.stderr
    assert project.run("--dry-run").returncode == 0
