"""Where a sweep's files go: its experiment folder and its name. Looks at what is there; writes nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sweepline.contract.configfile import CONFIG_FOLDER, experiment_dir
from sweepline.contract.text import display_path
from sweepline.contract.yamlfile import read_yaml
from sweepline.errors import ConfigError
from sweepline.programs.location import names_module
from sweepline.programs.modules import is_file, module_file, read_function

OUTPUTS, PLAN, JOURNAL, FROZEN = "outputs", "plan.json", "events.jsonl", "sweep.yaml"
STUDIES = "studies"
CONFIG_FOLDERS = frozenset({CONFIG_FOLDER, "configs", "config", "conf", "sweeps"})
"""Folders that hold sweep files beside the program that they are for."""

MAX_NAME_BYTES = 200  # file systems take 255


def find_experiment_dir(path: Path, program: str, items: Sequence[str]) -> Path:
    """Return the folder that the paths of a sweep file are relative to.

    It is the file's own folder; of one called ``cfg`` the parent, and of one called ``configs`` or alike the nearest
    at or above it that holds the program, or what ``items``, the command, names, unless earlier starts wrote into one
    below that.
    """
    own = path.parent
    if own.name == STUDIES and own.parent.name == CONFIG_FOLDER:
        own = own.parent
    if own.name == CONFIG_FOLDER:
        return experiment_dir(own / path.name)
    folders = [own]
    while folders[-1].name in CONFIG_FOLDERS and not (folders[-1] / OUTPUTS).is_dir():
        folders.append(folders[-1].parent)
    programs = [(program, "-m" if names_module(items) else ""), *zip(items, ("", *items), strict=False)]
    held = (folder for word, before in programs for folder in folders if _holds(folder, word, is_module=before == "-m"))
    return next(held, own)


def _holds(folder: Path, word: str, *, is_module: bool) -> bool:
    if is_module:
        return module_file(folder, word) is not None
    function = read_function(word)
    is_there = is_file(folder / word) or is_file(folder / word / "__main__.py")
    return not Path(word).is_absolute() and (is_there or (function is not None and function.find(folder) is not None))


def folder_name(label: str) -> str:
    """Return a label as the name of a folder: at most 80 characters, none that a shell or a file system minds."""
    name = re.sub(r"[^\w.-]+", "_", label)[:80].strip("._") or "sweep"
    return name.encode("utf-8", "replace")[:MAX_NAME_BYTES].decode(errors="ignore")


def name_sweep(path: Path, experiment_dir: Path, given: str | None) -> tuple[str, str | None]:
    """Return a sweep's name, which is that of its folder in ``outputs``, and a note where an old one is kept.

    A file called ``sweep.yaml`` that gives no name has that of its folder; when the folder was renamed or copied, the
    runs are still found.
    """
    label = given or (experiment_dir.name if path.stem == "sweep" else path.stem)
    name = folder_name(label)
    outputs = experiment_dir / OUTPUTS
    if given or path.stem != "sweep" or (outputs / name / JOURNAL).exists():
        return name, None
    found = max(_earlier_folders(path, outputs), key=lambda folder: (folder / JOURNAL).stat().st_mtime, default=None)
    if found is None:
        return name, None
    return (
        found.name,
        f"named {found.name}, as its folder was when it was first run: its runs are in {OUTPUTS}/{found.name}",
    )


def check_owner(path: Path, sweep_dir: Path, plan: Mapping[str, Any]) -> None:
    """Make sure that a sweep's folder is not that of another file with the same name.

    Raises:
        ConfigError: it is; names both.
    """
    told = plan.get("sweep_file")
    other = (sweep_dir / told).resolve() if isinstance(told, str) else None
    if other is not None and other != path.resolve() and is_file(other):
        raise ConfigError(
            f"{display_path(path)}: {display_path(other)} has the same name {sweep_dir.name!r}, and its runs are in "
            f"{display_path(sweep_dir)}; give one of the two files another 'name'"
        )


def _earlier_folders(path: Path, outputs: Path) -> Iterator[Path]:
    """Yield the folders of sweeps that were run from this file when its folder had another name."""
    for plan_path in sorted(outputs.glob(f"*/{PLAN}")):
        folder = plan_path.parent
        try:
            plan = json.loads(plan_path.read_bytes())
            frozen = read_yaml(folder / FROZEN).value
            told = plan.get("sweep_file")
            is_ours = (folder / told).resolve() == path.resolve() if told else _is_old_record_of(path, plan)
            if is_ours and not frozen.get("name") and (folder / JOURNAL).exists():
                yield folder
        except (OSError, ValueError, AttributeError, TypeError):  # no record that could be told apart
            continue


def _is_old_record_of(path: Path, plan: Mapping[str, Any]) -> bool:
    """Whether a plan of an older version, which holds absolute paths, is that of a file in a folder since renamed."""
    return any(
        told.name == path.name and plan.get("sweep") in told.parts[-3:-1] for told in map(Path, plan.get("inputs", ()))
    )
