"""Asks our trainer, before the first run, whether it knows every override and has its data. One process, no torch."""

from __future__ import annotations

import itertools
import json
import subprocess
from collections.abc import Iterator, Mapping

from sweepline.config.sweepfile import SweepSettings
from sweepline.engine.signals import stop_as_exit
from sweepline.errors import ConfigError
from sweepline.programs.native import NativeCommand
from sweepline.runs import Run, canonical_json
from sweepline.space.plan import Plan

PREPARE_FLAG = "--prepare"
MAX_RUNS_LOOKED_AT, MAX_RUNS_CHECKED = 5000, 500


def check_with_trainer(settings: SweepSettings, plan: Plan, environ: Mapping[str, str]) -> None:
    """Let the trainer check its config for every value that the plan holds, and prepare its data.

    Scripts named train_single.py that are not our trainer are left alone: they might start training.

    Raises:
        ConfigError: the trainer does not know a key, refuses a value, or cannot get its data; its own sentences.
    """
    command = settings.command
    if not isinstance(command, NativeCommand) or not command.is_own_trainer:
        return
    if not plan.is_enumerable:  # to look at its runs would be to ask for them
        return
    first, *others = [
        command.build(run.params, run.seed, device="cpu", run_dir=settings.sweep_dir) for run in _telling_runs(plan)
    ]
    split = first.index("--")
    with stop_as_exit():
        result = subprocess.run(
            [*first[:split], PREPARE_FLAG, *first[split:]],
            input="".join(json.dumps(argv[split + 1 :]) + "\n" for argv in others),
            capture_output=True,
            text=True,
            cwd=command.working_dir,
            env={**environ, "CUDA_VISIBLE_DEVICES": ""},
            check=False,
        )
    if result.returncode != 0:
        lines = [line for line in result.stderr.splitlines() if line.strip()] or [f"exit code {result.returncode}"]
        is_sentence = result.returncode == 2
        raise ConfigError(*(lines if is_sentence else [f"{command.program}: cannot be prepared: {lines[-1]}"]))


def _telling_runs(plan: Plan) -> Iterator[Run]:
    """Yield planned runs of which each has some value (or seed) that no earlier one has; the first run first."""
    met: set[tuple[str, str]] = set()
    n_told = 0
    for run in itertools.islice(plan.runs(), MAX_RUNS_LOOKED_AT):
        found = {(name, canonical_json(value)) for name, value in {**run.params, "seed": run.seed}.items()}
        if found <= met:
            continue
        met |= found
        yield run
        n_told += 1
        if n_told == MAX_RUNS_CHECKED:
            return
