"""Runs every tool on every workload in turn, and measures each as a whole process."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.peers.environments import python_of

TOOLS_FOLDER = Path(__file__).resolve().parent / "tools"
WORKLOADS = {"train": 16, "noop": 200, "imports": 16}
JOBS = 2
LIMIT_S = 600.0
_SAMPLE_S = 0.25


@dataclass(frozen=True)
class Tool:
    """A tool as the tables name it; ``environment`` is empty for ours, ``needs`` is a program that must be there."""

    title: str
    adapter: str
    variant: str = ""
    environment: str = ""
    needs: str = ""
    environ: dict[str, str] = field(default_factory=dict)


TOOLS = {
    "ours-warm": Tool("**sweepline, warm**", "ours", "warm"),
    "ours-cold": Tool("**sweepline, cold**", "ours", "cold"),
    "pool": Tool("plain pool of subprocesses", "pool"),
    "long-lived": Tool("two long-lived processes, no isolation", "long_lived"),
    "xargs": Tool("xargs -P2", "xargs", needs="xargs"),
    "parallel": Tool("GNU parallel", "gnu_parallel", needs="parallel"),
    "hydra": Tool("Hydra, joblib launcher", "hydra_joblib", environment="common"),
    "optuna": Tool("Optuna, in process, two threads", "optuna_grid", environment="common"),
    "optuna-sub": Tool("Optuna, a subprocess per trial", "optuna_grid", "subprocess", environment="common"),
    "ray-reuse": Tool("Ray Tune, actors reused", "ray_tune", "reuse", environment="common"),
    "ray": Tool("Ray Tune", "ray_tune", environment="common"),
    "submitit": Tool("submitit, local", "submitit_local", environment="common"),
    "guild": Tool("Guild AI, two queues", "guild", environment="guild"),
    "syne": Tool("Syne Tune, local", "syne", environment="syne"),
    "syne-quick": Tool("Syne Tune, local, sleep 0.1 s", "syne", "quick", environment="syne"),
}


@dataclass(frozen=True)
class Result:
    """One sweep by one tool. Seconds; ``overhead_s`` is slot time beyond training, per run.

    ``peak_mb`` are the most that its processes held at any look, proportionally where they share, the runs' included;
    ``own_mb`` those of the orchestrator and the keeper, ``parent_mb`` that of the warm parent.
    """

    tool: str
    workload: str
    n: int
    wall_s: float
    overhead_s: float
    digests: dict[str, str]
    peak_mb: float = 0.0
    own_mb: float = 0.0
    parent_mb: float = 0.0
    fault: str = ""


def measure(name: str, workload: str, n: int) -> Result:
    """Run one tool on one workload, in a folder of its own."""
    tool = TOOLS[name]
    python = python_of(tool.environment)
    if python is None or (tool.needs and shutil.which(tool.needs) is None):
        return Result(name, workload, n, 0.0, 0.0, {}, fault="not installed")
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as folder:
        record = Path(folder) / "record.jsonl"
        environ = {
            **os.environ,
            "BENCH_RECORD": str(record),
            "BENCH_PYTHON": sys.executable,
            "GUILD_HOME": folder,
            "OMP_NUM_THREADS": "1",
            "PATH": f"{Path(python).parent}:{os.environ['PATH']}",
        }
        argv = [python, str(TOOLS_FOLDER / f"{tool.adapter}.py"), workload, str(n), str(JOBS), tool.variant]
        with (Path(folder) / "output.txt").open("wb") as output:
            began = time.perf_counter()
            process = subprocess.Popen(
                argv,
                cwd=folder,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
            memory = _watch(process, until=began + LIMIT_S)
            wall_s = time.perf_counter() - began
        _end_group(process.pid)
        runs = [json.loads(line) for line in record.read_text().splitlines()] if record.exists() else []
        trained_s = sum(run["train_s"] for run in runs)
        digests = {json.dumps(run["config"], sort_keys=True): run.get("digest", "") for run in runs}
        fault = ""
        if process.returncode or len(runs) != n or len(digests) != n:
            tail = (Path(folder) / "output.txt").read_text(errors="replace")[-600:]
            fault = f"exit code {process.returncode}, {len(runs)} of {n} runs: {tail}"
    return Result(name, workload, n, wall_s, (JOBS * wall_s - trained_s) / n, digests, *memory, fault=fault)


def _watch(process: subprocess.Popen[bytes], *, until: float) -> tuple[float, float, float]:
    """Wait for the end of a tool; return the peak MB of all it started, of our two processes, of the warm parent."""
    peak = own = parent = 0.0
    while True:
        try:
            process.wait(_SAMPLE_S)
        except subprocess.TimeoutExpired:
            if time.perf_counter() > until:
                process.kill()
        else:
            return peak, own, parent
        family = {pid: _comm(pid) for pid in _descendants(process.pid)}
        held = {pid: _proportional_mb(pid) for pid in family}
        peak = max(peak, sum(held.values()))
        is_ours = "sweepline-keep" in family.values()
        mine = [pid for pid, comm in family.items() if comm == "sweepline-keep" or pid == process.pid]
        own = max(own, sum(held[pid] for pid in mine) if is_ours else 0.0)
        parent = max(
            parent, sum(held[pid] for pid, comm in family.items() if comm in ("sweepline-warm", "sweepline-next"))
        )


def _descendants(root: int) -> list[int]:
    found = [root]
    for pid in found:
        try:
            for children in Path(f"/proc/{pid}/task").glob("*/children"):
                found += map(int, children.read_text().split())
        except OSError:  # it has ended meanwhile
            continue
    return found


def _comm(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def _proportional_mb(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:")), 0.0)


def _end_group(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return


def compare(
    names: Sequence[str], workloads: Sequence[str], n_times: int, *, n_runs: int | None = None, out: Path
) -> list[dict[str, Any]]:
    """Measure ``n_times`` rounds, in each of which every tool has its turn; keep what is known in ``out``."""
    found: list[dict[str, Any]] = json.loads(out.read_text()) if out.exists() else []
    faulty: set[tuple[str, str]] = set()
    for workload in workloads:
        for _ in range(n_times):
            for name in names:
                if (name, workload) in faulty:
                    continue
                result = measure(name, workload, n_runs or WORKLOADS[workload])
                if result.fault:
                    faulty.add((name, workload))
                found.append(asdict(result))
                print(
                    f"# {workload:8} {name:12} {result.wall_s:8.2f} s, {result.overhead_s:7.3f} s a run, "
                    f"{result.peak_mb:6.0f} MB, own {result.own_mb:.0f}, parent {result.parent_mb:.0f} {result.fault}",
                    file=sys.stderr,
                    flush=True,
                )
                out.write_text(json.dumps(found))
    return found


def table(found: Sequence[dict[str, Any]], workload: str, *, n_runs: int) -> list[str]:
    """Return a table of one workload in Markdown, fastest first."""
    is_short = workload == "noop"  # slow tools are given fewer of them
    of_workload = [r for r in found if r["workload"] == workload and (r["n"] == n_runs or is_short)]
    by_tool: dict[str, list[dict[str, Any]]] = {}
    for result in of_workload:
        by_tool.setdefault(result["tool"], []).append(result)
    reference = next((r["digests"] for r in by_tool.get("pool", [])), {})
    lines = [
        "| tool | wall s | runs/s | slot seconds beyond training, per run | memory MB | same bits |",
        "|---|---|---|---|---|---|",
    ]
    sound = {name: results for name, results in by_tool.items() if not any(r["fault"] for r in results)}
    for name, results in sorted(
        sound.items(), key=lambda item: statistics.median(r["wall_s"] / r["n"] for r in item[1])
    ):
        walls = [r["wall_s"] for r in results]
        same = min(sum(r["digests"].get(key) == value for key, value in reference.items()) for r in results)
        bits = f"{same}/{n_runs}" if any(reference.values()) else ""
        n = results[0]["n"]
        of = f" for {n} runs" if n != n_runs else ""
        lines.append(
            f"| {TOOLS[name].title} | {_spread(walls)}{of} | {n / statistics.median(walls):.2f} "
            f"| {statistics.median(r['overhead_s'] for r in results):.3f} "
            f"| {statistics.median(r['peak_mb'] for r in results) or math.nan:.0f} | {bits} |".replace("nan", "")
        )
    lines += [f"| {TOOLS[name].title} | not measured | | | | |" for name in by_tool.keys() - sound.keys()]
    return lines


def _spread(values: Sequence[float]) -> str:
    middle = statistics.median(values)
    return f"{middle:.2f} ({min(values):.2f} .. {max(values):.2f})" if len(values) > 1 else f"{middle:.2f}"
