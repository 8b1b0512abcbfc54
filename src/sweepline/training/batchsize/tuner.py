"""From a config to the largest batch size that fits, and the lines that a person reads meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sweepline.training import memory
from sweepline.training.batchsize.policy import first_size, size_cap
from sweepline.training.batchsize.probe import Probe, Setup
from sweepline.training.batchsize.prober import Prober, can_fork, describe_probes, forking, spawning
from sweepline.training.batchsize.search import Found, search
from sweepline.training.config import TrainConfig


@dataclass(frozen=True, slots=True)
class Tuned:
    """What the tuner found: a size that ran, how, and within which limit (bytes; None where there is none)."""

    found: Found
    probes: list[Probe]
    evaluation_batch_size: int
    limit_bytes: int | None


def tune(
    config: TrainConfig,
    *,
    n_examples: int,
    build: Callable[[], Setup],
    tell: Callable[[str], None],
    keep: Callable[[list[Probe]], None] = lambda _: None,
) -> Tuned:
    """Search the largest size that fits, with the set-up of this config. ``device`` of the config is resolved.

    Args:
        n_examples: how many there are to train on.
        build: makes the set-up, in a fork of this process where that is possible.
        tell: takes pieces of lines for a person.
        keep: takes the probes, also those of a search that fails.

    Raises:
        NothingFitsError: no size runs.
        ProbeError: a probe failed for another reason than memory.
    """
    sizes = config.batch_size_config
    budget = memory_limit(config)
    is_cpu = config.device == "cpu"
    cap = size_cap(config, n_examples)
    prober = Prober(
        forking(build) if can_fork(config.device.partition(":")[0]) else spawning(config),
        n_steps=sizes.steps_per_probe,
        evaluation_batch_size=config.evaluate.batch_size,
        drop_last=config.drop_last,
        budget_bytes=budget if is_cpu else None,  # a GPU's own is set where the model is built
        timeout_s=sizes.probe_timeout_s,
        tell=tell,
    )
    try:
        found = search(
            prober.try_size,
            first=first_size(config),
            cap=cap,
            is_bisecting=sizes.batch_size_mode == "binsearch",
            granularity=sizes.granularity,
            max_trials=sizes.max_batch_size_trials,
        )
    finally:
        keep(prober.probes)
    why = f"all {n_examples} examples" if found.batch_size == n_examples else f"of at most {cap}"
    tell(f"Largest batch size that fits: {found.batch_size} ({why}; {describe_probes(prober.probes)})\n")
    return Tuned(found, prober.probes, prober.evaluation_batch_size, budget)


def memory_limit(config: TrainConfig) -> int | None:
    """Return the bytes that a probe may take beyond torch and its data; None where the device itself sets the limit."""
    budget = config.batch_size_config.memory_budget_gib
    if budget is not None:
        return int(budget * memory.GIB)
    return memory.usable_bytes() if config.device == "cpu" else None
