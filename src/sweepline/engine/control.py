"""What is asked of a sweep under way by other processes: a file a request, answered by the sweep that holds the folder.

Files work where sockets do not: on a network mount, from another machine, over a path of any length.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from sweepline.contract.files import write_whole
from sweepline.contract.text import display_path
from sweepline.contract.values import is_number
from sweepline.errors import ConfigError, RecordError, record_error
from sweepline.recording.folders import CONTROL

_REQUEST, _ANSWER = ".request.json", ".answer.json"
ANSWER_S = 10.0
"""How long an answer is waited for; a sweep looks for requests twice a second."""
_POLL_S = 0.02


def ask(folder: Path, op: str, **fields: Any) -> str:
    """Ask something of the sweep that holds a folder; return its answer.

    Raises:
        ConfigError: it refuses.
        RecordError: it does not answer, or the folder cannot be written.
    """
    place, name = folder / CONTROL, uuid.uuid4().hex
    request, answer = place / f"{name}{_REQUEST}", place / f"{name}{_ANSWER}"
    try:
        place.mkdir(exist_ok=True)
        write_whole(request, json.dumps({"op": op, "at": time.time(), **fields}).encode(), is_durable=False)
    except OSError as error:
        raise record_error(place, "cannot be written", error) from None
    until = time.monotonic() + ANSWER_S
    while time.monotonic() < until:
        told = _read(answer)
        if told is not None:
            answer.unlink(missing_ok=True)
            if "refused" in told:
                raise ConfigError(str(told["refused"]))
            return str(told["done"])
        time.sleep(_POLL_S)
    request.unlink(missing_ok=True)
    raise RecordError(f"{display_path(folder)}: the sweep does not answer within {ANSWER_S:.0f} s")


class Requests:
    """The requests to a sweep, for the process that holds its folder; what was asked of an earlier one is dropped."""

    def __init__(self, folder: Path) -> None:
        self._place, self._handled = folder / CONTROL, set[str]()
        for left in self._files(_REQUEST, _ANSWER):
            with suppress(OSError):  # somebody else's file: it is answered instead
                left.unlink()

    def answer(self, handle: Callable[[Mapping[str, Any]], str]) -> None:
        """Answer what was asked since the last call, in its order.

        Args:
            handle: returns what was done; what it raises as ConfigError is told as a refusal.
        """
        fresh = (path for path in self._files(_REQUEST) if path.name not in self._handled)
        waiting = [(_time_of(told), path, told) for path in fresh if (told := _read(path)) is not None]
        for _, path, told in sorted(waiting, key=lambda item: (item[0], item[1])):
            self._handled.add(path.name)  # also where it cannot be removed
            try:
                answer = {"done": handle(told)}
            except ConfigError as error:
                answer = {"refused": str(error)}
            with suppress(OSError):  # no room, or the folder is gone: whoever asked is told that nobody answers
                write_whole(path.with_name(path.name.removesuffix(_REQUEST) + _ANSWER), json.dumps(answer).encode())
            with suppress(OSError):
                path.unlink()

    def _files(self, *kinds: str) -> Iterator[Path]:
        try:
            names = list(self._place.iterdir())
        except OSError:  # nobody has asked anything yet
            return
        yield from (path for path in names if path.name.endswith(kinds))


def _time_of(told: Mapping[str, Any]) -> float:
    at = told.get("at")
    return float(at) if at is not None and is_number(at) else 0.0


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
