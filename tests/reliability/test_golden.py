"""A sweep folder that an earlier version wrote is read, resumed and found whole by this one.

Both of ``tests/assets/golden`` hold five of six runs, one of them failed. ``v1`` was written when there was no keeper;
``v2`` with journal format 2, the columns ``code`` and ``in_sweep``, and nine files and folders a run.
"""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest

from sweepline.engine.verify import check_invariants
from sweepline.executors.local.exits import read_exit
from sweepline.recording.folders import SweepFolder
from sweepline.recording.journal import JOURNAL, read_events
from sweepline.runs import State
from tests.conftest import ASSETS, Project
from tests.fakes import fold

GOLDEN = ASSETS / "golden"
N_FINISHED, N_FAILED, N_PLANNED = 4, 1, 6


@pytest.fixture(params=["v1", "v2"])
def old(project: Project, request: pytest.FixtureRequest) -> Project:
    """A project whose sweep was run by an earlier version up to its fifth run."""
    golden = GOLDEN / request.param
    for name in ("train.py", "sweep.yaml"):
        shutil.copy(golden / name, project.path / name)
    folder = project.path / "outputs" / "golden"
    shutil.copytree(golden / "sweep", folder)
    plan = folder / "plan.json"
    plan.write_text(plan.read_text().replace("PROJECT", str(project.path)))
    return project


def cut_journal(folder: Path, *, tail: bytes = b"") -> str:
    """Leave the journal as one that died after the second start, and part of the next line; return that run's id."""
    journal = folder / JOURNAL
    starts = [(i, event["run"]) for i, event in enumerate(read_events(journal)) if event["ev"] == "run_start"]
    last, run_id = starts[1]
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[: last + 1]) + tail)
    return str(run_id)


def n_starts(folder: Path) -> int:
    return sum(event["ev"] == "run_start" for event in read_events(folder / JOURNAL))


def test_every_event_of_an_old_journal_folds_to_the_old_table(old: Project) -> None:
    records = fold(read_events(old.sweep_dir / JOURNAL))
    states = [record.state for record in records.values()]
    assert states.count(State.FINISHED) == N_FINISHED
    assert states.count(State.FAILED) == N_FAILED
    assert sum(math.isnan(record.metrics.get("loss", 0.0)) for record in records.values()) == 2
    assert list(old.rows().run_id) == list(records)


def test_old_exit_files_are_ends_of_the_same_attempts(old: Project) -> None:
    records = fold(read_events(old.sweep_dir / JOURNAL))
    for run_id, record in records.items():
        found = read_exit(old.sweep_dir / "runs" / run_id)
        assert found is not None
        assert found[0] == record.attempt
        assert record.outcome is not None
        assert found[1].exit_code == record.outcome.exit_code


def test_an_old_plan_is_read_with_its_starts_and_token(old: Project) -> None:
    plan = SweepFolder(old.sweep_dir).read_plan()
    assert plan is not None
    assert plan["version"] == 1
    assert len(plan["starts"]) == 1
    assert plan["sweep_token"]


def test_status_and_best_read_an_old_sweep(old: Project) -> None:
    status, best = old.command("status"), old.command("best")
    assert status.returncode == 0, status.stderr
    assert f"{N_FINISHED} finished" in status.stdout
    assert best.returncode == 0, best.stderr
    assert "0.9" in best.stdout


def test_an_old_sweep_goes_on_with_what_is_missing_and_runs_nothing_again(old: Project) -> None:
    before = old.rows()
    result = old.run("--keep-going")
    rows = old.rows()
    assert result.returncode == 1, result.stderr  # both 'broken' runs fail
    assert f"resuming: {N_FINISHED} finished, 0 interrupted, {N_FAILED} failed" in result.stdout
    assert "sweep changed" not in result.stdout
    assert n_starts(old.sweep_dir) == N_PLANNED
    assert rows[before.columns].iloc[: len(before)].equals(before)
    assert len(rows) == N_PLANNED


def test_the_table_of_an_old_sweep_is_taken_as_it_is(old: Project) -> None:
    result = old.run("--keep-going")
    assert "did not match" not in result.stdout
    assert not list(old.sweep_dir.glob("*.bak*"))


def test_an_old_sweep_verifies_before_and_after_a_start(old: Project) -> None:
    before = old.command("verify")
    old.run("--keep-going")
    after = old.command("verify")
    assert before.returncode == 0, before.stdout
    assert after.returncode == 0, after.stdout


def test_a_start_adds_itself_to_the_starts_of_an_old_plan(old: Project) -> None:
    earlier = json.loads((old.sweep_dir / "plan.json").read_text())
    old.run("--keep-going")
    plan = json.loads((old.sweep_dir / "plan.json").read_text())
    assert plan["starts"][:-1] == earlier["starts"]
    assert plan["sweep_token"] == earlier["sweep_token"]


@pytest.mark.parametrize("tail", [b"", b'{"v":1,"seq":4,"t_wa'])
def test_a_crash_of_the_old_release_is_mended_by_its_exit_file(old: Project, tail: bytes) -> None:
    before = old.rows()
    cut_journal(old.sweep_dir, tail=tail)  # the end of the second run is in exit.json alone
    result = old.run("--keep-going")
    rows = old.rows().sort_values("run_id", ignore_index=True)
    assert result.returncode == 1, result.stderr
    assert n_starts(old.sweep_dir) == N_PLANNED
    kept = rows[rows.run_id.isin(before.run_id)].reset_index(drop=True)
    shown = ["run_id", "state", "attempt", "rate", "kind", "loss", "accuracy"]
    assert kept[shown].equals(before.sort_values("run_id", ignore_index=True)[shown])
    assert not [fault for invariant in check_invariants(old.sweep_dir) for fault in invariant.faults]
    assert bool(list(old.sweep_dir.glob("quarantine/*"))) == bool(tail)


def test_a_run_of_the_old_release_without_an_end_is_tried_again(old: Project) -> None:
    run_id = cut_journal(old.sweep_dir)
    (old.sweep_dir / "runs" / run_id / "exit.json").unlink()
    old.run("--keep-going")
    attempts = old.rows().set_index("run_id").attempt
    states = old.rows().set_index("run_id").state
    assert states[run_id] == "finished"
    assert attempts[run_id] == 2
    assert sorted(attempts.drop(run_id)) == [1] * (N_PLANNED - 1)
