"""Reads what single runs measured, all points of it: run folders, TensorBoard logs, W&B's own files, rows of tables.

Which runs are meant is said in ``engine/sides.py``.
"""

from __future__ import annotations

import csv
import math
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sweepline.analysis.series import AXES, EPOCH, SAMPLES, STEP, TIME, RunHistory, Series, build_series
from sweepline.contract.files import open_plain
from sweepline.contract.metrics import PLACES, MetricPoint
from sweepline.contract.runfolder import COMMAND, EFFECTIVE_CONFIG, METRICS, STDERR, STDOUT
from sweepline.contract.text import display_path, one_line
from sweepline.contract.values import flatten
from sweepline.contract.yamlfile import read_yaml
from sweepline.engine.metricreader import MetricReader
from sweepline.engine.outcome import OutcomeReader, has_effective_config, read_asked
from sweepline.engine.runpoints import MAX_HISTORY_VALUES, History
from sweepline.engine.sources import SECONDS
from sweepline.engine.tensorboardlog import find_logs_below, read_tensorboard_log
from sweepline.engine.wandbfile import find_wandb_files, numbers_of, read_wandb_run
from sweepline.errors import ConfigError, RecordError
from sweepline.recording.events import RunRecord
from sweepline.runs import Objective, State

_CHUNK_BYTES = 1 << 20
_SETTINGS_FILES = ("hparams.yaml", "config.yaml", "config.json", "args.json")
"""Where others write down the settings of a run, the first that is there: Lightning, and what is usual."""
_THINNED_FROM = MAX_HISTORY_VALUES // 8
"""A ``metrics.csv`` of a sweep with fewer values holds all points: where there are too many, half of them are kept."""


class _Collector:
    """Puts points together as series. A metric whose line tells no place is where that metric was told last."""

    def __init__(self) -> None:
        self._columns: dict[str, dict[str, array[float]]] = {}
        self.n_values = 0

    def add(self, values: Mapping[str, float], place: Mapping[str, float]) -> None:
        """Take the metrics of one line or row."""
        for name, value in values.items():
            columns = self._columns.get(name)
            if columns is None:
                columns = self._columns[name] = {axis: array("d") for axis in ("value", *AXES)}
            columns["value"].append(value)
            for axis in AXES:
                column = columns[axis]
                column.append(place.get(axis, column[-1] if column else math.nan))
        self.n_values += len(values)

    def series(self) -> dict[str, Series]:
        """Return what was collected; a point before the first that tells its place is at the beginning."""
        found = {}
        for name, columns in self._columns.items():
            places = {}
            for axis in AXES:
                column = columns[axis]
                if not math.isnan(column[-1]):
                    places[axis] = array("d", (0.0 if math.isnan(place) else place for place in column))
            found[name] = build_series(columns["value"], places)
        return found


def read_run_folder(
    run_dir: Path,
    *,
    record: RunRecord | None = None,
    reader: OutcomeReader | None = None,
    objective: Objective | None = None,
) -> RunHistory:
    """Return what a run of a sweep measured, or of our trainer alone: all points of it.

    They come from its ``metrics.csv``, or from its logs where that may hold a part of the points only; what neither
    has, from W&B's and TensorBoard's files in its folder. Those also tell when the points were.

    Args:
        run_dir: the run's folder.
        record: what the journal says of it, where it is a run of a sweep.
        reader: how the output of the sweep's runs is read.
        objective: the sweep's.

    Raises:
        SweeplineError: nothing was measured there, or a file cannot be read.
    """
    reader = reader or OutcomeReader()
    series, source = _read_metrics(run_dir, reader)
    notes: list[str] = []
    others = list(_read_trackers(run_dir, reader, notes))
    for other in others:
        series = _complete(series, other.series)
    if not series:
        raise ConfigError(f"{display_path(run_dir)}: nothing was measured there: no METRIC line, no {METRICS}")
    if record is not None and record.state != State.FINISHED:
        notes.append(f"{record.state.value}{': ' if record.reason else ''}{one_line(record.reason)}")
    return RunHistory(
        name=record.name if record is not None and record.name else run_dir.resolve().name,
        origin=str(run_dir.resolve()),
        source=" + ".join([*([source] if source else []), *(other.source for other in others)]),
        series=series,
        params=_read_params(run_dir, record),
        seed=None if record is None else _seed_of(record.seed, record.params),
        duration_s=record.duration_s if record is not None and record.duration_s else None,
        objective=None if objective is None else (objective.name, objective.goal[:3]),
        notes=notes,
    )


def read_log_folder(folder: Path) -> RunHistory:
    """Return the run of a TensorBoard log, with the settings that stand beside it.

    Raises:
        SweeplineError: there is none, or it cannot be read.
    """
    run = read_tensorboard_log(folder)
    if run.params or not folder.is_dir():
        return run
    for name in _SETTINGS_FILES:
        if (folder / name).is_file():
            try:
                found = read_yaml(folder / name).value  # JSON is YAML
            except ConfigError as error:
                return replace(run, notes=(*run.notes, f"its settings are not read: {error}"))
            params = flatten(found) if isinstance(found, Mapping) else {}
            return replace(run, params={str(key): value for key, value in params.items()}, seed=_seed_of(None, params))
    return run


def read_wandb_files(paths: Sequence[Path]) -> RunHistory:
    """Return the run that W&B's files record, in the order in which they were begun.

    Raises:
        ConfigError: wandb is not installed.
        RecordError: a file is damaged or cannot be read.
    """
    config: dict[str, Any] = {}
    collector, run_name = _Collector(), ""
    for path in paths:
        try:
            run = read_wandb_run(path)
        except ImportError:
            raise ConfigError(f"{display_path(path)}: reading it needs wandb: pip install 'sweepline[wandb]'") from None
        except (OSError, ValueError) as error:
            raise RecordError(f"{display_path(path)}: cannot be read: {error}") from None
        config |= run.config
        run_name = run.name or run_name or run.run_id
        for row in run.history:
            values = dict(numbers_of(row))
            place = {STEP: row.get("_step"), TIME: row.get("_runtime")}
            place |= {axis: values.pop(axis) for axis in PLACES if axis in values}
            collector.add(values, {axis: float(at) for axis, at in place.items() if at is not None})
    params = {name: value for name, value in flatten(config).items() if not name.startswith("_")}
    return RunHistory(
        name=run_name or paths[0].stem,
        origin=str(paths[0].resolve()),
        source=f"{len(paths)} W&B file{'s' * (len(paths) > 1)}",
        series=collector.series(),
        params=params,
        seed=_seed_of(None, params),
    )


def is_run_folder(path: Path) -> bool:
    """Whether a folder is one of a run."""
    return any((path / name).exists() for name in (METRICS, STDOUT, COMMAND))


def _seed_of(seed: int | None, params: Mapping[str, Any]) -> int | None:
    found = params.get("seed") if seed is None else seed
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def _read_params(run_dir: Path, record: RunRecord | None) -> dict[str, Any]:
    """Return the settings of a run: all that it wrote down itself, else what it was asked to use."""
    params: dict[str, Any] = {}
    if has_effective_config(run_dir):
        try:
            found = read_yaml(run_dir / EFFECTIVE_CONFIG).value
        except ConfigError:
            found = None  # it said so itself when it failed
        params = flatten(found) if isinstance(found, Mapping) else {}
    asked = dict(record.params) if record is not None else flatten(read_asked(run_dir) or {})
    told = {"code": record.code} if record is not None and record.code else {}
    return {**params, **asked, **told}


def _read_metrics(run_dir: Path, reader: OutcomeReader) -> tuple[dict[str, Series], str]:
    """Return what a run's ``metrics.csv`` or its logs hold, whichever holds more, and which that is."""
    from_table = _Collector()
    path = run_dir / METRICS
    try:
        with open_plain(path) as file:
            _read_rows((line.decode("utf-8", "replace") for line in file), from_table)
    except FileNotFoundError:
        pass
    except (OSError, csv.Error) as error:
        raise RecordError(f"{display_path(path)}: cannot be read: {error}") from None
    if 0 < from_table.n_values < _THINNED_FROM:
        return from_table.series(), METRICS
    from_logs = _Collector()
    for name in (STDOUT, STDERR):
        _read_output(run_dir / name, reader, from_logs)
    if from_logs.n_values > from_table.n_values:
        return from_logs.series(), "logs"
    return from_table.series(), METRICS if from_table.n_values else ""


def _read_rows(lines: Iterator[str], collector: _Collector) -> None:
    rows = csv.reader(lines)
    header = next(rows, [])
    for row in rows:
        values: dict[str, float] = {}
        for name, cell in zip(header, row, strict=False):
            if cell and name:
                try:
                    values[name] = float(cell)
                except ValueError:
                    continue
        _add_point(collector, values, {})


def _add_point(collector: _Collector, values: Mapping[str, float], place: Mapping[str, float]) -> None:
    """Take the values of a line, of which some tell its place."""
    found = {name: value for name, value in values.items() if name in PLACES}
    if SECONDS in values:
        found[TIME] = values[SECONDS]
    collector.add({k: v for k, v in values.items() if k not in PLACES and k != SECONDS}, {**place, **found})


class _WholeHistory(History):
    """What a reader of METRIC lines gives its points to, where none shall be left out."""

    def __init__(self, collector: _Collector) -> None:
        super().__init__()
        self._collector = collector

    def add(self, point: MetricPoint) -> None:
        """Take the next point."""
        _add_point(self._collector, point.values, point.place)


def _read_output(path: Path, outcome: OutcomeReader, collector: _Collector) -> None:
    reserved = [*outcome.logged, *(objective.name for objective in outcome.objectives)]
    reader = MetricReader(outcome.patterns, reserved=reserved)
    reader.history = _WholeHistory(collector)
    try:
        with open_plain(path) as file:
            while chunk := file.read(_CHUNK_BYTES):
                reader.feed(chunk)
    except FileNotFoundError:
        return
    except OSError as error:
        raise RecordError(f"{display_path(path)}: cannot be read: {error.strerror}") from None
    reader.close()


def _read_trackers(run_dir: Path, reader: OutcomeReader, notes: list[str]) -> Iterator[RunHistory]:
    """Yield what a run's trackers recorded, as far as they can be read; what cannot is noted."""
    files = find_wandb_files(run_dir, reader.working_dir)
    if files:
        try:
            yield read_wandb_files(files)
        except (ConfigError, RecordError) as error:
            notes.append(f"what it logged to W&B is not read: {error}")
    for folder in find_logs_below(run_dir):
        try:
            yield read_tensorboard_log(folder)
        except (ConfigError, RecordError) as error:
            notes.append(f"what it logged to TensorBoard is not read: {error}")


def _complete(own: Mapping[str, Series], others: Mapping[str, Series]) -> dict[str, Series]:
    """Return series with those that another source has alone, and with the times that it knows of the same points."""
    found = dict(own)
    for name, other in others.items():
        mine = found.get(name)
        if mine is None:
            found[name] = other
        elif TIME not in mine.places and TIME in other.places and _are_same_points(mine, other):
            found[name] = Series(mine.values, {**mine.places, TIME: other.places[TIME]})
    return found


def _are_same_points(one: Series, other: Series) -> bool:
    """Whether two series have the same points, at the same places; one may be of single precision."""
    if len(one) != len(other):
        return False
    pairs = zip(one.values, other.values, strict=True)
    if not all(math.isclose(a, b, rel_tol=1e-6) or (math.isnan(a) and math.isnan(b)) for a, b in pairs):
        return False
    shared = [axis for axis in (STEP, SAMPLES, EPOCH) if axis in one.places and axis in other.places]
    return all(one.places[axis] == other.places[axis] for axis in shared)
