"""What memory is free where control groups bound it."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweepline.fits import freememory
from sweepline.fits.freememory import cgroup_free_bytes, free_bytes


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


@pytest.mark.parametrize(("in_groups", "expected"), [([1000, 300], 300), ([-50], 0), ([1 << 60], None), ([], None)])
def test_the_machine_or_a_group_has_the_least(
    monkeypatch: pytest.MonkeyPatch, in_groups: list[int], expected: int | None
) -> None:
    monkeypatch.setattr(freememory, "cgroup_free_bytes", lambda: in_groups)
    on_machine = 1024 * next(int(r.split()[1]) for r in Path("/proc/meminfo").read_text().splitlines() if "Avail" in r)
    assert free_bytes() == (pytest.approx(on_machine, rel=0.2) if expected is None else expected)
