"""Names that a config may choose from."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweepline.errors import ConfigError
from sweepline.training.config.loading import load_config
from sweepline.training.registry import OPTIMIZERS


def faults_of(path: Path | None, *overrides: str) -> tuple[str, ...]:
    """Return the faults that refuse a config."""
    with pytest.raises(ConfigError) as caught:
        load_config(path, overrides)
    return caught.value.faults


# Optimizer names


@pytest.mark.parametrize("name", [*OPTIMIZERS.names, "SGD", "Adam", "AdamW", "NAdam"])
def test_an_optimizer_is_accepted_by_our_name_and_by_torchs(name: str) -> None:
    assert load_config(None, [f"learner.opt={name}"]).learner.opt == name


@pytest.mark.parametrize(
    ("name", "nearest"), [("adamm", "adam"), ("sdg", "sgd"), ("adam_w", "adamw"), ("rmspropp", "rmsprop")]
)
def test_an_unknown_optimizer_is_refused_with_the_nearest_known_one(name: str, nearest: str) -> None:
    (fault,) = faults_of(None, f"learner.opt={name}")
    assert f"unknown learner.opt '{name}'; did you mean '{nearest}'?" in fault


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("lbfgs", "needs a closure"),
        ("LBFGS", "needs a closure"),
        ("SparseAdam", "needs sparse gradients"),
        ("muon", "takes matrices only"),
    ],
)
def test_an_optimizer_that_cannot_train_this_network_is_refused_with_the_reason(name: str, reason: str) -> None:
    (fault,) = faults_of(None, f"learner.opt={name}")
    assert f"'{name}' {reason}; use another" in fault
