"""The training of a run whose sizes are decided: model, checkpoints, trackers, loop, and what is watched meanwhile."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from sweepline.errors import ConfigError, did_you_mean
from sweepline.training import memory, trying
from sweepline.training.bestweights import BestWeights, keeps_best
from sweepline.training.building import budget_bytes, build_task, build_training, shapes_of
from sweepline.training.checkpoints import Checkpoints
from sweepline.training.config.identity import report_sizes, result_identity, trained_sizes
from sweepline.training.config.schema import TrainConfig
from sweepline.training.config.sizes import effective_step_size, examples_per_step
from sweepline.training.datasets.examples import Examples
from sweepline.training.datasets.splits import Splits, pick_held_out
from sweepline.training.loop import LoopState, TrainingStoppedError, Watcher, evaluate_that_fits, train
from sweepline.training.optim.optimization import Optimization
from sweepline.training.reporting.console import say
from sweepline.training.reporting.exitcodes import EXIT_STOPPED
from sweepline.training.reporting.metrics import Reporter
from sweepline.training.tasks.base import Task, metric_names

if TYPE_CHECKING:
    from sweepline.training.batchsize.noise import NoiseMeter
    from sweepline.training.experiment.numbered import NumberedRun


def train_run(
    config: TrainConfig,
    data: Splits,
    *,
    run_dir: Path,
    numbered: NumberedRun | None,
) -> dict[str, float] | None:
    """Train, report and keep what came of it; return the last value of each metric, None when SIGTERM ended it.

    ``data`` is on the CPU; ``numbered`` is the run's entry in its experiment, where it has one.

    Raises:
        BatchTooLargeError: memory ran out.
        SweeplineError: output or weights cannot be written, or a batch is not of the size that was decided.
    """
    limit = budget_bytes(config)
    if limit is not None:
        memory.trim_heap()  # else the model would be made of memory that counts already, and its own not be seen
    held_before = memory.data_bytes()
    model, optimization = _build(config, data[0])
    held_by_model = memory.data_bytes() - held_before
    with Reporter(config, run_dir, beside=trained_sizes(config, config, len(data[0]))) as reporter:
        checkpoints = _open_checkpoints(config, run_dir, n_examples=len(data[0]))
        task = build_task(config, model, data[0], pick_held_out(config, data))
        found = checkpoints.restore(model, optimization, task=task, n_epochs=config.epochs) if checkpoints else None
        state, history = found or (LoopState(), [])
        for result in history:
            reporter.epoch(result)
        meter = _noise_meter(config, task, state)
        if limit is not None and task.device.type == "cpu":  # from here on, so that no import is refused memory
            memory.limit_data(limit - held_by_model)

        best = _open_best(config, run_dir, state)
        _check_monitor(config, task)
        saver = _Saver(checkpoints, lambda kept: kept.save(model, optimization, state, history, task=task))
        watcher = _watch(state, model, meter, numbered=numbered, save_if_due=saver.save_between_steps)
        try:
            for result in train(task, optimization, config, state=state, watcher=watcher):
                reporter.epoch(result)
                history.append(result)
                if best is not None and state.best.epoch == result.epoch:
                    best.save(model, result)
                if state.epoch <= config.epochs:
                    saver.save_after_epoch()
            saver.save_at_end()
        except TrainingStoppedError:
            say(f"asked to end: stopped after step {state.step}")
            saver.save()
            reporter.close(EXIT_STOPPED)
            if numbered:
                numbered.stop()
            return None
        _tell_if_diverged(model)
        metrics = {name: value for result in history for name, value in result.metrics.items()}
        metrics |= _test(config, task, data[2], best, epoch=state.best.epoch)
        metrics |= (meter.report(say) if meter else {}) | report_sizes(config, len(data[0]), n_splits=state.n_splits)
        reporter.finish(metrics)
        if numbered:
            numbered.succeed(model, n_splits=state.n_splits, best=best.path if best and state.best.epoch else None)
        return metrics


def _open_best(config: TrainConfig, run_dir: Path, state: LoopState) -> BestWeights | None:
    """Return what keeps the best weights, without what another run has left; None where none are kept."""
    if not keeps_best(config):
        return None
    best = BestWeights(run_dir, say=say)
    if state.best.value is None:
        best.discard()
    return best


def _check_monitor(config: TrainConfig, task: Task) -> None:
    """Refuse to wait for a metric that is never measured.

    Raises:
        ConfigError: the task has none of that name.
    """
    names = metric_names(task)
    portions = ["epoch", *([config.evaluate.split] if config.evaluate.every else [])]
    measured = [f"{portion}_{name}" for portion in portions for name in names]
    monitor = config.early_stopping.monitor
    if monitor is not None and monitor not in measured:
        raise ConfigError(
            f"early_stopping.monitor {monitor} is not measured{did_you_mean(monitor, measured)}; there are "
            f"{', '.join(measured)}"
        )


def _test(config: TrainConfig, task: Task, test: Examples, best: BestWeights | None, *, epoch: int) -> dict[str, float]:
    """Return the metrics of the test portion where the config wants them; the model keeps the weights that it has.

    ``epoch`` is the best one, 0 where there is none.
    """
    if config.evaluate.final_test == "never":
        return {}
    last = {name: value.clone() for name, value in task.model.state_dict().items()}
    if config.evaluate.final_test == "best" and best is not None:
        if epoch:
            best.restore(task.model)
        which = f"epoch {epoch}, the best" if epoch else "the last epoch"
        say(f"the test portion is evaluated with the weights of {which}")
    tested = task.evaluating(test)
    found, _ = evaluate_that_fits(tested, config.evaluate.batch_size, say)
    task.model.load_state_dict(last)
    return {f"test_{name}": value for name, value in found.items()}


@dataclass
class _Saver:
    """Writes a run's checkpoints when they are due; nothing where it has none."""

    checkpoints: Checkpoints | None
    write: Callable[[Checkpoints], None]

    def save(self) -> None:
        if self.checkpoints is not None:
            self.write(self.checkpoints)

    def save_after_epoch(self) -> None:
        if self.checkpoints is not None and self.checkpoints.is_due:
            self.save()

    def save_at_end(self) -> None:
        """Keep the end too where anything is kept: the weights of a folder are then those of the run."""
        if self.checkpoints is not None and (self.checkpoints.interval_s == 0 or self.checkpoints.has_saved):
            self.save()

    def save_between_steps(self) -> None:
        if self.checkpoints is not None and self.checkpoints.interval_s > 0:  # else after every epoch
            self.save_after_epoch()


def _tell_if_diverged(model: nn.Module) -> None:
    if not all(torch.isfinite(parameter).all() for parameter in model.parameters()):
        say("the weights are no longer finite: the step size is likely too large")


def _noise_meter(config: TrainConfig, task: Task, state: LoopState) -> NoiseMeter | None:
    """Return what measures the noise scale; None, and nothing imported for it, where it is not asked for."""
    if config.noise_every == 0:
        return None
    from sweepline.training.batchsize.noise import NoiseMeter

    return NoiseMeter(task, every=config.noise_every, kept=state.noise)


def _open_checkpoints(config: TrainConfig, run_dir: Path, *, n_examples: int) -> Checkpoints | None:
    """Return the checkpoints of this run's folder; None where it shall have none."""
    if not config.checkpoint.enabled:
        return None
    return Checkpoints(
        run_dir,
        config_hash=result_identity(config, n_examples),
        keep=config.checkpoint.keep,
        interval_s=config.checkpoint.interval_s,
        say=say,
    )


def _build(config: TrainConfig, training: Examples) -> tuple[nn.Module, Optimization]:
    """Return the model and what optimizes it, drawn from the config's seed; ``lr_rule`` makes its step size."""
    rate = effective_step_size(config, len(training))
    if rate != config.learner.step_size:
        sizes, n_per_step = config.batch_size_config, min(examples_per_step(config), len(training))
        say(
            f"step size {config.learner.step_size} becomes {rate:.6g}: lr_rule {sizes.lr_rule}, "
            f"{sizes.reference_batch_size} -> {n_per_step} examples a step"
        )
    model, optimization, ignored = build_training(
        config, training, config.learner.model_copy(update={"step_size": rate})
    )
    if config.batch_size_config.is_deciding:  # else it was looked at when the network was built
        trying.check_last_batch(config, model, training, shapes_of(config, training)[0])
    if of_optimizer := [name.removeprefix("learner.") for name in ignored if name.startswith("learner.")]:
        say(f"{config.learner.opt} ignores {', '.join(of_optimizer)}")
    if of_model := [name.removeprefix("model.") for name in ignored if name.startswith("model.")]:
        say(f"model {config.model.name} ignores {', '.join(of_model)}")
    if unused := config.schedule.ignored:
        say(f"schedule {config.schedule.name} ignores {', '.join(unused)}")
    return model, optimization


def _watch(
    state: LoopState,
    model: nn.Module,
    meter: NoiseMeter | None,
    *,
    numbered: NumberedRun | None,
    save_if_due: Callable[[], None],
) -> Watcher:
    """Return what looks at training: checkpoints, the noise scale, the first batch against its record, SIGTERM."""
    unchecked = [numbered] if numbered is not None and state.n_splits == 1 else []

    def before_step(step: int, index: torch.Tensor, n_at_once: int) -> None:
        save_if_due()
        if meter is not None:
            meter.measure(step, index, n_at_once=n_at_once)
        while unchecked:
            _check_next_batch(model, unchecked.pop(), len(index))

    return Watcher(should_stop=SignalFlag(signal.SIGTERM), before_step=before_step, say=say)


def _check_next_batch(model: nn.Module, numbered: NumberedRun, n_in_step: int) -> None:
    """Have the next batch that enters the network compared with the run's record, and no other."""

    def check(_: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        hook.remove()
        numbered.check_first_batch(inputs[0], n_in_step)

    hook = model.register_forward_pre_hook(check)


class SignalFlag:
    """Whether a signal has arrived; from now on it does nothing else."""

    def __init__(self, number: signal.Signals) -> None:
        self._is_set = False
        if threading.current_thread() is threading.main_thread():
            signal.signal(number, self._set)

    def _set(self, *_: object) -> None:
        self._is_set = True

    def __call__(self) -> bool:
        """Whether the signal has come."""
        return self._is_set
