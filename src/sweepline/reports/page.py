"""``report.html``: one file that holds its data, its script and the charting library, and needs no network."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from sweepline.contract.files import write_whole
from sweepline.contract.text import display_path
from sweepline.engine.session import SweepResult
from sweepline.errors import SweeplineError, record_error
from sweepline.reports import vega
from sweepline.reports.collect import ReportedSweep, of_result
from sweepline.reports.escaping import CONTENT_SECURITY_POLICY, escape_html, json_for_script
from sweepline.reports.pagedata import page_data

REPORT = "report.html"
_ASSETS = resources.files("sweepline.reports") / "assets"
_SCRIPTS = ("data", "numbers", "filter", "selection", "table", "vega", "pictures", "curves", "parallel", "page")
"""The parts of the page's script, in the order in which they need each other."""


def write_page(sweeps: Sequence[ReportedSweep], path: Path, *, is_live: bool = False) -> None:
    """Write the report of sweeps, whole or not at all.

    Args:
        sweeps: at least one.
        path: the file; what is there is replaced.
        is_live: the page shall look for a newer version of itself while one of the sweeps runs.

    Raises:
        SweeplineError: it cannot be written, or the charting library is not there.
    """
    content = render(page_data(sweeps, is_live=is_live, at=path.parent)).encode("utf-8", "replace")
    try:
        write_whole(path, content)
    except OSError as error:
        raise record_error(path, "cannot be written", error) from None


def write_final_page(result: SweepResult) -> str:
    """Write the report of a sweep that has just ended; return the sentence for its summary, nothing where it has none.

    A report is a view: nothing that goes wrong with it is the sweep's fault, or changes how that ended.
    """
    if result.settings.report == "never":
        return ""
    path = result.path / REPORT
    try:
        write_page([of_result(result)], path)
    except SweeplineError as error:
        return f"warning: no report: {error}"
    except Exception as error:  # a fault of the report's own, which is told, with the command that shows where
        return f"warning: no report: {type(error).__name__}: {error}; see sweepline report {display_path(result.path)}"
    return f"report  {display_path(path)}"


def render(data: dict[str, Any]) -> str:
    """Return the page for what :func:`page_data` returns."""
    parts = {
        "policy": CONTENT_SECURITY_POLICY,
        "title": escape_html(data["title"]),
        "style": _asset("report.css"),
        "data": json_for_script(data),
        "library": _for_script(vega.script()),
        "script": _script(),
    }
    page = _asset("report.html")
    head, *rest = page.split("{{")
    return head + "".join(parts[name] + after for name, _, after in (piece.partition("}}") for piece in rest))


def _asset(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")


def _script() -> str:
    """Return the page's own script: its parts share one scope, of which nothing else sees anything."""
    parts = "\n".join(_asset(f"script-{name}.js") for name in _SCRIPTS)
    return f'"use strict";\n(() => {{\n{parts}}})();'


def _for_script(text: str) -> str:
    """Return a script as the content of its element: nothing in it ends the element."""
    return text.replace("</script", "<\\/script").replace("<!--", "<\\!--")
