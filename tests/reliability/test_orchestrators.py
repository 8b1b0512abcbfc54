"""Many orchestrators of one sweep: one wins, the others say who did, and the table stays whole."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from sweepline.errors import SweepLockedError
from sweepline.recording import locks
from sweepline.recording.locks import OWNER, SweepLock
from sweepline.recording.mounts import find_network_mount
from tests.conftest import DEADLINE_S, Project, wait_until
from tests.reliability import SEED, scaled
from tests.reliability.test_kills import (
    SEEDED,
    faults,
    finished,
    invocations,
    is_alive,
    kill,
    left_by,
    start_quietly,
    terminal_of,
    write_sweep,
)

N_STARTED, N_ROUNDS = 10, scaled(50)

# Forks ten orchestrators that begin at the same instant: their imports are done before. The words are run's arguments.
CROWD = f"""
import os, sys
import sweepline.cli.run, sweepline.display.lines
import sweepline.engine.loop, sweepline.engine.planfile, sweepline.engine.preflight
from sweepline.cli.main import main

reading, writing = os.pipe()
for i in range({N_STARTED}):
    if os.fork() == 0:
        os.close(writing)
        for number, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(f"{{name}}-{{i}}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), number)
        os.read(reading, 1)
        code = main(["run", *sys.argv[1:]])
        with open(f"code-{{os.getpid()}}.tmp", "w") as file:
            file.write(f"{{i}} {{code}}")
        os.rename(f"code-{{os.getpid()}}.tmp", f"code-{{os.getpid()}}")
        sys.stdout.flush()
        os._exit(0)
os.close(writing)
for i in range({N_STARTED}):
    os.wait()
"""


def codes_of(project: Project) -> dict[int, tuple[str, int]]:
    """Return which orchestrators have ended, by pid: their numbers and exit codes."""
    found = {}
    for path in project.path.glob("code-*[0-9]"):
        number, code = path.read_text().split()
        found[int(path.name.removeprefix("code-"))] = (number, int(code))
    return found


def start_crowd(project: Project) -> subprocess.Popen[bytes]:
    for path in project.path.glob("code-*"):
        path.unlink()
    (project.path / "go").unlink(missing_ok=True)
    return subprocess.Popen(
        [sys.executable, "-c", CROWD], cwd=project.path, env=project.environment(), stdin=subprocess.DEVNULL
    )


@pytest.mark.timeout(3600)
def test_of_ten_orchestrators_started_at_once_exactly_one_runs_and_the_others_name_it(project: Project) -> None:
    values: list[int] = []
    for i in range(N_ROUNDS):
        values += [2 * i, 2 * i + 1]
        write_sweep(project, mode=["ok"], x=values, until=["go"])
        crowd = start_crowd(project)
        wait_until(lambda: len(codes_of(project)) == N_STARTED - 1, "all but one have ended")
        losers = codes_of(project)
        words = {number: (project.path / f"err-{number}").read_text() for number, _ in losers.values()}
        (project.path / "go").touch()
        crowd.wait(DEADLINE_S)
        ((winner, (_, code)),) = ((pid, told) for pid, told in codes_of(project).items() if pid not in losers)
        assert {code for _, code in losers.values()} == {75}
        assert code == 0
        assert [text for text in words.values() if f"is being run by pid {winner} on " not in text] == []
        assert "Traceback" not in "".join(words.values())
        assert list(project.rows().state) == ["finished"] * len(values)
        assert set(invocations(project).values()) == {1}
        assert faults(project) == []


def test_refused_orchestrators_leave_the_running_sweep_as_it_is(project: Project) -> None:
    write_sweep(project, mode=["family"], x=[1, 2, 3], until=["go"])
    process = start_quietly(project)
    wait_until(lambda: len(left_by(project)) == 4, "two families live")
    living = left_by(project)
    names = ["plan.json", "sweep.yaml", "keeper.lock", "sweep.lock", "events.jsonl", "runs.csv"]
    before = {name: (project.sweep_dir / name).read_bytes() for name in names if (project.sweep_dir / name).exists()}
    refused = [project.run(*flags) for flags in ([], ["--fresh"], ["--take-over"])]
    after = {name: (project.sweep_dir / name).read_bytes() for name in before}
    are_alive = [is_alive(pid) for pid in living]
    (project.path / "go").touch()
    code = process.wait(DEADLINE_S)
    assert [result.returncode for result in refused] == [75] * 3
    assert [f"pid {process.pid} " in result.stderr for result in refused] == [True] * 3
    assert after == before
    assert all(are_alive)
    assert (code, len(finished(project)), faults(project)) == (0, 3, [])


def test_a_start_right_after_a_sigkill_waits_for_the_old_keeper_says_so_and_completes(project: Project) -> None:
    write_sweep(project, mode=["deaf"], x=[1, 2, 3], until=["go"])
    sweep = (project.path / "sweep.yaml").read_text()
    project.write("sweep.yaml", sweep.replace("grace: 1s", "grace: 5s"))  # long enough for the second start to see it
    process = start_quietly(project)
    wait_until(lambda: len(invocations(project)) == 2, "two runs are under way")
    kill(process)
    again = start_quietly(project)
    wait_until(lambda: sum(invocations(project).values()) == 4, "the interrupted ones go again")
    said = terminal_of(project)
    (project.path / "go").touch()
    assert again.wait(DEADLINE_S) == 0
    assert "runs of an earlier start are still being stopped; waiting up to 15 s for them" in said
    assert "resuming: 0 finished, 2 interrupted, 3 to do" in said
    assert (list(project.rows().state), faults(project)) == (["finished"] * 3, [])


def test_ten_orchestrators_right_after_a_sigkill_wait_for_the_old_keeper_and_one_completes(project: Project) -> None:
    write_sweep(project, mode=["deaf", "daemon"], x=[1, 2], until=["go"])
    process = start_quietly(project)
    wait_until(lambda: len(invocations(project)) == 2, "two runs are under way")
    kill(process)
    crowd = start_crowd(project)
    wait_until(lambda: len(codes_of(project)) == N_STARTED - 1, "all but one have ended")
    (project.path / "go").touch()
    crowd.wait(DEADLINE_S)
    assert sorted(code for _, code in codes_of(project).values()) == [0, *[75] * 9]
    assert (list(project.rows().state), faults(project), project.survivors()) == (["finished"] * 4, [], [])


@pytest.mark.timeout(3600)
def test_orchestrators_that_are_killed_and_replaced_at_random_hand_the_sweep_on(project: Project) -> None:
    chance = random.Random(SEED)
    write_sweep(project, mode=["ok"], x=list(range(12)), low=[0.01], high=[0.05])
    running = [start_quietly(project) for _ in range(3)]
    for _ in range(scaled(60)):
        victim = chance.choice(running)
        wait_until(
            lambda victim=victim: victim.poll() is not None or len(project.survivors()) > 1, "something is under way"
        )
        with_delay = chance.uniform(0, 0.3)
        try:
            victim.wait(with_delay)
        except subprocess.TimeoutExpired:
            kill(victim)
        running[running.index(victim)] = start_quietly(project)
    codes = {process.wait(DEADLINE_S) for process in running}
    last = project.run()
    rows = project.rows()
    assert codes <= {0, 75}, f"{terminal_of(project)[-2000:]} ({SEEDED})"
    assert last.returncode == 0, SEEDED
    assert (len(rows), set(rows.state), rows.run_id.is_unique) == (12, {"finished"}, True), SEEDED
    assert faults(project) == [], SEEDED
    assert "Traceback" not in terminal_of(project), SEEDED


# file systems of several machines

# Ten processes take the lock at the same instant and keep it. With "apart" each believes to be another machine, and
# flock reaches none of the others, as on a mount without locks.
LOCKERS = """
import json, os, signal, sys
from pathlib import Path
from sweepline.errors import SweepLockedError
from sweepline.recording import locks

folder, are_apart = Path(sys.argv[1]), sys.argv[2] == "apart"
reading, writing = os.pipe()
for i in range(10):
    if os.fork() == 0:
        os.close(writing)
        if are_apart:
            locks.socket.gethostname = lambda: f"host{i}"
            locks.fcntl.flock = lambda fd, operation: None
        os.read(reading, 1)
        try:
            locks.SweepLock(folder, is_shared=True).take()
            told = "won"
        except SweepLockedError as error:
            told = str(error)
        Path(f"{i}.tmp").write_text(json.dumps([os.getpid(), told]))
        Path(f"{i}.tmp").rename(f"taken-{i}.json")
        signal.pause()
os.close(writing)
signal.pause()
"""


def compete(project: Project, folder: Path, how: str) -> tuple[list[int], list[str]]:
    """Let ten processes take the lock of a folder; return the pids of the winners, and what the losers were told."""
    with subprocess.Popen(
        [sys.executable, "-c", LOCKERS, str(folder), how], cwd=project.path, env=project.environment()
    ) as crowd:
        wait_until(lambda: len(list(project.path.glob("taken-*.json"))) == 10, "all have tried")
        told = [json.loads(path.read_text()) for path in project.path.glob("taken-*.json")]
        for pid in project.survivors():
            os.kill(pid, signal.SIGKILL)
        crowd.wait(DEADLINE_S)
    for path in project.path.glob("taken-*.json"):
        path.unlink()
    return [pid for pid, text in told if text == "won"], [text for _, text in told if text != "won"]


def test_on_a_shared_file_system_one_of_ten_processes_of_one_machine_wins(project: Project) -> None:
    for i in range(N_ROUNDS):
        folder = project.path / f"sweep-{i}"
        folder.mkdir()
        winners, told = compete(project, folder, "together")
        assert len(winners) == 1
        assert [text for text in told if f"pid {winners[0]} on {socket.gethostname()}" not in text] == []


def test_where_flock_reaches_nobody_one_of_ten_machines_wins(project: Project) -> None:
    for i in range(N_ROUNDS):
        folder = project.path / f"sweep-{i}"
        folder.mkdir()
        winners, told = compete(project, folder, "apart")
        assert len(winners) == 1
        assert [text for text in told if "start again with --take-over" not in text] == []


def test_a_killed_owner_of_this_machine_is_followed_without_asking(project: Project) -> None:
    first, _ = compete(project, project.path, "together")
    second, _ = compete(project, project.path, "together")
    assert (len(first), len(second), first != second) == (1, 1, True)


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return a function that makes this process believe that it runs on another machine; flock tells it nothing."""

    def move(host: str) -> None:
        monkeypatch.setattr(locks.socket, "gethostname", lambda: host)
        monkeypatch.setattr(locks.fcntl, "flock", lambda *_: None)

    return move


def test_an_owner_on_another_machine_is_refused_named_and_left_in_place(
    tmp_path: Path, elsewhere: Callable[[str], None]
) -> None:
    elsewhere("lab3")
    SweepLock(tmp_path, is_shared=True).take()
    before = (tmp_path / OWNER / "owner.json").read_bytes()
    elsewhere("lab4")
    with pytest.raises(SweepLockedError, match=rf"pid {os.getpid()} on lab3 since .*--take-over"):
        SweepLock(tmp_path, is_shared=True).take()
    assert (tmp_path / OWNER / "owner.json").read_bytes() == before


@pytest.mark.parametrize(
    ("job", "n_restarts", "is_taken"), [("7", "1", True), ("7", "0", False), ("8", "1", False), (None, None, False)]
)
def test_a_job_that_was_requeued_follows_its_earlier_life_and_no_other(
    tmp_path: Path,
    elsewhere: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
    *,
    job: str | None,
    n_restarts: str | None,
    is_taken: bool,
) -> None:
    elsewhere("n1")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    SweepLock(tmp_path, is_shared=True).take()
    elsewhere("n2")
    for name, value in {"SLURM_JOB_ID": job, "SLURM_RESTART_COUNT": n_restarts}.items():
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    lock = SweepLock(tmp_path, is_shared=True)
    if is_taken:
        lock.take()
        lock.give_back()
    else:
        with pytest.raises(SweepLockedError):
            lock.take()


def test_an_owner_on_another_machine_is_taken_over_when_asked_for(
    tmp_path: Path, elsewhere: Callable[[str], None]
) -> None:
    elsewhere("lab3")
    SweepLock(tmp_path, is_shared=True).take()
    elsewhere("lab4")
    lock = SweepLock(tmp_path, is_shared=True)
    lock.take(take_over=True)
    owner = json.loads((tmp_path / OWNER / "owner.json").read_bytes())
    lock.give_back()
    assert owner["host"] == "lab4"
    assert not (tmp_path / OWNER).exists()


def test_an_owner_that_was_taken_over_and_lives_does_not_free_the_folder_of_the_new_one(
    tmp_path: Path, elsewhere: Callable[[str], None]
) -> None:
    elsewhere("lab3")
    old = SweepLock(tmp_path, is_shared=True)
    old.take()
    elsewhere("lab4")
    new = SweepLock(tmp_path, is_shared=True)
    new.take(take_over=True)
    old.give_back()
    elsewhere("lab5")
    with pytest.raises(SweepLockedError, match="on lab4"):
        SweepLock(tmp_path, is_shared=True).take()


def test_giving_back_an_owner_folder_that_somebody_removed_is_no_error(tmp_path: Path) -> None:
    lock = SweepLock(tmp_path, is_shared=True)
    lock.take()
    (tmp_path / OWNER / "owner.json").unlink()
    (tmp_path / OWNER).rmdir()
    lock.give_back()
    assert not (tmp_path / OWNER).exists()


def test_an_owner_that_was_killed_before_it_wrote_its_name_asks_for_take_over(
    tmp_path: Path, elsewhere: Callable[[str], None]
) -> None:
    (tmp_path / OWNER).mkdir()
    (tmp_path / OWNER / "owner.json.tmp").write_text('{"ho')
    elsewhere("lab4")
    with pytest.raises(SweepLockedError, match="--take-over"):
        SweepLock(tmp_path, is_shared=True).take()
    lock = SweepLock(tmp_path, is_shared=True)
    lock.take(take_over=True)
    lock.give_back()
    assert not (tmp_path / OWNER).exists()


MOUNTS = textwrap.dedent(
    r"""
    22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
    30 22 0:26 / /home rw,relatime - nfs4 server:/home rw,vers=4.2
    31 22 0:27 / /scratch rw - lustre mgs@tcp:/scratch rw
    32 30 8:2 / /home/local rw shared:7 master:2 propagate_from:1 - xfs /dev/sdb1 rw
    33 22 0:28 / /mnt/my\040disk rw - fuse.sshfs me@host:/ rw
    34 22 0:29 / /mnt/t\011ab\134 rw - cifs //nas/share rw
    35 22 0:30 / /run rw - tmpfs tmpfs rw
    36 22 0:31 / /over rw - ext4 /dev/sdc1 rw
    37 36 0:32 / /over rw - nfs server:/over rw
    38 22 0:33 / /win rw - 9p drvfs rw
    39 22 0:34 / /nfsfake rw - nfsd nfsd rw
    """
)


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/var/lib/sweeps", None),
        ("/home", "nfs4 at /home"),
        ("/home/me/outputs/cfg", "nfs4 at /home"),
        ("/homes/me", None),
        ("/home/local/me", None),
        ("/scratch/x", "lustre at /scratch"),
        ("/mnt/my disk/x", "fuse.sshfs at /mnt/my disk"),
        ("/mnt/t\tab\\/x", "cifs at /mnt/t\tab\\"),
        ("/run/x", None),
        ("/over/x", "nfs at /over"),
        ("/win/x", "9p at /win"),
        ("/nfsfake", None),
    ],
)
def test_the_innermost_and_last_mount_tells_whether_other_machines_share_a_folder(path: str, found: str | None) -> None:
    assert find_network_mount(Path(path), MOUNTS.replace("\\\\", "\\")) == found


@pytest.mark.parametrize(
    "mountinfo",
    [
        "",
        "\n\n",
        "garbage",
        "1 2 3",
        "22 1 8:1 / / rw",
        "22 1 8:1 / / rw - ",
        " - nfs",
        "22 1 0:1 / /\\777 rw - nfs x rw",
    ],
)
def test_a_mount_table_that_tells_nothing_is_a_local_disk(mountinfo: str) -> None:
    assert find_network_mount(Path("/data"), mountinfo) is None


def test_a_link_to_a_network_folder_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    mountinfo = f"22 1 8:1 / / rw - ext4 /dev/sda1 rw\n30 22 0:26 / {tmp_path.resolve()}/real rw - ceph mon:/ rw\n"
    assert find_network_mount(tmp_path / "link", mountinfo) == f"ceph at {tmp_path.resolve()}/real"
