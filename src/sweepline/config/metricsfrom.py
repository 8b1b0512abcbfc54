"""Reads ``metrics_from``: the files in which a program leaves its results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sweepline.config.faults import Faults
from sweepline.config.schema import SweepModel
from sweepline.errors import did_you_mean
from sweepline.programs.macros import names_run_dir
from sweepline.programs.surroundings import RUN_FOLDER

TENSORBOARD, CSV, JSON, WANDB, TRACKIO, MLFLOW = "tensorboard", "csv", "json", "wandb", "trackio", "mlflow"
KINDS = (TENSORBOARD, CSV, JSON, WANDB, TRACKIO, MLFLOW)
_WITHOUT_PATH = (TENSORBOARD, WANDB, TRACKIO, MLFLOW)
_FORMS = "write tensorboard, wandb, trackio, mlflow, {csv: PATH}, {json: PATH} or {json: {path: PATH, at: log_history}}"


@dataclass(frozen=True, slots=True)
class MetricsSource:
    """Where results are: ``path`` with macros, relative to the run's own folder, else to where the program starts.

    In JSON they stand below the dotted path ``at``. Without a path TensorBoard's files, a database of trackio, or
    what MLflow keeps are looked for.
    """

    kind: str
    path: str = ""
    at: str = ""


def read_metrics_from(model: SweepModel, faults: Faults) -> tuple[MetricsSource, ...]:
    """Return the files that are named."""
    found = []
    for i, item in enumerate(model.metrics_from):
        source = _source_of(item)
        if isinstance(source, str):
            faults.error(("metrics_from", i), source)
            continue
        found.append(source)
        has_own = model.cwd == RUN_FOLDER or names_run_dir([*(model.command or ()), *map(str, model.env.values())])
        is_shared = source.path and "${" not in source.path and not has_own
        if is_shared and model.max_concurrent != 1:
            faults.note(
                ("metrics_from", i),
                f"{source.path} is read in a run's own folder first; where all runs would write the same file, give "
                "each its own: cwd: run, or ${run_dir} in the command",
            )
    return tuple(found)


def _source_of(item: Any) -> MetricsSource | str:
    """Return what an item names, or a sentence why it names nothing."""
    if isinstance(item, str):
        known = item in _WITHOUT_PATH
        return MetricsSource(item) if known else f"{item!r}{did_you_mean(item, KINDS) or ''}; {_FORMS}"
    if not isinstance(item, Mapping) or len(item) != 1:
        return f"{item!r}: {_FORMS}"
    kind, told = next(iter(item.items()))
    if kind not in KINDS or kind == WANDB:
        return f"{kind!r}{did_you_mean(str(kind), KINDS) or ''}; {_FORMS}"
    fields = {"path": told} if isinstance(told, str) else told
    if not isinstance(fields, Mapping) or not isinstance(fields.get("path"), str) or not fields["path"]:
        return f"{kind} needs a path; {_FORMS}"
    odd = next(_odd_keys(kind, fields), None)
    if odd is not None:
        return f"{kind} takes no {odd!r}; {_FORMS}"
    return MetricsSource(str(kind), fields["path"], str(fields.get("at", "")))


def _odd_keys(kind: str, fields: Mapping[Any, Any]) -> Iterator[Any]:
    yield from (key for key in fields if key not in (("path", "at") if kind == JSON else ("path",)))
