"""Ctrl-C once, twice and held, a closed terminal, SIGTERM, SIGHUP, SIGUSR1: what runs is ended or awaited, and told."""

from __future__ import annotations

import os
import random
import re
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from sweepline.engine.signals import StopSignals
from tests.conftest import DEADLINE_S, Project, wait_until
from tests.reliability import SEED, scaled
from tests.reliability.test_kills import (
    SEEDED,
    ends,
    faults,
    finished,
    invocations,
    kill,
    left_by,
    lines_of,
    start_quietly,
    stat_of,
    terminal_of,
    wait_for_keeper,
    write_sweep,
)

CTRL_C = b"\x03"
TRACE = re.compile(r"Traceback|Exception ignored|Fatal Python error")


class Terminal:
    """A terminal of its own with ``sweepline run`` in its foreground."""

    def __init__(self, project: Project, *args: str) -> None:
        self.master, slave = os.openpty()
        self.text = ""
        self._is_open = True
        self.process = subprocess.Popen(
            ["setsid", "--ctty", *project.sweepline, "run", *args],
            cwd=project.path,
            env=project.environment({"TERM": "xterm", "COLUMNS": "100", "LINES": "30"}),
            stdin=slave,
            stdout=slave,
            stderr=slave,
        )
        os.close(slave)

    def press(self, keys: bytes) -> None:
        """Type something."""
        with suppress(OSError):
            os.write(self.master, keys)

    def read(self, timeout_s: float) -> None:
        """Take what the terminal shows within some time."""
        ready, _, _ = select.select([self.master], [], [], timeout_s)
        with suppress(OSError):  # nobody has the other end any more
            if ready:
                self.text += os.read(self.master, 1 << 16).decode(errors="replace")

    def wait_for(self, text: str) -> None:
        """Read until the terminal has shown ``text``."""
        until = time.monotonic() + DEADLINE_S
        while text not in self.text:
            assert time.monotonic() < until, f"the terminal never showed {text!r}: {self.text[-2000:]}"
            self.read(0.05)

    def finish(self, meanwhile: Callable[[], object] = lambda: None) -> int:
        """Read until the sweep has ended; return its exit code."""
        until = time.monotonic() + DEADLINE_S
        while self.process.poll() is None:
            assert time.monotonic() < until, f"the sweep did not end: {self.text[-2000:]}"
            self.read(0.02)
            meanwhile()
        for _ in range(100):
            if not select.select([self.master], [], [], 0.01)[0]:
                break
            self.read(0)
        return self.process.returncode

    def close(self) -> None:
        """Hang up."""
        if self._is_open:
            os.close(self.master)
            self._is_open = False


@pytest.fixture
def open_terminal(project: Project) -> Iterator[Callable[..., Terminal]]:
    """Open terminals on the project that are closed at the end."""
    opened: list[Terminal] = []

    def make(*args: str) -> Terminal:
        opened.append(Terminal(project, *args))
        return opened[-1]

    yield make
    for terminal in opened:
        terminal.close()
        if terminal.process.poll() is None:
            terminal.process.kill()
        terminal.process.wait(DEADLINE_S)


def go_on(project: Project, *, n_runs: int) -> None:
    """Let the runs end by themselves, start again, and check that everything is there once."""
    (project.path / "go").touch()
    result = project.run()
    assert result.returncode == 0, result.stdout + result.stderr
    assert list(project.rows().state) == ["finished"] * n_runs
    assert (faults(project), project.survivors()) == ([], [])


def wait_for_runs(project: Project, n_runs: int = 2) -> None:
    wait_until(lambda: sum(invocations(project).values()) >= n_runs, f"{n_runs} runs are under way")


# a terminal


@pytest.mark.parametrize("flags", [[], ["--plain"]], ids=["live", "plain"])
def test_one_ctrl_c_stops_every_run_within_its_grace(
    project: Project, open_terminal: Callable[..., Terminal], flags: list[str]
) -> None:
    write_sweep(project, mode=["family", "deaf"], x=[1, 2], until=["go"])
    terminal = open_terminal(*flags)
    wait_for_runs(project)
    terminal.press(CTRL_C)
    code = terminal.finish()
    assert code == 130, terminal.text
    assert "SIGINT: stopping: SIGTERM sent to 2 runs, 1 s grace; Ctrl-C again to kill" in terminal.text
    assert not TRACE.search(terminal.text)
    assert [end["state"] for end in ends(project)] == ["interrupted"] * 2
    assert project.survivors() == []
    go_on(project, n_runs=4)


def test_a_second_ctrl_c_kills_what_the_first_did_not_end(
    project: Project, open_terminal: Callable[..., Terminal]
) -> None:
    write_sweep(project, mode=["deaf"], x=[1, 2, 3], until=["go"])
    project.write("sweep.yaml", (project.path / "sweep.yaml").read_text().replace("grace: 1s", "grace: 600s"))
    terminal = open_terminal()
    wait_for_runs(project)
    terminal.press(CTRL_C)
    terminal.wait_for("stopping:")
    terminal.press(CTRL_C)
    code = terminal.finish()
    assert code == 130, terminal.text
    assert "killing 2 runs" in terminal.text
    assert not TRACE.search(terminal.text)
    assert project.survivors() == []
    go_on(project, n_runs=3)


@pytest.mark.parametrize("flags", [[], ["--plain"]], ids=["live", "plain"])
@pytest.mark.timeout(3600)
def test_fifty_ctrl_c_leave_no_traceback_no_process_and_no_hole_in_the_books(
    project: Project, open_terminal: Callable[..., Terminal], flags: list[str]
) -> None:
    chance = random.Random(SEED)
    write_sweep(project, mode=["family", "deaf"], x=[1, 2], until=["go"])
    project.write("sweep.yaml", (project.path / "sweep.yaml").read_text().replace("grace: 1s", "grace: 600s"))
    for i in range(scaled(50)):
        terminal = open_terminal(*flags)
        wait_for_runs(project, 2 * (i + 1))
        keys = iter([CTRL_C] * 50)
        pause_s = chance.choice([0.0, 0.002, 0.01])

        def hold(terminal: Terminal = terminal, keys: Iterator[bytes] = keys, pause_s: float = pause_s) -> None:
            terminal.press(next(keys, b""))
            time.sleep(pause_s)

        code = terminal.finish(meanwhile=hold)
        terminal.close()
        assert code in (130, -signal.SIGINT), f"{terminal.text} ({SEEDED})"
        assert not TRACE.search(terminal.text), f"{terminal.text} ({SEEDED})"
        assert project.survivors() == [], SEEDED
        assert faults(project) == [], SEEDED
    go_on(project, n_runs=4)


@pytest.mark.parametrize("flags", [[], ["--plain"]], ids=["live", "plain"])
def test_a_closed_terminal_stops_the_sweep_as_a_hangup(
    project: Project, open_terminal: Callable[..., Terminal], flags: list[str]
) -> None:
    write_sweep(project, mode=["family", "deaf"], x=[1, 2], until=["go"])
    terminal = open_terminal(*flags)
    wait_for_runs(project)
    terminal.close()
    code = terminal.process.wait(DEADLINE_S)
    (log,) = project.path.glob("outputs/sweep_*.log")
    assert code == 129
    assert "SIGHUP: stopping" in log.read_text()
    assert [end["state"] for end in ends(project)] == ["interrupted"] * 2
    assert (project.survivors(), faults(project)) == ([], [])
    go_on(project, n_runs=4)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)])
def test_a_stop_signal_to_a_sweep_on_a_terminal_is_told_and_is_its_exit_code(
    project: Project, open_terminal: Callable[..., Terminal], number: signal.Signals, code: int
) -> None:
    write_sweep(project, mode=["daemon"], x=[1, 2, 3], until=["go"])
    terminal = open_terminal()
    wait_for_runs(project)
    terminal.process.send_signal(number)
    assert terminal.finish() == code, terminal.text
    assert f"{number.name}: stopping" in terminal.text
    assert not TRACE.search(terminal.text)
    assert project.survivors() == []
    go_on(project, n_runs=3)


@pytest.mark.parametrize("whom", ["keeper", "runs, keeper, sweep", "sweep, and again with SIGHUP"])
def test_whoever_is_told_to_end_by_a_signal_every_run_has_its_grace(project: Project, whom: str) -> None:
    write_sweep(project, mode=["saves"], x=[1, 2, 3], until=["never"])
    project.write("sweep.yaml", (project.path / "sweep.yaml").read_text().replace("grace: 1s", "grace: 60s"))
    process = start_quietly(project)
    wait_for_runs(project)
    keeper, runs = wait_for_keeper(project), [int(words[1]) for words in lines_of(project, "invocations")]
    told = {"keeper": [keeper], "runs, keeper, sweep": [*runs, keeper, process.pid]}.get(whom, [process.pid])
    for pid in told:
        os.kill(pid, signal.SIGTERM)
    if len(told) == 1 and keeper not in told:
        process.send_signal(signal.SIGHUP)
    assert process.wait(DEADLINE_S) in ((143, 129) if "SIGHUP" in whom else (143,)), terminal_of(project)
    assert {words[0] for words in lines_of(project, "saved")} == {"1", "2"}
    assert [(end["state"], end["exit_code"]) for end in ends(project)] == [("interrupted", 0)] * 2
    assert ": stopping: SIGTERM sent to 2 runs, 60 s grace" in terminal_of(project)
    assert (project.survivors(), faults(project)) == ([], [])


def test_a_run_that_reacts_at_once_to_a_signal_to_all_is_interrupted_whoever_gets_it_first(project: Project) -> None:
    write_sweep(project, mode=["hang"], x=[1, 2, 3])
    process = start_quietly(project)
    wait_for_runs(project)
    keeper, runs = wait_for_keeper(project), [int(words[1]) for words in lines_of(project, "invocations")]
    for pid in runs:
        os.kill(pid, signal.SIGTERM)
    wait_until(lambda: {stat[0] for pid in runs if (stat := stat_of(pid))} <= {"Z"}, "the runs have ended")
    os.kill(keeper, signal.SIGTERM)
    assert process.wait(DEADLINE_S) == 143, terminal_of(project)
    assert [(end["state"], end["signal"]) for end in ends(project)] == [("interrupted", 15)] * 2


def test_signals_in_a_moment_are_one_wish_unless_a_person_presses_ctrl_c_again() -> None:
    counts = []
    for first, second in [(15, 15), (15, 1), (1, 15), (2, 15), (2, 2), (15, 2)]:
        with StopSignals() as signals:
            os.kill(os.getpid(), first)
            os.kill(os.getpid(), second)
            counts.append((signals.first, signals.n_received))
    with StopSignals() as signals:
        signals.note_elsewhere(signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        counts.append((signals.first, signals.n_received))
    assert counts == [(15, 1), (15, 1), (1, 1), (2, 1), (2, 2), (15, 2), (2, 1)]


# a drain


def test_a_drain_finishes_what_runs_starts_nothing_more_and_the_next_start_goes_on(project: Project) -> None:
    write_sweep(project, mode=["ok"], x=[1, 2, 3, 4, 5], until=["go"])
    process = start_quietly(project)
    wait_for_runs(project)
    process.send_signal(signal.SIGUSR1)
    wait_until(lambda: "SIGUSR1: nothing more is launched; waiting for 2 runs" in terminal_of(project), "it is told")
    (project.path / "go").touch()
    process.wait(DEADLINE_S)
    drained = set(invocations(project))
    assert finished(project) == drained
    assert len(drained) == 2
    go_on(project, n_runs=5)
    assert set(invocations(project).values()) == {1}


def test_a_drain_that_is_asked_for_again_and_again_is_told_once(project: Project) -> None:
    write_sweep(project, mode=["ok"], x=[1, 2, 3], until=["go"])
    process = start_quietly(project)
    wait_for_runs(project)
    for _ in range(20):
        process.send_signal(signal.SIGUSR1)
        time.sleep(0.005)
    wait_until(lambda: "SIGUSR1" in terminal_of(project), "it is told")
    (project.path / "go").touch()
    process.wait(DEADLINE_S)
    assert terminal_of(project).count("SIGUSR1: nothing more is launched") == 1
    assert len(finished(project)) == 2


def test_a_stop_cuts_a_drain_short(project: Project) -> None:
    write_sweep(project, mode=["family"], x=[1, 2, 3], until=["go"])
    process = start_quietly(project)
    wait_for_runs(project)
    process.send_signal(signal.SIGUSR1)
    wait_until(lambda: "SIGUSR1" in terminal_of(project), "the drain has begun")
    process.send_signal(signal.SIGTERM)
    assert process.wait(DEADLINE_S) == 143
    assert [end["state"] for end in ends(project)] == ["interrupted"] * 2
    assert project.survivors() == []
    go_on(project, n_runs=3)


# whatever is stopped already


def test_runs_that_are_suspended_are_stopped_too(project: Project) -> None:
    write_sweep(project, mode=["frozen"], x=[1, 2], until=["go"])
    process = start_quietly(project)
    wait_for_runs(project)
    wait_until(lambda: sum(stat_of(pid)[:1] == ["T"] for pid in project.survivors()) == 2, "both are suspended")
    process.send_signal(signal.SIGINT)
    assert process.wait(DEADLINE_S) == 130
    assert [(end["state"], end["signal"]) for end in ends(project)] == [("interrupted", 9)] * 2
    assert project.survivors() == []


def test_a_signal_to_a_suspended_sweep_is_heeded_when_it_goes_on(project: Project) -> None:
    write_sweep(project, mode=["hang"], x=[1, 2, 3])
    process = start_quietly(project)
    wait_for_runs(project)
    process.send_signal(signal.SIGSTOP)
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGCONT)
    assert process.wait(DEADLINE_S) == 143
    assert [end["state"] for end in ends(project)] == ["interrupted"] * 2
    assert project.survivors() == []


def test_a_second_ctrl_c_ends_a_sweep_whose_keeper_does_not_answer(project: Project) -> None:
    write_sweep(project, mode=["family", "daemon"], x=[1], until=["go"])
    process = start_quietly(project)
    wait_for_runs(project)
    wait_until(lambda: len(left_by(project)) == 3, "the grandchildren live")
    os.kill(wait_for_keeper(project), signal.SIGSTOP)
    process.send_signal(signal.SIGINT)
    wait_until(lambda: "stopping:" in terminal_of(project), "the first is heeded")
    process.send_signal(signal.SIGINT)
    assert process.wait(DEADLINE_S / 2) == 130
    assert project.survivors() == []
    go_on(project, n_runs=2)


@pytest.fixture
def freeze() -> Iterator[Callable[[int], None]]:
    """Freeze a process, so that neither SIGCONT nor SIGKILL reach it; needs root and a freezer."""
    folder = Path("/sys/fs/cgroup/freezer") / f"test-{os.getpid()}"
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("needs root and the freezer of cgroup v1")

    def do(pid: int) -> None:
        (folder / "cgroup.procs").write_text(str(pid))
        (folder / "freezer.state").write_text("FROZEN")

    yield do
    (folder / "freezer.state").write_text("THAWED")
    wait_until(lambda: not (folder / "cgroup.procs").read_text(), "what was killed is dead")
    folder.rmdir()


def test_one_ctrl_c_ends_a_sweep_whose_keeper_hangs_and_its_runs_are_interrupted(
    project: Project, freeze: Callable[[int], None]
) -> None:
    write_sweep(project, mode=["family", "saves"], x=[1], until=["go"])
    process = start_quietly(project)
    wait_for_runs(project)
    wait_until(lambda: len(left_by(project)) == 2, "the grandchildren live")
    keeper = wait_for_keeper(project)
    freeze(keeper)
    process.send_signal(signal.SIGINT)
    assert process.wait(DEADLINE_S) == 130, terminal_of(project)
    assert [end["state"] for end in ends(project)] == ["interrupted"] * 2
    assert [pid for pid in project.survivors() if pid != keeper] == []
    assert f"the keeper (pid {keeper}) survives SIGKILL" in terminal_of(project)


@pytest.mark.parametrize("wrapper", [(), ("sh", "-c", 'trap "" INT; exec "$0" "$@"')], ids=["", "in_background"])
@pytest.mark.parametrize(("number", "codes"), [(signal.SIGINT, {130}), (signal.SIGTERM, {143, -15})])
def test_a_stop_while_an_earlier_start_is_awaited_ends_at_once_and_kills_nobody(
    project: Project, number: signal.Signals, codes: set[int], wrapper: Sequence[str]
) -> None:
    write_sweep(project, mode=["deaf"], x=[1], until=["go"])
    project.write("sweep.yaml", (project.path / "sweep.yaml").read_text().replace("grace: 1s", "grace: 600s"))
    first = start_quietly(project)
    wait_for_runs(project, 1)
    kill(first)
    second = start_quietly(project, wrapper=wrapper)
    wait_until(lambda: "still being stopped" in terminal_of(project), "the second waits")
    second.send_signal(number)
    code = second.wait(DEADLINE_S)
    alive = project.survivors()
    (project.path / "go").touch()
    wait_until(lambda: not project.survivors(), "the run has ended by itself")
    assert code in codes
    assert not TRACE.search(terminal_of(project))
    assert len(alive) == 2
    go_on(project, n_runs=1)
