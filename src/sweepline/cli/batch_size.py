"""``sweepline batch-size``: has the training side try sizes, and draws what came out."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from sweepline.contract.text import display_path
from sweepline.errors import ConfigError
from sweepline.reports.batch_size import write_plots

HELP = "the batch size that fits and the efficient one: sweepline batch-size -- key=value ..."
HISTORY = "--history"
NO_PLOT = "--no-plot"


def run_with_words(argv: Sequence[str]) -> int:
    """Try sizes, or with ``--history FOLDER`` only draw what is known; return the exit code.

    Raises:
        ConfigError: there is nothing to draw.
    """
    if argv[:1] == [HISTORY]:
        if len(argv) != 2:
            raise ConfigError(f"{HISTORY} takes the folder of an experiment, which holds batch_size_tuning.json")
        _draw(Path(argv[1]), None)
        return 0
    wants_plot = NO_PLOT not in argv
    words = [word for word in argv if word != NO_PLOT]
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "answer.json"
        program = [sys.executable, "-m", "sweepline.training.batchsize", "--answer", str(answer)]
        code = subprocess.run([*program, *words], check=False).returncode
        if code != 0 or not answer.exists():
            return code
        told = json.loads(answer.read_text(encoding="utf-8"))
    experiment_dir = Path(told["experiment_dir"])
    print(f"{'recorded':18} {display_path(experiment_dir / 'batch_size_tuning.json')}, run {told['run_number']}")
    if wants_plot:
        _draw(experiment_dir, told["run_number"])
    return 0


def _draw(experiment_dir: Path, number: int | None) -> None:
    for path in write_plots(experiment_dir, number=number):
        print(f"{'plot':18} {display_path(path)}")
