"""The command line of one run: arguments, exit codes, ``--prepare``. Not what a run does."""

from __future__ import annotations

import argparse
import atexit
import json
import os
import sys
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from sweepline.errors import ConfigError, SweeplineError
from sweepline.training.config.identity import stands_on_others
from sweepline.training.config.loading import load_config
from sweepline.training.config.schema import TrainConfig
from sweepline.training.datasets.splits import load_data, prepare_data
from sweepline.training.device import check_precision
from sweepline.training.folder import experiment_dir
from sweepline.training.registry import OPTIMIZERS
from sweepline.training.reporting.console import say
from sweepline.training.reporting.exitcodes import EXIT_STOPPED, EXIT_UNWRITTEN, exit_code_of


def main(argv: Sequence[str] | None = None, *, default_config: Path | None = None) -> int:
    """Run ``train_single.py``; return its exit code: 0, or 2 with one sentence when nothing could start."""
    parser = argparse.ArgumentParser(
        prog="sweepline train" if default_config is None else None,
        description="Train once, as in: -- learner.step_size=0.1 seed=3",
        allow_abbrev=False,
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--config", type=Path, default=default_config, help=f"config file (default: {default_config})")
    source.add_argument("--frozen-config", type=Path, metavar="F", help="repeat a run: a config that a run has frozen")
    source.add_argument(
        "--resume", type=Path, metavar="FOLDER", help="go on with the run of a folder, from its checkpoint"
    )
    parser.add_argument(
        "--prepare",
        action="store_true",
        help="check the config, fetch the data, and end; the overrides of several runs come on standard input, a JSON "
        "list each, in place of those here",
    )
    parser.add_argument("--describe", choices=["keys", "built"], help="print as JSON what the config comes to, and end")
    parser.add_argument("--seed", metavar="N", help="the same as seed=N")
    parser.add_argument(
        "--tune", action="store_true", help="search the batch size (again): batch_size_config.optimize_batch_size=true"
    )
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    args = parser.parse_args(argv)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # numpy would start threads that nothing here uses
    overrides = [
        *args.overrides,
        *([f"seed={args.seed}"] if args.seed is not None else []),
        *(["batch_size_config.optimize_batch_size=true"] if args.tune else []),
    ]
    try:
        if args.prepare:
            prepare(args.config, overrides)
            return 0
        remarks: list[str] = []
        outputs, run_dir = experiment_dir(args.config) / "outputs", None
        if args.resume is not None:
            from sweepline.training.resuming import load_resumed, outputs_of

            run_dir = args.resume
            config = load_resumed(run_dir, overrides, remarks=remarks)
            outputs = outputs_of(run_dir) or experiment_dir(default_config) / "outputs"
        elif args.frozen_config is not None:
            from sweepline.training.experiment.frozen import load_frozen

            config = load_frozen(args.frozen_config, overrides, remarks=remarks)
        else:
            config = load_config(args.config, overrides, remarks=remarks)
        if args.describe:
            from sweepline.training.describe import describe

            print(json.dumps(describe(config, is_built=args.describe == "built")))
            return 0
        from sweepline.training.run import run

        for remark in remarks:
            say(remark)
        return EXIT_STOPPED if run(config, outputs=outputs, run_dir=run_dir) is None else 0
    except SweeplineError as error:
        say(str(error))
        return exit_code_of(error)
    except KeyboardInterrupt as error:
        say("interrupted")
        return exit_code_of(error)


def leave(code: int) -> NoReturn:
    """End this process, everything written out: taking down torch's modules would take longer than many a run."""
    atexit._run_exitfuncs()
    try:
        for stream in filter(None, (sys.stdout, sys.stderr)):  # a closed one is None
            stream.flush()
    except OSError as error:  # the interpreter's own code for it
        with suppress(OSError):
            print(f"train_single: output cannot be written: {error.strerror}", file=sys.stderr, flush=True)
        os._exit(EXIT_UNWRITTEN)
    os._exit(code)


def prepare(path: Path | None, overrides: Sequence[str]) -> None:
    """Check a config, with the overrides of each run that is given on standard input, and fetch each data set once.

    Raises:
        ConfigError: with every fault of every run, each once.
    """
    lines = [] if sys.stdin is None or sys.stdin.isatty() else [line for line in sys.stdin if line.strip()]
    configs: list[TrainConfig] = []
    faults: list[str] = []
    for own in map(json.loads, lines) if lines else [overrides]:
        try:
            config = load_config(path, own)
            check_precision(config)
            configs.append(config)
        except ConfigError as error:
            faults += error.faults
    if faults:
        raise ConfigError(*dict.fromkeys(faults))
    _check_optimizers({config.learner.opt for config in configs})
    for config in {(config.data.name, config.data.root, str(config.data.args)): config for config in configs}.values():
        prepare_data(config)
    _check_building(configs)


def _check_building(configs: Sequence[TrainConfig]) -> None:
    """Build once what stands on something of the user's: code of their own, or networks that they have trained.

    Data is loaded once for all that is built on it.
    """
    found: dict[str, dict[str, TrainConfig]] = {}
    for config in filter(stands_on_others, configs):
        sizes = (config.batch_size, config.accumulate, config.drop_last)
        parts = (config.model, config.training, config.learner.opt, config.learner.args, sizes)
        on_cpu = config.model_copy(update={"device": "cpu", "precision": 32})
        found.setdefault(str((config.data, config.evaluate)), {}).setdefault(str(parts), on_cpu)
    if not found:
        return
    from sweepline.training.building import build_task, build_training

    faults: list[str] = []
    for alike in found.values():
        try:
            training, _, test = load_data(next(iter(alike.values())))
        except ConfigError as error:
            faults += error.faults
            continue
        for config in alike.values():
            try:
                model, _, _ = build_training(config, training)
                build_task(config, model, training, test)
            except ConfigError as error:
                faults += error.faults
    if faults:
        raise ConfigError(*dict.fromkeys(faults))


def _check_optimizers(names: Collection[str]) -> None:
    """Refuse what torch does not offer; it is imported for names alone that are its own."""
    faults: list[str] = []
    for name in sorted(name for name in names if name not in OPTIMIZERS):
        from sweepline.training.optim.optimizers import find_class

        try:
            find_class(name)
        except ConfigError as error:
            faults += error.faults
    if faults:
        raise ConfigError(*faults)
