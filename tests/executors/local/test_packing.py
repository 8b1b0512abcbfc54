"""How many runs may share a GPU, from what the driver tells of it: the rules, by a driver that is made of numbers."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sweepline.executors.local import packing
from sweepline.executors.local.census import run_dir_of
from sweepline.executors.local.gpus import Gpu
from sweepline.executors.local.packing import Packing
from sweepline.executors.local.slots import MAX_PACKED, Slot, Slots
from sweepline.runs import State
from tests.conftest import wait_until

GIB = 1024


@dataclass(frozen=True)
class Started:
    """A run on its slot."""

    slot: Slot
    run_dir: Path
    started: float = field(default_factory=time.monotonic)


class Sensor:
    """A driver that answers each question at once."""

    def __init__(self) -> None:
        self.reading: list[Gpu] | None = []
        self.read_at, self.fd = 0.0, 99
        self.is_silent = self.is_asked = self.is_closed = False

    def ask(self) -> None:
        self.read_at += 1e-9

    def poll(self) -> None:
        return

    def close(self) -> None:
        self.is_closed = True


@dataclass
class Machine:
    """GPUs on which runs take memory. ``used`` are MiB of others by GPU, ``held`` those of runs by GPU and run."""

    sizes: list[int]
    sensor: Sensor
    n_each: int = 8
    groups: list[str] | None = None
    tells_processes: bool = True
    used: dict[int, int] = field(default_factory=dict)
    held: dict[tuple[int, int], int] = field(default_factory=dict)
    active: dict[int, Started] = field(default_factory=dict)

    def __post_init__(self) -> None:
        labels = [device for _ in range(self.n_each) for device in self.groups or map(str, range(len(self.sizes)))]
        self.slots = Slots([Slot(i, label) for i, label in enumerate(labels)], is_packed=True)
        self.packing = Packing(self.slots, self.gpus())

    def gpus(self) -> list[Gpu]:
        return [self._gpu(i, size) for i, size in enumerate(self.sizes)]

    def _gpu(self, i: int, size: int) -> Gpu:
        own = [(run, mib) for (gpu, run), mib in self.held.items() if gpu == i]
        free = size - self.used.get(i, 0) - sum(mib for _, mib in own)
        return Gpu(i, f"GPU-{i}", "H100", free, size, processes=own if self.tells_processes else None)

    def start(self, run: int, **mib: int) -> Machine:
        """Start a run on the next free slot; it takes so much of the GPUs ``gpu0``, ``gpu1`` at once."""
        slot = self.slots.take()
        assert slot is not None
        self.active[run] = Started(slot, Path(f"/runs/{run}"))
        return self.take(run, **mib)

    def take(self, run: int, **mib: int) -> Machine:
        """Have a run take so much, and let the driver be asked."""
        self.held |= {(int(gpu[3:]), run): n for gpu, n in mib.items()}
        return self.look()

    def look(self, n: int = 3) -> Machine:
        """Let the driver be asked and its answer be taken."""
        for _ in range(n):
            self.sensor.reading = self.gpus()
            self.packing.poll(self.active.values())
        return self

    def end(self, run: int, state: State = State.FINISHED, *, ran_out: bool = False) -> Machine:
        """End a run."""
        self.held = {key: mib for key, mib in self.held.items() if key[1] != run}
        self.slots.give_back(self.active[run].slot)
        self.packing.note_end(self.active.pop(run), state, ran_out=ran_out)
        return self

    def n_free(self) -> int:
        """Return how many more runs may start now."""
        slots = list(iter(self.slots.take, None))
        for slot in slots:
            self.slots.give_back(slot)
        return len(slots)


@pytest.fixture
def sensor(monkeypatch: pytest.MonkeyPatch) -> Sensor:
    found = Sensor()
    monkeypatch.setattr(packing, "GpuSensor", lambda **_: found)
    monkeypatch.setattr(packing, "run_dir_of", lambda pid: Path(f"/runs/{pid}"))
    monkeypatch.setattr(packing, "MEASURING_S", -1e9)
    monkeypatch.setattr(packing, "WATCHING_S", -1e9)
    return found


def measured(sensor: Sensor, *, peak: int = 10 * GIB, size: int = 80 * GIB, **options: object) -> Machine:
    """Return a machine with one GPU, whose first run took so much and has finished."""
    return Machine([size], sensor, **options).start(0, gpu0=peak).end(0)  # type: ignore[arg-type]


def test_nobody_joins_the_first_run(sensor: Sensor) -> None:
    assert Machine([80 * GIB], sensor).start(0, gpu0=GIB).n_free() == 0


@pytest.mark.parametrize(
    ("peak", "n", "text"),
    [
        (10 * GIB, 7, "GPU 0: peak 10.0 of 80.0 GiB: 7 runs at a time"),
        (60 * GIB, 1, "GPU 0: peak 60.0 of 80.0 GiB: 1 run at a time"),
        (79 * GIB, 1, "GPU 0: peak 79.0 of 80.0 GiB: 1 run at a time"),
        (
            GIB,
            8,
            "GPU 0: peak 1.0 of 80.0 GiB: 8 runs at a time, as many as cores or max_concurrent allow",
        ),
    ],
)
def test_as_many_go_at_a_time_as_fit_into_nine_tenths(sensor: Sensor, peak: int, n: int, text: str) -> None:
    machine = measured(sensor, peak=peak)
    assert (machine.n_free(), machine.packing.take_notes()) == (n, [text])


def test_never_more_than_sixteen_share_a_gpu(sensor: Sensor) -> None:
    machine = measured(sensor, peak=GIB, n_each=MAX_PACKED)
    assert machine.packing.take_notes() == ["GPU 0: peak 1.0 of 80.0 GiB: 16 runs at a time, the most there may be"]


def test_what_others_have_on_the_gpu_is_not_counted_on(sensor: Sensor) -> None:
    machine = Machine([80 * GIB], sensor, used={0: 40 * GIB}).start(0, gpu0=10 * GIB).end(0)
    assert machine.n_free() == 3


def test_the_most_that_a_run_ever_had_counts(sensor: Sensor) -> None:
    machine = Machine([80 * GIB], sensor).start(0, gpu0=30 * GIB).take(0, gpu0=GIB).end(0)
    assert machine.n_free() == 2


def test_a_larger_run_under_way_counts_at_once(sensor: Sensor) -> None:
    machine = measured(sensor).start(1, gpu0=10 * GIB).start(2, gpu0=30 * GIB)
    assert machine.n_free() == 0
    assert machine.packing.take_notes()[1:] == ["GPU 0: peak 30.0 of 80.0 GiB: 2 runs at a time"]


@pytest.mark.parametrize(("state", "n"), [(State.FINISHED, 2), (State.PRUNED, 2), (State.FAILED, 6)])
def test_what_a_run_took_counts_afterwards_if_it_ended_as_it_should(sensor: Sensor, state: State, n: int) -> None:
    assert measured(sensor).start(1, gpu0=30 * GIB).end(1, state).n_free() == n


@pytest.mark.parametrize("state", [State.FAILED, State.OUT_OF_MEMORY, State.KILLED])
def test_a_first_run_that_fails_measures_nothing(sensor: Sensor, state: State) -> None:
    machine = Machine([80 * GIB], sensor).start(0, gpu0=GIB).end(0, state)
    assert (machine.n_free(), machine.packing.take_notes()) == (1, [])


def test_a_first_run_that_was_not_seen_to_take_memory_is_told_once_and_the_next_is_measured(sensor: Sensor) -> None:
    machine = Machine([80 * GIB], sensor).start(0).end(0).start(1).end(1)
    assert len(machine.packing.take_notes()) == 1
    assert machine.start(2, gpu0=10 * GIB).end(2).n_free() == 7


def test_a_number_near_its_limit_does_not_go_up_and_down(sensor: Sensor) -> None:
    machine = measured(sensor, peak=9 * GIB).start(1, gpu0=9 * GIB)  # 8 fit
    for mib in (1, 0, 1, 0):
        machine.used[0] = mib * GIB
        machine.look()
    assert [note.split(": ")[-1][:6] for note in machine.packing.take_notes()] == ["8 runs", "7 runs"]


def test_the_number_rises_when_others_leave_much(sensor: Sensor) -> None:
    machine = Machine([80 * GIB], sensor, used={0: 40 * GIB}).start(0, gpu0=10 * GIB).end(0).start(1, gpu0=10 * GIB)
    machine.used.clear()
    assert machine.look().n_free() == 5


def test_a_process_that_ends_while_the_driver_is_asked_is_taken_for_nobody(sensor: Sensor) -> None:
    machine = measured(sensor).start(1, gpu0=10 * GIB)
    machine.used[0] = 10 * GIB  # used, and in no list of processes any more
    machine.look(1)
    machine.used.clear()
    machine.look()
    assert len(machine.packing.take_notes()) == 1


def test_a_number_beyond_max_concurrent_is_told_so(sensor: Sensor) -> None:
    machine = Machine([80 * GIB], sensor)
    machine.slots.resize(2)
    machine.start(0, gpu0=10 * GIB).end(0)
    assert machine.packing.take_notes() == ["GPU 0: peak 10.0 of 80.0 GiB: 7 runs at a time, max_concurrent permitting"]
    assert machine.n_free() == 2


@pytest.mark.parametrize(("mib", "n"), [(15, 1), (16, 8)])
def test_less_than_any_context_takes_is_no_measurement(sensor: Sensor, mib: int, n: int) -> None:
    assert measured(sensor, peak=mib).n_free() == n


def test_an_answer_during_which_a_run_ended_is_no_measurement_of_those_that_are_left(sensor: Sensor) -> None:
    machine = measured(sensor, tells_processes=False).start(1, gpu0=10 * GIB).start(2, gpu0=10 * GIB)
    ended = machine.active.pop(2)
    machine.look(1)  # the driver was asked while it was there
    machine.active[2] = ended
    machine.end(2).look()
    assert len(machine.packing.take_notes()) == 1


def test_a_process_that_is_ending_and_tells_its_run_no_more_is_still_its_own(
    sensor: Sensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = measured(sensor).start(1, gpu0=10 * GIB)
    monkeypatch.setattr(packing, "run_dir_of", lambda _: None)
    machine.look()
    assert len(machine.packing.take_notes()) == 1


def test_a_run_in_a_folder_that_is_reached_by_a_link_is_found(
    sensor: Sensor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    monkeypatch.setattr(packing, "run_dir_of", lambda pid: tmp_path / "real" / str(pid))
    machine = Machine([80 * GIB], sensor, used={0: 40 * GIB})
    slot = machine.slots.take()
    assert slot is not None
    machine.active[0] = Started(slot, tmp_path / "link" / "0")
    machine.take(0, gpu0=10 * GIB).used[0] = 50 * GIB
    assert machine.look().end(0).n_free() == 2


# without the memory of processes


def test_a_gpu_that_fills_up_measures_the_run_that_is_alone_on_it(sensor: Sensor) -> None:
    machine = Machine([80 * GIB], sensor, tells_processes=False, used={0: 8 * GIB}).start(0, gpu0=10 * GIB).end(0)
    assert machine.packing.take_notes() == ["GPU 0: peak 10.0 of 72.0 GiB: 6 runs at a time"]


def test_what_others_give_back_meanwhile_makes_no_run_seem_smaller(sensor: Sensor) -> None:
    machine = Machine([80 * GIB], sensor, tells_processes=False, used={0: 20 * GIB}).start(0)
    machine.used.clear()
    assert machine.look().take(0, gpu0=10 * GIB).end(0).n_free() == 7


def test_of_several_runs_the_mean_counts_where_it_is_more(sensor: Sensor) -> None:
    machine = measured(sensor, tells_processes=False).start(1, gpu0=10 * GIB).start(2, gpu0=50 * GIB)
    assert machine.packing.take_notes()[1:] == ["GPU 0: peak 30.0 of 80.0 GiB: 2 runs at a time"]


# several GPUs


def test_gpus_of_one_size_share_what_was_measured(sensor: Sensor) -> None:
    machine = Machine([80 * GIB, 80 * GIB], sensor).start(0, gpu0=20 * GIB).start(1, gpu1=GIB).end(0)
    assert machine.packing.take_notes() == ["GPUs 0, 1: peak 20.0 of 80.0 GiB: 3 runs at a time"]
    assert machine.n_free() == 5


def test_gpus_of_another_size_are_measured_for_themselves(sensor: Sensor) -> None:
    machine = Machine([80 * GIB, 24 * GIB], sensor).start(0, gpu0=20 * GIB).start(1, gpu1=GIB).end(0)
    assert machine.n_free() == 3


def test_a_larger_run_under_way_counts_for_gpus_of_its_size_alone(sensor: Sensor) -> None:
    machine = Machine([80 * GIB, 24 * GIB], sensor).start(0, gpu0=10 * GIB).start(1, gpu1=20 * GIB).end(0)
    assert machine.packing.take_notes() == ["GPU 0: peak 10.0 of 80.0 GiB: 7 runs at a time"]


def test_of_a_slot_of_several_gpus_the_fullest_decides(sensor: Sensor) -> None:
    machine = Machine([80 * GIB, 80 * GIB], sensor, groups=["0,1"], used={1: 40 * GIB})
    assert machine.start(0, gpu0=10 * GIB, gpu1=9 * GIB).end(0).n_free() == 3


def test_a_gpu_that_the_driver_does_not_tell_has_one_run_at_a_time(sensor: Sensor) -> None:
    machine = Machine([80 * GIB], sensor, groups=["0", "MIG-GPU-1"])
    machine.start(0, gpu0=30 * GIB).start(1)
    assert machine.end(0).end(1).n_free() == 3


# out of memory


def test_runs_that_ran_out_together_cost_one_together(sensor: Sensor) -> None:
    machine = measured(sensor)
    for run in (1, 2, 3, 4):
        machine.start(run, gpu0=10 * GIB)
    machine.end(1, State.OUT_OF_MEMORY, ran_out=True).end(2, State.OUT_OF_MEMORY, ran_out=True)
    assert machine.packing.take_notes()[1:] == ["GPU 0: out of memory with 4 runs at a time: 3 from here on"]
    assert machine.n_free() == 1


def test_a_number_that_fell_for_want_of_memory_does_not_rise_again(sensor: Sensor) -> None:
    machine = measured(sensor).start(1, gpu0=GIB).start(2, gpu0=GIB)
    machine.end(1, State.OUT_OF_MEMORY, ran_out=True).end(2)
    assert machine.n_free() == 1


def test_it_never_falls_below_one(sensor: Sensor) -> None:
    machine = measured(sensor, peak=30 * GIB)
    for run in (1, 3, 5):
        machine.start(run, gpu0=GIB).end(run, State.OUT_OF_MEMORY, ran_out=True)
    assert machine.n_free() == 1


def test_runs_that_began_before_a_larger_one_was_seen_cost_nothing_more(sensor: Sensor) -> None:
    machine = measured(sensor).start(1, gpu0=10 * GIB).start(2, gpu0=30 * GIB)
    machine.end(1, State.OUT_OF_MEMORY, ran_out=True).end(2)
    assert machine.n_free() == 2


# silence


def test_a_driver_that_falls_silent_is_told_once_and_changes_nothing(sensor: Sensor) -> None:
    machine = measured(sensor).start(1, gpu0=10 * GIB)
    sensor.is_silent = True
    machine.look().start(2, gpu0=40 * GIB).end(2)
    assert machine.packing.take_notes()[1:] == [
        "the GPU driver does not answer: how many runs share a GPU stays as it is"
    ]
    assert (machine.n_free(), sensor.is_closed) == (6, True)


def test_a_first_run_that_ends_after_the_driver_fell_silent_lets_no_more_start(sensor: Sensor) -> None:
    machine = Machine([80 * GIB], sensor).start(0, gpu0=10 * GIB)
    sensor.is_silent = True
    assert machine.look().end(0).n_free() == 1


def test_a_driver_that_refuses_for_a_moment_is_asked_again(sensor: Sensor) -> None:
    machine = Machine([80 * GIB], sensor).start(0)
    sensor.reading = None
    machine.packing.poll(machine.active.values())
    assert machine.take(0, gpu0=10 * GIB).end(0).n_free() == 7


def test_one_run_at_a_time_is_not_measured(sensor: Sensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "GpuSensor", lambda **_: pytest.fail("the driver was asked"))
    machine = Machine([80 * GIB], sensor)
    machine.slots.resize(1)
    machine.start(0, gpu0=GIB).end(0)


# whose a process is


@pytest.fixture
def grandchild(tmp_path: Path) -> Iterator[int]:
    """A process in a session of its own, its output elsewhere and its environment empty, below a run's first one."""
    run_dir = tmp_path / "runs" / "abc"
    run_dir.mkdir(parents=True)
    hidden = "import os, time; print(os.getpid(), file=open('pid', 'w'), flush=True); time.sleep(600)"
    code = (
        "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]], env={}, start_new_session=True, "
        "stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)"
    )
    with (run_dir / "stdout.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", code, hidden], cwd=tmp_path, stdout=log, stderr=log, start_new_session=True
        )
    path = tmp_path / "pid"
    wait_until(lambda: path.exists() and path.read_text().endswith("\n"), "the grandchild lives")
    yield int(path.read_text())
    subprocess.run(["kill", "-9", path.read_text().strip()], check=True)
    process.kill()
    process.wait()


def test_a_process_is_of_the_run_whose_process_began_it(grandchild: int, tmp_path: Path) -> None:
    assert run_dir_of(grandchild) == tmp_path / "runs" / "abc"


@pytest.mark.parametrize("pid", [1, 2**22 + 1])
def test_a_process_of_no_run_is_of_none(pid: int) -> None:
    assert run_dir_of(pid) is None
