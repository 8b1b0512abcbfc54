"""Config files that inherit from each other through ``base``, and the folder that their paths are relative to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from sweepline.contract.text import display_path
from sweepline.contract.yamlfile import Document, read_yaml
from sweepline.errors import ConfigError

BASE_KEY = "base"
CONFIG_FOLDER = "cfg"
MAX_BASES = 20  # a longer chain is a mistake


def experiment_dir(path: Path) -> Path:
    """Return the folder of a config or sweep file; its parent where that folder is called ``cfg``."""
    folder = path.parent
    return folder.parent if folder.name == CONFIG_FOLDER else folder


def read_chain(path: Path) -> Iterator[tuple[Path, Document]]:
    """Yield a config file, the file that it names in ``base``, and so on, each with what it holds.

    Raises:
        ConfigError: a file cannot be read, names no file, or inherits from itself.
    """
    seen: list[Path] = []
    current: Path | None = path
    while current is not None:
        resolved = current.resolve()
        if resolved in seen or len(seen) >= MAX_BASES:
            raise ConfigError(f"{display_path(path)}: base: inherits from itself through {display_path(current)}")
        seen.append(resolved)
        document = read_yaml(current)
        yield current, document
        base = document.value.get(BASE_KEY) if isinstance(document.value, Mapping) else None
        if base is not None and not isinstance(base, str):
            raise ConfigError(f"{document.where((BASE_KEY,))}: base must be a file name, got {base!r}")
        current = current.parent / base if base else None
