"""The columns of ``runs.csv``: what each holds of a run, and whether a row still says it. No files here."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from sweepline.contract.text import printable
from sweepline.recording.cells import csv_line, format_cell, format_parameter, guard, says
from sweepline.recording.events import STANDINGS, RunRecord, names_in
from sweepline.runs import RunOutcome

_FIXED: tuple[tuple[str, Callable[[RunRecord, RunOutcome], Any]], ...] = (
    ("run_id", lambda run, _: run.run_id),
    ("run_name", lambda run, _: run.name),
    ("state", lambda _, end: end.state.value),
    ("exit_code", lambda _, end: end.exit_code),
    ("reason", lambda _, end: printable(end.reason)),
    ("attempt", lambda run, _: run.attempt),
    ("seed", lambda run, _: run.any_seed),
    ("device", lambda run, _: run.device),
    ("started_at", lambda run, _: run.started_at),
    ("duration_s", lambda _, end: round(end.duration_s, 3)),
    ("code", lambda run, _: run.code),
    ("in_sweep", lambda run, _: run.in_sweep),
    ("host", lambda _, end: end.host),
    ("peak_memory_gib", lambda run, _: run.peak_memory_gib),
    ("cpu_hours", lambda run, _: run.cpu_hours),
    ("gpu_hours", lambda run, _: run.gpu_hours),
)
"""What stands in the columns before parameters and metrics, of a run that has ended."""

FIXED_COLUMNS = ("sweep", *(name for name, _ in _FIXED))
OLDER_FIXED_COLUMNS = FIXED_COLUMNS[: FIXED_COLUMNS.index("code")]
"""The fixed columns of tables that older versions wrote; what has come later may be missing in them."""

MAX_METRIC_COLUMNS = 500


class Columns:
    """The columns of a sweep's table: fixed ones, then parameters and metrics, which are learned as runs tell of them.

    ``sweep`` is what the column of that name says. ``reserved`` metrics always find a column. ``is_full`` tells that a
    metric has found none.
    """

    def __init__(
        self, *, sweep: str, params: Sequence[str], metrics: Sequence[str] = (), reserved: Collection[str] = ()
    ) -> None:
        self.sweep = sweep
        self.is_full = False
        self._columns = [("param", name) for name in params if name != "seed"] + [("metric", name) for name in metrics]
        self._known = set(self._columns)
        self._reserved = {("metric", name) for name in reserved}
        self._n_metrics = len(metrics)
        self._learned: set[tuple[tuple[str, ...], tuple[str, ...]]] = set()

    @property
    def header(self) -> list[str]:
        """The columns: fixed ones, parameters by dotted name, metrics by name (with a prefix where a name is taken)."""
        columns = dict.fromkeys(FIXED_COLUMNS)
        for kind, name in self._columns:
            while name in columns:
                name = f"{kind}.{name}"  # noqa: PLW2901
            columns[name] = None
        return list(columns)

    @functools.cached_property
    def _fields(self) -> dict[str, tuple[str, str]]:
        """The parameters and metrics by what their columns are called; forgotten whenever there are more."""
        return dict(zip(map(guard, self.header[len(FIXED_COLUMNS) :]), self._columns, strict=True))

    def learn(self, record: RunRecord) -> int:
        """Add columns for names that are new, as far as there is room for metrics; return how many."""
        names = (tuple(record.params), tuple(record.metrics))
        if names in self._learned:
            return 0
        self._learned.add(names)
        params = [("param", name) for name in record.params if name != "seed"]
        metrics = [("metric", name) for name in record.metrics]
        fresh = [column for column in (*params, *metrics) if column not in self._known]
        n_too_many = self._n_metrics + sum(kind == "metric" for kind, _ in fresh) - MAX_METRIC_COLUMNS
        if n_too_many > 0 and fresh:
            n_kept = max(0, len(fresh) - n_too_many)
            fresh = [*fresh[:n_kept], *(column for column in fresh[n_kept:] if column in self._reserved)]
            self.is_full = True
        self._n_metrics += sum(kind == "metric" for kind, _ in fresh)
        self._columns += fresh
        self._known.update(fresh)
        self._forget_fields()
        return len(fresh)

    def _forget_fields(self) -> None:
        self.__dict__.pop("_fields", None)

    def put_parameters_first(self) -> None:
        """Order the columns as a table that is written from nothing has them."""
        kinds = {"param": 0, "metric": 1}
        self._columns.sort(key=lambda column: kinds[column[0]])
        self._forget_fields()

    def fixed_cells(self, record: RunRecord) -> list[str]:
        """Return the first cells of the row of a run that has ended."""
        assert record.outcome is not None
        return [format_cell(self.sweep), *(format_cell(read(record, record.outcome)) for _, read in _FIXED)]

    def line(self, record: RunRecord) -> bytes:
        """Return the row of a run that has ended."""
        params, metrics = record.params, record.metrics
        cells = self.fixed_cells(record)
        for kind, name in self._columns:
            if kind == "param":
                cells.append(format_parameter(params[name]) if name in params else "")
            else:
                cells.append(format_cell(metrics.get(name)))
        return csv_line(cells)

    def has_row(self, row: Mapping[str, str], record: RunRecord) -> bool:
        """Whether a row, cells by column, says of a run what is recorded of it."""
        fields = self._fields
        leading = dict(zip(FIXED_COLUMNS, self.fixed_cells(record), strict=True))
        for column, cell in row.items():
            if column == "in_sweep" and cell in STANDINGS:  # as it was when the row was written
                continue
            if column in leading:
                if cell != leading[column]:
                    return False
                continue
            kind, name = fields.get(column, ("", ""))
            values = record.params if kind == "param" else record.metrics
            if cell if name not in values else not says(cell, kind, values[name]):
                return False
        return True


def tabulate(records: Iterable[RunRecord], *, sweep: str) -> dict[str, list[Any]]:
    """Return the table of runs that have ended by column, with values instead of cells."""
    ended = [record for record in records if has_row(record)]
    outcomes = [record.outcome for record in ended if record.outcome is not None]
    params = [name for name in names_in(record.params for record in ended) if name != "seed"]
    metrics = names_in(record.metrics for record in ended)
    columns = [
        [sweep] * len(ended),
        *(list(map(read, ended, outcomes)) for _, read in _FIXED),
        *([record.params.get(name) for record in ended] for name in params),
        *([record.metrics.get(name) for record in ended] for name in metrics),
    ]
    return dict(zip(Columns(sweep=sweep, params=params, metrics=metrics).header, columns, strict=True))


def has_row(record: RunRecord) -> bool:
    """Whether a run has ended at least once and is not under way."""
    return record.outcome is not None
