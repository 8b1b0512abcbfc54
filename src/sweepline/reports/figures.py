"""The pictures of a report as files, drawn without a browser, in the width of a paper's column."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from sweepline.contract.files import write_whole
from sweepline.contract.metrics import PLACES
from sweepline.contract.text import printable
from sweepline.errors import ConfigError, did_you_mean, record_error
from sweepline.reports import charts, coursecharts, vega
from sweepline.reports.channels import Spec, sensible_bounds, with_data
from sweepline.reports.chartdata import STEP_SIZE, ChartData, Column, result_of
from sweepline.reports.collect import ReportedSweep
from sweepline.reports.histories import EFFECTIVE, Member, curve_lines, groups_of_best
from sweepline.reports.pagedata import TEMPERATURE, chart_data, draw_front, tradeoff_cells
from sweepline.reports.summaries import (
    best_so_far,
    means_by_group,
    means_by_pair,
    means_by_parameter,
    shares,
    stretches,
)

_WIDTH, _HEIGHT = 250, 165  # points: a column of a paper in two columns
_STEP = 14  # of a row of a chart of rows
_FONT = 8
_MAX_PANELS = 4  # beside each other in the width of a page
_PANEL_WIDTH = 200
_PAPER: Mapping[str, Any] = {
    "background": "white",
    "font": "Helvetica, Arial, DejaVu Sans, sans-serif",
    "axis": {"labelFontSize": _FONT, "titleFontSize": _FONT, "titleFontWeight": "normal", "gridColor": "#e4e8ec"},
    "legend": {"labelFontSize": _FONT, "titleFontSize": _FONT, "titleFontWeight": "normal", "symbolSize": 40},
    "header": {"labelFontSize": _FONT, "titleFontSize": _FONT, "titleFontWeight": "normal", "titlePadding": 0},
    "text": {"fontSize": _FONT},
}


@dataclass(frozen=True, slots=True)
class Figure:
    """A picture by name; ``draw`` returns its specification with its data.

    ``is_usual`` are those that are written where none is named; there are many more that can be. ``axes`` are the
    parameters of a heat map; ``is_turned`` is one that another shows too, with its axes the other way round.
    """

    name: str
    draw: Callable[[], Spec]
    is_usual: bool = True
    axes: frozenset[str] = frozenset()
    is_turned: bool = False


def write_figures(
    sweeps: Sequence[ReportedSweep], folder: Path, *, kinds: Sequence[str], names: Sequence[str] | None = None
) -> Iterator[Path]:
    """Write the pictures of sweeps into a folder; yield each file when it is there.

    Args:
        sweeps: at least one.
        folder: is made where it is missing.
        kinds: of files: ``svg``, ``png``, ``pdf``.
        names: of pictures, or patterns such as ``heat-*``; the usual ones where there are none.

    Raises:
        ConfigError: a name is unknown, or there is nothing to draw.
        SweeplineError: a file cannot be written.
    """
    found = {figure.name: figure for figure in build_figures(sweeps)}
    if not found:
        raise ConfigError("--figures: no run has a result yet, so there is nothing to draw")
    chosen = _choose(found, names) if names else [figure for figure in found.values() if figure.is_usual]
    folder.mkdir(parents=True, exist_ok=True)
    for figure in chosen:
        for kind in kinds:
            path = folder / f"{figure.name}.{kind}"
            try:
                write_whole(path, vega.draw(figure.draw(), kind), is_durable=False)
            except OSError as error:
                raise record_error(path, "cannot be written", error) from None
            yield path


def _choose(found: Mapping[str, Figure], names: Sequence[str]) -> list[Figure]:
    """Return the figures that names or patterns mean, each once: a pattern means no heat map both ways round.

    Raises:
        ConfigError: one means none.
    """
    chosen: dict[str, Figure] = {}
    for name in names:
        own = {one: figure for one, figure in found.items() if one == name or fnmatchcase(one, name)}
        if not own:
            hint = did_you_mean(name, found) or "; sweepline report --plots lists them"
            if name.startswith("curves") and not any(one.startswith("curves") for one in found):
                hint = ": no run has told its objective twice, so that there are no curves"
            raise ConfigError(f"--plots {name}: no such picture{hint}")
        plain = {figure.axes for figure in own.values() if not figure.is_turned}
        chosen |= {one: figure for one, figure in own.items() if not (figure.is_turned and figure.axes in plain)}
    return list(chosen.values())


def build_figures(sweeps: Sequence[ReportedSweep]) -> Iterator[Figure]:
    """Yield the pictures that sweeps can have, each under a name of its own, which no result decides.

    Those that are turned come last, so that no other is numbered for their sake.
    """
    met: set[str] = set()
    for figure in sorted(_figures(sweeps), key=lambda figure: figure.is_turned):
        numbered = (f"{figure.name}-{i}" for i in itertools.count(2))
        name = next(one for one in itertools.chain([figure.name], numbered) if one not in met)
        met.add(name)
        yield replace(figure, name=name)


def _figures(sweeps: Sequence[ReportedSweep]) -> Iterator[Figure]:
    data = chart_data(sweeps)
    objective = data.objective
    if any(row.get("slot") for row in data.rows):
        yield Figure("timeline", lambda: _paper(with_data(coursecharts.timeline(data), bars=stretches(data.rows))))
    if objective is None or all(result_of(row, objective) is None for row in data.rows):
        return
    order = _parameters_in_order(sweeps[0], data)
    yield from _importance(sweeps[0], data, order)
    called = _file_names([name for name in data.parameters if name in order or name == TEMPERATURE])
    for name, own in called.items():
        yield Figure(f"slice-{own}", lambda name=name: _slice(data, objective, name))  # type: ignore[misc]
    few = {name: own for name, own in called.items() if data.parameters[name].levels}
    yield from _heats(data, objective, few)
    yield from _lines(data, objective, few, order)
    if len(order) > 1:
        axes = [*order, sweeps[0].objective.name] if sweeps[0].objective is not None else order
        yield Figure("parallel", lambda: _paper(charts.parallel_coordinates(data, axes), width=2 * _WIDTH))
    history = best_so_far(data.rows, objective, data.goal)
    yield Figure("best", lambda: _paper(with_data(coursecharts.best_so_far(data), history=history)))
    edf = shares(data.rows, objective, data.goal)
    yield Figure("edf", lambda: _paper(with_data(coursecharts.distribution(data), edf=edf)))
    yield from _tradeoff(sweeps[0], data, objective)
    yield from _curves(sweeps, data, objective, few)


def _parameters_in_order(first: ReportedSweep, data: ChartData) -> list[str]:
    """Return the parameters that pictures show, the most important first where that is known."""
    if first.importance is not None:
        return [name for name in first.importance.shares if name in data.parameters]
    return [name for name in data.parameters if name not in (TEMPERATURE, "sweep")]


def _importance(first: ReportedSweep, data: ChartData, order: Sequence[str]) -> Iterator[Figure]:
    importance = first.importance
    if importance is not None and len(importance.shares) > 1:
        of_shown = {name: importance.shares[name] for name in order}
        yield Figure("importance", lambda: _paper(charts.importance_bars(of_shown, data)))


def _slice(data: ChartData, objective: Column, name: str) -> Spec:
    means = means_by_parameter(data.rows, data.parameters[name], objective)
    return _paper(with_data(charts.metric_by_parameter(data, name), runs=data.rows, means=means))


def _heats(data: ChartData, objective: Column, few: Mapping[str, str]) -> Iterator[Figure]:
    """Yield the heat map of each pair, the first in the sweep file along x, and turned."""
    for i, j in itertools.permutations(range(len(few)), 2):
        x, y = list(few)[i], list(few)[j]

        def draw(x: str = x, y: str = y) -> Spec:
            return _heat(data, objective, x, y)

        yield Figure(
            f"heat-{few[x]}-{few[y]}",
            draw,
            is_usual=i < j and TEMPERATURE not in (x, y),
            axes=frozenset((x, y)),
            is_turned=i > j,
        )


def _heat(data: ChartData, objective: Column, x: str, y: str) -> Spec:
    cells = means_by_pair(data.rows, data.parameters[x], data.parameters[y], objective)
    return _paper(with_data(charts.heat_map(data, x, y), cells=cells))


def _lines(data: ChartData, objective: Column, few: Mapping[str, str], order: Sequence[str]) -> Iterator[Figure]:
    """Yield a metric against a number with a line for each value of another; usual is the step size, by the first."""
    numeric = [name for name in few if data.parameters[name].kind == "number" and name != TEMPERATURE]
    usual = next((name for name in order if name in numeric and STEP_SIZE.search(name)), None)
    for x in numeric:
        others = [name for name in order if name in few and name not in (x, TEMPERATURE)]
        others.sort(key=lambda name: data.parameters[name].kind != "number")  # stable: the most important first
        for group in (name for name in few if name in others):
            panel = _panel_of(data, [name for name in others if name != group])

            def draw(x: str = x, group: str = group, panel: str | None = panel) -> Spec:
                columns = [data.parameters[name] for name in (group, panel) if name is not None]
                means = means_by_group(data.rows, data.parameters[x], columns, objective, data.goal)
                return _paper(with_data(charts.metric_lines(data, x, group, panel=panel), means=means))

            yield Figure(f"lines-{few[x]}-by-{few[group]}", draw, is_usual=x == usual and group == others[0])


def _panel_of(data: ChartData, names: Sequence[str]) -> str | None:
    """Return a parameter whose values are kinds of things, and few enough to have a picture each."""
    kinds = [name for name in names if data.parameters[name].kind == "category"]
    return next((name for name in kinds if 1 < len(data.parameters[name].levels) <= _MAX_PANELS), None)


def _tradeoff(first: ReportedSweep, data: ChartData, objective: Column) -> Iterator[Figure]:
    if first.front:
        yield Figure("pareto", lambda: _paper(_front(first, data)))
    middle = first.middle_by_duration
    if middle is not None and len(middle.cells) > 2:
        spec = charts.tradeoff(objective, "mean duration, s", printable(middle.name))
        yield Figure("tradeoff", lambda: _paper(with_data(spec, cells=tradeoff_cells(middle, objective))))


def _front(first: ReportedSweep, data: ChartData) -> Spec:
    spec, cells = draw_front(first, data)
    return with_data(spec, cells=cells)


def _curves(
    sweeps: Sequence[ReportedSweep], data: ChartData, objective: Column, few: Mapping[str, str]
) -> Iterator[Figure]:
    """Yield the courses of the objective by each place that it has, of the best configurations or by a parameter."""
    metric = next(name for name, column in data.metrics.items() if column == objective)
    best = groups_of_best(sweeps)
    usual = curve_lines(best, metric)
    if not usual:
        return
    bounds = sensible_bounds(data)
    first: list[Member] = next(iter(best.values()))
    places = [place for place in (*PLACES, EFFECTIVE) if curve_lines({"": first[:1]}, metric, place=place)]
    for place in (None, *places):
        for group in (None, *few):

            def draw(place: str | None = place, group: str | None = group) -> Spec:
                groups = best if group is None else _groups_by(sweeps, data, data.parameters[group])
                lines = curve_lines(groups, metric, place=place)
                counted = lines[0]["place"] if lines else ""
                spec = coursecharts.curves(
                    objective.title,
                    counted,
                    is_log=objective.is_log,
                    is_log_place=place == EFFECTIVE,  # step sizes mostly span orders of magnitude
                    bounds=bounds,
                )
                if group is not None:
                    spec = coursecharts.colored_by(spec, data.parameters[group])
                is_shown = [_has_place(row, objective, is_log_place=place == EFFECTIVE) for row in lines]
                return _paper(with_data(spec, lines=list(itertools.compress(lines, is_shown)), raw=[]))

            by_place = f"-{place.replace(' ', '-')}" if place else ""
            by_group = f"-by-{few[group]}" if group else ""
            yield Figure(f"curves{by_place}{by_group}", draw, is_usual=group is None and place in (None, EFFECTIVE))


def _has_place(row: Mapping[str, Any], objective: Column, *, is_log_place: bool) -> bool:
    """Whether a point of a course can be on its axes: zero is on no logarithmic one."""
    return (row["x"] > 0 or not is_log_place) and (row["low"] > 0 or not objective.is_log)


def _groups_by(sweeps: Sequence[ReportedSweep], data: ChartData, column: Column) -> dict[Any, list[Member]]:
    """Return the runs of sweeps by their value of a parameter."""
    runs = [(sweep, record) for sweep in sweeps for record in sweep.records]
    found: dict[Any, list[Member]] = {level: [] for level in column.levels}
    for run, row in zip(runs, data.rows, strict=True):
        if row.get(column.key) in found:
            found[row[column.key]].append(run)
    return found


def _paper(spec: Spec, *, width: int = _WIDTH) -> Spec:
    if "facet" in spec:
        return {**spec, "spec": {**spec["spec"], "width": _PANEL_WIDTH, "height": _HEIGHT}, "config": _PAPER}
    n_rows = spec.get("usermeta", {}).get("rows")
    height = _HEIGHT if n_rows is None else n_rows * _STEP
    return {**spec, "width": width, "height": height, "autosize": {"type": "pad"}, "config": _PAPER}


def _file_names(names: Sequence[str]) -> dict[str, str]:
    """Return what parameters are called in the names of files."""
    plain = {name: "".join(char if char.isalnum() or char in "_." else "-" for char in name)[:60] for name in names}
    return {name: "temperature" if name == TEMPERATURE else own or "parameter" for name, own in plain.items()}
