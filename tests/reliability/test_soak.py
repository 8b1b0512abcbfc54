"""Thousands of short runs with faults of every kind under one orchestrator, whose memory and files are watched."""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from sweepline.engine.verify import check_invariants
from tests.conftest import ASSETS, Project, wait_until
from tests.reliability import IS_SOAK, scaled

N_RUNS = scaled(20_000) if IS_SOAK else 1_200
SWEEP = f"""
    program: faulty.sh
    name: soak
    method: grid
    metric: {{name: loss}}
    parameters: {{a: {{min: 1, max: {N_RUNS}}}}}
    devices: cpu
    max_concurrent: 2
    grace: 1s
"""
SAMPLE_S = 0.5


@dataclass(frozen=True)
class Sample:
    """The orchestrator and its keeper at one moment."""

    n_rows: int
    rss_kib: int
    n_fds: int
    n_threads: int
    n_zombies: int


def take_sample(pid: int, keeper: int, csv: Path) -> Sample:
    status = Path(f"/proc/{pid}/status").read_text().split()
    return Sample(
        n_rows=csv.read_bytes().count(b"\n") - 1,
        rss_kib=int(status[status.index("VmRSS:") + 1]),
        n_fds=sum(len(list(Path(f"/proc/{p}/fd").iterdir())) for p in (pid, keeper)),
        n_threads=int(status[status.index("Threads:") + 1]),
        n_zombies=sum(is_zombie(child) for p in (pid, keeper) for child in children_of(p)),
    )


def children_of(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return False


def slope_kib(samples: list[Sample]) -> float:
    """Return by how many KiB memory grows with every thousand rows, the first fifth of the samples left out."""
    warm = samples[len(samples) // 5 :]
    return statistics.linear_regression([s.n_rows for s in warm], [s.rss_kib for s in warm]).slope * 1000


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, which can be filled."""
    folder = tmp_path / "disk"
    folder.mkdir()
    size = "size=6g" if IS_SOAK else "size=1g"
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("needs the right to mount a tmpfs")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def n_pauses(log: Path) -> int:
    return log.read_bytes().count(b"launching paused")


def fill(disk: Path) -> Path:
    """Write a file as large as what is left."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(1 << 20)):
                pass
        except OSError:
            return ballast
    return ballast


@pytest.mark.timeout(1800)
def test_memory_descriptors_and_zombies_stay_flat_and_nothing_is_lost(
    disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project = Project(disk)
    project.write("faulty.sh", (ASSETS / "faulty.sh").read_text()).chmod(0o755)
    project.write("sweep.yaml", SWEEP)
    started = time.monotonic()
    log = disk.parent / "terminal.txt"  # what it prints must not need the room that it waits for
    with log.open("wb") as terminal:
        process = subprocess.Popen(
            [*project.sweepline, "run", "--keep-going"], cwd=disk, env=project.environment(), stdout=terminal
        )
    csv = disk / "outputs" / "soak" / "runs.csv"
    wait_until(lambda: csv.exists() and csv.read_bytes().count(b"\n") > 50, "the sweep is under way")
    (keeper,) = [pid for pid in children_of(process.pid) if "keeper" in Path(f"/proc/{pid}/cmdline").read_text()]
    samples: list[Sample] = []
    n_full, n_refused = 0, 0
    while process.poll() is None:
        try:
            samples.append(take_sample(process.pid, keeper, csv))
        except (OSError, ValueError):  # they have ended between two looks
            continue
        if len(samples) % 16 == 8:
            n_refused += project.run().returncode == 75
        if len(samples) % 24 == 5 and process.poll() is None:
            ballast = fill(disk)
            wait_until(lambda n=n_full: n_pauses(log) > n or process.poll() is not None, "the disk is full")
            n_full = n_pauses(log)
            ballast.unlink()
        time.sleep(SAMPLE_S)
    took_s = time.monotonic() - started
    rows = project.rows()
    faults = [fault for invariant in check_invariants(project.sweep_dir) for fault in invariant.faults]
    fds = [s.n_fds for s in samples[len(samples) // 5 :]]
    with capsys.disabled():
        print(
            f"\nsoak: {len(rows)} runs in {took_s:.0f} s, states {rows.state.value_counts().to_dict()}; memory "
            f"{samples[0].rss_kib / 1024:.1f} -> {samples[-1].rss_kib / 1024:.1f} MiB, "
            f"{slope_kib(samples):.0f} KiB per 1,000 runs; descriptors {min(fds)}..{max(fds)}; threads "
            f"{max(s.n_threads for s in samples)}; zombies at most {max(s.n_zombies for s in samples)}; disk filled "
            f"{n_full} times, {n_refused} second orchestrators refused"
        )
    assert faults == []
    assert len(rows) == N_RUNS
    assert set(rows.state) == {"finished", "failed", "killed", "gpu_lost"}
    assert project.survivors() == []
    assert max(s.n_zombies for s in samples) <= 4
    assert max(s.n_threads for s in samples) == 1
    third = len(fds) // 3
    assert abs(statistics.median(fds[-third:]) - statistics.median(fds[:third])) <= 4
    assert max(fds) <= 40  # those that are open for a moment, such as of logs that are read
    assert slope_kib(samples) < (1024 if IS_SOAK else 4096)
