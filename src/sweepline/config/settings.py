"""A checked sweep file as frozen settings, and settings that are these but for something."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sweepline.config.earlystopping import Rule
from sweepline.config.metricsfrom import MetricsSource
from sweepline.config.scheduler import Scheduler
from sweepline.config.schema import (
    AlignModel,
    KeepModel,
    RaceModel,
    StabilityModel,
    StopSweepModel,
)
from sweepline.errors import ConfigError
from sweepline.executors.places import PilotOptions, RayOptions
from sweepline.executors.slurm.options import SlurmOptions
from sweepline.programs.base import Command
from sweepline.programs.command import ProgramCommand
from sweepline.programs.surroundings import Surroundings
from sweepline.programs.wandb import WandbSettings
from sweepline.runs import Objective
from sweepline.space.dependent import Computed, find_fits, fits_of
from sweepline.space.plan import SearchSpace

MEASURED_SIZES = "batch_size/measured.json"
"""In a sweep's folder: the batch sizes that were measured for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepSettings:
    """A checked sweep file. Paths are absolute, times in seconds."""

    path: Path
    experiment_dir: Path
    name: str
    source: bytes
    whole: SearchSpace
    """What the file itself searches; ``space`` is what this start searches of it, or beside it, by ``--set``."""
    space: SearchSpace
    command: Command
    objectives: Sequence[Objective]
    """What is optimized; the first one ranks where one number has to."""
    patterns: Mapping[str, re.Pattern[str]]
    logged_metrics: Sequence[str]
    csv_path: Path | None
    wandb: WandbSettings | None
    max_concurrent: int | None
    devices: str | Sequence[int | str]
    runs_per_device: int | str
    threads: str | int
    malloc: str
    pin: bool
    start: str
    preload: Sequence[str] | None
    retry: int
    on_oom: str
    timeout_s: float | None
    stall_s: float | None
    grace_s: float
    gpu_free_mib: int | None
    code: str
    align: AlignModel | None
    keep: KeepModel | None
    stability: StabilityModel | None
    scheduler: Scheduler | None
    early_stop: Sequence[Rule]
    stop_sweep: StopSweepModel | None
    resumable: bool
    """Whether runs that were stopped at a rung of successive halving go on when they are the best of those there."""
    race: RaceModel | None
    report: str
    metrics_from: Sequence[MetricsSource] = ()
    hooks: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Commands around the sweep: ``prepare``, ``on_failure``, ``on_end``."""
    executor: str = "auto"
    """Where runs execute; ``auto``: in the allocation that the sweep is started in, else on this machine."""
    slurm: SlurmOptions = field(default_factory=SlurmOptions)
    pilot: PilotOptions = field(default_factory=PilotOptions)
    ray: RayOptions = field(default_factory=RayOptions)
    surroundings: Surroundings = field(default_factory=Surroundings)
    """Variables of runs, and where they start."""
    records_dir: Path | None = None
    """Where everything is written; None: below the experiment's outputs, under the sweep's name."""
    warnings: Sequence[str] = field(default=())

    @property
    def objective(self) -> Objective | None:
        """The metric by which runs are ranked."""
        return self.objectives[0] if self.objectives else None

    @property
    def needs_limit(self) -> bool:
        """Whether the search never ends by itself and the file does not bound it."""
        return self.space.method != "grid" and self.space.limit is None and self.space.has_product

    @property
    def reserved_metrics(self) -> list[str]:
        """The metrics that are named in the file, which are kept however many others a run prints."""
        named = [*self.logged_metrics, *self.patterns, *(objective.name for objective in self.objectives)]
        return list(dict.fromkeys(named))

    @property
    def table_label(self) -> str:
        """What the table's column ``sweep`` says: the name, in a table elsewhere with that of the folder before it."""
        is_outside = self.csv_path is not None and not self.csv_path.is_relative_to(self.experiment_dir.resolve())
        return f"{self.experiment_dir.resolve().name}/{self.name}" if is_outside else self.name

    @property
    def sweep_dir(self) -> Path:
        """The folder of everything this sweep writes."""
        return self.records_dir or self.experiment_dir / "outputs" / self.name


def with_known_sizes(settings: SweepSettings) -> SweepSettings:
    """Return settings with the batch sizes that were measured for this sweep, as its file has it now."""
    return with_sizes(settings, sizes) if (sizes := read_known_sizes(settings)) else settings


def read_known_sizes(settings: SweepSettings, *, n_sharing: int | None = None) -> dict[str, int]:
    """Return the batch sizes that were measured for this sweep, as its file has it now.

    Args:
        settings: of the sweep.
        n_sharing: take those alone that were measured for so many runs that share a device; None: all.
    """
    told = fits_record(settings, {}, n_sharing=n_sharing)
    try:
        known = json.loads((settings.sweep_dir / MEASURED_SIZES).read_text(encoding="utf-8")) if told else {}
        own = {**known, "sizes": {}, **({"n_sharing": None} if n_sharing is None else {})}
        return dict(known["sizes"]) if own == told else {}
    except (OSError, ValueError, KeyError, TypeError):  # none was measured yet
        return {}


def fits_record(settings: SweepSettings, sizes: Mapping[str, int], *, n_sharing: int | None) -> dict[str, Any]:
    """Return what is kept of measured batch sizes, with what they were measured by; nothing where none is."""
    found = find_fits(settings.space.parameters)
    if found is None:
        return {}
    _, fits = found
    program = hashlib.sha256(settings.space.identity.encode()).hexdigest()[:16]
    how = {"per": list(fits.names), "options": dict(fits.options), "program": program, "n_sharing": n_sharing}
    return {**how, "sizes": dict(sizes)}


def with_sizes(settings: SweepSettings, table: Mapping[str, int]) -> SweepSettings:
    """Return settings whose measured batch size has these values, by :meth:`Fits.key`."""
    spaces = [
        replace(
            space,
            parameters={
                name: parameter if fits is None else Computed(replace(fits, table=table))
                for name, parameter in space.parameters.items()
                for fits in [fits_of(parameter)]
            },
        )
        for space in (settings.whole, settings.space)
    ]
    return replace(settings, whole=spaces[0], space=spaces[1])


def with_race(settings: SweepSettings, race: RaceModel) -> SweepSettings:
    """Return settings with a race at the end of the sweep, for which the program is handed seeds.

    Raises:
        ConfigError: there is nothing to race by, or the seed is searched.
    """
    if len(settings.objectives) != 1:
        raise ConfigError("needs metric: {name: ..., goal: minimize}, by which configurations are compared")
    if "seed" in settings.whole.parameters:
        raise ConfigError("seed is a parameter here, so that there are no seeds to add: use seeds or repeats for it")
    return with_handed_seeds(replace(settings, race=race))


def with_handed_seeds(settings: SweepSettings) -> SweepSettings:
    """Return settings by which a program is handed the seeds that its runs have."""
    command = settings.command
    return (
        replace(settings, command=replace(command, passes_seed=True))
        if isinstance(command, ProgramCommand)
        else settings
    )
