"""Programs in forks of one process that has imported what they import, as warm runs of a sweep are.

A fresh interpreter takes 0.3 s of a processor for what ``sweepline`` imports, and 3 s for what a training does. Tests
of how a program starts and ends as a process of its own, of signals and of kills start a fresh one.
"""

from __future__ import annotations

import functools
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

SWEEP = (
    "sweepline.cli.main",
    "sweepline.cli.run",
    "sweepline.cli.summary",
    "sweepline.engine.session",
    "sweepline.executors.local.executor",
    "sweepline.display.lines",
    "sweepline.reports.page",
)
TRAINING = ("torch.nn.functional", "torch.optim", "sweepline.training.commandline", "sweepline.training.run")
_LIMIT_S = 120

_SERVER = """
import atexit, importlib, json, os, runpy, sys, threading
for name in sys.argv[1:]:
    importlib.import_module(name)

def become(request):
    for fd, path in enumerate(("/dev/null", request["stdout"], request["stderr"])):
        os.dup2(os.open(path, os.O_RDWR | os.O_APPEND), fd)
    os.closerange(3, 256)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    sys.argv = request["argv"]
    try:
        if request["module"]:
            sys.path[0] = request["cwd"]
            sys.exit(importlib.import_module(request["module"]).main())
        sys.path[0] = os.path.dirname(sys.argv[0])
        runpy.run_path(sys.argv[0], run_name="__main__")
        code = 0
    except SystemExit as end:
        code = end.code
        if code is not None and not isinstance(code, int):
            print(code, file=sys.stderr)
            code = 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code or 0)

for line in iter(sys.stdin.readline, ""):
    pid = os.fork()
    if pid == 0:
        become(json.loads(line))
    print(pid, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""
_is_busy = threading.Lock()


@functools.cache
def _server(imports: tuple[str, ...]) -> subprocess.Popen[bytes]:
    """Start the process that forks, once; it ends with the tests, by the end of its input."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "SWEEPLINE_"))}
    return subprocess.Popen(
        [sys.executable, "-c", _SERVER, *imports],
        env={**environ, "CUDA_VISIBLE_DEVICES": ""},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
    )


def run_forked(
    argv: Sequence[str],
    *,
    cwd: Path,
    environ: Mapping[str, str],
    imports: tuple[str, ...] = TRAINING,
    module: str = "",
) -> subprocess.CompletedProcess[str]:
    """Run a program of Python to its end.

    Args:
        argv: begins with its file, or whatever name it is called by where ``module`` is given.
        cwd: its working directory.
        environ: the whole of its environment.
        imports: what the process that forks has imported.
        module: a module whose ``main`` is the program.
    """
    server = _server(imports)
    assert server.stdin is not None
    with tempfile.TemporaryDirectory() as folder, _is_busy:
        out, err = Path(folder) / "out", Path(folder) / "err"
        out.touch()
        err.touch()
        request = {"argv": [*argv], "cwd": str(cwd), "env": {**environ}, "stdout": str(out), "stderr": str(err)}
        server.stdin.write(json.dumps(request | {"module": module}).encode() + b"\n")
        pid = _read_number(server, pid=None)
        code = _read_number(server, pid=pid)
        texts = [path.read_text(errors="surrogateescape") for path in (out, err)]
        return subprocess.CompletedProcess([*argv], code, *texts)


def _read_number(server: subprocess.Popen[bytes], *, pid: int | None) -> int:
    """Return what the server says next; a program that takes too long is killed."""
    assert server.stdout is not None
    if not select.select([server.stdout], [], [], _LIMIT_S)[0] and pid is not None:
        os.kill(pid, signal.SIGKILL)
        server.stdout.readline()
        raise subprocess.TimeoutExpired("a forked program", _LIMIT_S)
    return int(server.stdout.readline())


def is_idle() -> bool:
    """Whether a program could be run at once: the server runs one at a time."""
    return not _is_busy.locked()
