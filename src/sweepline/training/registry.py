"""What a config can choose by name: models, data sets, tasks, optimizers. Nothing is imported before it is built.

A new one is an entry here, its settings, and a builder. The choices of the config, the messages about unknown names and
the building all follow from the entry.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from sweepline.errors import ConfigError, did_you_mean
from sweepline.training.models.settings import SimpleCNNSettings
from sweepline.training.settings import Settings


@dataclass(frozen=True, slots=True)
class Entry:
    """``builder`` is ``module:attribute``; ``settings`` the keys that it takes, beside the name."""

    builder: str
    settings: type[Settings] | None = None


class Registry:
    """Entries by name, for one key of the config."""

    def __init__(
        self,
        key: str,
        entries: Mapping[str, Entry],
        *,
        unusable: Mapping[str, str] | None = None,
        takes_classes: bool = False,
    ) -> None:
        """Hold the entries.

        Args:
            key: the dotted key of the config, for messages.
            entries: by name, in the order in which they are listed.
            unusable: names that are known not to work, and why.
            takes_classes: names are the same in any case, and a library's own class may be named, as ``Adam``: whether
                there is such a class is found out when it is built.
        """
        self.key, self._entries = key, dict(entries)
        self._unusable, self._takes_classes = dict(unusable or {}), takes_classes

    @property
    def names(self) -> tuple[str, ...]:
        """All names, as they are listed."""
        return tuple(self._entries)

    def __contains__(self, name: str) -> bool:
        return self._normal(name) in self._entries

    def check(self, name: str) -> str:
        """Return the name as it is.

        Raises:
            ValueError: nothing has this name; with the nearest, or all.
        """
        known = self._normal(name)
        if known in self._unusable:
            raise ValueError(f"{name!r} {self._unusable[known]}; use another")
        if known not in self._entries and not (self._takes_classes and name[:1].isupper()):
            hint = did_you_mean(known, self.names) or f"; there are {', '.join(self.names)}"
            raise ValueError(f"unknown {self.key} {name!r}{hint}")
        return name

    def settings_of(self, name: str, section: BaseModel) -> Settings | None:
        """Return the settings of an entry out of a section that holds those of all entries."""
        kind = self._find(name).settings
        return kind.model_validate(section.model_dump(include=set(kind.model_fields))) if kind is not None else None

    def load(self, name: str) -> Any:
        """Import an entry's builder and return it.

        Raises:
            ConfigError: nothing has this name.
        """
        module, _, attribute = self._find(name).builder.partition(":")
        return getattr(importlib.import_module(module), attribute)

    def _find(self, name: str) -> Entry:
        try:
            return self._entries[self._normal(self.check(name))]
        except KeyError:
            raise ConfigError(f"unknown {self.key} {name!r}{did_you_mean(name, self.names)}") from None
        except ValueError as error:
            raise ConfigError(str(error)) from None

    def _normal(self, name: str) -> str:
        return name.lower() if self._takes_classes else name


# A builder takes its settings, image_size=(H, W) and n_classes=, and returns the network.
MODELS = Registry("model.name", {"simple_cnn": Entry("sweepline.training.models.simple_cnn:build", SimpleCNNSettings)})

# A builder takes the folder of data sets and returns a datasets.examples.Dataset.
DATASETS = Registry(
    "data.name",
    {
        "mnist": Entry("sweepline.training.datasets.idx:mnist"),
        "fashion_mnist": Entry("sweepline.training.datasets.idx:fashion_mnist"),
        "digits": Entry("sweepline.training.datasets.digits:Digits"),
    },
)

# A builder takes the model, the training and the held-out examples, and seed=, and returns a tasks.base.Task.
TASKS = Registry("training.mode", {"normal": Entry("sweepline.training.tasks.classify:Classify")})

# A builder is a class of torch; which keys of ``learner`` it takes is read from its signature.
OPTIMIZERS = Registry(
    "learner.opt",
    {
        "sgd": Entry("torch.optim:SGD"),
        "adam": Entry("torch.optim:Adam"),
        "adamw": Entry("torch.optim:AdamW"),
        "rmsprop": Entry("torch.optim:RMSprop"),
        "adadelta": Entry("torch.optim:Adadelta"),
        "adagrad": Entry("torch.optim:Adagrad"),
        "adamax": Entry("torch.optim:Adamax"),
        "nadam": Entry("torch.optim:NAdam"),
        "radam": Entry("torch.optim:RAdam"),
        "asgd": Entry("torch.optim:ASGD"),
        "rprop": Entry("torch.optim:Rprop"),
        "adafactor": Entry("torch.optim:Adafactor"),
    },
    unusable={
        "lbfgs": "needs a closure",
        "sparseadam": "needs sparse gradients",
        "muon": "takes matrices only",
    },
    takes_classes=True,
)
