"""Which size is used: factors by mode, decimal arithmetic, bounds, step sizes; configs that contradict themselves."""

from __future__ import annotations

from typing import Any

import pytest

from sweepline.errors import ConfigError
from sweepline.fits.search import apply_factor
from sweepline.training.batchsize.policy import (
    is_tuned,
    limit_size,
    safety_factor,
    size_cap,
    size_without_tuning,
    tuning_key,
)
from sweepline.training.config.loading import load_config
from sweepline.training.config.schema import TrainConfig
from sweepline.training.config.sizes import scaled_step_size


def make(**sizes: Any) -> TrainConfig:
    """Return a config with these values of ``batch_size_config``; ``mode`` and ``distills`` are those of training."""
    mode, distills = sizes.pop("mode", "normal"), sizes.pop("distills", False)
    return TrainConfig.model_validate(
        {"batch_size_config": sizes, "training": {"mode": mode, "use_knowledge_distillation": distills}}
    )


@pytest.mark.parametrize(
    ("found", "factor", "used"),
    [(192, 0.55, 105), (180, 0.35, 63), (100, 1.0, 100), (1, 0.5, 1), (10, 0.29, 2), (1000, 0.1, 100)],
)
def test_the_factor_is_applied_in_decimal_arithmetic_and_leaves_at_least_one(
    found: int, factor: float, used: int
) -> None:
    assert apply_factor(found, factor) == used


@pytest.mark.parametrize(
    ("config", "factor"),
    [
        (make(safety_factor=0.4), 0.4),
        (make(curriculum_safety_factor=0.9), 0.5),
        (make(mode="curriculum"), 0.5),
        (make(mode="curriculum", curriculum_safety_factor=0.3), 0.3),
        (make(distills=True, kd_safety_factor=0.25), 0.25),
        (make(mode="curriculum", distills=True, curriculum_safety_factor=0.3, kd_safety_factor=0.2), 0.3),
    ],
)
def test_the_modes_own_factor_wins(config: TrainConfig, factor: float) -> None:
    assert safety_factor(config) == (factor, None)


def test_a_factor_of_a_mode_that_is_larger_than_the_common_one_is_said() -> None:
    factor, note = safety_factor(make(mode="curriculum", curriculum_safety_factor=0.9))
    assert (factor, note) == (0.9, "curriculum_safety_factor 0.9 is larger than safety_factor 0.5")


@pytest.mark.parametrize(
    ("config", "size"),
    [
        (make(), 64),
        (make(tuned_batch_size=105), 105),
        (make(target_batch_size=256, default_batch_size=32), 32),
        (make(mode="fusion", fusion_batch_size=32, tuned_batch_size=105), 32),
        (make(fusion_batch_size=32), 64),
        (make(default_batch_size=128), 128),
        (make(default_batch_size=128, tuned_batch_size=105), 105),
    ],
)
def test_without_tuning_the_size_is_the_tuned_else_the_default(config: TrainConfig, size: int) -> None:
    assert size_without_tuning(config)[0] == size


def test_a_size_for_fusion_is_never_tuned() -> None:
    assert is_tuned(make(optimize_batch_size=True))
    assert not is_tuned(make(optimize_batch_size=True, mode="fusion", fusion_batch_size=32))


@pytest.mark.parametrize(
    ("config", "size", "limited"),
    [(make(), 500, 300), (make(max_batch_size=100), 500, 100), (make(target_batch_size=40), 500, 40), (make(), 7, 7)],
)
def test_data_bound_and_target_limit_a_size(config: TrainConfig, size: int, limited: int) -> None:
    assert limit_size(config, size, 300) == limited


@pytest.mark.parametrize(("n", "rate"), [(32, 0.005), (64, 0.01), (128, 0.02), (256, 0.03), (9999, 0.03)])
def test_the_linear_rule_goes_no_further_than_to_the_critical_size(n: int, rate: float) -> None:
    config = make(lr_rule="linear", reference_batch_size=64, critical_batch_size=192)
    assert scaled_step_size(config, n) == pytest.approx(rate)


@pytest.mark.parametrize(("rule", "rate"), [("none", 0.01), ("linear", 0.04), ("sqrt", 0.02)])
def test_the_step_size_follows_its_rule_alone(rule: str, rate: float) -> None:
    assert scaled_step_size(make(lr_rule=rule, reference_batch_size=64), 256) == pytest.approx(rate)


def test_set_ups_that_need_other_memory_have_other_keys() -> None:
    base = load_config(None, [])
    same = [load_config(None, [text]) for text in ("seed=3", "learner.step_size=0.5", "epochs=7", "batch_size=128")]
    other = [load_config(None, [text]) for text in ("model.width=64", "learner.opt=adam", "learner.momentum=0.5")]
    assert {tuning_key(config, "cpu") for config in same} == {tuning_key(base, "cpu")}
    assert tuning_key(base, "cpu") not in {tuning_key(config, "cpu") for config in other}
    assert tuning_key(base, "cpu") != tuning_key(base, "NVIDIA H200")


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["batch_size_config.safety_factor=1.2"], "safety_factor should be less than or equal to 1, got 1.2"),
        (["batch_size_config.safety_factor=0"], "safety_factor should be greater than 0"),
        (
            ["batch_size=32", "batch_size_config.optimize_batch_size=true"],
            "override batch_size=32: batch_size_config.optimize_batch_size decides the batch size; to begin a search "
            "elsewhere set batch_size_config.default_batch_size instead",
        ),
        (["batch_size=32", "batch_size_config.tuned_batch_size=8"], "batch_size_config.tuned_batch_size decides"),
        (["batch_size_config.lr_rule=sqrt"], "scales from batch_size_config.reference_batch_size"),
        (["accumulate=2", "batch_size_config.target_batch_size=64"], "set only one of them"),
        (["training.mode=curriculum"], "training.mode curriculum: set training.difficulty"),
        (["training.use_knowledge_distillation=true"], "use_knowledge_distillation: needs training.teacher"),
        (["accumulate=half"], "accumulate needs a whole number above zero, or auto; got 'half'"),
        (["accumulate=0"], "accumulate needs a whole number above zero, or auto; got 0"),
        (
            ["batch_size_config.optimize_batch_size=twice"],
            "optimize_batch_size needs true, false or once; got 'twice'",
        ),
        (["batch_size=32", "batch_size_config.default_batch_size=8"], "default_batch_size decides the batch size"),
        (["run_numbers=never", "batch_size_config.tuned_batch_size=8"], "run_numbers is never, but batch_size_config"),
    ],
)
def test_a_config_that_contradicts_itself_is_refused(overrides: list[str], sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(None, overrides)
    assert sentence in str(caught.value)


def test_a_factor_of_one_uses_all_that_fits() -> None:
    assert (
        apply_factor(192, load_config(None, ["batch_size_config.safety_factor=1.0"]).batch_size_config.safety_factor)
        == 192
    )


def test_the_old_place_of_a_key_is_moved_and_said_once() -> None:
    remarks: list[str] = []
    config = load_config(None, ["training.optimize_batch_size=true"], remarks=remarks)
    assert config.batch_size_config.optimize_batch_size is True
    assert remarks == [
        "override training.optimize_batch_size=true: training.optimize_batch_size is now "
        "batch_size_config.optimize_batch_size"
    ]


def test_what_stands_at_the_new_place_wins_over_the_old() -> None:
    config = load_config(None, ["training.optimize_batch_size=true", "batch_size_config.optimize_batch_size=false"])
    assert config.batch_size_config.optimize_batch_size is False


@pytest.mark.parametrize(
    ("overrides", "cap"),
    [
        ([], 400),
        (["batch_size_config.safety_factor=1.0"], 200),
        (["accumulate=4"], 100),
        (["batch_size_config.memory_budget_gib=1"], 4000),
        (["batch_size_config.max_batch_size=3000"], 3000),
        (["device=cuda"], 4000),
    ],
)
def test_where_nothing_bounds_a_search_on_a_cpu_an_epoch_keeps_twenty_steps(overrides: list[str], cap: int) -> None:
    assert size_cap(load_config(None, ["device=cpu", *overrides]), 4000) == cap
