"""What programs and notebooks use: start a sweep and get its result, load runs and histories into pandas, compare runs.

Nothing here sets up signals or changes the process, so that all of it works in a thread. ``import sweepline`` is
enough; pandas is imported by what returns a table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from sweepline.analysis.compare import CompareOptions
from sweepline.config.settings import SweepSettings
from sweepline.config.sweepfile import load_sweep as load_sweep_file
from sweepline.contract.metrics import PLACES, format_metric_line
from sweepline.display.lines import LineDisplay
from sweepline.engine.batchsize.finder import measure_batch_size
from sweepline.engine.preparation import prepare_sweep
from sweepline.engine.progress import Observer
from sweepline.engine.recorded import open_recorded, read_points, table_label
from sweepline.engine.session import SweepResult
from sweepline.engine.session import run_sweep as run_prepared
from sweepline.engine.signals import StopRequests
from sweepline.engine.state import SweepOptions
from sweepline.errors import ConfigError, RecordError
from sweepline.executors.base import Executor
from sweepline.recording.cells import read_cell, read_rows
from sweepline.recording.columns import tabulate
from sweepline.recording.events import names_in
from sweepline.reports.collect import read_table
from sweepline.reports.comparison.result import Comparison, compare_runs
from sweepline.reports.page import write_final_page

if TYPE_CHECKING:
    import pandas as pd

SweepSource = str | Path | Mapping[str, Any]
"""A sweep file, a folder that holds a ``sweep.yaml``, or what would stand in one."""


def load_sweep(source: SweepSource, *, folder: str | Path = ".", fixed: Sequence[str] = ()) -> SweepSettings:
    """Read and check a sweep file.

    Args:
        source: the file or its folder, or its content as a mapping, which needs a ``name``.
        folder: where a mapping would stand: its paths are relative to it, and its records go below it.
        fixed: ``key=value`` texts, each of which fixes a parameter for every run.

    Raises:
        ConfigError: with every fault of it.
    """
    if isinstance(source, Mapping):
        if not source.get("name"):
            raise ConfigError("a sweep that is no file needs a 'name': its records are kept under it")
        try:
            text = yaml.safe_dump(dict(source), sort_keys=False, allow_unicode=True)
        except yaml.YAMLError as error:
            raise ConfigError(f"the sweep holds a value that no file could: {error}; use plain Python values") from None
        return load_sweep_file(Path(folder) / f"{source['name']}.yaml", text=text, fixed=fixed)
    path = Path(source)
    return load_sweep_file(path / "sweep.yaml" if path.is_dir() else path, fixed=fixed)


def run_sweep(
    source: SweepSource,
    *,
    folder: str | Path = ".",
    fixed: Sequence[str] = (),
    observer: Observer | None = None,
    stop: StopRequests | None = None,
    executor: Executor | None = None,
    **options: Any,
) -> SweepResult:
    """Run what is missing of a sweep, and return how it stands then.

    Args:
        source: see :func:`load_sweep`; ``folder`` and ``fixed`` as well.
        folder: see :func:`load_sweep`.
        fixed: see :func:`load_sweep`.
        observer: who is told what happens; by default a line is printed for each event.
        stop: its :meth:`~StopRequests.request` stops the sweep, from any thread.
        executor: where runs execute; processes of this machine by default.
        options: those of the command ``sweepline run``, as :class:`SweepOptions` names them.

    Raises:
        SweeplineError: nothing could start.
    """
    unknown = sorted(options.keys() - set(SweepOptions.__dataclass_fields__))
    if unknown:
        raise ConfigError(f"no such option: {unknown[0]}; there are {', '.join(SweepOptions.__dataclass_fields__)}")
    options["devices"] = _device_list(options.get("devices"))
    if options.get("start") not in (None, "auto", "warm", "cold"):
        raise ConfigError(f"start: {options['start']!r} is none of auto, warm, cold")
    settings = measure_batch_size(load_sweep(source, folder=folder, fixed=fixed), SweepOptions(**options), _print_part)
    prepared = prepare_sweep(settings, SweepOptions(**options))
    result = run_prepared(prepared, observer or LineDisplay(print), requests=stop, executor=executor)
    write_final_page(result)
    return result


def _print_part(text: str) -> None:
    print(text, end="", flush=True)


def _device_list(devices: Any) -> str | None:
    """Return devices as the command takes them.

    Raises:
        ConfigError: they are not named by numbers and texts.
    """
    if devices is None or (isinstance(devices, str) and devices):
        return devices
    named = list(devices) if isinstance(devices, (list, tuple, range)) else [devices]
    if not named or not all((isinstance(one, str) and one) or (type(one) is int and one >= 0) for one in named):
        raise ConfigError(
            f"devices: {devices!r} names no devices; write 'auto', 'cpu', a GPU's number or a list of them"
        )
    return ",".join(map(str, named))


def load_runs(source: str | Path) -> pd.DataFrame:
    """Return the runs of a sweep that have ended, a row each: what ``runs.csv`` holds, with the types that values have.

    ``attrs["parameters"]`` and ``attrs["metrics"]`` of the table name its columns of either kind.

    Args:
        source: a sweep file, a sweep's folder, or a ``runs.csv`` alone, whose texts are told from numbers as far as the
            table marks them.

    Raises:
        SweeplineError: nothing was run there, or it cannot be read.
    """
    import pandas as pd

    path = Path(source)
    if path.suffix == ".csv":
        try:
            header, cells = read_rows(path.read_bytes())
        except (OSError, ValueError) as error:
            raise RecordError(f"{path}: cannot be read: {error}") from None
        table = pd.DataFrame([{name: read_cell(cell) for name, cell in row.items()} for row in cells], columns=header)
        records = read_table(path).records
    else:
        found = open_recorded(path)
        records = [record for record in found.records.values() if record.outcome is not None]
        table = pd.DataFrame(tabulate(records, sweep=table_label(found)), dtype=None if records else object)
    parameters = [name for name in names_in(record.params for record in records) if name != "seed"]
    table.attrs |= {"parameters": parameters, "metrics": names_in(record.metrics for record in records)}
    return table


def load_history(source: str | Path) -> pd.DataFrame:
    """Return the metrics of all runs over time, a row for each run and point.

    Columns are ``run_id``, ``run_name``, where the point is (``epoch``, ``step``, ``samples``; as far as it was told),
    and a metric each.

    Args:
        source: a sweep file, or a sweep's folder.

    Raises:
        SweeplineError: nothing was run there, or it cannot be read.
    """
    import pandas as pd

    found = open_recorded(Path(source))
    rows: list[dict[str, Any]] = []
    for record in found.records.values():
        own = {"run_id": record.run_id, "run_name": record.name}
        rows += [{**own, **point.place, **point.values} for point in read_points(found, record)]
    return pd.DataFrame(rows, columns=None if rows else ["run_id", "run_name"])


def compare(
    baseline: str | Path,
    *runs: str | Path,
    logdir: str | Path | None = None,
    metrics: Sequence[str] = (),
    objective: str | None = None,
    goals: Mapping[str, str] | None = None,
    tolerance: float = 0.005,
    hold: int = 1,
    by: Sequence[str] = (),
    spike: float = 100.0,
    merges: bool = True,
) -> Comparison:
    """Return how runs compare with a baseline; printed, it says in words whether each is better.

    When that is said, and when not, is told by :mod:`sweepline.analysis.verdicts`.

    Args:
        baseline: a run's folder, a TensorBoard log, a W&B file, or a sweep, of which ``SWEEP@lr=0.1`` chooses one
            configuration; ``A,B,C`` are seeds of one setting, ``A+B`` is one run in two parts.
        runs: named alike; a sweep stands for each of its configurations.
        logdir: where the names are looked for, the working directory by default.
        metrics: these alone, by their exact names.
        objective: the metric that decides.
        goals: ``min`` or ``max`` by metric, where a name does not tell or tells wrong.
        tolerance: how near to the baseline's best the target is, as a share of it.
        hold: how many points in a row have to reach the target.
        by: what is held equal of ``time``, ``step``, ``samples``, ``epoch``: all that is known by default.
        spike: a gradient norm above it is one.
        merges: whether ``NAME_2``, ``NAME_3`` ... are read as continuations of ``NAME``, where their steps go on.

    Raises:
        SweeplineError: a name names nothing that can be read, or there is nothing that could be compared.
    """
    options = CompareOptions(
        metrics=tuple(metrics),
        objective=objective,
        goals=dict(goals or {}),
        tolerance=tolerance,
        hold=hold,
        axes=tuple(by),
        spike=spike,
    )
    place = None if logdir is None else Path(logdir)
    return compare_runs(str(baseline), [str(run) for run in runs], logdir=place, merges=merges, options=options)


def log_metrics(values: Mapping[str, float] | None = None, /, **more: float) -> None:
    """Print a METRIC line, which a sweep reads: ``log_metrics(loss=0.5, epoch=3)``.

    ``epoch``, ``step`` and ``samples`` say where the point is. Names that are no Python names stand in ``values``.
    """
    given = {**(values or {}), **more}
    place = {name: int(given.pop(name)) for name in PLACES if name in given}
    print(format_metric_line(given, **place), flush=True)
