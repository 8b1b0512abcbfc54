"""Where files that a config names are looked for: from its own folder upwards, then in the working directory."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

_anchors: list[Path] = []


def look_from(path: Path | None) -> None:
    """Have files be looked for in the folder of a config, and in those above it."""
    folder = path.absolute().parent if path is not None else None
    if folder is not None and folder not in _anchors:
        _anchors.insert(0, folder)


def anchors() -> list[str]:
    """Return the folders from which files are looked for, for another process that shall find the same."""
    return [str(folder) for folder in _anchors]


def set_anchors(folders: Iterable[str]) -> None:
    """Look for files as another process does."""
    _anchors[:] = map(Path, folders)


def find(name: str) -> Path | None:
    """Return the file or folder of a name; None where there is none."""
    path = Path(name).expanduser()
    if path.is_absolute():
        return path if path.exists() else None
    return next((folder / path for folder in _folders() if (folder / path).exists()), None)


def describe() -> str:
    """Return where was looked, for a message."""
    own = [str(folder) for folder in _anchors[:1]]
    return " or ".join(dict.fromkeys([*own, str(Path.cwd())])) + (", or above" if own else "")


def let_import() -> None:
    """Let modules beside the config, in the folder above it and in the working directory be imported."""
    near = [folder for anchor in _anchors[:1] for folder in (anchor, anchor.parent)]
    for folder in (*near, Path.cwd()):
        if str(folder) not in sys.path:
            sys.path.append(str(folder))


def _folders() -> Iterator[Path]:
    seen: set[Path] = set()
    for folder in (*(f for anchor in _anchors for f in (anchor, *anchor.parents)), Path.cwd()):
        if folder not in seen:
            seen.add(folder)
            yield folder
