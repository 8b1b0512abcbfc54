"""What notebooks get: tables folded, smoothed, thinned, and pictures; faults are sentences."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd
import pytest

import sweepline
from sweepline.errors import ConfigError
from tests.conftest import Project

RUNS = pd.DataFrame(
    {
        "state": ["finished"] * 4 + ["failed"],
        "learner.step_size": [0.1, 0.1, 0.2, 0.2, 0.2],
        "batch_size": [10, 10, 10, 10, 10],
        "loss": [1.0, 3.0, 5.0, 7.0, None],
    }
)
NAMES = {"parameters": ["learner.step_size", "batch_size"], "metrics": ["loss"]}


def history(n: int) -> pd.DataFrame:
    values = [float(i % 2) for i in range(n)]
    return pd.DataFrame({"run_id": "a", "run_name": "a", "step": range(n), "loss": values})


def test_seeds_are_folded_into_means_with_intervals_and_failed_runs_left_out() -> None:
    found = sweepline.fold_seeds(RUNS, **NAMES)
    assert found["loss"].tolist() == [2.0, 6.0]
    assert found["n_runs"].tolist() == [2, 2]
    assert found["loss_high"][0] - 2.0 == pytest.approx(12.706 * math.sqrt(2) / math.sqrt(2), rel=1e-3)


def test_parameters_that_differ_are_named() -> None:
    assert sweepline.differing(RUNS, parameters=NAMES["parameters"]) == ["learner.step_size"]


def test_the_temperature_is_step_size_by_batch_size() -> None:
    assert sweepline.temperature(RUNS).tolist() == pytest.approx([0.01, 0.01, 0.02, 0.02, 0.02])


def test_a_smoothed_history_and_its_noise_add_up() -> None:
    raw = history(50)
    smoothed, rest = sweepline.smooth(raw, 0.2), sweepline.noise(raw, 0.2)
    assert (smoothed["loss"] + rest["loss"]).tolist() == pytest.approx(raw["loss"].tolist())
    assert smoothed["loss"].iloc[-10:].between(0.4, 0.6).all()
    assert sweepline.smooth(raw, 0.0)["loss"].tolist() == raw["loss"].tolist()


def test_a_value_that_is_not_finite_stays_and_spoils_nothing() -> None:
    raw = history(10)
    raw.loc[3, "loss"] = math.nan
    smoothed = sweepline.smooth(raw, 0.2)["loss"]
    assert (math.isnan(smoothed[3]), math.isfinite(smoothed[9])) == (True, True)


@pytest.mark.parametrize(("n_points", "steps"), [(2, [0, 9]), (4, [0, 3, 6, 9]), (100, list(range(10)))])
def test_a_history_is_thinned_evenly_with_both_ends(n_points: int, steps: list[int]) -> None:
    assert sweepline.subsample(history(10), n_points)["step"].tolist() == steps


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (lambda: sweepline.fold_seeds(RUNS), "this table does not know its parameters"),
        (
            lambda: sweepline.differing(RUNS, parameters=["batch_sise"]),
            "no column 'batch_sise'; did you mean 'batch_size'",
        ),
        (lambda: sweepline.temperature(RUNS[["loss"]]), "temperature needs a column such as step_size"),
    ],
)
def test_what_cannot_be_done_is_a_sentence(fault: object, sentence: str) -> None:
    assert callable(fault)
    with pytest.raises(ConfigError, match=sentence):
        fault()


def test_pictures_and_questions_of_a_sweep_that_ran(project: Project) -> None:
    project.write(
        "t.py",
        "import sys\nx = float(sys.argv[1].split('=')[1])\nfor e in (1, 2): print(f'METRIC epoch={e} loss={x / e}')\n",
    )
    project.write("sweep.yaml", "program: t.py\nname: s\nmetric: {name: loss}\nparameters: {x: [1, 2, 4]}\n")
    project.run()
    folder: Path = project.path / "outputs" / "s"
    assert set(sweepline.chart(folder, "slice-x").to_dict()["datasets"]) == {"runs", "shown", "means"}
    with pytest.raises(ConfigError, match="no picture is called 'slice-y'; did you mean 'slice-x'"):
        sweepline.chart(folder, "slice-y")
    middle = sweepline.golden_middle(folder, ["x"])
    assert middle is not None
    assert middle.middle.setting == (1.0,)
    pytest.importorskip("duckdb", reason="DuckDB is not installed")
    asked = project.command("sql", "select x, loss from runs where loss < 2 order by x", "--json")
    assert asked.stdout.split() == [
        "[",
        "{",
        '"x":',
        "1,",
        '"loss":',
        "0.5",
        "},",
        "{",
        '"x":',
        "2,",
        '"loss":',
        "1.0",
        "}",
        "]",
    ]
    assert project.command("sql", "select count(*) n from history").stdout.split() == ["n", "6"]
    for query, sentence in (("selec", "Parser Error"), ("select * from read_csv('t.py')", "Permission Error")):
        refused = project.command("sql", query)
        assert (refused.returncode, sentence in refused.stderr, "Traceback" in refused.stderr) == (2, True, False)
