"""Programs that would write the files of several runs into one folder: told before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweepline.config.outputs import find_folder_named_by_time
from sweepline.config.sweepfile import load_sweep


@pytest.mark.parametrize(
    ("line", "is_told"),
    [
        ("os.makedirs('exp/' + time.strftime('%Y%m%d-%H%M%S'))", True),
        ('out = f"runs/{datetime.now():%Y}" + now.strftime("%m-%d_%H.%M.%S")', True),
        ("writer = SummaryWriter()", True),
        ("print(time.strftime('%H:%M:%S'), loss)", False),
        ("logging.Formatter('%(asctime)s', '%Y-%m-%d %H:%M:%S')", False),
        ("writer = SummaryWriter(args.logdir)", False),
        ("name = now.strftime('%Y%m%d-%H%M%S-%f')", False),
        ("'%Sales'", True),  # what only looks like one costs a sentence
    ],
)
def test_a_folder_named_by_the_second_is_found_and_a_clock_is_not(line: str, is_told: bool) -> None:
    assert (find_folder_named_by_time(f"import time\n{line}\n".encode()) == 2) is is_told


@pytest.mark.parametrize(("out", "n_told"), [("", 1), ("command: [python, train.py, '--out=${run_dir}']\n", 0)])
def test_it_is_said_once_with_its_line_unless_each_run_is_given_a_folder(tmp_path: Path, out: str, n_told: int) -> None:
    (tmp_path / "train.py").write_text("import time\nfolder = time.strftime('%Y%m%d-%H%M%S')\n")
    (tmp_path / "sweep.yaml").write_text(
        f"program: train.py\nmetric: {{name: loss}}\n{out}parameters: {{lr: [1, 2]}}\n"
    )
    warnings = load_sweep(tmp_path / "sweep.yaml").warnings
    assert (
        sum("train.py:2 seems to name its output folder by the time to the second" in text for text in warnings)
        == n_told
    )
