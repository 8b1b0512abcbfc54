"""Runs that tune, reuse, accumulate, run out of memory and go on: real processes, real allocation failures."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from sweepline.contract.metrics import parse_metric_line
from sweepline.contract.yamlfile import read_yaml
from tests.conftest import DEADLINE_S, EXPERIMENT, Project, wait_until
from tests.forked import run_forked

DATA = os.environ.get("SWEEPLINE_DATA", "")
HAS_MNIST = bool(DATA) and (Path(DATA) / "MNIST" / "raw" / "train-images-idx3-ubyte").exists()
TRAINER = (sys.executable, str(EXPERIMENT / "train_single.py"))
DIGITS = ("data.name=digits", "data.limit=400", "model.width=8", "wandb.mode=disabled")
ON_A_TERMINAL = ("env", "--default-signal=INT")  # a shell's background jobs ignore it
TUNING = ("batch_size_config.optimize_batch_size=true", "batch_size_config.memory_budget_gib=0.5")
SMALL = "batch_size_config.memory_budget_gib=0.02"


class Lab(Project):
    """A folder in which runs are started by hand."""

    def train(
        self, *words: str, overrides: tuple[str, ...] = DIGITS, **environ: str
    ) -> subprocess.CompletedProcess[str]:
        """Run ``train_single.py`` to its end; words before ``--`` are options."""
        options = [word for word in words if word.startswith("--") or word.endswith((".json", ".yaml"))]
        rest = [word for word in words if word not in options]
        return run_forked(
            [TRAINER[1], *options, "--", f"output_dir={self.path}", *overrides, *rest],
            cwd=self.path,
            environ=self.environment({"CUDA_VISIBLE_DEVICES": "", **environ}),
        )

    @property
    def experiment(self) -> Path:
        """The only experiment's folder."""
        return next(self.path.rglob("run_counter.txt")).parent

    def record(self, number: int) -> dict[str, Any]:
        """Return a record of the tuning log."""
        records = json.loads((self.experiment / "batch_size_tuning.json").read_text())["records"]
        found: dict[str, Any] = records[str(number)]
        return found

    def frozen(self, number: int) -> Path:
        """Return where a frozen config is."""
        return self.experiment / "configs" / f"frozen_config_run_{number:03d}.json"

    def weights(self, number: int) -> dict[str, torch.Tensor]:
        """Return what a run has learned."""
        path = next((self.experiment / "models").glob(f"*_run_{number:03d}.pth"))
        found: dict[str, torch.Tensor] = torch.load(path, weights_only=True)
        return found


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def metrics_of(output: str) -> dict[str, float]:
    """Return the last value of every metric that was printed."""
    points = [parse_metric_line(line) for line in output.splitlines()]
    return {name: value for point in points if point for name, value in point.values.items()}


def same_weights(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_a_run_tunes_and_the_next_one_uses_what_it_found(lab: Lab) -> None:
    first = lab.train(*TUNING, "batch_size_config.safety_factor=0.35")
    assert first.returncode == 0, first.stderr
    assert "Run number: 001" in first.stdout
    assert re.search(r"^Trying batch_size=64 \.\.\. ok \([\d,]+ MiB, [\d.]+ ms a step\)$", first.stdout, re.MULTILINE)
    assert "Training batch size: 140 (tuned_prev: None, safety_factor: 0.35; 400 * 0.35 = 140 -> 140)" in first.stdout
    assert metrics_of(first.stdout)["run_batch_size"] == 140
    record = lab.record(1)
    assert (record["tuner_max_batch_size"], record["tuner_status"], record["run_batch_size"]) == (400, "success", 140)
    assert (record["training_succeeded"], record["recommended_batch_size"], record["process"]) == (True, 140, None)
    assert [probe["batch_size"] for probe in record["probes"]] == [64, 128, 256, 400, 400]
    effective = next(lab.path.glob("single/*/config.yaml"))
    sizes = read_yaml(effective).value["batch_size_config"]
    assert (sizes["default_batch_size"], sizes["tuned_batch_size"], sizes["optimize_batch_size"]) == (64, 140, False)
    assert "torch" in json.loads(effective.with_name("env.json").read_text())
    asked = json.loads(lab.frozen(1).read_text())["batch_size_config"]
    following = json.loads(lab.frozen(2).read_text())["batch_size_config"]
    assert (asked["tuned_batch_size"], asked["optimize_batch_size"]) == (None, True)
    assert (following["tuned_batch_size"], following["optimize_batch_size"]) == (140, False)

    second = lab.train("--frozen-config", str(lab.frozen(2)), "--seed=123", overrides=())
    assert second.returncode == 0, second.stderr
    assert "Run number: 002" in second.stdout
    assert "Trying" not in second.stdout
    assert lab.record(2)["run_batch_size"] == 140
    assert lab.record(2)["tuner_status"] == "skipped"
    assert json.loads(lab.frozen(2).read_text())["seed"] == 123
    assert not same_weights(lab.weights(1), lab.weights(2))

    for replay in (("--frozen-config", str(lab.frozen(1))), ("--config", str(effective))):
        assert lab.train(*replay, overrides=()).returncode == 0
    assert [lab.record(number)["run_batch_size"] for number in (3, 4)] == [140, 140]
    assert same_weights(lab.weights(1), lab.weights(3))
    assert same_weights(lab.weights(1), lab.weights(4))


def test_tuning_leaves_no_trace_in_the_training(lab: Lab) -> None:
    assert lab.train(*TUNING, "evaluate.every=1").returncode == 0
    assert lab.train("batch_size=200", "evaluate.every=1").returncode == 0
    assert lab.record(1)["run_batch_size"] == lab.record(2)["run_batch_size"] == 200
    assert same_weights(lab.weights(1), lab.weights(2))


def test_a_frozen_config_repeats_its_run_to_the_last_bit(lab: Lab) -> None:
    lab.train("seed=5", "batch_size=50")
    again = lab.train("--frozen-config", str(lab.frozen(1)), overrides=())
    assert again.returncode == 0, again.stderr
    assert same_weights(lab.weights(1), lab.weights(2))


def test_a_run_by_hand_without_tuning_has_a_number_and_proposes_nothing(lab: Lab) -> None:
    done = lab.train("batch_size=50")
    assert "Training batch size" not in done.stdout
    assert "run_batch_size" not in metrics_of(done.stdout)
    assert lab.record(1)["run_batch_size"] == 50
    assert not lab.frozen(2).exists()


def test_numbers_can_be_left_out(lab: Lab) -> None:
    assert lab.train("run_numbers=never").returncode == 0
    assert not list(lab.path.rglob("run_counter.txt"))


def test_in_a_given_folder_a_plain_run_takes_no_number(lab: Lab) -> None:
    done = lab.train("batch_size=50", SWEEPLINE_RUN_DIR=str(lab.path / "run"))
    assert done.returncode == 0
    assert not list(lab.path.rglob("run_counter.txt"))
    assert lab.train("run_numbers=always", SWEEPLINE_RUN_DIR=str(lab.path / "run")).returncode == 0
    assert list(lab.path.rglob("run_counter.txt"))


def test_once_tunes_once_for_all_runs_of_a_set_up(lab: Lab) -> None:
    once = ("batch_size_config.optimize_batch_size=once", "batch_size_config.memory_budget_gib=0.5")
    command = [*TRAINER, "--", f"output_dir={lab.path}", *DIGITS, *once]
    environ = lab.environment({"CUDA_VISIBLE_DEVICES": ""})
    runs = [
        subprocess.Popen([*command, f"seed={seed}"], cwd=lab.path, env=environ, stdout=subprocess.PIPE, text=True)
        for seed in range(3)
    ]
    outputs = [run.communicate(timeout=DEADLINE_S)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0, 0]
    assert sum("Trying" in output for output in outputs) == 1
    assert sorted(lab.record(number)["tuner_status"] for number in (1, 2, 3)) == ["reused", "reused", "success"]
    assert {lab.record(number)["run_batch_size"] for number in (1, 2, 3)} == {200}
    other = lab.train(*once, "model.width=4")
    assert "Trying" in other.stdout


def test_a_target_is_accumulated_and_gives_the_gradients_of_the_whole_batch(lab: Lab) -> None:
    target = ("batch_size_config.target_batch_size=90", "learner.momentum=0.0", "drop_last=true")
    parts = lab.train(*target, "batch_size_config.default_batch_size=40")
    whole = lab.train("batch_size=90", "learner.momentum=0.0", "drop_last=true")
    assert (parts.returncode, whole.returncode) == (0, 0), parts.stderr
    assert "Training batch size: 40, accumulated to 90" in parts.stdout
    one, other = metrics_of(parts.stdout), metrics_of(whole.stdout)
    assert one["epoch_loss"] == pytest.approx(other["epoch_loss"], rel=1e-5)
    for name, value in lab.weights(1).items():
        torch.testing.assert_close(value, lab.weights(2)[name], rtol=1e-4, atol=1e-6)


def test_a_size_beyond_the_data_is_the_data(lab: Lab) -> None:
    done = lab.train("batch_size_config.tuned_batch_size=5000")
    assert done.returncode == 0
    assert lab.record(1)["run_batch_size"] == 400


def test_a_size_found_within_a_smaller_bound_is_not_reused_without_it(lab: Lab) -> None:
    once = ("batch_size_config.optimize_batch_size=once", "batch_size_config.memory_budget_gib=0.5")
    assert lab.train(*once, "batch_size_config.max_batch_size=64").returncode == 0
    assert lab.train(*once).returncode == 0
    assert lab.train(*once, "batch_size_config.max_batch_size=50").returncode == 0
    records = [lab.record(number) for number in (1, 2, 3)]
    assert [record["tuner_status"] for record in records] == ["success", "success", "reused"]
    assert [record["run_batch_size"] for record in records] == [32, 200, 50]


def test_what_is_asked_for_stays_in_the_config_where_a_bound_makes_it_smaller(lab: Lab) -> None:
    done = lab.train("batch_size=80", "batch_size_config.target_batch_size=60", "batch_size_config.max_batch_size=30")
    assert done.returncode == 0, done.stderr
    assert read_yaml(next(lab.path.glob("single/*/config.yaml"))).value["batch_size"] == 80
    assert metrics_of(done.stdout)["run_batch_size"] == 30


def test_dropping_all_of_the_data_after_tuning_is_refused_and_recorded(lab: Lab) -> None:
    done = lab.train(*TUNING, "accumulate=4", "drop_last=true")
    assert done.returncode == 2
    assert "drop_last drops all of 400 examples with 800 in a step" in done.stderr
    assert "drop_last" in lab.record(1)["training_error"]


def test_dropping_all_of_the_data_is_refused(lab: Lab) -> None:
    done = lab.train("drop_last=true", "batch_size=500")
    assert done.returncode == 2
    assert done.stderr == (
        "train_single: drop_last drops all of 400 examples with 500 in a step: use a smaller batch size\n"
    )


def test_where_nothing_fits_it_is_said_and_recorded(lab: Lab) -> None:
    done = lab.train(TUNING[0], "batch_size_config.memory_budget_gib=1e-6", "model.width=256")
    assert done.returncode == 2
    assert "train_single: no batch size fits: 7 sizes were tried, down to 1" in done.stderr
    record = lab.record(1)
    assert (record["tuner_status"], record["training_succeeded"]) == ("failed", False)
    assert record["training_error"].startswith("batch size: no batch size fits")
    assert {probe["status"] for probe in record["probes"]} == {"oom"}


# Memory that runs out in training


def test_memory_that_runs_out_ends_the_run_with_a_record_and_a_recommendation(lab: Lab) -> None:
    done = lab.train(SMALL, "batch_size=400", "model.width=64")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert re.search(r"^train_single: out of memory with 400 examples at once: ", done.stderr, re.MULTILINE)
    assert metrics_of(done.stdout) == {"run_batch_size": 400, "recommended_batch_size": 320}
    record = lab.record(1)
    assert (record["training_succeeded"], record["recommended_batch_size"]) == (False, 320)
    assert record["training_error"].startswith("out of memory")
    following = json.loads(lab.frozen(2).read_text())["batch_size_config"]
    assert (following["tuned_batch_size"], following["optimize_batch_size"]) == (320, True)


def test_a_tuned_size_that_no_longer_fits_is_tuned_again_by_the_next_run(lab: Lab) -> None:
    failed = lab.train(SMALL, "batch_size_config.tuned_batch_size=400", "model.width=64")
    assert failed.returncode == 1
    again = lab.train("--frozen-config", str(lab.frozen(2)), overrides=())
    assert again.returncode == 0, again.stdout + again.stderr
    assert "Trying batch_size=320 ... " in again.stdout
    assert lab.record(2)["tuned_batch_size_previous"] == 320
    assert lab.record(2)["run_batch_size"] < 320


def test_where_accumulation_may_grow_the_batch_is_split_once_and_it_is_said(lab: Lab) -> None:
    split = lab.train(
        "batch_size_config.memory_budget_gib=0.04", "batch_size=400", "model.width=128", "accumulate=auto"
    )
    assert split.returncode == 0, split.stdout + split.stderr
    assert "out of memory with 400 examples at once" in split.stderr
    assert "going on with 200" in split.stderr
    assert metrics_of(split.stdout)["run_batch_size"] == 200
    assert lab.record(1)["run_batch_size"] == 200
    assert "400 did not fit in training" in lab.record(1)["notes"]
    whole = lab.train("batch_size=400", "model.width=128")
    one, other = metrics_of(split.stdout), metrics_of(whole.stdout)
    assert one["epoch_loss"] == pytest.approx(other["epoch_loss"], rel=1e-5)


def test_evaluation_that_does_not_fit_goes_on_in_smaller_parts(lab: Lab) -> None:
    budget = ("batch_size_config.memory_budget_gib=0.013", "batch_size=8", "model.width=64", "evaluate.every=1")
    small = lab.train(*budget)
    assert small.returncode == 0, small.stdout + small.stderr
    assert "out of memory in evaluation" in small.stderr
    whole = lab.train("batch_size=8", "model.width=64", "evaluate.every=1")
    assert metrics_of(small.stdout)["test_accuracy"] == metrics_of(whole.stdout)["test_accuracy"]


# Ends


def test_a_run_whose_reader_has_gone_trains_to_its_end(lab: Lab) -> None:
    reading, writing = os.pipe()
    run = subprocess.Popen(
        [*TRAINER, "--", f"output_dir={lab.path}", *DIGITS],
        cwd=lab.path,
        env=lab.environment({"CUDA_VISIBLE_DEVICES": ""}),
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(reading)
    os.close(writing)
    _, said = run.communicate(timeout=DEADLINE_S)
    assert (run.returncode, said.count("nobody reads the output any more"), said.count("Traceback")) == (0, 1, 0)
    assert lab.record(1)["training_succeeded"] is True
    assert lab.weights(1)


# Stops and kills


def start(lab: Lab, *overrides: str, run_dir: Path, stdout: int = subprocess.DEVNULL) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*ON_A_TERMINAL, *TRAINER, "--", f"output_dir={lab.path}", *DIGITS, *overrides],
        cwd=lab.path,
        env=lab.environment({"CUDA_VISIBLE_DEVICES": "", "SWEEPLINE_RUN_DIR": str(run_dir)}),
        stdout=stdout,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def test_a_run_that_is_stopped_goes_on_with_its_number_and_size(lab: Lab) -> None:
    run_dir = lab.path / "run"
    run = start(lab, *TUNING, "epochs=100000", run_dir=run_dir)
    wait_until((run_dir / "metrics.csv").exists, "it trains")
    run.send_signal(signal.SIGTERM)
    assert run.wait(DEADLINE_S) == 143
    assert lab.record(1)["training_error"].startswith("stopped")
    n_done = len(pd.read_csv(run_dir / "metrics.csv"))
    again = start(lab, *TUNING, "epochs=100000", run_dir=run_dir, stdout=subprocess.PIPE)
    wait_until(lambda: len(pd.read_csv(run_dir / "metrics.csv")) > n_done, "it goes on")
    again.send_signal(signal.SIGTERM)
    output, _ = again.communicate(timeout=DEADLINE_S)
    assert "Run number: 001, going on" in output
    assert "Trying" not in output
    assert (lab.experiment / "run_counter.txt").read_text() == "2\n"
    assert lab.record(1)["run_batch_size"] == 200


def test_a_run_that_is_killed_is_recorded_by_the_next(lab: Lab) -> None:
    run_dir = lab.path / "run"
    run = start(lab, *TUNING, "epochs=100000", run_dir=run_dir)
    wait_until((run_dir / "metrics.csv").exists, "it trains")
    run.kill()
    run.wait()
    following = lab.train("batch_size=50")
    assert "Run 001 was killed" in following.stdout
    assert lab.record(1)["training_error"] == "killed: it ended without a word"
    assert lab.record(2)["training_succeeded"] is True


def test_ctrl_c_is_a_sentence_and_is_recorded(lab: Lab) -> None:
    run_dir = lab.path / "run"
    run = start(lab, "batch_size_config.tuned_batch_size=50", "epochs=100000", run_dir=run_dir, stdout=subprocess.PIPE)
    wait_until((run_dir / "metrics.csv").exists, "it trains")
    run.send_signal(signal.SIGINT)
    run.communicate(timeout=DEADLINE_S)
    assert run.returncode == 130
    assert lab.record(1)["training_error"] == "KeyboardInterrupt"


def test_a_run_that_is_killed_while_it_probes_leaves_no_process(lab: Lab) -> None:
    run = start(lab, *TUNING, "batch_size_config.steps_per_probe=1000000", run_dir=lab.path / "run")
    wait_until(lambda: len(children(run.pid)) == 1, "it probes")
    (probe,) = children(run.pid)
    run.kill()
    run.wait()
    wait_until(lambda: not is_alive(probe), "the probe is gone")


def children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] != b"Z"
    except OSError:
        return False


# The first batch, the noise scale, the step size


def test_a_first_batch_that_differs_from_the_record_ends_the_run(lab: Lab) -> None:
    planted = (
        "import sys\nfrom sweepline.training import commandline\n"
        "from sweepline.training.experiment import numbered\n"
        "old = numbered.NumberedRun.check_first_batch\n"
        "def spoil(self, inputs, n_examples):\n    old(self, inputs[1:], n_examples)\n"
        "numbered.NumberedRun.check_first_batch = spoil\nsys.exit(commandline.main())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", planted, "--", f"output_dir={lab.path}", *DIGITS, "batch_size=50"],
        cwd=lab.path,
        env=lab.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "the first batch has 49 examples, the record of run 1 says 50" in done.stderr
    assert "first batch" in lab.record(1)["training_error"]


def test_the_noise_scale_is_reported_and_training_is_not_changed_by_it(lab: Lab) -> None:
    plain = lab.train("batch_size=50", "epochs=4")
    measured = lab.train("batch_size=50", "epochs=4", "noise_every=1")
    scales = {name: value for name, value in metrics_of(measured.stdout).items() if name.startswith("noise")}
    assert {name.removeprefix("noise_scale") for name in scales} == {"", "_low", "_high", "_start", "_end"}
    assert 0 < scales["noise_scale_low"] <= scales["noise_scale"] <= scales["noise_scale_high"]
    assert same_weights(lab.weights(1), lab.weights(2))
    assert plain.returncode == measured.returncode == 0


def test_a_rule_for_the_step_size_is_said(lab: Lab) -> None:
    rule = ("batch_size_config.lr_rule=linear", "batch_size_config.reference_batch_size=64")
    done = lab.train("batch_size=128", *rule)
    assert "step size 0.01 becomes 0.02: lr_rule linear, 64 -> 128 examples a step" in done.stderr
    scaled = lab.train("batch_size=128", "learner.step_size=0.02")
    assert scaled.returncode == 0
    assert same_weights(lab.weights(1), lab.weights(2))


@pytest.mark.skipif(not HAS_MNIST, reason="SWEEPLINE_DATA names no folder with MNIST")
def test_the_design_notes_trace_with_real_allocation_failures(lab: Lab) -> None:
    budget = (
        "batch_size_config.memory_budget_gib=0.085",
        "batch_size_config.safety_factor=0.55",
        "batch_size_config.granularity=64",
    )
    mnist = ("data.limit=1000", "wandb.mode=disabled", "checkpoint.enabled=false")
    done = lab.train(TUNING[0], *budget, overrides=mnist, SWEEPLINE_DATA=DATA)
    assert done.returncode == 0, done.stdout + done.stderr
    tried = re.findall(r"^(Trying|Confirming) batch_size=(\d+) \.\.\. (ok|out of memory)", done.stdout, re.MULTILINE)
    assert tried == [
        ("Trying", "64", "ok"),
        ("Trying", "128", "ok"),
        ("Trying", "256", "out of memory"),
        ("Trying", "192", "ok"),
        ("Confirming", "192", "ok"),
    ]
    assert "Training batch size: 105 (tuned_prev: None, safety_factor: 0.55; 192 * 0.55 = 105.6 -> 105)" in done.stdout
