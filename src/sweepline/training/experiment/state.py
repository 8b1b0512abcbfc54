"""What a numbered run leaves in its own folder for its next attempt: ``batch_size.json``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from sweepline.contract.runfolder import BATCH_SIZE_STATE
from sweepline.training.config.identity import asked_identity
from sweepline.training.config.schema import TrainConfig
from sweepline.training.experiment.folder import write_whole
from sweepline.training.experiment.records import OUT_OF_MEMORY, TuningRecord, find_record

RUNNING, SUCCEEDED, FAILED = "running", "succeeded", "failed"
Settled = tuple[int, str]  # a batch size, and how an earlier attempt came to it


def write_state(run_dir: Path, how: str, *, config: TrainConfig, experiment_dir: Path, record: TuningRecord) -> None:
    """Write how the attempt stands: ``how`` is one of RUNNING, SUCCEEDED, FAILED and OUT_OF_MEMORY."""
    state = {
        "run_number": record.run_number,
        "experiment_dir": str(experiment_dir),
        "asked": asked_identity(config),
        "state": how,
        "run_batch_size": record.run_batch_size,
        "evaluation_batch_size": record.evaluation_batch_size,
        "recommended_batch_size": record.recommended_batch_size,
    }
    write_whole(run_dir / BATCH_SIZE_STATE, json.dumps(state, indent=2) + "\n")


def read_state(run_dir: Path | None) -> dict[str, Any]:
    """Return what an earlier attempt of this very run has left; nothing where there was none."""
    if run_dir is None:
        return {}
    with suppress(OSError, ValueError):
        state = json.loads((run_dir / BATCH_SIZE_STATE).read_text(encoding="utf-8"))
        return state if isinstance(state, dict) else {}
    return {}


def _is_going_on(config: TrainConfig, state: Mapping[str, Any]) -> bool:
    """Whether an attempt was stopped in this folder, and the same is asked for; older versions did not write it."""
    return state.get("state") == RUNNING and state.get("asked") in (asked_identity(config), None)


def find_stopped(config: TrainConfig, experiment_dir: Path, state: Mapping[str, Any]) -> TuningRecord | None:
    """Return the record of the run that goes on in this folder; None where none does, or it has ended."""
    is_here = state.get("experiment_dir") == str(experiment_dir)
    if not _is_going_on(config, state) or not is_here or not isinstance(state.get("run_number"), int):
        return None
    record = find_record(experiment_dir, state["run_number"])
    return None if record is None or record.training_succeeded else record


def settled_size(config: TrainConfig, state: Mapping[str, Any]) -> Settled | None:
    """Return the size that an earlier attempt has settled, and how; None where it is to be decided."""
    size = state.get("run_batch_size")
    if _is_going_on(config, state) and isinstance(size, int):
        return size, "went on, elsewhere, with"
    recommended = state.get("recommended_batch_size")
    if state.get("state") == OUT_OF_MEMORY and recommended == config.batch_size_config.max_batch_size and recommended:
        return recommended, "memory ran out before; recommended was"
    return None
