"""What a Python of a run does with what it prints: a line a write, whoever starts it, and nothing else is changed."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from sweepline.executors.local.keeper import startup

STARTUP = Path(startup.__file__).parent
WRITES = {
    "print('a line')": ["a line\n"],
    "print('a', 1, None, sep='-')": ["a-1-None\n"],
    "print('no newline', end=' '); print('and its end')": ["no newline and its end\n"],
    "print('10 %', end='', flush=True); print()": ["10 %", "\n"],
    "print('\\r20 %', end=''); print('\\r30 %', end='')": ["\r20 %", "\r30 %"],
    "print('two\\nlines')": ["two\n", "lines\n"],
    "print('a', 'b', sep='\\n', end='')": ["a\n", "b"],
    "print('told', file=sys.stdout, end=''); sys.stdout.close()": ["told"],
    "sys.stdout.writelines(['one', '\\n', 'two', '\\n'])": ["one\n", "two\n"],
    "sys.stdout = io.TextIOWrapper(sys.stdout.buffer); print('again')": ["again\n"],
    "sys.stdout.write('one\\ntwo\\nthree\\n')": ["one\ntwo\nthree\n"],
    "print('x' * 50_000)": ["x" * 50_000 + "\n"],
    "sys.stdout.buffer.write(b'bytes'); sys.stdout.buffer.write(b'\\n')": ["bytes", "\n"],
    "print('before a crash'); os.kill(os.getpid(), 9)": ["before a crash\n"],
    "print('before a leave'); os._exit(0)": ["before a leave\n"],
    "print('never ended', end='')": ["never ended"],
    "print('once', end=''); os.fork() or os._exit(0); os.wait()": ["once"],
    "print('once', end=''); os.fork() or (sys.stdout.flush(), os._exit(0)); os.wait(); print()": ["once", "\n"],
    "sys.stdout.close(); os.fork() or os._exit(0); os.wait(); print(1, file=sys.stderr)": ["1\n"],
    "print('on stderr', file=sys.stderr)": ["on stderr\n"],
    "import logging; logging.warning('told')": ["WARNING:root:told\n"],
    "subprocess.run([sys.executable, '-c', 'print(1, 2)'])": ["1 2\n"],
    "subprocess.run([sys.executable, '-u', '-c', 'print(1, 2)'])": ["1 2\n"],
    "c = multiprocessing.get_context('fork').Process(target=print, args=(1, 2)); c.start(); c.join()": ["1 2\n"],
    "c = multiprocessing.get_context('spawn').Process(target=print, args=(1, 2)); c.start(); c.join()": ["1 2\n"],
}
SLOW_WRITES = {
    "for _ in range(3): print('.', end=''); time.sleep(0.11)": ["..", "."],
    "print('held', end=' '); time.sleep(0.11); print('a line\\nb', end=''); print()": ["held a line\n", "b\n"],
}
NEVER_SLOW = "sys.stdout.write.__globals__['_LONGEST_HELD_S'] = 60"


def run_python(*words: str, path: str = "", stdout: int = subprocess.PIPE) -> str:
    """Run an interpreter as the sweep's runs have it; return what it says on standard error, or on both streams."""
    variables = {**os.environ, "PYTHONPATH": path or str(STARTUP), "PYTHONUNBUFFERED": "1"}
    done = subprocess.run(
        [sys.executable, *words], env=variables, stdout=stdout, stderr=subprocess.STDOUT, check=False, text=True
    )
    return done.stdout or ""


@pytest.mark.parametrize("script", WRITES | SLOW_WRITES)
def test_a_line_goes_out_in_one_write(script: str) -> None:
    """A socket that keeps messages apart tells the writes from each other."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        imports = f"import io, multiprocessing, os, subprocess, sys, time; {NEVER_SLOW if script in WRITES else ''}"
        run_python("-c", f"{imports}\n{script}", stdout=theirs.fileno())
        ours.setblocking(False)
        writes = []
        expected = (WRITES | SLOW_WRITES)[script]
        while len(writes) < len(expected) or not is_over(ours):
            writes.append(ours.recv(1 << 20).decode())
    assert writes == expected


def is_over(received: socket.socket) -> bool:
    try:
        return not received.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return True


def test_lines_of_threads_stay_apart() -> None:
    """Each in the middle of a line while the others print and flush theirs; one ends without a newline."""
    script = """
        import sys, threading
        NEVER_SLOW
        meet = threading.Barrier(4)
        def say(name):
            for i in range(5):
                sys.stdout.write(f"{name} {i}")
                meet.wait()
                print(" said", flush=True)
                meet.wait()
            sys.stdout.write(f"{name} ends")
        threads = [threading.Thread(target=say, args=(name,)) for name in "abcd"]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        print("over")
    """
    *whole, last = run_python("-c", textwrap.dedent(script).replace("NEVER_SLOW", NEVER_SLOW)).splitlines()
    assert sorted(whole) == sorted([f"{name} {i} said" for name in "abcd" for i in range(5)] + ["over"])
    assert sorted(last[i : i + 6] for i in range(0, len(last), 6)) == ["a ends", "b ends", "c ends", "d ends"]


SEEN = """
import json, sys
mark = getattr(sys.modules.get("sitecustomize"), "MARK", None)
print(json.dumps([mark, [path for path in sys.path if path.endswith("startup")]]))
"""


@pytest.mark.parametrize("options", [[], ["-u"], ["-I"]])
def test_the_users_own_customization_is_found_and_no_trace_is_left(tmp_path: Path, options: list[str]) -> None:
    (tmp_path / "sitecustomize.py").write_text("MARK = 'mine'\n")
    said = run_python(*options, "-c", SEEN, path=f"{STARTUP}{os.pathsep}{tmp_path}")
    is_read = "-I" not in options
    assert json.loads(said) == ["mine" if is_read else None, []]
    assert json.loads(run_python(*options, "-c", SEEN)) == [None, []]


def test_a_customization_that_fails_is_told_of_as_ever(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("raise ValueError('mine')\n")
    said = run_python("-c", SEEN, path=f"{STARTUP}{os.pathsep}{tmp_path}")
    assert said.splitlines()[:2] == ["Error in sitecustomize; set PYTHONVERBOSE for traceback:", "ValueError: mine"]
