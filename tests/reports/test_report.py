"""The report without a browser: what it is made of, when it is written, and what it never does."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest

from sweepline.errors import ConfigError, RecordError
from sweepline.reports.collect import ReportedSweep, collect, read_table
from sweepline.reports.histories import thin
from sweepline.reports.numbers import format_with_spread
from sweepline.reports.page import write_page
from sweepline.reports.pagedata import chart_data
from sweepline.reports.summaries import means_by_group, means_by_pair
from sweepline.reports.words import describe_sweep
from sweepline.runs import Objective, State
from tests.conftest import Project, wait_until
from tests.fakes import recorded

LOSS = Objective(name="loss")
REST = "metric: {name: loss}\nparameters: {x: [1]}\n"
PROGRAM = """
import sys
given = dict(word.lstrip("-").split("=") for word in sys.argv[1:])
x, seed = float(given["x"]), int(given["seed"])
if x > 8:
    raise ValueError(f"x is {x}")
for epoch in (1, 2, 3):
    print(f"METRIC epoch={epoch} loss={(x - 3) ** 2 + 1 / epoch + seed / 100}")
"""
SWEEP = """
program: t.py
name: study
metric: {name: loss}
parameters: {x: [1, 2, 3, 4, 9], idle: [a, b]}
constraints: [{exclude: "idle == 'b' and x != 3"}]
seeds: [0, 1, 2]
max_concurrent: 2
"""


def sweep_of(*records: Any, **fields: Any) -> ReportedSweep:
    return ReportedSweep(name="s", path=Path("s"), records=records, objective=LOSS, **fields)


def texts(sweep: ReportedSweep, kind: str) -> list[str]:
    return [sentence.text for sentence in describe_sweep(sweep) if sentence.kind == kind]


def data_of(page: Path) -> dict[str, Any]:
    """Return what a page holds."""
    match = re.search(r'<script type="application/json" id="data">(.*?)</script>', page.read_text(), re.DOTALL)
    assert match is not None
    found: dict[str, Any] = json.loads(match[1])
    return found


def test_a_sweep_ends_with_its_report_and_names_it(project: Project) -> None:
    project.write("t.py", PROGRAM)
    project.write("sweep.yaml", SWEEP)
    ended = project.run()
    page = project.path / "outputs" / "study" / "report.html"
    assert "report  outputs/study/report.html" in ended.stdout
    data = data_of(page)
    said = {
        kind: [s["text"] for s in data["sweeps"][0]["sentences"] if s["kind"] == kind] for kind in ("best", "effect")
    }
    assert said["best"][0].startswith("best loss 0.343 ± 0.025 (95 %, 3 seeds): x=3")
    assert "idle had no effect: 2 values, identical loss in all 3 groups" in said["effect"]
    failures = [s["text"] for s in data["sweeps"][0]["sentences"] if s["kind"] == "failure"]
    assert failures == ["3 failed: ValueError: x is 9.0; all with x=9, idle=a"]
    assert "--x=3" in next(d["command"] for d in data["details"].values() if "--x=3" in d["command"])
    assert any("ValueError: x is 9.0" in detail.get("tail", "") for detail in data["details"].values())
    assert len(data["curves"]["metrics"]["loss"]) == 15
    again = project.command("report", "outputs/study/runs.csv", "-o", "table.html")
    assert (again.returncode, again.stdout.strip()) == (0, "table.html")
    assert data_of(project.path / "table.html")["runs"]["id"] == data["runs"]["id"]
    drawn = project.command("report", "--figures", "figures", "--plots", "heat-x-idle", "slice-x", "--format", "svg")
    assert drawn.stdout.split()[1:] == ["figures/heat-x-idle.svg", "figures/slice-x.svg"]
    assert (project.path / "figures" / "slice-x.svg").read_text().startswith("<svg")
    refused = project.command("report", "--figures", "figures", "--plots", "slice-y")
    assert (refused.returncode, "--plots slice-y: no such picture; did you mean 'slice-x'?" in refused.stderr) == (
        2,
        True,
    )


@pytest.mark.parametrize("when", ["never", "live"])
def test_when_a_report_is_written_is_the_sweep_files_to_say(project: Project, when: str) -> None:
    project.write("t.py", "import time\nprint('METRIC loss=1', flush=True)\ntime.sleep(3)\n")
    project.write(
        "sweep.yaml", f"program: t.py\nname: s\nreport: {when}\nmetric: {{name: loss}}\nparameters: {{x: [1]}}\n"
    )
    sweep, page = project.start("run", "--plain"), project.path / "outputs" / "s" / "report.html"
    if when == "live":
        wait_until(page.exists, "a page is there while the run is under way")
        data = data_of(page)
        assert (data["isLive"], data["runs"]["state"]) == (True, ["running"])
    out, _ = sweep.communicate()
    assert ("report  " in out, page.exists()) == ((True, True) if when == "live" else (False, False))


def test_a_report_that_cannot_be_written_is_a_warning_and_no_failure(project: Project) -> None:
    project.write("t.py", "print('METRIC loss=1')\n")
    project.write("sweep.yaml", "program: t.py\nname: s\nmetric: {name: loss}\nparameters: {x: [1]}\n")
    (project.path / "outputs" / "s" / "report.html").mkdir(parents=True)
    ended = project.run()
    assert ended.returncode == 0
    assert "warning: no report: " in ended.stdout
    assert "Traceback" not in ended.stdout + ended.stderr


HOSTILE = [
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "a\nb\0c",
    "\u202eright to left",
    "x" * 300,
    "__proto__",
]


def test_hostile_names_are_data_and_never_markup(tmp_path: Path) -> None:
    runs = [
        recorded(f"{i}", name=name, params={name: name, "x": i}, metrics={"loss": 1.0 * i}, state=State.FINISHED)
        for i, name in enumerate(HOSTILE)
    ]
    failed = recorded("f", name="f", params={"x": 9}, state=State.FAILED, reason=HOSTILE[0])
    write_page([sweep_of(*runs, failed)], tmp_path / "p.html")
    page = (tmp_path / "p.html").read_text()
    assert page.count("<script") == 3
    assert HOSTILE[1] not in page
    assert "default-src 'none'" in page
    assert "http-equiv" in page
    assert data_of(tmp_path / "p.html")["runs"]["run"][1] == HOSTILE[1]


@pytest.mark.parametrize(
    "records", [[], [recorded("a", state=State.RUNNING, params={"x": 1})], [recorded("a", state=State.FAILED)]]
)
def test_a_sweep_without_a_result_has_a_page_too(tmp_path: Path, records: list[Any]) -> None:
    write_page([sweep_of(*records)], tmp_path / "p.html")
    assert len(data_of(tmp_path / "p.html")["runs"].get("id", [])) == len(records)


def test_without_an_objective_it_says_how_to_name_one() -> None:
    sweep = ReportedSweep(name="s", path=Path("s"), records=[recorded("a", metrics={"m": 1.0})], objective=None)
    assert texts(sweep, "doubt") == [
        "no objective: name one (metric in the sweep file, or --metric), and runs can be ranked"
    ]


def test_values_that_are_not_finite_have_no_place_on_an_axis_and_are_told() -> None:
    runs = [recorded(str(i), params={"x": i}, metrics={"loss": v}) for i, v in enumerate([1.0, math.nan, math.inf])]
    sweep = sweep_of(*runs)
    data = chart_data([sweep])
    assert [row["m0"] for row in data.rows] == [1.0, None, None]
    assert "2 finished runs ended with a metric that is not finite (diverged)" in texts(sweep, "failure")


def test_what_diverged_runs_share_is_told() -> None:
    losses = {(1, "a"): 0.5, (1, "b"): 0.7, (9, "a"): math.nan, (9, "b"): math.inf}
    runs = [recorded(f"{x}{y}", params={"x": x, "y": y}, metrics={"loss": v}) for (x, y), v in losses.items()]
    found = texts(sweep_of(*runs), "failure")
    assert found == ["2 finished runs ended with a metric that is not finite (diverged); all with x=9"]


def test_a_pair_whose_runs_have_no_result_is_told_from_one_that_was_not_tried() -> None:
    losses = {(1, 1): 0.5, (1, 2): math.nan, (2, 1): 0.7}
    runs = [recorded(f"{x}{y}", params={"x": x, "y": y}, metrics={"loss": v}) for (x, y), v in losses.items()]
    data = chart_data([sweep_of(*runs, recorded("f", params={"x": 3, "y": 3}, state=State.FAILED))])
    cells = means_by_pair(data.rows, data.parameters["x"], data.parameters["y"], data.metrics["loss"])
    told = {(cell["p0"], cell["p1"]): (cell["mean"], cell["n"]) for cell in cells}
    assert told == {(1, 1): (0.5, 1), (1, 2): (None, 0), (2, 1): (0.7, 1), (3, 3): (None, 0)}


def test_the_mean_of_the_seeds_that_did_not_diverge_is_shown_nowhere() -> None:
    losses = {(1, 0): 0.5, (1, 1): math.nan, (2, 0): 0.7, (2, 1): 0.9}
    runs = [
        recorded(f"{x}{s}", params={"x": x, "y": 1 if x == 1 else 2}, seed=s, metrics={"loss": v})
        for (x, s), v in losses.items()
    ]
    runs += [
        recorded(f"3{s}", params={"x": 3, "y": 2}, seed=s, metrics={"loss": 0.1}, state=state)
        for s, state in enumerate((State.FINISHED, State.OUT_OF_MEMORY))
    ]
    data = chart_data([sweep_of(*runs)])
    x, y, loss = data.parameters["x"], data.parameters["y"], data.metrics["loss"]
    cells = {(cell["p0"], cell["p1"]): (cell["mean"], cell["n"]) for cell in means_by_pair(data.rows, x, y, loss)}
    assert cells == {(1, 1): (None, 0), (2, 2): (pytest.approx(0.8), 2), (3, 2): (None, 0)}
    assert [mean["p0"] for mean in means_by_group(data.rows, x, [y], loss, "minimize")] == [2]


def test_batch_size_and_step_size_make_a_temperature() -> None:
    runs = [recorded(str(i), params={"o.lr": 0.1 * i, "batch_size": 10 * i}, metrics={"loss": 1.0}) for i in (1, 2)]
    assert [row["t"] for row in chart_data([sweep_of(*runs)]).rows] == [0.01, 0.01]


@pytest.mark.parametrize(
    ("text", "metrics", "objective"),
    [
        ("lr,loss\n0.1,1.5\n0.2,0.5\n", ["loss"], ("loss", "minimize")),
        ("lr,val_acc\n0.1,0.9\n", ["val_acc"], ("val_acc", "maximize")),
        ("a,b\n1,2\n3,4\n", ["b"], ("b", "minimize")),
        ("a,b,c\nx,y,z\n", [], None),
    ],
)
def test_a_table_of_anybodys_is_read_as_runs(
    tmp_path: Path, text: str, metrics: list[str], objective: tuple[str, str] | None
) -> None:
    (tmp_path / "table.csv").write_text(text)
    sweep = read_table(tmp_path / "table.csv")
    assert list(sweep.records[0].metrics) == metrics
    assert (sweep.objective and (sweep.objective.name, sweep.objective.goal)) == objective


def test_what_is_no_table_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "torn.csv").write_text("a,b\n1")
    with pytest.raises(RecordError, match=r"torn\.csv: cannot be read: the last row is torn"):
        collect([tmp_path / "torn.csv"])
    (tmp_path / "t.csv").write_text("lr,loss\n0.1,1.5\n")
    with pytest.raises(ConfigError, match="no run has the metric los; did you mean 'loss'"):
        collect([tmp_path / "t.csv"], objective="los")


@pytest.mark.parametrize(
    ("value", "spread", "text"),
    [
        (0.123456, 0.01, "0.123"),
        (0.123456, 0.0004, "0.12346"),
        (1234.567, 20, "1235"),
        (1234567.0, 30000, "1235000"),
        (0.1, 0.0, "0.1"),
        (2.0, math.nan, "2"),
        (math.inf, 1, "inf"),
    ],
)
def test_a_number_has_the_digits_that_its_spread_deserves(value: float, spread: float, text: str) -> None:
    assert format_with_spread(value, spread) == text


def test_a_thinned_curve_keeps_its_ends_and_every_extreme() -> None:
    values = [math.sin(i / 50) for i in range(5000)]
    values[1234], values[4321] = 9.0, -9.0
    kept = thin(values, 200)
    assert len(kept) <= 200
    assert {0, 1234, 4321, 4999} <= set(kept)
    assert thin([1.0, 2.0], 10) == [0, 1]
