"""The script of docs/batch-size.md with a loop of its own, copied from the page and run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.conftest import REPOSITORY, Project

PAGE = (REPOSITORY / "docs" / "batch-size.md").read_text(encoding="utf-8")


def test_the_script_of_the_page_finds_a_size_and_leaves_its_checkpoints(tmp_path: Path) -> None:
    (text,) = re.findall(r"^```python\n# own_loop.py\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    few = text.replace("cap=4096", "cap=128").replace(", 100)", ", 4)").replace("% 50", "% 2")
    assert few.count("cap=128") == few.count("% 2") == few.count(", 4)") == 1
    (tmp_path / "own_loop.py").write_text(few)
    argv = [sys.executable, "own_loop.py"]
    for number in (1, 2):  # the second knows the size, and is another run
        done = subprocess.run(
            argv, cwd=tmp_path, env=Project(tmp_path).environment(), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert ("Trying" in done.stdout) == (number == 1)
        run_dir = tmp_path / "outputs" / "mine" / f"run_{number:03d}"
        assert [path.name for path in sorted(run_dir.glob("ckpt/*"))] == ["ckpt_000002.pt", "ckpt_000004.pt"]
