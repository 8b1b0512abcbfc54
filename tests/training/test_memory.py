"""How much memory a run may take: its neighbours, and the control groups that it is in."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweepline.errors import ConfigError
from sweepline.training.memory import cgroup_free_bytes, runs_per_device, usable_bytes


def make_group(folder: Path, *, limit: str, used: int, cached: int = 0, is_old: bool = False) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    names = ("memory.limit_in_bytes", "memory.usage_in_bytes") if is_old else ("memory.max", "memory.current")
    (folder / names[0]).write_text(f"{limit}\n")
    (folder / names[1]).write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 5\ninactive_file {cached}\n")


@pytest.mark.parametrize("is_old", [False, True])
def test_the_least_of_nested_limits_holds(tmp_path: Path, is_old: bool) -> None:
    root = tmp_path / "memory" if is_old else tmp_path
    make_group(root, limit="max", used=0, is_old=is_old)
    make_group(root / "slurm", limit="900", used=100, is_old=is_old)
    make_group(root / "slurm/job_7", limit="500", used=400, cached=50, is_old=is_old)
    make_group(root / "slurm/job_7/step_0", limit="max", used=0, is_old=is_old)
    make_group(root / "slurm/job_8", limit="1", used=0, is_old=is_old)
    listing = tmp_path / "listing"
    listing.write_text("12:cpu,cpuacct:/other\n" + ("4:memory" if is_old else "0:") + ":/slurm/job_7/step_0\n")
    assert sorted(cgroup_free_bytes(tmp_path, listing)) == [150, 800]


@pytest.mark.parametrize("text", ["", "0::/../../gone\n", "0::/not/there\n", "nonsense\n"])
def test_groups_that_are_not_there_set_no_limit(tmp_path: Path, text: str) -> None:
    (tmp_path / "listing").write_text(text)
    assert cgroup_free_bytes(tmp_path / "cgroups", tmp_path / "listing") == []


def test_neighbours_share_what_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SWEEPLINE_RUNS_PER_DEVICE", raising=False)
    alone = usable_bytes()
    monkeypatch.setenv("SWEEPLINE_RUNS_PER_DEVICE", "4")
    assert usable_bytes() == pytest.approx(alone / 4, rel=0.2)


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5"])
def test_a_number_of_neighbours_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("SWEEPLINE_RUNS_PER_DEVICE", text)
    with pytest.raises(ConfigError, match="SWEEPLINE_RUNS_PER_DEVICE: needs a whole number above zero"):
        runs_per_device()
