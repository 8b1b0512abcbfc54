"""Reads W&B's ``scheduler`` block: what proposes runs instead of the method."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweepline.config.faults import Faults
from sweepline.config.schema import SweepModel
from sweepline.runs import Objective


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheduler:
    """A file of the user's that proposes what is run. ``optimizer`` and ``search_space`` are names of functions in it.

    ``sweep`` is what the first of them is told of the sweep, ``working_dir`` where the file is run.
    """

    engine: str
    source: Path | None
    optimizer: str
    search_space: str
    objectives: Sequence[Objective]
    sweep: Mapping[str, Any]
    working_dir: Path
    seed: int


def with_scheduler(model: SweepModel, faults: Faults) -> SweepModel:
    """Return the model as its scheduler has it: an engine may take the place of the method, and of parameters."""
    scheduler = model.scheduler
    if scheduler is None or scheduler.engine == "wandb":
        if model.method == "custom":
            faults.error(("method",), "custom goes with scheduler: {engine: optuna}; else grid, random or bayes")
        unused = [key for key in ("optimizer", "search_space") if scheduler and getattr(scheduler, key)]
        for key in unused:
            faults.warn(("scheduler", key), "is for engine optuna or ax; ignored")
        return model
    if scheduler.search_space and model.parameters:
        faults.warn(("parameters",), f"{scheduler.search_space} of {scheduler.source} takes their place; ignored")
        model = model.model_copy(update={"parameters": {}})
    if scheduler.search_space and model.constraints:
        faults.error(("constraints",), f"go with parameters: put them into {scheduler.search_space}")
    if not scheduler.search_space and not model.parameters:
        faults.error(("scheduler",), "needs parameters, or search_space: a function that returns them")
    return model.model_copy(update={"method": "bayes"})


def read_scheduler(
    model: SweepModel,
    faults: Faults,
    *,
    name: str,
    objectives: Sequence[Objective],
    folders: Sequence[Path],
    working_dir: Path,
) -> Scheduler | None:
    """Return what proposes runs in a process of its own; None where nothing does.

    Args:
        model: of the sweep file.
        faults: take what is wrong.
        name: of the sweep.
        objectives: what is optimized.
        folders: where the source file is looked for.
        working_dir: where it is run.
    """
    wanted = model.scheduler
    if wanted is None or wanted.engine == "wandb" or (wanted.engine == "optuna" and not wanted.source):
        return None
    source = next((found for folder in folders if (found := folder / (wanted.source or "")).is_file()), None)
    if wanted.source and source is None:
        faults.error(("scheduler", "source"), f"no file {wanted.source!r} beside the sweep file or here")
    if wanted.engine == "ax" and wanted.search_space:
        faults.error(("scheduler", "search_space"), "is for engine optuna; Ax takes parameters")
    config = json.loads(json.dumps(faults.document.value, default=str))
    told = {"id": name, "name": name, "entity": model.entity or "", "project": model.project or "", "config": config}
    return Scheduler(
        engine=wanted.engine,
        source=None if source is None else source.resolve(),
        optimizer=wanted.optimizer or "",
        search_space=wanted.search_space or "",
        objectives=objectives,
        sweep=told,
        working_dir=working_dir,
        seed=model.seed,
    )
