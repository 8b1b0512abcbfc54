"""Step sizes are walked from the largest down, and the smaller ones left out once enough were stable."""

from __future__ import annotations

import pytest

from sweepline.config.schema import StabilityModel
from sweepline.engine.stability import StabilityGuard
from sweepline.recording.events import RunRecord
from sweepline.runs import Run, RunOutcome, State
from tests.conftest import Project

TRAIN = """
import random, sys, time
lr, width, seed = (float(word.split("=")[1]) for word in sys.argv[1:4])
time.sleep(random.random() / 10)
print(f"METRIC loss={float('nan') if lr * width > 8 else lr}")
"""
SWEEP = """
program: train.py
name: s
method: grid
metric: {name: loss, goal: minimize}
start: cold
devices: cpu
max_concurrent: 1
command: ['${interpreter}', '${program}', '--lr=${lr}', '--width=${width}', '--seed=${seed}']
parameters: {lr: [1, 2, 4, 8, 0.5, 0.25], width: [1, 4]}
seeds: [0, 1]
stability: {parameter: lr, depth: 2}
"""


@pytest.mark.parametrize("n", [1, 4])
def test_smaller_ones_are_left_out_once_enough_larger_ones_were_stable(project: Project, n: int) -> None:
    project.write("train.py", TRAIN)
    project.write("sweep.yaml", SWEEP)
    done = project.run("--max-workers", str(n))
    assert done.returncode == 0, done.stdout + done.stderr
    rows = project.rows()
    assert len(rows) == 24
    for (width, _), group in rows.groupby(["width", "seed"]):
        run = sorted(group[group.state == "finished"].lr, reverse=True)
        assert run == ([8, 4] if width == 1 else [8, 4, 2, 1])
    skipped = rows[rows.state == "pruned"]
    assert len(skipped) == 12
    assert "2 larger values of lr, all else equal, were stable" in skipped.reason.iloc[0]
    again = project.run()
    assert again.returncode == 0
    assert len(project.rows()) == 24
    verified = project.command("verify", "sweep.yaml")
    assert verified.returncode == 0, verified.stdout


def test_what_it_needs_is_said(project: Project) -> None:
    project.write("train.py", TRAIN)
    for change, sentence in (
        (("parameter: lr,", "parameter: lrr,"), "unknown parameter 'lrr'; did you mean 'lr'?"),
        (("method: grid", "method: random\nsamples: 3"), "needs method: grid"),
        (("depth: 2", "dept: 2"), "did you mean 'depth'"),
        (("lr: [1, 2,", "lr: [a, 2,"), "a list of numbers for lr"),
    ):
        project.write("sweep.yaml", SWEEP.replace(*change))
        done = project.run("--dry-run")
        assert done.returncode == 2
        assert sentence in done.stderr


def test_a_parameter_that_is_not_passed_decides_on_others_and_stands_in_the_table(project: Project) -> None:
    project.write("train.py", "import sys; print('ARGS', sys.argv[1:]); print('METRIC loss=1')")
    project.write(
        "sweep.yaml",
        "program: train.py\nname: s\nmethod: grid\nmetric: {name: loss}\nstart: cold\ndevices: cpu\n"
        "parameters:\n  arm: {values: [a, b], pass: false}\n  x: {expr: \"1 if arm == 'a' else 2\"}\n",
    )
    assert project.run().returncode == 0
    assert sorted(zip(project.rows().arm, project.rows().x, strict=True)) == [("a", 1), ("b", 2)]
    for log in (project.sweep_dir / "runs").glob("*/stdout.log"):
        assert "arm" not in log.read_text()


def test_only_larger_values_count_and_what_follows_from_them_does_not(project: Project) -> None:
    project.write("train.py", TRAIN)
    few = SWEEP.replace("lr: [1, 2, 4, 8, 0.5, 0.25], width: [1, 4]", "lr: [0.5, 0.25], width: 1, wd: {expr: lr * 2}")
    project.write("sweep.yaml", few)
    assert project.run().returncode == 0
    project.write("sweep.yaml", few.replace("[0.5, 0.25]", "[2, 1, 0.5, 0.25, 0.125]"))
    assert project.run().returncode == 0
    rows = project.rows()
    assert sorted(rows[rows.state == "finished"].lr.unique()) == [0.25, 0.5, 1, 2]
    assert list(rows[rows.state == "pruned"].lr.unique()) == [0.125]
    project.write(
        "sweep.yaml", few.replace("[0.5, 0.25]", "[2, 1, 0.5, 0.25, 0.125]").replace("\nstability:", "\nx-of:")
    )
    assert project.run().returncode == 0
    assert set(project.rows().state) == {"finished"}


def run_of(lr: float, seed: int = 0, width: int = 1) -> Run:
    return Run(run_id=f"{lr} {seed}", name="r", params={"lr": lr, "width": width}, seed=seed, index=0)


def ended(run: Run, state: State = State.FINISHED, **metrics: float) -> RunRecord:
    outcome = RunOutcome(state=state, metrics={"loss": 1.0, **metrics})
    return RunRecord(run_id=run.run_id, params=run.params, seed=run.seed, outcome=outcome)


def guard(*records: RunRecord, depth: int = 2) -> StabilityGuard:
    return StabilityGuard(StabilityModel(parameter="lr", depth=depth), None, records, seeds=[0, 1])


def test_a_smaller_value_waits_for_those_that_decide_and_for_no_others() -> None:
    known = guard()
    assert not any(known.must_wait(run_of(lr, seed)) for lr in (8, 4) for seed in (0, 1))
    assert known.must_wait(run_of(2))
    assert not known.must_wait(run_of(2, width=4))
    assert not known.must_wait(run_of(2, seed=7))  # of a race
    known.note(ended(run_of(8), diverged=1.0))
    assert not known.must_wait(run_of(2))  # two larger ones cannot be stable any more
    assert known.must_wait(run_of(1))


def test_a_value_is_stable_once_all_of_its_seeds_are() -> None:
    known = guard(*(ended(run_of(lr, seed)) for lr, seed in ((8, 0), (8, 1), (4, 0))))
    assert known.why_skipped(run_of(2)) is None
    known.note(ended(run_of(4, 1)))
    assert "2 larger values of lr" in str(known.why_skipped(run_of(2)))
    known.note_start(run_of(4, 1))  # it goes again
    assert known.why_skipped(run_of(2)) is None


@pytest.mark.parametrize("record", [ended(run_of(4, 1), State.FAILED), ended(run_of(4, 1), diverged=1.0)])
def test_runs_that_failed_or_diverged_were_not_stable(record: RunRecord) -> None:
    known = guard(*(ended(run_of(lr, seed)) for lr, seed in ((8, 0), (8, 1), (4, 0))), record)
    assert known.why_skipped(run_of(2)) is None
    assert not known.must_wait(run_of(2))
