"""Every picture of a report as a file, drawn without a browser, in the width of a paper's column."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sweepline.contract.files import write_whole
from sweepline.contract.text import printable
from sweepline.errors import ConfigError, did_you_mean, record_error
from sweepline.reports import charts, vega
from sweepline.reports.channels import Spec, with_data
from sweepline.reports.chartdata import ChartData, result_of
from sweepline.reports.collect import ReportedSweep
from sweepline.reports.histories import curve_lines
from sweepline.reports.pagedata import TEMPERATURE, chart_data, tradeoff_cells
from sweepline.reports.summaries import best_so_far, means_by_pair, means_by_parameter, shares, stretches

_WIDTH, _HEIGHT = 250, 165  # points: a column of a paper in two columns
_STEP = 14  # of a row of a chart of rows
_FONT = 8
_PAPER: Mapping[str, Any] = {
    "background": "white",
    "font": "Helvetica, Arial, DejaVu Sans, sans-serif",
    "axis": {"labelFontSize": _FONT, "titleFontSize": _FONT, "titleFontWeight": "normal", "gridColor": "#e4e8ec"},
    "legend": {"labelFontSize": _FONT, "titleFontSize": _FONT, "titleFontWeight": "normal", "symbolSize": 40},
    "text": {"fontSize": _FONT},
}


def write_figures(
    sweeps: Sequence[ReportedSweep], folder: Path, *, kinds: Sequence[str], names: Sequence[str] | None = None
) -> Iterator[Path]:
    """Write the pictures of sweeps into a folder; yield each file when it is there.

    Args:
        sweeps: at least one.
        folder: is made where it is missing.
        kinds: of files: ``svg``, ``png``, ``pdf``.
        names: of pictures; all that these sweeps have where there are none.

    Raises:
        ConfigError: a name is unknown, or there is nothing to draw.
        SweeplineError: a file cannot be written.
    """
    found = dict(build_figures(sweeps))
    unknown = [name for name in names or () if name not in found]
    if unknown:
        there = f"; there are {', '.join(found)}" if found else "; these sweeps have none"
        raise ConfigError(f"--plots {unknown[0]}: no such picture{did_you_mean(unknown[0], found) or there}")
    if not found:
        raise ConfigError("--figures: no run has a result yet, so there is nothing to draw")
    folder.mkdir(parents=True, exist_ok=True)
    for name in names or found:
        for kind in kinds:
            path = folder / f"{name}.{kind}"
            try:
                write_whole(path, vega.draw(found[name](), kind), is_durable=False)
            except OSError as error:
                raise record_error(path, "cannot be written", error) from None
            yield path


def build_figures(sweeps: Sequence[ReportedSweep]) -> Iterator[tuple[str, Callable[[], Spec]]]:
    """Yield the pictures of sweeps by name, each as a function that returns its specification with its data."""
    data = chart_data(sweeps)
    objective = data.objective
    if any(row.get("slot") for row in data.rows):
        yield "timeline", lambda: _paper(with_data(charts.timeline(data), bars=stretches(data.rows)))
    if objective is None or all(result_of(row, objective) is None for row in data.rows):
        return
    importance = sweeps[0].importance
    names = [name for name in data.parameters if name not in (TEMPERATURE, "sweep")]
    order = [n for n in importance.shares if n in data.parameters] if importance is not None else names
    if importance is not None and len(importance.shares) > 1:
        of_shown = {name: importance.shares[name] for name in order}
        yield "importance", lambda: _paper(charts.importance_bars(of_shown, data))
    for name in order:
        yield f"slice-{_file_name(name)}", lambda name=name: _slice(data, name)  # type: ignore[misc]
    few = [name for name in order if data.parameters[name].levels]
    for i, x in enumerate(few):
        for y in few[i + 1 :]:
            yield f"heat-{_file_name(x)}-{_file_name(y)}", lambda x=x, y=y: _heat(data, x, y)  # type: ignore[misc]
    if len(order) > 1:
        axes = [*order, sweeps[0].objective.name] if sweeps[0].objective is not None else order
        yield "parallel", lambda: _paper(charts.parallel_coordinates(data, axes), width=2 * _WIDTH)
    history = best_so_far(data.rows, objective, data.goal)
    yield "best", lambda: _paper(with_data(charts.best_so_far(data), history=history))
    edf = shares(data.rows, objective, data.goal)
    yield "edf", lambda: _paper(with_data(charts.distribution(data), edf=edf))
    middle = sweeps[0].middle_by_duration
    if middle is not None and len(middle.cells) > 2:
        cells = tradeoff_cells(middle, objective)
        yield (
            "tradeoff",
            lambda: _paper(
                with_data(charts.tradeoff(objective, "mean duration, s", printable(middle.name)), cells=cells)
            ),
        )
    lines = curve_lines(sweeps, next(name for name, column in data.metrics.items() if column == objective))
    if lines:
        spec = charts.curves(objective.title, lines[0]["place"])
        yield "curves", lambda: _paper(with_data(spec, lines=lines, raw=[]))


def _slice(data: ChartData, name: str) -> Spec:
    assert data.objective is not None
    means = means_by_parameter(data.rows, data.parameters[name], data.objective)
    return _paper(with_data(charts.metric_by_parameter(data, name), runs=data.rows, means=means))


def _heat(data: ChartData, x: str, y: str) -> Spec:
    assert data.objective is not None
    cells = means_by_pair(data.rows, data.parameters[x], data.parameters[y], data.objective)
    return _paper(with_data(charts.heat_map(data, x, y), cells=cells))


def _paper(spec: Spec, *, width: int = _WIDTH) -> Spec:
    n_rows = spec.get("usermeta", {}).get("rows")
    height = _HEIGHT if n_rows is None else n_rows * _STEP
    return {**spec, "width": width, "height": height, "autosize": {"type": "pad"}, "config": _PAPER}


def _file_name(name: str) -> str:
    return "".join(char if char.isalnum() or char in "_." else "-" for char in name)[:60] or "parameter"
