"""The error that ended a run, among hints, bars, boxes, launchers and what was caught before."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sweepline.engine import lasterror
from sweepline.engine.lasterror import find_error
from sweepline.engine.outcome import OutcomeReader
from sweepline.executors.base import Exit, StopReason
from sweepline.runs import State

TRACEBACK = "Traceback (most recent call last):"
FRAMES = 'Traceback (most recent call last):\n  File "x.py", line 7, in main\n    step()\n    ^^^^^^\n'
LAUNCHER = (
    'Traceback (most recent call last):\n  File "/bin/torchrun", line 33, in <module>\n    sys.exit(main())\n'
    "torch.distributed.elastic.multiprocessing.errors.ChildFailedError: \n" + "=" * 60 + "\ntrain.py FAILED\n"
    "Root Cause (first observed failure):\n[0]:\n  exitcode  : 1 (pid: 123)\n"
)
CAUSE = "\nThe above exception was the direct cause of the following exception:\n\n"
CONTEXT = "\nDuring handling of the above exception, another exception occurred:\n\n"
GROUP = """  + Exception Group Traceback (most recent call last):
  |   File "x.py", line 1, in <module>
  |     raise ExceptionGroup("several", found)
  | ExceptionGroup: several (2 sub-exceptions)
  +-+---------------- 1 ----------------
    | Traceback (most recent call last):
    |   File "x.py", line 1
    | ValueError: a
    +---------------- 2 ----------------
    | Traceback (most recent call last):
    |   File "x.py", line 1
    | TypeError: b
    +------------------------------------
"""
IN_BOX = LAUNCHER + (
    '  traceback : Traceback (most recent call last):\n    File "w.py", line 355, in wrapper\n      return f(*args)\n'
    "  ValueError: bad\n" + "=" * 60 + "\n"
)
RICH = (
    "╭───── Traceback (most recent call last) ──────╮\n│ ❱ 3 raise ValueError('bad')                  │\n"
    "╰──────────────────────────────────────────────╯\nValueError: bad width 0\n"
)
LOGURU = (
    "2026-01-01 00:00:00.000 | ERROR    | __main__:<module>:5 - An error has been caught in function 'main'\n"
    'Traceback (most recent call last):\n\n> File "x.py", line 5, in <module>\n    main()\n    └ <function main>\n\n'
    '  File "x.py", line 3, in main\n    raise ValueError("bad")\n\nValueError: bad\n'
)
TYRO = (
    "╭─ Required options ──────────────────────────╮\n│ The following arguments are required: --x   │\n"
    "│ ─────────────────────────────────────────── │\n│ For full helptext, run t.py --help          │\n"
    "╰─────────────────────────────────────────────╯\n"
)
ABSL = "I0101 00:00:00.000000 1 x.py:3] hello\nF0101 00:00:00.000000 140 x.cc:3] Check failed: a == b\n"
HYDRA = "Set the environment variable HYDRA_FULL_ERROR=1 for a complete stack trace.\n"
NO_KEY = (
    "x.py:3: UserWarning: old\n  warn('old')\nCould not override 'lrr'.\nTo append to your config use +lrr=1\n"
    "Key 'lrr' is not in struct\n    full_key: lrr\n    object_type=dict\n\n"
)
NO_GROUP = (
    "In 'config': Could not find 'model/huge'\n\nAvailable options in 'model':\n\tlarge\n\tsmall\n"
    "Config search path:\n\tprovider=main, path=file:///a\n\tprovider=schema, path=structured://\n\n"
)

ERRORS = {
    "hydra": (
        FRAMES + "ValueError: bad\n\nSet the environment variable HYDRA_FULL_ERROR=1 for a complete stack trace.\n",
    ),
    "hydra, an unknown key": (NO_KEY + HYDRA, "Could not override 'lrr'. To append to your config use +lrr=1"),
    "hydra, an unknown option": (NO_GROUP + HYDRA, "In 'config': Could not find 'model/huge'"),
    "hydra, no config": (
        "Primary config module 'conf' not found.\nCheck that it's correct and contains an __init__.py file\n" + HYDRA,
        "Primary config module 'conf' not found. Check that it's correct and contains an __init__.py file",
    ),
    "hydra, alone": (
        "a log line\nm appears more than once in the list\n\n" + HYDRA,
        "m appears more than once in the list",
    ),
    "hydra, nothing said": ("\n" + HYDRA, HYDRA.strip()),
    "wandb": (FRAMES + "lib.Kaput: broke\nwandb: \nwandb: Find logs at: wandb/run-1/logs\n", "lib.Kaput: broke"),
    "another while the first was handled": (FRAMES + "KeyError: 'x'\n" + CONTEXT + FRAMES + "ValueError: bad\n",),
    "group": (GROUP, "TypeError: b"),
    "rank": ("".join(f"[rank1]: {x}\n" for x in (FRAMES + "ValueError: bad").splitlines()) + LAUNCHER,),
    "box of a launcher": (IN_BOX,),
    "launcher alone": (
        LAUNCHER + "  traceback : Signal 9 (SIGKILL) received by PID 3\n",
        "Signal 9 (SIGKILL) received by PID 3",
    ),
    "accelerate": (
        FRAMES + "ValueError: bad\n" + FRAMES + "subprocess.CalledProcessError: Command '[...]' returned 1\n",
    ),
    "slurm": (FRAMES + "ValueError: bad\nsrun: error: node1: task 0: Exited with exit code 1\n",),
    "at the interpreter's end": (
        FRAMES + "ValueError: bad\nException ignored in: <x>\n" + FRAMES + "AttributeError: y\n",
    ),
    "rich": (RICH, "ValueError: bad width 0"),
    "loguru": (LOGURU,),
    "syntax": (
        '  File "x.py", line 1\n    def\n       ^\nSyntaxError: invalid syntax\n',
        "SyntaxError: invalid syntax",
    ),
    "tyro": (TYRO, "The following arguments are required: --x"),
    "argparse": (
        "usage: t.py [-h]\nt.py: error: unrecognized arguments: --y=1\n",
        "t.py: error: unrecognized arguments: --y=1",
    ),
    "click": (
        "Usage: t.py [OPTIONS]\nTry 't.py --help' for help.\n\nError: No such option: --y\n",
        "Error: No such option: --y",
    ),
    "shell": ("t.sh: line 3: foo: command not found\n", "t.sh: line 3: foo: command not found"),
    "crash": (
        "Fatal Python error: Segmentation fault\n\nCurrent thread 0x1:\n",
        "Fatal Python error: Segmentation fault",
    ),
    "absl": (ABSL + "*** Check failure stack trace: ***\n", "F0101 00:00:00.000000 140 x.cc:3] Check failed: a == b"),
    "go": ("panic: index out of range\n\ngoroutine 1 [running]:\nexit status 2\n", "panic: index out of range"),
    "rust": (
        "thread 'main' panicked at m.rs:2:5:\nbad\nnote: run with `RUST_BACKTRACE=1`\n",
        "thread 'main' panicked at m.rs:2:5: bad",
    ),
    "julia": ("ERROR: LoadError: bad\nStacktrace:\n [1] top-level scope\n", "ERROR: LoadError: bad"),
    "C++": (
        "terminate called after throwing an instance of 'E'\n  what():  bad\n",
        "terminate called after throwing an instance of 'E': what(): bad",
    ),
}


def outcome_of(run_dir: Path, *, out: str = "", err: str = "") -> tuple[State, str]:
    (run_dir / "stdout.log").write_text(out)
    (run_dir / "stderr.log").write_text(err)
    outcome = OutcomeReader().read(run_dir, Exit(exit_code=1))
    return outcome.state, outcome.reason


@pytest.mark.parametrize("kind", ERRORS)
def test_the_reason_is_the_error_and_the_tail_shown_ends_with_it(tmp_path: Path, kind: str) -> None:
    err, reason = (*ERRORS[kind], "ValueError: bad")[:2]

    assert outcome_of(tmp_path, err=err) == (State.FAILED, reason)
    assert reason.split(": ")[-1][:20] in "\n".join(find_error(tmp_path).tail[-5:])


@pytest.mark.parametrize(
    "noise", [" 50%|###  | 5/10 [00:01<00:01, 4.9it/s]", "x.py:3: UserWarning: old\n  warn('old')\n", ""]
)
@pytest.mark.parametrize("said", ["ValueError: bad", "giving up: no data"])
def test_an_error_on_standard_output_is_found_behind_noise(tmp_path: Path, noise: str, said: str) -> None:
    assert outcome_of(tmp_path, out=f"epoch 1\n{said}\n", err=noise) == (State.FAILED, said)


OUT_OF_MEMORY = [
    "RuntimeError: CUDA error: out of memory",
    "torch.OutOfMemoryError: HIP out of memory. Tried to allocate 2.00 GiB",
    "RuntimeError: MPS backend out of memory (MPS allocated: 1.00 GB)",
    "jaxlib.xla_extension.XlaRuntimeError: RESOURCE_EXHAUSTED: Out of memory allocating 17179869184 bytes.",
    "tensorflow.python.framework.errors_impl.ResourceExhaustedError: Graph execution error:",
    "xgboost.core.XGBoostError: Memory allocation error: cudaErrorMemoryAllocation: out of memory",
    "lightgbm.basic.LightGBMError: [CUDA] out of memory at x.cu 12",
    "cupy.cuda.memory.OutOfMemoryError: Out of memory allocating 8,589,934,592 bytes",
    "numpy._core._exceptions._ArrayMemoryError: Unable to allocate 7.45 TiB for an array with shape (1000000, 1000000)",
    "RuntimeError: DataLoader worker (pid 123) is killed by signal: Killed.",
    "OSError: [Errno 12] Cannot allocate memory",
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY)
def test_every_library_that_runs_out_of_memory_is_understood(tmp_path: Path, error: str) -> None:
    assert outcome_of(tmp_path, err=f"{FRAMES}{error}\nCompile with `TORCH_USE_CUDA_DSA`\n") == (
        State.OUT_OF_MEMORY,
        error,
    )


OOM = "torch.OutOfMemoryError: CUDA out of memory."


@pytest.mark.parametrize(
    ("out", "err"),
    [
        ("CUDA out of memory\n", "a warning\n"),
        ("", FRAMES + OOM + "\n" + "cleaning up\n" * 60),
        ("", FRAMES + OOM + "\n" + CAUSE + FRAMES + "RuntimeError: training failed\n"),
        ("", "".join(f"[rank0]: {line}\n" for line in (FRAMES + OOM).splitlines()) + LAUNCHER),
    ],
    ids=["on standard output", "far from the end", "as the cause", "in a launcher"],
)
def test_running_out_of_memory_is_seen_wherever_it_stands(tmp_path: Path, out: str, err: str) -> None:
    assert outcome_of(tmp_path, out=out, err=err)[0] == State.OUT_OF_MEMORY


@pytest.mark.parametrize(
    ("out", "err"),
    [
        ("", f"{FRAMES}{OOM}\nhalving the batch\n{FRAMES}ValueError: bad\n"),
        ("", f"{FRAMES}{OOM}\n{FRAMES}ValueError: bad\n"),
        ("CUDA out of memory, halving the batch\n", "ValueError: bad\n"),
        ("CUDA out of memory\nMETRIC loss=1\nValueError: bad\n", ""),
    ],
)
def test_memory_that_a_run_made_do_with_is_not_why_it_failed(tmp_path: Path, out: str, err: str) -> None:
    assert outcome_of(tmp_path, out=out, err=err) == (State.FAILED, "ValueError: bad")


def test_what_moves_a_terminal_is_in_no_reason_and_no_tail(tmp_path: Path) -> None:
    _, reason = outcome_of(tmp_path, err="\x1b]0;title\x07\x1b[2JValueError: \x1b[31mred\x1b[0m\x08\x00 \x9b2J\n")

    assert (reason, list(find_error(tmp_path).tail)) == ("ValueError: red\ufffd\ufffd \ufffd2J", [reason])


class CountedLines(list[str]):
    """Lines that count how often one of them is read."""

    n_read = 0

    def __getitem__(self, key: Any) -> Any:
        found = super().__getitem__(key)
        return self._count(found) if isinstance(key, slice) else next(self._count([found]))

    def _count(self, lines: Iterable[str]) -> Iterator[str]:
        for line in lines:
            self.n_read += 1
            yield line


@pytest.mark.parametrize(
    "frame",
    ["╭─ Epoch ─╮", f'{TRACEBACK}\nFile "x"', f'    {TRACEBACK}\n  File "x"'],
    ids=["box", "at the left edge", "indented"],
)
def test_many_frames_that_never_end_are_not_read_again_and_again(frame: str) -> None:
    lines = CountedLines([*(f"{frame}\n" * 500).splitlines(), "ValueError: bad"])

    place = lasterror._find_place(lines)

    assert place is not None
    assert place.text == "ValueError: bad"
    assert lines.n_read < 20 * len(lines)


def test_a_run_that_was_stopped_tells_its_last_lines_too(tmp_path: Path) -> None:
    (tmp_path / "stdout.log").write_text("epoch 1\nwaiting\n")

    outcome = OutcomeReader().read(tmp_path, Exit(signal=15, stopped=StopReason.TIMEOUT))

    assert (outcome.state, outcome.log_tail) == (State.TIMEOUT, ["epoch 1", "waiting"])
