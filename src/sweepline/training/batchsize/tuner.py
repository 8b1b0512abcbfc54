"""From a config to the largest batch size that fits, and the lines that a person reads meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from sweepline.fits.search import SearchResult, is_no_faster, search
from sweepline.training.batchsize.policy import first_size, size_cap
from sweepline.training.batchsize.probe import OK, Probe, Setup
from sweepline.training.batchsize.prober import Prober, describe_probes
from sweepline.training.batchsize.processes import starting
from sweepline.training.building import memory_limit
from sweepline.training.config.schema import TrainConfig
from sweepline.training.config.sizes import default_size

COARSEST = Fraction(1, 8)  # of what fits: how near the search comes where no granularity is set


@dataclass(frozen=True, slots=True)
class TuningResult:
    """What the tuner found: a size that ran, how, and within which limit (bytes; None where there is none)."""

    found: SearchResult
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
    first: int | None = None,
) -> TuningResult:
    """Search the largest size that fits, with the set-up of this config.

    Args:
        config: of the run; its ``device`` is resolved.
        n_examples: how many there are to train on.
        build: makes the set-up, in a fork of this process where that is possible.
        tell: takes pieces of lines for a person.
        keep: takes the probes, also those of a search that fails.
        first: where to begin; None: where the config says.

    Raises:
        NothingFitsError: no size runs.
        ProbeError: a probe failed for another reason than memory.
    """
    sizes = config.batch_size_config
    budget = memory_limit(config)
    is_cpu = config.device == "cpu"
    cap = size_cap(config, n_examples)
    prober = Prober(
        starting(build, config.device.partition(":")[0]),
        n_steps=sizes.steps_per_probe,
        evaluation_batch_size=config.evaluate.batch_size,
        drop_last=config.drop_last,
        budget_bytes=budget if is_cpu else None,  # a GPU's own is set where the model is built
        timeout_s=sizes.probe_timeout_s,
        tell=tell,
    )
    patience = Patience(prober.probes, sizes.tuning_timeout_s, watches_speed=is_cpu and sizes.memory_budget_gib is None)
    try:
        found = search(
            prober.try_size,
            first=first or first_size(config),
            cap=cap,
            is_bisecting=sizes.batch_size_mode == "binsearch",
            granularity=sizes.granularity or default_size(config),
            coarsest=Fraction(1) if sizes.granularity else COARSEST,
            max_trials=sizes.max_batch_size_trials,
            is_enough=patience.is_enough,
        )
    finally:
        keep(prober.probes)
    why = f"all {n_examples} examples" if found.batch_size == n_examples else f"of at most {cap}"
    why += f"; {patience.said}" if patience.said else ""
    why += f"; stopped after {found.n_trials} trials, larger ones may fit" if found.is_cut_short else ""
    tell(f"Largest batch size that fits: {found.batch_size} ({why}; {describe_probes(prober.probes)})\n")
    return TuningResult(found, prober.probes, prober.evaluation_batch_size, budget)


class Patience:
    """Ends a search that takes too long, or whose larger sizes are no faster: where memory sets no bound soon."""

    def __init__(
        self,
        probes: Sequence[Probe],
        timeout_s: float,
        *,
        watches_speed: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.said = ""
        self._probes, self._timeout_s, self._watches_speed, self._clock = probes, timeout_s, watches_speed, clock
        self._began = clock()

    def is_enough(self, is_growing: bool) -> bool:
        """Whether to try no further; ``said`` is why."""
        if self._clock() - self._began > self._timeout_s:
            self.said = f"tuning_timeout_s {self._timeout_s:g} is over"
        elif is_growing and self._watches_speed and self._is_no_faster():
            self.said = "larger ones are no faster"
        return bool(self.said)

    def _is_no_faster(self) -> bool:
        return is_no_faster([p.batch_size / p.step_s for p in self._probes if p.status == OK and p.step_s])
