"""Places outside the run folder that take its metrics, as the reporter knows them. They never fail a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from sweepline.training.reporting.console import say


class Sink(Protocol):
    """What a tracker hands metrics to; whatever it raises is caught by the tracker."""

    def log(self, metrics: Mapping[str, float], place: Mapping[str, int]) -> None:
        """Take one epoch's metrics; ``place`` is its epoch, step and samples."""

    def finish(self, exit_code: int, metrics: Mapping[str, float]) -> None:
        """Flush and close; ``metrics`` are the run's result, none where it has none."""


class Tracker:
    """A place outside the run folder. Its first failure is said and ends it; the run goes on."""

    def __init__(self, name: str, sink: Sink) -> None:
        self.name, self._sink = name, sink
        self._is_open = True

    def log(self, metrics: Mapping[str, float], place: Mapping[str, int]) -> None:
        """Hand over one epoch's metrics."""
        self._try(lambda: self._sink.log(metrics, place))

    def finish(self, exit_code: int, metrics: Mapping[str, float]) -> None:
        """Flush and close, once."""
        self._try(lambda: self._sink.finish(exit_code, metrics))
        self._is_open = False

    def _try(self, action: Callable[[], None]) -> None:
        if not self._is_open:
            return
        try:
            action()
        except Exception as error:
            self._is_open = False
            say(f"{self.name} failed and is left out from here on: {type(error).__name__}: {error}")
