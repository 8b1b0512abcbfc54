"""A task as data that another machine can read: what differs from the environment that it inherits, and no secrets."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sweepline.executors.base import Task
from sweepline.executors.local.slots import THREAD_VARIABLES

_PYTHONPATH = "PYTHONPATH"
_LEFT_TO_SETUP = (_PYTHONPATH, *THREAD_VARIABLES)
_ENVVAR = re.compile(r"\$\{envvar:([^${}]*)\}")


class VariableMissingError(Exception):
    """The environment of a run's machine lacks a variable that the sweep file reads."""


def encode_task(task: Task, inherited: Mapping[str, str]) -> dict[str, Any]:
    """Return a task as JSON can hold it; ``inherited`` is what its machine knows already.

    What was read from the environment stands as ``${envvar:X}``, and is read there anew.
    """
    changed = {name: value for name, value in task.environ.items() if inherited.get(name) != value}
    argv = list(task.argv if task.masked_argv is None else task.masked_argv)
    read = {found for text in (*argv, *task.masked_environ.values()) for found in _ENVVAR.findall(text)}
    return {
        "run": task.run_id,
        "attempt": task.attempt,
        "argv": argv,
        "is_masked": task.masked_argv is not None,
        "set": {name: value for name, value in changed.items() if name not in task.masked_environ},
        "masked": dict(task.masked_environ),
        "unset": sorted(inherited.keys() - task.environ.keys()),
        "needed": sorted(read & inherited.keys()),
        "before": {name: inherited.get(name) for name in _LEFT_TO_SETUP if name in changed},
        "working_dir": str(task.working_dir),
        "run_dir": str(task.run_dir),
        "timeout_s": task.timeout_s,
        "stall_s": task.stall_s,
        "grace_s": task.grace_s,
    }


def decode_task(told: Mapping[str, Any], inherited: Mapping[str, str] = os.environ) -> Task:
    """Undo :func:`encode_task` on the machine that runs it.

    What a script there has set before, as ``module load`` does, stays: Python's path behind ours, numbers of threads
    instead of ours.

    Raises:
        VariableMissingError: a variable that the task reads is not set here.
    """
    missing = [name for name in told["needed"] if name not in inherited]
    if missing:
        raise VariableMissingError(f"environment variable {missing[0]} is not set on {os.uname().nodename}")
    masked = {name: _reveal(text, inherited) for name, text in told["masked"].items()}
    kept = {name: value for name, value in inherited.items() if name not in told["unset"]}
    environ = {**kept, **told["set"], **_set_here(told, inherited), **masked}
    argv = [_reveal(word, environ) for word in told["argv"]] if told["is_masked"] else told["argv"]
    return Task(
        run_id=told["run"],
        attempt=told["attempt"],
        argv=argv,
        environ=environ,
        working_dir=Path(told["working_dir"]),
        run_dir=Path(told["run_dir"]),
        timeout_s=told["timeout_s"],
        stall_s=told["stall_s"],
        grace_s=told["grace_s"],
    )


def _set_here(told: Mapping[str, Any], inherited: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that a script has changed on this machine, as they shall be."""
    found = {}
    for name, before in told["before"].items():
        here = inherited.get(name)
        if here is None or here == before:
            continue
        ours = told["set"].get(name, "")
        if name != _PYTHONPATH:
            found[name] = here
        elif before is None or ours.endswith(before):
            found[name] = os.pathsep.join(filter(None, (ours.removesuffix(before or "").rstrip(os.pathsep), here)))
    return found


def _reveal(text: str, environ: Mapping[str, str]) -> str:
    """Return a text with the variables that it reads; one that is not set is empty, as on the sweep's machine."""
    return _ENVVAR.sub(lambda found: environ.get(found[1], ""), text)
