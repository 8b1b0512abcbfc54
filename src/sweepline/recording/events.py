"""What the journal says of each run: the latest attempt, how often it was tried, its row. A pure fold over events."""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sweepline.runs import UNENDED, State

RUN_START, RUN_END = "run_start", "run_end"
RUN_REREAD, MEMBERSHIP, CODE = "run_reread", "membership", "code"
IN_SWEEP, EXTRA, REMOVED = "yes", "extra", "no"
"""How a run stands to the sweep as it is now: one of it, asked for outside the file, dropped from the file."""
STANDINGS = (IN_SWEEP, EXTRA, REMOVED)


class Values(Mapping[str, Any]):
    """Values by name in a third of a dict's memory: all records with the same names share them."""

    __slots__ = ("_index", "_values")

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._index = _shared_index(tuple(values))
        self._values = tuple(values.values())

    def __getitem__(self, name: str) -> Any:
        return self._values[self._index[name]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._index)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return repr(dict(self))


@functools.lru_cache(maxsize=1024)
def _shared_index(names: tuple[str, ...]) -> dict[str, int]:
    return {name: i for i, name in enumerate(names)}


@dataclass(slots=True)
class RunRecord:
    """A run as the journal tells it; metrics and times are those of the latest attempt."""

    run_id: str
    name: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None
    identity: str = ""
    state: State = State.PENDING
    attempt: int = 0
    n_tries: int = 0
    device: str = ""
    started_at: str = ""
    duration_s: float | None = None
    exit_code: int | None = None
    reason: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    is_blameless: bool = False
    code: str = ""
    in_sweep: str = IN_SWEEP

    @property
    def belongs(self) -> bool:
        """Whether the run is one of the sweep as it is now."""
        return self.in_sweep == IN_SWEEP

    @property
    def is_ended(self) -> bool:
        """Whether the latest attempt has an end that stands."""
        return self.state not in UNENDED

    @property
    def goes_on(self) -> bool:
        """Whether the run goes again at the next start without being asked to: it was not to blame for its end."""
        return not self.is_ended or self.is_blameless


def fold(events: Iterable[Mapping[str, Any]]) -> dict[str, RunRecord]:
    """Return the record of every run, in the order of their latest ends (of first starts where none has ended)."""
    records: dict[str, RunRecord] = {}
    for event in events:
        apply_event(records, event)
    return records


def apply_event(records: dict[str, RunRecord], event: Mapping[str, Any]) -> None:
    """Take one event into account; events of other kinds change nothing."""
    kind = event["ev"]
    if kind == RUN_START:
        record = records.setdefault(event["run"], RunRecord(event["run"]))
        record.name, record.params, record.seed = event["name"], Values(event["params"]), event["seed"]
        record.identity, record.code = sys.intern(event.get("identity", "")), sys.intern(event.get("code", ""))
        record.in_sweep = sys.intern(event.get("in_sweep", IN_SWEEP))
        record.attempt, record.started_at = event["attempt"], event["started_at"]
        record.device = sys.intern(event["device"])
        record.state, record.duration_s, record.exit_code, record.reason = State.RUNNING, None, None, ""
        record.metrics, record.is_blameless = {}, False
    elif kind == RUN_END:
        record = records[event["run"]] = records.pop(event["run"])  # now the last
        record.state = State(event["state"])
        record.n_tries += record.state != State.INTERRUPTED
        record.duration_s, record.exit_code = event["duration_s"], event["exit_code"]
        record.is_blameless = event.get("is_blameless", False)
        record.reason, record.metrics = sys.intern(event["reason"]), Values(event["metrics"])
    elif kind == RUN_REREAD:
        record = records[event["run"]]
        record.reason, record.metrics = sys.intern(event["reason"]), Values(event["metrics"])
    elif kind == MEMBERSHIP:
        for run_id, standing in event["runs"].items():
            records[run_id].in_sweep = sys.intern(standing)
