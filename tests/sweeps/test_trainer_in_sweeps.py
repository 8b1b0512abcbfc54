"""Sweeps of our own trainer: overrides proved, data prepared, W&B groups; real torch on real data."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
import yaml

from sweepline.engine.wandbfile import read_wandb_run
from tests.conftest import DEADLINE_S, EXPERIMENT, Project, wait_until

TRAINER = (EXPERIMENT / "train_single.py").read_text()
CONFIG = """
    epochs: 1
    batch_size: 50
    data: {name: digits, limit: 200}
    wandb: {mode: disabled}
"""
SWEEP = """
    program: train_single.py
    config: config.yaml
    name: small
    method: grid
    metric: {name: epoch_loss, goal: minimize}
    parameters:
      learner.step_size: [0.1, 0.01, 0.001]
    seeds: [0]
    max_concurrent: 2
    devices: cpu
"""


@pytest.fixture
def trainer(project: Project) -> Project:
    """A project with our trainer and a sweep of three runs on a few digits."""
    project.write("train_single.py", TRAINER)
    project.write("config.yaml", CONFIG)
    project.write("sweep.yaml", SWEEP)
    return project


def test_every_override_reaches_the_training_and_is_proved(trainer: Project) -> None:
    result = trainer.run()
    rows = trainer.rows()
    assert result.returncode == 0, result.stdout + result.stderr
    assert rows.epoch_loss.nunique() == 3
    assert rows.reason.isna().all()
    assert "warning" not in result.stdout


def test_a_trainer_that_ignores_an_override_fails_its_run(trainer: Project) -> None:
    planted = "import sys; sys.argv = [word for word in sys.argv if not word.startswith('learner.step_size=')]\n"
    trainer.write(
        "train_single.py", TRAINER.replace('if __name__ == "__main__":\n', f'if __name__ == "__main__":\n    {planted}')
    )
    result = trainer.run("--count", "1")
    rows = trainer.rows()
    assert result.returncode == 1
    assert list(rows.state) == ["failed"]
    assert list(rows.reason) == ["override not applied (learner.step_size: asked 0.1, got 0.01)"]


def test_a_trainer_that_ignores_a_parameter_is_found_out_at_the_end(trainer: Project) -> None:
    planted = """
        from sweepline.training.optim import optimizers
        build = optimizers.build_optimizer
        fixed = {"step_size": 0.05}
        optimizers.build_optimizer = lambda config, parameters: build(config.model_copy(update=fixed), parameters)
    """
    trainer.write("planted.py", planted)
    trainer.write("train_single.py", TRAINER.replace("from pathlib", "import planted\nfrom pathlib", 1))
    result = trainer.run()
    assert set(trainer.rows().state) == {"finished"}
    assert "learner.step_size had no effect: 3 values, identical epoch_loss in the only group" in result.stdout


def test_a_run_is_the_same_to_the_last_bit_alone_and_beside_another(trainer: Project) -> None:
    trainer.run("--max-concurrent", "1")
    alone = trainer.rows().set_index("run_id").epoch_loss.sort_index()
    trainer.run("--fresh", "--max-concurrent", "2")
    beside = trainer.rows().set_index("run_id").epoch_loss.sort_index()
    assert list(alone) == list(beside)


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ("learner.stepsize: [0.1]", "unknown key 'learner.stepsize'; did you mean 'learner.step_size'?"),
        ("learner.opt: [sgd, adamm]", "unknown learner.opt 'adamm'; did you mean 'adam'?"),
        ("epochs: [1, none]", "epochs should be a valid integer"),
    ],
)
def test_what_the_trainer_does_not_know_is_said_before_the_first_run(
    trainer: Project, parameters: str, sentence: str
) -> None:
    trainer.write("sweep.yaml", SWEEP.replace("learner.step_size: [0.1, 0.01, 0.001]", parameters))
    result = trainer.run()
    assert result.returncode == 2
    assert not list((trainer.path / "outputs").glob("*")), "where nothing has run no folder stays"
    assert sentence in result.stderr
    assert "Traceback" not in result.stderr


def test_mnist_that_cannot_be_had_is_one_sentence(trainer: Project) -> None:
    result = trainer.run("--set", "data.name=mnist", "--set", f"data.root={trainer.path}/nowhere")
    assert result.returncode == 2
    assert "data mnist: no MNIST/raw under" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_script_called_train_single_that_is_not_ours_is_not_started_for_a_check(project: Project) -> None:
    project.write("train_single.py", "open('started', 'a').write('x')\nprint('METRIC loss=1')\n")
    project.write("sweep.yaml", SWEEP.replace("config: config.yaml", ""))
    result = project.run()
    assert (project.path / "started").read_text() == "xxx"
    assert "overrides not proved" in result.stdout


def test_a_sweep_is_one_group_in_wandb(trainer: Project) -> None:
    trainer.write("sweep.yaml", SWEEP + "    logging: {wandb: {project: digits, tags: [small, test]}}\n")
    result = trainer.run("--count", "1", "--set", "epochs=2")
    (path,) = trainer.sweep_dir.glob("runs/*/wandb/offline-run-*/run-*.wandb")
    run = read_wandb_run(path)
    assert (run.project, run.group, run.name) == ("digits", "small", "lr0.1-ep2-s0")
    assert (run.job_type, run.tags, run.exit_code) == ("sweep", ("small", "test"), 0)
    assert run.config["learner"]["step_size"] == 0.1
    assert [row["epoch"] for row in run.history] == [1, 2]
    assert "wandb sync" in result.stdout


def test_step_sizes_matter_on_the_real_mnist(trainer: Project, mnist_root: Path) -> None:
    trainer.write("config.yaml", CONFIG.replace("name: digits, limit: 200", "name: mnist, limit: 4000"))
    sweep = SWEEP.replace("[0.1, 0.01, 0.001]", "[0.1, 0.001]\n      learner.opt: adam")
    trainer.write("sweep.yaml", sweep)
    result = trainer.run(SWEEPLINE_DATA=str(mnist_root))
    rows = trainer.rows().set_index("learner.step_size")
    assert result.returncode == 0, result.stderr
    assert rows.epoch_accuracy[0.001] > rows.epoch_accuracy[0.1] + 0.2


def test_a_run_that_was_stopped_at_a_rung_goes_on_from_its_checkpoint(trainer: Project) -> None:
    config = CONFIG.replace("epochs: 1", "epochs: 9").replace("batch_size: 50", "batch_size: 8")
    trainer.write("config.yaml", config.replace("limit: 200", "limit: 1200"))  # slow enough to be looked at
    rule = "early_terminate: {type: asha, min: 1, max: 9, by: epochs}"
    trainer.write("sweep.yaml", SWEEP + f"    {rule}\n    report: never\n")
    done = trainer.run()
    assert done.returncode == 0, done.stdout + done.stderr
    rows = trainer.rows()
    assert dict(rows.state.value_counts()) == {"pruned": 2, "finished": 1}
    best = rows[rows.state == "finished"].iloc[0]
    assert best.attempt > 1
    run_dir = trainer.sweep_dir / "runs" / best.run_id
    assert "train_single: goes on from ckpt_" in (run_dir / "stderr.log").read_text()
    assert (run_dir / "stdout.log").read_text().count("METRIC epoch=9 ") == 1


def test_fresh_with_a_mistake_archives_nothing(trainer: Project) -> None:
    trainer.run("--count", "1")
    result = trainer.run("--fresh", "--set", "learner.stepsize=3")
    assert result.returncode == 2
    assert len(trainer.rows()) == 1
    assert not (trainer.sweep_dir / "archive").exists()


def test_values_that_only_go_together_are_checked_together(trainer: Project) -> None:
    pairs = "learner.beta1: [null, 0.9]\n      learner.beta2: [null, 0.99]\n      learner.opt: adam"
    rules = "    constraints:\n      - {when: {learner.beta1: null}, set: {learner.beta2: null}}\n"
    rules += "      - {when: {learner.beta1: 0.9}, set: {learner.beta2: 0.99}}\n"
    trainer.write("sweep.yaml", SWEEP.replace("learner.step_size: [0.1, 0.01, 0.001]", pairs) + rules)
    result = trainer.run()
    assert result.returncode == 0, result.stderr
    assert len(trainer.rows()) == 2


def test_a_config_that_is_edited_while_the_sweep_runs_changes_nothing_for_later_runs(trainer: Project) -> None:
    trainer.write("defaults.yaml", "batch_size: 50\n")
    trainer.write("config.yaml", CONFIG.replace("batch_size: 50", "base: defaults.yaml"))
    trainer.write("train_single.py", TRAINER.replace("\nif __name__", f"{EDITS_CONFIG}\nif __name__"))
    trainer.write("sweep.yaml", SWEEP.replace("max_concurrent: 2", "max_concurrent: 1"))
    result = trainer.run()
    used = [yaml.safe_load(p.read_text()) for p in trainer.sweep_dir.glob("runs/*/config.yaml")]
    assert [(config["batch_size"], config["data"]["limit"]) for config in used] == [(50, 200)] * 3
    assert result.returncode == 0


EDITS_CONFIG = """
import os, pathlib
if "SWEEPLINE_RUN_ID" in os.environ:  # not when the sweep asks it what it needs
    pathlib.Path("defaults.yaml").write_text("batch_size: 10\\n")
    text = pathlib.Path("config.yaml").read_text()
    pathlib.Path("config.yaml").write_text(text.replace("limit: 200", "limit: 100"))
"""


def test_runs_of_an_edited_config_are_never_averaged_with_the_old_ones(trainer: Project) -> None:
    trainer.run("--count", "1")
    trainer.write("config.yaml", CONFIG.replace("limit: 200", "limit: 150"))
    result = trainer.run("--count", "1")
    assert len(trainer.rows()) == 2
    assert "±" not in result.stdout


# Batch sizes

TUNED = """
    program: train_single.py
    config: config.yaml
    name: tuned
    method: grid
    metric: {name: epoch_loss, goal: minimize}
    parameters:
      learner.step_size: [0.1, 0.01, 0.001, 0.0001]
      batch_size_config.optimize_batch_size: {value: MODE}
      batch_size_config.memory_budget_gib: {value: 0.5}
    seeds: [0]
    max_concurrent: 2
    devices: cpu
"""


@pytest.mark.parametrize(("mode", "n_tuned"), [("once", 1), ("true", 1)])
@pytest.mark.parametrize("start", ["warm", "cold"])
def test_each_run_of_a_sweep_has_a_number_and_tunes_or_reuses(
    trainer: Project, mode: str, n_tuned: int, start: str
) -> None:
    trainer.write("sweep.yaml", TUNED.replace("MODE", mode))
    result = trainer.run("--start", start)
    rows = trainer.rows()
    assert result.returncode == 0, result.stdout + result.stderr
    assert rows.reason.isna().all()
    assert set(rows.run_batch_size) == {100}
    (experiment,) = {path.parent for path in trainer.path.rglob("run_counter.txt")}
    assert experiment.is_relative_to(trainer.path / "outputs" / "experimentruns")
    assert (experiment / "run_counter.txt").read_text() == "5\n"
    records = json.loads((experiment / "batch_size_tuning.json").read_text())["records"]
    assert sorted(records) == ["1", "2", "3", "4"]
    assert [record["tuner_status"] for record in records.values()].count("success") == n_tuned
    assert all(record["training_succeeded"] for record in records.values())


def test_a_tuned_run_that_a_stop_interrupts_goes_on_with_its_number_and_size(trainer: Project) -> None:
    one = TUNED.replace("[0.1, 0.01, 0.001, 0.0001]", "[0.01]").replace("MODE", "true")
    trainer.write("sweep.yaml", one.replace("    seeds:", "      epochs: {value: 20000}\n    seeds:"))
    process = trainer.start("run")
    wait_until(lambda: list(trainer.path.glob("outputs/tuned/runs/*/metrics.csv")), "it trains")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=DEADLINE_S)
    (run_dir,) = trainer.path.glob("outputs/tuned/runs/*")
    n_done = len((run_dir / "metrics.csv").read_text().splitlines())
    again = trainer.start("run")
    wait_until(lambda: any("going on" in line for line in read_lines(run_dir / "stdout.log")), "it goes on")
    wait_until(lambda: len(read_lines(run_dir / "metrics.csv")) > n_done, "it trains")
    again.send_signal(signal.SIGTERM)
    again.communicate(timeout=DEADLINE_S)
    (experiment,) = {path.parent for path in trainer.path.rglob("run_counter.txt")}
    assert (experiment / "run_counter.txt").read_text() == "2\n"
    assert "goes on from ckpt_" in (run_dir / "stderr.log").read_text()


def read_lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


# Up to 64 examples fit from a budget of 0.0105 on, 200 from 0.015 on: half way, as an allocator's rest varies.
SMALLER = """
    program: train_single.py
    config: config.yaml
    name: smaller
    method: grid
    metric: {name: epoch_loss, goal: minimize}
    parameters:
      batch_size: [50, 200]
      model.width: {value: 64}
      batch_size_config.memory_budget_gib: {value: 0.0125}
    seeds: [0]
    max_concurrent: 1
    devices: cpu
    on_oom: retry_smaller
"""


def test_a_run_out_of_memory_goes_again_with_the_size_that_it_recommends(trainer: Project) -> None:
    trainer.write("sweep.yaml", SMALLER)
    result = trainer.run()
    rows = trainer.rows().set_index("batch_size")
    assert result.returncode == 0, result.stdout + result.stderr
    assert list(rows.state) == ["finished", "finished"]
    assert rows.attempt[200] > 1
    assert rows.run_batch_size[200] < 200
    assert "retry" not in str(rows.reason[200])
    (run_dir,) = (
        path.parent for path in trainer.sweep_dir.glob("runs/*/command.txt") if "max_batch_size" in path.read_text()
    )
    assert f"batch_size_config.max_batch_size={int(rows.run_batch_size[200])}" in (run_dir / "command.txt").read_text()


def test_without_being_asked_a_run_out_of_memory_does_not_go_again(trainer: Project) -> None:
    trainer.write("sweep.yaml", SMALLER.replace("on_oom: retry_smaller", ""))
    result = trainer.run()
    rows = trainer.rows().set_index("batch_size")
    assert result.returncode == 1
    assert (rows.state[200], rows.attempt[200]) == ("out_of_memory", 1)
    assert rows.recommended_batch_size[200] == 160
    assert rows.reason[200].startswith("train_single: out of memory with 200 examples at once")


def test_smaller_batches_are_for_our_trainer(project: Project) -> None:
    project.write("script.py", "print('METRIC loss=1')")
    project.write("sweep.yaml", "program: script.py\nmethod: grid\nparameters: {x: [1]}\non_oom: retry_smaller\n")
    result = project.run()
    assert result.returncode == 2
    assert (
        "sweep.yaml:4: on_oom: retry_smaller needs train_single.py, which knows smaller batches; use retry"
        in result.stderr
    )


LONG = """
    program: train_single.py
    config: config.yaml
    name: NAME
    method: grid
    metric: {name: valid_loss}
    parameters:
      epochs: 30
      data.valid_fraction: 0.2
      evaluate: {parameters: {every: {value: 1}, split: {value: valid}, final_test: {value: best}}}
      early_stopping: {parameters: {monitor: {value: valid_loss}, min_delta: {value: 100}, patience: {value: 1000}}}
      checkpoint.interval_s: 0.1
    seeds: [0]
    devices: cpu
    report: never
"""


def test_a_run_of_a_sweep_that_was_killed_goes_on_to_the_same_bits(trainer: Project) -> None:
    """The best weights, which are those of the first epoch here, outlast the attempt that has written them."""
    trainer.write("whole.yaml", LONG.replace("NAME", "whole"))
    trainer.write("killed.yaml", LONG.replace("NAME", "killed"))
    assert trainer.run("whole.yaml").returncode == 0
    process = trainer.start("run", "killed.yaml")
    runs = trainer.path / "outputs" / "killed" / "runs"
    wait_until(lambda: any(b"epoch=6 " in log.read_bytes() for log in runs.glob("*/stdout.log")), "it trains")
    process.kill()
    process.communicate()
    wait_until(lambda: not trainer.survivors(), "its run is gone too")
    done = trainer.run("killed.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    (one,) = (trainer.path / "outputs" / "whole" / "runs").iterdir()
    (other,) = runs.iterdir()
    assert "goes on from" in (other / "stderr.log").read_text()
    for name in ("metrics.csv", "best.pt", "stdout.log"):
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
