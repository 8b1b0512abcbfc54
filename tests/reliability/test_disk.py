"""Disks that are full, small, read-only or gone, and a table that others write to while its sweep runs."""

from __future__ import annotations

import errno
import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from sweepline.engine.verify import check_invariants
from sweepline.recording.journal import JOURNAL, read_events
from tests.conftest import DEADLINE_S, Project, wait_until
from tests.reliability import SEED, scaled

PAUSED, AGAIN, GONE = "launching paused", "there is room on the disk again", "the sweep folder is gone"
SCRIPT = """
    import os, sys, time
    from pathlib import Path

    x = int(sys.argv[1].partition("=")[2])
    gate = Path(os.environ["GATE"])
    print("started", flush=True)
    while x >= int(os.environ["FIRST_HELD"]) and not gate.exists():
        time.sleep(0.005)
    try:
        print("a line of the log\\n" * int(os.environ["N_LINES"]))
        print(f"METRIC loss={x / 2}", flush=True)
    except OSError:
        if "CARELESS" not in os.environ:
            raise
        os._exit(0)
"""
SWEEP = """
    program: held.py
    name: held
    method: grid
    metric: {name: loss, goal: minimize}
    parameters: {x: VALUES}
    max_concurrent: 2
    devices: cpu
    grace: 1s
"""


def held_sweep(folder: Path, gate: Path, *, n_runs: int, first_held: int, n_lines: int = 1, **more: str) -> Project:
    """Return a project whose runs from ``first_held`` on wait until ``gate`` is there."""
    project = Project(folder)
    project.environ = {"GATE": str(gate), "FIRST_HELD": str(first_held), "N_LINES": str(n_lines)} | more
    project.write("held.py", SCRIPT)
    project.write("sweep.yaml", SWEEP.replace("VALUES", str(list(range(1, n_runs + 1)))))
    return project


@contextmanager
def ended(project: Project) -> Iterator[None]:
    """Leave no process of a project."""
    try:
        yield
    finally:
        for pid in project.survivors():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@pytest.fixture
def held(tmp_path: Path) -> Iterator[Project]:
    """A sweep of four runs; the last two wait for the gate."""
    project = held_sweep(tmp_path, tmp_path / "gate", n_runs=4, first_held=3)
    with ended(project):
        yield project


MakeDisk = Callable[..., Path]


@pytest.fixture
def make_disk(tmp_path: Path) -> Iterator[MakeDisk]:
    """Makes file systems of their own; needs the right to mount."""
    made: list[Path] = []

    def make(options: str, *, name: str | None = None) -> Path:
        folder = tmp_path / (name or f"disk{len(made)}")
        folder.mkdir(parents=True)
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("needs mount, and the right to mount a tmpfs")
        made.append(folder)
        return folder

    yield make
    for folder in made:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(disk: Path, *, n_spare_pages: int = 0, with_files: bool = False) -> list[Path]:
    """Fill a file system to the last byte but so many pages, or to the last file; return what to remove again."""
    ballast = disk / "ballast"
    if with_files:
        made = []
        with suppress(OSError):
            for number in itertools.count():
                made.append(disk / f"ballast{number}")
                made[-1].touch()
        return made[:-1]
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    os.truncate(ballast, max(0, ballast.stat().st_size - 4096 * n_spare_pages))
    return [ballast]


class Started:
    """A sweep under way, its output going to files outside of any disk under test."""

    def __init__(self, project: Project, output: Path) -> None:
        self._files = [output.with_name(f"{output.name}.{kind}") for kind in ("out", "err")]
        with self._files[0].open("w") as out, self._files[1].open("w") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "sweepline.cli.main", "run"],
                cwd=project.path,
                env=project.environment(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )

    @property
    def out(self) -> str:
        return self._files[0].read_text()

    @property
    def err(self) -> str:
        return self._files[1].read_text()

    def wait_for(self, text: str) -> bool:
        """Wait until something was printed, or the sweep has ended; return whether it was."""
        wait_until(lambda: self.process.poll() is not None or text in self.out, f"{text!r} is printed")
        return text in self.out

    def end(self) -> int:
        """Wait until the sweep has ended; return its exit code."""
        return self.process.wait(DEADLINE_S)


def faults_of(project: Project) -> list[str]:
    return [f"{found.name}: {fault}" for found in check_invariants(project.sweep_dir) for fault in found.faults]


def assert_all_finished(project: Project, n_runs: int) -> None:
    rows = project.rows()
    assert sorted(rows.x) == list(range(1, n_runs + 1))
    assert set(rows.state) == {"finished"}, rows[["x", "state", "reason"]]
    assert list(rows.loss) == [x / 2 for x in rows.x]
    assert faults_of(project) == []


def assert_one_sentence(err: str) -> None:
    assert len(err.splitlines()) == 1, err
    assert err.startswith("sweepline: "), err


def n_starts(project: Project) -> int:
    return sum(event["ev"] == "run_start" for event in read_events(project.sweep_dir / JOURNAL))


# full


FILLINGS = {
    "to the last byte": {},
    "but for one page": {"n_spare_pages": 1},
    "but for three pages": {"n_spare_pages": 3},
    "but for seven pages": {"n_spare_pages": 7},
    "to the last file": {"with_files": True},
}


@pytest.mark.parametrize("filling", FILLINGS)
def test_a_disk_that_fills_up_in_the_middle_pauses_the_sweep_until_there_is_room(
    tmp_path: Path, make_disk: MakeDisk, filling: str
) -> None:
    disk = make_disk("size=6m,nr_inodes=900")
    project = held_sweep(disk, tmp_path / "gate", n_runs=12, first_held=5)
    with ended(project):
        sweep = Started(project, tmp_path / "sweep")
        assert sweep.wait_for("[4/12]"), sweep.err
        ballast = fill(disk, **FILLINGS[filling])
        (tmp_path / "gate").touch()
        assert sweep.wait_for(PAUSED), sweep.out + sweep.err
        before = project.rows()
        for path in ballast:
            path.unlink()
        assert (sweep.end(), sweep.err) == (0, ""), sweep.out
        assert "disk full on" in sweep.out
        assert AGAIN in sweep.out
        assert_all_finished(project, 12)
        assert set(before[before.state == "finished"].run_id) <= set(project.rows().run_id)
        assert project.survivors() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("filling", ["to the last byte", "but for three pages"])
def test_a_sweep_that_is_stopped_while_it_waits_for_room_loses_no_result(
    tmp_path: Path, make_disk: MakeDisk, filling: str, number: signal.Signals
) -> None:
    disk = make_disk("size=6m")
    project = held_sweep(disk, tmp_path / "gate", n_runs=8, first_held=5)
    with ended(project):
        sweep = Started(project, tmp_path / "sweep")
        assert sweep.wait_for("[4/8]"), sweep.err
        (ballast,) = fill(disk, **FILLINGS[filling])
        (tmp_path / "gate").touch()
        assert sweep.wait_for(PAUSED), sweep.out + sweep.err
        sweep.process.send_signal(number)
        code = sweep.end()
        assert code == (-number if number == signal.SIGKILL else 128 + number), sweep.out + sweep.err
        assert sweep.err == ""
        ballast.unlink()
        again = project.run()
        assert again.returncode == 0, again.stdout + again.stderr
        assert_all_finished(project, 8)
        assert project.survivors() == []


def test_a_start_on_a_disk_of_any_small_size_pauses_or_says_so_and_goes_on_with_room(
    tmp_path: Path, make_disk: MakeDisk
) -> None:
    sizes = random.Random(SEED).sample(range(16, 416, 4), scaled(60))
    print(f"sizes {sizes} KiB, seed {SEED}")
    for size, number in zip(sizes, itertools.cycle([None, signal.SIGINT, signal.SIGKILL]), strict=False):
        disk = make_disk(f"size={size}k", name=f"disk{size}")
        project = held_sweep(disk, tmp_path, n_runs=9, first_held=99)
        with ended(project):
            sweep = Started(project, tmp_path / f"sweep{size}")
            is_paused = sweep.wait_for(PAUSED)
            if is_paused and number is not None:
                sweep.process.send_signal(number)
            else:
                subprocess.run(["mount", "-o", "remount,size=20m", str(disk)], check=True)
            code = sweep.end()
            shown = f"{size} KiB, {number}: exit code {code}\n{sweep.out}{sweep.err}"
            assert "Traceback" not in sweep.err, shown
            if not is_paused or number is None:  # it did not even begin, or it had room, or it was given room
                assert code == (0 if "started" in sweep.out else 2), shown
            if code == 2:
                assert_one_sentence(sweep.err)
            subprocess.run(["mount", "-o", "remount,size=20m", str(disk)], check=True)
            again = project.run()
            assert again.returncode == 0, shown + again.stdout + again.stderr
            assert_all_finished(project, 9)


@pytest.mark.parametrize("kind", ["careful", "careless"])
@pytest.mark.parametrize("n_runs", [1, 6])
def test_a_run_whose_own_log_found_no_room_goes_again_and_is_not_called_failed(
    tmp_path: Path, make_disk: MakeDisk, n_runs: int, kind: str
) -> None:
    disk = make_disk("size=6m")
    more = {"CARELESS": "1"} if kind == "careless" else {}
    project = held_sweep(disk, tmp_path / "gate", n_runs=n_runs, first_held=1, n_lines=2000, **more)
    with ended(project):
        sweep = Started(project, tmp_path / "sweep")
        n_first = min(2, n_runs)
        wait_until(
            lambda: sum(path.stat().st_size > 0 for path in disk.glob("outputs/*/runs/*/stdout.log")) == n_first,
            "the first runs have started",
        )
        (ballast,) = fill(disk)
        (tmp_path / "gate").touch()
        is_paused = sweep.wait_for(PAUSED)
        ballast.unlink()
        code = sweep.end()
        assert is_paused, sweep.out + sweep.err
        assert code == 0, sweep.out + sweep.err
        assert_all_finished(project, n_runs)
        states = [event["state"] for event in read_events(project.sweep_dir / JOURNAL) if event["ev"] == "run_end"]
        assert set(states) == {"finished", "interrupted"}


def test_the_sweeps_log_on_a_full_disk_does_not_stop_the_sweep(tmp_path: Path, make_disk: MakeDisk) -> None:
    disk = make_disk("size=64k", name="outputs")
    (tmp_path / "elsewhere").mkdir()
    (disk / "held").symlink_to(tmp_path / "elsewhere")
    project = held_sweep(tmp_path, tmp_path, n_runs=4, first_held=99)
    fill(disk)
    with ended(project):
        result = project.run()
    assert result.returncode == 0, result.stdout + result.stderr
    assert_all_finished(project, 4)


@pytest.mark.parametrize("streams", [["stdout"], ["stdout", "stderr"]], ids=" and ".join)
def test_output_into_a_file_on_a_full_disk_does_not_stop_the_sweep(tmp_path: Path, streams: list[str]) -> None:
    project = held_sweep(tmp_path, tmp_path, n_runs=4, first_held=99)
    with ended(project), open("/dev/full", "w") as full:
        outputs = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | dict.fromkeys(streams, full)
        process = subprocess.Popen(
            [sys.executable, "-m", "sweepline.cli.main", "run"],
            cwd=tmp_path, env=project.environment(), stdin=subprocess.DEVNULL, text=True, **outputs,
        )  # fmt: skip
        _, err = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, err
    assert_all_finished(project, 4)


# read-only


def test_a_read_only_folder_is_one_sentence(tmp_path: Path, make_disk: MakeDisk) -> None:
    disk = make_disk("size=6m")
    project = held_sweep(disk, tmp_path, n_runs=2, first_held=99)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    result = project.run()
    assert result.returncode == 2
    assert_one_sentence(result.stderr)
    assert os.strerror(errno.EROFS) in result.stderr


def run_with_refusals(project: Project, name: str, inject: str) -> subprocess.CompletedProcess[str]:
    """Run a sweep whose file ``name`` the system refuses, as ``inject`` says to strace."""
    if shutil.which("strace") is None:
        pytest.skip("needs strace")
    path = project.path / "outputs" / "held" / name
    trace = ["strace", "-o", "/dev/null", "-P", str(path), "-e", "trace=write,openat", "-e", f"inject={inject}"]
    return subprocess.run(
        [*trace, sys.executable, "-m", "sweepline.cli.main", "run"],
        cwd=project.path, env=project.environment(), stdin=subprocess.DEVNULL, text=True, capture_output=True,
        timeout=DEADLINE_S, check=False,
    )  # fmt: skip


def test_a_disk_that_becomes_read_only_stops_the_sweep_with_one_sentence(tmp_path: Path) -> None:
    project = held_sweep(tmp_path, tmp_path, n_runs=4, first_held=99)
    with ended(project):
        result = run_with_refusals(project, JOURNAL, "write:error=EROFS:when=3+")
        assert result.returncode == 2, result.stderr
        assert_one_sentence(result.stderr)
        assert os.strerror(errno.EROFS) in result.stderr
        assert project.survivors() == []
        again = project.run()
        assert again.returncode == 0, again.stdout + again.stderr
        assert_all_finished(project, 4)


def test_a_table_that_cannot_be_written_is_told_once_and_the_sweep_goes_on_without_it(tmp_path: Path) -> None:
    project = held_sweep(tmp_path, tmp_path, n_runs=4, first_held=99)
    with ended(project):
        result = run_with_refusals(project, "runs.csv.tmp", "openat:error=EPERM:when=2+")
        assert (result.returncode, result.stderr) == (0, ""), result.stderr
        assert result.stdout.count("the sweep goes on: the journal has every run") == 1
        assert project.command("rebuild-csv").returncode == 0
        assert_all_finished(project, 4)


# gone


@pytest.mark.parametrize("fate", ["renamed", "deleted", "replaced", "mounted over"])
def test_a_sweep_whose_folder_is_gone_says_so_and_leaves_no_process(held: Project, fate: str) -> None:
    sweep = Started(held, held.path / "sweep")
    assert sweep.wait_for("[2/4]"), sweep.err
    folder, aside = held.sweep_dir, held.path / "aside"
    if fate == "mounted over":
        mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
        if subprocess.run(mount, capture_output=True, check=False).returncode:
            pytest.skip("needs the right to mount a tmpfs")
    else:
        folder.rename(aside)
    if fate == "deleted":
        shutil.rmtree(aside)
    if fate == "replaced":
        (folder / "runs").mkdir(parents=True)
    try:
        code = sweep.end()
    finally:
        if fate == "mounted over":
            subprocess.run(["umount", "-l", str(folder)], check=True)
    assert code == 2, sweep.out + sweep.err
    assert_one_sentence(sweep.err)
    assert GONE in sweep.err
    assert held.survivors() == []


def test_a_sweep_whose_folder_came_back_goes_on_where_it_was(held: Project) -> None:
    sweep = Started(held, held.path / "sweep")
    assert sweep.wait_for("[2/4]"), sweep.err
    folder, aside = held.sweep_dir, held.path / "aside"
    folder.rename(aside)
    sweep.end()
    aside.rename(folder)
    (held.path / "gate").touch()
    again = held.run()
    assert again.returncode == 0, again.stdout + again.stderr
    assert_all_finished(held, 4)
    assert list(held.rows().sort_values("x").attempt[:2]) == [1, 1]


def test_a_folder_that_goes_while_runs_come_and_go_ends_the_sweep_and_loses_nothing(tmp_path: Path) -> None:
    chooser = random.Random(SEED)
    for number in range(scaled(20)):
        folder = tmp_path / str(number)
        folder.mkdir()
        project = held_sweep(folder, tmp_path, n_runs=60, first_held=99)
        with ended(project):
            sweep = Started(project, tmp_path / f"sweep{number}")
            assert sweep.wait_for(f"[{chooser.randrange(1, 20)}/60]"), sweep.err
            project.sweep_dir.rename(folder / "aside")
            assert sweep.end() == 2, sweep.out + sweep.err
            assert_one_sentence(sweep.err)
            assert GONE in sweep.err
            assert project.survivors() == []
            shutil.rmtree(folder / "outputs" / "held", ignore_errors=True)
            (folder / "aside").rename(folder / "outputs" / "held")
            again = project.run()
            assert again.returncode == 0, again.stdout + again.stderr
            assert_all_finished(project, 60)


# the table in other hands


def edit(table: Path) -> None:
    table.write_bytes(table.read_bytes().replace(b"finished", b"finished, they say"))


def edit_in_place(table: Path) -> None:
    table.write_bytes(table.read_bytes().replace(b"finished", b"FINISHED"))


def truncate(table: Path) -> None:
    os.truncate(table, table.stat().st_size - 7)


def empty(table: Path) -> None:
    os.truncate(table, 0)


def replace(table: Path) -> None:
    copy = table.with_name("sorted.csv")
    copy.write_bytes(b"".join(reversed(table.read_bytes().splitlines(keepends=True))))
    copy.rename(table)


def append_row(table: Path) -> None:
    with table.open("ab") as file:
        file.write(b"mine,too\n")


@pytest.mark.parametrize("change", [edit, truncate, empty, replace, append_row], ids=lambda change: change.__name__)
def test_a_table_that_is_changed_while_the_sweep_runs_is_kept_and_written_anew(
    held: Project, change: Callable[[Path], None]
) -> None:
    sweep = Started(held, held.path / "sweep")
    assert sweep.wait_for("[2/4]"), sweep.err
    table = held.sweep_dir / "runs.csv"
    wait_until(lambda: table.read_bytes().count(b"\n") == 3, "both rows are written")
    change(table)
    changed = table.read_bytes()
    (held.path / "gate").touch()
    assert sweep.end() == 0, sweep.out + sweep.err
    assert_all_finished(held, 4)
    assert [copy.read_bytes() for copy in held.sweep_dir.glob("runs.csv.bak-*")] == [changed]


def test_a_table_that_is_deleted_while_the_sweep_runs_is_written_anew(held: Project) -> None:
    sweep = Started(held, held.path / "sweep")
    assert sweep.wait_for("[2/4]"), sweep.err
    (held.sweep_dir / "runs.csv").unlink()
    (held.path / "gate").touch()
    assert sweep.end() == 0, sweep.out + sweep.err
    assert_all_finished(held, 4)


def test_a_change_of_the_table_while_the_sweep_runs_is_told(held: Project) -> None:
    sweep = Started(held, held.path / "sweep")
    assert sweep.wait_for("[2/4]"), sweep.err
    append_row(held.sweep_dir / "runs.csv")
    (held.path / "gate").touch()
    sweep.end()
    assert "runs.csv was changed while the sweep runs" in sweep.out


def test_a_change_that_keeps_the_tables_length_is_mended_by_the_next_start(held: Project) -> None:
    sweep = Started(held, held.path / "sweep")
    assert sweep.wait_for("[2/4]"), sweep.err
    table = held.sweep_dir / "runs.csv"
    wait_until(lambda: table.read_bytes().count(b"\n") == 3, "both rows are written")
    edit_in_place(table)
    (held.path / "gate").touch()
    sweep.end()
    again = held.run()
    assert again.returncode == 0, again.stderr
    assert_all_finished(held, 4)
    assert n_starts(held) == 4
    (copy,) = held.sweep_dir.glob("runs.csv.bak-*")
    assert b"FINISHED" in copy.read_bytes()


# descriptors


@pytest.mark.parametrize("limit", [12, 16, 20, 24, 32, 40, 64])
def test_few_file_descriptors_are_enough_or_one_sentence_at_the_start(tmp_path: Path, limit: int) -> None:
    if shutil.which("prlimit") is None:
        pytest.skip("needs prlimit")
    project = held_sweep(tmp_path, tmp_path, n_runs=4, first_held=99)
    with ended(project):
        result = subprocess.run(
            ["prlimit", f"--nofile={limit}", sys.executable, "-m", "sweepline.cli.main", "run"],
            cwd=tmp_path, env=project.environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=DEADLINE_S, check=False,
        )  # fmt: skip
        assert project.survivors() == []
    if result.returncode == 0:
        assert_all_finished(project, 4)
    else:
        assert result.returncode == 2, result.stdout + result.stderr
        assert_one_sentence(result.stderr)
        assert f"the limit is {limit}" in result.stderr
        assert "started" not in result.stdout
