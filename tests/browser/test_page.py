"""The report as a whole: sweeps of all shapes, names of all kinds, and what a reader has set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sweepline.cli.main import main
from sweepline.contract.text import printable
from sweepline.reports.page import write_page
from tests.browser import sweeps
from tests.browser.conftest import Open, Opened, Shared
from tests.conftest import CACHE

pytestmark = pytest.mark.browser

HOSTILE_TEXTS = [" ".join(printable(name).split()) for name in sweeps.HOSTILE]


def sections_of(report: Opened) -> list[str]:
    found: list[str] = report.page.locator("main > section:visible").evaluate_all("(all) => all.map((one) => one.id)")
    return found


class TestWhatIsKept:
    """A page that is loaded again is as its reader left it."""

    def test_the_table_is_as_it_was(self, open_report: Open) -> None:
        report = open_report(sweeps.two_parameters())
        report.filter("lr < 0.1")
        report.page.fill("#share", "50")
        report.page.get_by_title("Sort by batch_size", exact=True).click()
        report.page.get_by_title("Sort by batch_size", exact=True).click()
        report.wait_for_count("16 of 40 runs")
        report.page.get_by_role("button", name="Runs of configuration 2", exact=True).click()
        before = report.page.inner_text("#table")
        report.page.reload()
        report.wait_for_count("16 of 40 runs")
        assert report.page.input_value("#expression") == "lr < 0.1"
        assert report.page.input_value("#share") == "50"
        assert report.wait_for(lambda: report.page.inner_text("#table"), lambda found: found == before) == before
        assert report.page.locator("#table tr.run").count() > 0

    def test_the_page_of_the_table_is_as_it_was(self, open_report: Open) -> None:
        report = open_report(sweeps.five_parameters())
        report.page.get_by_role("button", name="Next").click()
        report.page.reload()
        assert report.column("#")[0] == "51"

    def test_the_theme_is_as_it_was(self, open_report: Open) -> None:
        report = open_report(sweeps.one_parameter())
        for _ in range(2):
            report.page.click("#theme")
        assert report.page.inner_text("#theme") == "Theme: dark"
        report.page.reload()
        assert report.page.inner_text("#theme") == "Theme: dark"
        assert report.page.locator("html").get_attribute("data-theme") == "dark"

    def test_pictures_are_as_they_were(self, open_report: Open) -> None:
        report = open_report(sweeps.five_parameters(60))
        report.drag("scatter", "canvas", (0.2, 0.1), (0.7, 0.8))
        report.picture("slice").get_by_label("parameter", exact=True).select_option(label="dropout")
        report.page.locator("#curves").get_by_label("group", exact=True).select_option(label="optimizer")
        axes = report.picture("parallel").locator("button.axis")
        axes.first.click()
        before = [report.page.inner_text("#brushes"), report.page.inner_text("#count"), axes.all_inner_texts()]
        report.page.reload()
        report.picture("parallel")
        after = [report.page.inner_text("#brushes"), report.page.inner_text("#count"), axes.all_inner_texts()]
        assert after == before
        assert "lr: " in before[0]
        assert report.picture("slice").get_by_label("parameter", exact=True).input_value() == "p3"
        assert report.page.locator("#curves").get_by_label("group", exact=True).input_value() == "p2"

    def test_what_two_reports_have_is_not_mixed(self, open_report: Open) -> None:
        first = open_report(sweeps.one_parameter())
        first.filter("lr == 0.1")
        first.wait_for_count("3 of 15 runs")
        other = first.path.with_name("other.html")
        other.write_bytes(first.path.read_bytes())
        first.page.goto(other.as_uri())
        first.wait_for_count("15 runs of 5")
        first.page.goto(first.path.as_uri())
        first.wait_for_count("3 of 15 runs")


class TestLive:
    """A report of a sweep that goes on looks for a newer version of itself."""

    def test_it_says_that_the_sweep_goes_on(self, open_report: Open) -> None:
        report = open_report(sweeps.under_way(), is_live=True)
        assert "2 running" in report.page.inner_text(".course")
        assert "(still running)" in report.page.inner_text(".course")
        report.filter("state == running")
        report.wait_for_count("2 of 40 runs")

    def test_it_becomes_current_and_keeps_what_the_reader_set(self, open_report: Open) -> None:
        report = open_report(sweeps.under_way(), is_live=True, has_clock=True)
        report.filter("lr == 0.01")
        report.wait_for_count("8 of 40 runs")
        report.page.click("#theme")
        self.write(report)
        with report.page.expect_navigation():
            report.page.clock.fast_forward(11_000)
        report.wait_for_count("8 of 40 runs")
        assert "(still running)" not in report.page.inner_text(".course")
        assert report.page.input_value("#expression") == "lr == 0.01"
        assert report.page.inner_text("#theme") == "Theme: light"

    def test_it_does_not_change_under_the_hands_of_its_reader(self, open_report: Open) -> None:
        report = open_report(sweeps.under_way(), is_live=True, has_clock=True)
        report.page.locator("#table .fold").first.click()
        report.page.locator("#table button.link").first.click()
        report.page.get_by_role("dialog").wait_for()
        self.write(report)
        report.page.clock.fast_forward(11_000)
        report.page.keyboard.press("Escape")
        report.page.get_by_role("dialog").wait_for(state="hidden")
        assert "(still running)" in report.page.inner_text(".course")
        with report.page.expect_navigation():
            report.page.clock.fast_forward(11_000)
        assert "(still running)" not in report.page.inner_text(".course")

    def test_one_that_has_ended_stays_as_it_is(self, open_report: Open) -> None:
        report = open_report(sweeps.two_parameters(), is_live=True, has_clock=True)
        n_requests = len(report.requests)
        report.page.clock.fast_forward(60_000)
        report.settle()
        assert len(report.requests) == n_requests

    def write(self, report: Opened) -> None:
        with pytest.MonkeyPatch.context() as patched:
            patched.setenv("XDG_CACHE_HOME", str(CACHE))
            write_page([sweeps.two_parameters()], report.path)


class TestHostileNames:
    """Whatever things are called, it is text."""

    @pytest.fixture(params=[390, 1440])
    def report(self, shared_report: Shared, request: pytest.FixtureRequest) -> Opened:
        return shared_report(sweeps.hostile, width=request.param)

    def test_pictures_are_drawn(self, report: Opened) -> None:
        names = report.draw_all()
        assert {"importance", "first-heat", "curves", "parallel", "slice", "scatter", "timeline"} <= set(names)
        assert {name for name in names if report.n_colors(name) < 5} == set()
        assert report.page.locator(".chart .fault").count() == 0

    def test_names_are_no_elements(self, report: Opened) -> None:
        for summary in report.page.locator("summary").all():
            summary.click()
        assert report.page.locator("img, iframe, object, embed, base, svg script").count() == 0
        assert report.page.locator("script").count() == 3

    def test_names_are_there_to_be_read(self, report: Opened) -> None:
        heads = report.page.locator("#table thead button").all_inner_texts()
        assert heads[:12] == HOSTILE_TEXTS[:12]
        assert report.page.inner_text("#title") == printable(sweeps.HOSTILE[2])
        assert report.page.locator(".remark").all_inner_texts() == HOSTILE_TEXTS

    def test_a_run_is_told_as_text(self, report: Opened) -> None:
        report.page.locator("#table button.link").first.click()
        dialog = report.page.get_by_role("dialog")
        dialog.wait_for()
        names = dialog.locator("dt").all_inner_texts()
        assert set(HOSTILE_TEXTS) <= set(names)
        assert dialog.locator("img, script").count() == 0
        assert dialog.evaluate("(box) => box.scrollWidth <= box.clientWidth")
        report.page.keyboard.press("Escape")
        dialog.wait_for(state="hidden")

    def test_nothing_is_wider_than_the_page(self, report: Opened) -> None:
        report.draw_all()
        assert report.page.evaluate("document.documentElement.scrollWidth <= innerWidth")

    def test_a_value_that_every_object_has_by_birth_is_drawn_as_any_other(self, open_report: Open) -> None:
        report = open_report(sweeps.hostile())
        for picture, labels in {"slice": ["parameter"], "scatter": ["x", "y"], "heat": ["x", "y"]}.items():
            for label in labels:
                report.picture(picture).get_by_label(label, exact=True).select_option(label="text")
        told = {texts["text"] for texts in report.hover_texts("scatter")}
        assert {"constructor", "__proto__"} <= told
        report.filter("text == constructor")
        report.wait_for_count("2 of 26 runs")


class TestShapes:
    """Sweeps that are not as most are."""

    def test_several_sweeps_are_told_apart(self, open_report: Open) -> None:
        report = open_report([sweeps.named("first"), sweeps.named("second")])
        assert report.page.locator("#sentences h2").all_inner_texts() == ["first", "second"]
        assert report.page.inner_text("h1") == "first, second"
        assert report.page.locator(".best").count() == 2
        assert set(report.column("sweep")) == {"first", "second"}
        names = [text for text in report.svg_texts("curves") if "lr=" in text]
        assert [name.split("sweep=")[-1] for name in names] == ["first", "second"] * 3
        report.filter("sweep == second")
        report.wait_for_count("6 of 12 runs")

    def test_a_sweep_without_runs_says_so(self, open_report: Open) -> None:
        report = open_report(sweeps.sweep([]))
        assert "No run has started." in report.page.inner_text("#sentences")
        assert sections_of(report) == ["summary", "runs", "provenance"]
        assert report.page.locator("figure").count() == 0

    def test_failures_are_grouped_by_their_reason(self, open_report: Open, tmp_path: Path) -> None:
        report = open_report(sweeps.with_folders(sweeps.only_failed(), tmp_path))
        assert report.page.locator("#sentences .failure").all_inner_texts() == [
            "3 failed: ImportError: no module named thing"
        ]
        assert sections_of(report) == ["summary", "runs", "course", "failures", "provenance"]
        kinds = report.page.locator("#failures details")
        assert kinds.all_inner_texts() == ["failed 3 runs: ImportError: no module named thing"]
        kinds.locator("summary").click()
        assert kinds.locator("pre").inner_text() == sweeps.LOG_TAIL
        kinds.get_by_role("button", name="run-1").click()
        assert report.page.inner_text("#run-title") == "run-1"

    def test_reasons_that_differ_in_their_numbers_are_one_kind(self, open_report: Open) -> None:
        report = open_report(sweeps.five_parameters())
        assert report.page.locator("#failures summary").all_inner_texts() == [
            "failed 12 runs: RuntimeError: shape mismatch at 3",
            "out_of_memory 9 runs: CUDA out of memory",
        ]

    def test_seeds_alone_are_a_sweep(self, open_report: Open) -> None:
        report = open_report(sweeps.only_seeds())
        report.draw_all()
        assert report.page.inner_text("#count") == "5 runs of 1 configuration"
        assert report.column("runs") == ["5"]

    def test_a_sweep_without_an_objective_says_what_to_do(self, open_report: Open) -> None:
        report = open_report(sweeps.five_parameters(40, objective=None))
        assert "no objective: name one" in report.page.inner_text("#sentences")
        assert set(report.draw_all()) == {"curves", "parallel", "timeline"}

    def test_a_bare_table_is_a_report(
        self, open_report: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
    ) -> None:
        rows = [f"{lr},{size},{1 / size + lr},{name}" for lr in (0.1, 0.2) for size in (16, 32) for name in "ab"]
        (tmp_path / "bare.csv").write_text("\n".join(["lr,size,loss,kind", *rows, ""]))
        monkeypatch.setenv("XDG_CACHE_HOME", str(CACHE))
        assert main(["report", str(tmp_path / "bare.csv"), "-o", str(tmp_path / "out.html")]) == 0
        report = open_report(tmp_path / "out.html")
        assert "read as metrics: loss; ranked by loss" in report.page.inner_text("#sentences")
        assert report.page.inner_text("#count").startswith("8 runs of 8 configurations")
        assert {"first-heat", "parallel", "scatter", "slice"} <= set(report.draw_all())
        assert report.column("lr")[0] == "0.1"


def test_the_links_lead_to_the_sections(shared_report: Shared) -> None:
    report = shared_report(sweeps.five_parameters)
    links = report.page.get_by_role("navigation").get_by_role("link")
    targets = [link.get_attribute("href").removeprefix("#") for link in links.all()]
    assert targets == sections_of(report)[1:]
    links.last.click()
    assert report.page.locator(f"#{targets[-1]}").evaluate("(one) => one.getBoundingClientRect().top < innerHeight")


def test_the_page_may_ask_nobody(shared_report: Shared) -> None:
    report = shared_report(sweeps.five_parameters)
    policy = report.page.locator("meta[http-equiv]").get_attribute("content")
    assert policy.startswith("default-src 'none';")
    assert report.page.locator("[src], link[rel=stylesheet]").count() == 0
