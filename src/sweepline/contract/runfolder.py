"""The files in the folder of a run: their names, and how a run was started. The standard library alone, for the keeper.

At most five are the sweep's own, and none is empty. The sweep writes ``command.txt``, and ``overrides.yaml`` for
programs that read it (ours, and those that use W&B); the keeper the logs and ``exit.json``. A program that proves its
overrides writes ``config.yaml`` and then ``config.sha256``. ``metrics.csv`` is the program's own, else the sweep's. A
run that was stopped early has ``early_stop.json`` beside them, one that a job of a cluster executes ``job.json``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

STDOUT, STDERR = "stdout.log", "stderr.log"
EXIT_FILE = "exit.json"
COMMAND = "command.txt"
OVERRIDES = "overrides.yaml"
JOB = "job.json"
"""Which job of a cluster has the folder, and on which node."""
ENVIRONMENT = "env.json"
"""What a run by hand was started in; older versions of the sweep wrote it for every run."""
ARGS_JSON = "args.json"
RUN_CONFIG = "run_config"
"""The config file of another program with the run's values in it, before the ending of the original."""
CONFIG_KINDS = (".yaml", ".yml", ".json")
EFFECTIVE_CONFIG, CONFIG_HASH = "config.yaml", "config.sha256"
METRICS = "metrics.csv"
EARLY_STOP = "early_stop.json"
"""Why the sweep has stopped a run early."""

OUTPUT_FOLDER = "files"
"""The program's own folder, ``${run_dir}``: empty when it is handed over, and nothing of the sweep's is in it."""

ATTEMPTS = "attempts"
"""Where the files of earlier attempts are, a folder each."""

CHECKPOINTS = "ckpt"
BEST_WEIGHTS = "best.pt"
BATCH_SIZE_STATE = "batch_size.json"
"""With which size a run of our trainer goes on after a stop."""

KEPT_ACROSS_ATTEMPTS = (CHECKPOINTS, BEST_WEIGHTS, ATTEMPTS, BATCH_SIZE_STATE)

RECORDED = (
    STDOUT,
    STDERR,
    EXIT_FILE,
    COMMAND,
    OVERRIDES,
    ENVIRONMENT,
    EFFECTIVE_CONFIG,
    CONFIG_HASH,
    METRICS,
    EARLY_STOP,
    JOB,
    ARGS_JSON,
    *(f"{RUN_CONFIG}{suffix}" for suffix in CONFIG_KINDS),
)
"""What tells how a run went and what it found."""

START_MARK = "# run "
PROVENANCE = "provenance"
"""The key of a start that names the file which tells where the run comes from."""


def format_start(fields: Mapping[str, Any]) -> str:
    """Return the last line of a run's ``command.txt``, a comment: how its latest attempt was started."""
    return f"{START_MARK}{json.dumps(fields)}\n"


def read_start_line(run_dir: Path) -> dict[str, Any] | None:
    """Undo :func:`format_start`; None where no attempt was started, or an older version has started it."""
    try:
        with (run_dir / COMMAND).open(encoding="utf-8", errors="surrogateescape") as file:
            lines = [line for line in file if line.startswith(START_MARK)]
        found = json.loads(lines[-1].removeprefix(START_MARK)) if lines else None
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
