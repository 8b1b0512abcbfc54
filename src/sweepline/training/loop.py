"""The training loop: epochs over examples that live on the device. The loss stays there until the epoch ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from sweepline.training import memory
from sweepline.training.config.schema import TrainConfig
from sweepline.training.config.sizes import examples_per_step
from sweepline.training.datasets.examples import Examples
from sweepline.training.memory import BatchTooLargeError
from sweepline.training.seeding import epoch_order


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

    ``loss_sum`` float32 and ``n_right`` int64 are scalars over the epoch so far, on the device. ``n_splits`` is 2 once
    memory has run out and batches go through the network in halves. ``noise`` holds what the noise scale is made of.
    """

    epoch: int = 1
    batch: int = 0
    step: int = 0
    samples: int = 0
    n_splits: int = 1
    noise: list[list[float]] = field(default_factory=list)
    loss_sum: torch.Tensor = field(default_factory=lambda: torch.zeros(()))
    n_right: torch.Tensor = field(default_factory=lambda: torch.zeros((), dtype=torch.int64))

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for a checkpoint."""
        return dict(vars(self))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> LoopState:
        """Undo :meth:`to_dict`."""
        return cls(**values)


class TrainingStoppedError(Exception):
    """Training was asked to stop, and did so between two optimizer steps."""


@dataclass(frozen=True, kw_only=True)
class Watcher:
    """What may be looked at while training goes on; each is called between steps, with what the next step uses."""

    should_stop: Callable[[], bool] = lambda: False
    before_step: Callable[[int, torch.Tensor, int], None] = lambda _step, _index, _n_at_once: None
    say: Callable[[str], None] = lambda _: None


def train(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    config: TrainConfig,
    examples: Examples,
    held_out: Examples | None,
    *,
    state: LoopState | None = None,
    watcher: Watcher | None = None,
) -> Iterator[EpochResult]:
    """Train and yield each epoch's result: means over examples of the training loss and accuracy as they ran.

    ``examples`` and ``held_out`` are on the model's device; ``held_out`` is evaluated every ``evaluate.every`` epochs.
    ``state`` is where to go on from; it is kept up to date, so that at any yield and at a stop it is where to go on.

    Raises:
        TrainingStoppedError: ``watcher.should_stop`` said so.
        BatchTooLargeError: memory ran out, also after splitting where that is allowed.
    """
    device = examples.labels.device
    state, watcher = state or LoopState(), watcher or Watcher()
    state.loss_sum, state.n_right = state.loss_sum.to(device), state.n_right.to(device)
    n_per_step, n_evaluated_at_once = examples_per_step(config), config.evaluate.batch_size
    while state.epoch <= config.epochs:
        order = epoch_order(config.seed, state.epoch, len(examples)).to(device)
        if config.drop_last:
            order = order[: len(order) // n_per_step * n_per_step]
        model.train()
        for index in torch.split(order, n_per_step)[state.batch :]:
            if watcher.should_stop():
                raise TrainingStoppedError
            optimizer.zero_grad(set_to_none=True)  # nothing that is looked at now shall find less memory for it
            watcher.before_step(state.step, index, _n_at_once(config, state))
            loss_sum, n_right = _gradients_that_fit(
                model, optimizer, config, examples, index, state=state, watcher=watcher
            )
            _step(model, optimizer, config.gradient_clip, n_at_once=_n_at_once(config, state))
            state.loss_sum += loss_sum
            state.n_right += n_right
            state.batch, state.step, state.samples = state.batch + 1, state.step + 1, state.samples + len(index)
        n = len(order)
        metrics = {"epoch_loss": state.loss_sum.item() / n, "epoch_accuracy": state.n_right.item() / n}
        if held_out is not None and config.evaluate.every and state.epoch % config.evaluate.every == 0:
            loss_mean, accuracy, n_evaluated_at_once = _evaluate_that_fits(
                model, held_out, n_evaluated_at_once, watcher.say
            )
            metrics |= {f"{config.evaluate.split}_loss": loss_mean, f"{config.evaluate.split}_accuracy": accuracy}
        result = EpochResult(state.epoch, state.step, state.samples, metrics)
        state.epoch, state.batch = state.epoch + 1, 0
        state.loss_sum, state.n_right = torch.zeros_like(state.loss_sum), torch.zeros_like(state.n_right)
        yield result


def _evaluate_that_fits(
    model: nn.Module, held_out: Examples, n_at_once: int, say: Callable[[str], None]
) -> tuple[float, float, int]:
    """Evaluate, in smaller parts where memory runs out; return how many examples fit together too."""
    while True:
        try:
            return (*evaluate(model, held_out, n_at_once=n_at_once), n_at_once)
        except (RuntimeError, MemoryError) as error:
            why = _why_out_of_memory(error)
        if n_at_once == 1:
            raise BatchTooLargeError(1, why)
        n_at_once = min(n_at_once, len(held_out)) // 2
        say(f"out of memory in evaluation ({why}): going on with {n_at_once} examples at once")


def _n_at_once(config: TrainConfig, state: LoopState) -> int:
    return -(-config.batch_size // state.n_splits)


def _gradients_that_fit(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    config: TrainConfig,
    examples: Examples,
    index: torch.Tensor,
    *,
    state: LoopState,
    watcher: Watcher,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute a step's gradients; where ``accumulate`` may grow and memory runs out, once more in halves."""
    while True:
        n_at_once = _n_at_once(config, state)
        optimizer.zero_grad(set_to_none=True)
        try:
            return gradients(model, examples, index, n_at_once=n_at_once)
        except (RuntimeError, MemoryError) as error:
            why = _why_out_of_memory(error)
        optimizer.zero_grad(set_to_none=True)  # out here nothing holds the failed step's memory any more
        if index.device.type == "cuda":
            torch.cuda.empty_cache()
        if config.accumulate != "auto" or state.n_splits > 1 or n_at_once == 1:
            raise BatchTooLargeError(min(n_at_once, len(index)), why)
        state.n_splits = 2
        watcher.say(
            f"out of memory with {n_at_once} examples at once ({why}): going on with {_n_at_once(config, state)}"
        )


def _step(model: nn.Module, optimizer: torch.optim.Optimizer, clip: float | None, *, n_at_once: int) -> None:
    try:
        if clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
    except (RuntimeError, MemoryError) as error:
        why = _why_out_of_memory(error)
    else:
        return
    raise BatchTooLargeError(n_at_once, why)


def _why_out_of_memory(error: BaseException) -> str:
    """Return an error in one line; one that is about something else goes on."""
    if not memory.is_out_of_memory(error) and not (memory.is_limited() and memory.is_unsupported(error)):
        raise error
    return memory.describe(error)


def gradients(
    model: nn.Module, examples: Examples, index: torch.Tensor, *, n_at_once: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Add the gradients of the mean loss over ``index``; return the sum of losses and the number of right answers.

    ``n_at_once`` examples go through the network together; each part counts by its size, also an uneven last one.
    """
    sums: list[torch.Tensor] = []
    right: list[torch.Tensor] = []
    for part in torch.split(index, n_at_once):
        inputs, labels = examples.batch(part)
        logits = model(inputs)
        loss = functional.cross_entropy(logits, labels)
        share = loss if len(part) == len(index) else loss * (len(part) / len(index))
        share.backward()  # type: ignore[no-untyped-call]
        sums.append(loss.detach() * len(part))
        right.append((logits.detach().argmax(1) == labels).sum())
    return (sums[0], right[0]) if len(sums) == 1 else (torch.stack(sums).sum(), torch.stack(right).sum())


@torch.no_grad()
def evaluate(model: nn.Module, examples: Examples, *, n_at_once: int = 1000) -> tuple[float, float]:
    """Return the mean loss and the share of right answers over all examples, ``n_at_once`` of them together."""
    model.eval()
    loss_sum, n_right = 0.0, 0
    for index in torch.split(torch.arange(len(examples), device=examples.labels.device), n_at_once):
        inputs, labels = examples.batch(index)
        logits = model(inputs)
        loss_sum += functional.cross_entropy(logits, labels, reduction="sum").item()
        n_right += int((logits.argmax(1) == labels).sum().item())
    return loss_sum / len(examples), n_right / len(examples)
