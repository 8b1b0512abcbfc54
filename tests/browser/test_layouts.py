"""What a reader sees at the width of a phone, a laptop and a screen, in light and dark."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sweepline.reports.collect import ReportedSweep
from tests.browser import sweeps
from tests.browser.conftest import Open, Opened, Shared

pytestmark = pytest.mark.browser

WIDTHS = [390, 1024, 1440]
THEMES = ["light", "dark"]
SCRIPTS = Path(__file__).parent / "scripts"
# The contrast of every text with what lies behind it, by WCAG 2.2; colours are read as the browser paints them.
CONTRASTS = (SCRIPTS / "contrasts.js").read_text(encoding="utf-8")
# The colours of the words in pictures.
WORDS_OF_PICTURES = (SCRIPTS / "words_of_pictures.js").read_text(encoding="utf-8")
# Places of what stands beside or below each other, in groups of which no two may overlap.
GROUPS = (SCRIPTS / "groups.js").read_text(encoding="utf-8")
# The same of the words in each picture; of words at an angle the boxes overlap where they do not.
WORDS = (SCRIPTS / "words.js").read_text(encoding="utf-8")
# What reaches beyond its own box or the window, where nothing lets a reader scroll to it.
CUT_OFF = (SCRIPTS / "cut_off.js").read_text(encoding="utf-8")

Box = dict[str, float]


def several() -> list[ReportedSweep]:
    return [sweeps.named("first"), sweeps.named("second")]


def all_failed() -> ReportedSweep:
    return sweeps.only_failed()


BUILDS = [sweeps.one_parameter, sweeps.two_parameters, sweeps.five_parameters, several, all_failed, sweeps.hostile]


def overlapping(boxes: list[Box], *, by: float = 1.0) -> list[tuple[float, float]]:
    """Return the names of boxes that lie over each other by more than some pixels."""
    found = []
    for i, a in enumerate(boxes):
        for b in boxes[i + 1 :]:
            across = min(a["right"], b["right"]) - max(a["left"], b["left"])
            down = min(a["bottom"], b["bottom"]) - max(a["top"], b["top"])
            if across > by and down > by:
                found.append((a["name"], b["name"]))
    return found


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("build", BUILDS)
def test_everything_has_its_place(shared_report: Shared, build: Callable[[], ReportedSweep], width: int) -> None:
    report = shared_report(build, width=width)
    report.draw_all()
    report.settle()
    assert report.page.evaluate("[document.documentElement.scrollWidth, innerWidth]") == [width, width]
    assert report.page.evaluate(CUT_OFF) == []
    assert [pair for group in report.page.evaluate(GROUPS) for pair in overlapping(group)] == []


def test_values_close_to_each_other_do_not_lie_over_each_other_on_an_axis(open_report: Open) -> None:
    report = open_report(sweeps.sweep(sweeps.grid({"width": [16, 17, 18, 400, 401, 512], "lr": [0.01, 0.1]}, 1)))
    report.picture("parallel")
    labels = report.page.locator(".parallel .end").all_inner_texts()
    assert {"16", "400", "512"} <= set(labels)
    assert [pair for group in report.page.evaluate(GROUPS) for pair in overlapping(group)] == []


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("build", BUILDS)
def test_words_in_pictures_have_their_place(
    shared_report: Shared, build: Callable[[], ReportedSweep], width: int
) -> None:
    report = shared_report(build, width=width)
    report.draw_all()
    for picture in report.page.evaluate(WORDS):
        assert overlapping(picture["found"], by=2) == []
        outside = [
            word["name"]
            for word in picture["found"]
            if word["left"] < -2 or word["top"] < -2 or word["right"] > picture["width"] + 2
            or word["bottom"] > picture["height"] + 2
        ]  # fmt: skip
        assert outside == []


@pytest.mark.parametrize("build", [sweeps.one_parameter, sweeps.two_parameters, sweeps.five_parameters, several])
def test_the_first_screen_has_the_words_and_a_picture(
    shared_report: Shared, build: Callable[[], ReportedSweep]
) -> None:
    report = shared_report(build, width=1440)
    report.page.evaluate("scrollTo(0, 0)")
    report.page.wait_for_selector("#first figure[data-drawn]")
    bottoms = [one.bounding_box() for one in report.page.locator("#sentences p, #first figure:first-child").all()]
    assert max(box["y"] + box["height"] for box in bottoms) <= 900
    assert report.page.locator("#first canvas").count() >= 1


@pytest.fixture(params=THEMES)
def busy(open_report: Open, request: pytest.FixtureRequest) -> Opened:
    """A page that shows all that it can say."""
    report = open_report(sweeps.five_parameters(60), theme=request.param)
    report.draw_all()
    report.drag("scatter", "canvas", (0.15, 0.1), (0.9, 0.8))
    for summary in report.page.locator("summary").all():
        summary.click()
    report.filter("speed > 1")
    report.wait_for(lambda: report.page.inner_text("#filter-fault"), bool)
    report.page.locator("#table button.link").first.click()
    report.page.get_by_role("dialog").wait_for()
    return report


def test_every_text_stands_out_from_what_lies_behind_it(busy: Opened) -> None:
    found = busy.page.evaluate(CONTRASTS)
    assert {"text", "value", "placeholder", "border"} <= {one["what"] for one in found}
    assert len(found) > 100
    assert [one for one in found if not one["isEnough"]] == []


def test_states_and_seeds_stand_out_too(open_report: Open) -> None:
    for theme in THEMES:
        report = open_report(sweeps.two_parameters(), theme=theme)
        for fold in report.page.locator("#table button.fold").all()[:2]:
            fold.click()
        assert [one for one in report.page.evaluate(CONTRASTS) if not one["isEnough"]] == []


@pytest.mark.parametrize("theme", THEMES)
def test_words_in_pictures_have_the_colour_of_the_page(shared_report: Shared, theme: str) -> None:
    report = shared_report(sweeps.five_parameters, theme=theme)
    report.draw_all()
    text = report.page.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--text').trim()")
    assert set(report.page.evaluate(WORDS_OF_PICTURES)) == {text}


def test_a_change_of_the_theme_reaches_the_pictures(open_report: Open) -> None:
    report = open_report(sweeps.two_parameters())
    report.draw_all()
    before = set(report.page.evaluate(WORDS_OF_PICTURES))
    report.page.click("#theme")
    report.page.click("#theme")
    report.draw_all()
    after = report.wait_for(lambda: set(report.page.evaluate(WORDS_OF_PICTURES)), lambda found: len(found) == 1)
    assert after.isdisjoint(before)
