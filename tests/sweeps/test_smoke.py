"""``sweepline smoke -- PROGRAM``: what can be told of any program from outside."""

from __future__ import annotations

import json
import sys

import pytest

from tests.conftest import EXPERIMENT, Project

PROGRAM = """
    import argparse, random, signal, sys, time
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--width", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    random.seed(args.seed)
    SETUP
    for epoch in (1, 2, 3):
        loss, accuracy = (1 + random.random()) * args.lr, 0.5 + random.random() / 4
        print(f"METRIC epoch={epoch} train_loss={loss} val_loss={HELD_OUT} val_acc={ACCURACY}", flush=True)
        time.sleep(0.1)
"""


def smoke(
    project: Project, *options: str, setup: str = "pass", held_out: str = "loss * 1.1", accuracy: str = "accuracy"
) -> tuple[int, dict[str, bool | None], str]:
    """Return the exit code, the checks, and what all of them found."""
    text = PROGRAM.replace("SETUP", setup).replace("HELD_OUT", held_out).replace("ACCURACY", accuracy)
    project.write("train.py", text)
    done = project.command("smoke", "--json", *options, "--", sys.executable, "train.py")
    assert done.stdout, done.stderr
    told = json.loads(done.stdout)
    return (
        done.returncode,
        {c["name"]: c["is_ok"] for c in told["checks"]},
        " ".join(c["found"] for c in told["checks"]),
    )


def failed(checks: dict[str, bool | None]) -> list[str]:
    return [name for name, is_ok in checks.items() if is_ok is False]


def test_a_sound_program_passes(project: Project) -> None:
    code, checks, found = smoke(project, "--vary", "lr=0.1,0.2", "--seed-flag", "seed")
    assert (code, failed(checks)) == (0, [])
    assert all(checks.values())
    assert "3 points of train_loss, val_loss, val_acc" in found
    assert "9 values, bit for bit" in found
    assert len(checks) == 7


def test_an_option_that_changes_nothing_is_caught(project: Project) -> None:
    code, checks, _ = smoke(project, "--vary", "lr=0.1,0.2", "--vary", "width=1,2")
    assert (code, failed(checks)) == (1, ["width matters (1 or 2)"])


@pytest.mark.parametrize(
    ("planted", "name", "said"),
    [
        ({"setup": "random.seed()"}, "two runs are identical", "train_loss at epoch=1 is"),
        ({"accuracy": "100"}, "results are not too good", "val_acc is 100 at its first point"),
        ({"accuracy": "1.0"}, "results are not too good", "val_acc is 1 at its first point: are labels in the inputs"),
        ({"held_out": "loss"}, "results are not too good", "val_loss equals train_loss at every point"),
        ({"held_out": "1e-5"}, "results are not too good", "val_loss is 1e-05 at its first point"),  # copied targets
        ({"setup": "raise SystemExit('broken')"}, "it finishes", "failed: broken"),
    ],
)
def test_what_was_planted_is_caught(project: Project, planted: dict[str, str], name: str, said: str) -> None:
    code, checks, found = smoke(project, **planted)
    assert (code, failed(checks)) == (1, [name])
    assert said in found


def test_a_seed_that_is_ignored_is_caught(project: Project) -> None:
    code, checks, _ = smoke(project, "--seed-flag", "seed", setup="random.seed(7)")
    assert (code, failed(checks)) == (1, ["the seed matters"])


def test_a_program_that_does_not_end_when_asked_is_caught(project: Project) -> None:
    stubborn = "signal.signal(signal.SIGTERM, lambda *_: time.sleep(60))"
    code, checks, found = smoke(project, setup=stubborn)
    assert (code, failed(checks)) == (1, ["it ends when it is asked to (SIGTERM)"])
    assert "had to be killed" in found


def test_a_program_without_metrics_is_caught(project: Project) -> None:
    project.write("train.py", "import time\nprint('done', flush=True)\ntime.sleep(1)\n")
    done = project.command("smoke", "--", sys.executable, "train.py")
    assert done.returncode == 1
    assert "FAILED  METRIC lines come: none" in done.stdout


def test_the_program_of_a_sweep_file_is_looked_at_with_what_it_searches(project: Project) -> None:
    project.write("train_single.py", (EXPERIMENT / "train_single.py").read_text())
    project.write("config.yaml", "data: {name: digits, limit: 200}\nepochs: 3\nwandb: {mode: disabled}\n")
    project.write(
        "sweep.yaml",
        """
        program: train_single.py
        config: config.yaml
        name: small
        method: grid
        metric: {name: epoch_loss}
        parameters: {learner.step_size: [0.1, 0.01], evaluate.batch_size: [10, 20]}
        devices: cpu
        """,
    )
    done = project.command("smoke", "--sweep", "sweep.yaml", "--json")
    checks = {check["name"]: check["is_ok"] for check in json.loads(done.stdout)["checks"]}
    assert failed(checks) == ["evaluate.batch_size matters (10 or 20)"]
    assert checks["learner.step_size matters (0.1 or 0.01)"]
    assert checks["the seed matters"]
    assert not (project.sweep_dir / "runs.csv").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ("--vary", "lr=0.1", "--", sys.executable, "train.py"),
            "--vary lr: give two values to compare, as lr=0.1,0.01",
        ),
        (("--vary", "lr", "--", sys.executable, "train.py"), "--vary lr: write NAME=A,B"),
        (("--",), "smoke: name the program after --"),
        (("--sweep", "sweep.yaml", "--", "python"), "either --sweep FILE or a program after --"),
    ],
)
def test_what_cannot_be_looked_at_is_said(project: Project, words: tuple[str, ...], sentence: str) -> None:
    done = project.command("smoke", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert sentence in done.stderr


def test_times_hide_nothing_and_are_no_fault(project: Project) -> None:
    timed = "print(f'METRIC epoch_seconds={time.time()}')"
    code, checks, _ = smoke(project, "--vary", "width=1,2", "--seed-flag", "seed", setup=f"random.seed(7); {timed}")
    assert (code, failed(checks)) == (1, ["the seed matters", "width matters (1 or 2)"])


def test_of_a_program_that_does_not_repeat_itself_nothing_more_is_told(project: Project) -> None:
    _, checks, found = smoke(project, "--vary", "lr=0.1,0.2", "--seed-flag", "seed", setup="random.seed()")
    assert checks["seed and options matter"] is None
    assert "lr matters (0.1 or 0.2)" not in checks
    assert "two equal runs differ already" in found


def test_what_was_not_looked_at_is_said(project: Project) -> None:
    code, checks, found = smoke(project)
    assert (code, checks["seed and options matter"]) == (0, None)
    assert "name them with --seed-flag and --vary" in found
