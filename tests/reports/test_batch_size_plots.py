"""The plots of batch sizes: real files from real records, also from odd ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from sweepline.errors import ConfigError
from sweepline.reports.batch_size import draw_history, draw_probes, read_log, write_plots


def probe(size: int, status: str = "ok", **fields: Any) -> dict[str, Any]:
    return {"batch_size": size, "status": status, "peak_bytes": size * 500_000, "step_s": 0.001 * size, **fields}


RECORD = {
    "run_number": 1,
    "run_batch_size": 105,
    "tuner_max_batch_size": 192,
    "memory_limit_bytes": 105_000_000,
    "notes": "192 * 0.55 = 105.6 -> 105",
    "training_error": None,
    "probes": [
        probe(64),
        probe(128),
        probe(256, "oom", peak_bytes=None, step_s=None),
        probe(192),
        probe(192, is_confirmation=True),
    ],
}
FAILED = {"run_number": 2, "run_batch_size": 300, "training_error": "out of memory", "probes": []}


def write_log(folder: Path, *records: dict[str, Any]) -> Path:
    content = {"records": {str(record["run_number"]): record for record in records}}
    (folder / "batch_size_tuning.json").write_text(json.dumps(content))
    return folder


def test_the_plots_of_an_experiment_are_written(tmp_path: Path) -> None:
    written = write_plots(write_log(tmp_path, RECORD, FAILED))
    assert [path.name for path in written] == ["batch_size_run_001.png", "batch_size_history.png"]
    for path in written:
        with Image.open(path) as image:
            assert image.format == "PNG"
            assert len(image.convert("RGB").getcolors(1 << 20) or []) > 5


def test_the_plot_shows_every_size_the_limit_and_what_was_used() -> None:
    figure = draw_probes(RECORD)
    memory, time = figure.axes
    (points,) = [line for line in memory.lines if line.get_label() == "ran" and line.get_linestyle() == "None"]
    assert list(points.get_xdata()) == [64, 128, 192, 192]
    labels = [line.get_label() for line in memory.lines]
    assert {"limit", "chosen: 105", "did not run"} <= set(labels)
    assert time.get_ylabel() == "optimizer step, ms"


def test_the_history_tells_failed_runs_from_others() -> None:
    axes = draw_history({1: RECORD, 2: FAILED}).axes[0]
    by_label = {line.get_label(): list(line.get_ydata()) for line in axes.lines}
    assert (by_label["used"], by_label["used, and failed"], by_label["fits"]) == ([105], [300], [192])


@pytest.mark.parametrize("record", [{**RECORD, "probes": [probe(1, "oom", peak_bytes=None, step_s=None)]}, FAILED])
def test_odd_records_are_drawn(tmp_path: Path, record: dict[str, Any]) -> None:
    assert write_plots(write_log(tmp_path, record))


def test_a_log_that_is_not_there_or_none_is_said(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match="not there; a run with batch_size_config, or sweepline batch-size, writes it"
    ):
        read_log(tmp_path)
    (tmp_path / "batch_size_tuning.json").write_text("[]")
    with pytest.raises(ConfigError, match="is no tuning log"):
        read_log(tmp_path)
