"""What a person sees: numbers and times in words, one line per event, and the live table on a terminal."""

from __future__ import annotations

import io
import math
import re
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.console import Console

from sweepline.display.formats import describe_end, format_metrics, format_seconds
from sweepline.display.lines import LineDisplay, Observers
from sweepline.display.live import LiveDisplay, sparkline
from sweepline.display.logfile import LogFile
from sweepline.engine.logtail import LogTail
from sweepline.engine.metricreader import MetricReader
from sweepline.engine.progress import ActiveRun, Progress
from sweepline.executors.base import Exit, StopReason, Task
from sweepline.executors.local.slots import Slot
from sweepline.recording.events import RunRecord
from sweepline.runs import Objective, Run, RunOutcome, State
from sweepline.space.parameters import Categorical
from sweepline.space.plan import Plan, SearchSpace
from tests.fakes import recorded

ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
LOSS = Objective(name="loss")
CPU = Slot(0, "")


@dataclass
class Endless:
    """A run that goes on and on."""

    task: Task

    def poll(self) -> Exit | None:
        return None

    def cancel(self, reason: StopReason, *, now: bool = False) -> None:
        raise AssertionError(reason)

    def release(self) -> None:
        raise AssertionError(self.task)

    @property
    def place(self) -> str:
        return ""


def ended(name: str = "adam-lr0.1", state: State = State.FINISHED, *, reason: str = "", **metrics: float) -> RunRecord:
    return recorded(
        name, name=name, state=state, attempt=1, device="cpu", duration_s=9.3, reason=reason, metrics=metrics
    )


def active_run(run_dir: Path, *, name: str = "adam-lr0.1", slot: Slot = CPU, out: str = "") -> ActiveRun:
    """Return a run under way that started a minute ago and has printed this."""
    run_dir.mkdir(exist_ok=True)
    (run_dir / "stdout.log").write_text(out)
    task = Task(run_id=name, attempt=1, argv=[], environ={}, working_dir=run_dir, run_dir=run_dir)
    tail = LogTail(run_dir, MetricReader())
    tail.read_new()
    return ActiveRun(
        run=Run(run_id=name, name=name, params={}, seed=0, index=0),
        attempt=1,
        slot=slot,
        handle=Endless(task),
        run_dir=run_dir,
        tail=tail,
        asked=None,
        started=time.monotonic() - 62,
    )


def progress_of(*records: RunRecord, active: tuple[ActiveRun, ...] = (), walked: bool = True) -> Progress:
    """Return how a sweep of six runs stands a minute after its start, these runs having ended in it."""
    progress = Progress(Plan(SearchSpace(parameters={"x": Categorical((1, 2, 3, 4, 5, 6))})), LOSS)
    progress.started = time.monotonic() - 60
    progress.active = active
    for record in records:
        progress.add(record)
    if walked:
        progress.walk_plan()
    return progress


# words


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0.0 s"),
        (9.34, "9.3 s"),
        (59.4, "59.4 s"),
        (60.0, "1 min 00 s"),
        (245.9, "4 min 05 s"),
        (3599.9, "59 min 59 s"),
        (3600.0, "1 h 00 min"),
        (7800.0, "2 h 10 min"),
        (360_000.0, "100 h 00 min"),
    ],
)
def test_a_time_is_told_as_a_person_says_it(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


@pytest.mark.parametrize(
    ("metrics", "text"),
    [
        ({}, ""),
        ({"loss": 0.25}, "loss=0.25"),
        ({"loss": 0.123456789, "acc": 98.0}, "loss=0.123457 acc=98"),
        ({"lr": 1e-05, "steps": 123456789.0}, "lr=1e-05 steps=1.23457e+08"),
        ({"loss": math.nan, "worst": -math.inf}, "loss=nan worst=-inf"),
        ({"a": 1, "b": 2, "c": 3, "d": 4}, "a=1 b=2 c=3 d=4"),
        ({"a": 1, "b": 2, "c": 3, "d": 4, "e": 5, "f": 6}, "a=1 b=2 c=3 d=4 (+2 more)"),
    ],
)
def test_metrics_are_short(metrics: dict[str, float], text: str) -> None:
    assert format_metrics(metrics) == text


@pytest.mark.parametrize(
    ("record", "n_total", "line"),
    [
        (ended(loss=0.25), 6, "[3/6] finished adam-lr0.1 loss=0.25 9.3 s on cpu"),
        (ended(loss=0.25), None, "[3/?] finished adam-lr0.1 loss=0.25 9.3 s on cpu"),
        (ended(state=State.FAILED, reason="broke"), 6, "[3/6] failed adam-lr0.1 9.3 s on cpu (broke)"),
        (ended(reason="no METRIC loss"), 6, "[3/6] finished adam-lr0.1 9.3 s on cpu (no METRIC loss)"),
        (recorded("a", name="x1", state=State.SPAWN_ERROR, device="0"), 6, "[3/6] spawn_error x1 0.0 s on gpu 0"),
    ],
)
def test_an_end_is_one_line(record: RunRecord, n_total: int | None, line: str) -> None:
    assert describe_end(record, 3, n_total) == line


# one line per event


def test_lines_tell_starts_ends_and_notes(tmp_path: Path) -> None:
    lines: list[str] = []
    display = LineDisplay(lines.append)
    display.note("resuming")
    display.run_started(active_run(tmp_path, slot=Slot(0, "3")))
    display.refresh(progress_of(ended(loss=0.25)))
    display.run_ended(ended(loss=0.25), RunOutcome(state=State.FINISHED))
    assert lines == [
        "resuming",
        "started adam-lr0.1 on gpu 3",
        "[1/6] finished adam-lr0.1 loss=0.25 9.3 s on cpu",
    ]


def test_a_further_attempt_is_told_as_such(tmp_path: Path) -> None:
    lines: list[str] = []
    again = active_run(tmp_path)
    again.attempt = 3
    LineDisplay(lines.append).run_started(again)
    assert lines == ["started adam-lr0.1 on cpu 0 (attempt 3)"]


def test_a_failure_is_followed_by_the_last_lines_of_its_log() -> None:
    lines: list[str] = []
    failed = ended(state=State.FAILED, reason="broke")
    LineDisplay(lines.append).run_ended(
        failed, RunOutcome(state=State.FAILED, log_tail=[f"line {i}" for i in range(20)])
    )
    assert lines[1:] == [f"    | line {i}" for i in range(15, 20)]


def test_every_line_of_the_log_file_has_its_time(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "outputs" / "sweep.log")
    log.open()
    log.write_line("first")
    log.write_line("second")
    log.close()
    written = (tmp_path / "outputs" / "sweep.log").read_text()
    assert re.fullmatch(r"\d\d:\d\d:\d\d first\n\d\d:\d\d:\d\d second\n", written)


def test_text_that_cannot_be_encoded_does_not_stop_the_log(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "sweep.log")
    log.open()
    log.write_line("a\ud800b")
    log.close()
    assert "a\\ud800b" in (tmp_path / "sweep.log").read_text()


def test_several_observers_all_hear_everything(tmp_path: Path) -> None:
    first: list[str] = []
    second: list[str] = []
    both = Observers([LineDisplay(first.append, refresh_s=5.0), LineDisplay(second.append, refresh_s=0.5)])
    both.note("resuming")
    both.run_started(active_run(tmp_path))
    both.refresh(progress_of(ended()))
    both.run_ended(ended(), RunOutcome(state=State.FINISHED))
    assert (first == second, len(first), both.refresh_s) == (True, 3, 0.5)


# the live table


def live_display(n_slots: int = 2) -> LiveDisplay:
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    return LiveDisplay(console, title="toys · 2 slots", n_slots=n_slots, objective=LOSS)


def shown(live: LiveDisplay) -> str:
    """Return what the terminal was sent, without colours."""
    assert isinstance(live.console.file, io.StringIO)
    return ANSI.sub("", live.console.file.getvalue())


def render(progress: Progress, n_slots: int = 2) -> list[str]:
    """Return the lines of the picture, without colours."""
    live = live_display(n_slots)
    live.console.print(live.render(progress))
    return [line.rstrip() for line in shown(live).splitlines()]


def test_a_slot_has_a_row_with_run_place_metrics_and_time(tmp_path: Path) -> None:
    active = active_run(tmp_path, slot=Slot(0, "3"), out="METRIC epoch=2 step=40 loss=0.5 acc=0.75\n")
    lines = render(progress_of(active=(active,)))
    at = next(i for i, line in enumerate(lines) if "gpu 3" in line)
    assert lines[at - 1].split() == ["slot", "run", "at", "loss", "acc", "elapsed"]
    assert lines[at].split() == ["gpu", "3", "adam-lr0.1", "epoch", "2", "0.5", "0.75", "1", "min", "02", "s"]


def test_slots_come_in_their_order(tmp_path: Path) -> None:
    active = tuple(active_run(tmp_path / str(i), name=f"run{i}", slot=Slot(i, "")) for i in (2, 0, 1))
    rows = [line.split()[2] for line in render(progress_of(active=active), n_slots=3) if "cpu" in line]
    assert rows == ["run0", "run1", "run2"]


@pytest.mark.parametrize(("n_slots", "told"), [(1, []), (2, ["1 slot free"]), (3, ["2 slots free"])])
def test_slots_without_a_run_are_counted(tmp_path: Path, n_slots: int, told: list[str]) -> None:
    lines = render(progress_of(active=(active_run(tmp_path),)), n_slots=n_slots)
    assert [line for line in lines if "free" in line] == told


def test_a_run_that_has_printed_nothing_has_a_row_too(tmp_path: Path) -> None:
    (row,) = [line for line in render(progress_of(active=(active_run(tmp_path),))) if "cpu 0" in line]
    assert row.split() == ["cpu", "0", "adam-lr0.1", "1", "min", "02", "s"]


def test_the_whole_sweep_has_a_bar_and_a_count() -> None:
    first = render(progress_of(ended("a"), ended("b"), ended("c")))[0]
    assert re.fullmatch(r"toys · 2 slots +━+╺━+ +3/6 +elapsed 1 min 0\d s, about 1 min 0\d s left", first)


@pytest.mark.parametrize(("n_ended", "width"), [(1, 5), (2, 10), (3, 15), (6, 30)])
def test_the_bar_grows_with_the_runs_that_ended(n_ended: int, width: int) -> None:
    live = live_display()
    live.console.print(live.render(progress_of(*[ended(str(i)) for i in range(n_ended)])))
    assert isinstance(live.console.file, io.StringIO)
    filled = re.search(r"━+", live.console.file.getvalue())
    assert filled
    assert len(filled[0]) == width


def test_the_rest_is_estimated_from_the_ends_of_this_start() -> None:
    progress = progress_of(ended("a"))
    progress.load([ended("b"), ended("c"), ended("d")])
    assert re.search(r"about 2 min 0\d s left", render(progress)[0])


def test_nothing_is_estimated_before_the_first_end() -> None:
    assert "left" not in render(progress_of())[0]


def test_a_total_that_is_not_known_yet_is_a_question_mark() -> None:
    first = render(progress_of(ended("a"), walked=False))[0]
    assert ("1/?" in first, "left" in first) == (True, False)


def test_the_best_run_is_shown_with_its_objective() -> None:
    assert "best loss 0.25  adam-lr0.1" in render(progress_of(ended("b", loss=1), ended(loss=0.25)))


def test_no_best_run_is_shown_before_there_is_one() -> None:
    assert not [line for line in render(progress_of(ended("a"))) if line.startswith("best")]


def test_failures_are_counted() -> None:
    assert "2 failed" in render(progress_of(ended("a", State.FAILED), ended("b", State.TIMEOUT), ended("c")))


def test_no_failures_are_not_mentioned() -> None:
    assert not [line for line in render(progress_of(ended("a"))) if "failed" in line]


def test_a_long_name_is_cut_with_a_mark(tmp_path: Path) -> None:
    lines = render(progress_of(active=(active_run(tmp_path, name="x" * 200, out="METRIC loss=0.5\n"),)))
    (row,) = [line for line in lines if "cpu 0" in line]
    assert ("…" in row, " 0.5 " in row, len(row) <= 120) == (True, True, True)


@pytest.mark.parametrize("width", [60, 80, 120, 300])
@pytest.mark.parametrize("height", [10, 24, 50])
def test_the_picture_is_no_larger_than_the_terminal_and_cuts_no_number(tmp_path: Path, width: int, height: int) -> None:
    names = [f"adam-lr{0.1**i:.7g}-randaugment_strong_{'x' * 40}-width{64 * i}-s{i}" for i in range(20)]
    out = "METRIC epoch=12 step=40 loss=-1.23457e-05 accuracy=0.912345 gradient_norm=345.678 tokens=123456\n"
    active = tuple(active_run(tmp_path / str(i), name=n, slot=Slot(i, str(i)), out=out) for i, n in enumerate(names))
    console = Console(file=io.StringIO(), force_terminal=True, width=width, height=height)
    live = LiveDisplay(console, title="a_sweep_with_a_long_name · 23 slots", n_slots=23, objective=LOSS)
    live.console.print(live.render(progress_of(ended("best", loss=0.25), ended("f", State.FAILED), active=active)))
    lines = [line.rstrip() for line in shown(live).splitlines()]
    rows = [line for line in lines if line.startswith("gpu ")]
    folded = re.search(r"\.\.\. (\d+) more running", "\n".join(lines))
    n_hidden = int(folded[1]) if folded else 0
    assert (max(map(len, lines)) <= width, len(lines) < height) == (True, True)
    assert (len(rows) + n_hidden, len({row.split()[2] for row in rows})) == (20, len(rows))
    assert all("-1.23457e-05" in row and row.endswith("1 min 02 s") for row in rows)
    assert ("best loss 0.25  best" in lines, "3 slots free" in "\n".join(lines)) == (True, True)


@pytest.mark.parametrize("name", ["[red]x[/red]", "[/]", "a[b]\\", "[link=file:///]x"], ids=repr)
def test_markup_in_a_run_name_is_shown_as_text(tmp_path: Path, name: str) -> None:
    lines = render(progress_of(ended(name, loss=1), active=(active_run(tmp_path, name=name),)))
    assert [name in line for line in lines if "cpu 0" in line or "best" in line] == [True, True]


@pytest.mark.parametrize("text", ["[red]x[/red]", "[/]", "a[b]\\", "at :warning: 3"], ids=repr)
def test_markup_in_a_note_is_shown_as_text(text: str) -> None:
    live = live_display()
    live.note(text)
    assert shown(live) == f"{text}\n"


@pytest.mark.parametrize("text", ["[red]x[/red]", "[/]", "a[b]\\", "at :warning: 3"], ids=repr)
def test_markup_in_a_failure_and_its_log_is_shown_as_text(text: str) -> None:
    live = live_display()
    failed = ended(text, State.FAILED, reason=text)
    live.run_ended(failed, RunOutcome(state=State.FAILED, log_tail=[text]))
    assert shown(live).splitlines() == [f"failed {text} after 9.3 s: {text}", f"    | {text}"]


@pytest.mark.parametrize("state", [State.FINISHED, State.PRUNED, State.INTERRUPTED])
def test_an_end_that_is_no_failure_prints_no_line_above_the_table(state: State) -> None:
    live = live_display()
    live.run_ended(ended(state=state), RunOutcome(state=state))
    assert shown(live) == ""


def test_a_refresh_draws_the_picture_on_the_terminal(tmp_path: Path) -> None:
    live = live_display()
    with live:
        live.begin()
        live.refresh(progress_of(ended("b", loss=1), active=(active_run(tmp_path),)))
    assert ("adam-lr0.1" in shown(live), "best loss 1  b" in shown(live)) == (True, True)


@pytest.mark.parametrize(
    ("values", "width", "bars"),
    [
        ([], 40, ""),
        ([1.0], 40, ""),
        ([0, 1, 2, 3, 4, 5, 6, 7], 40, "▁▂▃▄▅▆▇█"),
        ([1, 1, 1], 40, "▁▁▁"),
        ([0, math.nan, 7], 40, "▁ █"),
        (list(range(100)), 10, "▁▂▃▃▄▅▆▆▇█"),
        (list(range(100)), 7, ""),
        (list(range(100)), -3, ""),
        ([-1e308, 1e308], 40, "▁█"),
    ],
)
def test_the_latest_results_are_bars_where_there_is_room(values: list[float], width: int, bars: str) -> None:
    assert sparkline(values, width=width) == bars
