"""SIGKILL, SIGSTOP and worse, to orchestrators, keepers and runs: nothing is lost, doubled or left alive."""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from sweepline.engine.verify import check_invariants
from sweepline.executors.local.keeper.processes import find_by_token
from sweepline.recording.locks import read_keeper_token
from tests.conftest import ASSETS, DEADLINE_S, Project, wait_until
from tests.reliability import IS_SOAK, SEED, scaled

N_ORCHESTRATOR_KILLS, N_KEEPER_KILLS = scaled(200), scaled(100)
LONGEST_WAIT_S = 3.0 if IS_SOAK else 1.5
SWEEP = """
    program: misbehaving.py
    name: bad
    method: grid
    metric: {name: loss, goal: minimize}
    command: ['${interpreter}', -I, -S, '${program}', '${args}']
    parameters:
"""
REST = """
    devices: cpu
    grace: 1s
"""
SEEDED = f"SWEEPLINE_TEST_SEED={SEED}"
MakeProject = Callable[[], Project]


def write_sweep(project: Project, *, n_slots: int = 2, more: str = "", **parameters: Any) -> None:
    """Write the trainer and a sweep of it; parameters are lists of values."""
    shutil.copy(ASSETS / "misbehaving.py", project.path)
    lines = [f"      {name}: {json.dumps(values)}\n" for name, values in parameters.items()]
    project.write("sweep.yaml", f"{SWEEP}{''.join(lines)}{REST}    max_concurrent: {n_slots}\n{more}")


@pytest.fixture
def make_project(tmp_path: Path) -> Iterator[MakeProject]:
    """Make project folders; whatever was started in them, and whatever that left, is killed at the end."""
    made: list[Project] = []

    def make() -> Project:
        folder = tmp_path / str(len(made))
        folder.mkdir()
        made.append(Project(folder))
        return made[-1]

    yield make
    for found in made:
        for pid in {*found.survivors(), *filter(is_alive, left_by(found))}:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@pytest.fixture
def project(make_project: MakeProject) -> Project:
    """One project folder."""
    return make_project()


def start_quietly(project: Project, *args: str, wrapper: Sequence[str] = ()) -> subprocess.Popen[bytes]:
    """Start ``sweepline run``; what it prints goes to a file, so that nobody waits for whoever keeps that open."""
    with (project.path / "terminal.txt").open("ab") as terminal:
        return subprocess.Popen(
            [*wrapper, *project.sweepline, "run", *args],
            cwd=project.path,
            env=project.environment(),
            stdin=subprocess.DEVNULL,
            stdout=terminal,
            stderr=terminal,
        )


def terminal_of(project: Project) -> str:
    return (project.path / "terminal.txt").read_text()


def kill(process: subprocess.Popen[Any]) -> None:
    process.kill()
    process.wait(DEADLINE_S)


def stat_of(pid: int) -> list[str]:
    """Return state, parent ... start time of proc(5); nothing when there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def is_alive(pid: int) -> bool:
    return stat_of(pid)[:1] not in ([], ["Z"], ["X"])


def children_of(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def keeper_of(project: Project) -> int | None:
    """Return the project's keeper; None where there is none (yet)."""
    found = [pid for pid in project.survivors() if b"sweepline.executors.local.keeper.main" in cmdline_of(pid)]
    forked = [pid for pid in found if (stat := stat_of(pid))[1:2] and int(stat[1]) in found]  # not yet their programs
    return next((pid for pid in found if pid not in forked), None)


def wait_for_keeper(project: Project) -> int:
    wait_until(lambda: keeper_of(project) is not None, "there is a keeper")
    return keeper_of(project) or 0


def cmdline_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def lines_of(project: Project, name: str) -> list[list[str]]:
    """Return the words of a file to which the trainers append."""
    try:
        return [line.split() for line in (project.path / name).read_text().splitlines()]
    except FileNotFoundError:
        return []


def invocations(project: Project) -> Counter[str]:
    """Return how often each run was executed, as the trainers tell it."""
    return Counter(words[0] for words in lines_of(project, "invocations"))


def left_by(project: Project) -> list[int]:
    """Return the pids of what the trainers left behind."""
    return [int(words[1]) for words in lines_of(project, "left")]


def finished(project: Project) -> set[str]:
    """Return the runs whose row says that they finished."""
    try:
        rows = project.rows()
    except (FileNotFoundError, StopIteration):
        return set()
    return set(rows.run_id[rows.state == "finished"])


def ends(project: Project) -> list[dict[str, Any]]:
    """Return the journal's events of runs that ended."""
    events = map(json.loads, (project.sweep_dir / "events.jsonl").read_text().splitlines())
    return [event for event in events if event["ev"] == "run_end"]


def faults(project: Project) -> list[str]:
    """Return whatever does not hold of the project's sweep."""
    return [fault for invariant in check_invariants(project.sweep_dir) for fault in invariant.faults]


def seconds_until(condition: Callable[[], object], what: str) -> float:
    """Wait, and return how long that took: a figure to print, not to judge."""
    began = time.monotonic()
    wait_until(condition, what)
    return time.monotonic() - began


# the orchestrator


class Saga:
    """A sweep that is killed and resumed, and what it has promised meanwhile."""

    def __init__(self, project: Project, chance: random.Random) -> None:
        self.project, self.chance = project, chance
        self.n_kills = 0
        self.deaths_s: list[float] = []
        self.promised: dict[str, int] = {}  # how often each run had been executed when its row said finished

    def kill_until_complete(self, *, at_most: int) -> None:
        while self.n_kills < at_most:
            process = start_quietly(self.project)
            try:
                process.wait(self.chance.uniform(0, LONGEST_WAIT_S))
            except subprocess.TimeoutExpired:
                kill(process)
            else:
                return
            self.n_kills += 1
            if self.chance.random() < 0.3:
                took_s = seconds_until(lambda: not self.project.survivors(), f"nothing is left alive ({SEEDED})")
                self.deaths_s.append(took_s)
            seen, executed = finished(self.project), invocations(self.project)
            assert self.promised.keys() <= seen, f"a finished run was lost ({SEEDED})"
            self.promised |= {run_id: executed[run_id] for run_id in seen - self.promised.keys()}


@pytest.mark.timeout(3600)
def test_no_sigkill_of_the_orchestrator_loses_doubles_or_leaves_anything(
    make_project: MakeProject, capsys: pytest.CaptureFixture[str]
) -> None:
    chance = random.Random(SEED)
    sagas: list[Saga] = []
    while (n_left := N_ORCHESTRATOR_KILLS - sum(saga.n_kills for saga in sagas)) > 0:
        project = make_project()
        write_sweep(project, n_slots=4, mode=["ok", "family", "daemon", "deaf"], x=list(range(8)))
        saga = Saga(project, chance)
        sagas.append(saga)
        saga.kill_until_complete(at_most=n_left)
        code = start_quietly(project).wait(DEADLINE_S)
        rows, executed = project.rows(), invocations(project)
        assert code == 0, f"{terminal_of(project)[-2000:]} ({SEEDED})"
        assert faults(project) == [], SEEDED
        assert list(rows.state) == ["finished"] * 32, SEEDED
        assert rows.run_id.is_unique, SEEDED
        assert {run_id: executed[run_id] for run_id in saga.promised} == saga.promised, f"ran twice ({SEEDED})"
        assert project.survivors() == [], SEEDED
        assert [pid for pid in left_by(project) if is_alive(pid)] == [], SEEDED
        assert "Traceback" not in terminal_of(project), SEEDED
    with capsys.disabled():
        deaths_s = [took_s for saga in sagas for took_s in saga.deaths_s]
        n_interrupted = sum(end["state"] == "interrupted" for saga in sagas for end in ends(saga.project))
        print(
            f"\n{sum(saga.n_kills for saga in sagas)} orchestrators killed over {len(sagas)} sweeps: {n_interrupted} "
            f"runs interrupted, 0 lost, doubled or left alive; all dead after {max(deaths_s, default=0):.1f} s at most"
        )


def test_a_stopped_orchestrator_loses_nothing_and_durations_are_the_keepers(project: Project) -> None:
    write_sweep(project, mode=["ok"], x=[1, 2, 3, 4], until=["go"])
    process = start_quietly(project)
    wait_until(lambda: len(invocations(project)) == 2, "two runs are under way")
    process.send_signal(signal.SIGSTOP)
    (project.path / "go").touch()
    wait_until(lambda: len(list(project.sweep_dir.glob("runs/*/exit.json"))) == 2, "both have ended meanwhile")
    known = {path.parent.name: json.loads(path.read_bytes()) for path in project.sweep_dir.glob("runs/*/exit.json")}
    time.sleep(2)
    process.send_signal(signal.SIGCONT)
    code = process.wait(DEADLINE_S)
    told = {end["run"]: end["duration_s"] for end in ends(project)}
    assert code == 0, terminal_of(project)
    assert {run_id: told[run_id] for run_id in known} == {run_id: end["duration_s"] for run_id, end in known.items()}
    assert (len(finished(project)), set(invocations(project).values()), faults(project)) == (4, {1}, [])


# the keeper


@pytest.mark.timeout(3600)
def test_no_sigkill_of_the_keeper_leaves_a_run_alive_or_unfinished(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    chance = random.Random(SEED)
    write_sweep(project, n_slots=3, x=list(range(30 * N_KEEPER_KILLS)), mode=["any"])
    process = start_quietly(project)
    deaths_s: list[float] = []
    n_hit = 0
    for _ in range(N_KEEPER_KILLS):
        enough = len(finished(project)) + 3  # no run is hit as often as would use up its free attempts
        wait_until(lambda enough=enough: len(finished(project)) >= enough, f"the sweep goes on ({SEEDED})")
        keeper = wait_for_keeper(project)
        time.sleep(chance.uniform(0, 0.3))
        others = [pid for pid in project.survivors() if pid != process.pid and is_alive(pid)]
        kept = {(pid, stat[19]) for pid in others if (stat := stat_of(pid))}  # some end between two looks
        os.kill(keeper, signal.SIGKILL)
        n_hit += len(kept) > 1
        died_s = seconds_until(
            lambda kept=kept: not any(is_alive(pid) and stat_of(pid)[19:20] == [since] for pid, since in kept),
            f"what the keeper kept is dead ({SEEDED})",
        )
        deaths_s.append(died_s)
    enough = len(finished(project)) + 9
    wait_until(lambda: len(finished(project)) >= enough, f"the last that were hit have gone again ({SEEDED})")
    process.send_signal(signal.SIGUSR1)
    process.wait(DEADLINE_S)
    rows = project.rows()
    assert set(rows.state) == {"finished"}, f"{terminal_of(project)[-2000:]} ({SEEDED})"
    assert set(rows.run_id) == set(invocations(project)), SEEDED
    assert rows.run_id.is_unique, SEEDED
    assert faults(project) == [], SEEDED
    assert project.survivors() == [], SEEDED
    assert [pid for pid in left_by(project) if is_alive(pid)] == [], SEEDED
    assert "Traceback" not in terminal_of(project), SEEDED
    with capsys.disabled():
        n_killed = sum(end["state"] == "killed" for end in ends(project))
        print(
            f"\n{N_KEEPER_KILLS} keepers killed, {n_hit} of them with runs: {n_killed} attempts killed, all "
            f"{len(rows)} runs finished; what they kept was dead after {max(deaths_s):.2f} s at most"
        )


def test_a_run_whose_keeper_was_killed_says_so_and_goes_again(project: Project) -> None:
    write_sweep(project, mode=["ok"], x=[1], until=["go"])
    process = start_quietly(project)
    wait_until(lambda: invocations(project), "a run is under way")
    os.kill(wait_for_keeper(project), signal.SIGKILL)
    wait_until(lambda: sum(invocations(project).values()) == 2, "it goes again")
    (project.path / "go").touch()
    process.wait(DEADLINE_S)
    told = [(end["state"], end["attempt"], end["reason"]) for end in ends(project)]
    assert told == [("killed", 1, "keeper died, and its runs with it"), ("finished", 2, "")]


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM, signal.SIGKILL])
def test_a_run_whose_keeper_died_as_the_sweep_stopped_goes_on_at_the_next_start(
    project: Project, number: signal.Signals
) -> None:
    write_sweep(project, mode=["ok"], x=[1, 2, 3], until=["go"])
    process = start_quietly(project)
    wait_until(lambda: len(invocations(project)) == 2, "two runs are under way")
    keeper = wait_for_keeper(project)
    process.send_signal(signal.SIGSTOP)
    os.kill(keeper, signal.SIGKILL)
    process.send_signal(number)
    process.send_signal(signal.SIGCONT)
    process.wait(DEADLINE_S)
    (project.path / "go").touch()
    result = project.run()
    assert result.returncode == 0, result.stdout
    assert (list(project.rows().state), faults(project)) == (["finished"] * 3, [])


def test_strays_of_a_keeper_and_an_orchestrator_killed_at_once_are_killed_at_the_next_start(project: Project) -> None:
    modes = ["family", "daemon", "scrubbed-child", "scrubbed-daemon"]
    write_sweep(project, mode=modes, x=[1], until=["go"], n_slots=4)
    process = start_quietly(project)
    wait_until(lambda: len(left_by(project)) == 5, "the grandchildren live")
    both = (wait_for_keeper(project), process.pid)
    strays = left_by(project)
    for number, pid in itertools.product((signal.SIGSTOP, signal.SIGKILL), both):
        os.kill(pid, number)
    process.wait(DEADLINE_S)
    wait_until(lambda: not any(is_alive(pid) for pid in both), "both are dead")
    alive_between = [pid for pid in strays if is_alive(pid)]
    (project.path / "go").touch()
    result = project.run()
    assert alive_between == strays
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"{len(strays)} processes of an earlier start were still alive, killed" in result.stdout
    assert [pid for pid in strays if is_alive(pid)] == []
    assert (list(project.rows().state), faults(project), project.survivors()) == (["finished"] * 4, [], [])


def test_a_stopped_keeper_whose_orchestrator_was_killed_does_not_block_the_next_start(project: Project) -> None:
    write_sweep(project, mode=["family", "ok"], x=[1], until=["go"])
    process = start_quietly(project)
    wait_until(lambda: len(invocations(project)) == 2, "the runs are under way")
    keeper = wait_for_keeper(project)
    os.kill(keeper, signal.SIGSTOP)
    kill(process)
    (project.path / "go").touch()
    result = project.run()
    assert "runs of an earlier start are still being stopped" in result.stdout
    assert result.returncode == 0, result.stdout + result.stderr
    assert not is_alive(keeper)
    assert (list(project.rows().state), faults(project), project.survivors()) == (["finished"] * 2, [], [])


# runs


def test_a_run_killed_from_outside_is_killed_by_signal_9(project: Project) -> None:
    write_sweep(project, mode=["hang"], x=[1])
    process = start_quietly(project)
    wait_until(lambda: lines_of(project, "invocations"), "the run is under way")
    os.kill(int(lines_of(project, "invocations")[0][1]), signal.SIGKILL)
    code = process.wait(DEADLINE_S)
    (end,) = ends(project)
    assert (code, end["state"], end["signal"], end["exit_code"]) == (1, "killed", 9, None)
    assert end["reason"] == "SIGKILL (out-of-memory kill possible)"


def test_a_run_that_kills_itself_takes_no_other_with_it(project: Project) -> None:
    write_sweep(project, mode=["suicide", "ok"], x=[1, 2, 3])
    project.run("--keep-going")
    assert project.rows().groupby("mode").state.agg(set).to_dict() == {"suicide": {"killed"}, "ok": {"finished"}}


def test_a_run_over_its_time_that_ignores_sigterm_is_killed_and_is_a_row(project: Project) -> None:
    write_sweep(project, mode=["deaf"], x=[1], until=["never"], more="    timeout: 1s\n")
    result = project.run("--keep-going")
    (end,) = ends(project)
    assert (result.returncode, end["state"], end["signal"]) == (1, "timeout", 9)
    assert (len(project.rows()), project.survivors()) == (1, [])


def test_every_exit_code_arrives_in_its_row(project: Project) -> None:
    codes = [0, 1, 2, 64, 127, 128, 137, 255]
    write_sweep(project, mode=["code"], x=codes)
    project.run("--keep-going")
    rows = project.rows()
    assert dict(zip(rows.x, rows.exit_code, strict=True)) == {code: code for code in codes}


@pytest.mark.parametrize("mode", ["child", "daemon", "late-daemon", "scrubbed-child", "scrubbed-daemon"])
def test_what_a_finished_run_leaves_behind_is_killed_and_told_every_time(project: Project, mode: str) -> None:
    write_sweep(project, n_slots=4, mode=[mode], x=list(range(scaled(120))), high=[0.06])
    result = project.run()
    rows = project.rows()
    assert result.returncode == 0, result.stdout
    assert set(rows.state) == {"finished"}
    assert set(rows.reason) == {"left 1 process behind, killed"}
    assert [pid for pid in left_by(project) if is_alive(pid)] == []


@pytest.mark.parametrize("victim", ["nobody", "orchestrator", "keeper"])
@pytest.mark.parametrize("mode", ["scrubbed-child", "scrubbed-daemon"])
def test_what_hides_from_its_environment_ends_with_the_sweep(project: Project, victim: str, mode: str) -> None:
    write_sweep(project, mode=[mode], x=[1], until=["go"])
    process = start_quietly(project)
    wait_until(lambda: left_by(project), "the hidden one lives")
    if victim != "nobody":
        os.kill(process.pid if victim == "orchestrator" else wait_for_keeper(project), signal.SIGKILL)
    if victim == "keeper":
        wait_until(lambda: len(left_by(project)) == 2, "the run goes again")
    (project.path / "go").touch()
    process.wait(DEADLINE_S)
    wait_until(lambda: not project.survivors(), "the keeper is gone too")
    assert [pid for pid in left_by(project) if is_alive(pid)] == []


@pytest.mark.parametrize("mode", ["silent", "frozen"])
def test_a_run_that_falls_silent_is_stalled_and_the_others_finish(project: Project, mode: str) -> None:
    write_sweep(project, mode=[mode, "ok"], x=[1, 2], more="    stall_timeout: 2s\n")
    result = project.run("--keep-going")
    states = project.rows().groupby("mode").state.agg(list).to_dict()
    assert result.returncode == 1
    assert states == {mode: ["stalled"] * 2, "ok": ["finished"] * 2}
    assert project.survivors() == []


# what must not grow


def sockets_of(pid: int) -> set[str]:
    links = set()
    with suppress(OSError):
        for fd in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                links.add(str(fd.readlink()))
    return {link for link in links if link.startswith("socket:")}


def n_fds(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def n_zombies(*parents: int) -> int:
    return sum(stat_of(child)[:1] == ["Z"] for pid in parents for child in children_of(pid))


def test_two_hundred_instant_runs_leave_no_zombie_and_no_descriptor(project: Project) -> None:
    held, instant = ["first", "last"], list(range(200))
    write_sweep(project, mode=["instant"], x=instant, more="    seeds: [1]\n")
    text = (project.path / "misbehaving.py").read_text()
    held_runs = "{'0': 'first', '1': 'first', '198': 'last', '199': 'last'}"
    hold = f"options |= {{'until': {held_runs}[options['x']]}} if options['x'] in {held_runs} else {{}}\n"
    project.write("misbehaving.py", text.replace("mode, x = ", f"{hold}mode, x = "))
    process = start_quietly(project)
    wait_until(lambda: len(invocations(project)) == 2, "the first two hold")
    pids = (process.pid, wait_for_keeper(project))
    wait_until(lambda: len(project.survivors()) == 6, "nothing is being started")  # also the warm parent and its child
    before = [n_fds(pid) for pid in pids]
    (project.path / held[0]).touch()
    samples = []
    while len(invocations(project)) < 200:
        assert process.poll() is None, terminal_of(project)
        samples.append((n_zombies(*pids), *map(n_fds, pids)))
    wait_until(lambda: len(finished(project)) == 198, "all but the last two are recorded")
    wait_until(lambda: n_zombies(*pids) == 0, "no zombie is left")
    after = [n_fds(pid) for pid in pids]
    (project.path / held[1]).touch()
    code = process.wait(DEADLINE_S)
    assert (code, len(finished(project))) == (0, 200)
    assert after == before
    assert max(n for n, _, _ in samples) <= 4
    assert max(n for _, n, _ in samples) <= before[0] + 8
    assert max(n for _, _, n in samples) <= before[1] + 8


def test_every_socket_of_orchestrator_and_keeper_has_one_holder(project: Project) -> None:
    write_sweep(project, mode=["family", "daemon"], x=[1], until=["go"])
    process = start_quietly(project)
    wait_until(lambda: len(left_by(project)) == 3, "runs and grandchildren live")
    keeper = wait_for_keeper(project)
    owners = {int(path.name): sockets_of(int(path.name)) for path in Path("/proc").iterdir() if path.name.isdecimal()}
    (project.path / "go").touch()
    process.wait(DEADLINE_S)
    doubled = {
        name: [other for other in owners if name in owners[other]] for name in owners[process.pid] | owners[keeper]
    }
    assert len(owners[process.pid]) >= 1
    assert len(owners[keeper]) >= 1
    assert [found for found in doubled.values() if len(found) != 1] == []


# processes that cannot be started


@pytest.fixture
def as_nobody() -> Iterator[Callable[[int], Project]]:
    """Make a project whose commands run as a user of few processes; needs root, and ``setpriv`` of util-linux."""
    if os.geteuid() != 0 or not shutil.which("setpriv") or not shutil.which("prlimit"):
        pytest.skip("needs root, setpriv and prlimit: a user's limit of processes does not bind root")
    folder = Path(tempfile.mkdtemp())
    made: list[Project] = []

    def make(n_processes: int) -> Project:
        uid = str(50_000 + os.getpid() % 10_000)
        readable = "+dac_override,+dac_read_search"  # this Python may lie in root's own folder
        setpriv = ["setpriv", "--reuid", uid, "--regid", uid, "--clear-groups", "--inh-caps", f"-all,{readable}"]
        limited = ["prlimit", f"--nproc={n_processes}:{n_processes}"]
        command = (*setpriv, "--ambient-caps", f"-all,{readable}", "--bounding-set", f"-all,{readable}", *limited)
        made.append(Project(folder, sweepline=(*command, sys.executable, "-m", "sweepline.cli.main")))
        folder.chmod(0o777)
        return made[-1]

    yield make
    for project in made:
        for pid in project.survivors():
            os.kill(pid, signal.SIGKILL)
    shutil.rmtree(folder)


def write_sleepers(project: Project, *, n_runs: int) -> None:
    """Write a sweep whose runs are one process each, of a program that every user may start."""
    write_sweep(project, n_slots=3, x=list(range(n_runs)))
    text = (project.path / "sweep.yaml").read_text()
    ours = "['${interpreter}', -I, -S, '${program}', '${args}']"
    project.write("sweep.yaml", text.replace(ours, "[/bin/sh, -c, 'exec sleep 0.2', '${args}']"))


def test_a_run_that_finds_no_process_free_is_started_later(as_nobody: Callable[[int], Project]) -> None:
    project = as_nobody(3)
    write_sleepers(project, n_runs=6)
    result = project.run()
    assert result.returncode == 0, result.stdout + result.stderr
    assert list(project.rows().state) == ["finished"] * 6
    assert set(project.rows().attempt) == {1}


def test_a_run_that_never_finds_a_process_free_is_a_spawn_error(as_nobody: Callable[[int], Project]) -> None:
    project = as_nobody(2)
    write_sleepers(project, n_runs=1)
    result = project.run("--keep-going")
    assert result.returncode == 1, result.stdout + result.stderr
    assert list(project.rows().state) == ["spawn_error"]
    assert "Resource temporarily unavailable" in project.rows().reason[0]


def test_a_sweep_whose_keeper_finds_no_process_free_says_so_in_a_sentence(as_nobody: Callable[[int], Project]) -> None:
    project = as_nobody(1)
    write_sleepers(project, n_runs=1)
    result = project.run()
    assert result.returncode == 2
    assert "Traceback" not in result.stdout + result.stderr
    assert "Resource temporarily unavailable" in result.stderr


@pytest.mark.parametrize("mount", ["true", "mount -t tmpfs none /proc"], ids=["the host's", "none"])
def test_a_sweep_that_cannot_watch_its_runs_says_so_in_a_sentence_and_starts_none(project: Project, mount: str) -> None:
    unshared = ["unshare", "--pid", "--fork", "--kill-child", "--mount"]
    if subprocess.run([*unshared, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("needs the right to unshare")
    write_sweep(project, mode=["instant"], x=[1])
    process = start_quietly(project, wrapper=[*unshared, "sh", "-c", f'{mount}; exec "$@"', "sh"])
    assert process.wait(DEADLINE_S) == 2
    assert terminal_of(project).startswith("sweepline: /proc is not mounted, or is that of another pid namespace")
    assert (len(terminal_of(project).splitlines()), invocations(project)) == (1, {})


# strangers


def test_strangers_survive_a_start_though_the_last_ones_token_is_carried_by_nobody(project: Project) -> None:
    write_sweep(project, mode=["instant"], x=[1, 2])
    project.run("--count", "1")
    token = read_keeper_token(project.sweep_dir)
    theirs = [f"{token}0", f"0{token}", "", "another.1"]
    strangers = [subprocess.Popen(["sleep", "600"], env={"SWEEPLINE_TOKEN": value}) for value in theirs]
    result = project.run()
    ended = [stranger.poll() for stranger in strangers]
    for stranger in strangers:
        kill(stranger)
    assert result.returncode == 0
    assert ended == [None] * 4
    assert "still alive" not in result.stdout


def test_no_token_is_carried_by_nobody() -> None:
    assert find_by_token("") == []


def test_a_keeper_lock_that_tells_nothing_stops_nobody(project: Project) -> None:
    contents = ["{}", "", "{", "[]", '{"token": null}', '{"token": ""}', '{"grace_s": "x"}', "\0" * 40]
    write_sweep(project, mode=["instant"], x=list(range(len(contents))))
    for content in contents:
        if (project.path / "outputs").exists():
            (project.sweep_dir / "keeper.lock").write_text(content)
        result = project.run("--count", "1")
        assert result.returncode == 0, f"{content!r}: {result.stdout}{result.stderr}"
    assert len(finished(project)) == len(contents)
