"""The charting library: Vega, as the package ``vl-convert-python`` carries it: its script, and files without a browser.

The script is put together once per version, which takes seconds, and kept in the user's cache folder.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sweepline.contract.files import write_whole
from sweepline.errors import ConfigError

PACKAGE = "vl-convert-python"
KINDS = ("svg", "png", "pdf")
_PIXELS_PER_INCH = 300


def script() -> str:
    """Return the library as a script that defines ``vega``, ``vegaLite`` and ``vegaEmbed``.

    Raises:
        ConfigError: the package is not installed.
    """
    path = _cache_folder() / f"vega-{_version()}.js"
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        pass
    import vl_convert

    found: str = vl_convert.javascript_bundle()  # type: ignore[call-arg]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, found.encode("utf-8"), is_durable=False)
    except OSError:
        return found  # a home that cannot be written to: made anew each time
    return found


def draw(spec: Mapping[str, Any], kind: str) -> bytes:
    """Return a specification with its data as the bytes of an SVG, PNG (300 pixels per inch) or PDF file.

    Raises:
        ConfigError: the package is not installed, or it cannot draw the specification.
    """
    _version()
    import vl_convert

    text = json.dumps(spec, allow_nan=False)
    try:
        if kind == "svg":
            return str(vl_convert.vegalite_to_svg(text)).encode("utf-8")
        if kind == "png":
            return bytes(vl_convert.vegalite_to_png(text, ppi=_PIXELS_PER_INCH))
        return bytes(vl_convert.vegalite_to_pdf(text))
    except ValueError as error:
        raise ConfigError(f"a chart cannot be drawn as {kind}: {str(error).splitlines()[0]}") from None


def _version() -> str:
    try:
        return importlib.metadata.version(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        raise ConfigError(f"charts need {PACKAGE}: pip install {PACKAGE}") from None


def _cache_folder() -> Path:
    told = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(told) if Path(told).is_absolute() else Path.home() / ".cache") / "sweepline"
