"""A task as data that another machine can read: what differs from the environment that it inherits, and no secrets."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sweepline.executors.base import Task

_ENVVAR = re.compile(r"\$\{envvar:([^${}]*)\}")


class VariableMissingError(Exception):
    """The environment of a run's machine lacks a variable that the sweep file reads."""


def encode_task(task: Task, inherited: Mapping[str, str]) -> dict[str, Any]:
    """Return a task as JSON can hold it; ``inherited`` is what its machine knows already.

    What was read from the environment stands as ``${envvar:X}``, and is read there anew.
    """
    changed = {name: value for name, value in task.environ.items() if inherited.get(name) != value}
    return {
        "run": task.run_id,
        "attempt": task.attempt,
        "argv": list(task.argv if task.masked_argv is None else task.masked_argv),
        "is_masked": task.masked_argv is not None,
        "set": {name: value for name, value in changed.items() if name not in task.masked_environ},
        "masked": dict(task.masked_environ),
        "unset": sorted(inherited.keys() - task.environ.keys()),
        "working_dir": str(task.working_dir),
        "run_dir": str(task.run_dir),
        "timeout_s": task.timeout_s,
        "stall_s": task.stall_s,
        "grace_s": task.grace_s,
    }


def decode_task(told: Mapping[str, Any], inherited: Mapping[str, str] = os.environ) -> Task:
    """Undo :func:`encode_task` on the machine that runs it.

    Raises:
        VariableMissingError: a variable that the task reads is not set here.
    """
    argv = [_reveal(word, inherited) for word in told["argv"]] if told["is_masked"] else told["argv"]
    masked = {name: _reveal(text, inherited) for name, text in told["masked"].items()}
    kept = {name: value for name, value in inherited.items() if name not in told["unset"]}
    return Task(
        run_id=told["run"],
        attempt=told["attempt"],
        argv=argv,
        environ={**kept, **told["set"], **masked},
        working_dir=Path(told["working_dir"]),
        run_dir=Path(told["run_dir"]),
        timeout_s=told["timeout_s"],
        stall_s=told["stall_s"],
        grace_s=told["grace_s"],
    )


def _reveal(text: str, inherited: Mapping[str, str]) -> str:
    def read(found: re.Match[str]) -> str:
        if found[1] not in inherited:
            raise VariableMissingError(f"environment variable {found[1]} is not set on {os.uname().nodename}")
        return inherited[found[1]]

    return _ENVVAR.sub(read, text)
