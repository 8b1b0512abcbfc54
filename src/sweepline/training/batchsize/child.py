"""The process of a probe, seen from within: ``python -m sweepline.training.batchsize.child`` is one from nothing.

It takes what to do as JSON on standard input and answers on standard output. Where memory can be shared safely a probe
is a fork instead.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
import importlib.util
import json
import operator
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from sweepline.errors import ConfigError
from sweepline.training.batchsize.probe import Request, Setup, run_probe

_PR_SET_PDEATHSIG = 1  # prctl(2)


def end_with_parent(parent: int) -> None:
    """Have this process killed when its parent ends, and before any other should memory really run out."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def main() -> None:
    """Be a probe from nothing: of our trainer, or of what another program builds."""
    order = json.load(sys.stdin)
    end_with_parent(order["parent"])
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever libraries print is no answer
    request = Request(**order["request"])
    if "config" in order:
        from sweepline.training import places
        from sweepline.training.batchsize.setup import load_setup
        from sweepline.training.config.schema import TrainConfig

        places.set_anchors(order["places"])
        build: Callable[[], Setup] = load_setup(TrainConfig.model_validate_json(json.dumps(order["config"])))
    else:
        from sweepline.training.seeding import keep_freed_memory

        sys.path[:] = order["sys_path"]
        keep_freed_memory(is_scarce=request.budget_bytes is not None)
        try:
            build = load_build(order["file"], order["module"], order["name"])
        except ConfigError as error:  # of a script that is not guarded: it would tune here, too
            build = functools.partial(_refuse, error)
        else:
            if "adapt" in order:
                from sweepline.training.batchsize.ownsetup import OwnSetup

                build = functools.partial(OwnSetup, build, **order["adapt"])
    probe = run_probe(build, request)
    json.dump(probe.to_dict(), answer)
    answer.flush()
    os._exit(0)


def _refuse(error: ConfigError) -> Setup:
    raise error


def load_build(file: str | None, module: str, name: str) -> Callable[[], Setup]:
    """Return a function of a module, or of a script by its file, whose main part is not run."""
    if file is None:
        loaded = importlib.import_module(module)
    else:
        spec = importlib.util.spec_from_file_location("__probed_main__", file)
        assert spec is not None
        assert spec.loader is not None
        loaded = importlib.util.module_from_spec(spec)
        sys.modules["__probed_main__"] = loaded
        spec.loader.exec_module(loaded)
    build: Callable[[], Setup] = operator.attrgetter(name)(loaded)
    return build


if __name__ == "__main__":
    main()
