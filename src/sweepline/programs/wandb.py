"""Weights & Biases as a run sees it: environment variables that group and name runs, and their parameters as a file.

Nothing here imports wandb; the trainer or the user's script does. Keys stay in the environment they came in.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sweepline.contract.runfolder import OVERRIDES
from sweepline.contract.wandbkey import has_wandb_key
from sweepline.runs import Run

NOTHING_INHERITED: Mapping[str, str] = {}
JOB_TYPE = "sweep"
RUN_ID = "WANDB_RUN_ID"
MODE = "WANDB_MODE"
PARAMS_PATH = "WANDB_SWEEP_PARAM_PATH"
# How long a script waits for a server that has gone: by itself without end to finish, and 20 s for reports of errors.
_LIMITS = {"WANDB_FINISH_TIMEOUT": "300", "WANDB_ERROR_REPORTING": "false"}


@dataclass(frozen=True, slots=True, kw_only=True)
class WandbSettings:
    """What a sweep file says of Weights & Biases. None: the sweep's name, the run's name, the account's own."""

    project: str | None = None
    entity: str | None = None
    group: str | None = None
    name: str | None = None
    tags: Sequence[str] = ()
    mode: str = "auto"


def wandb_environment(
    run: Run,
    *,
    settings: WandbSettings | None,
    sweep: str,
    sweep_token: str,
    n_tries: int,
    run_dir: Path,
    inherited: Mapping[str, str] = NOTHING_INHERITED,
) -> dict[str, str]:
    """Return the variables that put a run into its group.

    The id follows from the sweep, the run and its tries, so that a run resumed after an interruption goes on in the
    same W&B run while a retry is a new one. A group or a job type of the user's own environment stays.
    """
    settings = settings or WandbSettings()
    variables = {
        "WANDB_RUN_GROUP": settings.group or inherited.get("WANDB_RUN_GROUP") or sweep,
        "WANDB_NAME": f"{settings.name}-{run.name}" if settings.name else run.name,
        RUN_ID: f"{sweep_token}-{run.run_id}-{n_tries + 1}",
        "WANDB_JOB_TYPE": inherited.get("WANDB_JOB_TYPE") or JOB_TYPE,
        "WANDB_RESUME": "allow",
        "WANDB_DIR": str(run_dir),
    }
    if settings.tags:
        variables["WANDB_TAGS"] = ",".join(settings.tags)
    if settings.project:
        variables["WANDB_PROJECT"] = settings.project
    if settings.entity:
        variables["WANDB_ENTITY"] = settings.entity
    return variables


WANDB_FLUSH, WANDB_FLUSH_S = "WANDB_X_TRANSACTION_LOG_FLUSH_INTERVAL", "0.5"
"""How often the client writes out what a run logs (in seconds, else 15), and how often where that is waited for. A
client that does not know the name passes over it."""


def wandb_mode(settings: WandbSettings | None, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return WANDB_MODE for scripts that are not ours: offline without a key, so that none waits for a login."""
    mode = settings.mode if settings else "auto"
    if mode != "auto":
        return {MODE: mode}
    return {} if MODE in environ or has_wandb_key(environ) else {MODE: "offline"}


def wandb_limits(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return how long scripts that are not ours wait for W&B's server, as far as the user has not said so.

    Not how long they wait for it to take them at the start: the client has no other way than to fail the run then.
    """
    return {name: value for name, value in _LIMITS.items() if name not in environ}


def wandb_params(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return what stands in the file from which ``wandb.init`` fills ``wandb.config``, as under W&B's agent."""
    return {"wandb_version": 1} | {name: {"value": value} for name, value in arguments.items()}


def write_wandb_params(run_dir: Path, arguments: Mapping[str, Any]) -> dict[str, str]:
    """Write that file; return its variable."""
    path = run_dir / OVERRIDES
    document = wandb_params(arguments)
    try:
        text = yaml.dump(document, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper), sort_keys=False)
    except UnicodeEncodeError:  # a path that is no UTF-8 stands in a value
        text = json.dumps(document)
    path.write_text(text, encoding="utf-8")
    return {PARAMS_PATH: str(path)}


def is_wandb_form(document: Mapping[str, Any]) -> bool:
    """Whether a document is what :func:`wandb_params` returns."""
    return "wandb_version" in document
