"""What a run costs the orchestrator at 10, 1,000 and 10,000 runs at a time, on a place without processes."""

from __future__ import annotations

import math
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.measure import Figure
from benchmarks.simulated import Lines, Place, SimulatedExecutor
from sweepline.recording.journal import JOURNAL
from sweepline.recording.snapshot import SNAPSHOT

SIZES = (10, 1_000, 10_000)
ENDED, N_SLOTS, N_MORE = (0, 10_000, 100_000), 4, 1_000
MEAN_LIFE_S, SETTLE_S, WINDOW_S, TRACE_S = 300.0, 20.0, 60.0, 10.0
RULE = "early_terminate: {type: threshold, worse_than: 1000, after: 1}"
SWEEP = """
program: t.py
name: scale
metric: {{name: loss}}
parameters:
  lr: {{min: 1, max: 1000}}
  width: {{min: 1, max: {n_widths}}}
{rule}
devices: cpu
max_concurrent: {n}
threads: 1
report: never
"""
ORCHESTRATE = (sys.executable, "-m", "benchmarks.scale")
FILL = """
import itertools, sys
from pathlib import Path
from sweepline.config.sweepfile import load_sweep
from sweepline.engine.recovery import start_fields
from sweepline.recording.book import RecordBook
from sweepline.recording.folders import SweepFolder
from sweepline.runs import RunOutcome, State
from sweepline.space.plan import Plan

settings = load_sweep(Path(sys.argv[1]) / "sweep.yaml")
folder = SweepFolder(settings.sweep_dir)
folder.lock()
book = RecordBook(folder, csv=None, sweep="scale", params=["lr", "width"], metrics=["loss"])
book.open_table()
for i, run in enumerate(itertools.islice(Plan(settings.space).runs(), int(sys.argv[2]))):
    book.start(start_fields(run, attempt=1, device="cpu"))
    metrics = {"loss": i / 7, "accuracy": 1 / (i + 1)}
    book.end(run.run_id, 1, RunOutcome(state=State.FINISHED, exit_code=0, duration_s=0.1, metrics=metrics))
    if i % 1000 == 0:
        book.commit()
book.commit()
book.close()
folder.unlock()
"""
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(kw_only=True)
class Steady:
    """What was measured with ``n`` runs at a time."""

    n: int
    start_s: float = 0.0
    start_cpu_s: float = 0.0
    cpu_share: float = 0.0
    """Of one core, over the window: user and system time."""
    user_share: float = 0.0
    rss_mb: float = 0.0
    n_fds: int = 0
    n_waits_per_s: float = 0.0
    n_ends_per_s: float = 0.0
    n_lines_per_s: float = 0.0
    waited_s: list[float] = field(default_factory=list)
    calls_per_s: dict[str, float] = field(default_factory=dict)
    """By name. Where tracing slows the process they are what it would have made in the turns that it takes untraced."""
    end_s: float = 0.0
    end_cpu_s: float = 0.0
    journal_bytes_per_run: float = 0.0
    n_recorded: int = 0
    load: float = 0.0


def figures(_n: int) -> Iterator[Figure]:
    """Yield what is measured, once: the times are a minute's means already."""
    for size in SIZES:
        yield from _describe(measure(size))
    for n_ended in ENDED:
        yield from _describe_planned(measure_planned(n_ended))


def _describe(found: Steady) -> Iterator[Figure]:
    title = f"{found.n:,} runs at a time"
    waited = sorted(found.waited_s) or [float("nan")]
    yield Figure(f"{title}: CPU of one core", [100 * found.cpu_share], "%", key=f"scale_cpu_{found.n}")
    yield Figure(f"{title}: of it in user space", [100 * found.user_share], "%")
    yield Figure(f"{title}: memory", [found.rss_mb], "MB", key=f"scale_mb_{found.n}")
    yield Figure(f"{title}: descriptors", [found.n_fds], "")
    yield Figure(f"{title}: lines printed, ends", note=f"{found.n_lines_per_s:.4g}, {found.n_ends_per_s:.3g} per s")
    yield Figure(f"{title}: line to decision, median", [waited[len(waited) // 2]])
    yield Figure(f"{title}: line to decision, longest of {len(found.waited_s)}", [waited[-1]])
    yield Figure(f"{title}: waits of the loop", [found.n_waits_per_s], "per s")
    calls = sorted(found.calls_per_s.items(), key=lambda pair: -pair[1])
    text = ", ".join(f"{name} {count:.0f}" for name, count in calls[:8]) or "not counted"
    yield Figure(f"{title}: system calls per s", note=f"{sum(found.calls_per_s.values()):.0f}: {text}")
    yield Figure(f"{title}: to start all", [found.start_s], key=f"scale_start_{found.n}")
    yield Figure(f"{title}: CPU per start", [1000 * found.start_cpu_s / found.n], "ms")
    yield Figure(f"{title}: to take that many ends", [found.end_s], key=f"scale_end_{found.n}")
    yield Figure(f"{title}: CPU per end", [1000 * found.end_cpu_s / found.n], "ms")
    yield Figure(f"{title}: journal per run", [found.journal_bytes_per_run], "bytes")
    yield Figure(f"{title}: load of the machine meanwhile", [found.load], "")


def measure(
    n: int,
    *,
    window_s: float = WINDOW_S,
    settle_s: float = SETTLE_S,
    trace_s: float = TRACE_S,
    print_s: float = 10.0,
    mean_life_s: float = MEAN_LIFE_S,
    n_bad_per_s: float = 2.0,
    n_widths: int = 1000,
    rule: str = RULE,
    command: Sequence[str] = ORCHESTRATE,
) -> Steady:
    """Start an orchestrator with ``n`` simulated runs at a time, and return what it costs."""
    found, begun = Steady(n=n), time.monotonic()
    with _folder(n, rule, n_widths) as folder, _orchestrator(folder, command) as (process, lines):
        place = Place(lines, n_first=n, mean_life_s=mean_life_s, n_bad_per_s=n_bad_per_s, print_s=print_s)
        _start(found, place, process, begun)
        _run_for(place, process, settle_s)
        _watch(found, place, process, window_s)
        found.calls_per_s = _trace(found, place, process, trace_s)
        _end(found, place, process)
        found.n_recorded = place.n_released
        found.journal_bytes_per_run = (_sweep_dir(folder) / JOURNAL).stat().st_size / max(1, place.n_released)
    return found


@contextmanager
def _folder(n: int, rule: str = "", n_widths: int = 1000) -> Iterator[Path]:
    """Yield a folder with a sweep of a thousand times ``n_widths`` combinations, ``n`` at a time."""
    with tempfile.TemporaryDirectory(prefix="scale_", ignore_cleanup_errors=True) as name:
        (Path(name) / "t.py").touch()
        (Path(name) / "sweep.yaml").write_text(SWEEP.format(n=n, rule=rule, n_widths=n_widths))
        yield Path(name)


@contextmanager
def _orchestrator(
    folder: Path, command: Sequence[str] = ORCHESTRATE
) -> Iterator[tuple[subprocess.Popen[bytes], Lines]]:
    """Yield an orchestrator of the sweep in a folder, and what it tells its place; it is killed in the end."""
    ours, theirs = socket.socketpair()
    with ours:
        words, root = [*command, str(folder), str(theirs.fileno())], Path(__file__).resolve().parents[1]
        process = subprocess.Popen(words, pass_fds=[theirs.fileno()], cwd=root)
        theirs.close()
        try:
            yield process, Lines(ours)
        finally:
            process.kill()
            process.wait()


def _sweep_dir(folder: Path) -> Path:
    return folder / "outputs" / "scale"


def _start(found: Steady, place: Place, process: subprocess.Popen[bytes], begun: float) -> None:
    _run_until(place, process, lambda: place.n_started >= found.n)
    found.start_s, found.start_cpu_s = time.monotonic() - begun, sum(_cpu_s(process.pid))


def _watch(found: Steady, place: Place, process: subprocess.Popen[bytes], window_s: float) -> None:
    """Measure the steady state."""
    place.begin_bad()
    n_waits, n_ended, n_lines = _count_waits(place), place.n_ended, place.n_lines
    begun, before = time.monotonic(), _cpu_s(process.pid)
    _run_for(place, process, window_s)
    took, after = time.monotonic() - begun, _cpu_s(process.pid)
    found.user_share = (after[0] - before[0]) / took
    found.cpu_share = (sum(after) - sum(before)) / took
    found.n_ends_per_s, found.n_lines_per_s = (place.n_ended - n_ended) / took, (place.n_lines - n_lines) / took
    found.n_waits_per_s = (_count_waits(place) - n_waits) / took
    found.waited_s = list(place.waited_s)
    found.rss_mb, found.load = _rss_mb(process.pid), os.getloadavg()[0]
    found.n_fds = len(list(Path(f"/proc/{process.pid}/fd").iterdir()))


def _end(found: Steady, place: Place, process: subprocess.Popen[bytes]) -> None:
    """End all runs at once, and measure until their ends are in the books."""
    place.send("drain")
    _run_for(place, process, 2.0)
    n_left = len(place.running)
    goal = place.n_released + n_left
    begun, before = time.monotonic(), sum(_cpu_s(process.pid))
    place.end_all()
    while place.n_released < goal and not place.is_gone:
        place.work(time.monotonic() + 1)
        if not place.is_gone:
            found.end_cpu_s = (sum(_cpu_s(process.pid)) - before) * found.n / max(1, n_left)
    found.end_s = time.monotonic() - begun
    process.wait(600)  # what a sweep does at its end is not counted


def _run_for(place: Place, process: subprocess.Popen[bytes], seconds: float) -> None:
    until = time.monotonic() + seconds
    _run_until(place, process, lambda: time.monotonic() >= until, at_most=until)


def _run_until(
    place: Place, process: subprocess.Popen[bytes], is_reached: Callable[[], bool], at_most: float = math.inf
) -> None:
    """Be the place until something is so."""
    while not is_reached() and not place.is_gone:
        place.work(min(at_most, time.monotonic() + 1))
    if place.is_gone:
        raise SystemExit(f"the orchestrator has ended early, with {process.wait()}")


def _count_waits(place: Place) -> int:
    place.n_waits = None
    place.send("count")
    while place.n_waits is None and not place.is_gone:
        place.work(time.monotonic() + 1)
    return place.n_waits or 0


def _cpu_s(pid: int) -> tuple[float, float]:
    """Return user and system seconds of a process, all threads together."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) / _TICKS_PER_S, int(fields[12]) / _TICKS_PER_S


def _rss_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _trace(found: Steady, place: Place, process: subprocess.Popen[bytes], seconds: float) -> dict[str, float]:
    """Return the system calls per second by name; nothing where there is no strace, or it may not look."""
    if seconds <= 0 or shutil.which("strace") is None:
        return {}
    with tempfile.NamedTemporaryFile("r") as out:
        words = ["strace", "-c", "-f", "-o", out.name, "-p", str(process.pid)]
        tracer = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        n_waits = _count_waits(place)
        _run_for(place, process, seconds)
        n_waits = _count_waits(place) - n_waits
        tracer.terminate()
        tracer.wait()
        rows = [line.split() for line in out.read().splitlines()]
    scale = found.n_waits_per_s / max(1, n_waits)
    return {row[-1]: int(row[3]) * scale for row in rows if len(row) >= 5 and row[3].isdigit() and row[-1] != "total"}


# ---------------------------------------------------------------- a million planned


@dataclass(kw_only=True)
class Planned:
    """A start of a million planned runs of which ``n_ended`` have ended already; four are under way at a time."""

    n_ended: int
    first_s: float = 0.0
    """From the command to the first run handed to the place."""
    first_cpu_s: float = 0.0
    first_without_snapshot_s: float = 0.0
    first_without_snapshot_cpu_s: float = 0.0
    rss_mb: float = 0.0
    """When the plan has been counted and a thousand more runs have ended."""
    cpu_per_run_ms: float = 0.0
    plan_kb: float = 0.0
    journal_mb: float = 0.0
    snapshot_mb: float = 0.0


def measure_planned(n_ended: int, *, n_more: int = N_MORE, count_s: float = 5.0) -> Planned:
    """Start a sweep of a million runs, some of which have ended, and return what it costs until more have."""
    found = Planned(n_ended=n_ended)
    with _folder(N_SLOTS) as folder:
        if n_ended:
            subprocess.run([sys.executable, "-c", FILL, str(folder), str(n_ended)], check=True)
            _first(folder, ends=True)  # which leaves everything as a start does
            found.journal_mb = (_sweep_dir(folder) / JOURNAL).stat().st_size / 1e6
            found.snapshot_mb = (_sweep_dir(folder) / SNAPSHOT).stat().st_size / 1e6
        begun = time.monotonic()
        with _orchestrator(folder) as (process, lines):
            place = Place(lines, mean_life_s=0.0, tell_s=0.0)
            _run_until(place, process, lambda: place.n_started > 0)
            found.first_s, found.first_cpu_s = time.monotonic() - begun, sum(_cpu_s(process.pid))
            _run_until(place, process, lambda: place.n_released >= min(100, n_more))
            _run_for(place, process, count_s)  # the plan is counted meanwhile
            n_before, before = place.n_released, sum(_cpu_s(process.pid))
            _run_until(place, process, lambda: place.n_released >= n_before + n_more)
            found.cpu_per_run_ms = 1000 * (sum(_cpu_s(process.pid)) - before) / (place.n_released - n_before)
            found.rss_mb = _rss_mb(process.pid)
            found.plan_kb = (_sweep_dir(folder) / "plan.json").stat().st_size / 1e3
        if n_ended:
            (_sweep_dir(folder) / SNAPSHOT).unlink()
            found.first_without_snapshot_s, found.first_without_snapshot_cpu_s = _first(folder)
    return found


def _first(folder: Path, *, ends: bool = False) -> tuple[float, float]:
    """Return the seconds from the command to the first run, and CPU seconds.

    With ``ends`` the orchestrator may go on to its end.
    """
    begun = time.monotonic()
    with _orchestrator(folder) as (process, lines):
        place = Place(lines, mean_life_s=1e6)
        _run_until(place, process, lambda: place.n_started > 0)
        took = time.monotonic() - begun, sum(_cpu_s(process.pid))
        place.send("drain")
        while ends and not place.is_gone:
            place.end_all()
            place.work(time.monotonic() + 0.1)
    return took


def _describe_planned(found: Planned) -> Iterator[Figure]:
    title = f"1,000,000 planned, {found.n_ended:,} ended"
    yield Figure(f"{title}: command to first run", [found.first_s], key=f"scale_first_{found.n_ended}")
    yield Figure(f"{title}: of it CPU", [found.first_cpu_s])
    if found.first_without_snapshot_s:
        yield Figure(f"{title}: the same without the snapshot", [found.first_without_snapshot_s])
        yield Figure(f"{title}: of it CPU", [found.first_without_snapshot_cpu_s])
        yield Figure(f"{title}: journal, snapshot", note=f"{found.journal_mb:.3g}, {found.snapshot_mb:.3g} MB")
    yield Figure(f"{title}: memory", [found.rss_mb], "MB")
    yield Figure(f"{title}: CPU per run", [found.cpu_per_run_ms], "ms")
    yield Figure(f"{title}: plan.json", [found.plan_kb], "kB")


# ---------------------------------------------------------------- the orchestrator, in a process of its own


def orchestrate(folder: Path, fd: int) -> None:
    """Run the sweep of a folder on the place behind a socket, with the displays of a terminal of 120 x 40."""
    from rich.console import Console

    from sweepline.config.sweepfile import load_sweep
    from sweepline.display.lines import LineDisplay, Observers
    from sweepline.display.live import LiveDisplay
    from sweepline.display.logfile import LogFile
    from sweepline.engine.preparation import prepare_sweep
    from sweepline.engine.session import run_sweep
    from sweepline.engine.signals import StopRequests
    from sweepline.engine.state import SweepOptions

    settings, requests = load_sweep(folder / "sweep.yaml"), StopRequests()
    prepared = prepare_sweep(settings, SweepOptions())
    executor = SimulatedExecutor(Lines(socket.socket(fileno=fd)), requests)
    log = LogFile(folder / "sweep.log")
    with open(os.devnull, "w") as nowhere:
        console = Console(file=nowhere, force_terminal=True, width=120, height=40)
        with LiveDisplay(console, title="scale", n_slots=prepared.slots.n_max, objective=settings.objective) as live:
            observer = Observers([live, LineDisplay(log.write_line, open_sink=log.open)])
            run_sweep(prepared, observer, requests=requests, executor=executor)
    log.close()


if __name__ == "__main__":
    orchestrate(Path(sys.argv[1]), int(sys.argv[2]))
