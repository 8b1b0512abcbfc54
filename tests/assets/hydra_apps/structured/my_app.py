"""An app without a YAML file: dataclasses, groups in the ConfigStore, an enumeration."""

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore
from omegaconf import MISSING


class Schedule(Enum):
    constant = 0
    cosine = 1


@dataclass
class Small:
    width: int = 4


@dataclass
class Large:
    width: int = 32


@dataclass
class Config:
    defaults: list[Any] = field(default_factory=lambda: [{"model": "small"}, "_self_"])
    model: Any = MISSING
    betas: list[float] = field(default_factory=lambda: [0.9, 0.999])
    schedule: Schedule = Schedule.constant
    flaky: bool = False


store = ConfigStore.instance()
store.store(name="config", node=Config)
store.store(group="model", name="small", node=Small)
store.store(group="model", name="large", node=Large)


@hydra.main(version_base=None, config_path=None, config_name="config")
def main(cfg: Config) -> None:
    tried = Path(f"tried_{cfg.model.width}")
    if cfg.flaky and not tried.exists():
        tried.touch()
        raise ConnectionError("the data server did not answer")
    print(f"val_loss: {1 / cfg.model.width + sum(cfg.betas)} {cfg.schedule.name}")


if __name__ == "__main__":
    main()
