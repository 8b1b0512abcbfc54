"""GPUs that are shared, full, lost or hung, and a clock that jumps: whole sweeps against a driver made for the test."""

from __future__ import annotations

import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Project, wait_until
from tests.reliability.conftest import compile_library

UUIDS = [f"GPU-{i:08x}-1111-2222-3333-444444444444" for i in range(4)]
LOST = "RuntimeError: CUDA error: unspecified launch failure"
NO_HANDLE = "Unable to determine the device handle for GPU0000:3B:00.0: Unknown Error"
OUT_OF_MEMORY = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB"
PATIENCE_S = 30

# A run that obeys files: it may break on one device, run out of memory once, or hold on until it is let go.
SCRIPT = """
    import argparse, json, os, sys, time
    from pathlib import Path

    parser = argparse.ArgumentParser()
    parser.add_argument("--x")
    parser.add_argument("--y")
    x = parser.parse_known_args()[0].x
    begin = time.monotonic()
    names = ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "SWEEPLINE_SWEEP")
    device, order, sweep = [os.environ[name] for name in names]

    def write(name, **fields):
        with open(name, "a") as file:
            file.write(json.dumps({"x": x, "device": device, "order": order, "sweep": sweep, **fields}) + "\\n")

    def wait_for(condition):
        while not condition():
            time.sleep(0.005)

    write("launches.jsonl")
    HERE
    print(f"METRIC loss={x}")
    write("spans.jsonl", begin=begin, end=time.monotonic())
"""


@dataclass
class Driver:
    """The state of the fake driver."""

    path: Path

    def tell(self, *lines: str) -> None:
        """Have the driver tell these GPUs from now on."""
        fresh = self.path.with_suffix(".new")
        fresh.write_text("".join(f"{line}\n" for line in lines))
        fresh.replace(self.path)


@pytest.fixture
def lab(project: Project) -> Project:
    """A machine of its own: its GPU leases are in the test's folder, and no driver answers."""
    temporary = project.path / "tmp"
    temporary.mkdir()
    project.environ["TMPDIR"] = str(temporary)
    script(project)
    return project


@pytest.fixture
def driver(lab: Project, library: Path) -> Driver:
    """The driver of that machine: two GPUs with nothing on them."""
    found = Driver(lab.path / "gpus.txt")
    found.tell("24000 24000", "24000 24000")
    lab.environ |= {"LD_LIBRARY_PATH": str(library), "FAKE_NVML_STATE": str(found.path)}
    return found


def script(project: Project, behaviour: str = "pass") -> None:
    """Write the program of all runs; ``behaviour`` is what it does before it has a result."""
    text = textwrap.dedent(SCRIPT).replace("HERE", textwrap.dedent(behaviour).strip())
    (project.path / "run.py").write_text(text)


def sweep(
    project: Project, devices: object, *, x: Iterable[int] = range(4), name: str = "sweep", extra: str = ""
) -> str:
    """Write a sweep file of one run per ``x``; return its name."""
    lines = [
        "program: run.py",
        f"name: {name}",
        "method: grid",
        "metric: {name: loss}",
        f"parameters: {{x: {list(x)}}}",
        f"devices: {json.dumps(devices)}",
        "grace: 1s",
        extra,
    ]
    project.write(f"{name}.yaml", "\n".join(lines) + "\n")
    return f"{name}.yaml"


def lines_of(project: Project, name: str) -> list[dict[str, Any]]:
    path = project.path / name
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def launches(project: Project) -> list[dict[str, Any]]:
    return lines_of(project, "launches.jsonl")


def overlaps(project: Project) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return the pairs of runs that were on one GPU at one time."""
    return [
        (a, b)
        for a, b in combinations(lines_of(project, "spans.jsonl"), 2)
        if set(a["device"].split(",")) & set(b["device"].split(",")) and a["begin"] < b["end"] and b["begin"] < a["end"]
    ]


def read_until(process: subprocess.Popen[str], text: str) -> None:
    """Read a sweep's output until a line holds ``text``."""
    assert process.stdout is not None
    if not any(text in line for line in process.stdout):
        pytest.fail(f"ended before it printed {text!r}")


def end(process: subprocess.Popen[str]) -> str:
    """Wait for a sweep's end; return what else it said."""
    try:
        out, err = process.communicate(timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        pytest.fail(f"does not end; it said: {process.communicate()}")
    assert "Traceback" not in err, err
    return out + err


def impatient(project: Project, *args: str) -> subprocess.Popen[str]:
    """Start a sweep that waits one second for its driver instead of ten."""
    code = (
        "import sys, sweepline.executors.local.gpus as g; g.ANSWER_S = 1.0; "
        "from sweepline.cli.main import main; sys.exit(main())"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, *args],
        cwd=project.path,
        env=project.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


# leases: two sweeps on one machine


@pytest.mark.parametrize(
    ("first", "second"), [([0], [0]), (["0,1"], [1]), (["1,0"], ["0,1"])], ids=["one", "one of two", "two of two"]
)
def test_runs_of_two_sweeps_are_never_on_one_gpu_at_one_time(lab: Project, first: list[Any], second: list[Any]) -> None:
    script(lab, "wait_for(Path('go').exists)")
    process = lab.start("run", sweep(lab, first, name="first"))
    wait_until(lambda: launches(lab), "the first sweep has the GPU")
    other = lab.start("run", sweep(lab, second, name="second"))
    read_until(other, "is in use by sweep 'first' (pid")
    started_meanwhile = [launch for launch in launches(lab) if launch["sweep"] == "second"]
    (lab.path / "go").touch()
    end(process)
    end(other)
    assert started_meanwhile == []
    assert overlaps(lab) == []
    assert (process.returncode, other.returncode) == (0, 0)
    assert len(lines_of(lab, "spans.jsonl")) == 8


@pytest.mark.usefixtures("driver")
def test_a_gpu_named_by_index_and_by_uuid_is_one_gpu(lab: Project) -> None:
    script(lab, "wait_for(Path('go').exists)")
    process = lab.start("run", sweep(lab, [1], name="first"))
    wait_until(lambda: launches(lab), "the first sweep has the GPU")
    other = lab.start("run", sweep(lab, [UUIDS[1]], name="second"))
    read_until(other, f"GPU {UUIDS[1]} is in use by sweep 'first'")
    (lab.path / "go").touch()
    end(process)
    end(other)
    assert (process.returncode, other.returncode) == (0, 0)


def test_other_gpus_are_used_while_one_is_leased_by_another_sweep(lab: Project) -> None:
    script(lab, "wait_for(lambda: sweep == 'second' or Path('go').exists())")
    process = lab.start("run", sweep(lab, [0], name="first"))
    wait_until(lambda: launches(lab), "the first sweep has the GPU")
    other = lab.start("run", sweep(lab, [0, 1], name="second"))
    wait_until(lambda: len(lines_of(lab, "spans.jsonl")) >= 4, "the second sweep has done all of its runs elsewhere")
    (lab.path / "go").touch()
    end(process)
    end(other)
    assert {span["device"] for span in lines_of(lab, "spans.jsonl") if span["sweep"] == "second"} == {"1"}


def lease_of(project: Project, key: str) -> Path:
    return project.path / "tmp" / "sweepline-gpus" / f"{key}.lock"


def is_leased(project: Project, key: str) -> bool:
    fd = os.open(lease_of(project, key), os.O_RDWR)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def test_a_lease_outlives_a_killed_orchestrator_until_its_last_run_has_ended(lab: Project) -> None:
    script(
        lab,
        """
        import signal
        def stop(*_):
            write("stopped.jsonl")
            wait_for(Path("go").exists)
            sys.exit(1)
        signal.signal(signal.SIGTERM, stop)
        write("ready.jsonl")
        wait_for(lambda: False)
        """,
    )
    name = sweep(lab, [0])
    text = (lab.path / name).read_text()
    (lab.path / name).write_text(text.replace("grace: 1s", "grace: 600s"))
    process = lab.start("run", name)
    wait_until(lambda: lines_of(lab, "ready.jsonl"), "the run listens to signals")
    process.kill()
    process.wait()
    wait_until(lambda: lines_of(lab, "stopped.jsonl"), "the keeper stops the run")
    was_leased = is_leased(lab, "index-0")
    (lab.path / "go").touch()
    end(process)  # the keeper has its error output too
    wait_until(lambda: not is_leased(lab, "index-0"), "the lease is free")
    assert was_leased


def test_a_sweep_with_nothing_left_to_run_needs_no_gpu(lab: Project) -> None:
    name = sweep(lab, [0], x=[1])
    lab.run(name)
    fd = os.open(lease_of(lab, "index-0"), os.O_RDWR)
    fcntl.flock(fd, fcntl.LOCK_EX)
    try:
        result = end(lab.start("run", name))
    finally:
        os.close(fd)
    assert "1 finished" in result
    assert "waiting for it" not in result


@pytest.mark.parametrize("kind", ["link", "dangling link", "folder", "pipe"])
def test_a_planted_lease_is_told_in_one_sentence_and_left_alone(lab: Project, kind: str) -> None:
    target = lab.write("precious.txt", "precious")
    lease = lease_of(lab, "index-0")
    lease.parent.mkdir()
    if kind == "folder":
        lease.mkdir()
    elif kind == "pipe":
        os.mkfifo(lease)
    else:
        lease.symlink_to(target if kind == "link" else lab.path / "not-there")
    result = lab.run(sweep(lab, [0]))
    assert result.returncode == 2
    assert result.stderr.startswith("sweepline: GPU leases:")
    assert result.stderr.count("\n") == 1
    assert target.read_text() == "precious"
    assert not (lab.path / "not-there").exists()
    assert launches(lab) == []


def test_a_lease_that_is_another_name_of_a_file_does_not_empty_it(lab: Project) -> None:
    target = lab.write("precious.txt", "precious")
    lease_of(lab, "index-0").parent.mkdir()
    os.link(target, lease_of(lab, "index-0"))
    lab.run(sweep(lab, [0]))
    assert target.read_text() == "precious"


def test_a_folder_of_leases_that_is_a_link_opens_nobodys_folder_to_all(lab: Project) -> None:
    private = lab.path / "private"
    private.mkdir(mode=0o700)
    (lab.path / "tmp" / "sweepline-gpus").symlink_to(private)
    lab.run(sweep(lab, [0]))
    assert private.stat().st_mode & 0o777 == 0o700


def test_a_file_in_place_of_the_folder_of_leases_is_told_in_one_sentence(lab: Project) -> None:
    lab.write("tmp/sweepline-gpus", "not a folder")
    result = lab.run(sweep(lab, [0]))
    assert result.returncode == 2
    assert result.stderr.startswith("sweepline: GPU leases:")
    assert result.stderr.count("\n") == 1


# what runs see


@pytest.mark.parametrize("devices", [[1], ["1,0"], "auto", "cpu"])
@pytest.mark.usefixtures("driver")
def test_every_run_sees_its_own_gpus_numbered_by_pci_bus(lab: Project, devices: object) -> None:
    lab.environ["CUDA_DEVICE_ORDER"] = "FASTEST_FIRST"
    result = lab.run(sweep(lab, devices, extra="max_concurrent: 2"))
    expected = {"auto": {"0", "1"}, "cpu": {""}}.get(str(devices)) or set(devices)  # type: ignore[call-overload]
    assert result.returncode == 0, result.stderr
    assert {launch["order"] for launch in launches(lab)} == {"PCI_BUS_ID"}
    assert {launch["device"] for launch in launches(lab)} == {str(device) for device in expected}


# GPUs that are lost


@pytest.mark.parametrize("text", [LOST, NO_HANDLE])
def test_a_gpu_that_is_lost_twice_is_left_out_and_its_runs_finish_elsewhere(lab: Project, text: str) -> None:
    script(lab, f"if device == '1': sys.exit({text!r})")
    result = lab.run(sweep(lab, [0, 1], x=range(6)))
    rows = lab.rows()
    assert result.returncode == 0, result.stdout
    assert list(rows.state) == ["finished"] * 6
    assert set(rows.device) == {0}
    assert [launch["device"] for launch in launches(lab)].count("1") == 2
    assert "GPU 1: 2 runs in a row lost it; it is left out" in result.stdout


def test_a_run_that_lost_its_gpu_goes_again_on_another_one(lab: Project) -> None:
    script(lab, f"if device == '1': sys.exit({LOST!r})")
    lab.run(sweep(lab, [0, 1], x=range(6)))
    moved = [launch["x"] for launch in launches(lab) if launch["device"] == "1"]
    again = [launch["device"] for launch in launches(lab) if launch["x"] in moved and launch["device"] != "1"]
    assert again == ["0", "0"]


def test_a_run_that_ends_well_in_between_keeps_its_gpu_in_service(lab: Project) -> None:
    script(
        lab,
        f"""
        n_before = sum(json.loads(line)["device"] == device for line in open("launches.jsonl")) - 1
        if device == "1" and n_before % 2 == 0:
            sys.exit({LOST!r})
        wait_for(lambda: device == "1" or len(open("launches.jsonl").readlines()) >= 5)
        """,
    )
    result = lab.run(sweep(lab, [0, 1], x=range(6)))
    assert result.returncode == 0, result.stdout
    assert [launch["device"] for launch in launches(lab)].count("1") >= 4
    assert "left out" not in result.stdout


def test_a_sweep_that_lost_all_of_its_gpus_halts_and_says_so(lab: Project) -> None:
    script(lab, f"sys.exit({LOST!r})")
    result = lab.run(sweep(lab, [0, 1], x=range(9)))
    assert result.returncode == 1
    assert result.stdout.count("no device is left: nothing more is launched") == 1
    assert len(launches(lab)) == 4
    assert set(lab.rows().state) == {"gpu_lost"}


def test_a_gpu_is_left_out_once_though_more_of_its_runs_end_later(lab: Project) -> None:
    script(lab, f"if device == '1': wait_for(lambda: len(open('launches.jsonl').readlines()) >= 6); sys.exit({LOST!r})")
    result = lab.run(sweep(lab, [0, 1], x=range(8), extra="runs_per_device: 3"))
    assert result.returncode == 0, result.stdout
    assert result.stdout.count("it is left out") == 1


# out of memory


def test_a_run_out_of_memory_beside_another_goes_again_alone(lab: Project) -> None:
    script(
        lab,
        f"""
        import glob
        def journal():
            return "".join(open(name).read() for name in glob.glob("outputs/*/events.jsonl"))
        def n_launched():
            return len(open("launches.jsonl").readlines())
        if x == "0" and "out_of_memory" not in journal():
            wait_for(lambda: n_launched() >= 4)
            sys.exit({OUT_OF_MEMORY!r})
        if x in ("1", "2", "3"):
            wait_for(lambda: "out_of_memory" in journal())
            time.sleep(0.1)
        """,
    )
    result = lab.run(sweep(lab, [0, 1], x=range(10), extra="runs_per_device: 2"))
    attempts = dict(zip(lab.rows().x, lab.rows().attempt, strict=True))
    assert result.returncode == 0, result.stdout
    assert attempts == {x: 2 if x == 0 else 1 for x in range(10)}
    assert [pair for pair in overlaps(lab) if "0" in (pair[0]["x"], pair[1]["x"])] == []


def test_a_run_out_of_memory_on_a_gpu_of_its_own_is_out_of_memory_at_once(lab: Project) -> None:
    script(lab, f"if x == '1': sys.exit({OUT_OF_MEMORY!r})")
    result = lab.run(sweep(lab, [0, 1]))
    assert result.returncode == 1
    assert [launch["x"] for launch in launches(lab)].count("1") == 1
    assert lab.rows().set_index("x").state[1] == "out_of_memory"


def test_a_run_out_of_memory_when_alone_too_goes_again_only_once(lab: Project) -> None:
    script(
        lab,
        f"""
        wait_for(lambda: len(open("launches.jsonl").readlines()) >= 2)
        if x == "0":
            sys.exit({OUT_OF_MEMORY!r})
        wait_for(lambda: "out_of_memory" in open("outputs/sweep/events.jsonl").read())
        """,
    )
    result = lab.run(sweep(lab, [0], x=range(3), extra="runs_per_device: 2"))
    assert result.returncode == 1
    assert [launch["x"] for launch in launches(lab)].count("0") == 2
    assert lab.rows().set_index("x").attempt[0] == 2


# GPUs that are full


def test_no_run_starts_on_a_full_gpu_and_others_are_not_kept_waiting(lab: Project, driver: Driver) -> None:
    driver.tell("500 24000", "20000 24000")
    result = lab.run(sweep(lab, [0, 1], extra="gpu_free_mib: 1000"))
    assert result.returncode == 0, result.stderr
    assert [launch["device"] for launch in launches(lab)] == ["1"] * 4
    assert result.stdout.count("GPU 0: 22.9 of 23.4 GiB are used, 1000 MiB free are asked: waiting") == 1


def test_a_full_gpu_is_used_as_soon_as_it_is_free(lab: Project, driver: Driver) -> None:
    driver.tell("500 24000", "999 24000")
    process = lab.start("run", sweep(lab, [0, 1]), "--gpu-free-mib", "1000")
    read_until(process, "GPU 1: 22.5 of 23.4 GiB are used, 1000 MiB free are asked: waiting")
    started_on_full_gpus = launches(lab)
    driver.tell("500 24000", "1000 24000")
    end(process)
    assert started_on_full_gpus == []
    assert process.returncode == 0
    assert {launch["device"] for launch in launches(lab)} == {"1"}


def test_a_slot_of_two_gpus_waits_until_both_are_free(lab: Project, driver: Driver) -> None:
    driver.tell("20000 24000", "500 24000")
    process = lab.start("run", sweep(lab, ["0,1"]), "--gpu-free-mib", "1000")
    read_until(process, "GPU 1: 22.9 of 23.4 GiB are used")
    started = launches(lab)
    driver.tell("20000 24000", "20000 24000")
    end(process)
    assert started == []
    assert process.returncode == 0


def test_a_stop_signal_ends_a_sweep_that_waits_for_memory(lab: Project, driver: Driver) -> None:
    driver.tell("500 24000")
    process = lab.start("run", sweep(lab, [0]), "--gpu-free-mib", "1000")
    read_until(process, "are asked: waiting")
    process.send_signal(signal.SIGINT)
    end(process)
    assert process.returncode == 130
    assert lab.survivors() == []


@pytest.mark.usefixtures("driver")
def test_a_sweep_whose_last_run_has_ended_waits_for_no_memory(lab: Project) -> None:
    script(lab, "Path('gpus.new').write_text('500 24000\\n'); os.replace('gpus.new', 'gpus.txt'); time.sleep(1.1)")
    result = end(lab.start("run", sweep(lab, [0], x=[1]), "--gpu-free-mib", "1000"))
    assert "1 runs: 1 finished" in result
    assert "waiting" not in result


@pytest.mark.usefixtures("driver")
def test_a_gpu_that_the_driver_no_longer_tells_is_not_used(lab: Project) -> None:
    script(lab, "Path('gpus.new').write_text('9000 24000\\n9000 24000 lost\\n'); os.replace('gpus.new', 'gpus.txt')")
    result = lab.run(sweep(lab, [0, 1], extra="gpu_free_mib: 1000\nmax_concurrent: 1"))
    assert result.returncode == 0, result.stdout
    assert len(launches(lab)) == 4


# drivers that do not answer


def test_a_driver_that_hangs_at_the_start_ends_it_with_a_sentence(lab: Project, driver: Driver) -> None:
    driver.tell("24000 24000", "24000 24000 hang")
    process = impatient(lab, "run", sweep(lab, "auto"))
    said = end(process)
    assert process.returncode == 2
    assert "devices: the GPU driver did not answer in 1 s" in said
    assert lab.survivors() == []


def test_the_advice_about_a_driver_that_hangs_helps(lab: Project, driver: Driver) -> None:
    driver.tell("driver hang", "24000 24000")
    process = impatient(lab, "run", sweep(lab, [0, 1]))
    said = end(process)
    assert process.returncode == 0, said


def test_a_driver_that_hangs_later_turns_the_check_off_and_the_sweep_goes_on(lab: Project, driver: Driver) -> None:
    driver.tell("500 24000")
    process = impatient(lab, "run", sweep(lab, [0], extra="gpu_free_mib: 1000"))
    read_until(process, "are asked: waiting")
    driver.tell("500 24000 hang")
    said = end(process)
    assert process.returncode == 0
    assert said.count("the GPU driver did not answer in 10 s: free memory is not checked any more") == 1
    assert len(lines_of(lab, "spans.jsonl")) == 4
    assert lab.survivors() == []


def test_a_killed_sweep_leaves_nobody_behind_in_a_driver_that_hangs(lab: Project, driver: Driver) -> None:
    driver.tell("500 24000")
    process = lab.start("run", sweep(lab, [0], extra="gpu_free_mib: 1000"))
    read_until(process, "are asked: waiting")
    driver.tell("driver hang")
    marker = driver.path.with_name("gpus.txt.hangs")
    wait_until(lambda: marker.exists() and marker.read_text(), "the driver hangs")
    asking = os.pidfd_open(int(marker.read_text()))
    process.kill()
    is_gone, _, _ = select.select([asking], [], [], PATIENCE_S)
    os.close(asking)
    end(process)
    assert is_gone


@pytest.mark.parametrize(
    ("lines", "available"),
    [(["1 2", "1 2"], "0, 1"), (["1 2", "1 2 lost", "1 2"], "0, 2"), ([], "none")],
    ids=["two", "one fell off the bus", "none"],
)
def test_a_gpu_that_is_not_there_is_refused_with_those_that_are(
    lab: Project, driver: Driver, lines: list[str], available: str
) -> None:
    driver.tell(*lines)
    result = lab.run(sweep(lab, [0, 3] if lines else [3]))
    assert result.returncode == 2
    assert result.stderr == f"sweepline: devices: GPU 3 not found; available: {available}\n"
    assert launches(lab) == []


def test_instances_of_a_divided_gpu_are_told_with_their_share_of_memory(lab: Project, driver: Driver) -> None:
    driver.tell("24000 24000 mig=2", "24000 24000")
    result = lab.run("-n", "--gpu-free-mib", "1000", sweep(lab, "auto"))
    first, second = (f"MIG-{i:08x}-1111-2222-3333-444444444444" for i in range(2))
    assert f"3 at a time on gpu {first}, gpu {second}, gpu 1; " in result.stdout


@pytest.mark.parametrize("word", ["fails", "dies", "prints"])
def test_a_broken_driver_ends_in_no_traceback(lab: Project, driver: Driver, word: str) -> None:
    driver.tell(f"driver {word}", "24000 24000")
    result = lab.run(sweep(lab, [0]))
    assert "Traceback" not in result.stderr
    assert result.returncode in (0, 2)


def test_a_gpu_whose_name_is_no_text_is_used_all_the_same(lab: Project, driver: Driver) -> None:
    driver.tell("24000 24000 binary")
    result = lab.run(sweep(lab, [0]))
    assert "Traceback" not in result.stderr
    assert result.returncode == 0


# runs that nothing ends


TRACER = """
    import ctypes, pathlib, sys, time
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long] * 4
    path = pathlib.Path(sys.argv[1])
    while not path.exists() or not path.read_text():
        time.sleep(0.005)
    is_held = libc.ptrace(0x4206, int(path.read_text()), 0, 0) == 0  # PTRACE_SEIZE
    pathlib.Path(sys.argv[2]).write_text("held" if is_held else "refused")
    time.sleep(600)  # never waits for what it traces: until then nobody can take notice of its end
"""
CLINGING = """
    import ctypes
    if device == "1":
        ctypes.CDLL(None).prctl(0x59616D61, ctypes.c_ulong(-1), 0, 0, 0)  # PR_SET_PTRACER, anybody
        Path("pid.new").write_text(str(os.getpid()))
        os.replace("pid.new", "pid")
        wait_for(Path("held").exists)
        time.sleep(600)
"""


@pytest.fixture
def tracer(lab: Project) -> Iterator[subprocess.Popen[bytes]]:
    """A process that keeps the run on GPU 1 from ever being gone, as one that hangs in the kernel is never gone."""
    script(lab, CLINGING)
    code = textwrap.dedent(TRACER)
    process = subprocess.Popen([sys.executable, "-c", code, str(lab.path / "pid"), str(lab.path / "held")])
    yield process
    process.kill()
    process.wait()


@pytest.mark.parametrize("n_max", [1, 2])
@pytest.mark.usefixtures("tracer")
def test_a_run_that_survives_sigkill_costs_its_gpu_and_nothing_else(lab: Project, n_max: int) -> None:
    name = sweep(lab, [1, 0], extra=f"max_concurrent: {n_max}\ntimeout: 4s")
    process = lab.start("run", name)
    wait_until((lab.path / "held").exists, "the run is held")
    if (lab.path / "held").read_text() == "refused":
        process.kill()
        pytest.skip("needs ptrace")
    said = end(process)
    rows = lab.rows().set_index("x")
    assert process.returncode == 1
    assert rows.state[0] == "unkillable"
    assert list(rows.state[[1, 2, 3]]) == ["finished"] * 3
    assert set(rows.device[[1, 2, 3]]) == {0}
    assert "GPU 1: a run on it cannot be killed" in said


# the clock on the wall

CLOCK = """
    #define _GNU_SOURCE
    #include <stdio.h>
    #include <stdlib.h>
    #include <sys/syscall.h>
    #include <sys/time.h>
    #include <time.h>
    #include <unistd.h>

    static long jump(void)
    {
        const char *path = getenv("FAKE_CLOCK");
        FILE *file = path ? fopen(path, "r") : NULL;
        long seconds = 0;

        if (file) {
            if (fscanf(file, "%ld", &seconds) != 1)
                seconds = 0;
            fclose(file);
        }
        return seconds;
    }

    int clock_gettime(clockid_t id, struct timespec *now)
    {
        int result = syscall(SYS_clock_gettime, id, now);

        if (id == CLOCK_REALTIME)
            now->tv_sec += jump();
        return result;
    }

    int gettimeofday(struct timeval *restrict now, void *restrict zone)
    {
        struct timespec precise;

        (void)zone;
        clock_gettime(CLOCK_REALTIME, &precise);
        now->tv_sec = precise.tv_sec;
        now->tv_usec = precise.tv_nsec / 1000;
        return 0;
    }

    time_t time(time_t *out)
    {
        struct timespec now;

        clock_gettime(CLOCK_REALTIME, &now);
        if (out)
            *out = now.tv_sec;
        return now.tv_sec;
    }
"""
DAY_S = 86400


@pytest.fixture
def clock(lab: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that says by how many seconds every process of the test is off the real time."""
    gcc = shutil.which("gcc")
    if gcc is None:
        pytest.skip("needs gcc: the clock is a small C library here")
    folder = compile_library(gcc, textwrap.dedent(CLOCK), tmp_path_factory.mktemp("clock"))
    path = lab.path / "clock.txt"
    path.write_text("0")
    lab.environ |= {"LD_PRELOAD": str(folder / "libnvidia-ml.so.1"), "FAKE_CLOCK": str(path)}
    seen = "import time; print(time.time())"
    first, second = [
        float(subprocess.check_output([sys.executable, "-c", seen], env=lab.environment(), text=True))
        for offset in ("0", str(DAY_S))
        if path.write_text(offset)
    ]
    path.write_text("0")
    if second - first < DAY_S / 2:
        pytest.skip("needs a libc that LD_PRELOAD can replace")
    return path


@pytest.mark.parametrize("jump_s", [DAY_S, -DAY_S])
def test_a_clock_that_jumps_by_a_day_ends_no_run_early_and_makes_no_time_negative(
    lab: Project, clock: Path, jump_s: int
) -> None:
    script(lab, "wait_for(Path('go').exists)")
    process = lab.start("run", sweep(lab, "cpu", extra="max_concurrent: 2\ntimeout: 5m"))
    wait_until(lambda: len(launches(lab)) >= 2, "two runs have started")
    clock.write_text(str(jump_s))
    status = lab.command("status").stdout
    (lab.path / "go").touch()
    end(process)
    rows = lab.rows()
    assert list(rows.state) == ["finished"] * 4
    assert all(0 <= duration < PATIENCE_S for duration in rows.duration_s)
    assert " for -" not in status
    assert lab.command("verify").returncode == 0
