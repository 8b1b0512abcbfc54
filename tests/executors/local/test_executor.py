"""What runs are as processes of this machine: their sessions, descriptors, memory, logs, and what they leave behind."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sweepline.executors.base import Executor, Exit, RunHandle, StopReason, Task
from sweepline.executors.local.executor import LocalExecutor
from sweepline.executors.local.exits import read_exit
from tests.conftest import wait_until

MAX_TURNS = 60

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


@pytest.fixture
def executor() -> Iterator[LocalExecutor]:
    """An executor that is closed at the end."""
    made = LocalExecutor()
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


class TestProcesses:
    """Beyond the contract of every executor."""

    # ending by itself

    def test_an_end_tells_time_and_memory(self, executor: Executor, run_dir: Path) -> None:
        ours_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        ended = run(executor, python(run_dir, f"x = bytearray({2 * ours_mib} << 20)"))
        assert 0 < ended.duration_s < MAX_TURNS
        assert 2 * ours_mib < (ended.max_rss_kib or 0) / 1024 < 4 * ours_mib

    def test_the_memory_of_a_run_is_not_that_of_its_parent(self, executor: Executor, run_dir: Path) -> None:
        ours_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert (run(executor, task_of(run_dir, "/bin/true")).max_rss_kib or 0) < ours_kib / 2

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
        self, tmp_path_factory: pytest.TempPathFactory, values: list[str]
    ) -> None:
        executor, run_dir = LocalExecutor(), tmp_path_factory.mktemp("run")
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

    # waiting

    def test_waiting_ends_when_the_wakeup_descriptor_is_readable(self) -> None:
        reading, writing = socket.socketpair()
        with reading, writing:
            executor = LocalExecutor(watched=lambda: [reading.fileno()])
            writing.send(b"\2")
            executor.wait(None)
            executor.close()

    def test_a_wakeup_ends_no_run(self, run_dir: Path) -> None:
        reading, writing = socket.socketpair()
        with reading, writing:
            executor = LocalExecutor(watched=lambda: [reading.fileno()])
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

    def test_fifty_runs_leave_no_descriptor_open(self, run_dir: Path) -> None:
        before = count_fds()
        executor = LocalExecutor()
        codes = {run(executor, task_of(run_dir, "/bin/true")).exit_code for _ in range(50)}
        executor.close()
        assert (codes, count_fds()) == ({0}, before)

    def test_fifty_spawn_errors_leave_no_descriptor_open(self, executor: Executor, run_dir: Path) -> None:
        spawn_error_of(executor, task_of(run_dir, "/no/such/program"))
        before = count_fds()
        texts = {spawn_error_of(executor, task_of(run_dir, "/no/such/program")) for _ in range(50)}
        assert (len(texts), count_fds()) == (1, before)

    # exit.json

    def test_a_run_folder_holds_logs_and_exit_and_nothing_that_is_empty(
        self, executor: Executor, run_dir: Path
    ) -> None:
        run(executor, task_of(run_dir, "/bin/sh", "-c", "echo out"))
        assert {path.name for path in run_dir.iterdir()} == {"stdout.log", "exit.json"}
