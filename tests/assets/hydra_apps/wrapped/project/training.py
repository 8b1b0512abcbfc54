"""The function that Hydra calls lies in a package; the log goes to a file alone; the config sweeps by itself."""

import logging

import hydra
from omegaconf import DictConfig

log = logging.getLogger(__name__)


@hydra.main(version_base="1.3", config_path="../conf", config_name="config")
def main(cfg: DictConfig) -> float:
    log.info("note %r", cfg.note)
    log.info("val_loss: %.6f", cfg.lr)
    return float(cfg.lr)
