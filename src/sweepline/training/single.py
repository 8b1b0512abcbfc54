"""Exactly one run: read the config, write down what is used, train, report. The body of ``train_single.py``."""

from __future__ import annotations

import argparse
import atexit
import json
import os
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from sweepline.errors import ConfigError, SweeplineError
from sweepline.training.config import TrainConfig, load_config
from sweepline.training.data import N_CLASSES, load_data, prepare_data

if TYPE_CHECKING:
    import torch

EXIT_UNUSABLE, EXIT_UNWRITTEN, EXIT_STOPPED = 2, 120, 128 + signal.SIGTERM


def main(argv: Sequence[str] | None = None, *, default_config: Path | None = None) -> int:
    """Run ``train_single.py``; return its exit code: 0, or 2 with one sentence when nothing could start."""
    parser = argparse.ArgumentParser(
        description="Train once: train_single.py [--config F] -- learner.step_size=0.1 seed=3", allow_abbrev=False
    )
    parser.add_argument("--config", type=Path, default=default_config, help=f"config file (default: {default_config})")
    parser.add_argument(
        "--prepare",
        action="store_true",
        help="check the config, fetch the data, and end; variations come as JSON lists on standard input",
    )
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    args = parser.parse_args(argv)
    try:
        if args.prepare:
            prepare(args.config, args.overrides)
        else:
            config = load_config(args.config, args.overrides)
            return EXIT_STOPPED if run(config, outputs=experiment_dir(args.config) / "outputs") is None else 0
    except SweeplineError as error:
        print(f"train_single: {error}", file=sys.stderr)
        return EXIT_UNUSABLE
    return 0


def leave(code: int) -> NoReturn:
    """End this process, everything written out: taking down torch's modules would take longer than many a run."""
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError as error:  # the interpreter's own code for it
        with suppress(OSError):
            print(f"train_single: output cannot be written: {error.strerror}", file=sys.stderr, flush=True)
        os._exit(EXIT_UNWRITTEN)
    os._exit(code)


def prepare(path: Path | None, overrides: Sequence[str]) -> None:
    """Check a config with every variation given on standard input, and fetch each data set once.

    Raises:
        ConfigError: with every fault of every variation, each once.
    """
    lines = [] if sys.stdin is None or sys.stdin.isatty() else [line for line in sys.stdin if line.strip()]
    configs: list[TrainConfig] = []
    faults: list[str] = []
    for variation in [[], *(json.loads(line) for line in lines)]:
        try:
            configs.append(load_config(path, [*overrides, *variation]))
        except ConfigError as error:
            faults += error.faults
    if faults:
        raise ConfigError(*dict.fromkeys(faults))
    for config in {(config.data.name, config.data.root): config for config in configs}.values():
        prepare_data(config)


def experiment_dir(config: Path | None) -> Path:
    """Return the config file's folder, or its parent when that folder is called ``cfg``."""
    folder = config.parent if config is not None else Path.cwd()
    return folder.parent if folder.name == "cfg" else folder


def run(config: TrainConfig, *, outputs: Path = Path("outputs")) -> dict[str, float] | None:
    """Train one run in its folder and return the metrics of its last epoch; None when SIGTERM ended it.

    A run whose folder holds a checkpoint goes on from there, and tells what came before it again: output and files are
    those of a run that was never stopped.

    ``outputs`` is where the run's folder is made unless ``output_dir`` or ``$SWEEPLINE_RUN_DIR`` says otherwise.

    Raises:
        ConfigError: the device or the data cannot be had.
    """
    import torch

    from sweepline.training.checkpoints import Checkpoints
    from sweepline.training.loop import LoopState, TrainingStoppedError, train
    from sweepline.training.models import build_model
    from sweepline.training.optimizers import build_optimizer
    from sweepline.training.reporting import Reporter, say, write_effective_config
    from sweepline.training.seeding import seed_everything, set_up_process

    set_up_process(config)
    device = resolve_device(config.device)
    config = config.model_copy(update={"device": str(device)})
    run_dir = make_run_dir(config, outputs)
    config_hash = write_effective_config(config, run_dir)
    training, valid, test = load_data(config)
    seed_everything(config.seed)
    height, width = training.images.shape[1:]
    model = build_model(config.model, image_size=(height, width), n_classes=N_CLASSES).to(device)
    optimizer, ignored = build_optimizer(config.learner, model.parameters())
    if ignored:
        say(f"{config.learner.opt} ignores {', '.join(ignored)}")
    held_out = (valid if config.evaluate.split == "valid" else test) if config.evaluate.every else None
    reporter = Reporter(config, run_dir)
    checkpoints = None
    if config.checkpoint.enabled:
        keep, interval_s = config.checkpoint.keep, config.checkpoint.interval_s
        checkpoints = Checkpoints(run_dir, config_hash=config_hash, keep=keep, interval_s=interval_s, say=say)
    found = checkpoints.restore(model, optimizer) if checkpoints else None
    state, history = found or (LoopState(), [])
    metrics: dict[str, float] = {}
    for result in history:
        reporter.epoch(result)
        metrics = metrics | result.metrics
    on_device = held_out.to(device) if held_out else None
    is_asked_to_stop = Flag(signal.SIGTERM)
    try:
        for result in train(
            model, optimizer, config, training.to(device), on_device, state=state, should_stop=is_asked_to_stop
        ):
            reporter.epoch(result)
            metrics = metrics | result.metrics
            history.append(result)
            if checkpoints and checkpoints.is_due and state.epoch <= config.epochs:
                checkpoints.save(model, optimizer, state, history)
    except TrainingStoppedError:
        say(f"asked to end: stopped after step {state.step}")
        if checkpoints:
            checkpoints.save(model, optimizer, state, history)
        reporter.close()
        return None
    if not all(torch.isfinite(parameter).all() for parameter in model.parameters()):
        say("the weights are no longer finite: the step size is likely too large")
    reporter.finish(metrics)
    return metrics


class Flag:
    """Whether a signal has arrived; from now on it does nothing else."""

    def __init__(self, number: signal.Signals) -> None:
        self._is_set = False
        if threading.current_thread() is threading.main_thread():
            signal.signal(number, self._set)

    def _set(self, *_: object) -> None:
        self._is_set = True

    def __call__(self) -> bool:
        return self._is_set


def resolve_device(wanted: str) -> torch.device:
    """Return the torch device, ``auto`` being a GPU where there is one.

    Raises:
        ConfigError: the device is not there.
    """
    import torch

    name = ("cuda" if torch.cuda.is_available() else "cpu") if wanted == "auto" else wanted
    device = torch.device(name)
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ConfigError(f"device {wanted}: this machine has no Metal GPU; use device=cpu")
    if device.type == "cuda" and (not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count()):
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "all")
        raise ConfigError(f"device {wanted}: no such GPU (CUDA_VISIBLE_DEVICES: {visible or 'none'}); use device=cpu")
    return device


def make_run_dir(config: TrainConfig, outputs: Path) -> Path:
    """Return this run's folder: ``$SWEEPLINE_RUN_DIR``, else a new one under ``single/`` in the outputs."""
    given = os.environ.get("SWEEPLINE_RUN_DIR")
    if given:
        path = Path(given)
        path.mkdir(parents=True, exist_ok=True)
        return path
    parent = (Path(config.output_dir) if config.output_dir else outputs) / "single"
    stamp = datetime.now().strftime("%Y%m%d_%H%M%S")
    parent.mkdir(parents=True, exist_ok=True)
    for suffix in ("", *(f"_{i}" for i in range(1, 1000))):
        path = parent / f"{stamp}_s{config.seed}{suffix}"
        try:
            path.mkdir()
        except FileExistsError:
            continue
        return path
    raise ConfigError(f"{parent}: cannot make a folder for this run")
