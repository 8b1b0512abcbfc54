"""A run's folder is one attempt's at a time."""

from __future__ import annotations

from pathlib import Path

from sweepline.contract.runfolder import COMMAND, format_start
from sweepline.executors.node.claim import Claim


def folder_for(tmp_path: Path, attempt: int = 1) -> Path:
    """Return the run's folder, which a sweep has made for an attempt."""
    run_dir = tmp_path / "run"
    run_dir.mkdir(exist_ok=True)
    (run_dir / COMMAND).write_text(format_start({"attempt": attempt}))
    return run_dir


def test_the_first_job_has_it(tmp_path: Path) -> None:
    run_dir = folder_for(tmp_path)
    first = Claim(run_dir)
    assert (first.take(1, {}), Claim(run_dir).take(1, {}), first.holds) == (True, False, True)


def test_a_job_of_an_earlier_attempt_does_not(tmp_path: Path) -> None:
    assert not Claim(folder_for(tmp_path, attempt=2)).take(1, {})


def test_it_is_lost_when_the_folder_is_emptied_for_the_next_attempt(tmp_path: Path) -> None:
    run_dir = folder_for(tmp_path)
    claim = Claim(run_dir)
    claim.take(1, {})
    (run_dir / "attempts" / "1").mkdir(parents=True)
    (run_dir / "job.json").rename(run_dir / "attempts" / "1" / "job.json")
    assert not claim.holds
    later = Claim(folder_for(tmp_path, attempt=2))
    assert (later.take(2, {}), claim.holds) == (True, False)
