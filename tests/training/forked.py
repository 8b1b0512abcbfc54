"""``train_single.py`` in forks of one process that has imported what it imports, as warm runs of a sweep are.

A fresh interpreter takes 3 s of a processor for these imports alone. Tests of how a run starts and ends as a process of
its own, of signals and of kills start a fresh one.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

SERVER = """
import atexit, json, os, runpy, sys, threading
import torch, torch.nn.functional, torch.optim
import sweepline.training.commandline, sweepline.training.run

def become(request):
    for fd, path in enumerate(("/dev/null", request["stdout"], request["stderr"])):
        os.dup2(os.open(path, os.O_RDWR), fd)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    sys.argv, sys.path[0] = request["argv"], os.path.dirname(request["argv"][0])
    try:
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
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


@functools.cache
def _server() -> subprocess.Popen[str]:
    """Start the process that forks, once; it ends with the tests, by the end of its input."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "SWEEPLINE_"))}
    return subprocess.Popen(
        [sys.executable, "-c", SERVER],
        env={**environ, "CUDA_VISIBLE_DEVICES": ""},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def run_forked(argv: Sequence[str], *, cwd: Path, environ: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a program of Python to its end; ``argv`` begins with its file."""
    server = _server()
    assert server.stdin is not None
    assert server.stdout is not None
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder) / "out", Path(folder) / "err"
        out.touch()
        err.touch()
        request = {"argv": [*argv], "cwd": str(cwd), "env": {**environ}, "stdout": str(out), "stderr": str(err)}
        print(json.dumps(request), file=server.stdin, flush=True)
        code = int(server.stdout.readline())
        return subprocess.CompletedProcess([*argv], code, out.read_text(), err.read_text())
