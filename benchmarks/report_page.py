"""The page of a report: how fast it is written and how large it is, how fast a browser shows it and answers.

The browser is Chromium without a screen and without a GPU, at 1440 x 900, from a file. Without one only writing is
measured.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.measure import Figure, run

FILL = """
import json, math, random
from pathlib import Path
from sweepline.contract.metrics import MetricPoint, format_history
from sweepline.recording.events import RUN_END, RUN_START, end_fields
from sweepline.recording.journal import Journal
from sweepline.runs import RunOutcome, State

N_RUNS, N_POINTS = NUMBERS
folder = Path("sweep")
folder.mkdir()
journal = Journal(folder / "events.jsonl")
rng = random.Random(0)
for i in range(N_RUNS):
    run_id = f"{i:012x}"
    lr, dropout = 10 ** rng.uniform(-4, 0), rng.uniform(0, 0.5)
    params = {"lr": lr, "batch_size": rng.choice([16, 32, 64, 128]), "optimizer": rng.choice(["adam", "sgd", "rmsprop"]),
              "dropout": dropout, "width": rng.randint(16, 512), "depth": rng.randint(1, 8), "decay": 10 ** rng.uniform(-6, -2)}
    loss = 0.2 + 0.15 * math.log10(lr / 0.01) ** 2 + 0.1 * dropout + abs(rng.gauss(0, 0.02))
    start = f"2026-03-01T{i // 2 // 3600 % 24:02}:{i // 2 // 60 % 60:02}:{i // 2 % 60:02}+00:00"
    journal.append(RUN_START, run=run_id, name=f"run-{i}", params=params, seed=None, attempt=1, started_at=start, device=f"gpu:{i % 2}")
    outcome = RunOutcome(state=State.FINISHED, exit_code=0, duration_s=0.9, metrics={"loss": loss, "acc": 1 / (1 + loss)})
    journal.append(RUN_END, run=run_id, attempt=1, **end_fields(outcome))
    if N_POINTS:
        own = folder / "runs" / run_id
        own.mkdir(parents=True)
        points = [MetricPoint({"loss": loss + math.exp(-5 * k / N_POINTS)}, {"epoch": k}) for k in range(1, N_POINTS + 1)]
        (own / "metrics.csv").write_text(format_history(points))
plan = {"sweep": "large", "objective": {"name": "loss", "goal": "minimize"}, "parameters": dict.fromkeys(params, {})}
(folder / "plan.json").write_text(json.dumps(plan))
"""  # noqa: E501
WRITE = """
import json, time
from pathlib import Path
from sweepline.reports import vega
from sweepline.reports.collect import collect
from sweepline.reports.page import write_page

vega.script()
began = time.perf_counter()
sweeps = collect([Path("sweep")])
read = time.perf_counter()
write_page(sweeps, Path("report.html"))
print(json.dumps([read - began, time.perf_counter() - read, len(vega.script().encode())]))
"""
# Told in the page itself, where nothing lies between: the first picture that is there to be seen, and after a change
# the second frame from then on, which begins when the first, with all that the change has brought, is on the screen.
FIRST_PICTURE = """
new MutationObserver((_, observer) => {
  if (!document.querySelector("figure[data-drawn]")) return;
  observer.disconnect();
  requestAnimationFrame(() => requestAnimationFrame(() => { window.firstPicture = performance.now(); }));
}).observe(document, {subtree: true, childList: true, attributes: true, attributeFilter: ["data-drawn"]});
"""
WATCH = """(kind) => {
  window.answered = new Promise((resolve) => addEventListener(kind, () => {
    const began = performance.now();
    requestAnimationFrame(() => requestAnimationFrame(() => resolve(performance.now() - began)));
  }, {once: true, capture: true}));
}"""
FILTERS = ("lr > 0.001", "lr > 0.001 and dropout < 0.3", "optimizer == adam", "depth >= 4", "loss < 0.5", "width < 400")


def figures(n: int) -> Iterator[Figure]:
    """Yield what is measured."""
    with tempfile.TemporaryDirectory() as name:
        few, many = Path(name, "few"), Path(name, "many")
        yield from written(few, "1,000 runs x 100 points", "(1000, 100)", "page_points", n)
        yield from written(many, "10,000 runs x 9 columns", "(10000, 0)", "page_runs", n)
        chromium = shutil.which("chromium")
        if chromium is None or importlib.util.find_spec("playwright") is None:
            yield Figure("how a browser shows it", note="not measured: it needs chromium and playwright")
            return
        with browser(chromium) as opened:
            yield from shown(opened, many / "report.html", "10,000 runs", "page", n)
            yield from shown(opened, few / "report.html", "1,000 runs x 100 points", "page_few", n)


def written(folder: Path, title: str, numbers: str, key: str, n: int) -> Iterator[Figure]:
    """Write the report of a sweep in a process of its own."""
    folder.mkdir()
    run([sys.executable, "-c", FILL.replace("NUMBERS", numbers)], cwd=folder)
    told = [json.loads(run([sys.executable, "-c", WRITE], cwd=folder).output) for _ in range(n)]
    mb = (folder / "report.html").stat().st_size / 1e6
    yield Figure(f"report of {title}: written, beyond reading", [own for _, own, _ in told], key=f"{key}_write")
    yield Figure(f"report of {title}: read and written", [read + own for read, own, _ in told], key=f"{key}_all")
    yield Figure(f"report of {title}: its size", [mb], "MB", key=f"{key}_mb")
    yield Figure(f"report of {title}: its size without the library", [mb - told[0][2] / 1e6], "MB", key=f"{key}_own_mb")


@contextlib.contextmanager
def browser(chromium: str) -> Iterator[Any]:
    """Open a browser."""
    from playwright.sync_api import sync_playwright

    arguments = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=arguments)
        yield opened
        opened.close()


def shown(opened: Any, path: Path, title: str, key: str, n: int) -> Iterator[Figure]:
    """Show a report, filter it, and brush its parallel coordinates and its scatter plot."""
    first: list[float] = []
    answers: dict[str, list[float]] = {}
    for i in range(n):
        page = opened.new_page(viewport={"width": 1440, "height": 900})
        page.add_init_script(FIRST_PICTURE)
        page.goto(path.as_uri())
        page.wait_for_function("window.firstPicture")
        first.append(page.evaluate("window.firstPicture") / 1000)
        for section in ("runs", "parallel", "parameters"):
            answers.setdefault(f"filter with #{section} in view", []).append(filter_runs(page, f"#{section}", i))
        for name, selector, at in (("parallel", ".parallel", (0.05, 0.5)), ("scatter", "canvas", (0.3, 0.6))):
            answers.setdefault(f"brush in #{name}", []).append(brush(page, f"#picture-{name} {selector}", at))
        page.close()
    yield Figure(f"report of {title}: first picture drawn", first, key=f"{key}_first")
    for what, values in answers.items():
        yield Figure(f"report of {title}: {what}, to repaint", values, "ms", key=f"{key}_{what}")


def filter_runs(page: Any, section: str, i: int) -> float:
    """Return the milliseconds from a change of the filter to the frame that shows it."""
    settle(page, section)
    page.evaluate(WATCH, "input")
    page.evaluate(
        """(text) => { const input = document.getElementById("expression"); input.value = text;
                       input.dispatchEvent(new Event("input", {bubbles: true})); }""",
        FILTERS[i % len(FILTERS)],
    )
    return float(page.evaluate("window.answered"))


def brush(page: Any, selector: str, at: tuple[float, float]) -> float:
    """Return the milliseconds from a step of the pointer, its button down, to the frame that shows its selection."""
    settle(page, selector)
    page.locator("#reset").evaluate("(button) => button.click()")
    settle(page, selector)
    box = page.locator(selector).bounding_box()
    x, y = box["x"] + box["width"] * at[0], box["y"] + box["height"] * at[1]
    if "parallel" in selector:
        x = box["x"] + float(page.locator(f"{selector} .axis").first.evaluate("(e) => parseFloat(e.style.left)"))
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 30, y - 60)  # the first step makes a selection of none, the next changes it
    settle(page, selector, has_moved=True)
    page.evaluate(WATCH, "pointermove")
    page.mouse.move(x + 60, y - 90)
    answer = float(page.evaluate("window.answered"))
    page.mouse.up()
    return answer


def settle(page: Any, selector: str, *, has_moved: bool = False) -> None:
    """Bring something into view and wait until all that is in view has been drawn and nothing is left to be done."""
    if not has_moved:
        page.evaluate("(selector) => document.querySelector(selector).scrollIntoView({block: 'center'})", selector)
    page.evaluate(
        """async () => { for (let quiet = 0; quiet < 5;) {
             const began = performance.now();
             await new Promise((resolve) => requestIdleCallback(() => requestAnimationFrame(resolve), {timeout: 200}));
             quiet = performance.now() - began < 40 ? quiet + 1 : 0; } }"""
    )
