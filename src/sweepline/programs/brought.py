"""Files of models, data sets and modes that a user brings to our trainer, which it is told as ``file.py:Name``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

_BROUGHT = re.compile(r"(?:(?P<file>[^:]+\.py)|(?P<module>[A-Za-z_][\w.]*)):[A-Za-z_][\w.]*")


def find_brought(values: Any, folders: Sequence[Path]) -> Iterator[Path]:
    """Yield the files that texts at any depth of ``values`` name, each where it is first found."""
    for text in dict.fromkeys(_texts(values)):
        match = _BROUGHT.fullmatch(text)
        if match is None:
            continue
        name = match["file"] or f"{match['module'].replace('.', '/')}.py"
        found = next((folder / name for folder in folders if (folder / name).is_file()), None)
        if found is not None:
            yield found


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (Mapping, list, tuple)):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(item)
