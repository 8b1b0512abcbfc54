"""For notebooks: what reports compute, on the tables of ``load_runs`` and ``load_history``, and their pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweepline.analysis import differences
from sweepline.analysis.statistics import mean_interval
from sweepline.analysis.tradeoff import GoldenMiddle, find_golden_middle
from sweepline.errors import ConfigError, did_you_mean
from sweepline.reports.chartdata import BATCH_SIZE, STEP_SIZE
from sweepline.reports.collect import collect

if TYPE_CHECKING:
    import altair as alt
    import pandas as pd

_PLACES = ("epoch", "step", "samples")


def fold_seeds(
    runs: pd.DataFrame, *, parameters: Sequence[str] | None = None, metrics: Sequence[str] | None = None
) -> pd.DataFrame:
    """Return a row for each configuration of finished runs: its parameters, and each metric's mean over seeds.

    Args:
        runs: as :func:`sweepline.load_runs` returns it.
        parameters: columns that tell configurations apart; by default those that ``runs`` knows as parameters.
        metrics: columns to average; by default those that ``runs`` knows as metrics.

    Returns:
        Columns are the parameters, ``n_runs``, and for each metric ``name``, ``name_low`` and ``name_high``: the mean
        and Student's 95 % interval, nan where one run says nothing of it.
    """
    import pandas as pd

    of_config, measured = _names(runs, "parameters", parameters), _names(runs, "metrics", metrics)
    finished = runs[runs["state"] == "finished"] if "state" in runs else runs
    rows = []
    for values, group in finished.groupby(of_config, dropna=False, sort=False) if of_config else [((), finished)]:
        row: dict[str, Any] = dict(zip(of_config, values if isinstance(values, tuple) else (values,), strict=True))
        row["n_runs"] = len(group)
        for name in measured:
            results = [float(value) for value in group[name].dropna()]
            interval = mean_interval(results) if results else None
            row[name] = interval.mean if interval else None
            row |= {f"{name}_low": interval.low, f"{name}_high": interval.high} if interval else {}
        rows.append(row)
    return pd.DataFrame(rows)


def differing(runs: pd.DataFrame, *, parameters: Sequence[str] | None = None) -> list[str]:
    """Return the parameters that are not the same in all runs."""
    names = _names(runs, "parameters", parameters)
    rows: Any = runs[names].to_dict("records")
    return differences.differing(rows)


def temperature(runs: pd.DataFrame) -> pd.Series[float]:
    """Return step size / batch size of each run.

    Raises:
        ConfigError: the table has no such two columns.
    """
    names = [next((str(c) for c in runs.columns if kind.search(str(c))), None) for kind in (STEP_SIZE, BATCH_SIZE)]
    if None in names:
        raise ConfigError("temperature needs a column such as step_size or lr, and one such as batch_size")
    return (runs[names[0]] / runs[names[1]]).rename("temperature")


def smooth(history: pd.DataFrame, amount: float = 0.05, *, metrics: Sequence[str] | None = None) -> pd.DataFrame:
    """Return a history with each run's metrics averaged exponentially over where they were measured.

    Args:
        history: as :func:`sweepline.load_history` returns it.
        amount: how far the average reaches, as a share of the run; points far apart are smoothed less than close ones.
        metrics: columns to smooth; all by default.
    """
    import numpy as np

    found = history.copy()
    names = list(metrics) if metrics is not None else _metrics_of(history)
    for _, group in history.groupby("run_id", sort=False):
        place = next((group[name] for name in _PLACES if name in group and group[name].notna().all()), None)
        at = place.to_numpy(float) if place is not None else np.arange(len(group), dtype=float)
        reach = amount * abs(at[-1] - at[0]) or 1.0
        keep = np.exp(-np.abs(np.diff(at, prepend=at[:1])) / reach) if amount > 0 else np.zeros(len(at))
        for name in names:
            values, held = group[name].to_numpy(float), float("nan")
            smoothed = []
            for value, share in zip(values, keep, strict=True):
                if np.isfinite(value):
                    held = share * held + (1 - share) * value if np.isfinite(held) else value
                smoothed.append(held if np.isfinite(value) else value)
            found.loc[group.index, name] = smoothed
    return found


def noise(history: pd.DataFrame, amount: float = 0.05, *, metrics: Sequence[str] | None = None) -> pd.DataFrame:
    """Return a history with the difference between each metric and its smoothed course (see :func:`smooth`)."""
    names = list(metrics) if metrics is not None else _metrics_of(history)
    found, smoothed = history.copy(), smooth(history, amount, metrics=names)
    found[names] = history[names] - smoothed[names]
    return found


def subsample(history: pd.DataFrame, n_points: int) -> pd.DataFrame:
    """Return at most ``n_points`` points of each run, evenly spread, the first and the last among them."""
    import numpy as np

    kept: list[Any] = []
    for _, group in history.groupby("run_id", sort=False):
        places = np.unique(np.linspace(0, len(group) - 1, min(n_points, len(group))).round().astype(int))
        kept += list(group.index[places])
    return history.loc[kept]


def golden_middle(
    source: str | Path,
    parameters: Sequence[str],
    *,
    metric: str | None = None,
    goal: str | None = None,
    cost: str | None = None,
) -> GoldenMiddle | None:
    """Return the golden middle of a sweep over one or two numeric parameters; None where no run has a result for it.

    Args:
        source: a sweep file, a sweep's folder or a ``runs.csv``.
        parameters: their names.
        metric: the quality, instead of the sweep's objective.
        goal: ``minimize`` or ``maximize``, with ``metric``.
        cost: a metric of which less is better, or ``duration_s``; without one, quality alone counts.

    Raises:
        SweeplineError: nothing was run there, or there is no such metric.
    """
    (sweep,) = collect([Path(source)], objective=metric, goal=goal)
    if sweep.objective is None:
        raise ConfigError(f"{source}: has no objective; name a metric")
    return find_golden_middle(sweep.records, sweep.objective, parameters, cost=cost)


def chart(source: str | Path | Sequence[str | Path], name: str) -> alt.Chart:
    """Return a picture of the report as a chart of Altair.

    Args:
        source: a sweep file, a sweep's folder, a ``runs.csv``, or several.
        name: as ``sweepline report --figures`` calls it: ``importance``, ``curves``, ``slice-lr``, ``heat-lr-opt`` ...

    Raises:
        SweeplineError: nothing was run there, or there is no such picture.
    """
    import altair as alt

    from sweepline.reports.figures import build_figures

    sources = [source] if isinstance(source, (str, Path)) else source
    found = {figure.name: figure for figure in build_figures(collect([Path(one) for one in sources]))}
    if name not in found:
        there_are = ", ".join(one for one, figure in found.items() if not figure.is_turned)
        raise ConfigError(f"no picture is called {name!r}{did_you_mean(name, found) or f'; there are {there_are}'}")
    made: alt.Chart = alt.Chart.from_dict(found[name].draw())
    return made


def _names(runs: pd.DataFrame, kind: str, given: Sequence[str] | None) -> list[str]:
    names = list(given) if given is not None else list(runs.attrs.get(kind, ()))
    missing = [name for name in names if name not in runs]
    if missing:
        raise ConfigError(f"the table has no column {missing[0]!r}{did_you_mean(missing[0], map(str, runs.columns))}")
    if given is None and kind not in runs.attrs:
        raise ConfigError(f"this table does not know its {kind}: name them, {kind}=[...], or take load_runs' own")
    return names


def _metrics_of(history: pd.DataFrame) -> list[str]:
    return [str(name) for name in history.columns if name not in ("run_id", "run_name", *_PLACES)]
