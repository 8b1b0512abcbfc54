"""What is looked at before the first run: the program, the plan, and whether our trainer knows every override."""

from __future__ import annotations

import itertools
import json
import resource
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from sweepline.config.settings import SweepSettings
from sweepline.contract.text import display_path
from sweepline.engine.freezing import KEPT
from sweepline.engine.preparation import PreparedSweep
from sweepline.engine.scheduler.sampler import check_engine
from sweepline.engine.signals import stop_as_exit
from sweepline.errors import ConfigError, ExecutorUnavailableError
from sweepline.executors.local.slots import Slots
from sweepline.programs.location import missing_program
from sweepline.programs.native import NativeCommand
from sweepline.runs import Run, canonical_json
from sweepline.space.plan import Plan, count_all
from sweepline.space.samplers.bayes import BayesSampler, check_installed

PREPARE_FLAG = "--prepare"
_N_DESCRIPTORS = 32
MAX_RUNS_LOOKED_AT, MAX_RUNS_CHECKED = 5000, 500


def check_with_trainer(
    settings: SweepSettings, plan: Plan, environ: Mapping[str, str], *, is_on_cpu: bool = False
) -> None:
    """Let the trainer check its config for every value that the plan holds, and prepare its data.

    ``is_on_cpu``: whether all runs will be, so that what needs a GPU can be refused.

    It does so in one process, without torch. Scripts named train_single.py that are not our trainer are left alone:
    they might start training.

    Raises:
        ConfigError: the trainer does not know a key, refuses a value, or cannot get its data; its own sentences.
    """
    command = settings.command
    if not isinstance(command, NativeCommand) or not command.is_own_trainer:
        return
    if not plan.is_enumerable:  # to look at its runs would be to ask for them
        return
    device = "cpu" if is_on_cpu else "auto"
    commands = [
        command.build(run.params, run.seed, device=device, run_dir=settings.sweep_dir) for run in _telling_runs(plan)
    ]
    split = commands[0].index("--")
    with stop_as_exit():
        result = subprocess.run(
            [*commands[0][:split], PREPARE_FLAG, *commands[0][split:]],  # as a run is started, should it look at that
            input="".join(json.dumps(argv[split + 1 :]) + "\n" for argv in commands),
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


def check_startable(prepared: PreparedSweep) -> None:
    """Say before anything starts that the program is not there, or that there is nothing to run, or no end to it.

    Raises:
        ConfigError: it is so.
    """
    settings, plan = prepared.settings, prepared.plan
    if prepared.options.fresh and prepared.options.code == KEPT:
        raise ConfigError(
            "--fresh sets the code that was kept aside with the records; leave out one of --fresh, --code kept"
        )
    problem = missing_program(settings.command)
    if problem:
        own, here = settings.experiment_dir, Path.cwd()
        places = f"{here}" if own.resolve() == here.resolve() else f"{own} and {here}"
        looked = f"; looked in {places}" if "not found" in problem else ""
        raise ConfigError(f"{display_path(settings.path)}: {problem}{looked}")
    if settings.needs_limit and prepared.options.count is None:
        raise ConfigError(
            f"{display_path(settings.path)}: {plan.space.method} search needs an end: set samples or run_cap, or "
            "--count N"
        )
    if isinstance(plan.sampler, BayesSampler):
        check_installed(plan.sampler.kind)
    if settings.scheduler is not None:
        check_engine(settings.scheduler.engine, plan.space.parameters)
    if not plan.is_enumerable:
        return
    if next(plan.runs(), None) is None:
        count_all(plan)
        raise ConfigError(f"{display_path(settings.path)}: no runs to plan")


def check_descriptors(slots: Slots) -> None:
    """Say before anything starts that there are too few file descriptors.

    Raises:
        ExecutorUnavailableError: it is so.
    """
    needed = _N_DESCRIPTORS + 3 * len(slots.all)  # of each slot a lease and two logs, which the keeper holds
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit < needed:
        raise ExecutorUnavailableError(
            f"a sweep with {len(slots.all)} slots needs {needed} file descriptors, the limit is {limit}: "
            "raise it with ulimit -n, or lower max_concurrent"
        )
