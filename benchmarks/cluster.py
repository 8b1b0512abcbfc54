"""Sweeps on a throw-away Slurm cluster of two nodes with four GPUs each, which none are: nothing lost, and how soon.

``python -m benchmarks.cluster`` needs root and Debian's packages slurm-wlm and munge.
"""

from __future__ import annotations

import csv
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from tests.engines.slurmcluster import SlurmCluster, why_not

from benchmarks.measure import Figure
from sweepline.contract.runfolder import COMMAND, format_start
from sweepline.executors.base import Task
from sweepline.executors.slurm.executor import SlurmExecutor
from sweepline.executors.slurm.options import SlurmOptions

N_RUNS = 200
SWEEPLINE = (sys.executable, "-m", "sweepline.cli.main")
# Four steps; goes on where it was; tells where and when it ran, and how old a line was when the sweep ended it.
PROGRAM = """
import argparse, json, os, signal, sys, time
parser = argparse.ArgumentParser()
parser.add_argument("--x", type=float)
parser.add_argument("--steps", type=int)
parser.add_argument("--pause", type=float)
args = parser.parse_args()
printed_at = 0.0
def leave(*_):
    print(f"METRIC waited={time.time() - printed_at}", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, leave)
state = os.path.join(os.environ["SWEEPLINE_RUN_DIR"], "ckpt", "step")
os.makedirs(os.path.dirname(state), exist_ok=True)
first = int(open(state).read()) if os.path.exists(state) else 0
began = time.time()
for step in range(first, args.steps):
    printed_at = time.time()
    print(f"METRIC step={step} loss={args.x} at={printed_at}", flush=True)
    time.sleep(args.pause)
    with open(state + ".new", "w") as file:
        file.write(str(step + 1))
    os.replace(state + ".new", state)
with open("uses.jsonl", "a") as file:
    where = [os.environ.get("SLURMD_NODENAME"), os.environ.get("CUDA_VISIBLE_DEVICES")]
    file.write(json.dumps([*where, began, time.time(), os.environ["SWEEPLINE_RUN_ID"]]) + "\\n")
"""


def sweep_file(n: int, *, steps: int, pause: float, more: str) -> str:
    """Return a sweep of ``n`` runs."""
    return (
        "program: train.py\nname: jobs\nmetric: {name: loss, goal: minimize}\nreport: never\ngrace: 5s\n"
        f"parameters: {{x: {{values: {list(range(n))}}}, steps: {{value: {steps}}}, pause: {{value: {pause}}}}}\n{more}"
    )


class Ground:
    """A folder with a sweep in it, on a cluster."""

    def __init__(self, folder: Path, cluster: SlurmCluster, text: str) -> None:
        self.folder, self.cluster = folder, cluster
        folder.mkdir()
        (folder / "train.py").write_text(PROGRAM)
        (folder / "sweep.yaml").write_text(text)

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """Start ``sweepline`` in the folder."""
        out = (self.folder / "out.txt").open("ab")
        return subprocess.Popen([*SWEEPLINE, *words], cwd=self.folder, env=self.cluster.environ, stdout=out, stderr=out)

    @property
    def rows(self) -> list[dict[str, str]]:
        """The rows of the table."""
        path = self.folder / "outputs" / "jobs" / "runs.csv"
        return list(csv.DictReader(path.open())) if path.exists() else []

    def n_ended(self) -> int:
        """Return how many runs have finished."""
        return sum(row["state"] == "finished" for row in self.rows)

    def faults(self, n: int) -> dict[str, int]:
        """Return what is wrong at the end: runs lost, done twice, with a wrong row, two on a device at a time."""
        rows = self.rows
        uses = [json.loads(line) for line in (self.folder / "uses.jsonl").read_text().splitlines()]
        ids = [use[4] for use in uses]
        wrong = [row for row in rows if row["state"] != "finished" or float(row["loss"]) != float(row["x"])]
        return {
            "lost": n - len({row["run_id"] for row in rows if row["state"] == "finished"}),
            "doubled": len(rows) - len({row["run_id"] for row in rows}) + len(ids) - len(set(ids)),
            "wrong rows": len(wrong),
            "overlaps": count_overlaps(uses),
        }


def count_overlaps(uses: Sequence[Sequence[str | float]]) -> int:
    """Return how often two runs were on one device of one node at a time."""
    spans: dict[tuple[str | float, str], list[tuple[float, float]]] = {}
    for node, devices, began, ended, _ in uses:
        for device in str(devices).split(","):
            spans.setdefault((node, device), []).append((float(began), float(ended)))
    return sum(
        after[0] < before[1]
        for found in spans.values()
        for before, after in zip(sorted(found), sorted(found)[1:], strict=False)
    )


def processes_of(node: str, cluster: SlurmCluster) -> list[int]:
    """Return the processes of all jobs on a node."""
    marks = (f"SLURMD_NODENAME={node}".encode(), f"SLURM_CONF={cluster.environ['SLURM_CONF']}".encode())
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            variables = path.read_bytes().split(b"\0")
        except OSError:  # it has ended
            continue
        if all(mark in variables for mark in marks):
            found.append(int(path.parent.name))
    return found


def kill_processes_of(node: str, cluster: SlurmCluster) -> None:
    """Kill what runs on a node, as when its machine is gone."""
    for pid in processes_of(node, cluster):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def wait_for(is_met: Callable[[], object], limit_s: float = 600.0) -> None:
    """Return when something holds."""
    until = time.monotonic() + limit_s
    while not is_met():
        if time.monotonic() > until:
            raise SystemExit("waited in vain")
        time.sleep(0.05)


def jobs_with_kills(folder: Path, cluster: SlurmCluster) -> Iterator[Figure]:
    """Run 200 jobs of a GPU each; kill a node's daemon and the orchestrator meanwhile."""
    more = "executor: slurm\nmax_concurrent: 200\nslurm: {gres: 'gpu:1', poll: 2s}\n"
    ground = Ground(folder, cluster, sweep_file(N_RUNS, steps=16, pause=0.25, more=more))
    began = time.monotonic()
    sweep = ground.start("run", "--plain")
    # Of each job there are three: who has it, the keeper, the run.
    wait_for(lambda: ground.n_ended() >= 40 and len(processes_of("n2", cluster)) >= 9)
    time.sleep(1.0)  # of the four seconds that each takes
    cluster.kill("n2")
    kill_processes_of("n2", cluster)
    cluster.call("scontrol", "update", "NodeName=n2", "State=down", "Reason=benchmark")
    wait_for(lambda: ground.n_ended() >= 60)
    sweep.kill()
    sweep.wait()
    time.sleep(2.0)
    again = ground.start("run", "--plain")
    wait_for(lambda: ground.n_ended() >= 100)
    cluster.start_node("n2")  # which Slurm takes back by itself
    again.wait()
    wall_s = time.monotonic() - began
    attempts = sum(int(row["attempt"]) > 1 for row in ground.rows)
    yield Figure(f"{N_RUNS} jobs, 8 GPUs; node and orchestrator killed ({attempts} runs went again)", [wall_s])
    for name, count in ground.faults(N_RUNS).items():
        yield Figure(f"  {name}", [float(count)], unit="")


def pilot_requeued(folder: Path, cluster: SlurmCluster) -> Iterator[Figure]:
    """Run 200 in one allocation of four GPUs, two a GPU; have it requeued three times."""
    text = sweep_file(N_RUNS, steps=4, pause=0.25, more="runs_per_device: 2\n")
    ground = Ground(folder, cluster, text)
    (folder / "job.sh").write_text(
        f"#!/bin/bash\nexec {' '.join(SWEEPLINE)} run --plain --executor pilot >> out.txt 2>&1\n"
    )
    words = ["sbatch", "--parsable", "--requeue", "--open-mode=append", "-o", "slurm.out"]
    words += ["--nodes=1", "--ntasks-per-node=8", "--gres=gpu:4", "job.sh"]
    began = time.monotonic()
    done = subprocess.run(words, cwd=folder, env=cluster.environ, capture_output=True, text=True, check=True)
    number = done.stdout.strip()
    for life in range(1, 4):
        wait_for(lambda n=life: ground.n_ended() >= 40 * n)
        cluster.call("scontrol", "requeue", number)
        wait_for(lambda n=life: f"Restarts={n}" in cluster.call("scontrol", "show", "job", number))
        cluster.call("scontrol", "release", number)
    wait_for(lambda: cluster.call("squeue", "-h") == "")
    attempts = sum(int(row["attempt"]) > 1 for row in ground.rows)
    wall_s = time.monotonic() - began
    yield Figure(f"{N_RUNS} runs in one job, 4 GPUs x 2, requeued 3 times ({attempts} went again)", [wall_s])
    for name, count in ground.faults(N_RUNS).items():
        if name != "overlaps":  # two share a GPU here
            yield Figure(f"  {name}", [float(count)], unit="")


def submitting(folder: Path, n: int) -> Iterator[Figure]:
    """Measure what the sweep does for each run until Slurm has it, in one array and one by one."""
    at_once, one_by_one = [], []
    for i in range(n):
        executor = SlurmExecutor(folder / f"s{i}", sweep="s", token="abc", options=SlurmOptions())
        at_once.append(_submit(executor, folder / f"s{i}", N_RUNS) / N_RUNS * 1000)
        executor.close()
        for j in range(20):  # with no job there is no company to wait for
            alone = SlurmExecutor(folder / f"a{i}.{j}", sweep="s", token="abc", options=SlurmOptions())
            one_by_one.append(_submit(alone, folder / f"a{i}.{j}", 1) * 1000)
            alone.close()
    yield Figure(f"submitting {N_RUNS} runs at once, each", at_once, unit="ms")
    yield Figure("submitting a single run", one_by_one, unit="ms")


def _submit(executor: SlurmExecutor, folder: Path, n: int) -> float:
    """Return the seconds until Slurm has ``n`` runs."""
    tasks = []
    for i in range(n):
        run_dir = folder / "runs" / f"{i:012}"
        run_dir.mkdir(parents=True)
        (run_dir / COMMAND).write_text(format_start({"attempt": 1}))
        tasks.append(
            Task(run_id=run_dir.name, attempt=1, argv=["true"], environ=os.environ, working_dir=folder, run_dir=run_dir)
        )
    began = time.perf_counter()
    runs = [executor.submit(task) for task in tasks]
    while not all(run.key for run in runs):
        executor.wait(0.001)
    return time.perf_counter() - began


def lines_and_signals(folder: Path, cluster: SlurmCluster) -> Iterator[Figure]:
    """Measure how old a line is when the live table has it, and when a run is ended for it."""
    more = (
        "executor: slurm\nmax_concurrent: 8\nslurm: {gres: 'gpu:1'}\n"
        "early_terminate: {type: threshold, worse_than: 15, after: 3}\n"
    )
    ground = Ground(folder, cluster, sweep_file(24, steps=12, pause=0.5, more=more))
    ground.start("run", "--plain").wait()
    waited = [float(row["waited"]) for row in ground.rows if row.get("waited")]
    yield Figure(
        f"from a METRIC line to the signal that ends its job, median of {len(waited)}", [statistics.median(waited)]
    )
    yield Figure("  the longest", [max(waited)])


def line_to_table(folder: Path, cluster: SlurmCluster) -> Iterator[Figure]:
    """Measure how old a METRIC line is when an observer of the sweep has it, twice a second as the live table."""
    more = "executor: slurm\nmax_concurrent: 8\nslurm: {gres: 'gpu:1'}\n"
    Ground(folder, cluster, sweep_file(16, steps=12, pause=0.7, more=more))
    script = folder / "watch.py"
    script.write_text(WATCHER)
    done = subprocess.run(
        [sys.executable, str(script)], cwd=folder, env=cluster.environ, capture_output=True, text=True, check=True
    )
    ages = json.loads(done.stdout.splitlines()[-1])
    yield Figure(f"from a METRIC line to the live table, median of {len(ages)}", [statistics.median(ages)])
    yield Figure("  99th percentile", [statistics.quantiles(ages, n=100)[98]])


WATCHER = """
import json, time
from pathlib import Path
from sweepline.config.sweepfile import load_sweep
from sweepline.engine.preparation import prepare_sweep
from sweepline.engine.session import run_sweep
from sweepline.engine.state import SweepOptions

class Watcher:
    refresh_s = 0.5
    def __init__(self):
        self.ages, self.told = [], {}
    def begin(self): pass
    def note(self, text): pass
    def run_started(self, active): pass
    def run_ended(self, record, outcome): pass
    def refresh(self, progress):
        now = time.time()
        for active in progress.active:
            at = active.tail.results.get("at")
            if at is not None and self.told.get(active.run.run_id) != at:
                self.told[active.run.run_id] = at
                self.ages.append(now - at)

watcher = Watcher()
run_sweep(prepare_sweep(load_sweep(Path("sweep.yaml")), SweepOptions()), watcher)
print(json.dumps(watcher.ages))
"""


def figures(n: int) -> Iterator[Figure]:
    """Yield what is measured; the kills once, the times ``n`` times where they are short."""
    reason = why_not()
    if reason:
        yield Figure("a Slurm cluster", note=f"not measured: {reason}")
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cluster = SlurmCluster(folder / "cluster")
        cluster.start()
        os.environ["SLURM_CONF"] = cluster.environ["SLURM_CONF"]
        try:
            yield from submitting(folder, n)
            wait_for(lambda: cluster.call("squeue", "-h") == "")
            yield from line_to_table(folder / "lines", cluster)
            yield from lines_and_signals(folder / "signals", cluster)
            yield from jobs_with_kills(folder / "jobs", cluster)
            yield from pilot_requeued(folder / "pilot", cluster)
        finally:
            cluster.stop()


def main() -> None:
    """Print the figures."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    for figure in figures(3):
        sys.stdout.write(f"{figure.title:74} {figure}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
