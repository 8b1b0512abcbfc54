"""Which flags a draft sweeps, and which values it proposes around a default."""

from __future__ import annotations

from typing import Any

import pytest

from sweepline.config.drafting.proposals import choose_swept, propose
from sweepline.config.drafting.yamltext import format_value
from sweepline.contract.yamlfile import parse_yaml
from sweepline.programs.inspection.facts import Flag


@pytest.mark.parametrize(
    ("flag", "values"),
    [
        (Flag(name="lr", kind="float", default=1e-3), [3e-4, 1e-3, 3e-3]),
        (Flag(name="base-lr", kind="float", default=0.1), [0.03, 0.1, 0.3]),
        (Flag(name="model.optimizer.lr", kind="float", default=0.1), [0.03, 0.1, 0.3]),
        (Flag(name="per_device_train_batch_size", kind="int", default=8), [4, 8, 16]),
        (Flag(name="weight_decay", kind="float", default=0.0), [0.0, 1e-4, 0.01]),
        (Flag(name="dropout", kind="float", default=0.5), [0.3, 0.5, 0.7]),
        (Flag(name="momentum", kind="float", default=0.9), [0.7, 0.9, 0.967]),
        (Flag(name="hidden_dim", kind="int", default=64), [32, 64, 128]),
        (Flag(name="optimizer", kind="str", default="adam", choices=["sgd", "adam"]), ["adam", "sgd"]),
    ],
    ids=lambda value: value.name if isinstance(value, Flag) else "",
)
def test_values_lie_around_the_default(flag: Flag, values: list[Any]) -> None:
    assert [list(proposal.values) for proposal in propose([flag])] == [values]


@pytest.mark.parametrize("name", ["test-batch-size", "min_lr", "epochs", "seed", "log_interval", "teacher_lr", "data"])
def test_what_is_no_hyperparameter_of_the_training_is_not_proposed(name: str) -> None:
    assert propose([Flag(name=name, kind="int", default=64), Flag(name=name, kind="float", default=0.1)]) == []


def test_at_most_four_are_swept_and_few_values_of_each() -> None:
    flags = [
        Flag(name="gamma", kind="float", default=0.9),
        Flag(name="dropout", kind="float", default=0.1),
        Flag(name="wd", kind="float", default=0.01),
        Flag(name="batch_size", kind="int", default=32),
        Flag(name="lr", kind="float", default=0.1),
        Flag(name="head_lr", kind="float", default=0.1),
    ]
    swept = choose_swept(propose(flags), flags)

    assert [proposal.flag.name for proposal in swept] == ["lr", "batch_size", "wd", "dropout"]
    assert [len(proposal.values) for proposal in swept] == [3, 2, 2, 2]


def test_without_a_usual_name_the_first_number_is_swept() -> None:
    flags = [Flag(name="data", kind="str", default="x"), Flag(name="zeta", kind="float", default=2.0)]

    assert [proposal.flag.name for proposal in choose_swept(propose(flags), flags)] == ["zeta"]


@pytest.mark.parametrize(
    "value",
    [
        3e-4,
        0.05,
        1.0,
        1e20,
        -2.5e-7,
        3,
        True,
        None,
        "a, b",
        "${x}",
        "no",
        "1e-3",
        ["a", 1],
        {"style": "click"},
        "x: y",
        "",
    ],
)
def test_values_are_read_as_they_were_written(value: Any) -> None:
    assert parse_yaml(f"k: [{format_value(value)}]", "x").value == {"k": [value]}
