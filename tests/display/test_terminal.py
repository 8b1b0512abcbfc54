"""Standard output that takes nothing, takes few letters, or is not there."""

from __future__ import annotations

import io
import os
import pty
import signal
import socket
import subprocess
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest

from sweepline.display.terminal import MAX_PENDING_BYTES, Terminal
from tests.conftest import DEADLINE_S, Project, wait_until

SWEEP = """
    program: prog.sh
    command: [bash, "${program}"]
    name: s
    metric: {name: loss}
    parameters: {x: VALUES}
    devices: cpu
    max_concurrent: 2
    grace: 1
"""


def open_pair(kind: str) -> tuple[int, int]:
    """Return the descriptors of a reader and of what it reads."""
    if kind == "pipe":
        return os.pipe()
    if kind == "socket":
        reading, writing = socket.socketpair()
        return reading.detach(), writing.detach()
    reading, writing = pty.openpty()
    tty.setraw(writing)
    return reading, writing


@pytest.fixture(params=["pipe", "socket", "terminal"])
def ends(request: pytest.FixtureRequest) -> Iterator[tuple[int, io.TextIOWrapper]]:
    """A reader's descriptor, and the stream that it reads."""
    reading, writing = open_pair(request.param)
    with os.fdopen(writing, "w") as stream:
        yield reading, stream
    os.close(reading)


def test_what_a_sleeping_reader_does_not_take_is_kept_to_a_bound_and_counted(
    ends: tuple[int, io.TextIOWrapper],
) -> None:
    reading, stream = ends
    line = "x" * 1000
    with Terminal(stream) as terminal:
        for _ in range(2 * MAX_PENDING_BYTES // len(line)):
            terminal.write_line(line)
        assert terminal.is_blocked
        assert os.get_blocking(stream.fileno())
        read = b""
        while terminal.is_blocked:
            read += os.read(reading, 1 << 16)
        terminal.write_line("the end")
        while not read.endswith(b"the end\n"):
            read += os.read(reading, 1 << 16)

    *lines, told, last = read.decode().splitlines()
    assert set(lines) == {line}
    assert told.endswith("lines left out; the log has them)")
    assert last == "the end"


def test_a_reader_that_never_takes_anything_does_not_hold_the_end(ends: tuple[int, io.TextIOWrapper]) -> None:
    with Terminal(ends[1]) as terminal:
        terminal.write_line("x" * (1 << 20))


def test_letters_that_cannot_be_written_are_replaced_and_commands_to_the_terminal_taken_out(tmp_path: Path) -> None:
    with open(tmp_path / "out", "w", encoding="ascii") as stream, Terminal(stream) as terminal:
        terminal.write_line("1 ± 2 größe \x1b[2Jx\x1b]0;title\x07y")

    assert (tmp_path / "out").read_text() == "1 ? 2 gr??e xy\n"


def test_a_reader_that_has_gone_is_no_error() -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream, Terminal(stream) as terminal:
        os.close(reading)
        terminal.write_line("one")
        terminal.write_line("two")


@pytest.mark.parametrize("closed", [">&-", "<&- >&- 2>&-"])
def test_a_sweep_without_standard_streams_runs(project: Project, closed: str) -> None:
    project.write("prog.sh", "echo METRIC loss=1")
    project.write("sweep.yaml", SWEEP.replace("VALUES", "['größe']"))
    command = ["bash", "-c", f'exec "$@" {closed}', "bash", *project.sweepline, "run"]

    code = subprocess.run(
        command, cwd=project.path, env=project.environment({"PYTHONIOENCODING": "ascii"}), check=False
    )

    assert (code.returncode, list(project.rows().loss)) == (0, [1.0])
    assert (project.sweep_dir / "runs.csv").read_text().startswith("sweep,run_id")


@pytest.mark.parametrize("kind", ["pipe", "terminal"])
def test_a_sweep_goes_on_and_can_be_stopped_while_its_terminal_takes_nothing(project: Project, kind: str) -> None:
    project.write("prog.sh", "printf '%04000d\\n' 0 >&2; test -e stop && sleep 60; exit 1")
    project.write("sweep.yaml", SWEEP.replace("VALUES", str(list(range(1000)))))
    reading, writing = open_pair(kind)
    command = [*project.sweepline, "run", "--keep-going"]
    with (
        open(reading, "rb"),
        subprocess.Popen(
            command, cwd=project.path, env=project.environment({"TERM": "xterm"}), stdout=writing, stderr=writing
        ) as sweep,
    ):
        os.close(writing)
        wait_until(lambda: project.path.joinpath("outputs/s/events.jsonl").exists(), "the sweep has begun")
        journal = project.sweep_dir / "events.jsonl"
        wait_until(lambda: journal.read_text().count("run_end") > 25, "runs end, more than the reader takes")
        (project.path / "stop").touch()
        sweep.send_signal(signal.SIGTERM)
        assert sweep.wait(timeout=DEADLINE_S) == 128 + signal.SIGTERM
