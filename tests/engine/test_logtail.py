"""Both streams of a run: which of them told a metric last, and that a second reading says what the first one said."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sweepline.engine.logtail import build_tail
from sweepline.runs import Objective


def results_of(
    run_dir: Path, *, out: str, err: str, last: str = "", objective: Objective | None = None
) -> dict[str, float]:
    """Return what a run measured that wrote this, to ``last`` a second after the other."""
    for name, text in (("stdout.log", out), ("stderr.log", err)):
        (run_dir / name).write_text(text)
        os.utime(run_dir / name, ns=(10**9, 10**9 * (1 + (name == last))))
    live = build_tail(run_dir, patterns={}, objectives=[objective] if objective else [])
    live.read_new()
    first = live.finish().results
    assert build_tail(run_dir, patterns={}, objectives=[objective] if objective else []).finish().results == first
    return first


@pytest.mark.parametrize(
    ("out", "err", "last", "score"),
    [
        ("METRIC score=1\n", "METRIC score=2\n", "stdout.log", 1),
        ("METRIC score=1\n", "METRIC score=2\n", "stderr.log", 2),
        ("METRIC score=1\n", "METRIC score=2\n", "", 1),
        ("METRIC score=1\n", "METRIC score=2\nwandb: done\n", "stderr.log", 1),
        ("METRIC epoch=1 score=1\n", "METRIC epoch=2 score=2\n", "stdout.log", 2),
        ("METRIC epoch=2 score=1\n", "METRIC epoch=1 score=2\n", "stderr.log", 1),
        ("METRIC epoch=2 score=1\n", "METRIC step=9 score=2\n", "", 1),
        ("", "INFO:root:METRIC score=2\n", "", 2),
    ],
)
def test_the_value_that_was_certainly_told_last_wins_else_standard_output(
    tmp_path: Path, out: str, err: str, last: str, score: float
) -> None:
    assert results_of(tmp_path, out=out, err=err, last=last) == {"score": score}


def test_a_metric_that_one_stream_alone_tells_is_read_from_it(tmp_path: Path) -> None:
    assert results_of(tmp_path, out="METRIC a=1\n", err="METRIC b=2\n") == {"a": 1.0, "b": 2.0}


def test_the_best_value_of_both_streams_is_the_result(tmp_path: Path) -> None:
    best = Objective(name="acc", goal="maximize", summary="best")

    assert results_of(
        tmp_path, out="METRIC acc=3\nMETRIC acc=1\n", err="METRIC acc=5\nMETRIC acc=2\n", objective=best
    ) == {"acc": 5.0}


def test_a_name_of_a_summary_is_told_beside_the_metric(tmp_path: Path) -> None:
    objective = Objective(name="loss.min")

    assert results_of(tmp_path, out="METRIC loss=3\nMETRIC loss=1\nMETRIC loss=2\n", err="", objective=objective) == {
        "loss": 2.0,
        "loss.min": 1.0,
    }
    assert results_of(tmp_path, out="METRIC loss=1 loss.min=0.5\n", err="", objective=objective)["loss.min"] == 0.5


def test_the_objective_is_read_however_many_names_both_streams_tell(tmp_path: Path) -> None:
    out, err = ("".join(f"METRIC {prefix}{i}=1\n" for i in range(400)) for prefix in "oe")
    objective = Objective(name="loss")

    results = results_of(tmp_path, out=out, err=f"{err}METRIC loss=0.25\n", objective=objective)

    assert (len(results), results["loss"]) == (500, 0.25)
