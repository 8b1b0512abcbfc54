"""What follows from a config alone for sizes and step sizes. Not which size is searched, and how: ``batchsize``."""

from __future__ import annotations

import math

from sweepline.training.config.schema import TrainConfig


def default_size(config: TrainConfig) -> int:
    """Return the size that nothing was searched for: a first search begins there, and every one is as fine."""
    return config.batch_size_config.default_batch_size or config.batch_size


def examples_per_step(config: TrainConfig) -> int:
    """Return how many examples an optimizer step sees, where there are as many."""
    once = config.accumulate if isinstance(config.accumulate, int) else 1
    return config.batch_size_config.target_batch_size or config.batch_size * once


def effective_step_size(config: TrainConfig, n_examples: int) -> float:
    """Return the learning rate that trains, for steps of as many examples as there are."""
    return scaled_step_size(config, min(examples_per_step(config), n_examples))


def scaled_step_size(config: TrainConfig, n_per_step: int) -> float:
    """Return the learning rate for steps of ``n_per_step`` examples, as ``lr_rule`` has it."""
    sizes, rate = config.batch_size_config, config.learner.step_size
    if sizes.lr_rule == "none" or sizes.reference_batch_size is None:
        return rate
    ratio = n_per_step / sizes.reference_batch_size
    if sizes.lr_rule == "sqrt":
        return rate * math.sqrt(ratio)
    if sizes.critical_batch_size is not None and ratio > 1:
        ratio = max(1.0, min(n_per_step, sizes.critical_batch_size) / sizes.reference_batch_size)
    return rate * ratio


def accumulates(config: TrainConfig) -> bool:
    """Whether an optimizer step may take several batches, whose gradients are kept meanwhile."""
    return config.accumulate != 1 or config.batch_size_config.target_batch_size is not None


def within_bound(config: TrainConfig) -> TrainConfig:
    """Return a config whose batch size is within its own bound."""
    bound = config.batch_size_config.max_batch_size
    if bound is None or config.batch_size <= bound:
        return config
    return config.model_copy(update={"batch_size": bound})


def with_decided_size(config: TrainConfig, run_size: int | None, evaluation_size: int | None = None) -> TrainConfig:
    """Return a config that trains with the sizes that a search for it has decided, and searches no more.

    ``default_batch_size`` keeps where the search began: a later one begins from there, and is as fine.
    """
    sizes = config.batch_size_config
    if run_size is None or not sizes.optimize_batch_size:
        return config
    decided = sizes.model_copy(
        update={
            "default_batch_size": sizes.default_batch_size or config.batch_size,
            "tuned_batch_size": run_size,
            "optimize_batch_size": False,
        }
    )
    at_once = min(config.evaluate.batch_size, evaluation_size or config.evaluate.batch_size)
    evaluate = config.evaluate.model_copy(update={"batch_size": at_once})
    return config.model_copy(update={"batch_size": run_size, "batch_size_config": decided, "evaluate": evaluate})
