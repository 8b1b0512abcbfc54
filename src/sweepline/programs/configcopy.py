"""``${config_file}``: the config file of another program with the values of one run in it. Checks none of them."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sweepline.contract.runfolder import CONFIG_KINDS, RUN_CONFIG
from sweepline.contract.text import display_path
from sweepline.contract.values import flatten
from sweepline.errors import ConfigError

_JSON = ".json"


@dataclass(frozen=True, slots=True)
class ConfigTemplate:
    """What the file held when the sweep was started: ``label`` is its name in messages, ``suffix`` says its kind."""

    label: str
    suffix: str
    values: Mapping[str, Any]

    @property
    def file_name(self) -> str:
        """How the copy in a run's folder is called."""
        return f"{RUN_CONFIG}{self.suffix}"

    def write(self, arguments: Mapping[str, Any], *, in_one_line: bool = False) -> str:
        """Return the text of the copy with the arguments in it.

        Raises:
            ConfigError: an argument would stand below something that is no mapping.
        """
        values = self._filled(arguments)
        if self.suffix == _JSON:
            return json.dumps(values, indent=None if in_one_line else 2)
        text = yaml.safe_dump(
            values, sort_keys=False, allow_unicode=True, width=1 << 30, default_flow_style=in_one_line
        )
        return text.rstrip("\n") if in_one_line else text

    def unknown(self, names: Iterable[str]) -> Iterator[str]:
        """Yield the dotted names that the file does not have."""
        for name in names:
            node, left = _descend(self.values, name)
            if not isinstance(node, Mapping) or left not in node:
                yield name

    @property
    def names(self) -> list[str]:
        """The dotted names of all its values."""
        return list(flatten({str(name): value for name, value in self.values.items()}))

    def _filled(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        values = copy.deepcopy(dict(self.values))
        for name, value in flatten(arguments).items():
            node, left = _descend(values, name)
            *parents, last = [left] if left in node else left.split(".")
            for parent in parents:
                if node.get(parent) is None:
                    node[parent] = {}
                node = node[parent]
                if not isinstance(node, dict):
                    raise ConfigError(f"{self.label}: {name} cannot be set, as {parent} is {node!r} and no mapping")
            node[last] = value
        return values


def read_template(path: Path) -> ConfigTemplate:
    """Return a YAML or JSON file as its program would read it.

    Raises:
        ConfigError: it is of another kind, cannot be read, or holds no mapping.
    """
    label, suffix = display_path(path), path.suffix.lower()
    if suffix not in CONFIG_KINDS:
        raise ConfigError(
            f"{label}: a copy for each run can be made of {', '.join(CONFIG_KINDS)} files, not of {suffix!r}"
        )
    try:
        text = path.read_text(encoding="utf-8-sig")
        values = json.loads(text) if suffix == _JSON else yaml.safe_load(text)  # as the program does: 1e-3 is a text
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"{label}: cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{label}: must hold a mapping of names to values, got {type(values).__name__}")
    return ConfigTemplate(label, suffix, values)


def _descend(values: Mapping[str, Any], name: str) -> tuple[Any, str]:
    """Return the deepest mapping that a dotted name leads to, and what is left of the name below it."""
    node: Any = values
    while name not in node and "." in name:
        first, _, rest = name.partition(".")
        if not isinstance(node.get(first), Mapping):
            break
        node, name = node[first], rest
    return node, name
