"""The files in the folder of a run by name. Names alone, standard library only: the keeper imports them too.

The sweep writes ``command.txt`` and ``overrides.yaml``, the keeper the logs and ``exit.json``; a program that proves
its overrides writes ``config.yaml`` and then ``config.sha256``; ``metrics.csv`` is the program's, else the sweep's.
"""

from __future__ import annotations

STDOUT, STDERR = "stdout.log", "stderr.log"
EXIT_FILE = "exit.json"
COMMAND = "command.txt"
OVERRIDES = "overrides.yaml"
ENVIRONMENT = "env.json"
ARGS_JSON = "args.json"
WANDB_PARAMS = "wandb-params.yaml"
EFFECTIVE_CONFIG, CONFIG_HASH = "config.yaml", "config.sha256"
METRICS = "metrics.csv"

OUTPUT_FOLDER = "files"
"""The program's own folder, ``${run_dir}``: empty when it is handed over, and nothing of the sweep's is in it."""

ATTEMPTS = "attempts"
"""Where the files of earlier attempts are, a folder each."""

CHECKPOINTS = "ckpt"
BATCH_SIZE_STATE = "batch_size.json"
"""With which size a run of our trainer goes on after a stop."""

KEPT_ACROSS_ATTEMPTS = (CHECKPOINTS, ATTEMPTS, BATCH_SIZE_STATE)
