"""The training loop: epochs of steps of any task. What is summed up stays on the device until the epoch ends."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import torch

from sweepline.training.config.monitor import monitor_of
from sweepline.training.config.schema import TrainConfig
from sweepline.training.config.sizes import examples_per_step
from sweepline.training.memory import BatchTooLargeError
from sweepline.training.optim.optimization import Optimization
from sweepline.training.seeding import unchanged_randomness
from sweepline.training.stepping import n_at_once, take_step, why_out_of_memory
from sweepline.training.stopping import BestSoFar
from sweepline.training.tasks.base import Task

DIVERGED_FROM = 2.0
"""Times the loss of the new network: a run that ends above it has diverged."""
N_INITIAL = 256
"""Examples by which the new network's loss is measured."""


@dataclass(frozen=True, slots=True)
class EpochResult:
    """What an epoch measured. ``samples`` and ``step`` count from the start of the run."""

    epoch: int
    step: int
    samples: int
    metrics: dict[str, float] = field(default_factory=dict)


@dataclass
class LoopState:
    """Where training stands between two optimizer steps: in ``epoch``, before its step ``batch`` (from 0).

    ``sums`` are the task's over the epoch so far, scalars on the device. ``n_splits`` is 2 once memory has run out and
    batches go through the network in halves; ``n_skipped`` counts steps that mixed precision has left out. ``noise``
    holds what the noise scale is made of, ``best`` which epoch was the best. ``initial_loss`` is that of the new
    network, where it is asked whether the run diverges.
    """

    epoch: int = 1
    batch: int = 0
    step: int = 0
    samples: int = 0
    n_splits: int = 1
    n_skipped: int = 0
    noise: list[list[float]] = field(default_factory=list)
    best: BestSoFar = field(default_factory=BestSoFar)
    initial_loss: float | None = None
    sums: dict[str, torch.Tensor] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for a checkpoint; the sums stand among them, each under its own name."""
        values = dict(vars(self))
        sums, best = values.pop("sums"), values.pop("best")
        return {**values, "best": asdict(best), **sums}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> LoopState:
        """Undo :meth:`to_dict`."""
        own = {item.name for item in fields(cls)} - {"sums"}
        sums = {name: value for name, value in values.items() if name not in own}
        best = BestSoFar(**values.get("best", {}))
        return cls(**{name: value for name, value in values.items() if name in own} | {"sums": sums, "best": best})


class TrainingStoppedError(Exception):
    """Training was asked to stop, and did so between two optimizer steps."""


@dataclass(frozen=True, kw_only=True)
class Watcher:
    """What may be looked at while training goes on; each is called between steps, with what the next step uses."""

    should_stop: Callable[[], bool] = lambda: False
    before_step: Callable[[int, torch.Tensor, int], None] = lambda _step, _index, _n_at_once: None
    say: Callable[[str], None] = lambda _: None


def train(
    task: Task,
    optimization: Optimization,
    config: TrainConfig,
    *,
    state: LoopState | None = None,
    watcher: Watcher | None = None,
) -> Iterator[EpochResult]:
    """Train and yield each epoch's result: means over examples of the training metrics as they ran.

    What the task holds out is evaluated every ``evaluate.every`` epochs, and early stopping may end the training.
    ``state`` is where to go on from; it is kept up to date, so that at any yield and at a stop it is where to go on.

    Raises:
        TrainingStoppedError: ``watcher.should_stop`` said so.
        BatchTooLargeError: memory ran out, also after splitting where that is allowed.
    """
    state, watcher = state or LoopState(), watcher or Watcher()
    state.sums = task.zero_sums() | {name: value.to(task.device) for name, value in state.sums.items()}
    n_per_step, n_evaluated_at_once = examples_per_step(config), config.evaluate.batch_size
    monitor = monitor_of(config)
    if state.best.is_over:
        watcher.say(f"this run has ended itself after epoch {state.epoch - 1}: no further epoch is trained")
    while state.epoch <= config.epochs and not state.best.is_over:
        order = task.order(state.epoch).to(task.device)
        if config.drop_last:  # what would be a smaller batch than the others
            order = order[: len(order) // n_per_step * n_per_step]
        if config.stop_diverged and state.step == 0:
            state.initial_loss = _measure_loss(task, order[:N_INITIAL], n_together=n_at_once(config, state.n_splits))
        task.model.train()
        batches = torch.split(order, n_per_step)
        for index in batches[state.batch :]:
            if watcher.should_stop():
                raise TrainingStoppedError
            optimization.zero_grad()  # nothing that is looked at now shall find less memory for it
            # Between two steps: a checkpoint and the noise scale see the weights and the state that go on from here.
            watcher.before_step(state.step, index, n_at_once(config, state.n_splits))
            optimization.set_step_size(epoch=state.epoch - 1, step=state.step - state.n_skipped, n_steps=len(batches))
            sums, state.n_splits, is_done = take_step(
                task, optimization, config, index, n_splits=state.n_splits, say=watcher.say
            )
            state.n_skipped += not is_done
            for name, value in sums.items():  # on the device: reading them here would wait for it at every step
                state.sums[name] += value
            state.batch, state.step, state.samples = state.batch + 1, state.step + 1, state.samples + len(index)
        metrics, n_evaluated_at_once = _measure_epoch(
            task, optimization, config, state, n=len(order), n_evaluated_at_once=n_evaluated_at_once, say=watcher.say
        )
        if monitor is not None and (why := monitor.look(state.best, metrics, state.epoch)):
            watcher.say(why)
        result = EpochResult(state.epoch, state.step, state.samples, metrics)
        # Before the epoch is handed out, so that whoever saves a checkpoint then saves the begin of the next one.
        state.epoch, state.batch, state.sums = state.epoch + 1, 0, task.zero_sums()
        yield result


def _measure_epoch(
    task: Task,
    optimization: Optimization,
    config: TrainConfig,
    state: LoopState,
    *,
    n: int,
    n_evaluated_at_once: int,
    say: Callable[[str], None],
) -> tuple[dict[str, float], int]:
    """Return what an epoch of ``n`` examples measured, and how many are evaluated at once from now on."""
    sums_of_epoch = {name: value.item() for name, value in state.sums.items()}
    metrics = _named("epoch", task.metrics(sums_of_epoch, n))
    if task.n_held_out and config.evaluate.every and state.epoch % config.evaluate.every == 0:
        found, n_evaluated_at_once = evaluate_that_fits(task, n_evaluated_at_once, say)
        metrics |= _named(config.evaluate.split, found)
    if config.schedule.is_used:
        metrics["step_size"] = optimization.step_size
    if config.stop_diverged:
        loss = metrics["epoch_loss"]
        bound = DIVERGED_FROM * state.initial_loss if state.initial_loss else math.inf
        metrics["diverged"] = float(not math.isfinite(loss) or loss > bound)
        if not math.isfinite(loss):
            state.best.is_over = True
            say(f"the loss of epoch {state.epoch} is {loss}: training ends here")
    return metrics, n_evaluated_at_once


@torch.no_grad()
def _measure_loss(task: Task, index: torch.Tensor, *, n_together: int) -> float:
    """Return the mean loss of training examples, as the network is now; what it draws meanwhile is undone."""
    task.model.eval()
    with unchanged_randomness(task.device):
        losses = [task.loss(part).loss * len(part) for part in torch.split(index, n_together)]
    return float(sum(losses)) / len(index)


def _named(portion: str, metrics: Mapping[str, float]) -> dict[str, float]:
    return {f"{portion}_{name}": value for name, value in metrics.items()}


def evaluate_that_fits(task: Task, n_together: int, say: Callable[[str], None]) -> tuple[dict[str, float], int]:
    """Evaluate, in smaller parts where memory runs out; return how many examples fit together too."""
    while True:
        try:
            return evaluate(task, n_together=n_together), n_together
        except (RuntimeError, MemoryError) as error:
            why = why_out_of_memory(error)
        if n_together == 1:
            raise BatchTooLargeError(1, why)
        n_together = min(n_together, task.n_held_out) // 2
        say(f"out of memory in evaluation ({why}): going on with {n_together} examples at once")


@torch.no_grad()
def evaluate(task: Task, *, n_together: int) -> dict[str, float]:
    """Return the metrics over all that the task holds out, ``n_together`` examples at a time.

    Sums of parts are added in double precision, so that how many go together hardly shows; they are read at the end.
    """
    task.model.eval()
    sums: dict[str, torch.Tensor] = {}
    for index in torch.split(torch.arange(task.n_held_out, device=task.device), n_together):
        for name, value in task.evaluate(index).sums.items():
            sums[name] = sums.get(name, 0) + _widened(value)
    return task.metrics({name: value.item() for name, value in sums.items()}, task.n_held_out)


def _widened(value: torch.Tensor) -> torch.Tensor:
    """Return a sum in double precision, a count as the widest integer; Metal has no doubles."""
    if not value.is_floating_point():
        return value.long()
    return value.double() if value.device.type != "mps" else value.cpu().double()
