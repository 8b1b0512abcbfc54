"""What a search for a batch size says and hands out: real processes that shrink, grumble, hang, or are not there."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sweepline.errors import ConfigError
from tests.engine.batchsize.test_finder import PROGRAM, find

SMALL = PROGRAM.format(kib=1)
LOOP = "held = []\nfor"
MULTIPLES = SMALL.replace(LOOP, f"if size % 8:\n    sys.exit('no multiple of 8')\n{LOOP}", 1)


def above(size: int, what: str) -> str:
    """Return a program that does something else at larger sizes before it goes on."""
    return SMALL.replace(LOOP, f"if size > {size}:\n    {what}\n{LOOP}", 1)


def command(folder: Path, *words: str) -> subprocess.Popen[str]:
    argv = [sys.executable, "-m", "sweepline.cli.main", "batch-size", *words]
    return subprocess.Popen(argv, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_the_size_that_is_used_is_a_multiple_of_the_granularity_and_has_run(tmp_path: Path) -> None:
    said: list[str] = []
    found = find(tmp_path, MULTIPLES, said, first=20, max=118, granularity=8, safety_factor=0.7)
    assert (found.largest, found.batch_size) == (112, 72)
    assert "Trying batch-size=72, the size that is used ... ok" in "".join(said)
    assert found.probes[-1]["batch_size"] == 72


def test_where_the_share_does_not_run_the_next_smaller_size_that_has_is_used_and_that_is_kept(tmp_path: Path) -> None:
    said: list[str] = []
    found = find(tmp_path, MULTIPLES, said, first=16, max=64, safety_factor=0.7)
    again = find(tmp_path, MULTIPLES, first=16, max=64, safety_factor=0.7)
    assert found.batch_size == again.batch_size == 32
    assert "batch-size=44 does not run: 32 is used, the largest smaller size that has run" in "".join(said)
    assert again.is_reused
    assert len(again.probes) == len(found.probes)
    assert find(tmp_path, MULTIPLES, first=16, max=64, safety_factor=0.1).batch_size == 16


@pytest.mark.parametrize(
    "what",
    [
        "print('out of memory at', size, 'using half', flush=True); size //= 2",
        "import os; os.fork() or (print('MemoryError', file=sys.stderr, flush=True), os._exit(1)); sys.exit(0)",
        "print('train.sh: line 3:  4711 Killed                  python train.py', flush=True)",
        "sys.exit(137)",
        "sys.exit('OpenBLAS error: Memory allocation still failed after 10 retries, giving up.')",
        "sys.exit('python: error while loading shared libraries: libx.so: cannot map zero-fill pages')",
        'raise RuntimeError("can\'t start new thread")',
        "raise RuntimeError('DataLoader worker (pid(s) 17) exited unexpectedly')",
    ],
)
def test_a_program_that_lacks_memory_and_goes_on_or_says_it_otherwise_is_out_of_it(tmp_path: Path, what: str) -> None:
    said: list[str] = []
    found = find(tmp_path, above(20, what), said, first=16, max=64, granularity=16)
    assert found.largest == 16
    assert "Trying batch-size=32 ... out of memory: " in "".join(said)


def test_advice_is_no_lack_of_memory_and_a_thread_that_does_not_start_is_one_only_where_memory_is_limited(
    tmp_path: Path,
) -> None:
    advice = "print('stop on out of memory: False\\nlower the size to avoid running out of memory', flush=True)"
    assert find(tmp_path, above(0, advice), first=16, max=16).largest == 16
    with pytest.raises(ConfigError, match="not for want of memory"):
        find(tmp_path, above(0, 'raise RuntimeError("can\'t start new thread")'), first=16, max=16, memory_gib=None)


def test_memory_that_does_not_depend_on_the_size_is_said(tmp_path: Path) -> None:
    said: list[str] = []
    found = find(tmp_path, f"weights = bytearray(b'x') * (50 << 20)\n{SMALL}", said, first=8, max=64)
    assert "Memory was the same for all 4 sizes" in "".join(said)
    assert "does the program read batch-size?" in "".join(said)
    assert (found.ended_by, found.remark) == ("max", "of at most 64")


def test_a_search_that_its_trials_ended_says_so_and_answers_none_that_may_try_more(tmp_path: Path) -> None:
    found = find(tmp_path, SMALL, first=8, max=64, max_trials=2)
    assert (found.largest, found.verb, found.remark) == (16, "ran", "stopped after 2 trials; larger ones may fit")
    assert find(tmp_path, SMALL, first=8, max=64, max_trials=1).is_reused
    more = find(tmp_path, SMALL, first=8, max=64, max_trials=4)
    assert (more.is_reused, more.largest, more.verb) == (False, 64, "fits")
    assert find(tmp_path, SMALL, first=8, max=64, max_trials=2).largest == 64
    assert not find(tmp_path, SMALL, first=8, max=64, granularity=4).is_reused


def test_a_search_that_time_ended_answers_none_that_may_take_longer(tmp_path: Path) -> None:
    slow = SMALL.replace("time.sleep(0.01)", "time.sleep(0.01 if size < 10 else 60)")
    said: list[str] = []
    assert find(tmp_path, slow, said, first=8, max=16, granularity=8, timeout=2).largest == 8
    assert "batch-size=16 counts as too large, for it printed 1 lines that count in 2 s: use fits: {seconds: 20}" in (
        "".join(said)
    )
    assert find(tmp_path, slow, first=8, max=16, granularity=8, timeout=1).is_reused
    assert not find(tmp_path, slow, first=8, max=16, granularity=8, timeout=2.1).is_reused


def test_the_states_of_a_progress_bar_are_lines_of_one_shape(tmp_path: Path) -> None:
    bar = "    sys.stderr.write(f'\\r{step:3d}%|{chr(0x2588) * step}{chr(0x2589 + step % 7)}| [{step * 2.5}it/s]')"
    source = SMALL.replace('    print(f"METRIC step={step} loss=1.0", flush=True)', f"{bar}; sys.stderr.flush()")
    assert find(tmp_path, source, first=8, max=8, lines=5).probes[0]["n_lines"] >= 5
    assert find(tmp_path, source, first=8, max=8, lines=5).probes[0]["seconds"] < 10


def test_an_error_at_some_sizes_keeps_what_has_run_and_says_what_to_do(tmp_path: Path) -> None:
    source = SMALL.replace(LOOP, f"assert size & (size - 1) == 0, 'no power of two'\n{LOOP}", 1)
    with pytest.raises(ConfigError, match=r"no power of two; 32 has run: .*granularity: N.*mode: power"):
        find(tmp_path, source, first=16, max=50)
    assert not list(tmp_path.rglob("batch_sizes.json"))
    found = find(tmp_path, source, first=16, max=50, mode="power", safety_factor=0.7)
    assert (found.largest, found.batch_size) == (32, 16)


@pytest.mark.parametrize(
    ("program", "named"),
    [
        (["pyhton", "train.py"], "'pyhton' not found"),
        (["./trian.sh"], "'./trian.sh' not found"),
        ([sys.executable, "trian.py"], "trian.py"),
        (["bash", "-c", "pyhton ${batch_size}; exit $?"], "pyhton: command not found"),
    ],
)
def test_a_program_that_cannot_be_started_is_named_and_no_size(tmp_path: Path, program: list[str], named: str) -> None:
    process = command(tmp_path, "--flag", "batch-size", "--seconds", "20", "--timeout", "4", "--", *program)
    sentence = process.communicate()[1].splitlines()[-1]
    assert process.returncode == 2
    assert named in sentence
    assert "batch_size=64" not in sentence


def test_a_search_that_is_stopped_says_that_nothing_was_recorded(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("import time; time.sleep(600)")
    process = command(tmp_path, "--flag", "batch-size", "--", sys.executable, "train.py")
    assert process.stderr is not None
    assert process.stderr.read(6) == "Trying"
    process.send_signal(signal.SIGINT)
    assert process.communicate()[1].endswith("stopped: nothing was recorded\n")
    assert process.returncode == 130
    assert not list(tmp_path.rglob("batch_sizes.json"))


def test_the_command_says_what_bounded_it_and_reads_plain_seconds(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("import time; time.sleep(600)")
    words = ("--flag", "batch-size", "--seconds", "0.3", "--timeout", "4", "--first", "4", "--max", "8")
    process = command(tmp_path, *words, "--", sys.executable, "train.py")
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert out.startswith("largest that fits  8 (of at most 8; 3 probes, 0 out of memory, limit ")
    kept = json.loads(next(tmp_path.rglob("batch_sizes.json")).read_text())["records"].values()
    assert [(record["batch_size"], record["ended_by"]) for record in kept] == [(4, "max")]
