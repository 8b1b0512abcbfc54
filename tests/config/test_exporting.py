"""A sweep file that is exported is W&B's in every key, plans the same runs, and says what W&B cannot do."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml

from sweepline.config.exporting import export_wandb
from sweepline.config.sweepfile import load_sweep
from sweepline.space.plan import Plan, count_all

WANDB_KEYS = {
    *("apiVersion", "kind", "controller", "description", "program", "job", "image_uri", "entity", "project", "method"),
    *("command", "name", "run_cap", "metric", "metrics", "scheduler", "early_terminate", "parameters"),
}
"""What W&B's schema has at the top; it takes no other key."""
PLAIN = """
    program: train.py
    method: grid
    metric: {name: acc, goal: maximize}
    parameters: {lr: [0.1, 1e-5], steps: 10, opt: {values: [sgd, adam]}}
"""


def export(folder: Path, text: str, **options: bool) -> tuple[dict[str, Any], list[str]]:
    """Return an exported file as PyYAML, which W&B reads with, reads it; and the sentences."""
    (folder / "train.py").touch()
    path = folder / "sweep.yaml"
    path.write_text(textwrap.dedent(text))
    exported, notes = export_wandb(path, **options)
    (folder / "wandb.yaml").write_text(exported)
    return yaml.safe_load(exported), notes


def test_short_forms_are_written_out_and_numbers_are_numbers_for_wandb(tmp_path: Path) -> None:
    found, notes = export(tmp_path, PLAIN)

    assert found["parameters"] == {
        "lr": {"values": [0.1, 1e-5]},
        "steps": {"value": 10},
        "opt": {"values": ["sgd", "adam"]},
    }
    assert notes == []


@pytest.mark.parametrize(
    "more",
    ["", "seeds: [0, 1, 2]", "devices: [0]\nretry: 2\nreport: never", "arguments: {style: argparse, booleans: flag}"],
    ids=["plain", "seeds", "own keys", "style"],
)
def test_the_exported_file_plans_as_many_runs_and_has_no_key_of_ours(tmp_path: Path, more: str) -> None:
    found, _ = export(tmp_path, textwrap.dedent(PLAIN) + more)
    plans = [Plan(load_sweep(tmp_path / name).space) for name in ("sweep.yaml", "wandb.yaml")]
    counts = [count_all(plan).n_kept * plan.n_seeds for plan in plans]

    assert set(found) <= WANDB_KEYS
    assert counts[0] == counts[1]


def test_own_keys_stand_there_as_comments_or_under_a_key_of_their_own(tmp_path: Path) -> None:
    text = textwrap.dedent(PLAIN) + "devices: [0]\n"
    export(tmp_path, text)
    commented = (tmp_path / "wandb.yaml").read_text()
    found, _ = export(tmp_path, text, has_own_keys=True)

    assert "# x-sweepline:" in commented
    assert found["x-sweepline"] == {"devices": [0]}


@pytest.mark.parametrize(
    ("more", "command"),
    [
        (
            "arguments: {style: argparse, booleans: flag}",
            ["${env}", "${interpreter}", "${program}", "${args_no_boolean_flags}"],
        ),
        ("arguments: fire", None),
        (
            'command: ["${interpreter}", "${program}", "${args}", "--out=${run_dir}"]',
            ["${interpreter}", "${program}", "${args}"],
        ),
    ],
    ids=["flags", "as W&B writes", "a folder of its own"],
)
def test_the_command_has_macros_of_wandbs_alone(tmp_path: Path, more: str, command: list[str] | None) -> None:
    text = textwrap.dedent(PLAIN).replace("steps: 10", "fast: [true, false]") + more
    found, _ = export(tmp_path, text)

    assert found.get("command") == command


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ('constraints: ["opt=adam -> lr=0.1"]', "constraints: W&B knows none"),
        ("zip: [lr, opt]", "zip: W&B knows none"),
        ("repeats: 3", "repeats: W&B repeats nothing"),
        ("metrics: {acc: 'acc ([\\d.]+)'}", "metrics: W&B reads no output"),
        ("early_terminate: {type: median}", "early_terminate: W&B has hyperband alone"),
        ("early_terminate: {type: asha, min: 2}", "early_terminate: asha is W&B's hyperband"),
        ('command: [python, train.py, "${lr}"]', "command: ${lr}: W&B knows no ${lr}"),
        ("race: 3\nseeds: [0]", "race: W&B adds no seeds at the end"),
    ],
)
def test_what_wandb_cannot_do_is_said(tmp_path: Path, more: str, sentence: str) -> None:
    _, notes = export(tmp_path, textwrap.dedent(PLAIN) + more)

    assert [note for note in notes if sentence in note]


def test_conditional_parameters_become_plain_ones_and_computed_ones_are_left_out(tmp_path: Path) -> None:
    text = """
        program: train.py
        method: grid
        metric: {name: acc, goal: maximize}
        parameters:
          opt: {values: {sgd: {parameters: {lr: [1.0, 0.1]}}, adam: {parameters: {lr: [0.1, 0.01]}}, lion: }}
          batch: [32, 64]
          half: {expr: "batch / 2"}
          warm: {values: [1, 2], when: {batch: 32}}
    """
    found, notes = export(tmp_path, text)

    assert found["parameters"] == {
        "opt": {"values": ["sgd", "adam", "lion"]},
        "lr": {"values": [1.0, 0.1, 0.01]},
        "batch": {"values": [32, 64]},
        "warm": {"values": [1, 2]},
    }
    assert [note.partition(":")[0] for note in notes] == ["parameters.opt", "parameters.half", "parameters.warm"]


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("env: {A: b}", "env: W&B's agent sets no variables"),
        ("cwd: run", "cwd: W&B's agent starts all runs where it was started"),
        ("metrics_from: [tensorboard]", "metrics_from: W&B reads no files of a run"),
        ("prepare: ./x.sh", "prepare: W&B runs nothing before the first run"),
        ("on_failure: ./x.sh", "on_failure: W&B starts no command for a failed run"),
        ("on_end: ./x.sh", "on_end: W&B starts no command at the end"),
    ],
)
def test_what_surrounds_runs_is_named_as_what_wandb_cannot_do(tmp_path: Path, key: str, words: str) -> None:
    found, notes = export(tmp_path, f"{PLAIN.rstrip()}\n    {key}\n")

    assert any(note.startswith(words) for note in notes)
    assert key.partition(":")[0] not in found
