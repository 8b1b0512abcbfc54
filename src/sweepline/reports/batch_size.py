"""Plots of what a tuner tried and of the batch sizes of all runs, from the tuning log of an experiment."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweepline.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TUNING_LOG, RECORDS = "batch_size_tuning.json", "tuning"  # of the training side, which nothing here imports
PLOTS = "plots"
_MIB = 2**20
_GOOD, _BAD, _LINE, _CHOSEN = "#2b7a5d", "#c0392b", "#7f8c8d", "#1f4e79"


def read_log(experiment_dir: Path) -> dict[int, dict[str, Any]]:
    """Return the records of an experiment's runs by number: from the log, or where it is damaged from its parts.

    Raises:
        ConfigError: there is none, or it is damaged and has no parts.
    """
    path = experiment_dir / TUNING_LOG
    try:
        records = json.loads(path.read_text(encoding="utf-8"))["records"]
        return {int(number): dict(record) for number, record in sorted(records.items(), key=lambda item: int(item[0]))}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        parts = _read_parts(experiment_dir / RECORDS)
        if parts:
            return parts
        if isinstance(error, FileNotFoundError):
            raise ConfigError(
                f"{path}: not there; a run with batch_size_config, or sweepline batch-size, writes it"
            ) from None
        raise ConfigError(f"{path}: is no tuning log ({error})") from None


def _read_parts(folder: Path) -> dict[int, dict[str, Any]]:
    """Return the records that have a file each, as far as they can be read."""
    records = {}
    for path in sorted(folder.glob("run_*.json")):
        with suppress(OSError, ValueError, TypeError):
            record = dict(json.loads(path.read_text(encoding="utf-8")))
            records[int(path.stem.removeprefix("run_"))] = record
    return dict(sorted(records.items()))


def write_plots(experiment_dir: Path, *, number: int | None = None) -> list[Path]:
    """Draw the probes of a run (the latest that has any) and the history of all as PNG; return the files.

    Raises:
        ConfigError: matplotlib is not installed, or there is no log.
    """
    records = read_log(experiment_dir)
    probed = [n for n, record in records.items() if record.get("probes")]
    number = number if number is not None else max(probed, default=None)
    folder = experiment_dir / PLOTS
    folder.mkdir(exist_ok=True)
    written = [folder / "batch_size_history.png"]
    _save(draw_history(records), written[0])
    if number in probed:
        written.insert(0, folder / f"batch_size_run_{number:03d}.png")
        _save(draw_probes(records[number]), written[0])
    return written


def draw_probes(record: Mapping[str, Any]) -> Figure:
    """Draw peak memory and step time against size: what ran, what did not, the limit, and the size that was used."""
    figure = _new_figure(2)
    memory, time = figure.axes
    probes = [probe for probe in record["probes"] if probe["batch_size"]]
    ran = sorted((p for p in probes if p["status"] == "ok"), key=lambda probe: probe["batch_size"])
    sizes = [probe["batch_size"] for probe in ran]
    _draw_values(memory, sizes, [(probe["peak_bytes"] or 0) / _MIB for probe in ran])
    _draw_values(time, sizes, [1000 * (probe["step_s"] or 0) for probe in ran])
    for failed in (p for p in probes if p["status"] != "ok"):
        for axes in (memory, time):
            axes.axvline(failed["batch_size"], color=_BAD, linestyle=":", linewidth=1)
    first_failed = min((p["batch_size"] for p in probes if p["status"] != "ok"), default=None)
    if first_failed is not None:
        memory.plot([], [], color=_BAD, linestyle=":", label="did not run")
    if record.get("memory_limit_bytes"):
        memory.axhline(record["memory_limit_bytes"] / _MIB, color=_LINE, linestyle="--", label="limit")
        top = max([record["memory_limit_bytes"] / _MIB, *((probe["peak_bytes"] or 0) / _MIB for probe in ran)])
        is_near = ran and top < 20 * max((probe["peak_bytes"] or 1) / _MIB for probe in ran)
        memory.set_ylim(0, 1.15 * top if is_near else None)
    for axes in (memory, time):
        if record.get("run_batch_size"):
            axes.axvline(record["run_batch_size"], color=_CHOSEN, label=f"chosen: {record['run_batch_size']}")
        axes.set_xscale("log", base=2)
        _mark_sizes(axes, [p["batch_size"] for p in probes])
        axes.set_xlabel("batch size")
    memory.set_ylabel("peak memory, MiB")
    time.set_ylabel("optimizer step, ms")
    time.set_ylim(bottom=0)
    figure.legend(*memory.get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    figure.suptitle(f"run {record['run_number']:03d}: {record.get('notes', '').split('; ')[0]}", fontsize=10)
    return figure


def draw_history(records: Mapping[int, Mapping[str, Any]]) -> Figure:
    """Draw the size that each run used, the largest that was found to fit, and which runs failed."""
    figure = _new_figure(1)
    from matplotlib.ticker import MaxNLocator

    axes = figure.axes[0]
    found = [(n, r["tuner_max_batch_size"]) for n, r in records.items() if r.get("tuner_max_batch_size")]
    used = [
        (n, r["run_batch_size"], not r.get("training_error")) for n, r in records.items() if r.get("run_batch_size")
    ]
    if found:
        axes.plot(*zip(*found, strict=True), "_", color=_LINE, markersize=14, label="fits")
    axes.plot([n for n, _, _ in used], [size for _, size, _ in used], "-", color=_CHOSEN, linewidth=1)
    for is_well, marker, color, label in ((True, "o", _CHOSEN, "used"), (False, "X", _BAD, "used, and failed")):
        points = [(n, size) for n, size, was_well in used if was_well == is_well]
        if points:
            axes.plot(*zip(*points, strict=True), marker, color=color, label=label)
    axes.set_xlabel("run")
    axes.set_ylabel("batch size")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylim(bottom=0)
    if used or found:
        axes.legend(frameon=False)
    return figure


def _draw_values(axes: Axes, sizes: Sequence[int], values: Sequence[float]) -> None:
    """Draw what was measured, and a line through the least of each size."""
    least: dict[int, float] = {}
    for size, value in zip(sizes, values, strict=True):
        least[size] = min(value, least.get(size, value))
    axes.plot(list(least), list(least.values()), color=_GOOD)
    axes.plot(sizes, values, "o", color=_GOOD, label="ran")


def _mark_sizes(axes: Axes, sizes: Sequence[int]) -> None:
    """Label the sizes that were tried, as far as they do not stand in each other's way."""
    shown: list[int] = []
    for size in sorted(set(sizes)):
        if not shown or size >= 1.6 * shown[-1]:
            shown.append(size)
    axes.set_xticks(shown, [str(size) for size in shown])
    axes.minorticks_off()


def _new_figure(n_axes: int) -> Figure:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ConfigError("plots need matplotlib: pip install 'sweepline[plots]'") from None
    figure = Figure(figsize=(4.6 * n_axes, 3.4), layout="constrained")
    for axes in figure.subplots(1, n_axes, squeeze=False)[0]:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    return figure


def _save(figure: Figure, path: Path) -> None:
    temporary = path.with_name(f".{path.name}")
    figure.savefig(temporary, format="png", dpi=150)
    temporary.replace(path)
