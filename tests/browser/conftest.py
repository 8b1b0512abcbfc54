"""Reports in a real browser without a screen, from files; every test fails where its page complained or asked for anything."""

from __future__ import annotations

import importlib.util
import shutil
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sweepline.reports.collect import ReportedSweep
from sweepline.reports.page import write_page
from tests.conftest import CACHE

ARGUMENTS = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
SVG = "{http://www.w3.org/2000/svg}"
# What a reader would come by: every picture is drawn when it comes into view.
DRAW_ALL = """async () => {
  const figures = [...document.querySelectorAll("figure")];
  for (const figure of figures) {
    figure.scrollIntoView({block: "center"});
    while (!figure.dataset.drawn) await new Promise(requestAnimationFrame);
  }
  scrollTo(0, 0);
  return figures.map((figure) => figure.id.replace("picture-", ""));
}"""
# The hover texts of all that a picture has, found by moving over it as a pointer does.
HOVER_TEXTS = """(figure) => {
  const canvas = figure.querySelector("canvas"), box = canvas.getBoundingClientRect(), found = new Set();
  const hover = document.getElementById("hover");
  for (let y = 2; y < box.height; y += 4) for (let x = 2; x < box.width; x += 4) {
    const at = {clientX: box.left + x, clientY: box.top + y, bubbles: true};
    canvas.dispatchEvent(new PointerEvent("pointermove", at));
    canvas.dispatchEvent(new MouseEvent("mousemove", at));
    const texts = [...hover.querySelectorAll("dt, dd")].map((one) => one.textContent);
    if (!hover.hidden) found.add(JSON.stringify(texts));
  }
  return [...found].map((text) => JSON.parse(text));
}"""
N_COLORS = """(figure) => Math.max(0, ...[...figure.querySelectorAll("canvas")].map((canvas) => {
  const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  return new Set(new Uint32Array(data.buffer)).size;
}))"""


@dataclass
class Opened:
    """A report that is open in the browser, with what it complained about and asked for."""

    page: Any
    path: Path
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def draw_all(self) -> list[str]:
        """Bring every picture into view until it is drawn; return their names."""
        names: list[str] = self.page.evaluate(DRAW_ALL)
        return names

    def picture(self, name: str) -> Any:
        """Return the figure of a picture, in view and drawn."""
        figure = self.page.locator(f"#picture-{name}")
        figure.evaluate("(figure) => figure.scrollIntoView({block: 'center'})")
        self.page.wait_for_selector(f"#picture-{name}[data-drawn]")
        return figure

    def hover_texts(self, name: str) -> list[dict[str, str]]:
        """Return the texts that a picture shows where it is pointed at."""
        texts = self.picture(name).evaluate(HOVER_TEXTS)
        return [dict(zip(pairs[::2], pairs[1::2], strict=True)) for pairs in texts]

    def n_colors(self, name: str) -> int:
        """Return how many colours a picture has."""
        found: int = self.picture(name).evaluate(N_COLORS)
        return found

    def save(self, name: str, kind: str) -> bytes:
        """Return the file that a picture is saved as."""
        figure = self.picture(name)
        with self.page.expect_download() as told:
            figure.get_by_role("button", name=kind).click()
        return Path(told.value.path()).read_bytes()

    def svg(self, name: str) -> ET.Element:
        """Return a picture as it is saved."""
        return ET.fromstring(self.save(name, "SVG"))

    def svg_texts(self, name: str) -> list[str]:
        """Return the texts in a picture."""
        return [text for node in self.svg(name).iter(f"{SVG}text") if (text := "".join(node.itertext()))]

    def drag(self, name: str, selector: str, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Drag the pointer over a part of a picture, from one place to another: shares of its width and height."""
        box = self.picture(name).locator(selector).first.bounding_box()
        mouse = self.page.mouse
        mouse.move(box["x"] + box["width"] * start[0], box["y"] + box["height"] * start[1])
        mouse.down()
        mouse.move(box["x"] + box["width"] * end[0], box["y"] + box["height"] * end[1], steps=4)
        mouse.up()

    def filter(self, expression: str) -> None:
        """Write a filter expression."""
        self.page.fill("#expression", expression)

    def wait_for_count(self, text: str) -> None:
        """Return when the page says how many runs it shows."""
        self.page.wait_for_function(
            "(text) => document.getElementById('count').textContent.startsWith(text)", arg=text, timeout=20_000
        )

    def settle(self) -> None:
        """Return when what was changed has been drawn."""
        self.page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def column(self, title: str) -> list[str]:
        """Return the texts of a column of the table."""
        found: list[str] = self.page.evaluate(
            """(title) => { const table = document.getElementById("table");
                 const at = [...table.tHead.rows[0].cells].findIndex((cell) => cell.textContent.startsWith(title));
                 return [...table.tBodies[0].querySelectorAll("tr:not(.run)")].map((row) => row.cells[at].textContent); }""",
            title,
        )
        return found


Open = Callable[..., Opened]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A browser."""
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("needs a browser: apt-get install chromium")
    if importlib.util.find_spec("playwright") is None:
        pytest.skip("needs playwright: pip install playwright")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield found
        found.close()


@pytest.fixture
def open_report(chromium: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """Writes the report of sweeps, or takes one that is written, and opens it; more than once if need be."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(CACHE))
    contexts: list[Any] = []
    opened: list[Opened] = []

    def open_it(
        report: ReportedSweep | Sequence[ReportedSweep] | Path,
        *,
        width: int = 1440,
        theme: str = "light",
        is_live: bool = False,
        script: str = "",
    ) -> Opened:
        if isinstance(report, Path):
            path = report
        else:
            path = tmp_path / "report.html"
            write_page([report] if isinstance(report, ReportedSweep) else report, path, is_live=is_live)
        context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=theme)
        contexts.append(context)
        found = Opened(context.new_page(), path)
        opened.append(found)
        found.page.on("console", lambda message: found.complaints.append(f"{message.type}: {message.text}"))
        found.page.on("pageerror", lambda fault: found.complaints.append(f"fault: {fault}"))
        found.page.on("dialog", lambda dialog: (found.complaints.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        found.page.on("request", lambda request: found.requests.append(request.url))
        if script:
            found.page.add_init_script(script)
        found.page.goto(path.as_uri())
        found.page.wait_for_function("document.getElementById('footer').textContent")
        return found

    yield open_it
    complaints = [complaint for one in opened for complaint in one.complaints]
    foreign = [url for one in opened for url in one.requests if not url.startswith(("file:", "data:", "blob:"))]
    for context in contexts:
        context.close()
    assert complaints == []
    assert foreign == []
