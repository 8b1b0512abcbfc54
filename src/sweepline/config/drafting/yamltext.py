"""Values as a person would write them into a sweep file, on one line."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import yaml

from sweepline.contract.yamlfile import parse_yaml

_LINE = 1 << 20
_COMMENTS_AT = 44
_UNSAFE_IN_FLOW = re.compile(r"[{}\[\],#&*!|>%@`\n]|^[-?:]$")


def format_value(value: Any) -> str:
    """Return a value in YAML's flow style; numbers short, as ``3e-4``."""
    if isinstance(value, list):
        return f"[{', '.join(map(format_value, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{format_value(key)}: {format_value(one)}' for key, one in value.items())}}}"
    if isinstance(value, float) and math.isfinite(value):
        return format_float(value)
    text = yaml.safe_dump(value, default_flow_style=True, width=_LINE, allow_unicode=True)
    text = text.removesuffix("\n").removesuffix("...").removesuffix("\n")
    if isinstance(value, str) and (_UNSAFE_IN_FLOW.search(value) or parse_yaml(text, "").value != value):
        return json.dumps(value, ensure_ascii=False)  # 1e-3 is a number here, and text for PyYAML
    return text


def format_float(value: float) -> str:
    """Return a number that YAML 1.2 reads as the same float: ``3e-4``, ``0.05``, ``1.0``."""
    text = repr(value)
    if "e" in text:
        mantissa, _, exponent = text.partition("e")
        return f"{mantissa.removesuffix('.0')}e{int(exponent)}"
    if 0 < abs(value) < 0.01:
        mantissa, _, exponent = f"{value:.12e}".partition("e")
        short = f"{float(mantissa):.10g}e{int(exponent)}"
        return short if float(short) == value else text
    return text


def quote_pattern(pattern: str) -> str:
    """Return a regular expression in single quotes, in which backslashes stay as they are."""
    return "'" + pattern.replace("'", "''") + "'"


def commented(line: str, comment: str) -> str:
    """Return a line with a comment behind it, below those of its neighbours."""
    return f"{line:{_COMMENTS_AT}} # {comment}".rstrip() if comment else line
