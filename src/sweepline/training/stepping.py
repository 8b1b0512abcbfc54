"""One optimizer step: gradients in parts, in halves where memory runs out, then applied. Not of which examples."""

from __future__ import annotations

from collections.abc import Callable

import torch

from sweepline.training import memory
from sweepline.training.config.schema import TrainConfig
from sweepline.training.memory import BatchTooLargeError
from sweepline.training.optim.optimization import Optimization
from sweepline.training.tasks.base import Sums, Task


def n_at_once(config: TrainConfig, n_splits: int) -> int:
    """Return how many examples go through the network together, the batch split in ``n_splits``."""
    return -(-config.batch_size // n_splits)


def take_step(
    task: Task,
    optimization: Optimization,
    config: TrainConfig,
    index: torch.Tensor,
    *,
    n_splits: int,
    say: Callable[[str], None],
) -> tuple[Sums, int, bool]:
    """Do one optimizer step on these examples.

    Return their sums, in how many parts batches go through from now on, and whether the step was done, not skipped.

    Raises:
        BatchTooLargeError: memory ran out, also after splitting where that is allowed.
    """
    sums, n_splits = _gradients_that_fit(task, optimization, config, index, n_splits=n_splits, say=say)
    try:
        is_done = optimization.apply(task.model)
    except (RuntimeError, MemoryError) as error:
        why = why_out_of_memory(error)
    else:
        return sums, n_splits, is_done
    # Raised out here: while an error is handled its traceback holds the step's tensors.
    raise BatchTooLargeError(n_at_once(config, n_splits), why)


def _gradients_that_fit(
    task: Task,
    optimization: Optimization,
    config: TrainConfig,
    index: torch.Tensor,
    *,
    n_splits: int,
    say: Callable[[str], None],
) -> tuple[Sums, int]:
    """Compute a step's gradients; where ``accumulate`` may grow and memory runs out, once more in halves."""
    while True:
        n_together = n_at_once(config, n_splits)
        optimization.zero_grad()
        try:
            return add_gradients(task, optimization, index, n_together=n_together), n_splits
        except (RuntimeError, MemoryError) as error:
            why = why_out_of_memory(error)
        optimization.zero_grad()  # out here nothing holds the failed step's memory any more
        if index.device.type == "cuda":
            torch.cuda.empty_cache()
        if config.accumulate != "auto" or n_splits > 1 or n_together == 1:
            raise BatchTooLargeError(min(n_together, len(index)), why)
        n_splits = 2
        say(f"out of memory with {n_together} examples at once ({why}): going on with {n_at_once(config, n_splits)}")


def add_gradients(task: Task, optimization: Optimization, index: torch.Tensor, *, n_together: int) -> Sums:
    """Add the gradients of the mean loss over ``index`` to those that are there; return the sums over the examples.

    ``n_together`` examples go through the network together; each part counts by its size, also an uneven last one.
    """
    parts: list[Sums] = []
    for part in torch.split(index, n_together):
        outcome = task.loss(part)
        share = outcome.loss if outcome.n == len(index) else outcome.loss * (outcome.n / len(index))
        optimization.backward(share)
        parts.append(outcome.sums)
    if len(parts) == 1:
        return parts[0]
    return {name: torch.stack([sums[name] for sums in parts]).sum() for name in parts[0]}


def why_out_of_memory(error: BaseException) -> str:
    """Return an error in one line; one that is about something else goes on."""
    if not memory.is_out_of_memory(error) and not (memory.is_limited() and memory.is_unsupported(error)):
        raise error
    return memory.describe(error)
