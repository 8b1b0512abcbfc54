"""``sweepline rerun``: runs that repeat themselves, runs that do not, and where runs say that they come from."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Project
from tests.sweeps.test_trainer_in_sweeps import CONFIG, SWEEP, TRAINER

PROGRAM = """
    import argparse, os, pathlib, random, time
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float)
    parser.add_argument("--seed", type=int)
    args = parser.parse_known_args()[0]
    random.seed(args.seed)
    pathlib.Path(os.environ["SWEEPLINE_RUN_DIR"], "weights.txt").write_text(str(args.lr))
    print("at", time.time())
    for epoch in (1, 2, 3):
        print(f"METRIC epoch={epoch} loss={random.random() * args.lr}")
"""
OWN_SWEEP = """
    program: train.py
    name: small
    method: grid
    metric: {name: loss}
    parameters: {lr: [0.1, 0.2]}
    seeds: [3]
    devices: cpu
    max_concurrent: 2
    report: never
"""


@pytest.fixture
def script(project: Project) -> Project:
    """A program that draws from its seed, and a sweep of it."""
    project.write("train.py", PROGRAM)
    project.write("sweep.yaml", OWN_SWEEP)
    return project


def edit(project: Project, old: str, new: str) -> None:
    path = project.path / "train.py"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def git(folder: Path, *words: str) -> None:
    subprocess.run(
        ["git", "-c", "user.name=n", "-c", "user.email=e", *words], cwd=folder, check=True, capture_output=True
    )


@pytest.mark.parametrize(("n_at_once", "start"), [(1, "cold"), (4, "warm")])
def test_a_run_of_the_trainer_is_repeated_bit_for_bit(project: Project, n_at_once: int, start: str) -> None:
    project.write("train_single.py", TRAINER)
    project.write("config.yaml", CONFIG)
    project.write("sweep.yaml", SWEEP.replace("max_concurrent: 2", f"max_concurrent: {n_at_once}\n    start: {start}"))
    assert project.run().returncode == 0
    other = {"cold": "warm", "warm": "cold"}[start]
    for how in (start, other):
        result = project.command("rerun", str(project.rows().run_id[1]), "--start", how)
        assert result.returncode == 0, result.stdout + result.stderr
        assert "identical: " in result.stdout
        assert "not identical" not in result.stdout


def test_what_is_printed_and_is_no_metric_is_listed(script: Project) -> None:
    script.run()
    result = script.command("rerun", "lr0.1-s3")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "identical: 3 values of 1 metric, bit for bit" in result.stdout
    assert "output       -at " in result.stdout
    assert "file " not in result.stdout


def test_a_run_executes_the_code_that_it_executed_then(script: Project) -> None:
    script.run()
    edit(script, "* args.lr", "* args.lr * 2")
    assert script.command("rerun", "lr0.1-s3").returncode == 0
    edit(script, "import argparse", "this is no Python any more")
    assert script.command("rerun", "lr0.2-s3").returncode == 0


def test_the_first_value_that_differs_is_shown(script: Project) -> None:
    script.write("sweep.yaml", OWN_SWEEP + "    code: live\n")
    script.run()
    edit(script, "* args.lr}", "* args.lr * (1 + (epoch > 1))}")
    result = script.command("rerun", "lr0.1-s3")
    assert result.returncode == 1
    assert "code: live: its files were not kept, and have changed since" in result.stdout
    assert "not identical: of 3 values of 1 metric" in result.stdout
    assert "first: loss at epoch=2: " in result.stdout


def test_a_metric_may_be_left_out(script: Project) -> None:
    edit(script, 'print("at", time.time())', 'print(f"METRIC clock={time.time()}")')
    script.run()
    assert "metrics that differ: clock" in script.command("rerun", "lr0.1-s3").stdout
    assert script.command("rerun", "lr0.1-s3", "--ignore", "clock").returncode == 0


def test_files_that_differ_are_listed(script: Project) -> None:
    edit(script, "str(args.lr))", "str(time.time()))")
    script.run()
    assert "file         weights.txt differs" in script.command("rerun", "lr0.1-s3").stdout


def test_the_result_is_told_as_json(script: Project) -> None:
    script.run()
    result = script.command("rerun", "lr0.1-s3", "--json")
    told = json.loads(result.stdout)
    assert told["is_identical"] is True
    assert Path(told["result"]["run_dir"]).is_dir()


def test_the_records_of_the_sweep_stay_as_they_are(script: Project) -> None:
    script.run()
    before = (script.sweep_dir / "runs.csv").read_bytes(), (script.sweep_dir / "events.jsonl").read_bytes()
    script.command("rerun", "lr0.1-s3")
    assert ((script.sweep_dir / "runs.csv").read_bytes(), (script.sweep_dir / "events.jsonl").read_bytes()) == before
    assert script.command("verify").returncode == 0


def test_a_run_that_has_failed_fails_again(script: Project) -> None:
    edit(script, "for epoch", "raise SystemExit('broken')\nfor epoch")
    script.run()
    result = script.command("rerun", "lr0.1-s3")
    assert result.returncode == 1
    assert "not repeated: the run ended as failed (broken)" in result.stdout


def test_an_unknown_run_is_said(script: Project) -> None:
    script.run()
    result = script.command("rerun", "lr0.3-s3")
    assert result.returncode == 2
    assert "no such run" in result.stderr


def provenance(project: Project) -> dict[str, Any]:
    (path,) = (project.sweep_dir / "provenance").glob("*.json")
    found: dict[str, Any] = json.loads(path.read_text())
    started = next(project.sweep_dir.glob("runs/*/command.txt")).read_text()
    assert f'"provenance": "{path.name}"' in started
    return found


def test_runs_tell_commit_changes_packages_and_machine(script: Project) -> None:
    git(script.path, "init", "-q")
    git(script.path, "add", "train.py")
    git(script.path, "commit", "-qm", "first")
    edit(script, "import argparse", "# not committed\nimport argparse")
    script.run(MY_SECRET_TOKEN="hunter2")
    found = provenance(script)
    assert len(found["git"]["commit"]) == 40
    assert "+# not committed" in (script.sweep_dir / "provenance" / found["git"]["changes"]).read_text()
    assert "sweep.yaml" in found["git"]["untracked"]
    assert found["packages"]["pydantic"].partition(" ")[0].count(".") == 2
    assert found["host"]
    assert "MY_SECRET_TOKEN" in found["environment"]["inherited"]
    texts = [path.read_bytes() for path in script.sweep_dir.rglob("*") if path.is_file()]
    assert not any(b"hunter2" in text for text in texts)


def test_what_differs_of_the_environment_is_said(script: Project) -> None:
    script.run()
    path = next((script.sweep_dir / "provenance").glob("*.json"))
    told = json.loads(path.read_text())
    told["packages"]["pydantic"] = "0.0.1 (older)"
    path.write_text(json.dumps(told))
    result = script.command("rerun", "lr0.1-s3")
    assert "environment  package pydantic: 0.0.1 (older) -> " in result.stdout
    assert result.returncode == 0
