"""Collects what is wrong with one file, so that a user sees all of it at once."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sweepline.contract.yamlfile import Document, KeyPath
from sweepline.errors import ConfigError, did_you_mean

MAX_SENTENCE = 600


def describe_detail(detail: Any, known: Sequence[str] = ()) -> str:
    """Return a pydantic error's detail as a sentence without its key; ``known`` are the keys that there are."""
    kind, value, loc = detail["type"], detail.get("input"), detail["loc"]
    if kind == "missing":
        return f"needs the key {loc[-1]!r}"
    if kind == "extra_forbidden":
        return f"unknown key{did_you_mean(str(loc[-1]), known) or '; there are ' + ', '.join(known)}"
    if kind in ("model_type", "dict_type"):
        return f"must be a mapping, got {value!r}"
    if kind == "tuple_type":
        return f"should be a valid list, got {value!r}"
    if kind == "value_error":
        return str(detail["msg"]).removeprefix("Value error, ")
    if kind == "literal_error" and isinstance(value, str):
        expected = str(detail["ctx"]["expected"])
        hint = did_you_mean(value, re.findall(r"'(\w+)'", expected))
        return f"unknown value {value!r}{hint or f'; there are {expected}'}"
    return f"{str(detail['msg']).replace('Input should be', 'should be')}, got {value!r}"


class Faults:
    """Errors and warnings of one document, each with ``file:line: key: ``."""

    def __init__(self, document: Document, *, is_strict: bool = False) -> None:
        self.document = document
        self.is_strict = is_strict
        self.errors: list[str] = []
        self.warnings: list[str] = []

    def error(self, key: KeyPath, sentence: str) -> None:
        """Add a fault that makes the file unusable."""
        self.errors.append(self._at(key, sentence))

    def warn(self, key: KeyPath, sentence: str) -> None:
        """Add something odd that W&B only warns of; an error under ``--strict``."""
        (self.errors if self.is_strict else self.warnings).append(self._at(key, sentence))

    def note(self, key: KeyPath, sentence: str) -> None:
        """Add something worth saying that is no fault, even under ``--strict``."""
        self.warnings.append(self._at(key, sentence))

    @contextmanager
    def at(self, key: KeyPath) -> Iterator[None]:
        """Turn a ConfigError raised inside into errors at ``key``."""
        try:
            yield
        except ConfigError as error:
            for fault in error.faults:
                self.error(key, fault)

    def raise_if_any(self) -> None:
        """Raise a ConfigError with every error found, and the unknown keys that may explain them, if there are."""
        if self.errors:
            explaining = [text for text in self.warnings if "unknown key" in text]
            raise ConfigError(*dict.fromkeys([*self.errors, *explaining]))

    def _at(self, key: KeyPath, sentence: str) -> str:
        if len(sentence) > MAX_SENTENCE:
            sentence = sentence[: MAX_SENTENCE - 1] + "…"
        dotted = ".".join(part if part.isprintable() else repr(part)[1:-1] for part in map(str, key))
        return (
            f"{self.document.where(key)}: {dotted}: {sentence}" if dotted else f"{self.document.where(key)}: {sentence}"
        )
