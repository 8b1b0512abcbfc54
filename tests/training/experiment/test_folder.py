"""How an experiment's files are called."""

from __future__ import annotations

from pathlib import Path

from sweepline.training.config.loading import load_config
from sweepline.training.experiment.folder import find_experiment_dir, frozen_path, weights_path


def test_the_names_of_an_experiment(tmp_path: Path) -> None:
    config = load_config(None, ["data.name=digits", "model.width=16"])
    folder = find_experiment_dir(config, tmp_path)
    assert folder == tmp_path / "experimentruns/digits/simple_cnn/width_16/no_distillation/normal"
    assert weights_path(folder, config, 1).name == "simple_cnn_width_16_normal_run_001.pth"
    assert frozen_path(folder, 12).name == "frozen_config_run_012.json"
    elsewhere = load_config(None, [f"output_dir={tmp_path / 'there'}"])
    assert (tmp_path / "there") in find_experiment_dir(elsewhere, tmp_path).parents
