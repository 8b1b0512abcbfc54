"""The report without a mouse."""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser import sweeps
from tests.browser.conftest import Open, Opened

pytestmark = pytest.mark.browser

# All that can be used, as a reader who sees the page would count it; those of a closed part are not there.
CONTROLS = """() => {
  const all = document.querySelectorAll("a[href], button, input, select, summary, [tabindex='0']");
  return [...all].filter((one) => !one.disabled && one.checkVisibility() && !one.closest("dialog:not([open])"))
    .map((one, i) => { one.dataset.number = i; return String(i); });
}"""
FOCUS = """() => {
  const one = document.activeElement, style = getComputedStyle(one), box = one.getBoundingClientRect();
  return {
    number: one.dataset.number ?? null, outline: style.outlineStyle === "none" ? 0 : parseFloat(style.outlineWidth),
    isInView: box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth,
    text: one.outerHTML.slice(0, 90),
  };
}"""


def focus(report: Opened, locator: Any) -> Any:
    """Focus a control as Tab does, so that it is seen."""
    locator.focus()
    report.page.keyboard.press("Shift+Tab")
    report.page.keyboard.press("Tab")
    return locator


def is_focused(locator: Any) -> bool:
    return bool(locator.evaluate("(one) => one === document.activeElement"))


def test_every_control_is_reached_in_order_and_seen(open_report: Open) -> None:
    report = open_report(sweeps.five_parameters(24))
    report.draw_all()
    wanted = report.page.evaluate(CONTROLS)
    reached = []
    for _ in wanted:
        report.page.keyboard.press("Tab")
        reached.append(report.page.evaluate(FOCUS))
    assert [told["number"] for told in reached] == wanted
    assert [told["text"] for told in reached if told["outline"] < 1] == []
    assert [told["text"] for told in reached if not told["isInView"]] == []


def test_the_first_link_leads_past_the_top(open_report: Open) -> None:
    report = open_report(sweeps.five_parameters(24))
    report.page.keyboard.press("Tab")
    assert is_focused(report.page.get_by_role("link", name="Skip to the runs"))
    report.page.keyboard.press("Enter")
    report.page.keyboard.press("Tab")
    assert is_focused(report.page.locator("#expression"))


@pytest.mark.parametrize("key", ["Enter", "Space"])
def test_columns_are_sorted_and_the_focus_stays(open_report: Open, key: str) -> None:
    report = open_report(sweeps.one_parameter())
    head = focus(report, report.page.get_by_title("Sort by lr", exact=True))
    for expected in (["0.0001", "0.001", "0.01", "0.1", "1"], ["1", "0.1", "0.01", "0.001", "0.0001"]):
        report.page.keyboard.press(key)
        assert report.column("lr", lambda found, expected=expected: found == expected) == expected
        assert is_focused(head)


@pytest.mark.parametrize("key", ["Enter", "Space"])
def test_seeds_are_unfolded_and_the_focus_stays(open_report: Open, key: str) -> None:
    report = open_report(sweeps.one_parameter())
    fold = focus(report, report.page.get_by_role("button", name="Runs of configuration 2", exact=True))
    report.page.keyboard.press(key)
    assert report.page.locator("tr.run").count() == 3
    assert is_focused(fold)
    report.page.keyboard.press(key)
    assert report.page.locator("tr.run").count() == 0


@pytest.mark.parametrize("key", ["Enter", "Space"])
def test_a_run_is_opened_and_closed_and_the_focus_returns(open_report: Open, key: str) -> None:
    report = open_report(sweeps.five_parameters(24))
    button = focus(report, report.page.locator("#table button.link").nth(1))
    report.page.keyboard.press(key)
    dialog = report.page.get_by_role("dialog")
    dialog.wait_for()
    assert dialog.evaluate("(box) => box.contains(document.activeElement)")
    report.page.keyboard.press("Escape")
    dialog.wait_for(state="hidden")
    assert is_focused(button)


def test_pages_are_turned_and_the_focus_stays_at_hand(open_report: Open) -> None:
    report = open_report(sweeps.five_parameters(120))
    report.page.get_by_role("button", name="Next").focus()
    report.page.keyboard.press("Enter")
    assert report.column("#", lambda found: found[0] == "51")[0] == "51"
    assert is_focused(report.page.get_by_role("button", name="Next"))
    report.page.keyboard.press("Enter")
    assert report.column("#", lambda found: found[0] == "101")[0] == "101"
    assert is_focused(report.page.get_by_role("button", name="Previous"))


def test_enter_in_the_filter_loads_nothing(open_report: Open) -> None:
    report = open_report(sweeps.one_parameter())
    n_requests = len(report.requests)
    report.page.locator("#expression").focus()
    report.page.keyboard.type("lr > 0.01")
    report.page.keyboard.press("Enter")
    report.wait_for_count("6 of 15 runs")
    assert len(report.requests) == n_requests


def test_the_best_share_is_set_by_arrows(open_report: Open) -> None:
    report = open_report(sweeps.one_parameter())
    report.page.locator("#share").focus()
    for _ in range(50):
        report.page.keyboard.press("ArrowDown")
    report.wait_for_count("8 of 15 runs")


def test_what_a_picture_shows_is_chosen_by_arrows(open_report: Open) -> None:
    report = open_report(sweeps.five_parameters(24))
    chosen = report.picture("slice").get_by_role("combobox")
    focus(report, chosen)
    before = chosen.input_value()
    report.page.keyboard.press("ArrowDown")
    assert chosen.input_value() != before
    title = chosen.evaluate("(one) => one.selectedOptions[0].textContent")
    assert title in report.svg_texts("slice")


def test_axes_are_moved_and_chosen(open_report: Open) -> None:
    report = open_report(sweeps.five_parameters(24))
    axes = report.picture("parallel").locator("button.axis")
    names = axes.all_inner_texts()
    focus(report, axes.first)
    report.page.keyboard.press("Enter")
    assert axes.all_inner_texts() == [names[1], names[0], *names[2:]]
    assert is_focused(axes.nth(1))
    focus(report, report.page.locator("#parallel summary"))
    report.page.keyboard.press("Enter")
    report.page.keyboard.press("Tab")
    report.page.keyboard.press("Space")
    assert len(axes.all_inner_texts()) == len(names) - 1


def test_a_selection_is_removed_and_the_focus_stays_at_hand(open_report: Open) -> None:
    report = open_report(sweeps.five_parameters(60))
    report.drag("scatter", "canvas", (0.15, 0.1), (0.5, 0.8))
    focus(report, report.page.locator("#brushes button"))
    report.page.keyboard.press("Enter")
    report.wait_for_count("60 runs of 60")
    assert is_focused(report.page.locator("#expression"))


def test_the_theme_is_changed(open_report: Open) -> None:
    report = open_report(sweeps.one_parameter())
    focus(report, report.page.locator("#theme"))
    report.page.keyboard.press("Enter")
    report.page.keyboard.press("Space")
    assert report.page.locator("html").get_attribute("data-theme") == "dark"
    assert is_focused(report.page.locator("#theme"))


def test_a_table_that_is_too_wide_is_scrolled(open_report: Open) -> None:
    report = open_report(sweeps.five_parameters(24), width=390)
    region = report.page.get_by_role("region", name="Table of configurations")
    focus(report, region)
    report.page.keyboard.press("ArrowRight")
    assert report.wait_for(lambda: region.evaluate("(one) => one.scrollLeft"), bool) > 0
