"""Which tool a file is of, and the sweep file that is made of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweepline.config.importers.azureml import import_azureml, is_azureml
from sweepline.config.importers.base import Config, Imported
from sweepline.config.importers.determined import import_determined, is_determined
from sweepline.config.importers.guild import import_guild, is_guild
from sweepline.config.importers.hydra_sweepers import import_hydra, is_hydra_sweeper
from sweepline.config.importers.katib import import_katib, is_katib
from sweepline.config.importers.nni import import_nni, is_nni
from sweepline.config.importers.raytune import import_raytune, is_raytune
from sweepline.config.importers.seml import import_seml, is_seml
from sweepline.contract.text import display_path
from sweepline.contract.yamlfile import read_yaml
from sweepline.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool whose files can be imported; ``what`` is such a file, with its article."""

    what: str
    is_its: Callable[[Any], bool]
    read: Callable[[Config], Imported]


TOOLS: Sequence[Tool] = (
    Tool("a Katib Experiment", is_katib, import_katib),
    Tool("an Azure ML sweep job", is_azureml, import_azureml),
    Tool("a Determined experiment", is_determined, import_determined),
    Tool("an NNI experiment", is_nni, import_nni),
    Tool("a seml config", is_seml, import_seml),
    Tool("a config of Hydra's sweeper", is_hydra_sweeper, import_hydra),
    Tool("a Ray Tune experiment", is_raytune, import_raytune),
    Tool("a Guild file", is_guild, import_guild),
)
"""Those with a mark that is theirs alone stand first."""


def recognize(value: Any) -> Tool | None:
    """Return the tool whose file has such a value; None for a sweep file, and for anything else."""
    if isinstance(value, Mapping):
        is_ours = bool({"parameters", "runs"} & value.keys()) and not is_katib(value)
        return None if is_ours else next((tool for tool in TOOLS if tool.is_its(value)), None)
    return TOOLS[-1] if isinstance(value, list) and is_guild(value) else None


def refuse_other_tools(value: Any, label: str) -> None:
    """Refuse a file of another tool's, which would fail for keys that it has by other names.

    Raises:
        ConfigError: it is one.
    """
    tool = recognize(value)
    if tool is not None:
        raise ConfigError(f"{label}: this is {tool.what}: sweepline import {label} makes a sweep file of it")


def import_file(path: Path) -> tuple[str, Imported]:
    """Return what a file of another tool is, and what it becomes.

    Raises:
        ConfigError: it cannot be read, is a sweep file already, is of no tool that is known here, or has a fault.
    """
    value = read_yaml(path).value
    label = display_path(path)
    tool = recognize(value)
    if tool is None and isinstance(value, Mapping) and {"parameters", "runs"} & value.keys():
        raise ConfigError(f"{label}: is a sweep file already, as W&B's are: sweepline run {label}")
    if tool is None:
        raise ConfigError(
            f"{label}: is of no tool that is known here; there are Hydra's sweepers (Optuna, Ax, Nevergrad), NNI, "
            "Determined, Katib, Azure ML, seml, Guild and Ray Tune, and W&B's files run as they are"
        )
    try:
        return tool.what, tool.read(Config(path, value))
    except ConfigError as error:
        raise ConfigError(
            *(fault if fault.startswith(str(path.name)) else f"{label}: {fault}" for fault in error.faults)
        ) from None
    except (TypeError, ValueError, KeyError, AttributeError, IndexError) as error:
        raise ConfigError(f"{label}: looks like {tool.what}, but has not its shape: {error}") from None
