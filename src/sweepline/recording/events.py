"""What the journal says of each run: the latest attempt, how often it was tried, its row. A pure fold over events."""

from __future__ import annotations

import functools
import itertools
import sys
from collections.abc import ItemsView, Iterable, Iterator, Mapping, ValuesView
from dataclasses import dataclass, field, fields, replace
from typing import Any

from sweepline.executors.devices import count_gpus
from sweepline.runs import UNENDED, RunOutcome, State

SWEEP_START, RUN_START, RUN_END = "sweep_start", "run_start", "run_end"
RUN_REREAD, RUN_TAG, RUN_FORGET, MEMBERSHIP, CODE = "run_reread", "run_tag", "run_forget", "membership", "code"
IN_SWEEP, RACE, REPEAT, EXTRA, REMOVED = "yes", "race", "repeat", "extra", "no"
"""How a run stands to the sweep as it is now: one of it, another seed in its race, another seed that was asked for,
asked for outside the file, dropped from the file."""
STANDINGS = (IN_SWEEP, RACE, REPEAT, EXTRA, REMOVED)
ADDED = (RACE, REPEAT)
"""Runs of the sweep's configurations with seeds beside those of the file."""


class Values(Mapping[str, Any]):
    """Values by name in a third of a dict's memory: all records with the same names share them."""

    __slots__ = ("_index", "_values")

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._index = shared_index(tuple(values))
        self._values = tuple(values.values())

    def __getitem__(self, name: str) -> Any:
        return self._values[self._index[name]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._index)

    def __len__(self) -> int:
        return len(self._values)

    def items(self) -> ItemsView[str, Any]:
        """Return the pairs, ten times as fast as by looking each up."""
        return dict(zip(self._index, self._values, strict=True)).items()

    def values(self) -> ValuesView[Any]:
        """Return the values, quickly as well."""
        return dict(zip(self._index, self._values, strict=True)).values()

    def __repr__(self) -> str:
        return repr(dict(self))


@functools.lru_cache(maxsize=1024)
def shared_index(names: tuple[str, ...]) -> dict[str, int]:
    """Return where each name's value stands, in an object that all with these names share."""
    return {name: i for i, name in enumerate(names)}


def names_in(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the names that values have, in the order in which they are first met."""
    return list(dict.fromkeys(itertools.chain.from_iterable(dict.fromkeys(map(tuple, rows)))))


@dataclass(slots=True)
class RunRecord:
    """A run as the journal tells it: its latest attempt, and how that ended. ``outcome`` is None until it has."""

    run_id: str
    name: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None
    identity: str = ""
    attempt: int = 0
    n_tries: int = 0
    device: str = ""
    started_at: str = ""
    code: str = ""
    in_sweep: str = IN_SWEEP
    tags: str = ""
    """Words that a person has given it, a space between them."""
    outcome: RunOutcome | None = None

    @property
    def state(self) -> State:
        """How the latest attempt stands or ended."""
        return State.RUNNING if self.outcome is None else self.outcome.state

    @property
    def metrics(self) -> Mapping[str, float]:
        """What the latest attempt measured."""
        return {} if self.outcome is None else self.outcome.metrics

    @property
    def reason(self) -> str:
        """Why the latest attempt ended so, or what is remarkable about it."""
        return "" if self.outcome is None else self.outcome.reason

    @property
    def duration_s(self) -> float:
        """How long the latest attempt took; 0.0 while it is under way."""
        return 0.0 if self.outcome is None else self.outcome.duration_s

    @property
    def gpu_s(self) -> float:
        """How long the latest attempt has held GPUs, of several the sum; one that is shared counts in full."""
        return count_gpus(self.device) * self.duration_s

    @property
    def any_seed(self) -> Any:
        """The seed, also where it is a parameter."""
        return self.params.get("seed") if self.seed is None else self.seed

    @property
    def peak_memory_gib(self) -> float | None:
        """The most resident memory of the latest attempt; None where that is not known."""
        kib = None if self.outcome is None else self.outcome.max_rss_kib
        return None if kib is None else round(kib / 2**20, 3)

    @property
    def cpu_hours(self) -> float | None:
        """The processor time of the latest attempt; None where that is not known."""
        cpu_s = None if self.outcome is None else self.outcome.cpu_s
        return None if cpu_s is None else round(cpu_s / 3600, 6)

    @property
    def gpu_hours(self) -> float:
        """How long the latest attempt has held GPUs, as :attr:`gpu_s` says."""
        return round(self.gpu_s / 3600, 6)

    @property
    def has_result(self) -> bool:
        """Whether what the run measured is its result: it finished, and was not stopped before that."""
        return self.state == State.FINISHED

    @property
    def belongs(self) -> bool:
        """Whether the run is one of the sweep as it is now."""
        return self.in_sweep in (IN_SWEEP, *ADDED)

    @property
    def is_ended(self) -> bool:
        """Whether the latest attempt has an end that stands."""
        return self.state not in UNENDED

    @property
    def goes_on(self) -> bool:
        """Whether the run goes again at the next start without being asked to: it was not to blame for its end."""
        return not self.is_ended or (self.outcome is not None and self.outcome.is_blameless)


RECORDED = tuple(f.name for f in fields(RunOutcome) if f.metadata.get("is_recorded", True))
"""The fields of an outcome that the journal keeps."""


def end_fields(outcome: RunOutcome) -> dict[str, Any]:
    """Return the fields of a ``run_end`` event."""
    told = {name: getattr(outcome, name) for name in RECORDED}
    metrics, duration_s = dict(outcome.metrics), round(outcome.duration_s, 6)
    return told | {"state": outcome.state.value, "metrics": metrics, "duration_s": duration_s}


def _read_end(event: Mapping[str, Any]) -> RunOutcome:
    """Undo :func:`end_fields`; what older versions did not record is as it is by default."""
    known = {name: event[name] for name in RECORDED if name in event}
    texts = {name: sys.intern(known.get(name, "")) for name in ("reason", "host")}
    return RunOutcome(**known | texts | {"state": State(event["state"]), "metrics": Values(event["metrics"])})


@dataclass(slots=True)
class Replay:
    """What the events of a journal amount to.

    ``records`` are in the order of their latest ends, of first starts where none has ended. ``codes`` are the files of
    every state of the program that runs were started with, by the hash that records carry; of the runs in ``reread``
    the results were read a second time.
    """

    records: dict[str, RunRecord] = field(default_factory=dict)
    codes: dict[str, Mapping[str, str]] = field(default_factory=dict)
    reread: set[str] = field(default_factory=set)

    def apply(self, event: Mapping[str, Any]) -> None:
        """Take one event into account; events of other kinds change nothing."""
        apply_event(self.records, event)
        if event["ev"] == CODE:
            self.codes[event["code"]] = event["files"]
        elif event["ev"] == RUN_REREAD:
            self.reread.add(event["run"])


def apply_event(records: dict[str, RunRecord], event: Mapping[str, Any]) -> None:
    """Take one event into account; events of other kinds change nothing."""
    kind = event["ev"]
    if kind == RUN_START:
        record = records.setdefault(event["run"], RunRecord(event["run"]))
        record.name, record.params, record.seed = event["name"], Values(event["params"]), event["seed"]
        record.identity, record.code = sys.intern(event.get("identity", "")), sys.intern(event.get("code", ""))
        record.in_sweep = sys.intern(event.get("in_sweep", IN_SWEEP))
        record.attempt, record.started_at = event["attempt"], event["started_at"]
        record.device, record.outcome = sys.intern(event["device"]), None
    elif kind == RUN_END:
        record = records[event["run"]] = records.pop(event["run"])  # now the last
        record.outcome = _read_end(event)
        record.n_tries += record.state != State.INTERRUPTED
    elif kind == RUN_REREAD:
        record = records[event["run"]]
        if record.outcome is not None:
            reason, metrics = sys.intern(event["reason"]), Values(event["metrics"])
            record.outcome = replace(record.outcome, reason=reason, metrics=metrics)
    elif kind == RUN_TAG:
        records[event["run"]].tags = sys.intern(event["tags"])
    elif kind == RUN_FORGET:
        records.pop(event["run"], None)
    elif kind == MEMBERSHIP:
        for run_id, standing in event["runs"].items():
            records[run_id].in_sweep = sys.intern(standing)
