"""Looks at a script: which parser reads its command line, its flags, the metrics that it tells. Executes nothing."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from sweepline.programs.inspection.absl_flags import read_absl
from sweepline.programs.inspection.argparse_flags import read_argparse
from sweepline.programs.inspection.constants import (
    plain_constants,
    read_configurator,
    read_wandb_config,
)
from sweepline.programs.inspection.decorated import read_click, read_typer
from sweepline.programs.inspection.environment import find_variables, read_environment
from sweepline.programs.inspection.facts import FilePlace, Interface, ScriptFacts, Told
from sweepline.programs.inspection.fileuse import find_reads, find_writes
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
    flags = interface.flags if interface is not None else ()
    settings = [flag.key for flag in flags]
    told, expressions = find_told(source, flags)
    if interface is not None and (table := _table_of_lightning(interface, told)) is not None:
        interface, told, expressions = table[0], table[1], []
    return ScriptFacts(
        interface=interface,
        told=told,
        module=_module_name(source),
        constants=[] if flags else plain_constants(source),
        expressions=expressions,
        writes=find_writes(source, settings),
        reads=find_reads(source, settings),
        variables=find_variables(source),
        preparations=_preparations(path),
    )


def _table_of_lightning(interface: Interface, told: Sequence[Told]) -> tuple[Interface, list[Told]] | None:
    """Return an interface that turns Lightning's CSV logger on, where a config has loggers and chose none."""
    group = next((flag for flag in interface.flags if flag.name == "logger" and "csv" in flag.choices), None)
    sources = ("lightning", "lightning_log", "log")
    is_in_table = group is not None and group.default is None and any(one.source in sources for one in told)
    if interface.parser != "Hydra" or group is None or not is_in_table:
        return None
    place = FilePlace(path="**/metrics.csv", where=group.where, call="logger=csv")
    in_table = [replace(one, source="csv", pattern="", file=place) for one in told if one.source in sources]
    flags = [flag for flag in interface.flags if flag is not group]
    others = [one for one in told if one.source not in (*sources, "print")]
    return replace(interface, flags=flags, after=[*interface.after, "logger=csv"]), [*others, *in_table]


def _preparations(path: Path) -> list[str]:
    """Return the programs beside a script that fetch or prepare its data, by their names."""
    pattern = re.compile(r"(?:download|prepare|get|fetch)(?:_?data(?:set)?)?\.(?:sh|py)")
    try:
        return sorted(one.name for one in path.resolve().parent.iterdir() if pattern.fullmatch(one.name))
    except OSError:  # only a help: a folder that cannot be listed has none
        return []


def _module_name(source: Source) -> str:
    """Return what a script is called right of ``-m`` where it imports its neighbours relatively; else nothing."""
    is_relative = any(isinstance(node, ast.ImportFrom) and node.level > 0 for node in source.script.tree.body)
    folder, parts = source.path.resolve().parent, [source.path.stem]
    while is_relative and (folder / "__init__.py").is_file():
        parts.insert(0, folder.name)
        folder = folder.parent
    return ".".join(parts) if len(parts) > 1 else ""
