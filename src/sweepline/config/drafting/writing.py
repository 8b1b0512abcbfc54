"""Writes a drafted sweep file, which has been read as every sweep file is."""

from __future__ import annotations

import re
from pathlib import Path

from sweepline.config.sweepfile import load_sweep
from sweepline.contract.files import write_whole
from sweepline.contract.text import display_path
from sweepline.errors import ConfigError, record_error


def check_target(path: Path, *, is_forced: bool) -> None:
    """Refuse to write over a file that is there, or into a folder that is not.

    Raises:
        ConfigError: says which.
    """
    if not path.absolute().parent.is_dir():
        raise ConfigError(
            f"{display_path(path)}: there is no folder {display_path(path.absolute().parent)}; make it first"
        )
    if path.is_dir():
        raise ConfigError(
            f"{display_path(path)}: is a folder; name a file, such as {display_path(path / 'sweep.yaml')}"
        )
    if path.exists() and not is_forced:
        raise ConfigError(
            f"{display_path(path)}: is there already; name another with --output, or write over it with --force"
        )


def write_sweep(path: Path, text: str) -> list[str]:
    """Write a sweep file, once it reads as one; return what reading it has to say.

    Raises:
        ConfigError: it cannot be run as it stands.
        RecordError: it cannot be written.
    """
    settings = load_sweep(path, text=text)
    try:
        write_whole(path, text.encode(), is_durable=False)
    except OSError as error:
        raise record_error(display_path(path), "cannot be written", error) from None
    label = display_path(path)
    return [_without_place(note, label) for note in settings.warnings]


def _without_place(note: str, label: str) -> str:
    """Return a warning without the place in a file that was just written."""
    return re.sub(rf"^{re.escape(label)}(?::\d+)?: ", "", note)
