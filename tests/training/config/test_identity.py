"""Which keys make another run of a config, and which only tell where it writes and how long it goes on."""

from __future__ import annotations

import pytest

from sweepline.training.config.identity import report_sizes, result_identity, trained_sizes
from sweepline.training.config.loading import load_config

N_EXAMPLES = 100


@pytest.mark.parametrize(
    "override",
    [
        "epochs=9",
        "output_dir=/elsewhere",
        "run_numbers=always",
        "tensorboard=true",
        "data.root=/elsewhere",
        "checkpoint.keep=5",
        "checkpoint.interval_s=1",
        "wandb.tags=[a]",
        "wandb.mode=disabled",
        "batch_size_config.probe_timeout_s=5",
        "batch_size_config.max_batch_size=64",
    ],
)
def test_what_decides_no_number_keeps_a_checkpoint(override: str) -> None:
    assert result_identity(load_config(None, [override]), N_EXAMPLES) == result_identity(load_config(None), N_EXAMPLES)


@pytest.mark.parametrize(
    "override",
    [
        "seed=1",
        "threads=2",
        "deterministic=true",
        "batch_size=32",
        "accumulate=2",
        "drop_last=true",
        "gradient_clip=1.0",
        "data.limit=50",
        "model.width=8",
        "learner.opt=adam",
        "learner.step_size=0.1",
        "evaluate.every=1",
        "noise_every=3",
        "batch_size_config.target_batch_size=256",
    ],
)
def test_what_decides_numbers_makes_a_checkpoint_that_of_another_run(override: str) -> None:
    assert result_identity(load_config(None, [override]), N_EXAMPLES) != result_identity(load_config(None), N_EXAMPLES)


def test_a_scaled_step_size_decides_numbers_and_the_way_to_it_does_not() -> None:
    plain = load_config(None, ["learner.step_size=0.04", "batch_size=80"])
    rule = ["batch_size_config.lr_rule=linear", "batch_size_config.reference_batch_size=20"]
    scaled = load_config(None, ["learner.step_size=0.01", "batch_size=80", *rule])
    assert result_identity(plain, N_EXAMPLES) == result_identity(scaled, N_EXAMPLES)


@pytest.mark.parametrize(
    ("overrides", "metrics", "marks"),
    [
        ([], {}, {}),
        (["batch_size=256"], {"run_batch_size": 100}, {"_run_batch_size": 100}),
        (
            ["batch_size=50", "batch_size_config.lr_rule=linear", "batch_size_config.reference_batch_size=25"],
            {"effective_step_size": 0.02},
            {"_effective_step_size": 0.02},
        ),
        (
            ["batch_size=256", "batch_size_config.lr_rule=sqrt", "batch_size_config.reference_batch_size=25"],
            {"run_batch_size": 100, "effective_step_size": 0.02},
            {"_run_batch_size": 100, "_effective_step_size": 0.02},
        ),
    ],
)
def test_what_trained_is_told_where_it_was_not_simply_asked_for(
    overrides: list[str], metrics: dict[str, float], marks: dict[str, float]
) -> None:
    config = load_config(None, overrides)
    assert report_sizes(config, N_EXAMPLES, n_splits=1) == metrics
    assert trained_sizes(config, config, N_EXAMPLES) == marks


def test_which_of_several_gpus_a_run_gets_decides_nothing() -> None:
    configs = [load_config(None, [f"device={name}"]) for name in ("cuda", "cuda:0", "cuda:3", "cpu")]
    assert len({result_identity(config, N_EXAMPLES) for config in configs}) == 2
