"""``sweepline batch-size`` as a person runs it."""

from __future__ import annotations

import json
import re

import pytest

from tests.conftest import Project

DIGITS = ("data.name=digits", "data.limit=400", "model.width=8", "batch_size_config.memory_budget_gib=0.5")


def test_it_prints_four_lines_with_reasons_records_and_draws(project: Project) -> None:
    project.write("config.yaml", "data: {name: digits, limit: 400}\nwandb: {mode: disabled}\n")
    done = project.command(
        "batch-size", "--config", "config.yaml", "--steps", "60", "--", *DIGITS, CUDA_VISIBLE_DEVICES=""
    )
    assert done.returncode == 0, done.stderr
    lines = {line[:18].strip(): line[19:] for line in done.stdout.splitlines()}
    assert lines["largest that fits"].startswith("400 (nothing larger was tried, limit 512 MiB)")
    # One seed, one thread: the same noise on every machine. Times differ; what follows from them is a test of advice.
    assert re.fullmatch(r"\d+ \(\d+\.\.\d+\) \(gradient noise scale in 60 steps at 64, .*\)", lines["critical size"])
    assert re.match(r"\d+ \(\d+\.\.\d*; a step takes [\d.]+ ms \+ [\d.]+ µs an example\)", lines["fastest size"])
    chosen = int(lines["chosen"].split()[0])
    assert chosen in [1 << i for i in range(8)] or chosen == 200
    folder = project.path / "outputs/experimentruns/digits/simple_cnn/width_8/no_distillation/normal"
    record = json.loads((folder / "batch_size_tuning.json").read_text())["records"]["1"]
    assert (record["recommended_batch_size"], record["process"]) == (chosen, None)
    proposed = json.loads((folder / "configs/frozen_config_run_002.json").read_text())["batch_size_config"]
    assert (proposed["tuned_batch_size"], proposed["optimize_batch_size"]) == (chosen, False)
    assert (folder / "plots/batch_size_run_001.png").stat().st_size > 1000

    history = project.command("batch-size", "--history", str(folder))
    assert history.returncode == 0
    assert "batch_size_history.png" in history.stdout


def test_too_few_steps_for_a_noise_scale_are_said(project: Project) -> None:
    done = project.command("batch-size", "--no-plot", "--steps", "0", "--", *DIGITS, CUDA_VISIBLE_DEVICES="")
    assert done.returncode == 0, done.stderr
    assert "critical size      not identifiable" in done.stdout
    assert "no noise scale, so nothing tells what is fastest" in done.stdout
    assert not list(project.path.rglob("*.png"))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--", "learner.lr=1"], "sweepline: override learner.lr=1: unknown key 'learner.lr'"),
        (["--history"], "sweepline: --history takes the folder of an experiment"),
        (["--history", "nowhere"], "sweepline: nowhere/batch_size_tuning.json: not there"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(project: Project, words: list[str], sentence: str) -> None:
    done = project.command("batch-size", *words)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
