"""How near ``sweepline batch-size`` comes to the largest size that a program runs with, and what that costs.

Each program may allocate 1.2 GiB. What is true is found by running sizes under the same limit, each for longer.
"""

from __future__ import annotations

import json
import re
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.measure import Figure

ROOT = Path(__file__).resolve().parents[1]
PLACE = "${batch_size}"
LIMIT_GIB = 1.2
N_LINES = 12  # four times what a probe waits for
TRAINER = (
    *("-m", "sweepline.training", "--", "data.name=digits", "model.width=512", "epochs=1000", "device=cpu"),
    *("threads=1", "run_numbers=never", "checkpoint.enabled=false", "wandb.mode=disabled", f"batch_size={PLACE}"),
)
PROGRAMS: dict[str, Sequence[str]] = {
    "as in pytorch/examples": (str(ROOT / "tests/assets/pytorch_example.py"), f"--batch-size={PLACE}"),
    "as nanoGPT": (str(ROOT / "tests/assets/char_gpt.py"), f"--batch_size={PLACE}", "--n_embd=128"),
    "our trainer, from outside": TRAINER,
}
MEASURING = re.compile(r"^(METRIC|Train|iter) .*\d\.\d")


def figures(n: int) -> Iterator[Figure]:
    """Yield for each program what is found, ``n`` times, beside what is true."""
    for name, words in PROGRAMS.items():
        told = [_find(words) for _ in range(n)]
        found = [one["largest"] for one in told]
        yield Figure(f"{name}: largest size found", found, unit="examples")
        yield Figure(f"{name}: probes", [len(one["probes"]) for one in told], unit="")
        n_oom = [sum(probe["status"] == "out of memory" for probe in one["probes"]) for one in told]
        yield Figure(f"{name}: of them out of memory", n_oom, unit="")
        yield Figure(f"{name}: seconds", [one["seconds"] for one in told])
        yield Figure(f"{name}: largest size that runs", [_find_by_hand(words, min(found))], unit="examples")


def _find(words: Sequence[str]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        argv = [sys.executable, "-m", "sweepline.cli.main", "batch-size", "--json", "--memory-gib", str(LIMIT_GIB)]
        done = subprocess.run(
            [*argv, "--devices", "cpu", "--", sys.executable, *words], cwd=folder, stdout=subprocess.PIPE, check=True
        )
        found: dict[str, Any] = json.loads(done.stdout)
        return found


def _find_by_hand(words: Sequence[str], low: int) -> int:
    """Return the largest size that runs twice, from one that should."""
    high = 2 * low
    while not _runs(words, low):
        low, high = low * 9 // 10, low
    while high - low > max(1, low // 100):
        middle = (low + high) // 2
        if _runs(words, middle):
            low = middle
        else:
            high = middle
    return low


def _runs(words: Sequence[str], size: int) -> bool:
    return all(_runs_once([word.replace(PLACE, str(size)) for word in words]) for _ in range(2))


def _runs_once(words: Sequence[str]) -> bool:
    limit = int(LIMIT_GIB * (1 << 30))
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(
            [sys.executable, "-u", *words],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (limit, limit)),  # noqa: PLW1509
        ) as process,
    ):
        assert process.stdout is not None
        n_lines = 0
        for line in process.stdout:
            n_lines += MEASURING.search(line) is not None
            if n_lines >= N_LINES:
                process.kill()
                return True
        return False
