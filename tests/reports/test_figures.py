"""The pictures of a report as files: which there are, what they hold, and how they are asked for."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from sweepline.analysis.importance import Importance
from sweepline.contract.metrics import MetricPoint
from sweepline.errors import ConfigError
from sweepline.recording.events import RunRecord
from sweepline.reports.channels import describe_bounds, sensible_bounds
from sweepline.reports.collect import ReportedSweep
from sweepline.reports.figures import Figure, build_figures, write_figures
from sweepline.reports.histories import EFFECTIVE, curve_lines
from sweepline.reports.pagedata import chart_data
from sweepline.runs import Objective
from tests.conftest import Project
from tests.fakes import recorded

LEVELS: dict[str, Sequence[Any]] = {
    "kind": ["sp", "mup"],
    "width": [64, 256],
    "lr": [0.5, 1.0, 2.0],
    "batch_size": [8, 16],
}


def loss_of(params: dict[str, Any]) -> float:
    best = params["width"] / 128 if params["kind"] == "sp" else 1.0
    return 0.1 + abs(math.log2(params["lr"] / best))


def sweep_of(records: Sequence[RunRecord], *, goal: str = "minimize", **fields: Any) -> ReportedSweep:
    return ReportedSweep(
        name="s", path=Path("s"), records=records, objective=Objective(name="loss", goal=goal), **fields
    )


def study(*, levels: dict[str, Sequence[Any]] = LEVELS, n_points: int = 3, worst: float = 0.0) -> ReportedSweep:
    records = []
    for values, seed in itertools.product(itertools.product(*levels.values()), (0, 1)):
        params = dict(zip(levels, values, strict=True))
        loss = loss_of(params) + seed / 100
        records.append(recorded(f"{len(records):012x}", params=params, metrics={"loss": loss}, seed=seed, attempt=1))
    if worst:
        records.append(recorded("f" * 12, params=records[0].params, metrics={"loss": worst}, seed=9, attempt=1))

    def read(record: RunRecord) -> list[MetricPoint]:
        return [MetricPoint({"loss": record.metrics["loss"] + 1 / i}, {"step": 10 * i}) for i in range(1, n_points + 1)]

    return sweep_of(records, swept=list(levels), read_history=read)


def figures(*sweeps: ReportedSweep) -> dict[str, Figure]:
    return {figure.name: figure for figure in build_figures(sweeps)}


def test_lines_tell_where_each_is_best_a_panel_for_each_kind() -> None:
    made = figures(study())["lines-lr-by-width"].draw()
    keys = {
        column["title"]: column["field"]
        for column in made["spec"]["layer"][0]["encoding"].values()
        if "title" in column
    }
    kind = made["facet"]["column"]["field"]
    best = {(row[kind], row[keys["width"]]): row[keys["lr"]] for row in made["datasets"]["means"] if row["best"]}
    assert best == {("sp", 64): 0.5, ("sp", 256): 2.0, ("mup", 64): 1.0, ("mup", 256): 1.0}
    assert {row["n"] for row in made["datasets"]["means"]} == {4}


def test_what_is_written_unasked_are_a_few_of_those_that_can_be() -> None:
    found = figures(study())
    usual = {name for name, figure in found.items() if figure.is_usual}
    assert {"lines-lr-by-width", "curves", "curves-effective-steps", "slice-temperature"} <= usual
    assert {"lines-width-by-lr", "curves-step-by-temperature", "heat-lr-temperature"} & usual == set()
    assert {"lines-width-by-lr", "curves-step-by-temperature"} <= found.keys()
    assert not any(name.startswith("lines-kind") for name in found)


def test_parameters_that_are_called_alike_in_a_file_have_a_picture_each() -> None:
    levels = {**LEVELS, "a/b": [1, 2], "a b": [3, 4]}
    assert {"slice-a-b", "slice-a-b-2"} <= figures(study(levels=levels)).keys()


@pytest.mark.parametrize(
    ("worst", "goal", "expected"),
    [(0.0, "minimize", {}), (1e4, "minimize", {"domainMax": 10.0}), (1e4, "maximize", {"domainMin": 100.0})],
)
def test_runs_that_hardly_trained_leave_room_for_the_others(
    worst: float, goal: str, expected: dict[str, float]
) -> None:
    sweep = study(worst=worst)
    bounds = sensible_bounds(chart_data([sweep_of(sweep.records, goal=goal)]))
    assert bounds == pytest.approx(expected)
    assert ("best result" in describe_bounds(bounds)) == bool(expected)


def test_effective_steps_are_step_sizes_times_steps() -> None:
    sweep = study()
    of_lr = {lr: [(sweep, record) for record in sweep.records if record.params["lr"] == lr] for lr in (0.5, 2.0)}
    lines = curve_lines(of_lr, "loss", place=EFFECTIVE)
    assert {(row["g"], row["x"]) for row in lines} == {(lr, lr * step) for lr in of_lr for step in (10, 20, 30)}


def test_courses_at_other_places_are_averaged_between_their_points() -> None:
    places = {"0": [0, 10, 20], "1": [0, 20, 40]}
    records = [recorded(name * 12, params={"lr": 1}, metrics={"loss": 1.0}, attempt=1) for name in places]

    def read(record: RunRecord) -> list[MetricPoint]:
        return [MetricPoint({"loss": float(x)}, {"step": x}) for x in places[record.run_id[0]]]

    sweep = sweep_of(records, read_history=read)
    lines = curve_lines({"all": [(sweep, record) for record in records]}, "loss")
    assert [(row["x"], row["y"], row["low"], row["high"]) for row in lines] == [
        (float(x),) * 4 for x in (0, 10, 20, 40)
    ]


def test_a_group_without_a_step_size_or_a_course_has_no_line() -> None:
    levels = {"kind": ["mup"], "width": [64, 256], "rate": [1], "lr": [1.0]}
    sweep = study(levels=levels, n_points=1)
    members = [(sweep, record) for record in sweep.records]
    assert curve_lines({"all": members}, "loss", place=EFFECTIVE) == []
    assert curve_lines({"all": members}, "other") == []
    assert "curves" not in figures(sweep)


@pytest.mark.parametrize(
    ("names", "files"),
    [
        (["lines-*-by-kind", "edf"], ["edf", *(f"lines-{x}-by-kind" for x in ("batch_size", "lr", "width"))]),
        (["best", "be*"], ["best"]),
        (["curves-effective-steps-by-width"], ["curves-effective-steps-by-width"]),
    ],
)
def test_pictures_are_asked_for_by_name_or_pattern(tmp_path: Path, names: list[str], files: list[str]) -> None:
    written = [path.name for path in write_figures([study()], tmp_path, kinds=["svg"], names=names)]
    assert sorted(written) == [f"{name}.svg" for name in files]
    assert all((tmp_path / name).read_text().startswith("<svg") for name in written)


@pytest.mark.parametrize(
    ("name", "hint"), [("lines-lr-by-widht", "did you mean 'lines-lr-by-width'"), ("x*", "lists them")]
)
def test_a_picture_that_there_is_not_is_a_sentence(tmp_path: Path, name: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=f"no such picture.*{hint}"):
        list(write_figures([study()], tmp_path, kinds=["svg"], names=[name]))


def test_the_command_lists_pictures_and_writes_them_beside_the_report(project: Project) -> None:
    project.write("runs.csv", "lr,width,loss\n" + "".join(f"{lr},{w},{lr * w}\n" for lr in (1, 2, 4) for w in (8, 16)))
    listed = project.command("report", "runs.csv", "--metric", "loss", "--plots").stdout.split()
    assert {"lines-lr-by-width", "slice-lr"} <= set(listed)
    assert not (project.path / "report.html").exists()
    made = project.command("report", "runs.csv", "--metric", "loss", "--plots", "lines-lr-*", "--format", "svg")
    assert made.stdout.split() == ["report.html", "figures/lines-lr-by-width.svg"]


def test_effective_steps_are_on_a_logarithmic_axis_and_what_lies_beyond_an_axis_is_cut() -> None:
    found = figures(study(worst=1e9))
    curves = found["curves-effective-steps"].draw()
    assert curves["layer"][2]["encoding"]["x"]["scale"] == {"type": "log"}
    for name in ("curves", "slice-lr", "lines-lr-by-width"):
        made = found[name].draw()
        layers = made.get("spec", made)["layer"]
        ends = {layer["encoding"]["y"]["scale"].get("domainMax") for layer in layers}
        assert [round(end, 6) for end in ends] == [10.0], name
        assert all(layer["mark"].get("clip") for layer in layers if layer["mark"]["type"] in ("line", "rule")), name


def course_of(*points: tuple[dict[str, int], float], run: str = "0") -> tuple[ReportedSweep, RunRecord]:
    record = recorded(run * 12, params={"lr": 0.5}, metrics={"loss": 1.0}, attempt=1)
    return sweep_of([record], read_history=lambda _: [MetricPoint({"loss": y}, place) for place, y in points]), record


def test_several_points_at_one_place_are_their_mean() -> None:
    member = course_of(*(({"epoch": epoch}, loss) for epoch, loss in [(1, 4.0), (1, 2.0), (1, 3.0), (2, 1.0)]))
    assert [(row["x"], row["y"]) for row in curve_lines({"all": [member]}, "loss")] == [(1.0, 3.0), (2.0, 1.0)]


def test_runs_are_told_by_a_place_that_all_of_them_have() -> None:
    members = [
        course_of(({"epoch": 1, "step": 100}, 2.0), ({"epoch": 2, "step": 200}, 1.0)),
        course_of(({"step": 100}, 4.0), ({"step": 200}, 3.0), run="1"),
    ]
    lines = curve_lines({"all": members}, "loss")
    assert [(row["place"], row["x"], row["y"]) for row in lines] == [("step", 100.0, 3.0), ("step", 200.0, 2.0)]


def test_effective_steps_need_steps() -> None:
    member = course_of(({"epoch": 1}, 2.0), ({"epoch": 2}, 1.0))
    assert curve_lines({"all": [member]}, "loss", place=EFFECTIVE) == []


def test_what_has_no_place_on_a_logarithmic_axis_is_not_drawn() -> None:
    sweep = study(worst=1e9)
    read = sweep.read_history
    zero = MetricPoint({"loss": 0.0}, {"step": 0})
    found = figures(sweep_of(sweep.records, swept=sweep.swept, read_history=lambda record: [zero, *read(record)]))
    lines = found["curves-effective-steps"].draw()["datasets"]["lines"]
    assert lines
    assert all(row["x"] > 0 and row["low"] > 0 for row in lines)


def test_no_picture_hides_another_of_its_name() -> None:
    levels = {"kind": ["sp", "mup"], "width": [64], "lr": [0.5], "a": [1, 2], "b-c": [1, 2], "a-b": [1, 2], "c": [1, 2]}
    names = [figure.name for figure in build_figures([study(levels=levels)])]
    assert len(names) == len(set(names))
    assert {"heat-a-b-c", "heat-a-b-c-2"} <= set(names)


def test_results_do_not_name_a_heat_map_and_both_ways_round_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for order in (list(LEVELS), list(reversed(LEVELS))):
        importance = Importance(shares=dict.fromkeys(order, 0.25), n_runs=48, n_best=5)
        monkeypatch.setattr(ReportedSweep, "importance", importance)
        found.append(figures(study()))
    assert found[0].keys() == found[1].keys()
    assert "heat-width-lr" in [name for name, figure in found[1].items() if not figure.is_turned]
    turned = found[1]["heat-lr-width"]
    assert (turned.is_turned, turned.is_usual) == (True, False)
    x, y = (turned.draw()["layer"][0]["encoding"][axis]["field"] for axis in "xy")
    plain = found[1]["heat-width-lr"].draw()["layer"][0]["encoding"]
    assert (plain["x"]["field"], plain["y"]["field"]) == (y, x)


def test_a_pattern_means_a_heat_map_one_way_round(tmp_path: Path) -> None:
    def written(*names: str) -> list[str]:
        return sorted(path.stem for path in write_figures([study()], tmp_path, kinds=["svg"], names=names))

    assert written("heat-lr-width") == ["heat-lr-width"]
    assert written("heat-*-width") == [
        "heat-batch_size-width",
        "heat-kind-width",
        "heat-lr-width",
        "heat-temperature-width",
    ]
    pairs = [name for name in figures(study()) if name.startswith("heat-")]
    assert len(written("heat-*")) == len(pairs) // 2
