"""What a reader sees at the width of a phone, a laptop and a screen, in light and dark."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sweepline.reports.collect import ReportedSweep
from tests.browser import sweeps
from tests.browser.conftest import Open, Opened, Shared

pytestmark = pytest.mark.browser

WIDTHS = [390, 1024, 1440]
THEMES = ["light", "dark"]
# The contrast of every text with what lies behind it, by WCAG 2.2; colours are read as the browser paints them.
CONTRASTS = """() => {
  const context = Object.assign(document.createElement("canvas"), { width: 1, height: 1 }).getContext("2d", { willReadFrequently: true });
  const read = (color) => {
    context.clearRect(0, 0, 1, 1); context.fillStyle = color; context.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = context.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = (top, below) => [0, 1, 2].map((i) => top[3] * top[i] + (1 - top[3]) * below[i]).concat(1);
  const behind = (node) => (node ? over(read(getComputedStyle(node).backgroundColor), behind(node.parentElement)) : [255, 255, 255, 1]);
  const light = (color) => color.slice(0, 3).map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const contrast = (a, b) => { const [low, high] = [light(a), light(b)].sort((p, q) => p - q); return (high + 0.05) / (low + 0.05); };
  const found = [];
  const check = (what, node, color, below, least) => {
    const ratio = contrast(over(read(color), below), below);
    found.push({ what, text: (node.textContent || node.id || node.tagName).trim().slice(0, 40), ratio, isEnough: ratio >= least });
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let text; (text = walker.nextNode()); ) {
    const node = text.parentElement;
    if (!text.textContent.trim() || !node.checkVisibility() || node.closest("script, style, noscript, :disabled, option")) continue;
    const style = getComputedStyle(node), size = parseFloat(style.fontSize), isLarge = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
    check("text", node, style.color, behind(node), isLarge ? 3 : 4.5);
  }
  for (const node of document.querySelectorAll("input, select, button")) {
    if (node.disabled || !node.checkVisibility()) continue;
    const style = getComputedStyle(node);
    if (node.tagName !== "BUTTON") check("value", node, style.color, behind(node), 4.5);
    if (node.placeholder) check("placeholder", node, getComputedStyle(node, "::placeholder").color, behind(node), 4.5);
    if (parseFloat(style.borderTopWidth) > 0 && node.type !== "checkbox") check("border", node, style.borderTopColor, behind(node.parentElement), 3);
  }
  return found;
}"""
# The colours of a picture's words, and what they lie on.
WORDS_OF_PICTURES = """() => [...document.querySelectorAll(".sheet")].flatMap((sheet) => {
  const found = [];
  const walk = (mark) => mark.items.forEach((item) => {
    if (mark.marktype === "group") item.items.forEach(walk);
    else if (mark.marktype === "text" && item.text && item.opacity !== 0) found.push(item.fill);
  });
  walk(sheet.view.scenegraph().root);
  return found;
})"""
# Places of what stands beside or below each other, in groups of which no two may overlap.
GROUPS = """() => {
  const place = (node) => { const { left, top, right, bottom } = node.getBoundingClientRect();
    return { left, top, right, bottom, name: `${node.tagName} ${node.id} ${node.className} ${node.textContent.slice(0, 30)}` }; };
  const seen = (nodes) => [...nodes].filter((node) => node.checkVisibility() && node.getBoundingClientRect().width);
  const parents = "header, nav, main, main > section, #sentences, #filter, #brushes, .pictures, figure, figcaption, .controls, .together, #failures .content";
  const groups = [...document.querySelectorAll(parents)].filter((one) => one.checkVisibility()).map((one) => seen(one.children).map(place));
  groups.push(seen(document.querySelectorAll("figure")).map(place), seen(document.querySelectorAll(".parallel .axis")).map(place),
    seen(document.querySelectorAll(".parallel .end")).map(place));
  for (const figure of document.querySelectorAll("figure")) groups.push(seen(figure.querySelectorAll("h3, button:not(.axis), select, summary, .legend, .sheet, .parallel, .note")).map(place));
  for (const row of document.querySelectorAll("#table tr")) groups.push([...row.cells].map(place));
  return groups;
}"""
# The same of the words in each picture; of words at an angle the boxes overlap where they do not.
WORDS = """() => [...document.querySelectorAll("figure")].filter((figure) => figure.querySelector(".sheet")).map((figure) => {
  const found = [], { view } = figure.querySelector(".sheet");
  const walk = (mark, dx, dy) => mark.items.forEach((item) => {
    if (mark.marktype === "group") { item.items.forEach((inner) => walk(inner, dx + (item.x || 0), dy + (item.y || 0))); return; }
    if (mark.marktype !== "text" || !item.text || item.opacity === 0 || (item.angle && item.angle % 90)) return;
    const { x1, x2, y1, y2 } = item.bounds;
    found.push({ left: dx + x1, right: dx + x2, top: dy + y1, bottom: dy + y2, name: `${figure.id} ${item.text}` });
  });
  const padding = view.padding(), [x, y] = view.origin();
  walk(view.scenegraph().root, padding.left + x, padding.top + y);
  const { width, height } = figure.querySelector("canvas").getBoundingClientRect();
  return { found, width, height };
})"""
# What reaches beyond its own box or the window, where nothing lets a reader scroll to it.
CUT_OFF = """() => [...document.querySelectorAll("h1, h2, h3, p, a, button, label, input, select, summary, figure, canvas, output, dt, dd, .legend")]
  .filter((node) => node.checkVisibility() && !node.closest(".scroll, dialog, .skip")).filter((node) => {
    const { left, right } = node.getBoundingClientRect();
    return left < 0 || right > innerWidth || (!["INPUT", "SELECT", "CANVAS"].includes(node.tagName) && node.scrollWidth > node.clientWidth + 1 && node.clientWidth);
  }).map((node) => `${node.tagName} ${node.id} ${node.className} ${node.textContent.slice(0, 40)}`)"""

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
