"""Text from runs on its way into HTML: shown as it is, and never part of the page's own language."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Mapping
from typing import Any

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
    "form-action 'none'"
)
"""For a self-contained page: nothing is fetched, nothing is sent."""

_CONTROLS = dict.fromkeys([*range(9), 11, 12, *range(14, 32), 127], "�")
# What could end a script element or open a comment in it, and the two line ends that old JavaScript takes for its own.
_IN_SCRIPT = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def escape_html(value: object) -> str:
    """Return text for the content of an element or a quoted attribute; control characters become U+FFFD."""
    text = str(value).encode("utf-8", "replace").decode("utf-8")
    return html.escape(text.translate(_CONTROLS), quote=True)


def json_for_script(value: Any) -> str:
    """Return JSON for a ``<script>`` element. Numbers that JSON does not have become the texts nan, inf and -inf."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError):  # a copy of everything, only where something in it asks for that
        text = json.dumps(_finite(value), ensure_ascii=False, allow_nan=False)
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    for char, escaped in _IN_SCRIPT.items():
        text = text.replace(char, escaped)
    return text


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value
