"""Reports in a real browser, opened from files; a test fails where its page complained or asked for anything."""

from __future__ import annotations

import importlib.util
import shutil
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest

from sweepline.reports.collect import ReportedSweep
from sweepline.reports.page import write_page
from tests.conftest import CACHE

T = TypeVar("T")
WAIT_S = 20
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
# The page's script shares nothing, so that what the library draws is noted down where the library hands it out.
NOTE_VIEWS = """(() => {
  let embed;
  Object.defineProperty(window, "vegaEmbed", {
    get: () => embed && (async (place, ...rest) => {
      const made = await embed(place, ...rest);
      place.view = made.view;
      return made;
    }),
    set: (found) => { embed = found; },
  });
  addEventListener("securitypolicyviolation", (told) => console.error(`forbidden: ${told.violatedDirective}`));
})();"""
# Where a picture has a mark that tells something, as places in the window.
PLACES = """(figure) => {
  const { view } = figure.querySelector(".sheet"), box = figure.querySelector("canvas").getBoundingClientRect();
  const padding = view.padding(), origin = view.origin(), found = [];
  const walk = (mark, dx, dy) => mark.items.forEach((item) => {
    const { x1, x2, y1, y2 } = item.bounds;
    if (mark.marktype === "group") item.items.forEach((inner) => walk(inner, dx + (item.x || 0), dy + (item.y || 0)));
    else if (item.tooltip) found.push([dx + (x1 + x2) / 2, dy + (y1 + y2) / 2]);
  });
  walk(view.scenegraph().root, box.left + padding.left + origin[0], box.top + padding.top + origin[1]);
  return found;
}"""
HOVER_TEXTS = """() => document.getElementById("hover").hidden ? []
  : [...document.querySelectorAll("#hover dt, #hover dd")].map((one) => one.textContent)"""
# Of the table's configurations, without the single runs of those that are unfolded.
COLUMN = """(title) => {
  const table = document.getElementById("table");
  const at = [...table.tHead.rows[0].cells].findIndex((cell) => cell.textContent.startsWith(title));
  return [...table.tBodies[0].querySelectorAll("tr:not(.run)")].map((row) => row.cells[at].textContent);
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
        """Return the texts that a picture shows where it is pointed at, each once."""
        places = self.picture(name).evaluate(PLACES)
        found: dict[tuple[str, ...], None] = {}
        for x, y in places:
            self.page.mouse.move(x, y)
            if texts := self.page.evaluate(HOVER_TEXTS):
                found[tuple(texts)] = None
        return [dict(zip(texts[::2], texts[1::2], strict=True)) for texts in found]

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
        self.settle()

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

    def wait_for(self, read: Callable[[], T], is_met: Callable[[T], bool]) -> T:
        """Return what is read as soon as it is as it shall be; the last that was read where it never comes to that."""
        until = time.monotonic() + WAIT_S
        while not is_met(found := read()) and time.monotonic() < until:
            self.settle()
        return found

    def column(self, title: str, is_met: Callable[[list[str]], bool] = bool) -> list[str]:
        """Return the texts of a column of the table, brought into view, as soon as they are as they shall be."""
        self.page.locator("#runs").evaluate("(part) => part.scrollIntoView()")
        return self.wait_for(lambda: self.page.evaluate(COLUMN, title), is_met)


Open = Callable[..., Opened]
"""What :meth:`Reader.open` is: it opens a report in a window of its own."""

Shared = Callable[..., Opened]


@dataclass
class Reader:
    """Who opens reports, and has heard what they complained about and asked for."""

    chromium: Any
    folder: Path
    opened: list[Opened] = field(default_factory=list)
    shared: dict[str, Opened] = field(default_factory=dict)

    def open(
        self,
        report: ReportedSweep | Sequence[ReportedSweep] | Path,
        *,
        width: int = 1440,
        theme: str = "light",
        is_live: bool = False,
        has_clock: bool = False,
    ) -> Opened:
        """Open a report in a window of its own."""
        path = report if isinstance(report, Path) else self.folder / f"report-{len(self.opened)}.html"
        if not isinstance(report, Path):
            with pytest.MonkeyPatch.context() as patched:
                patched.setenv("XDG_CACHE_HOME", str(CACHE))
                write_page([report] if isinstance(report, ReportedSweep) else report, path, is_live=is_live)
        context = self.chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=theme)
        context.add_init_script(NOTE_VIEWS)
        if has_clock:  # which tests set forward
            context.clock.install()
        found = Opened(context.new_page(), path)
        self.opened.append(found)
        found.page.on("console", lambda message: found.complaints.append(f"{message.type}: {message.text}"))
        found.page.on("pageerror", lambda fault: found.complaints.append(f"fault: {fault}"))
        found.page.on("dialog", lambda dialog: (found.complaints.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        found.page.on("request", lambda request: found.requests.append(request.url))
        found.page.goto(path.as_uri())
        found.page.wait_for_function("document.getElementById('footer').textContent")
        return found

    def assert_quiet(self) -> None:
        """Fail where a page complained, or asked for anything from elsewhere."""
        complaints = [complaint for one in self.opened for complaint in one.complaints]
        urls = [url for one in self.opened for url in one.requests]
        assert complaints == []
        assert [url for url in urls if not url.startswith(("file:", "data:", "blob:"))] == []

    def close(self) -> None:
        """Close all windows."""
        for one in self.opened:
            one.page.context.close()


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
def open_report(chromium: Any, tmp_path: Path) -> Iterator[Open]:
    """Opens reports; as many as need be."""
    reader = Reader(chromium, tmp_path)
    yield reader.open
    for one in reader.opened:
        one.settle()
    reader.close()
    reader.assert_quiet()


@pytest.fixture(scope="module")
def module_reader(chromium: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """Who opens what the tests of a module share."""
    reader = Reader(chromium, tmp_path_factory.mktemp("shared"))
    yield reader
    reader.close()


@pytest.fixture
def shared_report(module_reader: Reader) -> Iterator[Shared]:
    """Opens the report of what builds a sweep, once per module, for tests that leave it as they find it."""

    def open_it(build: Callable[[], ReportedSweep | Sequence[ReportedSweep]], **options: Any) -> Opened:
        key = f"{build.__name__} {sorted(options.items())}"
        if key not in module_reader.shared:
            module_reader.shared[key] = module_reader.open(build(), **options)
        return module_reader.shared[key]

    yield open_it
    module_reader.assert_quiet()
