"""What doctor says of Slurm; programs in the place of its commands answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweepline.engine.doctor.clusters import look_at_clusters
from sweepline.engine.doctor.finding import Standing


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of commands, first without any."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    return tmp_path


def put(folder: Path, name: str, body: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{body}\n")
    (folder / name).chmod(0o755)


def test_nothing_is_said_where_there_is_no_slurm(slurm: Path) -> None:
    assert list(look_at_clusters()) == []
    assert slurm.is_dir()


def test_partitions_and_the_size_of_arrays_are_told(slurm: Path) -> None:
    put(slurm, "sbatch", "exit 0")
    put(slurm, "sinfo", "echo 'gpu*'; echo cpu; echo 'gpu*'")
    put(slurm, "scontrol", "echo 'MaxArraySize = 4001'; echo 'AccountingStorageType = accounting_storage/slurmdbd'")
    put(slurm, "sacct", "exit 0")
    [finding] = look_at_clusters()
    assert finding.standing == Standing.OK
    assert finding.found == "partitions gpu*, cpu; arrays of 4,001; executor: slurm"


def test_a_controller_that_does_not_answer_is_no_obstacle(slurm: Path) -> None:
    put(slurm, "sbatch", "exit 0")
    put(slurm, "sinfo", "echo 'slurm_load_partitions: Unable to contact slurm controller' >&2; exit 1")
    [finding] = look_at_clusters()
    assert finding.standing == Standing.NOTE
    assert finding.found == "does not answer: sinfo: Unable to contact slurm controller"


def test_a_job_whose_nodes_cannot_be_told_is_said(slurm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(slurm, "scontrol", "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    [finding] = look_at_clusters()
    assert finding.name == "allocation"
    assert "Invalid job id specified" in finding.found
