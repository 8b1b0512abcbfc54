"""A config as its files give it: a tree of values, and where each is from. Nothing here knows which keys there are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sweepline.contract.configfile import BASE_KEY, read_chain
from sweepline.contract.values import flatten
from sweepline.errors import ConfigError

# What became of a run, in the config that it has written: the sizes that trained.
RUN_SIZE, STEP_SIZE = "_run_batch_size", "_effective_step_size"


def read_with_bases(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Return a config file merged over the file it names in ``base``, and so on; and which file each key is from.

    Where each is from stands in the order in which they were set.

    Raises:
        ConfigError: a file cannot be read, gives a key twice, or inherits from itself.
    """
    layers: list[tuple[str, dict[str, Any]]] = []
    for _, document in read_chain(path):
        value = {} if document.value is None else document.value
        if not isinstance(value, dict):
            raise ConfigError(f"{document.path}:1: a config is a mapping of keys, got {type(value).__name__}")
        twice = [f"{document.path}:{line}: {_dotted(key)} is given twice" for key, line in document.duplicates]
        nested, given_twice = _nested({name: item for name, item in value.items() if name != BASE_KEY})
        twice += [f"{document.path}: {key} is given twice" for key in given_twice]
        if twice:
            raise ConfigError(*(f"{fault}; keep one of them" for fault in twice))
        layers.append((document.path, nested))
    merged: dict[str, Any] = {}
    origin: dict[str, str] = {}
    for label, layer in reversed(layers):
        written = [layer.pop(name) for name in (RUN_SIZE, STEP_SIZE) if name in layer]
        for key, value in flatten(layer).items():
            if value == {}:
                continue  # an empty section says nothing
            set_dotted(merged, key, value)
            origin.pop(key, None)  # what comes last stands last
            origin[key] = label
        if written:  # a run has written it, every key with what it came to
            origin.pop("batch_size", None)
    return merged, origin


def _dotted(key: tuple[str | int, ...]) -> str:
    return ".".join(map(str, key))


def _nested(tree: Mapping[Any, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return a tree whose dotted keys have become levels, and the keys that stand in it in both ways."""
    nested: dict[str, Any] = {}
    given: list[str] = []
    for name, leaf in _leaves(tree):
        given.append(name)
        set_dotted(nested, name, leaf)
    return nested, [name for name in dict.fromkeys(given) if sum(_is_same(name, other) for other in given) > 1]


def _is_same(name: str, other: str) -> bool:
    """Whether two dotted keys name one thing, or one of them a part of the other."""
    return name == other or other.startswith(f"{name}.")


def _leaves(tree: Mapping[Any, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        yield from flatten(value, f"{key}.").items() if isinstance(value, Mapping) and value else [(str(key), value)]


def set_dotted(tree: dict[str, Any], dotted: str, value: Any) -> None:
    """Set a value by its dotted name; what is no mapping on the way becomes one."""
    *parents, last = dotted.split(".")
    node = tree
    for parent in parents:
        child = node.get(parent)
        if not isinstance(child, dict):
            child = node[parent] = {}
        node = child
    node[last] = value


def move_key(tree: dict[str, Any], origin: dict[str, str], old: str, new: str, label: str) -> str | None:
    """Take the value of a key that has moved to where it belongs now, unless one is there; return what to say."""
    section, _, name = old.partition(".")
    parent = tree.get(section)
    if not isinstance(parent, dict) or name not in parent:
        return None
    value, where = parent.pop(name), origin.pop(old, label)
    if new not in flatten(tree):
        set_dotted(tree, new, value)
        origin[new] = where
    return f"{where}: {old} is now {new}"


def without_outcome(value: Mapping[str, Any]) -> dict[str, Any]:
    """Drop what a run has added to its config about itself, at every level."""
    return {
        key: without_outcome(item) if isinstance(item, dict) else item
        for key, item in value.items()
        if not key.startswith("_")
    }
