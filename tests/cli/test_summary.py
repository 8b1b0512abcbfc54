"""The end of a sweep in words, and the best configuration as a file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from sweepline.analysis.ranking import RankedConfig, rank_configs
from sweepline.cli.summary import build_summary
from sweepline.engine.bestfile import BestResult, write_best
from sweepline.recording.events import RunRecord
from sweepline.runs import Objective, State
from tests.fakes import recorded

ACCURACY = Objective(name="acc", goal="maximize")


def run(lr: Any, seed: int = 0, state: State = State.FINISHED, *, reason: str = "", **metrics: float) -> RunRecord:
    return recorded(
        f"{lr}-{seed}",
        name=f"lr{lr}-s{seed}",
        params={"opt": "sgd", "lr": lr},
        seed=seed,
        state=state,
        reason=reason,
        metrics=metrics,
    )


def summary(
    *records: RunRecord,
    objective: Objective | None = ACCURACY,
    logged: Sequence[str] = (),
    swept: Sequence[str] = ("lr",),
) -> list[str]:
    return build_summary(records, objective=objective, logged=logged, swept=swept)


def failed(n: int) -> list[RunRecord]:
    return [run(i, state=State.FAILED, reason=f"broke {i}") for i in range(n)]


# counts


def test_runs_are_counted_by_state_the_most_frequent_first() -> None:
    records = [run(1, state=State.TIMEOUT), run(2, acc=0.2), run(3, acc=0.3), run(4, state=State.INTERRUPTED)]
    assert summary(*records)[1] == "4 runs: 2 finished, 1 timeout, 1 interrupted"


def test_a_sweep_of_failures_has_no_ranking() -> None:
    assert summary(*failed(2)) == ["", "2 runs: 2 failed", "failed: lr0-s0: broke 0", "failed: lr1-s0: broke 1"]


# the ranking


def test_the_ranking_has_swept_parameters_and_the_objective_best_first() -> None:
    lines = summary(run(0.1, acc=0.25), run(0.01, acc=0.75), run(1e-05, acc=0.5))
    assert lines[2:] == [
        "",
        "#  lr     acc (maximize)  runs",
        "1  0.01   0.75            1",
        "2  1e-05  0.5             1",
        "3  0.1    0.25            1",
        "one seed each: no interval, the first may be the luckiest",
    ]


def test_seeds_are_one_line_with_mean_and_spread() -> None:
    lines = summary(run(0.1, 0, acc=0.1), run(0.1, 1, acc=0.3))
    assert lines[4] == "1  0.1  0.20 ± 0.14     2"


def test_means_are_rounded_to_their_spread_and_stand_on_their_point() -> None:
    seeds = [run(0.1, i, acc=v) for i, v in enumerate([0.97123, 0.97561])]
    wide = [run(10, i, acc=v) for i, v in enumerate([0.5, 0.75])]
    assert summary(*seeds, *wide)[4:6] == ["1   0.1  0.9734 ± 0.0031  2", "2  10    0.62   ± 0.18    2"]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_narrow_terminal_loses_metrics_that_are_no_objective_and_no_number(width: int) -> None:
    records = [
        recorded(
            f"{i}",
            name=f"lr{i}-cosine",
            params={"trainer.optimizer.step_size": 0.1**i / 3, "schedule": f"cosine_with_restarts_{'x' * i}"},
            metrics={"acc": 0.123456, "gradient_norm": 123.456, "train_loss": 1.5},
        )
        for i in range(1, 4)
    ]
    swept = ["trainer.optimizer.step_size", "schedule"]
    lines = build_summary(records, objective=ACCURACY, logged=(), swept=swept, width=width)
    assert max(map(len, lines)) <= width
    assert sum("0.123456" in line for line in lines) == 3
    assert ("train_loss" in "\n".join(lines)) == (width > 60)


def test_logged_metrics_follow_the_objective_and_then_the_others() -> None:
    lines = summary(run(0.1, other=3, loss=2, acc=1), logged=["loss"])
    assert lines[3].split() == ["#", "lr", "acc", "(maximize)", "loss", "other", "runs"]


def test_a_metric_that_a_configuration_lacks_is_a_dash() -> None:
    lines = summary(run(0.1, acc=1, loss=2), run(0.2, acc=0.5))
    assert lines[5].split() == ["2", "0.2", "0.5", "-", "1"]


def test_nan_is_shown_and_last() -> None:
    lines = summary(run(0.1, acc=math.nan), run(0.2, acc=0.5))
    assert [line.split()[2] for line in lines[4:6]] == ["0.5", "nan"]


def test_without_an_objective_no_goal_is_named() -> None:
    lines = summary(run(0.1, acc=1), run(0.2, acc=2), objective=None)
    assert lines[3:] == ["#  lr   acc  runs", "1  0.1  1    1", "2  0.2  2    1"]


def test_what_is_the_same_for_all_configurations_has_no_column() -> None:
    lines = summary(run(0.1, 0, acc=1), run(0.1, 1, acc=2))
    assert "lr" in lines[3]  # of one configuration all is shown
    other = summary(run(0.1, acc=1, momentum=1), run(0.2, acc=2, momentum=1), objective=None)
    assert "momentum" in other[3]  # a metric


@pytest.mark.parametrize(
    ("seeds", "sentence"),
    [
        ([0.1, 0.2], "the first 2 cannot be told apart (95 %, t-tests by seed, Holm)"),
        ([0.1, 0.10001, 0.09999], "the first is better than the next 1 (95 %, t-tests by seed, Holm)"),
    ],
)
def test_whether_the_best_can_be_told_from_the_next_is_said(seeds: list[float], sentence: str) -> None:
    best = [run(0.1, i, acc=0.5 + value) for i, value in enumerate(seeds)]
    other = [run(0.2, i, acc=0.45 + value * (-1) ** i if len(seeds) == 2 else value) for i, value in enumerate(seeds)]
    assert any(line.startswith(sentence) for line in summary(*best, *other))


def test_a_long_value_is_cut_with_a_mark() -> None:
    lines = summary(run("x" * 100, acc=1))
    assert lines[4].split()[1] == "x" * 23 + "…"


@pytest.mark.parametrize(("n", "last"), [(10, "10"), (11, "(1 more configurations in runs.csv)")])
def test_ten_configurations_are_shown_at_most(n: int, last: str) -> None:
    lines = summary(*[run(i, acc=-i) for i in range(n)])
    assert (len(lines), lines[-2].startswith(last)) == (5 + min(n, 11), True)


# failures


def test_finished_and_failed_runs_are_both_told() -> None:
    assert summary(run(0.1, acc=1), run(0.2, state=State.OUT_OF_MEMORY, reason="CUDA out of memory"))[1:] == [
        "2 runs: 1 finished, 1 out_of_memory",
        "",
        "#  lr   acc (maximize)  runs",
        "1  0.1  1               1",
        "out_of_memory: lr0.2-s0: CUDA out of memory",
    ]


def test_a_failure_names_the_folder_of_its_log(tmp_path: Path) -> None:
    lines = build_summary(failed(1), objective=None, logged=(), swept=(), runs_dir=tmp_path / "runs")
    assert lines[-1] == f"failed: lr0-s0: broke 0; log in {tmp_path / 'runs' / '0-0'}"


def test_five_failures_are_shown_at_most() -> None:
    lines = summary(*failed(8))
    assert lines[-2:] == ["failed: lr4-s0: broke 4", "(3 more failures in runs.csv)"]


def test_interrupted_runs_are_no_failures() -> None:
    assert summary(run(0.1, state=State.INTERRUPTED, reason="stopped")) == ["", "1 runs: 1 interrupted"]


# doubts


def test_a_parameter_without_effect_is_a_warning() -> None:
    lines = summary(run(0.1, acc=0.5), run(0.2, acc=0.5), run(0.3, acc=0.5))
    assert lines[-2:] == ["", "warning: lr had no effect: 3 values, identical acc in the only group"]


def test_where_no_run_has_the_objective_no_other_metric_stands_for_it() -> None:
    objective = Objective(name="loss", goal="minimize")
    runs = [run(0.1, schedule=0.5), run(0.2, schedule=0.5)]
    lines = build_summary(runs, objective=objective, logged=(), swept=("lr",))
    assert not [line for line in lines if "no effect" in line]


def test_the_effect_is_judged_by_the_objective() -> None:
    lines = summary(run(0.1, epochs=3, acc=0.5), run(0.2, epochs=3, acc=0.6), logged=["epochs"])
    assert not [line for line in lines if "no effect" in line]


def test_remarks_on_finished_runs_are_counted() -> None:
    remark = "no METRIC acc; 1 METRIC lines not understood (first: METRIC acc=high)"
    lines = summary(run(0.1, reason=remark), run(0.2, reason="no METRIC acc"), run(0.3, acc=1))
    assert lines[-2:] == [
        "warning: 2 finished runs: no METRIC acc",
        "warning: 1 finished runs: 1 METRIC lines not understood (first: METRIC acc=high)",
    ]


def test_reasons_of_failures_are_no_remarks() -> None:
    assert not [line for line in summary(*failed(2)) if "warning" in line]


# best.yaml


@pytest.fixture
def best() -> RankedConfig:
    """A configuration of two seeds."""
    return rank_configs([run(1e-05, 0, acc=0.5, loss=1), run(1e-05, 1, acc=1.0, loss=math.nan)], ACCURACY)[0]


def test_the_best_configuration_is_written_with_its_metrics_and_runs(tmp_path: Path, best: RankedConfig) -> None:
    write_best(tmp_path / "best.yaml", BestResult(objectives=[ACCURACY], best=best))
    document = yaml.safe_load((tmp_path / "best.yaml").read_text())
    assert repr(document) == repr(
        {
            "objective": {"name": "acc", "goal": "maximize"},
            "params": {"opt": "sgd", "lr": 1e-05},
            "metrics": {"acc": {"mean": 0.75, "std": best.spread["acc"]}, "loss": {"mean": math.nan, "std": 0.0}},
            "runs": [
                {"run_id": "1e-05-0", "name": "lr1e-05-s0", "seed": 0},
                {"run_id": "1e-05-1", "name": "lr1e-05-s1", "seed": 1},
            ],
        }
    )


@pytest.mark.parametrize(
    "value", [1e-05, True, None, "true", "1e-05", "ünï: 😀\n", [1, [2.5]], {"a": {"b": -0.0}}, 2**70], ids=ascii
)
def test_the_best_parameters_are_read_back_with_their_types(tmp_path: Path, value: Any) -> None:
    write_best(
        tmp_path / "best.yaml", BestResult(objectives=[ACCURACY], best=rank_configs([run(value, acc=1)], ACCURACY)[0])
    )
    params = yaml.safe_load((tmp_path / "best.yaml").read_text())["params"]
    assert repr(params["lr"]) == repr(value)


def test_a_tuple_is_written_as_a_list(tmp_path: Path) -> None:
    write_best(
        tmp_path / "best.yaml", BestResult(objectives=[ACCURACY], best=rank_configs([run((1, 2), acc=1)], ACCURACY)[0])
    )
    assert yaml.safe_load((tmp_path / "best.yaml").read_text())["params"]["lr"] == [1, 2]


def test_a_new_best_replaces_the_old_and_leaves_nothing_beside_it(tmp_path: Path, best: RankedConfig) -> None:
    (tmp_path / "best.yaml").write_text("old")
    write_best(tmp_path / "best.yaml", BestResult(objectives=[ACCURACY], best=best))
    assert [(path.name, "old" in path.read_text()) for path in tmp_path.iterdir()] == [("best.yaml", False)]
