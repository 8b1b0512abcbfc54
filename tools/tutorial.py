"""Runs what ``docs/tutorial.md`` tells to type, and compares what is printed with what the page shows.

A block with a title is a file, a block of kind ``console`` has commands behind ``$`` and what they print. With
``--write`` the page gets what is printed now. What differs from one time to the next (durations, dates, the order in
which runs side by side are told) makes no difference.
"""

from __future__ import annotations

import argparse
import difflib
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

PAGE = Path(__file__).resolve().parents[1] / "docs" / "tutorial.md"
SHOWN_FOLDER, SHOWN_PYTHON = "/home/me/first", "/home/me/env/bin/python"
_BLOCK = re.compile(r'^```(?P<kind>\w+)(?: title="(?P<title>[^"]+)")?\n(?P<text>.*?)^```$', re.MULTILINE | re.DOTALL)
_CHANGING = (
    (re.compile(r"\b\d+(\.\d+)? (s|min)\b"), "* s"),
    (re.compile(r"(?<=_)\d{8}_\d{6}\b"), "*"),
    (re.compile(r"\[\d+/"), "[*/"),
    (re.compile(r"\b\d+ CPU threads? each"), "* CPU threads each"),
    (re.compile(r"\b[0-9a-f]{12}\b"), "*"),
    (re.compile(r"\b(MASTER_PORT|OMP_NUM_THREADS)=\d+"), "*"),
)
_DROPPED = ("    | ", "nothing to import in advance")  # a traceback, which each Python writes otherwise; how runs start
_LIMIT_S = 120


def run_page(text: str, folder: Path, environ: Mapping[str, str]) -> str:
    """Return the page with what its commands print now, run one after the other in ``folder``."""
    return _BLOCK.sub(lambda block: _run_block(block, folder, environ), text)


def _run_block(block: re.Match[str], folder: Path, environ: Mapping[str, str]) -> str:
    if block["title"]:
        (folder / block["title"]).write_text(block["text"])
    if block["kind"] != "console":
        return block[0]
    commands = [line[2:] for line in block["text"].splitlines() if line.startswith("$ ")]
    printed = "".join(f"$ {command}\n{_run(command, folder, environ)}" for command in commands)
    shown = printed.replace(str(folder), SHOWN_FOLDER).replace(sys.executable, SHOWN_PYTHON)
    return f"```console\n{shown}```"


def _run(command: str, folder: Path, environ: Mapping[str, str]) -> str:
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=dict(environ),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_LIMIT_S,
        check=False,
    )
    return "".join(f"{line.rstrip()}\n" for line in done.stdout.splitlines())


def stable_lines(text: str) -> list[str]:
    """Return the lines of a page without what changes from one time to the next, those of a block in order."""
    blocks = [block["text"].splitlines() for block in _BLOCK.finditer(text) if block["kind"] == "console"]
    return [line for lines in blocks for line in sorted(_mask(lines))]


def _mask(lines: list[str]) -> Iterator[str]:
    for line in lines:
        if not line.startswith(_DROPPED):
            for pattern, mark in _CHANGING:
                line = pattern.sub(mark, line)  # noqa: PLW2901
            yield re.sub(r" {2,}", "  ", line)


def main() -> int:
    """Compare, or write; return 0 when the page shows what is printed."""
    parser = argparse.ArgumentParser(description="Run the tutorial.")
    parser.add_argument("--write", action="store_true", help="write down what is printed now")
    args = parser.parse_args()
    before = PAGE.read_text(encoding="utf-8")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("WANDB_", "SWEEPLINE_"))}
    with tempfile.TemporaryDirectory() as folder:
        after = run_page(before, Path(folder), {**environ, "PATH": path, "VIRTUAL_ENV": "", "CUDA_VISIBLE_DEVICES": ""})
    if args.write:
        PAGE.write_text(after, encoding="utf-8")
        return 0
    changes = [*difflib.unified_diff(stable_lines(before), stable_lines(after), "shown", "printed", lineterm="")]
    print("\n".join(changes))
    return 1 if changes else 0


if __name__ == "__main__":
    sys.exit(main())
