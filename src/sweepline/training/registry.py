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

from sweepline.errors import did_you_mean
from sweepline.training import plugins
from sweepline.training.models import settings as models
from sweepline.training.settings import ModelSettings, default_of

IMAGES = ("normal", "curriculum")
"""The modes of networks that classify."""


@dataclass(frozen=True, slots=True)
class Entry:
    """``builder`` is ``module:attribute``; ``settings`` the keys that it takes, beside the name.

    ``modes`` are those in which a network can be trained.
    """

    builder: str
    settings: type[ModelSettings] | None = None
    modes: tuple[str, ...] = ()


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

    def entry(self, name: str) -> Entry | None:
        """Return an entry; None for what a user brings."""
        return self._entries.get(self._normal(name))

    def check(self, name: str) -> str:
        """Return the name as it is.

        Raises:
            ValueError: nothing has this name; with the nearest, or all.
        """
        known = self._normal(name)
        if plugins.is_own(name):
            plugins.check_form(self.key, name)
            return name
        if known in self._unusable:
            raise ValueError(f"{name!r} {self._unusable[known]}; use another")
        is_class = self._takes_classes and name[:1].isupper()
        if known not in self._entries and not is_class and name not in (others := plugins.installed(self.key)):
            names = (*self.names, *others)
            own = f"; write {name}:Name, for what is in that file" if name.endswith(".py") else ""
            hint = own or did_you_mean(known, names) or f"; there are {', '.join(names)}, or file.py:Name of your own"
            raise ValueError(f"unknown {self.key} {name!r}{hint}")
        return name

    def settings_of(self, name: str, section: BaseModel) -> ModelSettings | None:
        """Return the settings of an entry out of a section that holds those of all; what is null there is its own."""
        entry = self.entry(name)
        kind = entry.settings if entry is not None else None
        if kind is None:
            return None
        return kind.model_validate(section.model_dump(include=set(kind.model_fields), exclude_none=True))

    def ignored(self, name: str, section: BaseModel) -> list[str]:
        """Return the keys of a section that are set and mean nothing to an entry."""
        entry = self.entry(name)
        own = entry.settings.model_fields if entry is not None and entry.settings is not None else ()
        taken = {*own, "name", "weights"}  # these two mean something to all
        taken |= {"args"} if entry is None else set()
        fields = type(section).model_fields
        return [key for key in fields if key not in taken and getattr(section, key) != default_of(fields[key])]

    def load(self, name: str) -> Any:
        """Import an entry's builder, or what a user brings, and return it.

        Raises:
            ConfigError: nothing has this name.
        """
        entry = self.entry(name)
        if entry is None:
            return plugins.load(self.key, name)
        module, _, attribute = entry.builder.partition(":")
        return getattr(importlib.import_module(module), attribute)

    def is_brought(self, name: str) -> bool:
        """Whether it stands for what a user brings."""
        return self.entry(name) is None and (plugins.is_own(name) or name in plugins.installed(self.key))

    def _normal(self, name: str) -> str:
        return name.lower() if self._takes_classes else name


# A builder takes its settings, input_shape=(C, H, W) and n_classes=, and returns the network.
MODELS = Registry(
    "model.name",
    {
        "simple_cnn": Entry("sweepline.training.models.simple_cnn:build", models.SimpleCNNSettings, IMAGES),
        "mlp": Entry("sweepline.training.models.mlp:build", models.MlpSettings, IMAGES),
        "encoder_decoder": Entry("sweepline.training.models.transformers:build_encoder_decoder", *models.TRANSFORMER),
        "decoder_only": Entry("sweepline.training.models.transformers:build_decoder_only", *models.TRANSFORMER),
        "conv_autoencoder": Entry(
            "sweepline.training.models.conv_autoencoder:build", models.AutoencoderSettings, ("autoencoder",)
        ),
        "dqn": Entry("sweepline.training.models.dqn:build", models.DqnSettings, ("fusion",)),
    },
)

# A builder takes of root=, the folder of data sets, and the section's args what it names, and returns a
# datasets.examples.Dataset.
DATASETS = Registry(
    "data.name",
    {
        "mnist": Entry("sweepline.training.datasets.idx:mnist"),
        "fashion_mnist": Entry("sweepline.training.datasets.idx:fashion_mnist"),
        "digits": Entry("sweepline.training.datasets.digits:Digits"),
        "poly_teacher": Entry("sweepline.training.datasets.teachers:PolyTeacher"),
        "mlp_teacher": Entry("sweepline.training.datasets.teachers:MlpTeacher"),
        "mnist1m": Entry("sweepline.training.datasets.mnist1m:Mnist1M"),
    },
)

# A builder takes what tasks.base.Offer has, and returns a tasks.base.Task.
TASKS = Registry(
    "training.mode",
    {
        "normal": Entry("sweepline.training.tasks.supervised:build"),
        "autoencoder": Entry("sweepline.training.tasks.autoencode:build"),
        "curriculum": Entry("sweepline.training.tasks.curriculum:build"),
        "fusion": Entry("sweepline.training.tasks.fusion:build"),
    },
)

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
