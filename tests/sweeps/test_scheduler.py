"""W&B's scheduler block: a study of the user's own, in a process of its own, offline, killed and gone on with."""

from __future__ import annotations

import importlib.util
import json
import signal
import time
from pathlib import Path

import pytest

from sweepline.recording.journal import JOURNAL
from tests.conftest import Project, wait_until

pytest.importorskip("optuna", reason="Optuna is not installed")

TRAIN = """
    import argparse, time
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--kind", default="a")
    parser.add_argument("--momentum", type=float, default=0.5)
    parser.add_argument("--width", type=int, default=16)
    args = parser.parse_args()
    for epoch in range(1, 5):
        loss = (args.lr - 0.05) ** 2 + args.momentum / 10 + 1 / epoch
        print(f"METRIC epoch={epoch} loss={loss} size={args.width}", flush=True)
        time.sleep(PAUSE)
"""
SWEEP = """
    program: train.py
    name: own
    method: custom
    metric: {name: loss}
    run_cap: 12
    scheduler: {engine: optuna, SCHEDULER}
    devices: cpu
    max_concurrent: 1
    report: never
"""
SPACE = """
    import optuna

    print("a source file may print")

    def space(trial):
        kind = trial.suggest_categorical("kind", ["a", "b"])
        params = {"kind": kind, "lr": trial.suggest_float("lr", 1e-4, 1e-1, log=True)}
        if kind == "a":
            params["momentum"] = trial.suggest_float("momentum", 0.0, 0.9)
        return params

    def study(sweep):
        assert sweep.config["metric"]["name"] == "loss" and sweep.name == "own"
        return optuna.create_study(
            direction="minimize", sampler=optuna.samplers.TPESampler(SEEDn_startup_trials=4), pruner=PRUNER
        )
"""
NO_PRUNER = "optuna.pruners.NopPruner()"


def write(
    project: Project,
    scheduler: str = "source: study.py, optimizer: study, search_space: space",
    *,
    source: str = SPACE,
    seed: str = "seed=3, ",
    pruner: str = NO_PRUNER,
    pause: float = 0.0,
    sweep: str = SWEEP,
) -> None:
    project.write("train.py", TRAIN.replace("PAUSE", str(pause)))
    project.write("study.py", source.replace("SEED", seed).replace("PRUNER", pruner))
    project.write("sweep.yaml", sweep.replace("SCHEDULER", scheduler))


def proposals(project: Project) -> list[dict[str, object]]:
    """Return what was started, in its order, each once."""
    events = [json.loads(line) for line in (project.sweep_dir / JOURNAL).read_text().splitlines()]
    return list({e["run"]: dict(e["params"]) for e in events if e["ev"] == "run_start"}.values())


def kill_after(project: Project, n: int) -> None:
    """Start the sweep and kill it once so many runs have ended."""
    process = project.start("run")

    def has_ended() -> bool:
        table = next(iter(project.path.glob("outputs/*/runs.csv")), Path("none"))
        return table.exists() and len(table.read_text().splitlines()) > n

    wait_until(has_ended, f"{n} runs ended")
    time.sleep(0.03)  # some way into the next one
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_a_conditional_space_of_a_source_file_is_searched(project: Project) -> None:
    write(project)
    dry = project.run("-n")
    assert "12 combinations; proposed by study of study.py; the next 10 runs:" in dry.stdout
    assert not (project.path / "outputs").exists()
    done = project.run()
    assert done.returncode == 0, done.stdout + done.stderr
    rows = project.rows()
    assert len(rows) == 12
    assert rows[rows.kind == "b"].momentum.isna().all()
    assert rows[rows.kind == "a"].momentum.notna().all()
    assert "kind" in done.stdout.split("\n#  ")[1].splitlines()[0]
    assert (project.sweep_dir / "scheduler.log").read_text() == "a source file may print\n"


def test_a_killed_sweep_goes_on_with_the_proposals_that_it_would_have_made(project: Project) -> None:
    write(project, pause=0.02)
    for n in (2, 5, 9):
        kill_after(project, n)
    assert project.run().returncode == 0
    killed = proposals(project)
    assert len(killed) == len(project.rows()) == 12
    assert project.run("--fresh").returncode == 0
    assert proposals(project) == killed


def test_a_study_without_a_seed_keeps_its_trials_over_a_kill(project: Project) -> None:
    write(project, seed="", pause=0.02)
    kill_after(project, 6)
    before = proposals(project)
    done = project.run()
    assert done.returncode == 0, done.stdout + done.stderr
    assert proposals(project)[: len(before)] == before
    assert len(project.rows()) == 12


def test_a_log_that_was_cut_off_by_a_kill_is_mended(project: Project) -> None:
    write(project)
    project.run("--count", "4")
    log = project.sweep_dir / "scheduler.jsonl"
    log.write_bytes(log.read_bytes()[:-20])
    for _ in range(2):
        done = project.run("--count", "2")
        assert done.returncode == 0, done.stdout + done.stderr
    assert len(project.rows()) == 8


def test_a_study_that_has_enqueued_trials_goes_on_without_a_seed(project: Project) -> None:
    enqueued = """
    def enqueued(sweep):
        made = study(sweep)
        made.enqueue_trial({"kind": "a", "lr": 0.05, "momentum": 0.1})
        made.enqueue_trial({"kind": "b", "lr": 0.02})
        return made
"""
    write(project, "source: study.py, optimizer: enqueued, search_space: space", source=SPACE + enqueued, seed="")
    for n in ("1", "3", "8"):
        done = project.run("--count", n)
        assert done.returncode == 0, done.stdout + done.stderr
    assert len(project.rows()) == 12
    assert [proposal["lr"] for proposal in proposals(project)[:2]] == [0.05, 0.02]


def test_a_storage_of_its_own_is_refused_once_it_holds_what_was_tried(project: Project) -> None:
    source = """
        import optuna

        def study(sweep):
            return optuna.create_study(study_name="own", storage="sqlite:///own.db", load_if_exists=True)
    """
    write(project, "source: study.py, optimizer: study", source=source, sweep=SWEEP + PARAMETERS)
    assert project.run("--count", "2").returncode == 0
    done = project.run("--count", "2")
    assert done.returncode == 2
    assert "leave out a storage of its own" in done.stderr


def test_a_stop_does_not_wait_for_a_source_file_that_thinks(project: Project) -> None:
    source = """
        import time

        def space(trial):
            if trial.number == 2:
                time.sleep(100)
            return {"lr": trial.suggest_float("lr", 0, 1)}
    """
    write(project, "source: study.py, search_space: space", source=source)
    process = project.start("run")
    wait_until(lambda: n_finished(project) == 2, "what has run is written down while it thinks")
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 128 + signal.SIGINT, out


def test_a_source_file_that_thinks_learns_afterwards_and_stops_runs_late(project: Project) -> None:
    """The runs of trials 0 and 1 are under way while it thinks about trial 2; the first has told too much by then."""
    source = """
        import optuna, pathlib, time

        class Stops(optuna.pruners.BasePruner):
            def prune(self, study, trial):
                return trial.number == 0

        def space(trial):
            if trial.number == 2:
                while not pathlib.Path("go").exists():
                    time.sleep(0.01)
            return {"lr": trial.suggest_float("lr", 0, 1)}

        def study(sweep):
            return optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1), pruner=Stops())
    """
    train = """
        import argparse, pathlib, time
        parser = argparse.ArgumentParser()
        parser.add_argument("--lr", type=float)
        args = parser.parse_args()
        for epoch in range(1, 1000):
            print(f"METRIC epoch={epoch} loss={args.lr} size=1", flush=True)
            if epoch > 30 and not pathlib.Path("endless").exists():
                break
            time.sleep(0.05)
    """
    sweep = SWEEP.replace("max_concurrent: 1", "max_concurrent: 3").replace("run_cap: 12", "run_cap: 4")
    write(project, "source: study.py, search_space: space, optimizer: study", source=source, sweep=sweep)
    project.write("train.py", train)
    (project.path / "endless").touch()
    process = project.start("run")
    wait_until(lambda: len(list(project.path.glob("outputs/own/runs/*/stdout.log"))) == 2, "two runs have begun")
    time.sleep(1.5)  # looks at what they print
    (project.path / "go").touch()
    wait_until(lambda: len(list(project.path.glob("outputs/own/runs/*/early_stop.json"))) == 1, "it stops one late")
    (project.path / "endless").unlink()
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, out + err
    assert sorted(project.rows()["state"]) == ["finished", "finished", "finished", "pruned"]
    log = [json.loads(line) for line in (project.path / "outputs/own/scheduler.jsonl").read_text().splitlines()]
    asked = [request["op"] for request, _ in log]
    assert asked[:4] == ["begin", "ask", "ask", "ask"]
    assert "report" in asked


def n_finished(project: Project) -> int:
    return sum(path.read_text().count(",finished,") for path in project.path.glob("outputs/*/runs.csv"))


def test_promotion_and_a_study_do_not_go_together(project: Project) -> None:
    write(project, sweep=SWEEP + "    resumable: true\n")
    assert "resumable: goes with our own samplers" in project.run().stderr


def test_a_pruner_that_is_not_asked_is_named(project: Project) -> None:
    write(project, pruner="optuna.pruners.MedianPruner()", sweep=SWEEP + "    seeds: [1, 2]\n")
    told = project.run("--count", "1").stdout
    assert "scheduler: MedianPruner is not asked: several seeds are one trial of a study" in told


def test_a_pruner_of_the_study_stops_runs_and_explain_says_so(project: Project) -> None:
    write(project, pruner="optuna.pruners.ThresholdPruner(upper=0.3, n_warmup_steps=2)", pause=0.7)
    done = project.run("--count", "2")
    assert set(project.rows().state) == {"pruned"}, done.stdout
    said = project.command("explain", project.rows().run_name[0]).stdout
    assert "ThresholdPruner of the study: loss" in said
    assert "needed" not in said


DECLARED = """
    import optuna

    def grid(sweep):
        space = {"lr": [0.01, 0.1], "width": [16, 32], "kind": ["a", "b"]}
        return optuna.create_study(sampler=optuna.samplers.GridSampler(space, seed=0))

    def two(sweep):
        study = optuna.create_study(directions=["minimize", "maximize"], sampler=optuna.samplers.NSGAIISampler(seed=0))
        study.set_metric_names(["loss", "size"])
        return study, lambda study: len(study.trials) >= 6
"""
PARAMETERS = """
    parameters:
      lr: {values: [0.01, 0.1]}
      width: {min: 16, max: 32, q: 16, distribution: q_uniform}
      kind: {values: [a, b]}
      momentum: {value: 0.25}
"""


def test_declared_parameters_are_suggested_in_their_own_values_until_a_grid_is_done(project: Project) -> None:
    write(project, "source: study.py, optimizer: grid", source=DECLARED, sweep=SWEEP + PARAMETERS)
    done = project.run()
    assert done.returncode == 0, done.stdout + done.stderr
    rows = project.rows()
    assert len({(row.lr, row.width, row.kind) for row in rows.itertuples()}) == len(rows) == 8
    assert set(rows.momentum) == {0.25}


def test_several_objectives_and_a_terminator(project: Project) -> None:
    sweep = SWEEP.replace("metric: {name: loss}", "metrics: [{name: loss}, {name: size, goal: maximize}]")
    write(
        project,
        "source: study.py, optimizer: two",
        source=DECLARED,
        sweep=sweep + PARAMETERS.replace("[0.01, 0.1]", "[0.01, 0.2, 1]"),
    )
    done = project.run()
    assert done.returncode == 0, done.stdout + done.stderr
    log = [json.loads(line) for line in (project.sweep_dir / "scheduler.jsonl").read_text().splitlines()]
    assert sum(request["op"] == "tell" for request, _ in log) == 6
    assert len(project.rows()) <= 6  # what is proposed twice runs once
    assert "Pareto front of loss (minimize), size (maximize)" in done.stdout


def test_seeds_are_told_as_one_trial_and_what_is_excluded_costs_no_run(project: Project) -> None:
    more = "    seeds: [1, 2]\n    constraints: [{exclude: 'kind == \"b\"'}]\n"
    write(project, "source: study.py, optimizer: grid", source=DECLARED, sweep=SWEEP + PARAMETERS + more)
    project.write("train.py", TRAIN.replace("PAUSE", "0").replace("args =", "parser.add_argument('--seed'); args ="))
    done = project.run()
    assert done.returncode == 0, done.stdout + done.stderr
    rows = project.rows()
    assert (len(rows), set(rows.kind)) == (8, {"a"})
    log = [json.loads(line) for line in (project.sweep_dir / "scheduler.jsonl").read_text().splitlines()]
    told = [request["state"] for request, _ in log if request["op"] == "tell"]
    assert told.count("COMPLETE") >= 4  # those that the grid proposes a second time too, but not a seed each
    assert set(told) <= {"COMPLETE", "FAIL"}


@pytest.mark.parametrize(
    ("scheduler", "source", "said"),
    [
        ("source: study.py, optimizer: nowhere", SPACE, "study.py has no function nowhere"),
        ("source: study.py, optimizer: study", "study = 3\n", "study.py is int, not a function: study"),
        (
            "source: study.py, optimizer: study",
            "def study(sweep):\n    return 3\n",
            "study returns int, not an optuna.Study",
        ),
        ("source: study.py, optimizer: study", "def study():\n    pass\n", "study fails: TypeError"),
        (
            "source: study.py, optimizer: study",
            "import sys\nsys.exit(4)\n",
            "study.py fails: SystemExit: 4 (line 2 of study.py)",
        ),
        ("source: study.py, optimizer: study", "import os\nos._exit(4)\n", "its process has ended"),
        (
            "source: study.py, search_space: space",
            "def space(trial):\n    return [1]\n",
            "space returns list, not a mapping",
        ),
        (
            "source: study.py, search_space: space",
            "def space(trial):\n    return {'x': trial}\n",
            "space returns what no run can be handed",
        ),
        (
            "source: study.py, search_space: space, optimizer: study",
            SPACE.replace('direction="minimize"', 'direction="maximize"'),
            "the study optimizes maximize, the sweep file says minimize",
        ),
        ("source: study.py, search_space: space, extra: 1", SPACE, "unknown key"),
        ("search_space: space, source: none.py", SPACE, "no file 'none.py'"),
    ],
)
def test_what_is_wrong_with_a_source_file_is_said_before_anything_runs(
    project: Project, scheduler: str, source: str, said: str
) -> None:
    write(project, scheduler, source=source, sweep=SWEEP if "search_space" in scheduler else SWEEP + PARAMETERS)
    done = project.run()
    assert done.returncode == 2, done.stdout
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(project.path.glob("outputs/*/runs/*"))


def test_a_source_file_that_fails_later_ends_the_proposals_and_loses_nothing(project: Project) -> None:
    source = """
        def space(trial):
            if trial.number == 3:
                raise RuntimeError("no more")
            return {"lr": trial.suggest_float("lr", 0, 1)}
    """
    write(project, "source: study.py, search_space: space", source=source)
    done = project.run()
    assert done.returncode == 1
    assert "study.py: space fails: RuntimeError: no more (line 3 of study.py)" in done.stdout
    assert "nothing more is proposed" in done.stdout
    assert list(project.rows().state) == ["finished"] * 3


def test_engine_wandb_is_the_method_of_the_file(project: Project) -> None:
    sweep = (
        SWEEP.replace("method: custom", "method: grid").replace("optuna", "wandb")
        + "    parameters: {lr: [0.1, 0.2]}\n"
    )
    write(project, "source: study.py, optimizer: study", sweep=sweep)
    done = project.run()
    assert done.returncode == 0
    assert "scheduler.optimizer: is for engine optuna or ax; ignored" in done.stdout
    assert len(project.rows()) == 2
    write(project, "source: study.py, optimizer: study", sweep=sweep.replace("grid", "custom"))
    assert "method: custom goes with scheduler" in project.run().stderr


def test_engine_optuna_without_a_source_is_our_own_sampler(project: Project) -> None:
    sweep = SWEEP.replace(", SCHEDULER", "") + "    parameters: {lr: {min: 0.0, max: 1.0}}\n"
    write(project, sweep=sweep)
    done = project.run("--count", "3")
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(project.rows()) == 3
    assert not (project.sweep_dir / "scheduler.jsonl").exists()


AX = SWEEP.replace("optuna", "ax").replace(", SCHEDULER", "") + PARAMETERS


@pytest.mark.skipif(importlib.util.find_spec("ax") is not None, reason="Ax is installed")
def test_engine_ax_says_what_it_needs(project: Project) -> None:
    write(project, sweep=AX)
    assert "scheduler: engine ax needs Ax: pip install ax-platform" in project.run().stderr


@pytest.mark.skipif(importlib.util.find_spec("ax") is None, reason="Ax is not installed")
def test_ax_proposes_and_goes_on(project: Project) -> None:
    write(
        project, sweep=AX.replace("run_cap: 12", "run_cap: 7").replace("{values: [0.01, 0.1]}", "{min: 0.0, max: 1.0}")
    )
    assert project.run("--count", "6").returncode == 0
    done = project.run()
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(project.rows()) == 7
