"""Asking a warm parent for a run that it cannot fork any more: the run starts cold, and why is said."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from sweepline.executors.local.keeper.messages import TOKEN_VARIABLE, Prepare, Start
from sweepline.executors.local.keeper.processes import children, token_of
from sweepline.executors.local.keeper.warm_client import WarmStarts
from tests.conftest import wait_until

PROGRAM = "train.py"


@pytest.fixture
def told() -> list[Mapping[str, Any]]:
    return []


@pytest.fixture
def variables() -> dict[bytes, bytes]:
    return {**os.environb, TOKEN_VARIABLE.encode(): b"run"}


@pytest.fixture
def starts(tmp_path: Path, told: list[Mapping[str, Any]], variables: dict[bytes, bytes]) -> Iterator[WarmStarts]:
    """Warm starts with a parent that is ready."""
    (tmp_path / PROGRAM).write_text("import json\n")
    devnull = os.open(os.devnull, os.O_RDWR)
    starts = WarmStarts(devnull=devnull, token="sweep", tell=told.append)
    order = Prepare([sys.executable], [PROGRAM], "sweepline-warm", {}, [], str(tmp_path), ["json"], [], [], True, {})
    starts.prepare(order, variables)
    while not starts.is_settled:
        starts.receive()
    yield starts
    starts.end()
    os.close(devnull)


def ask(starts: WarmStarts, variables: Mapping[bytes, bytes], folder: Path) -> tuple[int, int] | None:
    message = Start(1, [sys.executable, PROGRAM], {}, [], [0, 1], [], str(folder), str(folder), 1, 1.0, None, None)
    fd = os.open(os.devnull, os.O_WRONLY)
    try:
        return starts.fork(message, variables, logs=[fd, fd], mark=None)
    finally:
        os.close(fd)


def halt(starts: WarmStarts) -> int:
    """Let the parent stand still, without the process that it has forked in advance; return its pid.

    That process is a child of this one where this one is a subreaper, as the keeper is and as other tests may leave it.
    """
    assert starts.parent is not None
    pid = starts.parent.pid
    mark = token_of(pid)
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T", "it stands still")
    _kill(Path(f"/proc/{pid}/task/{pid}/children").read_text().split())  # one of these may be forking it just now
    _kill([str(child) for child in children() if child != pid and token_of(child) == mark])
    return pid


def _kill(pids: list[str]) -> None:
    for pid in pids:
        os.kill(int(pid), signal.SIGKILL)
        wait_until(lambda pid=pid: _is_dead(pid), "what it has forked is gone")  # type: ignore[misc]


def _is_dead(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_a_parent_whose_end_is_not_yet_known_says_how_it_ended(
    starts: WarmStarts, told: list[Mapping[str, Any]], variables: dict[bytes, bytes], tmp_path: Path
) -> None:
    os.kill(halt(starts), signal.SIGKILL)
    assert ask(starts, variables, tmp_path) is None
    assert told[-1]["reason"] == "the warm parent was ended from outside (SIGKILL)"
    assert ask(starts, variables, tmp_path) is None
    assert len([one for one in told if "reason" in one]) == 1


def test_a_parent_that_stands_still_is_given_up(
    starts: WarmStarts,
    told: list[Mapping[str, Any]],
    variables: dict[bytes, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sweepline.executors.local.keeper.warm_client.FORK_S", 0.2)
    halt(starts)
    assert ask(starts, variables, tmp_path) is None
    assert told[-1]["reason"] == "it does not fork"
    assert starts.parent is None
