"""Looks at a script: which parser reads its command line, its flags, the metrics that it tells. Executes nothing."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from pathlib import Path

from sweepline.programs.inspection.absl_flags import read_absl
from sweepline.programs.inspection.argparse_flags import read_argparse
from sweepline.programs.inspection.constants import (
    plain_constants,
    read_configurator,
    read_environment,
    read_wandb_config,
)
from sweepline.programs.inspection.decorated import read_click, read_typer
from sweepline.programs.inspection.facts import Interface, ScriptFacts
from sweepline.programs.inspection.hydra_config import read_hydra
from sweepline.programs.inspection.metrics import find_told
from sweepline.programs.inspection.reading import Source, read_source_of
from sweepline.programs.inspection.typed import (
    read_config_class,
    read_fire,
    read_huggingface,
    read_json_cli,
    read_lightning_cli,
    read_tyro,
)

_READERS: Sequence[Callable[[Source], Interface | None]] = (
    read_hydra,
    read_lightning_cli,
    read_huggingface,
    read_tyro,
    read_config_class,
    read_typer,
    read_click,
    read_fire,
    read_absl,
    read_argparse,
    read_json_cli,
    read_configurator,
    read_wandb_config,
    read_environment,
)
"""The first that finds something counts: those that stand first are told by a name that is theirs alone."""


def inspect_script(path: Path) -> ScriptFacts:
    """Return what is known of a script.

    Raises:
        ConfigError: it cannot be read, or is no Python.
    """
    source = read_source_of(path)
    found = (interface for read in _READERS if (interface := read(source)) is not None)
    interface = next(found, None)
    if interface is not None and interface.targets:
        source = read_source_of(path, interface.targets)
    return ScriptFacts(
        interface=interface,
        told=find_told(source),
        module=_module_name(source),
        constants=[] if interface is not None and interface.flags else plain_constants(source),
    )


def _module_name(source: Source) -> str:
    """Return what a script is called right of ``-m`` where it imports its neighbours relatively; else nothing."""
    is_relative = any(isinstance(node, ast.ImportFrom) and node.level > 0 for node in source.script.tree.body)
    folder, parts = source.path.resolve().parent, [source.path.stem]
    while is_relative and (folder / "__init__.py").is_file():
        parts.insert(0, folder.name)
        folder = folder.parent
    return ".".join(parts) if len(parts) > 1 else ""
