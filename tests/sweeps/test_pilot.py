"""Sweeps on several nodes that a command of the user's own starts processes on: here, all of them this machine."""

from __future__ import annotations

import json
import signal

from tests.conftest import Project, wait_until

PROGRAM = """
    import argparse, json, os, sys, time
    parser = argparse.ArgumentParser()
    parser.add_argument("--x", type=float)
    parser.add_argument("--pause", type=float, default=0.0)
    args = parser.parse_args()
    print(f"METRIC loss={args.x}", flush=True)
    time.sleep(args.pause)
    with open("uses.jsonl", "a") as file:
        names = ("SWEEPLINE_NODE", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "OF_NODE", "SECRET_OF_MINE")
        file.write(json.dumps([os.environ.get(name) for name in names]) + "\\n")
    """
SWEEP = """
    program: train.py
    name: nodes
    metric: {{name: loss, goal: minimize}}
    parameters:
      x: {{values: {values}}}
      pause: {{value: {pause}}}
    executor: pilot
    grace: 2s
    pilot: {{nodes: [a, b], starter: [./on.sh, '${{node}}'], cpus: 8, gpus: {gpus}}}
    {more}
    """
# As ssh does: the process there has an environment of its own, and sees the GPUs that are there.
STARTER = """
    #!/bin/bash
    node=$1; shift
    {trouble}
    exec env -i PATH="$PATH" HOME="$HOME" {token} OF_NODE=$node CUDA_VISIBLE_DEVICES=4,5 "$@"
    """


def write(project: Project, n: int, *, gpus: int = 2, pause: float = 0.0, more: str = "", trouble: str = "") -> None:
    project.write("train.py", PROGRAM)
    token = f"SWEEPLINE_TEST_TOKEN={project.token}"
    project.write("on.sh", STARTER.format(trouble=trouble, token=token)).chmod(0o755)
    project.write("sweep.yaml", SWEEP.format(values=list(range(n)), gpus=gpus, pause=pause, more=more))


def uses(project: Project) -> list[list[str]]:
    return [json.loads(line) for line in (project.path / "uses.jsonl").read_text().splitlines()]


def test_runs_are_on_the_devices_of_all_nodes(project: Project) -> None:
    write(project, 8, pause=0.3)
    ended = project.run("--plain", SECRET_OF_MINE="s3cr3t")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "runs execute on 2 nodes (a, b), 2 GPUs each" in ended.stdout
    places = {(node, devices) for node, devices, *_ in uses(project)}
    assert places == {("a", "4"), ("a", "5"), ("b", "4"), ("b", "5")}  # as the nodes call them
    assert {threads for _, _, threads, *_ in uses(project)} == {"4"}
    assert set(project.rows()["device"]) == {"a:0", "a:1", "b:0", "b:1"}


def test_runs_have_the_environment_of_the_sweep_and_no_file_has(project: Project) -> None:
    write(project, 2)
    project.run(SECRET_OF_MINE="s3cr3t")
    assert {secret for *_, secret in uses(project)} == {"s3cr3t"}
    assert not [path for path in project.sweep_dir.rglob("*") if path.is_file() and b"s3cr3t" in path.read_bytes()]


def test_nodes_without_gpus_have_a_slot_for_two_cores(project: Project) -> None:
    write(project, 2, gpus=0)
    assert "8 at a time on a cpu 0" in project.run("-n").stdout
    assert project.run().returncode == 0
    assert set(project.rows()["device"]) <= {"a:cpu", "b:cpu"}


def test_a_node_on_which_nothing_can_be_started_is_left_out(project: Project) -> None:
    write(project, 6, trouble='[ $node = b ] && { echo "b: no route to host" >&2; exit 255; }')
    ended = project.run("--plain")
    assert ended.returncode == 0, ended.stdout
    assert "node b is lost: no process could be started there (b: no route to host)" in ended.stdout
    assert len(project.rows()) == 6
    assert {node for node, *_ in uses(project)} == {"a"}


def test_a_sweep_without_any_node_says_so_and_ends(project: Project) -> None:
    write(project, 3, trouble="exit 1")
    ended = project.run("--plain")
    assert ended.returncode == 1
    assert "no device is left: nothing more is launched" in ended.stdout
    assert "Traceback" not in ended.stderr


def test_ctrl_c_ends_the_runs_of_all_nodes(project: Project) -> None:
    write(project, 4, pause=60.0)
    sweep = project.start("run", "--plain")
    logs = project.path / "outputs" / "nodes" / "runs"
    wait_until(lambda: sum("METRIC" in path.read_text() for path in logs.glob("*/stdout.log")) == 4, "all run")
    sweep.send_signal(signal.SIGINT)
    out, _ = sweep.communicate(timeout=60)
    assert set(project.rows()["state"]) == {"interrupted"}, out
    assert project.run("--set", "pause=0").returncode == 0


def test_a_sweep_that_is_killed_leaves_nothing_and_goes_on(project: Project) -> None:
    write(project, 4, pause=3.0)
    sweep = project.start("run", "--plain")
    logs = project.path / "outputs" / "nodes" / "runs"
    wait_until(lambda: sum("METRIC" in path.read_text() for path in logs.glob("*/stdout.log")) == 4, "all run")
    sweep.kill()
    sweep.communicate()
    assert project.run().returncode == 0
    rows = project.rows()
    assert len(rows) == 4
    assert set(rows["state"]) == {"finished"}
    assert len(uses(project)) == 4  # what was under way was ended before it went again
