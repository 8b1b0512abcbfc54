"""The table of the report: sorted, unfolded, filtered, and all that there is of a run."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sweepline.recording.events import RunRecord
from sweepline.runs import Objective, State
from tests.browser import sweeps
from tests.browser.conftest import Open, Opened, Shared

pytestmark = pytest.mark.browser


def sort_by(report: Opened, title: str) -> None:
    report.page.locator("#table thead").get_by_title(f"Sort by {title}", exact=True).click()


def is_falling(texts: list[str]) -> bool:
    """Return whether numbers fall, but for what rounding does to them."""
    numbers = [float(text.split()[0]) for text in texts]
    return all(after < before + 0.006 for before, after in itertools.pairwise(numbers))


def direction_of(report: Opened, title: str) -> str | None:
    head = report.page.locator("#table th").filter(has=report.page.get_by_title(f"Sort by {title}", exact=True))
    found: str | None = head.get_attribute("aria-sort")
    return found


class TestSorting:
    """What a click on the name of a column does."""

    def test_the_best_configuration_is_first(self, shared_report: Shared) -> None:
        report = shared_report(sweeps.one_parameter)
        losses = [float(text.split()[0]) for text in report.column("val.loss")]
        assert losses == sorted(losses)
        assert direction_of(report, "val.loss (minimize)") == "ascending"

    def test_the_best_is_first_where_more_is_better(self, open_report: Open) -> None:
        report = open_report(sweeps.one_parameter(objective=Objective(name="val.acc", goal="maximize")))
        assert is_falling(report.column("val.acc"))
        assert direction_of(report, "val.acc (maximize)") == "descending"

    def test_a_click_sorts_numbers_and_another_turns_them_around(self, open_report: Open) -> None:
        report = open_report(sweeps.one_parameter())
        grown = ["0.0001", "0.001", "0.01", "0.1", "1"]
        sort_by(report, "lr")
        assert report.column("lr", lambda found: found == grown) == grown
        assert direction_of(report, "lr") == "ascending"
        assert direction_of(report, "val.loss (minimize)") is None
        sort_by(report, "lr")
        assert report.column("lr", lambda found: found == grown[::-1]) == grown[::-1]
        assert direction_of(report, "lr") == "descending"

    def test_text_is_sorted_as_people_sort_it_and_what_is_missing_comes_last(self, open_report: Open) -> None:
        values = ["net10", "net2", None, "Net1", "adam"]
        own = [{"model": value, "lr": 0.1 + i} for i, value in enumerate(values)]
        report = open_report(sweeps.sweep([sweeps.run(i, p, sweeps.results(0.5)) for i, p in enumerate(own)]))
        expected = ["adam", "Net1", "net2", "net10", "–"]
        sort_by(report, "model")
        assert report.column("model", lambda found: found == expected) == expected
        turned = ["net10", "net2", "Net1", "adam", "–"]
        sort_by(report, "model")
        assert report.column("model", lambda found: found == turned) == turned

    def test_runs_without_a_result_come_last_in_either_direction(self, open_report: Open) -> None:
        report = open_report(sweeps.two_parameters())
        assert report.column("val.loss")[-4:] == ["–"] * 4
        sort_by(report, "val.loss (minimize)")

        def is_turned(found: list[str]) -> bool:
            return found[-4:] == ["–"] * 4 and is_falling(found[:-4])

        assert is_turned(report.column("val.loss", is_turned))


class TestUnfolding:
    """Seeds are folded into their configuration, until somebody wants to see them."""

    def rows(self, report: Opened) -> list[str]:
        found: list[str] = report.page.locator("#table tr.run").all_inner_texts()
        return found

    def test_seeds_are_folded_and_unfolded(self, open_report: Open) -> None:
        report = open_report(sweeps.one_parameter())
        assert report.column("runs") == ["3"] * 5
        assert self.rows(report) == []
        button = report.page.get_by_role("button", name="Runs of configuration 1", exact=True)
        button.click()
        assert [text.split("\t")[0].strip() for text in self.rows(report)] == ["seed 0", "seed 1", "seed 2"]
        assert button.get_attribute("aria-expanded") == "true"
        button.click()
        assert self.rows(report) == []
        assert button.get_attribute("aria-expanded") == "false"

    def test_what_is_folded_is_the_mean_of_what_is_unfolded(self, open_report: Open) -> None:
        report = open_report(sweeps.one_parameter())
        told = float(report.column("val.loss")[0].split()[0])
        report.page.get_by_role("button", name="Runs of configuration 1", exact=True).click()
        losses = [float(text.split("\t")[1]) for text in self.rows(report)]
        assert told == pytest.approx(sum(losses) / 3, abs=0.002)


class TestRun:
    """A click on a run tells all that there is of it."""

    def open_run(self, report: Opened, state: str) -> Any:
        report.filter(f"state == {state}")
        report.wait_for(lambda: set(report.column("state")), lambda found: found == {state})
        report.page.locator("#table button.link").first.click()
        dialog = report.page.get_by_role("dialog")
        dialog.wait_for()
        return dialog

    def told(self, dialog: Any) -> dict[str, str]:
        names, values = dialog.locator("dt").all_inner_texts(), dialog.locator("dd").all_inner_texts()
        return dict(zip(names, values, strict=True))

    @pytest.fixture
    def report(self, open_report: Open, tmp_path: Path) -> Opened:
        return open_report(sweeps.with_folders(sweeps.five_parameters(60), tmp_path))

    def test_its_parameters_are_told(self, report: Opened) -> None:
        record = next(r for r in sweeps.five_parameters(60).records if r.state == State.FAILED)
        dialog = self.open_run(report, "failed")
        told = self.told(dialog)
        assert dialog.get_by_role("heading").first.inner_text() == record.name == "run-3"
        assert told["reason"] == "RuntimeError: shape mismatch at 3"
        assert {name: told[name] for name in record.params} == {n: str(v) for n, v in record.params.items()}
        assert told["run id"] == record.run_id

    def test_the_end_of_its_output_is_text(self, report: Opened) -> None:
        dialog = self.open_run(report, "failed")
        assert sweeps.LOG_TAIL in dialog.locator("pre").all_inner_texts()

    def test_the_command_that_repeats_it_is_there(self, report: Opened) -> None:
        dialog = self.open_run(report, "pruned")
        name = dialog.get_by_role("heading").first.inner_text()
        assert dialog.locator("pre").all_inner_texts() == [f"python train.py --run '{name}'"]

    def test_its_files_are_where_the_link_leads(self, report: Opened) -> None:
        dialog = self.open_run(report, "failed")
        address = dialog.get_by_role("link").evaluate("(link) => link.href")
        assert Path(address.removeprefix("file://")).is_dir()

    def test_it_is_closed_by_its_button_and_by_a_click_beside_it(self, report: Opened) -> None:
        dialog = self.open_run(report, "failed")
        dialog.get_by_role("button", name="Close").click()
        dialog.wait_for(state="hidden")
        report.page.locator("#table button.link").first.click()
        dialog.wait_for()
        report.page.mouse.click(5, 5)
        dialog.wait_for(state="hidden")


def lr_of(record: RunRecord) -> float:
    return float(record.params["lr"])


RIGHT: dict[str, Callable[[RunRecord], bool]] = {
    "lr > 0.01": lambda r: lr_of(r) > 0.01,
    "lr < 1e-3": lambda r: lr_of(r) < 1e-3,
    "lr>=0.001 and lr<=0.1": lambda r: 0.001 <= lr_of(r) <= 0.1,
    "optimizer == adam": lambda r: r.params["optimizer"] == "adam",
    "optimizer = 'sgd'": lambda r: r.params["optimizer"] == "sgd",
    '"optimizer" != "sgd"': lambda r: r.params["optimizer"] != "sgd",
    "optimizer in [adam, 'rmsprop']": lambda r: r.params["optimizer"] in ("adam", "rmsprop"),
    "batch_size in [16, 64] or dropout < 0.1": lambda r: (
        r.params["batch_size"] in (16, 64) or r.params["dropout"] < 0.1
    ),
    "not (nesterov == true)": lambda r: not r.params["nesterov"],
    "not nesterov == True and batch_size == 32": lambda r: not r.params["nesterov"] and r.params["batch_size"] == 32,
    "state == failed": lambda r: r.state == State.FAILED,
    "state != finished": lambda r: r.state != State.FINISHED,
    "reason == 'CUDA out of memory'": lambda r: r.reason == "CUDA out of memory",
    "`val.loss` < 0.3": lambda r: r.metrics.get("val.loss", math.nan) < 0.3,
    "loss < 0.3": lambda r: r.metrics.get("val.loss", math.nan) < 0.3,
    "duration > 43": lambda r: r.duration_s > 43,
    "run-17": lambda r: "run-17" in r.name,
    "pruned": lambda r: r.state == State.PRUNED,
}
WRONG = {
    "speed > 1": "filter: no parameter or metric is called 'speed'",
    "lr >": "filter: a value is missing",
    "lr > fast": "filter: 'lr' is a number, 'fast' is none",
    "(lr > 1": "filter: a ')' is missing",
    "lr > 1 lr": "filter: 'lr' is one word too many",
    "lr in 3": "filter: 'in' needs a list: x in [1, 2]",
    "lr in [1, 2": "filter: a ']' is missing",
    "'lr": "filter: cannot read ''lr'",
    "== 3": "filter: a name is missing",
    "lr > 0.1 and": "filter: a name is missing",
    "__proto__ == 1": "filter: no parameter or metric is called '__proto__'",
    "constructor == 1": "filter: no parameter or metric is called 'constructor'",
    "not " * 50_000 + "lr > 1": "filter: it is too long",
    " or ".join(["lr > 1"] * 50_000): "filter: it is too long",
}
HOSTILE = [
    "constructor.constructor('window.pwned = 1')()",
    "lr > 0; window.pwned = 1",
    "lr > (window.pwned = 1)",
    "${window.pwned = 1}",
    "</script><script>window.pwned = 1</script>",
    "<img src=x onerror='window.pwned = 1'>",
    "lr == '<img src=x onerror=window.pwned=1>' x <img src=x onerror=window.pwned=1>",
    'x"]; window.pwned = 1; //',
    "`x` => { window.pwned = 1 }",
]


class TestFilter:
    """An expression selects runs, says what is wrong with it, and is never a program."""

    @pytest.fixture
    def report(self, shared_report: Shared) -> Opened:
        report = shared_report(sweeps.five_parameters)
        report.filter("")
        report.wait_for_count("200 runs of 200")
        report.wait_for(lambda: report.page.inner_text("#filter-fault"), lambda told: not told)
        return report

    @pytest.mark.parametrize("expression", RIGHT)
    def test_an_expression_selects_runs(self, report: Opened, expression: str) -> None:
        n = sum(map(RIGHT[expression], sweeps.five_parameters().records))
        assert 0 < n < 200
        report.filter(expression)
        report.wait_for_count(f"{n} of 200 runs, {n} configuration")
        assert report.page.inner_text("#filter-fault") == ""

    @pytest.mark.parametrize("expression", WRONG, ids=lambda text: text[:20])
    def test_a_wrong_expression_says_what_is_wrong_and_selects_all(self, report: Opened, expression: str) -> None:
        report.filter(expression)
        fault = report.wait_for(lambda: report.page.inner_text("#filter-fault"), bool)
        assert fault == WRONG[expression]
        assert report.page.inner_text("#count") == "200 runs of 200 configurations"

    @pytest.mark.parametrize("expression", HOSTILE)
    def test_a_hostile_expression_executes_nothing(self, report: Opened, expression: str) -> None:
        report.filter(expression)
        report.wait_for(
            lambda: [report.page.inner_text("#filter-fault"), report.page.inner_text("#count")],
            lambda told: bool(told[0]) or not told[1].startswith("200"),
        )
        assert report.page.evaluate("window.pwned") is None
        assert report.page.locator("img").count() == 0


class TestSelection:
    """Filter, brush and best share, together."""

    def test_filter_brush_and_best_share_hold_together(self, open_report: Open) -> None:
        report = open_report(sweeps.five_parameters())
        records = [r for r in sweeps.five_parameters().records if r.params["optimizer"] == "adam"]
        report.filter("optimizer == adam")
        report.wait_for_count(f"{len(records)} of 200 runs")
        report.drag("scatter", "canvas", (0.2, 0.04), (0.7, 0.85))
        text = report.wait_for(lambda: report.page.inner_text("#brushes"), bool)
        low, high, bottom, top = map(
            float, re.findall(r"(\S+) … ([^\s;]+)", text)[0] + re.findall(r"(\S+) … (\S+)", text)[1]
        )
        inside = [
            r for r in records if low <= lr_of(r) <= high and bottom <= r.metrics.get("val.loss", math.nan) <= top
        ]
        assert 0 < len(inside) < len(records)
        report.wait_for_count(f"{len(inside)} of 200 runs")
        report.page.fill("#share", "25")
        finished = sorted(r.metrics["val.loss"] for r in inside if r.state == State.FINISHED)
        n_best = math.ceil(len(finished) / 4)
        report.wait_for_count(f"{n_best} of 200 runs")
        best = [f"{loss:.2f}" for loss in finished[:n_best]]

        def is_best(found: list[str]) -> bool:
            return [f"{float(loss):.2f}" for loss in found] == best

        assert is_best(report.column("val.loss", is_best))

    def test_show_all_takes_all_of_them_back(self, open_report: Open) -> None:
        report = open_report(sweeps.five_parameters())
        report.filter("optimizer == adam")
        report.page.fill("#share", "25")
        report.drag("scatter", "canvas", (0.2, 0.04), (0.7, 0.85))
        report.page.wait_for_selector("#brushes button")
        report.page.click("#reset")
        report.wait_for_count("200 runs of 200")
        assert [report.page.input_value("#expression"), report.page.input_value("#share")] == ["", "100"]
        assert report.page.locator("#brushes button").count() == 0


class TestManyRuns:
    """Ten thousand runs."""

    @pytest.fixture
    def report(self, shared_report: Shared) -> Opened:
        report = shared_report(sweeps.random_search)
        report.page.click("#reset")
        report.wait_for_count("10,000 runs of 10,000")
        return report

    def test_a_filter_finds_the_runs(self, report: Opened) -> None:
        records = sweeps.random_search().records
        n = sum(r.params["optimizer"] == "sgd" and r.params["depth"] <= 3 for r in records)
        report.filter("optimizer == sgd and depth <= 3")
        report.wait_for_count(f"{n:,} of 10,000 runs")
        assert set(report.column("optimizer", lambda found: set(found) == {"sgd"})) == {"sgd"}

    def test_the_table_has_pages(self, report: Opened) -> None:
        ranked = [str(i) for i in range(1, 101)]
        assert report.column("#", lambda found: found == ranked[:50]) == ranked[:50]
        report.page.get_by_role("button", name="Next").click()
        assert report.column("#", lambda found: found == ranked[50:]) == ranked[50:]
        assert report.page.inner_text("#pages").split("\n")[1] == "51–100 of 10,000"
        report.page.get_by_role("button", name="Previous").click()
        assert report.column("#", lambda found: found == ranked[:50]) == ranked[:50]
        assert report.page.get_by_role("button", name="Previous").is_disabled()

    def test_an_axis_of_the_parallel_coordinates_is_brushed(self, report: Opened) -> None:
        axis = report.picture("parallel").locator("button.axis").first
        box, place = axis.bounding_box(), report.page.locator(".parallel").bounding_box()
        x = (box["x"] + box["width"] / 2 - place["x"]) / place["width"]
        report.drag("parallel", ".parallel", (x, 0.4), (x, 0.6))
        shown = report.wait_for(lambda: report.page.inner_text("#count"), lambda text: " of 10,000 runs" in text)
        assert 500 < int(shown.split()[0].replace(",", "")) < 5000

    def test_all_pictures_are_drawn(self, report: Opened) -> None:
        names = report.draw_all()
        assert {name for name in names if report.n_colors(name) < 5} == set()
        assert "are drawn, the best among them" in report.picture("scatter").inner_text()
