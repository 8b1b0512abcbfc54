"""Pictures of the report: all are drawn, tell what is pointed at, select runs, and are saved as files."""

from __future__ import annotations

import itertools
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from typing import Any

import pytest

from sweepline.reports.collect import ReportedSweep
from sweepline.runs import State
from tests.browser import sweeps
from tests.browser.conftest import SVG, Open, Shared

pytestmark = pytest.mark.browser

RINGS = """(figure) => {
  const found = [];
  const walk = (mark) => mark.items.forEach((item) => {
    if (mark.marktype === "group") item.items.forEach(walk);
    else if (mark.marktype === "symbol" && item.datum?.best && item.size > 100) found.push(item.datum);
  });
  walk(figure.querySelector(".sheet").view.scenegraph().root);
  return found;
}"""
ALWAYS = {"parallel", "slice", "scatter", "best", "edf", "timeline"}


@pytest.mark.parametrize(
    ("build", "names"),
    [
        (sweeps.one_parameter, ALWAYS | {"first-slice", "tradeoff", "curves"}),
        (sweeps.two_objectives, ALWAYS | {"first-heat", "first-slice", "heat", "lines", "pareto", "tradeoff"}),
        (sweeps.two_parameters, ALWAYS | {"first-heat", "first-slice", "tradeoff", "curves", "heat", "lines"}),
        (sweeps.five_parameters, ALWAYS | {"importance", "first-heat", "curves", "heat", "lines"}),
        (sweeps.three_parameters, ALWAYS | {"importance", "first-heat", "curves", "heat", "lines"}),
    ],
)
def test_every_picture_that_a_sweep_has_is_drawn(
    open_report: Open, build: Callable[[], ReportedSweep], names: set[str]
) -> None:
    report = open_report(build())
    assert set(report.draw_all()) == names
    assert {name for name in names if report.n_colors(name) < 10} == set()
    assert report.page.locator(".chart .fault").count() == 0


def test_a_point_tells_its_run_and_what_differs(open_report: Open) -> None:
    records = [
        sweeps.run(i, {"lr": lr, "optimizer": name, "same": 7}, sweeps.results(loss), seed=i)
        for i, (lr, name, loss) in enumerate([(0.001, "adam", 0.5), (0.01, "sgd", 0.25), (0.1, "adam", 0.75)])
    ]
    told = open_report(sweeps.sweep(records)).hover_texts("scatter")
    assert sorted(told, key=lambda texts: texts["run"]) == [
        {"run": "run-0", "seed": "0", "lr": "0.001", "optimizer": "adam", "val.loss": "0.5"},
        {"run": "run-1", "seed": "1", "lr": "0.01", "optimizer": "sgd", "val.loss": "0.25"},
        {"run": "run-2", "seed": "2", "lr": "0.1", "optimizer": "adam", "val.loss": "0.75"},
    ]


def test_a_field_of_a_heat_map_tells_the_mean_of_its_runs(open_report: Open) -> None:
    grid = {"lr": [0.01, 0.1], "batch_size": [16, 32]}
    records = sweeps.grid(grid, 2)
    told = open_report(sweeps.sweep(records)).hover_texts("first-heat")
    mean = sum(r.metrics["val.loss"] for r in records[:2]) / 2
    assert {"lr": "0.01", "batch_size": "16", "mean val.loss": f"{mean:.4g}", "runs": "2"} in told
    assert len(told) == 4


class TestLines:
    """A line for each value of a parameter along another one."""

    @pytest.fixture
    def report(self, open_report: Open) -> Any:
        return open_report(sweeps.three_parameters())

    def rings(self, report: Any) -> dict[int, float]:
        """Return where the lines have their rings: the step size by width."""
        rows = report.picture("lines").evaluate(RINGS)
        columns = report.page.evaluate("JSON.parse(document.getElementById('data').textContent).columns")
        keys = {column["title"]: column["key"] for column in columns}
        return {row[keys["width"]]: row[keys["lr"]] for row in rows}

    def choose(self, report: Any, label: str, option: str) -> None:
        report.picture("lines").get_by_label(label, exact=True).select_option(label=option)

    def test_it_shows_the_kind_of_the_best_run_until_another_is_asked_for(self, report: Any) -> None:
        self.choose(report, "of", "kind = moving")
        assert self.rings(report) == {64: 0.5, 128: 1.0, 256: 2.0}
        self.choose(report, "of", "kind = staying")
        assert self.rings(report) == {64: 1.0, 128: 1.0, 256: 1.0}

    def test_other_lines_along_another_axis(self, report: Any) -> None:
        self.choose(report, "along", "width")
        self.choose(report, "a line for each", "kind")
        texts = report.svg_texts("lines")
        assert {"width", "kind", "moving", "staying", "64", "128", "256"} <= set(texts)
        assert {told["runs"] for told in report.hover_texts("lines")} == {"10"}
        self.choose(report, "along", "lr")
        assert {"lr", "kind"} <= set(report.svg_texts("lines"))

    def test_it_follows_the_filter(self, report: Any) -> None:
        report.page.fill("#expression", "width > 64")
        report.wait_for_count("40 of 60 runs")
        assert set(self.rings(report)) == {128, 256}

    def test_lines_of_a_single_point_have_no_ring(self, open_report: Open) -> None:
        pairs = [(0.1, 8), (0.2, 16), (0.4, 32)]
        records = [sweeps.run(i, {"lr": lr, "width": w}, sweeps.results(lr)) for i, (lr, w) in enumerate(pairs)]
        report = open_report(sweeps.sweep(records))
        assert self.rings(report) == {}
        assert len(report.hover_texts("lines")) == 3

    def test_what_was_chosen_stays_over_a_reload(self, report: Any) -> None:
        self.choose(report, "of", "all runs")
        report.page.reload()
        chosen = report.picture("lines").get_by_label("of", exact=True).locator("option:checked").text_content()
        assert chosen == "all runs"


def test_a_picture_tells_the_columns_that_it_was_asked_to_show(open_report: Open) -> None:
    report = open_report(sweeps.five_parameters(60))
    for picture, label, title in [("heat", "x", "nesterov"), ("heat", "y", "optimizer"), ("scatter", "y", "val.acc")]:
        report.picture(picture).get_by_label(label, exact=True).select_option(label=title)
    report.picture("slice").get_by_label("parameter", exact=True).select_option(label="nesterov")
    told = report.hover_texts("heat")
    assert [list(texts) for texts in told] == [["nesterov", "optimizer", "mean val.loss", "runs"]] * 6
    assert {texts["nesterov"] for texts in told} == {"True", "False"}
    assert {texts["nesterov"] for texts in report.hover_texts("slice") if "95 % from" in texts} == {"True", "False"}
    assert all(float(texts["val.acc"]) > 0 for texts in report.hover_texts("scatter"))


def test_a_point_of_a_curve_tells_its_own_place(shared_report: Shared) -> None:
    told = shared_report(sweeps.one_parameter).hover_texts("curves")
    epochs = {texts["epoch"] for texts in told if texts["configuration"] == "1: lr=0.01"}
    assert epochs >= {"1", "2", "3", "5", "8", "12"}


def test_a_mean_tells_its_interval(shared_report: Shared) -> None:
    told = shared_report(sweeps.one_parameter).hover_texts("first-slice")
    means = [texts for texts in told if "95 % from" in texts]
    assert {texts["lr"] for texts in means} == {"0.0001", "0.001", "0.01", "0.1", "1"}
    assert {texts["runs"] for texts in means} == {"3"}
    assert all(float(t["95 % from"]) < float(t["mean val.loss"]) < float(t["to"]) for t in means)


def test_a_bar_of_the_timeline_tells_who_held_the_slot(shared_report: Shared) -> None:
    told = shared_report(sweeps.one_parameter).hover_texts("timeline")
    assert {texts["run"] for texts in told} == {f"run-{i}" for i in range(15)}
    assert {texts["state"] for texts in told} == {"finished"}


def test_a_range_brushed_in_a_scatter_plot_filters_the_table_and_the_other_pictures(open_report: Open) -> None:
    report = open_report(sweeps.five_parameters())
    report.draw_all()
    before = report.svg("heat")
    report.drag("scatter", "canvas", (0.15, 0.1), (0.5, 0.8))
    report.page.wait_for_selector("#brushes button")
    chip = report.page.inner_text("#brushes")
    low, high = map(float, re.findall(r"lr: (\S+) … (\S+);", chip)[0])
    assert all_between(low, high)(report.column("lr", all_between(low, high)))
    shown = int(report.page.inner_text("#count").split()[0])
    assert 0 < shown < 200
    assert ET.tostring(report.svg("heat")) != ET.tostring(before)


def all_between(low: float, high: float) -> Callable[[list[str]], bool]:
    """Return whether there are numbers, all of them in a range; but for what rounding does to its ends."""
    return lambda texts: bool(texts) and all(low * 0.999 <= float(text) <= high * 1.001 for text in texts)


def test_a_brush_is_taken_back_by_its_button(open_report: Open) -> None:
    report = open_report(sweeps.five_parameters())
    report.drag("scatter", "canvas", (0.15, 0.1), (0.5, 0.8))
    report.page.click("#brushes button")
    report.wait_for_count("200 runs of 200")
    assert report.page.locator("#brushes button").count() == 0
    assert len(list_marks(report.svg("scatter"), "brush_brush")) == 0


def test_a_category_is_brushed_as_a_number_is(open_report: Open) -> None:
    report = open_report(sweeps.five_parameters())
    report.picture("slice").get_by_label("parameter", exact=True).select_option(label="optimizer")
    report.drag("slice", "canvas", (0.75, 0.1), (0.95, 0.8))
    report.page.wait_for_selector("#brushes button")
    assert "optimizer: sgd" in report.page.inner_text("#brushes")
    report.page.wait_for_function("document.getElementById('count').textContent.includes(' of 200 runs')")
    assert set(report.column("optimizer", lambda found: set(found) == {"sgd"})) == {"sgd"}


def test_a_click_on_a_field_of_a_heat_map_selects_its_runs(open_report: Open) -> None:
    report = open_report(sweeps.two_parameters())
    box = report.picture("heat").locator("canvas").bounding_box()
    report.page.mouse.click(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.4)
    report.wait_for_count("2 of 40 runs, 1 configuration")
    assert report.page.inner_text("#brushes").startswith("lr: 0.01; batch_size: ")
    report.page.mouse.dblclick(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.4)
    report.wait_for_count("40 runs of 20")


def test_an_axis_of_the_parallel_coordinates_is_brushed_by_dragging(open_report: Open) -> None:
    report = open_report(sweeps.five_parameters())
    line, place = report.picture("parallel").locator("button.axis").first, report.page.locator(".parallel")
    box, around = line.bounding_box(), place.bounding_box()
    x = (box["x"] + box["width"] / 2 - around["x"]) / around["width"]
    report.drag("parallel", ".parallel", (x, 0.3), (x, 0.7))
    report.page.wait_for_function("document.getElementById('count').textContent.includes(' of 200 runs')")
    low, high = map(float, re.findall(r"lr: (\S+) … (\S+)", report.page.inner_text("#brushes"))[0])
    assert all_between(low, high)(report.column("lr", all_between(low, high)))
    report.picture("parallel").locator(".parallel").click(position={"x": around["width"] * x, "y": 150})
    report.wait_for_count("200 runs of 200")


def test_axes_of_the_parallel_coordinates_are_moved_and_chosen(open_report: Open) -> None:
    report = open_report(sweeps.five_parameters())
    axes = report.picture("parallel").locator("button.axis")
    names = axes.all_inner_texts()
    axes.first.click()
    assert axes.all_inner_texts() == [names[1], names[0], *names[2:]]
    report.page.get_by_text("Choose the axes").click()
    report.page.get_by_label("nesterov").uncheck()
    assert "nesterov" not in axes.all_inner_texts()


def test_a_picture_shows_its_selection_after_it_was_drawn_anew(open_report: Open) -> None:
    report = open_report(sweeps.five_parameters())
    report.drag("scatter", "canvas", (0.15, 0.1), (0.5, 0.8))
    report.page.wait_for_selector("#brushes button")
    before = list_marks(report.svg("scatter"), "brush_brush")
    report.page.click("#theme")
    report.page.click("#theme")
    assert len(before) == 1
    assert list_marks(report.svg("scatter"), "brush_brush") == before


def list_marks(svg: ET.Element, name: str) -> list[str]:
    """Return the drawn marks of a group of a picture, as texts of whole pixels; without what is not visible."""
    groups = [group for group in svg.iter(f"{SVG}g") if name in group.get("class", "").split()]
    paths = [path.get("d", "") for group in groups for path in group.iter(f"{SVG}path")]
    return [re.sub(r"\d+\.\d+", lambda n: f"{float(n[0]):.0f}", path) for path in paths if len(path) > 20]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("first-heat", "lr"),
        ("first-slice", "batch_size"),
        ("tradeoff", "mean duration, s"),
        ("curves", "epoch"),
        ("parallel", "lr"),
        ("heat", "lr"),
        ("timeline", "seconds since the first start"),
    ],
)
def test_a_picture_is_saved_as_svg_and_png(shared_report: Shared, name: str, text: str) -> None:
    report = shared_report(sweeps.two_parameters)
    svg = report.svg(name)
    assert svg.tag == f"{SVG}svg"
    assert text in ["".join(node.itertext()) for node in svg.iter(f"{SVG}text")]
    assert report.save(name, "PNG").startswith(b"\x89PNG")


def test_a_picture_that_is_being_drawn_is_saved_when_it_is_there(open_report: Open) -> None:
    report = open_report(sweeps.two_parameters())
    figure = report.picture("heat")
    with report.page.expect_download() as told:
        figure.evaluate("(one) => { document.getElementById('theme').click(); one.querySelector('button').click(); }")
    assert told.value.suggested_filename == "heat.svg"


def test_axes_show_the_values_that_were_tried(shared_report: Shared) -> None:
    report = shared_report(sweeps.two_parameters)
    assert set(report.svg_texts("first-heat")) >= {"0.001", "0.003", "0.01", "0.03", "0.1", "16", "32", "64", "128"}


def test_a_picture_shows_another_column_when_asked(open_report: Open) -> None:
    report = open_report(sweeps.five_parameters())
    report.picture("scatter").get_by_label("x", exact=True).select_option(label="dropout")
    report.picture("scatter").get_by_label("y", exact=True).select_option(label="val.acc")
    assert {"dropout", "val.acc"} <= set(report.svg_texts("scatter"))
    report.picture("slice").get_by_label("parameter", exact=True).select_option(label="nesterov")
    assert {"True", "False"} <= set(report.svg_texts("slice"))
    report.picture("heat").get_by_label("x", exact=True).select_option(label="nesterov")
    assert {"True", "False"} <= set(report.svg_texts("heat"))


def test_runs_that_were_stopped_early_are_no_results(open_report: Open) -> None:
    good = [sweeps.run(i, {"lr": 0.1 * (i + 1)}, sweeps.results(0.5 + i / 10)) for i in range(4)]
    early = sweeps.run(4, {"lr": 0.5}, sweeps.results(0.01), state=State.PRUNED, reason="stopped at rung 1")
    report = open_report(sweeps.sweep([*good, early]))
    assert report.column("val.loss")[:1] == ["0.500"]
    assert report.column("state")[-1] == "pruned"
    assert {texts["runs"] for texts in report.hover_texts("first-slice") if "runs" in texts} == {"1"}
    report.page.fill("#share", "25")
    report.wait_for_count("1 of 5 runs")
    assert report.column("lr", lambda found: len(found) == 1) == ["0.1"]


class TestCurves:
    """The controls of the curves."""

    @pytest.fixture
    def report(self, open_report: Open) -> Any:
        return open_report(sweeps.two_parameters())

    def choose(self, report: Any, **chosen: str) -> None:
        for label, value in chosen.items():
            report.page.locator("#curves").get_by_label(label, exact=True).select_option(label=value)

    def test_the_best_configurations_are_named_in_their_order(self, report: Any) -> None:
        self.choose(report, best="12")
        names = [text for text in report.svg_texts("curves") if re.match(r"\d+: ", text)]
        assert [int(name.split(":")[0]) for name in names] == list(range(1, 13))

    def test_runs_are_grouped_by_a_parameter(self, report: Any) -> None:
        self.choose(report, group="lr")
        names = [text for text in report.svg_texts("curves") if text.startswith("lr = ")]
        assert names == ["lr = 0.001", "lr = 0.003", "lr = 0.01", "lr = 0.03", "lr = 0.1"]

    def test_another_metric_is_drawn(self, report: Any) -> None:
        self.choose(report, metric="val.acc")
        assert "val.acc" in report.svg_texts("curves")

    @pytest.mark.parametrize(
        ("by", "title"),
        [
            ("samples", "samples"),
            ("seconds, spread evenly over the run", "seconds, spread evenly over the run"),
            ("share of the run", "share of the run"),
            ("updates (samples / batch_size)", "updates (samples / batch_size)"),
            ("effective steps (lr × step)", "effective steps (lr × step)"),
        ],
    )
    def test_the_course_is_counted_as_asked(self, report: Any, by: str, title: str) -> None:
        self.choose(report, by=by)
        assert title in report.svg_texts("curves")
        assert report.n_colors("curves") > 20

    def test_smoothing_keeps_the_raw_curves_faint(self, report: Any) -> None:
        n_before = len(lines_of(report.svg("curves")))
        self.choose(report, smoothing="strong")
        assert len(lines_of(report.svg("curves"))) == n_before + 12  # two seeds of six configurations

    def test_axes_become_logarithmic(self, report: Any) -> None:
        before = report.svg_texts("curves")
        report.page.locator("#curves").get_by_label("log values").check()
        report.page.locator("#curves").get_by_label("log axis").check()
        assert report.svg_texts("curves") != before

    def test_curves_follow_the_filter(self, report: Any) -> None:
        report.filter("batch_size == 16")
        report.wait_for_count("10 of 40 runs")
        report.settle()
        names = [text for text in report.svg_texts("curves") if re.match(r"\d+: ", text)]
        assert [name.split(", ")[-1].startswith(("1: lr=", "2: lr=", "3: lr=", "4: lr=", "5: lr=")) for name in names]
        assert len(names) <= 5


def lines_of(svg: ET.Element) -> list[ET.Element]:
    """Return the lines of a picture."""
    groups = [group for group in svg.iter(f"{SVG}g") if "mark-line" in group.get("class", "").split()]
    return [path for group in groups for path in group.iter(f"{SVG}path")]


def test_seeds_whose_points_lie_at_other_times_have_a_smooth_mean(open_report: Open) -> None:
    report = open_report(sweeps.one_parameter())
    report.page.locator("#curves").get_by_label("by", exact=True).select_option(value="time")
    first = lines_of(report.svg("curves"))[0]
    heights = [float(y) for y in re.findall(r"[ML][-\d.e]+,([-\d.e]+)", first.get("d", ""))]
    falls = [after - before for before, after in itertools.pairwise(heights)]
    assert len(heights) > 12
    assert sum(fall < -1 for fall in falls) <= 1  # y grows downwards, and the loss falls


def test_curves_of_a_sweep_without_an_objective_are_drawn(open_report: Open) -> None:
    report = open_report(sweeps.one_parameter(objective=None))
    assert set(report.draw_all()) == {"curves", "timeline"}
    assert report.n_colors("curves") > 20


def test_a_selection_without_a_result_says_so_and_goes_on(open_report: Open) -> None:
    report = open_report(sweeps.two_parameters())
    report.draw_all()
    report.filter("lr == 0.1")
    report.wait_for_count("8 of 40 runs")
    report.picture("heat").get_by_text("No run that is selected has a result").wait_for()
    report.filter("")
    report.wait_for_count("40 runs")
    report.picture("heat").locator("canvas").wait_for()


def test_a_field_whose_runs_have_no_result_has_a_cross(open_report: Open) -> None:
    records = sweeps.grid({"lr": [0.01, 0.1], "batch_size": [16, 32]}, 2)
    ended = [
        r if r.params != {**r.params, "lr": 0.1, "batch_size": 32} else sweeps.diverged(i, r.params)
        for i, r in enumerate(records)
    ]
    report = open_report(sweeps.sweep(ended))
    assert report.svg_texts("first-heat").count("×") == 1
    assert "diverged" in report.column("state")
