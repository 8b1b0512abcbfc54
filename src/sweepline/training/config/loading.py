"""A config from its files and overrides: ``base`` inherited, dotted names on top, all faults at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from sweepline.contract.text import display_path
from sweepline.contract.values import flatten, parse_override
from sweepline.errors import ConfigError
from sweepline.training import places
from sweepline.training.config.checks import OVERRIDE, check_together, describe_fault
from sweepline.training.config.files import move_key, read_with_bases, set_dotted
from sweepline.training.config.schema import TrainConfig
from sweepline.training.settings import keys_of

MOVED_KEYS = {"training.optimize_batch_size": "batch_size_config.optimize_batch_size"}


def load_config(path: Path | None, overrides: Sequence[str] = (), *, remarks: list[str] | None = None) -> TrainConfig:
    """Return the config of a file and its bases, with ``key=value`` overrides on top.

    ``remarks`` takes what is worth saying about it.

    Raises:
        ConfigError: with every fault found: unknown keys with the nearest known one, wrong types, values out of range.
    """
    places.look_from(path)
    tree, origin = read_with_bases(path) if path is not None else ({}, {})
    label = display_path(path) if path is not None else "config"
    return check_config(tree, origin, overrides, label=label, remarks=remarks)


def check_config(
    tree: dict[str, Any],
    origin: dict[str, str],
    overrides: Sequence[str] = (),
    *,
    label: str,
    remarks: list[str] | None = None,
) -> TrainConfig:
    """Return the config of a tree of values, with ``key=value`` overrides on top.

    ``origin`` says of dotted keys where they are from; ``label`` stands for what it does not know.

    Raises:
        ConfigError: with every fault found.
    """
    faults: list[str] = []
    for text in overrides:
        try:
            key, value = parse_override(text)
        except ConfigError as error:
            faults += error.faults
            continue
        for name, leaf in flatten({key: value}).items():  # a mapping changes what it names, no more
            set_dotted(tree, name, leaf)
            origin.pop(name, None)  # what comes last stands last
            origin[name] = f"{OVERRIDE}{text}"
    moved = [move_key(tree, origin, old, new, label) for old, new in MOVED_KEYS.items()]
    if remarks is not None:
        remarks += [remark for remark in moved if remark]
    try:
        config = TrainConfig.model_validate(tree)
        faults += check_together(config, label, origin)
    except ValidationError as error:
        faults += [describe_fault(detail, label, origin, known_keys()) for detail in error.errors()]
    if faults:
        raise ConfigError(*dict.fromkeys(faults))
    return config


def known_keys() -> list[str]:
    """Return every key by dotted name."""
    return [name for name, _ in keys_of(TrainConfig)]
