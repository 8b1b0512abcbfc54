"""What MLflow keeps on disk: databases and folders as MLflow 3.17 makes them, as far as they are read."""

from __future__ import annotations

import math
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from sweepline.contract.metrics import MetricPoint
from sweepline.engine.mlflowstore import is_mlflow_store, read_mlflow
from sweepline.errors import RecordError

TABLE = "create table metrics (key text, value float, timestamp bigint, run_uuid text, step bigint, is_nan boolean)"


def make_database(path: Path, *rows: tuple[str, float, int, int, bool]) -> Path:
    """Write a database of one run; a row is name, value, time, step, and whether it is not a number."""
    with closing(sqlite3.connect(path)) as database:
        database.execute(TABLE)
        told = [(name, value, time, "a1", step, is_nan) for name, value, time, step, is_nan in rows]
        database.executemany("insert into metrics values (?, ?, ?, ?, ?, ?)", told)
        database.commit()
    return path


def make_folder(path: Path, **metrics: str) -> Path:
    path.mkdir()
    (path / "meta.yaml").write_text("status: 3\n")
    for name, text in {"": "", **metrics}.items():
        file = path / "metrics" / name.replace("__", "/")
        file.parent.mkdir(parents=True, exist_ok=True)
        if name:
            file.write_text(text)
    return path


def test_points_of_a_database_come_in_the_order_in_which_they_were_logged(tmp_path: Path) -> None:
    path = make_database(
        tmp_path / "mlflow.db",
        ("loss", 0.2, 20, 1, False),
        ("loss", 0.5, 10, 0, False),
        ("acc", 0.9, 21, 1, False),
        ("loss", 0.1, 30, 1, False),
    )
    assert is_mlflow_store(path)
    assert read_mlflow(path) == [
        MetricPoint({"loss": 0.5}, {"step": 0}),
        MetricPoint({"loss": 0.2, "acc": 0.9}, {"step": 1}),
        MetricPoint({"loss": 0.1}, {"step": 1}),
    ]


def test_what_a_database_cannot_hold_is_read_as_it_was_logged(tmp_path: Path) -> None:
    largest = 1.7976931348623157e308
    path = make_database(
        tmp_path / "mlflow.db", ("a", 0.0, 1, 0, True), ("b", largest, 1, 0, False), ("c", -largest, 1, 0, False)
    )
    (point,) = read_mlflow(path)
    assert math.isnan(point.values["a"])
    assert (point.values["b"], point.values["c"]) == (math.inf, -math.inf)


def test_points_of_a_folder_have_the_names_of_its_files(tmp_path: Path) -> None:
    path = make_folder(tmp_path / "run", val__loss="10 0.5 0\n20 0.25 1\n", acc="21 0.9 1\n30 0.")
    assert is_mlflow_store(path)
    assert read_mlflow(path) == [
        MetricPoint({"val/loss": 0.5}, {"step": 0}),
        MetricPoint({"val/loss": 0.25, "acc": 0.9}, {"step": 1}),
        MetricPoint({"acc": 0.0}, {"step": 0}),
    ]


def test_other_databases_and_folders_are_none_of_mlflow(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "other.db")) as database:
        database.execute("create table metrics (id integer, metrics text)")
    (tmp_path / "text.db").write_text("no database, and long enough to be looked at as one")
    (tmp_path / "metrics").mkdir()
    assert not any(map(is_mlflow_store, [tmp_path / "other.db", tmp_path / "text.db", tmp_path, tmp_path / "none.db"]))


def test_a_database_that_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("no database, and long enough to be looked at as one")
    with pytest.raises(RecordError, match="file is not a database"):
        read_mlflow(tmp_path / "mlflow.db")
