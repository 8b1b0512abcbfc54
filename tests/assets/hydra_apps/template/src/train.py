"""A training of the usual template: nested defaults, a folder by date, into which Hydra changes; logs and returns."""

import json
import logging
import os
import signal
from pathlib import Path

import hydra
from omegaconf import DictConfig, OmegaConf

OmegaConf.register_new_resolver("times", lambda a, b: a * b)
log = logging.getLogger(__name__)


@hydra.main(version_base="1.3", config_path="../configs", config_name="train.yaml")
def main(cfg: DictConfig) -> float:
    state = Path("checkpoint.json")  # in the folder of the run
    begin = json.loads(state.read_text())["epoch"] if state.exists() else 0
    log.info("starting at epoch %d as %s", begin, cfg.task_name)
    for epoch in range(begin, cfg.epochs):
        if epoch == 2 and cfg.hold and not begin:
            Path(hydra.utils.get_original_cwd(), f"holding_{os.getpid()}").touch()
            signal.pause()
        state.write_text(json.dumps({"epoch": epoch + 1}))
    loss = abs(cfg.optimizer.lr - 0.1) + 1 / cfg.model.width
    Path("config.json").write_text(json.dumps(OmegaConf.to_container(cfg, resolve=True)))
    log.info("val_loss: %.6f", loss)
    return loss


if __name__ == "__main__":
    main()
