"""When the output of runs under way is read: often where there are few, never more than a share of the time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sweepline.contract.files import open_plain_fd
from sweepline.engine import logtail
from sweepline.engine.logtail import LogTail, build_tail
from sweepline.engine.progress import ActiveRun
from sweepline.engine.state import SweepState
from sweepline.engine.watching import MANY_RUNS, REST, WATCH_S, Watching
from sweepline.executors.base import Exit, StopReason
from sweepline.executors.local.slots import Slot
from sweepline.runs import Run
from tests.fakes import FakeRun


class Clock:
    """A time that passes where it is told to, and at each reading of a run's output."""

    def __init__(self) -> None:
        self.now = 0.0
        self.n_read: Counter[Path] = Counter()

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def watched(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Callable[[int, float], SweepState]:
    """Return what makes a sweep of so many active runs, whose output takes so many seconds each to be read."""

    def build(n: int, read_s: float) -> SweepState:
        def read_new(tail: LogTail, **_: Any) -> bool:
            clock.n_read[tail._output.path.parent] += 1
            clock.now += read_s
            return True

        monkeypatch.setattr(LogTail, "read_new", read_new)
        active = [active_run(tmp_path / str(i)) for i in range(n)]
        folder = SimpleNamespace(check_is_there=lambda: None)
        return cast(SweepState, SimpleNamespace(active=active, folder=folder, pruner=None))

    return build


def active_run(run_dir: Path, asked: Mapping[str, Any] | None = None) -> ActiveRun:
    return ActiveRun(
        run=Run(run_id=run_dir.name, name="r", params={}, seed=None, index=0),
        attempt=1,
        slot=Slot(0, ""),
        handle=FakeRun(),
        run_dir=run_dir,
        tail=build_tail(run_dir, patterns={}, objectives=[]),
        asked=asked,
    )


def look_for(watching: Watching, clock: Clock, seconds: float) -> None:
    """Take turns until so much time has passed."""
    while clock.now < seconds:
        watching.look()
        clock.now = max(clock.now, watching.due)


def test_few_runs_are_read_twice_a_second(watched: Callable[[int, float], SweepState], clock: Clock) -> None:
    look_for(Watching(watched(8, 0.001), clock=clock), clock, 60)

    assert set(clock.n_read.values()) == {60 / WATCH_S}


@pytest.mark.parametrize("read_s", [0.001, 0.01, 0.2])
def test_reading_many_runs_takes_no_more_than_its_share_of_the_time(
    watched: Callable[[int, float], SweepState], clock: Clock, read_s: float
) -> None:
    look_for(Watching(watched(MANY_RUNS + 100, read_s), clock=clock), clock, 600)

    n_at_most = 600 / (read_s * (1 + REST))
    assert 0.95 * n_at_most < clock.n_read.total() < 1.01 * n_at_most + 2  # the last slice has no rest behind it


def test_of_many_runs_none_is_read_twice_before_the_others(
    watched: Callable[[int, float], SweepState], clock: Clock
) -> None:
    look_for(Watching(watched(MANY_RUNS + 100, 0.01), clock=clock), clock, 100)

    assert max(clock.n_read.values()) - min(clock.n_read.values()) <= 1


def test_a_run_that_ends_in_the_middle_of_a_round_is_not_read_any_more(
    watched: Callable[[int, float], SweepState], clock: Clock
) -> None:
    sweep = watched(MANY_RUNS + 100, 0.01)
    watching = Watching(sweep, clock=clock)
    watching.look()
    last = sweep.active.pop()
    last.has_ended = True
    look_for(watching, clock, 100)

    assert clock.n_read[last.run_dir] == 0


@pytest.mark.parametrize(("n_others", "is_stopped"), [(MANY_RUNS, False), (3, True)])
def test_of_many_runs_those_that_have_told_something_are_not_asked_for_their_proof_again(
    tmp_path: Path, clock: Clock, n_others: int, is_stopped: bool
) -> None:
    run_dir = tmp_path / "one"
    run_dir.mkdir()
    (run_dir / "stdout.log").write_text("METRIC loss=1\n")
    one = active_run(run_dir, asked={"lr": 1})
    active = [one, *(active_run(tmp_path / str(i)) for i in range(n_others))]
    settings = SimpleNamespace(command=SimpleNamespace(proves_overrides=True))
    folder = SimpleNamespace(check_is_there=lambda: None)
    sweep = SimpleNamespace(active=active, folder=folder, pruner=None, settings=settings)
    watching = Watching(cast(SweepState, sweep), clock=clock)
    look_for(watching, clock, 1)
    (run_dir / "config.yaml").write_text("lr: 2\n")
    (run_dir / "config.sha256").touch()
    look_for(watching, clock, 3)

    assert one.handle.poll() == (Exit(signal=15, stopped=StopReason.OVERRIDE_NOT_APPLIED) if is_stopped else None)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The logs that are opened, as they are."""
    names: list[str] = []
    usual = open_plain_fd

    def open_noted(path: Path) -> int:
        names.append(path.name)
        return usual(path)

    monkeypatch.setattr(logtail, "open_plain_fd", open_noted)
    return names


def test_a_log_that_has_not_grown_is_not_opened_again_for_a_while(tmp_path: Path, opened: list[str]) -> None:
    (tmp_path / "stdout.log").write_text("METRIC loss=1\n")
    (tmp_path / "stderr.log").touch()
    tail = build_tail(tmp_path, patterns={}, objectives=[])
    tail.read_new(reopen_s=60)
    opened.clear()
    tail.read_new(reopen_s=60)
    assert opened == []
    with (tmp_path / "stdout.log").open("a") as log:
        log.write("METRIC loss=2\n")
    tail.read_new(reopen_s=60)
    assert (opened, tail.results) == (["stdout.log"], {"loss": 2.0})
    tail.read_new(reopen_s=0)
    assert opened == ["stdout.log", "stdout.log", "stderr.log"]


def test_a_log_that_a_run_has_made_a_pipe_is_a_fault_also_where_nothing_is_opened(tmp_path: Path) -> None:
    (tmp_path / "stdout.log").touch()
    tail = build_tail(tmp_path, patterns={}, objectives=[])
    tail.read_new(reopen_s=60)
    (tmp_path / "stdout.log").unlink()
    (tmp_path / "stdout.log").symlink_to("/dev/null")
    tail.read_new(reopen_s=60)

    assert tail.finish().fault == "stdout.log cannot be read: is no plain file"
