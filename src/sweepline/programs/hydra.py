"""Values in the grammar of Hydra's command line, so that they arrive with their type. Knows the grammar, not Hydra.

The grammar: https://hydra.cc/docs/advanced/override_grammar/basic/
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from sweepline.errors import ConfigError

_PLAIN_TEXT = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*", re.ASCII)
_RESERVED = frozenset({"null", "true", "false", "inf", "nan"})
_MISSING = "???"  # what OmegaConf takes for a value that is still to be given

_WORD, _INDEX = r"[A-Za-z_$][A-Za-z0-9_$-]*", r"(?:0|[1-9][0-9]*)"
_PACKAGE = rf"(?:{_WORD}|(?:{_WORD}|{_INDEX})(?:\.(?:{_WORD}|{_INDEX}))+)"
_GROUP = r"[A-Za-z_][A-Za-z0-9_-]*(?:/[A-Za-z_][A-Za-z0-9_-]*)+"
_OVERRIDE_KEY = re.compile(rf"(?:{_PACKAGE}|{_GROUP})(?:@(?:{_PACKAGE})?)?", re.ASCII)

_DICT_KEY = re.compile(r"[A-Za-z0-9_/\-\\+.$%*@?|()\[\]{}:=, \t]+", re.ASCII)
_ESCAPED_IN_KEY = re.compile(r"[\\()\[\]{}:=, \t]")
_NUMBER = re.compile(
    r"[-+]?(?:\d[\d_]*\.?[\d_]*(?:e[-+]?[\d_]+)?|\.\d[\d_]*(?:e[-+]?[\d_]+)?|inf|nan)", re.ASCII | re.IGNORECASE
)

_BACKSLASHES_BEFORE_INTERPOLATION = re.compile(r"(\\*)\$\{")
_BACKSLASHES_BEFORE_QUOTE = re.compile(r"(\\*)('|\Z)")


def format_override(prefix: str, key: str, value: Any) -> str:
    """Return ``prefix key=value`` as one word that sets ``key`` to ``value`` in Hydra's config.

    A key may bring a prefix of its own: ``+key`` is added, ``++key`` added or set.

    Raises:
        ConfigError: the grammar has no way to write the key or the value.
    """
    bare = key.lstrip("+")
    own = key[: len(key) - len(bare)]
    prefix, key = (own, bare) if own in ("+", "++") else (prefix, key)
    if not _OVERRIDE_KEY.fullmatch(key):
        raise ConfigError(f"Hydra's grammar cannot write the key {key!r}; rename it")
    return f"{prefix}{key}={format_hydra(value)}"


def format_hydra(value: Any) -> str:
    """Return a value as it stands right of ``=``.

    Raises:
        ConfigError: the grammar has no way to write it.
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)  # inf, -inf, nan
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{_format_key(key)}:{format_hydra(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(format_hydra, value)) + "]"
    return _format_text(str(value))


def _format_text(text: str) -> str:
    if text == _MISSING:
        raise ConfigError(f"the text {text!r} means a missing value to Hydra; use another one")
    if _PLAIN_TEXT.fullmatch(text) and text.lower() not in _RESERVED:
        return text
    # OmegaConf first: "${" would be resolved. Then Hydra: backslashes count only before a quote.
    literal = _BACKSLASHES_BEFORE_INTERPOLATION.sub(lambda found: rf"{found[1] * 2}\${{", text)
    quoted = _BACKSLASHES_BEFORE_QUOTE.sub(lambda found: found[1] * 2 + (r"\'" if found[2] else ""), literal)
    return f"'{quoted}'"


def _format_key(key: Any) -> str:
    if isinstance(key, (bool, int, float)):
        return format_hydra(key)
    is_writable = isinstance(key, str) and _DICT_KEY.fullmatch(key) and "${" not in key
    if not is_writable or key.lower() in _RESERVED or _NUMBER.fullmatch(key):
        raise ConfigError(f"Hydra's grammar cannot write the key {key!r} of a mapping; rename it")
    return _ESCAPED_IN_KEY.sub(lambda found: f"\\{found[0]}", key)
