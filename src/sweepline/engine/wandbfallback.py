"""Keeps runs of other programs offline while W&B's server does not answer: the client itself would fail them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from sweepline.contract.wandbserver import find_server_fault, server_host
from sweepline.programs.wandb import MODE

TIMEOUT_S = 4.0
_VALID_S = 60.0  # an answer holds so long: a sweep of short runs does not ask before each


class OfflineFallback:
    """Knows whether the server answered when it was last asked, which is at most once a minute, when a run starts."""

    def __init__(
        self, *, find_fault: Callable[..., str | None] = find_server_fault, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._find_fault, self._now = find_fault, now
        self._fault: str | None = None
        self._asked_at: float | None = None
        self._notes: list[str] = []

    def mode(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Return the mode of a run that starts now with this environment: offline while the server does not answer.

        A mode that is set already stays, and then nobody is asked.
        """
        if MODE in environ:
            return {}
        self._ask_if_due(environ)
        return {} if self._fault is None else {MODE: "offline"}

    def take_notes(self) -> list[str]:
        """Return what has changed since the last call, as sentences."""
        notes, self._notes = self._notes, []
        return notes

    def _ask_if_due(self, environ: Mapping[str, str]) -> None:
        if self._asked_at is not None and self._now() - self._asked_at < _VALID_S:
            return
        before, self._fault = self._fault, self._find_fault(environ, timeout_s=TIMEOUT_S)
        self._asked_at = self._now()
        if self._fault is not None and before is None:
            self._notes.append(
                f"W&B cannot be reached ({server_host(environ)}: {self._fault}): runs that start now are kept offline"
            )
        elif self._fault is None and before is not None:
            self._notes.append("W&B answers again: runs that start now are online")
