"""What a run's folder tells of it without the journal: how it was started, and how each attempt ended."""

from __future__ import annotations

import functools
import json
import os
import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from sweepline.errors import ConfigError
from sweepline.executors.base import Exit
from sweepline.executors.local import read_exit
from sweepline.keeper.exitfile import EXIT_FILE
from sweepline.recording.history import IN_SWEEP, RunRecord
from sweepline.recording.outcome import OVERRIDES
from sweepline.runs import Run, State
from sweepline.values import read_yaml

_START = "# run "


def format_start(fields: Mapping[str, Any]) -> str:
    """Return the first line of a run's ``overrides.yaml``, a comment: the fields of its ``run_start`` event.

    The values of the parameters stand below it, in the file itself, but for those in which macros are replaced there.
    """
    params = fields["params"]
    unexpanded = {name: value for name, value in params.items() if isinstance(value, str) and "${" in value}
    return f"{_START}{json.dumps({**fields, 'params': list(params), 'unexpanded': unexpanded})}\n"


def start_fields(run: Run, *, attempt: int, device: str, code: str = "", in_sweep: str = IN_SWEEP) -> dict[str, Any]:
    """Return the fields of a ``run_start`` event."""
    return {
        "run": run.run_id,
        "attempt": attempt,
        "name": run.name,
        "params": dict(run.params),
        "seed": run.seed,
        "identity": run.identity,
        "device": device,
        "started_at": _tell_second(int(time.time())),
        "code": code,
        "in_sweep": in_sweep,
    }


@functools.lru_cache(maxsize=1)
def _tell_second(second: int) -> str:
    """Return a wall time with its zone; runs that start in one second share one text."""
    return datetime.fromtimestamp(second).astimezone().isoformat(timespec="seconds")


def read_start(run_dir: Path, planned: Mapping[str, Run]) -> dict[str, Any] | None:
    """Return the fields of the ``run_start`` event of the attempt in a folder; None where nothing tells them.

    A folder that an older version wrote is told by the plan.
    """
    try:
        with (run_dir / OVERRIDES).open(encoding="utf-8", errors="surrogateescape") as file:
            first = file.readline()
        values = read_yaml(run_dir / OVERRIDES).value or {}
        fields: dict[str, Any] = json.loads(first.removeprefix(_START)) if first.startswith(_START) else {}
        if fields:
            values |= fields.pop("unexpanded", {})
            return fields | {"params": {name: values[name] for name in fields["params"]}}
    except (OSError, ConfigError, ValueError, KeyError, TypeError):
        pass  # as good as no file: what is planned may tell it
    found = read_exit(run_dir)
    run_id = run_dir.parent.parent.name if run_dir.parent.name == "attempts" else run_dir.name
    run = planned.get(run_id)
    if run is None or found is None:
        return None
    return start_fields(run, attempt=found[0], device="")


def find_unrecorded(runs_dir: Path, records: Mapping[str, RunRecord]) -> Iterator[tuple[Path, int, Exit]]:
    """Yield the folder, the attempt and the end of every attempt that has ended and that ``records`` do not know.

    Of runs that are known to have finished nothing further is looked for.
    """
    settled = {run_id for run_id, record in records.items() if record.state in (State.FINISHED, State.RUNNING)}
    unsettled = [run_dir for run_dir in _folders(runs_dir) if run_dir.name not in settled]
    for run_dir in sorted(unsettled, key=_ended_at):
        record = records.get(run_dir.name)
        n_known = record.attempt if record is not None else 0
        places = [*_folders(run_dir / "attempts"), run_dir]
        ends = [(found, place) for place in places if (found := read_exit(place)) is not None and found[0] > n_known]
        for (attempt, end), place in sorted(ends, key=lambda entry: entry[0][0]):
            yield place, attempt, end


def _folders(path: Path) -> list[Path]:
    try:
        with os.scandir(path) as entries:
            return [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []


def _ended_at(run_dir: Path) -> float:
    try:
        return (run_dir / EXIT_FILE).stat().st_mtime
    except OSError:
        return 0.0
