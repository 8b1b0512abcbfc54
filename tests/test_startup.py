"""What a Python of a run does with what it prints: a line a write, whoever starts it, and nothing else is changed."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import sweepline

STARTUP = Path(sweepline.__file__).parent / "keeper" / "startup"
WRITES = {
    "print('a line')": ["a line\n"],
    "print('a', 1, None, sep='-')": ["a-1-None\n"],
    "print('no newline', end=' '); print('and its end')": ["no newline and its end\n"],
    "print('10 %', end='', flush=True); print()": ["10 %", "\n"],
    "print('\\r20 %', end=''); print('\\r30 %', end='')": ["\r20 %", "\r30 %"],
    "sys.stdout.write('one\\ntwo\\nthree\\n')": ["one\ntwo\nthree\n"],
    "print('x' * 50_000)": ["x" * 50_000 + "\n"],
    "sys.stdout.buffer.write(b'bytes'); sys.stdout.buffer.write(b'\\n')": ["bytes", "\n"],
    "print('before a crash'); os.kill(os.getpid(), 9)": ["before a crash\n"],
    "print('before a leave'); os._exit(0)": ["before a leave\n"],
    "print('never ended', end='')": ["never ended"],
    "print('on stderr', file=sys.stderr)": ["on stderr\n"],
    "import logging; logging.warning('told')": ["WARNING:root:told\n"],
    "subprocess.run([sys.executable, '-c', 'print(1, 2)'])": ["1 2\n"],
    "subprocess.run([sys.executable, '-u', '-c', 'print(1, 2)'])": ["1 2\n"],
    "c = multiprocessing.get_context('fork').Process(target=print, args=(1, 2)); c.start(); c.join()": ["1 2\n"],
    "c = multiprocessing.get_context('spawn').Process(target=print, args=(1, 2)); c.start(); c.join()": ["1 2\n"],
}


def run_python(*words: str, path: str = "", stdout: int = subprocess.PIPE) -> str:
    """Run an interpreter as the sweep's runs have it; return what it says on standard error, or on both streams."""
    variables = {**os.environ, "PYTHONPATH": path or str(STARTUP), "PYTHONUNBUFFERED": "1"}
    done = subprocess.run(
        [sys.executable, *words], env=variables, stdout=stdout, stderr=subprocess.STDOUT, check=False, text=True
    )
    return done.stdout or ""


@pytest.mark.parametrize("script", WRITES)
def test_a_line_goes_out_in_one_write(script: str) -> None:
    """A socket that keeps messages apart tells the writes from each other."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        run_python("-c", f"import multiprocessing, os, subprocess, sys; {script}", stdout=theirs.fileno())
        ours.setblocking(False)
        writes = []
        while len(writes) < len(WRITES[script]) or not is_over(ours):
            writes.append(ours.recv(1 << 20).decode())
    assert writes == WRITES[script]


def is_over(received: socket.socket) -> bool:
    try:
        return not received.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return True


SEEN = """
import json, sys
mark = getattr(sys.modules.get("sitecustomize"), "MARK", None)
print(json.dumps([mark, [path for path in sys.path if path.endswith("startup")]]))
"""


@pytest.mark.parametrize("options", [[], ["-u"], ["-E"], ["-I"]])
def test_the_users_own_customization_is_found_and_no_trace_is_left(tmp_path: Path, options: list[str]) -> None:
    (tmp_path / "sitecustomize.py").write_text("MARK = 'mine'\n")
    said = run_python(*options, "-c", SEEN, path=f"{STARTUP}{os.pathsep}{tmp_path}")
    is_read = not {"-E", "-I"} & set(options)
    assert json.loads(said) == ["mine" if is_read else None, []]
    assert json.loads(run_python(*options, "-c", SEEN)) == [None, []]


def test_a_customization_that_fails_is_told_of_as_ever(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("raise ValueError('mine')\n")
    said = run_python("-c", SEEN, path=f"{STARTUP}{os.pathsep}{tmp_path}")
    assert said.splitlines()[:2] == ["Error in sitecustomize; set PYTHONVERBOSE for traceback:", "ValueError: mine"]
