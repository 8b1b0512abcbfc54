"""Whether runs of a sweep shall be forked from one process that has done their imports, and which those are."""

from __future__ import annotations

import importlib.util
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path

from sweepline.config.settings import SweepSettings
from sweepline.contract.text import display_path
from sweepline.contract.yamlfile import read_yaml
from sweepline.errors import ConfigError
from sweepline.executors.local.warmstart import WarmStart
from sweepline.programs.interpreter import find_interpreter
from sweepline.programs.native import NativeCommand
from sweepline.space.parameters import Constant

RUNS_WORTH_WARMING = 2  # per slot, else as much is imported as without
_OWN_IMPORTS = (
    "torch",
    "numpy",
    "sweepline.training.batchsize.decide",
    "sweepline.training.batchsize.noise",
    "sweepline.training.batchsize.setup",
    "sweepline.training.commandline",
    "sweepline.training.datasets.digits",
    "sweepline.training.datasets.idx",
    "sweepline.training.datasets.teachers",
    "sweepline.training.experiment.numbered",
    "sweepline.training.models.conv_autoencoder",
    "sweepline.training.models.dqn",
    "sweepline.training.models.mlp",
    "sweepline.training.models.simple_cnn",
    "sweepline.training.models.transformers",
    "sweepline.training.optim.optimizers",
    "sweepline.training.run",
    "sweepline.training.seeding",
    "sweepline.training.tasks.fusion",
    "sweepline.training.tasks.supervised",
    "sweepline.training.trainer",
)
_NOT_OWN_IMPORTS = ("torch._dynamo",)


def plan_warm_start(settings: SweepSettings, mode: str) -> WarmStart | None:
    """Return how runs start warm; None when they start cold, because ``mode`` says so or they are no Python program.

    Raises:
        ConfigError: they must start warm, and cannot.
    """
    if mode == "cold":
        return None
    command = settings.command
    argv = command.build({}, None, device="cpu", run_dir=Path())
    found = find_interpreter(argv, working_dir=command.working_dir)
    if found is None:
        if mode == "warm":
            raise ConfigError(
                f"{display_path(settings.path)}: start: warm needs a Python program (python FILE or python -m MODULE), "
                f"the command is {' '.join(argv[:3])!r}; use start: auto"
            )
        return None
    preload = settings.preload
    unused: tuple[str, ...] = ()
    if preload is None and isinstance(command, NativeCommand) and command.is_own_trainer:
        unused = _NOT_OWN_IMPORTS
        has_wandb = _wandb_mode(settings) != "disabled" and importlib.util.find_spec("wandb") is not None
        preload = (*_OWN_IMPORTS, *(["wandb"] if has_wandb else []))
    program = argv[found[1]]
    script = command.working_dir / program
    if program != "-m" and script.suffix != ".py" and zipfile.is_zipfile(script):
        return None
    folder = command.working_dir if program == "-m" else script.resolve().parent
    return WarmStart(preload=preload, unused=unused, folders=[str(folder)], is_asked_for=mode == "warm")


def _wandb_mode(settings: SweepSettings) -> object:
    """Return our trainer's ``wandb.mode`` as far as it is the same for all runs."""
    parameter = settings.space.parameters.get("wandb.mode")
    if parameter is not None:
        return parameter.value if isinstance(parameter, Constant) else None
    for path in settings.command.config_files:
        value = read_yaml(path).value
        found = value.get("wandb") if isinstance(value, Mapping) else None
        if isinstance(found, Mapping) and "mode" in found:
            return os.environ.get("WANDB_MODE", "auto") if found["mode"] == "auto" else found["mode"]
    return os.environ.get("WANDB_MODE")
