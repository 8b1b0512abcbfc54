"""Changing a sweep under way: what other processes ask of it, and how it follows."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from sweepline.config.schema import OwnKeys
from sweepline.engine.control import Requests
from sweepline.engine.state import SweepState
from sweepline.errors import ConfigError, RecordError, did_you_mean
from sweepline.executors.base import StopReason

LOOK_S = 0.5
SETTABLE: Mapping[str, str] = {
    "max_concurrent": "max_concurrent",
    "retry": "retry",
    "timeout": "timeout_s",
    "stall_timeout": "stall_s",
    "grace": "grace_s",
}
"""Keys of a sweep file that can be changed under way, and what settings call them."""


class Steering:
    """Answers what is asked of a sweep. ``due`` is the monotonic time of the next look."""

    def __init__(self, sweep: SweepState) -> None:
        self._sweep, self._requests = sweep, Requests(sweep.folder.path)
        self.due = time.monotonic()
        self._operations: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
            "stop": self._stop,
            "stop_runs": self._stop_runs,
            "pause": self._pause,
            "drain": self._drain,
            "resume": self._resume,
            "set": self._set,
            "tag": self._tag,
        }

    def look(self) -> None:
        """Answer what was asked since the last look, where it is time to."""
        now = time.monotonic()
        if now >= self.due:
            self.due = now + LOOK_S
            self._requests.answer(self._handle)

    def _handle(self, told: Mapping[str, Any]) -> str:
        operation = self._operations.get(str(told.get("op")))
        if operation is None:
            raise ConfigError(f"the sweep that runs knows no {told.get('op')!r}: it was started by another version")
        try:
            return operation(told)
        except ConfigError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ConfigError(f"the request cannot be read: {error!r}") from None
        except RecordError as error:  # no room: whoever asks may ask again, and no run is harmed
            raise ConfigError(str(error)) from None

    def _stop(self, _told: Mapping[str, Any]) -> str:
        self._sweep.requests.request(signal.SIGTERM)
        return "the sweep stops, as by Ctrl-C; the same command goes on"

    def _stop_runs(self, told: Mapping[str, Any]) -> str:
        wanted = set(told["runs"])
        stopped = [active for active in self._sweep.active if active.run.run_id in wanted]
        for active in stopped:
            active.handle.cancel(StopReason.BY_HAND)
        self._sweep.backlog.drop_retries(wanted)
        if not stopped:
            raise ConfigError("none of these runs is under way")
        names = ", ".join(active.run.name for active in stopped)
        self._sweep.say(f"{names}: stopped by hand")
        return f"{names}: SIGTERM sent; killed where it does not end within its grace"

    def _pause(self, _told: Mapping[str, Any]) -> str:
        self._sweep.is_paused = True
        return self._say(f"paused: {self._n_active()} under way go on, nothing more is launched until sweepline resume")

    def _drain(self, _told: Mapping[str, Any]) -> str:
        self._sweep.requests.is_draining = True
        return f"nothing more is launched; the sweep ends after the {self._n_active()} under way"

    def _resume(self, _told: Mapping[str, Any]) -> str:
        sweep = self._sweep
        if not sweep.is_paused and not sweep.requests.is_draining:
            raise ConfigError("the sweep is neither paused nor drained")
        sweep.is_paused = sweep.requests.is_draining = False
        return self._say("resumed: runs are launched again")

    def _n_active(self) -> str:
        n = len(self._sweep.active)
        return f"{n} run{'' if n == 1 else 's'}"

    def _set(self, told: Mapping[str, Any]) -> str:
        key, sweep = str(told["key"]), self._sweep
        value = check_setting(key, told["value"])
        sweep.settings = replace(sweep.settings, **{SETTABLE[key]: value})
        sweep.tasks = replace(sweep.tasks, settings=sweep.settings)
        if key == "max_concurrent":
            sweep.slots.resize(value or len(sweep.slots.all))
            value = sweep.slots.n_max
        elif key == "retry":
            sweep.retries.n_retries = value
        which = "" if key == "max_concurrent" else ", for runs that start from now on"
        return self._say(f"{key} is {value} now{which}; the sweep file still says what the next start takes")

    def _tag(self, told: Mapping[str, Any]) -> str:
        book = self._sweep.book
        for run_id in told["runs"]:
            if run_id not in book.records:
                raise ConfigError(f"{run_id}: no such run")
            book.tag(run_id, change_tags(book.records[run_id].tags, told["words"], told["removed"]))
        n = len(told["runs"])
        return f"{n} run{'' if n == 1 else 's'} tagged"

    def _say(self, text: str) -> str:
        self._sweep.say(text)
        return text


def check_setting(key: str, value: Any) -> Any:
    """Return the value of a key that can be changed under way, as a sweep file would have it.

    Raises:
        ConfigError: there is no such key, or the value does not fit.
    """
    if key not in SETTABLE:
        hint = did_you_mean(key, SETTABLE) or f"; these can: {', '.join(SETTABLE)}"
        raise ConfigError(f"{key}: cannot be changed while a sweep runs{hint}")
    try:
        return getattr(OwnKeys.model_validate({key: value}), key)
    except ValidationError as error:
        message = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise ConfigError(f"{key}: {message}") from None


def change_tags(tags: str, words: Iterable[str], removed: Iterable[str]) -> str:
    """Return the tags of a run, with some more and without others."""
    gone = set(removed)
    found: Sequence[str] = [word for word in dict.fromkeys([*tags.split(), *words]) if word not in gone]
    return " ".join(found)
