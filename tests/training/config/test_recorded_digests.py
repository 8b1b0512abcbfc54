"""The digests by which checkpoints, stopped runs and tuned sizes are known again, as the first version wrote them.

A checkpoint or a tuning log on a disk holds them: a change here orphans all of these.
"""

from __future__ import annotations

import pytest

from sweepline.training.batchsize.policy import tuning_key
from sweepline.training.config.identity import asked_identity, result_identity
from sweepline.training.config.loading import load_config

N_EXAMPLES = 1000
# what is asked for: overrides, asked_identity, result_identity, tuning_key on a CPU
RECORDED = {
    "default": (
        [],
        "f6c50cb8e180e15db8b43159c3d7dcc818f65e7d04f2583d981663cecb9bcaf5",
        "beffc45dc1e3f081088353b531bc7cac83fd7ae0a42b5e791c84aa566d6dc722",
        "d5476f9d0efd439f",
    ),
    "another seed and device": (
        ["seed=7", "device=cuda:3", "threads=4", "deterministic=true"],
        "2f3c914e9ee3e0ace0851fe3d43be864a1322dd90e418b53ac967256ffea8b66",
        "1cd0ef15656f83658016de7bd0faa262a56eef9d1b8e11f0b7e0f3e5e4d0b746",
        "01f55c8d720fdb35",
    ),
    "where things are written": (
        [
            "output_dir=/elsewhere",
            "run_numbers=never",
            "epochs=9",
            "tensorboard=true",
            "data.root=/data",
            "checkpoint.keep=5",
            "checkpoint.enabled=false",
            "wandb.tags=[a,b]",
            "wandb.mode=disabled",
            "wandb.project=p",
        ],
        "f6c50cb8e180e15db8b43159c3d7dcc818f65e7d04f2583d981663cecb9bcaf5",
        "beffc45dc1e3f081088353b531bc7cac83fd7ae0a42b5e791c84aa566d6dc722",
        "d5476f9d0efd439f",
    ),
    "fewer examples": (
        [
            "data.name=digits",
            "data.limit=200",
            "data.valid_fraction=0.25",
            "evaluate.every=2",
            "evaluate.split=valid",
            "evaluate.batch_size=100",
        ],
        "8949d5bf0a29bce9cc9e668214b6df68fe652c5125c55d0d7e4d2b7e62a7b162",
        "37096102be5659182f056b20aa16429d1f79430a70ade6aab288d2ffbe0aa07a",
        "082c2f78ee86156f",
    ),
    "evaluated on the test portion": (
        ["data.name=fashion_mnist", "evaluate.every=1"],
        "54a773789b89d3c242384be728dc43d3f7cf4080a79f6c9c5de84ce325c3e853",
        "2c594e69c4c742a67591a78ac529deb1ed8bd9163cede7bb8ad17c4f067386c5",
        "87338754544edcf7",
    ),
    "momentum and decay": (
        ["learner.momentum=0.9", "learner.weight_decay=1e-4", "learner.step_size=0.1"],
        "703bf100958ed748da2d9708553cdd366a73a1ee07d5848cf217a6061993e234",
        "51455a339d4bcc309355e532e003c1a72249e1f8249e9e48b42c1deb0ef601fe",
        "89ba4cc6348ed1e6",
    ),
    "adam by torch's name": (
        ["learner.opt=Adam", "learner.beta1=0.9", "learner.beta2=0.99", "learner.eps=1e-6"],
        "ca119584a59ed91a5030c1fab900793b5a88d237079350fa4aa11a2c99eb47cf",
        "3d17bd9b9dd1828e84c6c2d4e6dd52d53d22542df107a81dab92aa9e1acac07a",
        "eb4e98d3534cadd8",
    ),
    "accumulated": (
        ["accumulate=4", "drop_last=true", "gradient_clip=1.0", "batch_size=100"],
        "7f690ff7a4c6c662584e993a3c595ad72f24a69e7e9d07fe6ac6a609beb894cc",
        "239c92b44e13844077fb0590f429814c5279e03b7cfded50a00b29fe6c0394b6",
        "e34387e92b1fd0ba",
    ),
    "halved where memory runs out": (
        ["accumulate=auto", "noise_every=20", "model.width=8"],
        "df8d3e90814dc8275fa45208f577f97a0c7fd2cbe3b6d4b9cf20076193d4af2f",
        "29c785e409f253b816913e54d3c81147dd127b4899643886307fbe373fcad89c",
        "3fec85c822340781",
    ),
    "searched within a budget": (
        [
            "batch_size_config.optimize_batch_size=true",
            "batch_size_config.memory_budget_gib=0.25",
            "batch_size_config.safety_factor=0.8",
            "batch_size_config.granularity=8",
        ],
        "18bd001195b52788679f06a2093debb6140b5928edf90cbd00f6fa0a18b56aca",
        "beffc45dc1e3f081088353b531bc7cac83fd7ae0a42b5e791c84aa566d6dc722",
        "406c89a8be01bd73",
    ),
    "searched once": (
        [
            "batch_size_config.optimize_batch_size=once",
            "batch_size_config.batch_size_mode=power",
            "batch_size_config.max_batch_size_trials=5",
            "batch_size_config.steps_per_probe=5",
        ],
        "9bc0546382c0325ef5ed6b91fdacbf27b3da5895ca974913f0bb4aa18d6ec120",
        "beffc45dc1e3f081088353b531bc7cac83fd7ae0a42b5e791c84aa566d6dc722",
        "d5476f9d0efd439f",
    ),
    "tuned before": (
        [
            "batch_size_config.tuned_batch_size=105",
            "batch_size_config.default_batch_size=64",
            "batch_size_config.max_batch_size=200",
        ],
        "bc45a7ab93218e86ee7bee92e0214bfae375dd2d2c77a25d4e3ceb1483193ddb",
        "beffc45dc1e3f081088353b531bc7cac83fd7ae0a42b5e791c84aa566d6dc722",
        "d5476f9d0efd439f",
    ),
    "towards a target, linearly": (
        [
            "batch_size=50",
            "batch_size_config.target_batch_size=400",
            "batch_size_config.lr_rule=linear",
            "batch_size_config.reference_batch_size=64",
            "batch_size_config.critical_batch_size=256",
        ],
        "a185befaabd0f50a5121c3e55fa01d7a4ed35a9a9c1f1f57a908d204a0a31cce",
        "77ae9de1d528ce2c1fe2f0482451a8e0d67b37d593054972bfe803dd2b6fa2e6",
        "352d0d4e82f450df",
    ),
    "by the root": (
        [
            "batch_size=256",
            "batch_size_config.lr_rule=sqrt",
            "batch_size_config.reference_batch_size=64",
            "batch_size_config.probe_timeout_s=5",
            "batch_size_config.tuning_timeout_s=5",
        ],
        "d7fcfd01abdef01fc13a130c25a8a50cf4a4d482ff2d86c011c56aa8f71cc9c2",
        "c55a7416c02238f77b0569efd1440858f438247f9f6e4a84a17e2f370f4bc0cf",
        "d5476f9d0efd439f",
    ),
    "settings of modes to come": (
        [
            "batch_size_config.curriculum_safety_factor=0.9",
            "batch_size_config.kd_safety_factor=0.7",
            "batch_size_config.fusion_batch_size=32",
        ],
        "30fdebb5df2c680e92b46bdfa994e8a576ac523a2da60fba348c85141a1b8a62",
        "beffc45dc1e3f081088353b531bc7cac83fd7ae0a42b5e791c84aa566d6dc722",
        "d5476f9d0efd439f",
    ),
}


@pytest.mark.parametrize(("overrides", "asked", "result", "memory"), RECORDED.values(), ids=RECORDED.keys())
def test_old_checkpoints_and_tuning_logs_are_known_again(
    monkeypatch: pytest.MonkeyPatch, overrides: list[str], asked: str, result: str, memory: str
) -> None:
    monkeypatch.delenv("SWEEPLINE_RUNS_PER_DEVICE", raising=False)
    config = load_config(None, overrides)
    assert asked_identity(config) == asked
    assert result_identity(config, N_EXAMPLES) == result
    assert tuning_key(config, "cpu") == memory
