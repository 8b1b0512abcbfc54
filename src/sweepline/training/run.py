"""Exactly one run: write down what is used, decide its batch size, train, report. The body of ``train_single.py``.

What only some runs need (numbers, tuning, the noise scale) is imported by those runs alone.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

from sweepline.contract.text import display_path
from sweepline.errors import ConfigError
from sweepline.training import memory
from sweepline.training.config.identity import trained_sizes
from sweepline.training.config.schema import TrainConfig
from sweepline.training.config.sizes import examples_per_step, with_decided_size, within_bound
from sweepline.training.datasets.splits import Splits, load_data, remarks_on_data
from sweepline.training.device import check_precision, device_name, resolve_device
from sweepline.training.folder import hold_run_dir, is_in_sweep, make_run_dir, write_effective_config, write_environment
from sweepline.training.reporting.console import keep_log, print_line, print_part, say

if TYPE_CHECKING:
    from sweepline.training.experiment.numbered import NumberedRun


def run(
    config: TrainConfig, *, outputs: Path = Path("outputs"), run_dir: Path | None = None
) -> dict[str, float] | None:
    """Train one run in its folder and return the metrics of its last epoch; None when SIGTERM ended it.

    A run whose folder holds a checkpoint goes on from there, and reports what came before it again: output and files
    are those of a run that was never stopped.

    ``outputs`` is where the run's folder is made unless ``output_dir`` or ``$SWEEPLINE_RUN_DIR`` says otherwise;
    ``run_dir`` is one that is there.

    Raises:
        ConfigError: the device or the data cannot be had.
    """
    from sweepline.training.seeding import set_up_process
    from sweepline.training.trainer import train_run

    memory.runs_per_device()  # what it cannot use is said before a number is taken
    set_up_process(config)
    config = search_once_in_sweep(config.model_copy(update={"device": str(resolve_device(config.device))}))
    check_precision(config)
    run_dir = run_dir or make_run_dir(config, outputs)
    hold_run_dir(run_dir)
    keep_log(None if is_in_sweep() else run_dir / "log.txt")  # a sweep keeps its own
    if not is_in_sweep():
        write_environment(run_dir)
    if not config.batch_size_config.is_deciding:  # the size stays as asked for, its bounds beside it
        _write_config(config, config, run_dir, n_examples=None)
    data = _load(config)
    numbered = _begin_numbered(config, data, outputs=outputs, run_dir=run_dir) if is_numbered(config) else None
    used = numbered.config if numbered else within_bound(config)
    _write_config(config, used, run_dir, n_examples=len(data[0]))
    if config.batch_size_config.memory_budget_gib is not None:
        _import_for_want_of_memory()
    try:
        check_batch_size(used, len(data[0]))
        if not is_in_sweep():
            say(f"the run's folder is {display_path(run_dir)}")
        metrics = train_run(used, data, run_dir=run_dir, numbered=numbered)
        if metrics is not None and not numbered and _is_learning(config):
            _keep_size(config, outputs, used.batch_size)
        return metrics
    except memory.BatchTooLargeError as error:
        too_large = error
    except (Exception, KeyboardInterrupt) as error:
        if not memory.is_out_of_memory(error):
            if numbered:
                numbered.fail(memory.describe(error, 1000))
            raise
        too_large = memory.BatchTooLargeError(used.batch_size, memory.describe(error))
    size = numbered.fail(str(too_large), ran_out_at=too_large.batch_size).recommended_batch_size if numbered else None
    size = size or _recommend_size(config, outputs, ran_out_at=too_large.batch_size)
    print_line(f"METRIC run_batch_size={too_large.batch_size} recommended_batch_size={size}")
    say(f"a batch size of {size} is recommended")
    raise too_large


def _load(config: TrainConfig) -> Splits:
    """Load the data, and say what of it may be meant otherwise."""
    data = load_data(config)
    for remark in remarks_on_data(config, data[0]):
        say(remark)
    return data


def _is_learning(config: TrainConfig) -> bool:
    """Whether the size was bounded, as it is after memory had run out: that it trains is of use to others."""
    return config.batch_size_config.max_batch_size is not None and config.run_numbers != "never"


def _import_for_want_of_memory() -> None:
    """Import now what is needed once memory has run out: under its limit an import may be refused memory."""
    importlib.import_module("sweepline.training.batchsize.policy")
    importlib.import_module("sweepline.training.experiment.trainedsizes")


def _recommend_size(config: TrainConfig, outputs: Path, *, ran_out_at: int) -> int:
    """Return the size that a run without a record should go on with after memory ran out."""
    from sweepline.training.experiment.trainedsizes import recommend_size

    return recommend_size(*_series_of(config, outputs), ran_out_at)


def _keep_size(config: TrainConfig, outputs: Path, size: int) -> None:
    """Keep a size that has trained for others, which may run out of memory."""
    from sweepline.training.experiment.trainedsizes import keep_size

    keep_size(*_series_of(config, outputs), size)


def _series_of(config: TrainConfig, outputs: Path) -> tuple[Path, str]:
    """Return the folder of the run's experiment, and what it shares with set-ups that need the same memory."""
    from sweepline.training.batchsize.policy import tuning_key
    from sweepline.training.experiment.folder import find_experiment_dir

    return find_experiment_dir(config, outputs), tuning_key(config, device_name(resolve_device(config.device)))


def is_numbered(config: TrainConfig) -> bool:
    """Whether a run takes a number: asked to, started by hand, or with a batch size that is decided here."""
    if config.run_numbers != "auto":
        return config.run_numbers == "always"
    return config.batch_size_config.is_used or not is_in_sweep()


def _begin_numbered(config: TrainConfig, data: Splits, *, outputs: Path, run_dir: Path) -> NumberedRun:
    from sweepline.training.batchsize.decide import Decider
    from sweepline.training.batchsize.setup import SetupBuilder
    from sweepline.training.experiment.numbered import begin

    decide = Decider(
        config=config,
        n_examples=len(data[0]),
        device_name=device_name(resolve_device(config.device)),
        build=SetupBuilder(config, data),
        tell=print_part,
    )
    return begin(config, outputs=outputs, run_dir=run_dir, decide=decide, tell=print_part)


def search_once_in_sweep(config: TrainConfig) -> TrainConfig:
    """Return a config that searches once for all runs of a sweep, which are compared and shall have one size."""
    sizes = config.batch_size_config
    if not is_in_sweep() or sizes.optimize_batch_size is not True:
        return config
    once = sizes.model_copy(update={"optimize_batch_size": "once"})
    return config.model_copy(update={"batch_size_config": once})


def _write_config(asked: TrainConfig, used: TrainConfig, run_dir: Path, *, n_examples: int | None) -> None:
    """Write the effective config: run again, it trains the same, and searches and scales nothing a second time.

    What trained stands beside the keys that it follows from. Without ``n_examples`` it is not known yet.
    """
    config = with_decided_size(asked, used.batch_size)
    if config.batch_size_config.is_deciding:
        config = config.model_copy(update={"batch_size": used.batch_size})
    write_effective_config(config, run_dir, trained_sizes(config, used, n_examples) if n_examples is not None else {})


def check_batch_size(config: TrainConfig, n_examples: int) -> None:
    """Refuse a batch that would be dropped whole.

    Raises:
        ConfigError: no epoch would have a step.
    """
    n_per_step = examples_per_step(config)
    if config.drop_last and n_per_step > n_examples:
        raise ConfigError(
            f"drop_last drops all of {n_examples} examples with {n_per_step} in a step: use a smaller batch size"
        )
