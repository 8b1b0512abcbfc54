"""What stands in for the real thing where that is not the point."""

from __future__ import annotations

from typing import Any

from sweepline.recording.events import RunRecord
from sweepline.runs import RunOutcome, State

_OF_OUTCOME = ("exit_code", "signal", "reason", "duration_s", "metrics", "is_blameless", "host")


def recorded(run_id: str, *, state: State = State.FINISHED, **fields: Any) -> RunRecord:
    """Return the record of a run that ended so; of one that is under way with ``state=State.RUNNING``."""
    of_outcome = {name: fields.pop(name) for name in _OF_OUTCOME if fields.get(name) is not None}
    for name in _OF_OUTCOME:
        fields.pop(name, None)
    outcome = None if state == State.RUNNING else RunOutcome(state=state, **of_outcome)
    return RunRecord(run_id, **fields, outcome=outcome)
