"""What every executor promises, tried with real processes. One class; an executor joins by a line in ``EXECUTORS``."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sweepline.executors.base import Executor, Exit, RunHandle, StopReason, Task
from sweepline.executors.local.executor import LocalExecutor
from sweepline.executors.local.exits import read_exit
from sweepline.executors.local.keeper import exitfile
from tests.conftest import wait_until

EXECUTORS: dict[str, Callable[..., Executor]] = {"local": LocalExecutor}
MAX_TURNS = 60
MakeExecutor = Callable[..., Executor]

ANNOUNCE = "import os, signal, sys; print(os.getpid(), flush=True); "
HOLD = ANNOUNCE + "signal.pause()"
HOLD_FOR = ANNOUNCE + "import time; time.sleep(float(sys.argv[1]))"
IGNORE_SIGTERM = (
    "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + ANNOUNCE + "\nwhile True: signal.pause()"
)
REMOVE_LOGS = "[os.unlink(f'{sys.argv[1]}/{name}') for name in os.listdir(sys.argv[1])]"
LOG_FATES = {
    "emptied": REMOVE_LOGS,
    "removed": "shutil.rmtree(sys.argv[1])",
    "removed with all others": "shutil.rmtree(os.path.dirname(sys.argv[1]))",
    "renamed": "os.rename(sys.argv[1], sys.argv[1] + '.old')",
    "taken": REMOVE_LOGS + "; open(f'{sys.argv[1]}/stdout.log', 'w').write('mine')",
    "made anew": "shutil.rmtree(sys.argv[1]); os.mkdir(sys.argv[1])",
}
LEAVE_POLITELY = (
    ANNOUNCE.replace("print", "signal.signal(signal.SIGTERM, lambda *_: sys.exit(7)); print") + "signal.pause()"
)
LEAVE_A_GRANDCHILD = """
import subprocess, sys
grandchild = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
print(grandchild.pid, flush=True)
"""
IGNORING_FAMILY = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)" + LEAVE_A_GRANDCHILD + "signal.pause()"


def wait_for_end(executor: Executor, handle: RunHandle) -> Exit:
    """Return how a run ended; fail when it has not after ``MAX_TURNS`` waits of a second."""
    for _ in range(MAX_TURNS):
        ended = handle.poll()
        if ended is not None:
            return ended
        executor.wait(1.0)
    raise AssertionError(f"{handle.task.argv} did not end")


def is_alive(pid: int) -> bool:
    """Whether a process runs; a zombie that its new parent has not reaped yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def count_fds() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def children() -> set[str]:
    """Return the pids of this process's children, zombies included."""
    return {pid for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()}


@pytest.fixture(scope="module", params=EXECUTORS.values(), ids=EXECUTORS.keys())
def make_executor(request: pytest.FixtureRequest) -> MakeExecutor:
    """Build the executor under test."""
    maker: MakeExecutor = request.param
    return maker


@pytest.fixture
def executor(make_executor: MakeExecutor) -> Iterator[Executor]:
    """An executor that is closed at the end."""
    made = make_executor()
    yield made
    made.close()


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """A run folder with a name that no shell would like."""
    made = tmp_path / "run's \n folder"
    made.mkdir()
    return made


def task_of(run_dir: Path, *argv: str, **fields: Any) -> Task:
    """Return a task that runs a program in its run folder; a grace that a test does not set is never used up."""
    defaults = {"environ": dict(os.environ), "working_dir": run_dir, "grace_s": 600.0}
    return Task(run_id="a" * 12, attempt=1, argv=argv, run_dir=run_dir, **defaults | fields)


def python(run_dir: Path, script: str, *args: str, **fields: Any) -> Task:
    """Return a task that runs a script with this Python, without the packages that slow its start."""
    return task_of(run_dir, sys.executable, "-I", "-S", "-c", script, *args, **fields)


def run(executor: Executor, task: Task) -> Exit:
    return wait_for_end(executor, executor.submit(task))


def start(executor: Executor, task: Task) -> tuple[RunHandle, int]:
    """Submit a task and return when it has printed a pid."""
    handle = executor.submit(task)
    log = task.run_dir / "stdout.log"
    wait_until(lambda: log.exists() and log.read_bytes().endswith(b"\n"), "the run has printed")
    return handle, int(log.read_text())


def cancel_until_end(executor: Executor, handle: RunHandle, reason: StopReason) -> Exit:
    """Ask a run to end twenty times a second until it has; fail when it has not after ``MAX_TURNS`` times."""
    for _ in range(MAX_TURNS):
        handle.cancel(reason)
        executor.wait(0.05)
        ended = handle.poll()
        if ended is not None:
            return ended
    raise AssertionError(f"{handle.task.argv} did not end")


def spawn_error_of(executor: Executor, task: Task) -> str:
    return run(executor, task).not_started or ""


class TestExecutor:
    """The contract."""

    # ending by itself

    @pytest.mark.parametrize("code", [0, 1, 2, 77, 255])
    def test_an_exit_code_arrives(self, executor: Executor, run_dir: Path, code: int) -> None:
        ended = run(executor, task_of(run_dir, "/bin/sh", "-c", f"exit {code}"))
        assert (ended.exit_code, ended.signal, ended.stopped) == (code, None, None)

    @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM, signal.SIGUSR1])
    def test_a_death_by_signal_arrives(self, executor: Executor, run_dir: Path, number: signal.Signals) -> None:
        ended = run(executor, task_of(run_dir, "/bin/sh", "-c", f"kill -{number.value} $$"))
        assert (ended.exit_code, ended.signal, ended.stopped) == (None, number, None)

    def test_an_end_tells_time_and_memory(self, executor: Executor, run_dir: Path) -> None:
        ours_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        ended = run(executor, python(run_dir, f"x = bytearray({2 * ours_mib} << 20)"))
        assert 0 < ended.duration_s < MAX_TURNS
        assert 2 * ours_mib < (ended.max_rss_kib or 0) / 1024 < 4 * ours_mib

    def test_the_memory_of_a_run_is_not_that_of_its_parent(self, executor: Executor, run_dir: Path) -> None:
        ours_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert (run(executor, task_of(run_dir, "/bin/true")).max_rss_kib or 0) < ours_kib / 2

    def test_a_run_that_goes_on_has_no_end_yet(self, executor: Executor, run_dir: Path) -> None:
        handle, _ = start(executor, python(run_dir, HOLD))
        assert handle.poll() is None
        handle.cancel(StopReason.INTERRUPTED, now=True)
        wait_for_end(executor, handle)

    def test_an_end_is_told_again_and_again(self, executor: Executor, run_dir: Path) -> None:
        handle = executor.submit(task_of(run_dir, "/bin/sh", "-c", "exit 3"))
        assert wait_for_end(executor, handle) is handle.poll() is handle.poll()

    def test_runs_side_by_side_keep_their_own_ends(self, executor: Executor, tmp_path: Path) -> None:
        tasks = [task_of(tmp_path / str(i), "/bin/sh", "-c", f"exit {i}") for i in range(8)]
        assert [task.run_dir.mkdir() for task in tasks] == [None] * 8
        handles = [executor.submit(task) for task in tasks]
        assert [wait_for_end(executor, handle).exit_code for handle in handles] == list(range(8))

    # where a run lives

    def test_output_and_errors_go_to_their_files(self, executor: Executor, run_dir: Path) -> None:
        run(executor, task_of(run_dir, "/bin/sh", "-c", "echo out; echo err >&2; printf tail"))
        written = [(run_dir / name).read_bytes() for name in ("stdout.log", "stderr.log")]
        assert written == [b"out\ntail", b"err\n"]

    def test_output_that_is_not_text_is_kept_byte_for_byte(self, executor: Executor, run_dir: Path) -> None:
        run(executor, python(run_dir, "import os; os.write(1, bytes(range(256)))"))
        assert (run_dir / "stdout.log").read_bytes() == bytes(range(256))

    def test_standard_input_is_empty(self, executor: Executor, run_dir: Path) -> None:
        run(executor, python(run_dir, "import os; print(os.readlink('/proc/self/fd/0'), end='')"))
        assert (run_dir / "stdout.log").read_text() == "/dev/null"

    def test_a_run_has_a_session_of_its_own(self, executor: Executor, run_dir: Path) -> None:
        run(executor, python(run_dir, "import os; print(os.getsid(0) == os.getpgid(0) == os.getpid(), os.getsid(0))"))
        leads, session = (run_dir / "stdout.log").read_text().split()
        assert (leads, int(session) != os.getsid(0)) == ("True", True)

    def test_a_run_inherits_no_descriptor_of_ours(self, executor: Executor, run_dir: Path) -> None:
        with socket.socket() as ours:
            os.set_inheritable(ours.fileno(), True)
            run(executor, python(run_dir, "import os; print(sorted(map(int, os.listdir('/proc/self/fd')))[:-1])"))
        assert (run_dir / "stdout.log").read_text() == "[0, 1, 2]\n"

    def test_a_run_starts_in_its_working_directory(self, executor: Executor, run_dir: Path, tmp_path: Path) -> None:
        run(executor, python(run_dir, "import os; print(os.getcwd(), end='')", working_dir=tmp_path))
        assert (run_dir / "stdout.log").read_text() == str(tmp_path)

    def test_a_run_sees_the_environment_of_its_task_and_no_other(self, executor: Executor, run_dir: Path) -> None:
        environ = {"A": "1 = 2\n", "B": ""}
        run(executor, task_of(run_dir, "/usr/bin/env", "-0", environ=environ))
        seen = (run_dir / "stdout.log").read_text().split("\0")
        assert sorted(word for word in seen if not word.startswith("SWEEPLINE_TOKEN=")) == ["", "A=1 = 2\n", "B="]

    @settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(values=st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), max_size=6))
    def test_values_reach_the_program_byte_for_byte(
        self, make_executor: MakeExecutor, tmp_path_factory: pytest.TempPathFactory, values: list[str]
    ) -> None:
        executor, run_dir = make_executor(), tmp_path_factory.mktemp("run")
        run(executor, python(run_dir, "import json, sys; print(json.dumps(sys.argv[1:]))", *values))
        executor.close()
        assert json.loads((run_dir / "stdout.log").read_text()) == values

    @pytest.mark.parametrize("fate", ["emptied", "removed", "removed with all others", "renamed", "taken", "made anew"])
    def test_what_a_run_prints_outlives_the_names_of_its_logs(
        self, executor: Executor, run_dir: Path, fate: str
    ) -> None:
        run_dir = run_dir / "runs" / "run"
        run_dir.mkdir(parents=True)
        script = "import os, shutil, sys, time; print('early', flush=True);" + LOG_FATES[fate] + ";print('late')"
        ended = run(executor, python(run_dir, script, str(run_dir), working_dir="/"))
        found = read_exit(run_dir)
        assert (run_dir / "stdout.log").read_text() == "early\nlate\n"
        assert (run_dir / "stderr.log").read_text() == ""
        assert found is not None
        assert (found[1].exit_code, found[1].is_output_lost, ended.is_output_lost) == (0, False, False)

    def test_a_log_that_cannot_be_restored_is_told(self, executor: Executor, run_dir: Path) -> None:
        (run_dir / "gone" / "runs" / "run").mkdir(parents=True)
        script = "import shutil, sys; shutil.rmtree(sys.argv[1]); print('lost')"
        ended = run(executor, python(run_dir / "gone" / "runs" / "run", script, str(run_dir / "gone"), working_dir="/"))
        assert ended.is_output_lost

    # being stopped

    def test_cancel_sends_sigterm(self, executor: Executor, run_dir: Path) -> None:
        handle, _ = start(executor, python(run_dir, HOLD))
        handle.cancel(StopReason.INTERRUPTED)
        ended = wait_for_end(executor, handle)
        assert (ended.signal, ended.stopped) == (signal.SIGTERM, StopReason.INTERRUPTED)

    def test_a_run_that_leaves_on_sigterm_keeps_its_exit_code(self, executor: Executor, run_dir: Path) -> None:
        handle, _ = start(executor, python(run_dir, LEAVE_POLITELY))
        handle.cancel(StopReason.INTERRUPTED)
        ended = wait_for_end(executor, handle)
        assert (ended.exit_code, ended.stopped) == (7, StopReason.INTERRUPTED)

    def test_a_run_that_ignores_sigterm_is_killed_after_the_grace(self, executor: Executor, run_dir: Path) -> None:
        handle, _ = start(executor, python(run_dir, IGNORE_SIGTERM, grace_s=0.2))
        cancelled = time.monotonic()
        handle.cancel(StopReason.INTERRUPTED)
        ended = wait_for_end(executor, handle)
        took_s = time.monotonic() - cancelled
        assert (ended.signal, ended.stopped) == (signal.SIGKILL, StopReason.INTERRUPTED)
        assert 0.2 <= took_s < 5

    def test_cancel_now_kills_at_once(self, executor: Executor, run_dir: Path) -> None:
        handle, _ = start(executor, python(run_dir, IGNORE_SIGTERM))
        handle.cancel(StopReason.INTERRUPTED, now=True)
        assert wait_for_end(executor, handle).signal == signal.SIGKILL

    def test_cancel_now_cuts_a_grace_that_has_begun(self, executor: Executor, run_dir: Path) -> None:
        handle, _ = start(executor, python(run_dir, IGNORE_SIGTERM))
        handle.cancel(StopReason.INTERRUPTED)
        handle.cancel(StopReason.INTERRUPTED, now=True)
        assert wait_for_end(executor, handle).signal == signal.SIGKILL

    def test_asking_again_and_again_does_not_prolong_the_grace(self, executor: Executor, run_dir: Path) -> None:
        handle, _ = start(executor, python(run_dir, IGNORE_SIGTERM, grace_s=0.2))
        ended = cancel_until_end(executor, handle, StopReason.TIMEOUT)
        assert (ended.signal, ended.stopped) == (signal.SIGKILL, StopReason.TIMEOUT)

    def test_the_first_reason_to_stop_stands(self, executor: Executor, run_dir: Path) -> None:
        handle, _ = start(executor, python(run_dir, IGNORE_SIGTERM))
        handle.cancel(StopReason.TIMEOUT)
        handle.cancel(StopReason.INTERRUPTED, now=True)
        assert wait_for_end(executor, handle).stopped == StopReason.TIMEOUT

    @pytest.mark.parametrize("now", [False, True])
    def test_cancelling_a_run_that_has_ended_changes_nothing(
        self, executor: Executor, run_dir: Path, now: bool
    ) -> None:
        handle = executor.submit(task_of(run_dir, "/bin/sh", "-c", "exit 3"))
        ended = wait_for_end(executor, handle)
        handle.cancel(StopReason.INTERRUPTED, now=now)
        executor.wait(0.0)
        assert handle.poll() == ended

    def test_a_run_over_its_time_is_stopped(self, executor: Executor, run_dir: Path) -> None:
        ended = run(executor, python(run_dir, HOLD, timeout_s=0.2))
        assert (ended.signal, ended.stopped) == (signal.SIGTERM, StopReason.TIMEOUT)
        assert 0.2 <= ended.duration_s < 5

    def test_a_run_over_its_time_that_ignores_sigterm_is_killed(self, executor: Executor, run_dir: Path) -> None:
        task = python(run_dir, IGNORE_SIGTERM, timeout_s=0.3, grace_s=0.2)
        handle, _ = start(executor, task)
        ended = wait_for_end(executor, handle)
        assert (ended.signal, ended.stopped) == (signal.SIGKILL, StopReason.TIMEOUT)

    @pytest.mark.parametrize("limit_s", [60.0, 2.0**31 / 1000, 1e10, 1e300])
    def test_a_run_within_its_time_is_left_alone(self, executor: Executor, run_dir: Path, limit_s: float) -> None:
        ended = run(executor, task_of(run_dir, "/bin/true", timeout_s=limit_s, stall_s=limit_s, grace_s=limit_s))
        assert (ended.stopped, ended.exit_code) == (None, 0)

    def test_time_for_which_everything_is_frozen_is_not_the_runs(self, executor: Executor, run_dir: Path) -> None:
        handle, pid = start(executor, python(run_dir, HOLD_FOR, "0.6", timeout_s=1.2, stall_s=1.2))
        frozen = [int(Path(f"/proc/{pid}/stat").read_text().split()[3]), pid]
        for number in (signal.SIGSTOP, signal.SIGCONT):
            for each in frozen:
                os.kill(each, number)
            time.sleep(1.5 if number == signal.SIGSTOP else 0)
        assert wait_for_end(executor, handle).stopped is None

    def test_a_run_that_ends_takes_its_group_with_it(self, executor: Executor, run_dir: Path) -> None:
        handle, grandchild = start(executor, python(run_dir, LEAVE_A_GRANDCHILD))
        assert wait_for_end(executor, handle).exit_code == 0
        wait_until(lambda: not is_alive(grandchild), "the grandchild is gone")

    def test_a_run_that_is_killed_takes_its_group_with_it(self, executor: Executor, run_dir: Path) -> None:
        handle, grandchild = start(executor, python(run_dir, IGNORING_FAMILY, grace_s=0.2))
        handle.cancel(StopReason.INTERRUPTED)
        assert wait_for_end(executor, handle).signal == signal.SIGKILL
        wait_until(lambda: not is_alive(grandchild), "the grandchild is gone")

    # what cannot start

    def test_a_missing_program_is_a_spawn_error_that_names_it(self, executor: Executor, run_dir: Path) -> None:
        assert re.search(
            "No such file or directory: '/no/such/program'",
            spawn_error_of(executor, task_of(run_dir, "/no/such/program", "--x=1")),
        )

    def test_a_file_that_is_not_executable_is_a_spawn_error(self, executor: Executor, run_dir: Path) -> None:
        (run_dir / "train.sh").write_text("#!/bin/sh\n")
        assert re.search("Permission denied: ", spawn_error_of(executor, task_of(run_dir, str(run_dir / "train.sh"))))

    def test_a_file_without_an_interpreter_line_is_a_spawn_error(self, executor: Executor, run_dir: Path) -> None:
        (run_dir / "train").write_text("echo hello\n")
        (run_dir / "train").chmod(0o755)
        assert re.search("Exec format error: ", spawn_error_of(executor, task_of(run_dir, str(run_dir / "train"))))

    @pytest.mark.parametrize(
        ("argv", "sentence"),
        [
            ((), "empty command"),
            (("/bin/true", "a\0b"), "embedded null byte"),
            (("/bin/true", "x" * 3_000_000), "Argument list too long: '/bin/true'"),
        ],
        ids=["nothing", "NUL", "3 MB"],
    )
    def test_an_argument_list_that_cannot_be_is_a_spawn_error(
        self, executor: Executor, run_dir: Path, argv: tuple[str, ...], sentence: str
    ) -> None:
        assert re.search(sentence, spawn_error_of(executor, task_of(run_dir, *argv)))

    def test_a_working_directory_that_is_gone_is_a_spawn_error_that_names_it(
        self, executor: Executor, run_dir: Path
    ) -> None:
        assert re.search(
            r"No such file or directory: .*/gone",
            spawn_error_of(executor, task_of(run_dir, "/bin/true", working_dir=run_dir.parent / "gone")),
        )

    def test_a_log_that_is_a_planted_link_is_a_spawn_error(
        self, executor: Executor, run_dir: Path, tmp_path: Path
    ) -> None:
        (run_dir / "stdout.log").symlink_to(tmp_path / "elsewhere")
        assert spawn_error_of(executor, task_of(run_dir, "/bin/true"))
        assert not (tmp_path / "elsewhere").exists()

    def test_an_executor_goes_on_after_a_spawn_error(self, executor: Executor, run_dir: Path) -> None:
        spawn_error_of(executor, task_of(run_dir, "/no/such/program"))
        assert run(executor, task_of(run_dir, "/bin/true")).exit_code == 0

    # waiting

    def test_waiting_ends_as_soon_as_a_run_does(self, executor: Executor, run_dir: Path) -> None:
        handle = executor.submit(task_of(run_dir, "/bin/true"))
        executor.wait(60.0)
        assert handle.poll() is not None

    def test_waiting_is_bounded(self, executor: Executor, run_dir: Path) -> None:
        handle, _ = start(executor, python(run_dir, HOLD))
        executor.wait(0.01)
        assert handle.poll() is None
        handle.cancel(StopReason.INTERRUPTED, now=True)
        wait_for_end(executor, handle)

    def test_waiting_ends_when_the_wakeup_descriptor_is_readable(self, make_executor: MakeExecutor) -> None:
        reading, writing = socket.socketpair()
        with reading, writing:
            executor = make_executor(watched=lambda: [reading.fileno()])
            writing.send(b"\2")
            executor.wait(None)
            executor.close()

    def test_a_wakeup_ends_no_run(self, make_executor: MakeExecutor, run_dir: Path) -> None:
        reading, writing = socket.socketpair()
        with reading, writing:
            executor = make_executor(watched=lambda: [reading.fileno()])
            handle, _ = start(executor, python(run_dir, HOLD))
            writing.send(b"\2")
            executor.wait(None)
            woken = handle.poll()
            reading.recv(1)
            handle.cancel(StopReason.INTERRUPTED, now=True)
            wait_for_end(executor, handle)
            executor.close()
        assert woken is None

    # leaving nothing behind

    def test_no_zombie_remains(self, executor: Executor, run_dir: Path) -> None:
        run(executor, task_of(run_dir, "/bin/true"))  # what an executor starts for itself may stay
        before = children()
        run(executor, task_of(run_dir, "/bin/true"))
        assert children() <= before

    def test_fifty_runs_leave_no_descriptor_open(self, make_executor: MakeExecutor, run_dir: Path) -> None:
        before = count_fds()
        executor = make_executor()
        codes = {run(executor, task_of(run_dir, "/bin/true")).exit_code for _ in range(50)}
        executor.close()
        assert (codes, count_fds()) == ({0}, before)

    def test_fifty_spawn_errors_leave_no_descriptor_open(self, executor: Executor, run_dir: Path) -> None:
        spawn_error_of(executor, task_of(run_dir, "/no/such/program"))
        before = count_fds()
        texts = {spawn_error_of(executor, task_of(run_dir, "/no/such/program")) for _ in range(50)}
        assert (len(texts), count_fds()) == (1, before)

    # exit.json

    def test_the_exit_file_tells_the_same_end(self, executor: Executor, run_dir: Path) -> None:
        ended = run(executor, dataclasses.replace(task_of(run_dir, "/bin/sh", "-c", "exit 3"), attempt=4))
        assert read_exit(run_dir) == (4, dataclasses.replace(ended, duration_s=round(ended.duration_s, 6)))

    def test_the_exit_file_tells_who_stopped_the_run(self, executor: Executor, run_dir: Path) -> None:
        run(executor, python(run_dir, HOLD, timeout_s=0.01))
        found = read_exit(run_dir)
        assert found is not None
        assert (found[1].stopped, found[1].signal) == (StopReason.TIMEOUT, signal.SIGTERM)

    def test_a_run_folder_holds_logs_and_exit_and_nothing_that_is_empty(
        self, executor: Executor, run_dir: Path
    ) -> None:
        run(executor, task_of(run_dir, "/bin/sh", "-c", "echo out"))
        assert {path.name for path in run_dir.iterdir()} == {"stdout.log", "exit.json"}

    def test_there_is_no_exit_file_before_the_end(self, executor: Executor, run_dir: Path) -> None:
        handle, _ = start(executor, python(run_dir, HOLD))
        found = read_exit(run_dir)
        handle.cancel(StopReason.INTERRUPTED, now=True)
        wait_for_end(executor, handle)
        assert found is None


# exit.json as a file

ENDED = Exit(exit_code=None, signal=15, duration_s=1.25, max_rss_kib=2048, stopped=StopReason.TIMEOUT)
RECORD = {"attempt": 2, "exit_code": None, "signal": 15, "duration_s": 1.25, "max_rss_kib": 2048, "stopped": "timeout"}


def write_exit(run_dir: Path, **fields: Any) -> None:
    exitfile.reserve(str(run_dir))
    exitfile.write(str(run_dir), RECORD | fields)


def read_torn(run_dir: Path, content: str) -> tuple[int, Exit] | None:
    (run_dir / "exit.json").write_text(content)
    return read_exit(run_dir)


def test_an_exit_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    write_exit(tmp_path, n_left_behind=3)
    assert read_exit(tmp_path) == (2, dataclasses.replace(ENDED, remarks=("left 3 processes behind, killed",)))


def test_an_exit_of_an_older_version_is_read(tmp_path: Path) -> None:
    write_exit(tmp_path)
    assert read_exit(tmp_path) == (2, ENDED)


def test_an_exit_file_torn_at_any_byte_tells_nothing(tmp_path: Path) -> None:
    write_exit(tmp_path)
    whole = (tmp_path / "exit.json").read_text().rstrip()
    assert {read_torn(tmp_path, whole[:n]) for n in range(len(whole))} == {None}


@pytest.mark.parametrize("content", ["null", "3", "[1]", "{}", '{"attempt": 1, "stopped": null}', '"text"', "\0" * 90])
def test_an_exit_file_that_is_no_exit_tells_nothing(tmp_path: Path, content: str) -> None:
    assert read_torn(tmp_path, content) is None


def test_an_exit_whose_log_lost_its_end_in_a_power_cut_is_not_believed(tmp_path: Path) -> None:
    (tmp_path / "stdout.log").write_bytes(b"METRIC loss=1\n")
    write_exit(tmp_path, n_log_bytes=14)
    whole = read_exit(tmp_path)
    (tmp_path / "stdout.log").write_bytes(b"METRIC l")
    assert (whole, read_exit(tmp_path)) == ((2, ENDED), None)


def test_an_exit_is_written_though_the_run_has_removed_its_room(tmp_path: Path) -> None:
    exitfile.reserve(str(tmp_path))
    (tmp_path / ".exit.json").unlink()
    exitfile.write(str(tmp_path), RECORD)
    assert (read_exit(tmp_path), (tmp_path / "exit.json").stat().st_size) == ((2, ENDED), 512)


def test_writing_an_exit_leaves_nothing_beside_it(tmp_path: Path) -> None:
    write_exit(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["exit.json"]


def test_an_exit_needs_no_room_that_was_not_taken_at_the_start(tmp_path: Path) -> None:
    exitfile.reserve(str(tmp_path))
    size = (tmp_path / ".exit.json").stat().st_size
    exitfile.write(str(tmp_path), RECORD)
    assert (tmp_path / "exit.json").stat().st_size == size
