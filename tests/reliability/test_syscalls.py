"""Every system call by which a run's end reaches the disk is made to kill, to find no room, or to fail.

strace injects the fault (``-e inject=``): there are no hooks in the product. One undisturbed sweep is traced first,
which tells what there is to hit; a seeded twentieth of that is hit, and in a soak all of it.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

from sweepline.engine.verify import check_invariants
from sweepline.recording.journal import JOURNAL, read_events
from tests.conftest import DEADLINE_S, Project, wait_until
from tests.reliability import IS_SOAK, SEED

FILE_CALLS = ("write", "pwrite64", "fdatasync", "fsync", "rename", "mkdir", "openat", "ftruncate", "unlink")
TRACED = (*FILE_CALLS, "renameat", "renameat2", "mkdirat", "unlinkat", "sendto", "recvfrom", "waitid", "wait4")
TAKES_ROOM = frozenset({"write", "pwrite64", "fdatasync", "fsync", "rename", "mkdir", "openat"})
N_PARTS = 4  # a test each, so that no test of a soak is long
WINDOW = 3  # how many calls after the first find no room either
N_RUNS = 3
SWEEP = """
    program: toy.py
    name: toys
    method: grid
    metric: {name: loss, goal: minimize}
    parameters: {x: [1, 2, 3]}
    max_concurrent: 1
    devices: cpu
    grace: 1s
"""
START_MESSAGE = r'\\"do\\":\\"start\\",\\"key\\":(\d+),.*?\\"run_dir\\":\\"([^"\\]+)'
DRIVER = "import sys; sys.executable = sys.argv.pop(1); from sweepline.cli.main import main; sys.exit(main())"


def _strace_works() -> bool:
    if shutil.which("strace") is None:
        return False
    probe = ["strace", "-o", "/dev/null", "-e", "trace=write", "-e", "inject=write:error=EIO:when=9", "true"]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


pytestmark = pytest.mark.skipif(not _strace_works(), reason="needs strace, and the right to trace")


@dataclass(frozen=True)
class Call:
    """A system call of a trace: its name, the how manieth of that name it is, and its line."""

    name: str
    n: int
    line: str

    @property
    def path(self) -> str:
        """The file that it concerns; of a rename the old name."""
        found = re.search(r'^(?:openat\(AT_FDCWD[^,]*, |\w+\()"([^"]*)"|^\w+\(\d+<([^>]*)>', self.line)
        return (found[1] or found[2]) if found else ""

    @property
    def makes(self) -> bool:
        """Whether it changes something on the disk."""
        return self.name != "openat" or "O_CREAT" in self.line


def read_trace(path: Path) -> list[Call]:
    """Return the calls of a trace of one process, in their order."""
    counts: Counter[str] = Counter()
    calls = []
    for line in path.read_text(errors="replace").splitlines():
        name = line.partition("(")[0]
        if name.isidentifier():
            counts[name] += 1
            calls.append(Call(name, counts[name], line))
    return calls


def prepare(folder: Path, *, script: str | None = None) -> Project:
    """Return a project with a sweep of three short runs, one after another."""
    folder.mkdir(parents=True, exist_ok=True)
    project = Project(folder)
    project.asset("toy.py")
    project.write("sweep.yaml", SWEEP)
    if script is not None:
        project.write("toy.py", script)
    return project


def traced_sweep(project: Project, *options: str) -> list[str]:
    """Return the command line of a sweep whose orchestrator, and nothing else, is traced into ``trace``."""
    trace = ["-o", str(project.path / "trace"), "-y", "-s", "100000", "-e", f"trace={','.join(TRACED)}"]
    return ["strace", *trace, *options, sys.executable, "-m", "sweepline.cli.main", "run"]


def traced_keeper(project: Project, *options: str) -> list[str]:
    """Return the command line of a sweep whose first keeper, and nothing else, is traced into ``trace``."""
    trace = f"-o {project.path}/trace -y -s 100000 -e trace={','.join(TRACED)} {' '.join(options)}"
    wrapper = project.write(
        "python.sh",
        f"""
        #!/bin/sh
        if [ "$1" = -I ] && mkdir '{project.path}/is-traced' 2>/dev/null; then
            exec strace -D {trace} '{sys.executable}' "$@"
        fi
        exec '{sys.executable}' "$@"
        """,
    )
    wrapper.chmod(0o755)
    return [sys.executable, "-c", DRIVER, str(wrapper), "run"]


def run(project: Project, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run a command in a project to the end of all that holds its output."""
    return subprocess.run(
        command,
        cwd=project.path,
        env=project.environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


def killed_in_the_middle(folder: Path) -> Project:
    """Return a project whose orchestrator was killed: one end is recorded, one is not, and the last line is torn."""
    project = prepare(folder)
    result = project.run("--count", "2")
    assert result.returncode == 0, result.stderr
    journal = project.sweep_dir / JOURNAL
    lines = journal.read_bytes().splitlines(keepends=True)
    (second_end,) = [i for i, line in enumerate(lines) if b'"run_end"' in line][1:]
    journal.write_bytes(b"".join(lines[:second_end]) + lines[second_end][:40])
    table = project.sweep_dir / "runs.csv"
    table.write_bytes(b"".join(table.read_bytes().splitlines(keepends=True)[:2]))
    return project


Starter = Callable[..., list[str]]
SCENES: dict[str, tuple[Callable[[Path], Project], Starter]] = {
    "sweep": (prepare, traced_sweep),
    "recovery": (killed_in_the_middle, traced_sweep),
    "keeper": (prepare, traced_keeper),
}


@dataclass(frozen=True)
class Baseline:
    """What the traced process of an undisturbed scene calls, from the first touch of the sweep's folder."""

    root: Path
    calls: Sequence[Call]


@pytest.fixture(scope="session")
def baselines(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Baseline]:
    """The baseline of a scene, made once."""
    known: dict[str, Baseline] = {}

    def find(scene: str) -> Baseline:
        if scene not in known:
            make, starter = SCENES[scene]
            project = make(tmp_path_factory.mktemp(scene))
            result = run(project, starter(project))
            assert result.returncode == 0, result.stdout + result.stderr
            wait_until(lambda: "+++ exited" in (project.path / "trace").read_text(errors="replace"), "strace ended")
            calls = read_trace(project.path / "trace")
            begin = next(i for i, call in enumerate(calls) if str(project.path / "outputs") in call.line)
            is_of_sweep = re.compile(re.escape(str(project.path / "outputs")) + r"|^write\([12]<|<socket:|^wait")
            known[scene] = Baseline(project.path, [call for call in calls[begin:] if is_of_sweep.search(call.line)])
        return known[scene]

    return find


def share_of(targets: Sequence[Target], *, part: int, salt: str) -> list[Target]:
    """Return the part of the targets that this test hits: a twentieth of it, in a soak all."""
    mine = targets[part::N_PARTS]
    if IS_SOAK or not mine:
        return list(mine)
    return random.Random(f"{SEED}-{salt}-{part}").sample(mine, max(1, len(mine) // 20))


@dataclass(frozen=True)
class Target:
    """A call to hit, with strace's options for it; ``{root}`` stands for the project's folder."""

    call: Call
    options: tuple[str, ...]


def targets_of(baseline: Baseline, fault: str) -> list[Target]:
    """Return the calls to hit with a fault. Errors hit only files of the sweep's folder, as a disk would."""
    if fault == "SIGKILL":
        return [
            Target(call, ("-e", f"inject={call.name}:signal=SIGKILL:when={call.n}"))
            for call in baseline.calls
            if call.makes
        ]
    made = [
        call for call in baseline.calls if call.name in FILE_CALLS and call.makes and not call.path.endswith(".log")
    ]
    paths = sorted({call.path for call in made if call.path.startswith(str(baseline.root / "outputs" / "toys"))})
    files = tuple(word for path in paths for word in ("-P", path.replace(str(baseline.root), "{root}")))
    counts: Counter[str] = Counter()
    found = []
    for call in baseline.calls:
        if call.path not in paths:
            continue
        counts[call.name] += 1
        is_hit = call.makes and call.name in FILE_CALLS and (fault == "EIO" or call.name in TAKES_ROOM)
        when = str(counts[call.name])
        if fault == "ENOSPC-lasting":
            is_hit &= call.name in ("write", "pwrite64", "mkdir")
            when += f"..{counts[call.name] + WINDOW}"
        if is_hit:
            found.append(
                Target(call, (*files, "-e", f"inject={call.name}:error={fault.partition('-')[0]}:when={when}"))
            )
    return found


def may_go_on(calls: Sequence[Call]) -> bool:
    """Whether a sweep can wait for room where it found none: its loop runs, and it was no sync, which is final."""
    is_looping = False
    hit: list[bool] = []
    for call in calls:
        if "(INJECTED)" in call.line:
            hit.append(is_looping and call.name != "fdatasync" and call.makes)
        is_looping |= r"\"ev\":\"sweep_start\"" in call.line and "INJECTED" not in call.line
        is_looping &= not call.path.endswith("best.yaml.tmp")
    return all(hit)


def rows_of(project: Project) -> pd.DataFrame:
    tables = list(project.path.glob("outputs/*/runs.csv"))
    return pd.read_csv(tables[0]) if tables and tables[0].stat().st_size else pd.DataFrame()


def set_aside_though_finished(project: Project) -> Iterator[str]:
    """Yield the attempts that ended well and were followed by another one all the same."""
    for path in project.path.glob("outputs/*/runs/*/attempts/*/exit.json"):
        record = json.loads(path.read_text())
        if record.get("exit_code") == 0 and record.get("stopped") is None:
            yield f"{path.parents[2].name} finished in attempt {record['attempt']} and was run again"


def is_spare(call: Call) -> bool:
    """Whether a sweep can do without a call: it makes a folder that is there, or what the next start makes again."""
    made_again = ("best.yaml.tmp", "keeper.lock", "report.html.tmp", "events.snapshot.tmp", "sweep.log.tmp")
    return call.name == "mkdir" or call.path.endswith(made_again) or not call.makes


def judge_fault(
    result: subprocess.CompletedProcess[str], calls: Sequence[Call], *, scene: str, fault: str
) -> Iterator[str]:
    """Yield what is wrong with how a disturbed start ended. ``calls`` are those of its traced process."""
    if "Traceback" in result.stdout + result.stderr:
        yield f"a traceback: {(result.stdout + result.stderr)[-1500:]}"
    if fault == "SIGKILL":
        allowed = {0} if scene == "keeper" else {-signal.SIGKILL, 128 + signal.SIGKILL}
    elif scene == "keeper":
        allowed = {0, 1} if fault == "EIO" else {0}
    elif not any("(INJECTED)" in call.line for call in calls):
        allowed = {0}  # a refresh less than in the baseline: this call was not made
    elif fault == "EIO":
        allowed = {0, 2} if all(is_spare(call) for call in calls if "(INJECTED)" in call.line) else {2}
    else:
        allowed = {0} if may_go_on(calls) else {0, 2}
    if result.returncode not in allowed:
        yield f"exit code {result.returncode}: {result.stdout[-600:]}{result.stderr[-600:]}"
    if result.returncode == 2:
        sentences = [line for line in result.stderr.splitlines() if line.startswith("sweepline: ")]
        if len(sentences) != 1 or len(result.stderr.splitlines()) != 1:
            yield f"not one sentence: {result.stderr[-600:]!r}"


def judge_next_start(project: Project, before: pd.DataFrame) -> Iterator[str]:
    """Start again without a fault; yield what is wrong then."""
    result = project.run("--retry-failed")
    if result.returncode != 0 or "Traceback" in result.stdout + result.stderr:
        yield f"the next start: exit code {result.returncode}: {result.stdout[-600:]}{result.stderr[-1500:]}"
        return
    yield from (f"{i.name}: {fault}" for i in check_invariants(project.sweep_dir) for fault in i.faults)
    rows = rows_of(project)
    if list(rows.state) != ["finished"] * N_RUNS or sorted(rows.x) != [1, 2, 3]:
        yield f"not every run finished once:\n{rows}"
    if not rows.loss.equals(rows.x.astype(float)):
        yield f"metrics were lost:\n{rows}"
    seen = before[before.state == "finished"] if len(before) else before
    for row in seen.itertuples():
        now = rows[rows.run_id == row.run_id]
        if list(now.attempt) != [row.attempt] or list(now.started_at) != [row.started_at]:
            yield f"run {row.run_id} was finished in the table and is another one now"
    yield from set_aside_though_finished(project)
    if project.survivors():
        yield f"processes are left: {project.survivors()}"


def disturb(folder: Path, scene: str, fault: str, target: Target) -> list[str]:
    """Run a scene with one fault, and start again; return what was wrong."""
    make, starter = SCENES[scene]
    project = make(folder)
    try:
        result = run(project, starter(project, *(word.format(root=folder) for word in target.options)))
        trace = folder / "trace"
        if fault == "SIGKILL" and result.returncode == 0 and "SIGKILL" not in trace.read_text(errors="replace"):
            return []  # a refresh less than in the baseline: this call was not made
        before = rows_of(project)
        found = list(judge_fault(result, read_trace(trace), scene=scene, fault=fault))
        return [*found, *judge_next_start(project, before)]
    finally:
        for pid in project.survivors():
            os.kill(pid, signal.SIGKILL)
        shutil.rmtree(folder)


@pytest.mark.parametrize("part", range(N_PARTS))
@pytest.mark.parametrize("fault", ["SIGKILL", "ENOSPC", "ENOSPC-lasting", "EIO"])
@pytest.mark.parametrize("scene", SCENES)
def test_a_fault_at_any_system_call_loses_doubles_and_repeats_nothing(
    tmp_path: Path, baselines: Callable[[str], Baseline], scene: str, fault: str, part: int
) -> None:
    targets = targets_of(baselines(scene), fault)
    chosen = share_of(targets, part=part, salt=f"{scene}-{fault}")
    wrong = []
    for i, target in enumerate(chosen):
        found = disturb(tmp_path / str(i), scene, fault, target)
        wrong += [f"{target.options[-1]}  [{target.call.line[:150]}]\n      {text}" for text in found]
    print(f"{scene} {fault}: {len(chosen)} of {len(targets)} injections in part {part}, seed {SEED}")
    assert not wrong, f"{len(wrong)} faults, seed {SEED}:\n" + "\n".join(wrong)


# the order of what reaches the disk


def test_a_row_is_written_only_when_its_end_is_durable(baselines: Callable[[str], Baseline]) -> None:
    durable: set[str] = set()
    appended: set[str] = set()
    n_rows_checked = 0
    for call in baselines("sweep").calls:
        name = Path(call.path).name
        if name == JOURNAL and call.name == "write" and "run_end" in call.line:
            appended |= set(re.findall(r'\\"run\\":\\"(\w+)\\"', call.line))
        elif name == JOURNAL and call.name == "fdatasync":
            durable |= appended
        elif name.startswith("runs.csv") and call.name == "write":
            shown = set(re.findall(r"toys,(\w+),", call.line))
            n_rows_checked += len(shown)
            assert shown <= durable, call.line
    assert n_rows_checked >= N_RUNS


def test_a_temporary_file_is_durable_before_it_is_renamed(baselines: Callable[[str], Baseline]) -> None:
    unsynced: set[str] = set()
    renamed = set()
    for call in baselines("sweep").calls:
        if call.name == "write":
            unsynced.add(call.path)
        elif call.name == "fsync":
            unsynced.discard(call.path)
        elif call.name == "rename" and not call.path.endswith("metrics.csv.tmp"):  # made again from the log
            assert call.path not in unsynced, call.line
            renamed.add(Path(call.path).name)
    assert renamed >= {"plan.json.tmp", "sweep.yaml.tmp", "runs.csv.tmp", "best.yaml.tmp"}


def test_the_keeper_is_told_that_an_end_is_kept_only_when_it_is_durable(baselines: Callable[[str], Baseline]) -> None:
    n_appended = n_durable = n_kept = 0
    for call in baselines("sweep").calls:
        if Path(call.path).name == JOURNAL and call.name == "write":
            n_appended += call.line.count("run_end")
        elif Path(call.path).name == JOURNAL and call.name == "fdatasync":
            n_durable = n_appended
        elif call.name == "sendto":
            n_kept += call.line.count(r"\"do\":\"kept\"")
            assert n_kept <= n_durable, call.line
    assert n_kept == N_RUNS


def test_an_exit_file_has_its_name_before_the_keeper_tells_of_the_end(baselines: Callable[[str], Baseline]) -> None:
    folders: dict[str, str] = {}
    written, named, told = set(), set(), 0
    for call in baselines("keeper").calls:
        if call.name == "recvfrom":
            folders |= dict(re.findall(START_MESSAGE, call.line))
        elif call.name == "pwrite64" and call.path.endswith("/.exit.json"):
            written.add(str(Path(call.path).parent))
        elif call.name == "rename" and call.path.endswith("/.exit.json"):
            assert str(Path(call.path).parent) in written, call.line
            named.add(str(Path(call.path).parent))
        elif call.name == "sendto":
            for key in re.findall(r'\\"ev\\":\\"ended\\",\\"key\\":(\d+)', call.line):
                assert folders[key] in named, call.line
                told += 1
    assert told == N_RUNS


def test_an_end_that_nobody_records_is_made_durable_by_the_keeper(tmp_path: Path) -> None:
    script = """
        import time
        from pathlib import Path
        while not Path("go").exists():
            time.sleep(0.01)
        print("METRIC loss=1", flush=True)
    """
    project = prepare(tmp_path, script=script)
    process = subprocess.Popen(
        traced_keeper(project), cwd=tmp_path, env=project.environment(), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        wait_until(lambda: list(tmp_path.glob("outputs/*/runs/*/stdout.log")), "a run has started")
        process.send_signal(signal.SIGSTOP)
        (tmp_path / "go").touch()
        wait_until(
            lambda: any(c.name == "fsync" and c.path.endswith("/exit.json") for c in read_trace(tmp_path / "trace")),
            "the keeper has synced the end that its stopped sweep did not take",
        )
        synced = [Path(call.path).name for call in read_trace(tmp_path / "trace") if call.name == "fsync"]
    finally:
        process.send_signal(signal.SIGCONT)
        out, err = process.communicate(timeout=DEADLINE_S)
    assert synced[:2] == ["stdout.log", "exit.json"]  # nothing was written into the other log, which is gone
    assert process.returncode == 0, out + err
    assert not [fault for invariant in check_invariants(project.sweep_dir) for fault in invariant.faults]
    assert sum(event["ev"] == "run_end" for event in read_events(project.sweep_dir / JOURNAL)) == N_RUNS
