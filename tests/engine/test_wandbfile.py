"""What a run logged to W&B, read from the client's own files: where they are, and which value counts."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from sweepline.engine import wandbfile
from sweepline.engine.metricreader import MetricReader
from sweepline.engine.outcome import OutcomeReader
from sweepline.engine.wandbfile import find_wandb_files, read_wandb_metrics, wandb_folders
from sweepline.executors.base import Exit
from sweepline.runs import Objective

RUN_ID = "abc-0123-1"
SCORE = Objective(name="score", goal="maximize")


def write_run(
    folder: Path, *records: tuple[str, dict[str, Any]], stamp: str = "20260101_000000", run_id: str = RUN_ID
) -> Path:
    """Write a ``.wandb`` file that holds these history rows and summaries; return it."""
    pb = pytest.importorskip("wandb.proto.wandb_internal_pb2")
    data = bytes(7)
    for kind, values in records:
        record = pb.Record()
        items = record.history.item if kind == "history" else record.summary.update
        for name, value in values.items():
            items.add(key=name, value_json=json.dumps(value))
        payload = record.SerializeToString()
        data += struct.pack("<IHB", 0, len(payload), 1) + payload
    path = folder / "wandb" / f"offline-run-{stamp}-{run_id}" / f"run-{run_id}.wandb"
    path.parent.mkdir(parents=True)
    path.write_bytes(data)
    return path


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path]:
    """A working directory and the folder of a run of a sweep in it."""
    run_dir = tmp_path / "work" / "outputs" / "sweep" / "runs" / "0123"
    run_dir.mkdir(parents=True)
    (run_dir / "env.json").write_text(json.dumps({"set": {"WANDB_RUN_ID": RUN_ID}}))
    return tmp_path / "work", run_dir


def test_a_run_is_found_wherever_its_script_has_put_it(places: tuple[Path, Path]) -> None:
    work, run_dir = places
    elsewhere = work.parent / "elsewhere with spaces"
    (run_dir / "stderr.log").write_text(f"wandb: wandb sync {elsewhere}/wandb/offline-run-20260101_000005-own\n")
    wanted = [
        write_run(run_dir, stamp="20260101_000001"),
        write_run(work, stamp="20260101_000002"),
        write_run(work / "logs" / "a", stamp="20260101_000003"),
        write_run(run_dir / "mine", stamp="20260101_000004", run_id="own"),
        write_run(elsewhere, stamp="20260101_000005", run_id="own"),
    ]
    write_run(work, stamp="20260101_000006", run_id="of-another-run")
    write_run(run_dir.parent / "4567", stamp="20260101_000007")

    assert find_wandb_files(run_dir, work) == [path.resolve() for path in wanted]


@pytest.mark.parametrize(
    ("records", "results"),
    [
        ([("history", {"score": 1}), ("history", {"score": 2})], {"score": 2.0}),
        ([("history", {"score": 2}), ("summary", {"score": 9, "_runtime": 3})], {"score": 9.0}),
        ([("summary", {"score": 9}), ("history", {"score": 2})], {"score": 2.0}),
        ([("history", {"loss": 2}), ("summary", {"loss": {"min": 1}})], {"loss": 2.0, "loss.min": 1.0}),
        ([("history", {"ok": True, "text": "x", "image": {"_type": "image-file", "width": 3}})], {}),
        ([("history", {"score": "NaN"}), ("summary", {"other": "Infinity"})], {"score": "nan", "other": "inf"}),
    ],
)
def test_the_value_that_counts_in_wandb_is_the_result(
    tmp_path: Path, records: list[tuple[str, dict[str, Any]]], results: dict[str, Any]
) -> None:
    measured = read_wandb_metrics([write_run(tmp_path, *records)], MetricReader())

    assert repr(measured.results) == repr({name: float(value) for name, value in results.items()})


def test_later_files_of_a_run_go_on_from_the_earlier_ones(tmp_path: Path) -> None:
    paths = [
        write_run(tmp_path, ("history", {"score": 1, "first": 1}), stamp="20260101_000001"),
        write_run(tmp_path, ("history", {"score": 2}), stamp="20260101_000002"),
    ]

    assert read_wandb_metrics(paths, MetricReader()).results == {"score": 2.0, "first": 1.0}


def test_an_objective_that_was_logged_and_not_printed_is_read_and_that_is_said(places: tuple[Path, Path]) -> None:
    work, run_dir = places
    (run_dir / "stdout.log").write_text("METRIC aux=1\n")
    write_run(work, ("history", {"score": 0.5, "aux": 7}))

    outcome = OutcomeReader(objectives=[SCORE], working_dir=work).read(run_dir, Exit(exit_code=0))

    assert (outcome.metrics, outcome.reason) == ({"aux": 1.0, "score": 0.5}, "score is read from what it logged to W&B")


def test_an_objective_that_was_printed_is_not_looked_for_elsewhere(places: tuple[Path, Path]) -> None:
    work, run_dir = places
    (run_dir / "stdout.log").write_text("METRIC score=1\n")
    write_run(work, ("history", {"score": 0.5, "aux": 7}))

    outcome = OutcomeReader(objectives=[SCORE], working_dir=work).read(run_dir, Exit(exit_code=0))

    assert (outcome.metrics, outcome.reason) == ({"score": 1.0}, "")


@pytest.mark.parametrize(("n_files", "is_whole"), [(0, True), (30, False)])
def test_a_search_counts_every_entry_of_a_tree_and_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n_files: int, is_whole: bool
) -> None:
    monkeypatch.setattr(wandbfile, "_MAX_ENTRIES", 200)
    for number in range(20):
        (tmp_path / f"{number}" / "in" / "wandb").mkdir(parents=True)
        for n in range(n_files):
            (tmp_path / f"{number}" / f"{n}.png").touch()

    found = list(wandb_folders(tmp_path, without=tmp_path / "none"))

    assert (len(found) == 20) is is_whole


def test_a_folder_of_very_many_files_hides_no_folder_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wandbfile, "_MAX_ENTRIES", 40)
    wanted = [tmp_path / "wandb", tmp_path / "a" / "in" / "wandb", tmp_path / "z" / "in" / "wandb"]
    for folder in [*wanted, tmp_path / "m"]:
        folder.mkdir(parents=True)
    for number in range(100):
        (tmp_path / "m" / f"{number}.png").touch()

    assert sorted(wandb_folders(tmp_path, without=tmp_path / "none")) == sorted(wanted)
