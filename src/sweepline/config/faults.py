"""Collects what is wrong with one file, so that a user sees all of it at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sweepline.contract.yamlfile import Document, KeyPath
from sweepline.errors import ConfigError

MAX_SENTENCE = 600


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
