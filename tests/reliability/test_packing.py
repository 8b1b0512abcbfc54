"""``runs_per_device: auto``: whole sweeps whose runs take memory of a GPU that a driver made for the test tells."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from sweepline.executors.local.gpus import GpuSensor
from tests.conftest import Project
from tests.reliability import IS_SOAK
from tests.reliability.test_gpus import OUT_OF_MEMORY, Driver, end, lines_of, script, sweep

# What runs do to take memory, hold it until the driver was asked for it twice (so that the first answer was taken), and
# to wait for each other.
MEMORY = """
    import atexit, fcntl, glob
    own, x = f"{device}.{os.getpid()}", int(x)
    state = os.environ["FAKE_NVML_STATE"]
    n_free = int(Path(state).read_text().splitlines()[int(device)].split()[0])

    def locked():
        lock = open(f"{state}.lock", "w")
        fcntl.flock(lock, fcntl.LOCK_EX)
        return lock

    def take(mib):
        with locked():
            n_taken = sum(int(Path(name).read_text()) for name in glob.glob(f"{state}.held/{device}.*"))
            if n_taken + mib > n_free:
                sys.exit("torch.OutOfMemoryError: CUDA out of memory.")
            Path(f"{state}.new").write_text(str(mib))
            os.replace(f"{state}.new", f"{state}.held/{own}")
        atexit.register(give_back)

    def give_back():
        with locked():
            os.remove(f"{state}.held/{own}")

    def was_counted():
        path = Path(f"{state}.counted/{own}")
        return path.exists() and path.stat().st_size >= 2

    def n_launched():
        return len(open("launches.jsonl").readlines())
"""


@pytest.fixture
def driver(project: Project, library: Path) -> Driver:
    """The driver of a machine with one GPU, and where it keeps what processes have on it."""
    found = Driver(project.path / "gpus.txt")
    found.tell("24000 24000")
    for name in ("tmp", "gpus.txt.held", "gpus.txt.counted"):
        (project.path / name).mkdir()
    temporary = str(project.path / "tmp")
    project.environ |= {"LD_LIBRARY_PATH": str(library), "FAKE_NVML_STATE": str(found.path), "TMPDIR": temporary}
    return found


def behave(project: Project, text: str) -> None:
    """Write the program of all runs, which take memory of their GPU."""
    script(project, f"{textwrap.dedent(MEMORY)}\n{textwrap.dedent(text)}")


def run(project: Project, devices: Sequence[int], n: int, *, max_concurrent: int = 8) -> tuple[int, str]:
    """Run a sweep of ``n`` runs that asks its driver often and waits a second for it; return how it ended."""
    name = sweep(
        project,
        list(devices),
        x=range(n),
        extra=f"runs_per_device: auto\nreport: never\nmax_concurrent: {max_concurrent}",
    )
    code = """if True:
        import sys
        from sweepline.cli.main import main
        from sweepline.engine import steering
        from sweepline.executors.local import gpus, packing
        gpus.ANSWER_S, steering.LOOK_S, packing.MEASURING_S, packing.WATCHING_S = 1.0, 0.05, 0.04, 0.04
        sys.exit(main())
    """
    process = subprocess.Popen(
        [sys.executable, "-c", code, "run", name, "--start", "cold"],
        cwd=project.path,
        env=project.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    said = end(process)
    return process.returncode, said


def n_there(project: Project, x: int) -> int:
    """Return how many runs were on its GPU when a run began, itself among them."""
    spans = lines_of(project, "spans.jsonl")
    own = next(span for span in spans if span["x"] == x)
    return sum(_is_there(span, own["begin"]) for span in spans if span["device"] == own["device"])


def most_at_once(project: Project, device: int) -> int:
    """Return the most runs that were on a GPU at one time."""
    own = [span for span in lines_of(project, "spans.jsonl") if span["device"] == str(device)]
    return max(sum(_is_there(span, other["begin"]) for span in own) for other in own)


def _is_there(span: dict[str, Any], at: float) -> bool:
    return bool(span["begin"] <= at < span["end"])


@pytest.mark.parametrize("telling", ["", "refuses", *(["foreign", "unknown"] if IS_SOAK else [])])
def test_the_first_run_goes_alone_and_then_as_many_as_fit(project: Project, driver: Driver, telling: str) -> None:
    driver.tell(f"22000 24000 {telling}")
    behave(
        project,
        """
        take(5000)
        wait_for(was_counted)
        wait_for(lambda: x == 0 or n_launched() >= 4)
        write("told.jsonl", n=os.environ["SWEEPLINE_RUNS_PER_DEVICE"])
        """,
    )
    code, said = run(project, [0], 6)
    assert code == 0, said
    assert (n_there(project, 0), most_at_once(project, 0)) == (1, 3)
    assert said.count("GPU 0: peak 4.9 of 21.5 GiB: 3 runs at a time") == 1
    assert {line["n"] for line in lines_of(project, "told.jsonl")} == {"1"}
    plan = json.loads((project.sweep_dir / "plan.json").read_text())
    assert (plan["slots"], plan["runs_per_device"]) == (["gpu 0"], "auto")


def test_a_dry_run_says_that_one_is_measured_and_then_as_many_go_as_fit(project: Project, driver: Driver) -> None:
    driver.tell("24000 24000", "24000 24000")
    script(project)
    result = project.run("-n", sweep(project, [0, 1], extra="runs_per_device: auto\nmax_concurrent: 6\nthreads: 3"))
    begin = "2 at a time on gpu 0, gpu 1 until a run has been measured, then as many as fit into their memory"
    assert f"{begin}, at most 6; 3 CPU threads each" in " ".join(result.stdout.split())


@pytest.mark.usefixtures("driver")
def test_a_run_that_takes_more_than_the_first_lets_fewer_start_from_then_on(project: Project) -> None:
    behave(
        project,
        """
        take(9000 if x == 1 else 5000)
        wait_for(was_counted)
        wait_for(lambda: n_launched() >= {0: 1, 5: 7, 6: 7}.get(x, 5 if x < 5 else 1))
        """,
    )
    code, said = run(project, [0], 9)
    assert code == 0, said
    assert most_at_once(project, 0) == 4
    assert max(n_there(project, x) for x in range(5, 9)) == 2
    assert said.count("GPU 0: peak 8.8 of 23.4 GiB: 2 runs at a time") == 1


@pytest.mark.usefixtures("driver")
def test_a_run_out_of_memory_lets_fewer_run_at_a_time_and_goes_again_alone(project: Project) -> None:
    behave(
        project,
        f"""
        take(5000)
        wait_for(was_counted)
        wait_for(lambda: x == 0 or n_launched() >= 5)
        if x == 3 and not Path("failed").exists():
            Path("failed").touch()
            sys.exit({OUT_OF_MEMORY!r})
        """,
    )
    code, said = run(project, [0], 8)
    attempts = project.rows().set_index("x").attempt
    assert code == 0, said
    assert dict(attempts) == {x: 2 if x == 3 else 1 for x in range(8)}
    assert n_there(project, 3) == 1
    assert max(n_there(project, x) for x in range(5, 8)) <= 3
    assert said.count("GPU 0: out of memory with 4 runs at a time: 3 from here on") == 1


@pytest.mark.usefixtures("driver")
def test_runs_that_do_not_fit_beside_each_other_all_finish_in_the_end(project: Project) -> None:
    behave(project, "wait_for(lambda: x == 0 or n_launched() >= 6); take(9000 if x else 3000); wait_for(was_counted)")
    code, said = run(project, [0], 6)
    assert code == 0, said
    assert "GPU 0: peak 8.8 of 23.4 GiB: 2 runs at a time" in said
    assert set(project.rows().state) == {"finished"}
    assert set(project.rows().attempt) == {1, 2}


def test_gpus_of_different_sizes_are_measured_each_and_bear_different_numbers(project: Project, driver: Driver) -> None:
    driver.tell("24000 24000", "48000 48000")
    behave(project, "take(10000); wait_for(was_counted); wait_for(lambda: n_launched() >= (2 if x < 2 else 8))")
    code, said = run(project, [0, 1], 8)
    assert code == 0, said
    assert [n_there(project, x) for x in (0, 1)] == [1, 1]
    assert [most_at_once(project, device) for device in (0, 1)] == [2, 4]
    assert "GPU 0: peak 9.8 of 23.4 GiB: 2 runs at a time" in said
    assert "GPU 1: peak 9.8 of 46.9 GiB: 4 runs at a time" in said


@pytest.mark.usefixtures("driver")
def test_a_driver_that_falls_silent_leaves_the_number_as_it_is(project: Project) -> None:
    behave(
        project,
        """
        take(5000)
        if x == 0:
            wait_for(was_counted)
            Path(f"{state}.fresh").write_text("24000 24000 hang")
            os.replace(f"{state}.fresh", state)
            hangs = Path(f"{state}.hangs")
            wait_for(lambda: hangs.exists() and hangs.read_text())
            wait_for(lambda: not Path("/proc", hangs.read_text()).exists())
        """,
    )
    code, said = run(project, [0], 3)
    assert code == 0, said
    assert said.count("the GPU driver does not answer: how many runs share a GPU stays as it is") == 1
    assert most_at_once(project, 0) == 1
    assert project.survivors() == []


@pytest.mark.parametrize(
    ("telling", "told"), [("", ((77, 5),)), ("refuses", None), ("foreign", ((8388685, 5),)), ("unknown", ((77, None),))]
)
def test_a_sensor_that_is_asked_for_processes_tells_what_the_driver_tells(
    project: Project, driver: Driver, monkeypatch: pytest.MonkeyPatch, telling: str, told: object
) -> None:
    driver.tell(f"24000 24000 {telling}")
    (project.path / "gpus.txt.held" / "0.77").write_text("5")
    for name, value in project.environ.items():
        monkeypatch.setenv(name, value)
    sensor = GpuSensor(asks_processes=True)
    sensor.ask()
    reading = sensor.wait()
    sensor.close()
    assert reading is not None
    assert (reading[0].processes, reading[0].free_mib) == (told, 23995)
