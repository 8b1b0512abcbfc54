"""Reads ``env`` and ``cwd`` of a sweep file: the variables of runs, and where they start."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from sweepline.config.faults import Faults
from sweepline.config.schema import SweepModel
from sweepline.contract.text import display_path
from sweepline.programs.arguments import format_python
from sweepline.programs.macros import ENVVAR, RUN_VARIABLES, check_macros
from sweepline.programs.surroundings import RUN_FOLDER, Surroundings, looks_secret

PROGRAM_FOLDER = "program"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_INSTEAD = {
    "CUDA_VISIBLE_DEVICES": "use devices",
    "HIP_VISIBLE_DEVICES": "use devices",
    "ROCR_VISIBLE_DEVICES": "use devices",
    "OMP_NUM_THREADS": "use threads",
    "MKL_NUM_THREADS": "use threads",
    "OPENBLAS_NUM_THREADS": "use threads",
    "NUMEXPR_NUM_THREADS": "use threads",
    "PWD": "use cwd",
    "WANDB_NAME": "use logging.wandb.name",
    "WANDB_RUN_GROUP": "use logging.wandb.group",
    "MASTER_PORT": "each run gets a free port of its own",
}
"""Variables that the sweep sets for each run, and what to write instead."""


def read_surroundings(
    model: SweepModel, faults: Faults, folders: Sequence[Path], parameters: Sequence[str]
) -> Surroundings:
    """Return what surrounds a run. ``folders`` are where relative paths of PYTHONPATH are looked for."""
    env: dict[str, str] = {}
    unset: list[str] = []
    for name, value in model.env.items():
        refusal = _refuse(name, value)
        if refusal:
            faults.error(("env", name), refusal)
        elif value is None:
            unset.append(name)
        else:
            text = _text_of(value)
            for _, sentence in check_macros([text], parameters):
                faults.warn(("env", name), sentence)
            env[name] = _absolute(text, folders) if name == "PYTHONPATH" else text
    return Surroundings(env, tuple(unset), has_own_folder=model.cwd == RUN_FOLDER)


def _refuse(name: str, value: object) -> str:
    """Return why a variable cannot be set; nothing where it can."""
    if not _NAME.fullmatch(name):
        return f"{name!r} is no name of a variable: letters, digits and _"
    if name in _INSTEAD or name.startswith("SWEEPLINE_") or name in RUN_VARIABLES:
        return f"is set by the sweep for each run; {_INSTEAD.get(name, 'it cannot be changed')}"
    if isinstance(value, str) and "\0" in value:
        return "holds a null byte"
    if value is not None and looks_secret(name) and f"${{{ENVVAR}" not in str(value):
        return (
            f"looks like a secret, and the file is copied beside the results: write ${{{ENVVAR}{name}}}, and export it"
        )
    return ""


def _text_of(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return format_python(value)


def _absolute(text: str, folders: Sequence[Path]) -> str:
    """Return paths that mean the same wherever a run starts."""
    return os.pathsep.join(_absolute_paths(text.split(os.pathsep), folders))


def _absolute_paths(parts: Sequence[str], folders: Sequence[Path]) -> Iterator[str]:
    for part in parts:
        found = next((folder / part for folder in folders if (folder / part).is_dir()), None)
        yield part if not part or "${" in part or found is None else str(found.resolve())


def read_start_folder(model: SweepModel, faults: Faults, folders: Sequence[Path], program: Path | None) -> Path | None:
    """Return the folder that ``cwd`` names; None where it names none that is the same for all runs."""
    if model.cwd in (None, RUN_FOLDER):
        return None
    if model.cwd == PROGRAM_FOLDER:
        if program is None:
            faults.error(("cwd",), "program: there is no file whose folder it could be; name a folder")
        return None if program is None else program.resolve().parent
    found = next((folder / str(model.cwd) for folder in folders if (folder / str(model.cwd)).is_dir()), None)
    if found is None:
        where = display_path(folders[0])
        faults.error(("cwd",), f"no folder {model.cwd!r} in {where}; write run, program, or a folder that is there")
        return None
    return found.resolve()
