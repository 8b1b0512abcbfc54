"""What every executor promises, tried on each: an executor joins by a line in ``EXECUTORS``."""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sweepline.contract.runfolder import COMMAND, EXIT_FILE, JOB, STDOUT, format_start
from sweepline.contract.variables import NODE
from sweepline.executors.base import Attempt, Executor, Exit, RunHandle, StopReason, Task
from sweepline.executors.local.executor import LocalExecutor
from sweepline.executors.local.exits import read_exit
from sweepline.executors.local.warmstart import WarmStart
from sweepline.executors.pilot.allocation import Allocation, Node
from sweepline.executors.pilot.executor import PilotExecutor
from sweepline.executors.places import RayOptions
from sweepline.executors.ray.executor import RayExecutor
from sweepline.executors.slurm.executor import SlurmExecutor
from sweepline.executors.slurm.options import SlurmOptions
from tests.conftest import wait_until
from tests.engines.slurmcluster import SlurmCluster
from tests.fakes import FakeExecutor
from tests.rayclusters import NEEDS_RAY, shared_cluster

MAX_TURNS = 60
READY = "ready\n"
NOT_THERE = "/no/such/program"
NODE_NAME = "here"

# A program whose arguments say what it does: exits CODE, dies SIGNAL, holds, leaves (on SIGTERM, with 7), ignores it.
PROGRAM = """
import os, signal, sys
deed, number = sys.argv[1], int(sys.argv[2])
if deed == "leaves":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
if deed == "ignores":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
if deed == "exits":
    sys.exit(number)
if deed == "dies":
    os.kill(os.getpid(), number)
while True:
    signal.pause()
"""


def fake_end(task: Task) -> Exit | None:
    """Return how the program of a task ends by itself, None where it does not."""
    if task.argv[0] == NOT_THERE:
        return Exit(not_started=f"No such file or directory: {NOT_THERE!r}")
    deed, number = task.argv[-2], int(task.argv[-1])
    return {"exits": Exit(exit_code=number), "dies": Exit(signal=number)}.get(deed)


def fake_answer(task: Task) -> Exit | None:
    """Return how the program of a task ends on SIGTERM, None where it ignores it."""
    answers = {"leaves": Exit(exit_code=7), "ignores": None}
    return answers.get(task.argv[-2], Exit(signal=signal.SIGTERM))


EXECUTORS: dict[str, Callable[[Path], Executor]] = {
    "fake": lambda _: FakeExecutor(prints=lambda _: READY, ends=fake_end, on_sigterm=fake_answer),
    "local, cold": lambda _: LocalExecutor(),
    "local, warm": lambda _: LocalExecutor(warm=WarmStart(preload=(), is_asked_for=True)),
    "pilot": lambda _: PilotExecutor(
        Allocation(nodes=[Node(NODE_NAME, 2)], starter=["env", "STARTED_ON=${node}"]), token="abc"
    ),
    "slurm": lambda folder: SlurmExecutor(folder, sweep="contract", token="abc", options=SlurmOptions()),
    "ray": lambda folder: RayExecutor(RayOptions(address=shared_cluster().address), folder=folder, token="abc"),
}
MARKS = {"slurm": [pytest.mark.engines], "ray": [pytest.mark.engines, pytest.mark.ray, NEEDS_RAY]}
"""Those that need more than this machine are tried by ``make test-engines``."""


@pytest.fixture(params=[pytest.param(name, marks=MARKS.get(name, ())) for name in EXECUTORS])
def executor(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Executor]:
    """An executor that is closed at the end."""
    if request.param == "slurm":
        cluster: SlurmCluster = request.getfixturevalue("cluster")
        monkeypatch.setenv("SLURM_CONF", cluster.environ["SLURM_CONF"])
    made = EXECUTORS[request.param](tmp_path)
    yield made
    made.close()


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """The folder of a run, and the program beside it."""
    (tmp_path / "program.py").write_text(PROGRAM)
    made = tmp_path / "run"
    made.mkdir()
    return made


def task_of(run_dir: Path, deed: str, number: int = 0, **fields: Any) -> Task:
    """Return a task that runs the program; a grace that a test does not set is never used up."""
    given = {
        "run_id": "a" * 12,
        "attempt": 1,
        "argv": [sys.executable, str(run_dir.parent / "program.py"), deed, str(number)],
        "environ": {**os.environ, NODE: NODE_NAME},
        "working_dir": run_dir,
        "run_dir": run_dir,
        "interpreter": (0, 1),
        "grace_s": 600.0,
    }
    task = Task(**given | fields)
    for name in (JOB, EXIT_FILE):  # of the task before
        (run_dir / name).unlink(missing_ok=True)
    (run_dir / COMMAND).write_text(format_start({"attempt": task.attempt}))  # as a sweep does
    return task


def wait_for_end(executor: Executor, handle: RunHandle) -> Exit:
    """Return how a run ended; fail when it has not after ``MAX_TURNS`` waits of a second."""
    for _ in range(MAX_TURNS):
        ended = handle.poll()
        if ended is not None:
            return ended
        executor.wait(1.0)
    raise AssertionError("the run did not end")


def run(executor: Executor, task: Task) -> Exit:
    return wait_for_end(executor, executor.submit(task))


def start(executor: Executor, task: Task) -> RunHandle:
    """Submit a task and return when its program has set itself up."""
    handle = executor.submit(task)
    log = task.run_dir / STDOUT
    wait_until(lambda: executor.wait(0.01) or (log.exists() and log.read_text() == READY), "the run is ready")
    return handle


class TestExecutor:
    """The contract of :class:`sweepline.executors.base.Executor`."""

    @pytest.mark.parametrize("code", [0, 77, 255])
    def test_an_exit_code_arrives(self, executor: Executor, run_dir: Path, code: int) -> None:
        ended = run(executor, task_of(run_dir, "exits", code))
        assert (ended.exit_code, ended.signal, ended.stopped) == (code, None, None)

    @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
    def test_a_death_by_signal_arrives(self, executor: Executor, run_dir: Path, number: signal.Signals) -> None:
        ended = run(executor, task_of(run_dir, "dies", number))
        assert (ended.exit_code, ended.signal, ended.stopped) == (None, number, None)

    def test_a_run_that_goes_on_has_no_end_yet(self, executor: Executor, run_dir: Path) -> None:
        handle = start(executor, task_of(run_dir, "holds"))
        assert (handle.poll(), read_exit(run_dir)) == (None, None)

    def test_an_end_is_told_again_and_again(self, executor: Executor, run_dir: Path) -> None:
        handle = executor.submit(task_of(run_dir, "exits", 3))
        assert wait_for_end(executor, handle) is handle.poll() is handle.poll()

    def test_runs_side_by_side_keep_their_own_ends(self, executor: Executor, run_dir: Path) -> None:
        folders = [run_dir.parent / f"run{i}" for i in range(4)]
        for folder in folders:
            folder.mkdir()
        tasks = [task_of(folder, "exits", i, run_id=f"{i}" * 12) for i, folder in enumerate(folders)]
        handles = [executor.submit(task) for task in tasks]
        assert [wait_for_end(executor, handle).exit_code for handle in handles] == [0, 1, 2, 3]

    def test_what_a_run_prints_is_in_its_folder(self, executor: Executor, run_dir: Path) -> None:
        run(executor, task_of(run_dir, "exits"))
        assert (run_dir / STDOUT).read_text() == READY

    def test_the_exit_file_tells_the_same_end(self, executor: Executor, run_dir: Path) -> None:
        ended = run(executor, task_of(run_dir, "exits", 3, attempt=4))
        attempt, found = read_exit(run_dir) or (0, Exit())
        assert (attempt, found.exit_code, found.stopped) == (4, 3, None)
        assert found.duration_s == round(ended.duration_s, 6)

    def test_cancel_asks_a_run_to_end(self, executor: Executor, run_dir: Path) -> None:
        handle = start(executor, task_of(run_dir, "holds"))
        handle.cancel(StopReason.INTERRUPTED)
        ended = wait_for_end(executor, handle)
        assert (ended.signal, ended.stopped) == (signal.SIGTERM, StopReason.INTERRUPTED)
        assert (read_exit(run_dir) or (0, Exit()))[1].stopped == StopReason.INTERRUPTED

    def test_a_run_that_leaves_when_it_is_asked_to_keeps_its_exit_code(self, executor: Executor, run_dir: Path) -> None:
        handle = start(executor, task_of(run_dir, "leaves"))
        handle.cancel(StopReason.INTERRUPTED)
        ended = wait_for_end(executor, handle)
        assert (ended.exit_code, ended.stopped) == (7, StopReason.INTERRUPTED)

    def test_a_run_that_does_not_leave_is_killed_after_its_grace(self, executor: Executor, run_dir: Path) -> None:
        handle = start(executor, task_of(run_dir, "ignores", grace_s=0.2))
        cancelled = time.monotonic()
        handle.cancel(StopReason.INTERRUPTED)
        ended = wait_for_end(executor, handle)
        assert (ended.signal, ended.stopped) == (signal.SIGKILL, StopReason.INTERRUPTED)
        assert 0.2 <= time.monotonic() - cancelled < 5

    @pytest.mark.parametrize("is_asked_before", [False, True])
    def test_cancel_now_kills_at_once(self, executor: Executor, run_dir: Path, is_asked_before: bool) -> None:
        handle = start(executor, task_of(run_dir, "ignores"))
        if is_asked_before:
            handle.cancel(StopReason.TIMEOUT)
        handle.cancel(StopReason.INTERRUPTED, now=True)
        ended = wait_for_end(executor, handle)
        first = StopReason.TIMEOUT if is_asked_before else StopReason.INTERRUPTED
        assert (ended.signal, ended.stopped) == (signal.SIGKILL, first)

    def test_asking_again_and_again_does_not_prolong_the_grace(self, executor: Executor, run_dir: Path) -> None:
        handle = start(executor, task_of(run_dir, "ignores", grace_s=0.2))
        for _ in range(MAX_TURNS):
            handle.cancel(StopReason.INTERRUPTED)
            executor.wait(0.05)
            if handle.poll() is not None:
                break
        assert wait_for_end(executor, handle).signal == signal.SIGKILL

    @pytest.mark.parametrize("now", [False, True])
    def test_cancelling_a_run_that_has_ended_changes_nothing(
        self, executor: Executor, run_dir: Path, now: bool
    ) -> None:
        handle = executor.submit(task_of(run_dir, "exits", 3))
        ended = wait_for_end(executor, handle)
        handle.cancel(StopReason.INTERRUPTED, now=now)
        executor.wait(0.0)
        assert handle.poll() == ended

    def test_a_run_over_its_time_is_stopped(self, executor: Executor, run_dir: Path) -> None:
        ended = run(executor, task_of(run_dir, "ignores", timeout_s=0.5, grace_s=0.2))
        assert (ended.signal, ended.stopped) == (signal.SIGKILL, StopReason.TIMEOUT)

    def test_a_run_that_cannot_start_says_why_and_others_go_on(self, executor: Executor, run_dir: Path) -> None:
        ended = run(
            executor, dataclasses.replace(task_of(run_dir, "exits"), argv=[NOT_THERE, "exits", "0"], interpreter=None)
        )
        assert NOT_THERE in (ended.not_started or "")
        other = run_dir.parent / "other"
        other.mkdir()
        assert run(executor, task_of(other, "exits", run_id="b" * 12)).exit_code == 0

    def test_waiting_ends_as_soon_as_a_run_does(self, executor: Executor, run_dir: Path) -> None:
        handle = executor.submit(task_of(run_dir, "exits"))
        n_waits = 0
        while handle.poll() is None:
            executor.wait(60.0)  # shorter than the limit of a test: other news may end a wait, no time does
            n_waits += 1
        assert n_waits < MAX_TURNS

    def test_waiting_is_bounded(self, executor: Executor, run_dir: Path) -> None:
        handle = start(executor, task_of(run_dir, "holds"))
        executor.wait(0.01)
        assert handle.poll() is None

    def test_what_nobody_knows_of_is_not_recovered(self, executor: Executor, run_dir: Path) -> None:
        assert executor.recover([Attempt(run_id="b" * 12, attempt=1, run_dir=run_dir)]) == {}

    def test_closing_ends_whatever_runs(self, executor: Executor, run_dir: Path) -> None:
        start(executor, task_of(run_dir, "holds"))
        executor.close()
        wait_until(lambda: read_exit(run_dir) is not None, "the end is known")


def test_the_warm_executor_starts_warm(run_dir: Path) -> None:
    executor = EXECUTORS["local, warm"](run_dir)
    ended = run(executor, task_of(run_dir, "exits"))
    executor.close()
    assert ended.is_warm
