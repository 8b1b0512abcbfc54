"""A search that learns and stops runs early, killed at random moments: what it proposes and decides stays the same."""

from __future__ import annotations

import json
import random
import signal
import time
from typing import Any

import pytest

from sweepline.engine.verify import check_invariants
from sweepline.recording.journal import JOURNAL
from tests.conftest import Project, wait_until
from tests.reliability import IS_SOAK

pytest.importorskip("optuna", reason="Optuna is not installed")

N_KILLS, N_RUNS = (20, 30) if IS_SOAK else (3, 9)
PROGRAM = """
    import math, os, pathlib, sys, time
    given = dict(word.lstrip("-").split("=") for word in sys.argv[1:])
    loss = (math.log10(float(given["lr"])) + 2) ** 2 + float(given["x"])
    verdict = pathlib.Path(os.environ["SWEEPLINE_RUN_DIR"]) / "early_stop.json"
    for epoch in range(1, 10):
        print(f"METRIC epoch={epoch} loss={loss + 1 / epoch}", flush=True)
        until = time.monotonic() + 2.5 * (epoch in (1, 3))
        while time.monotonic() < until or verdict.exists():
            time.sleep(0.01)  # a run that is to be stopped waits for that
"""
SWEEP = f"""
    program: train.py
    name: search
    method: bayes
    run_cap: {N_RUNS}
    metric: {{name: loss}}
    parameters:
      lr: {{distribution: log_uniform_values, min: 0.00001, max: 1.0}}
      x: {{min: 0.0, max: 1.0}}
    early_terminate: {{type: asha, min: 1, max: 9, by: epochs}}
    devices: cpu
    max_concurrent: 1
    report: never
"""
SEED = random.randrange(10**6)


def told(project: Project) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    """Return what was proposed, in its order, and what was decided of each: where, and beside whom."""
    rows = project.rows()
    events = [json.loads(line) for line in (project.sweep_dir / JOURNAL).read_text().splitlines()]
    order = list(dict.fromkeys(event["run"] for event in events if event["ev"] == "run_start"))
    rows = rows.set_index("run_id").loc[order]
    decided = []
    for run_id, state in rows.state.items():
        verdict = project.sweep_dir / "runs" / str(run_id) / "early_stop.json"
        found = json.loads(verdict.read_text()) if verdict.exists() else {}
        decided.append((state, found.get("at"), found.get("value"), found.get("others")))
    return list(zip(rows.lr, rows.x, strict=True)), decided


@pytest.mark.parametrize("sampler", ["mfgp", "tpe"] if IS_SOAK else ["mfgp"])
def test_a_killed_search_proposes_and_decides_what_it_would_have(project: Project, sampler: str) -> None:
    project.write("train.py", PROGRAM)
    project.write("sweep.yaml", SWEEP + f"    sampler: {sampler}\n")
    done = project.run()
    assert done.returncode == 0, done.stdout + done.stderr
    whole = told(project)
    assert {state for state, *_ in whole[1]} == {"finished", "pruned"}
    chance = random.Random(SEED)
    for i in range(N_KILLS):
        process = project.start("run", *([] if i else ["--fresh"]))
        time.sleep(chance.uniform(0.5, 4.0))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        wait_until(lambda: not project.survivors(), f"nothing of it lives (seed {SEED})")
    assert project.run().returncode == 0
    assert told(project) == whole, f"seed {SEED}"
    assert len(project.rows()) == N_RUNS
    assert [one for one in check_invariants(project.sweep_dir) if one.faults] == []
