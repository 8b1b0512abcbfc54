"""Whatever a run prints, and whatever it does to its own folder, costs nobody else anything, and it gets its row."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import Any

import pytest

from tests.conftest import DEADLINE_S, Project
from tests.reliability import scaled

MAX_GROWTH_MIB = 20
HANG_S = 25  # a sweep of three short runs that takes so long hangs
SWEEP = """
    program: run.py
    name: s
    metric: {name: loss}
    parameters: {x: [0]}
    devices: cpu
    max_concurrent: 2
"""
MEASURED = """
import sys
from sweepline.cli.main import main
code = main(sys.argv[1:])
(line,) = [line for line in open("/proc/self/status") if line.startswith("VmHWM")]
print("PEAK", line.split()[1], file=sys.stderr)
sys.exit(code)
"""


def run_measured(project: Project) -> tuple[float, dict[str, Any]]:
    """Run a sweep; return the most memory that its orchestrator had, in MiB, and the row of x = 0."""
    command = [sys.executable, "-c", MEASURED, "run", "--keep-going"]
    result = subprocess.run(
        command,
        cwd=project.path,
        env=project.environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-2000:]
    (row,) = project.rows().query("x == 0").to_dict("records")
    for log in project.sweep_dir.glob("runs/*/stdout.log"):
        log.unlink()  # pytest keeps what its tests leave
    return int(result.stderr.split()[-1]) / 1024, {str(name): value for name, value in row.items()}


@pytest.fixture(scope="module")
def quiet_peak_mib(tmp_path_factory: pytest.TempPathFactory) -> float:
    """The memory of an orchestrator whose run prints one line."""
    project = Project(tmp_path_factory.mktemp("quiet"))
    project.write("sweep.yaml", SWEEP)
    project.write("run.py", "print('METRIC first=1 loss=2')")
    peak, _ = run_measured(project)
    return peak


SPEW = {
    "short lines": "for _ in range(size // 2**20): out.write(b'y\\n' * 2**19)",
    "lines of a log": "for _ in range(size // 2**20): out.write((b'step 1 of 9: all is well ' * 5 + b'\\n') * 2**13)",
    "lines that nearly are metrics": "for _ in range(size // 8 // 2**20): out.write(b'x METRIC loss=\\n' * 2**16)",
    "lines with a metric among them": (
        "for _ in range(size // 8 // 2**20): out.write(b'METRIC other=1\\n'); out.write(b'y\\n' * 2**19)"
    ),
    "bad lines": "for _ in range(size // 10 // 2**20): out.write(b'METRIC loss=bad\\n' * 2**16)",
    "one line": "for _ in range(100): out.write(b'x' * 2**20)",
    "one line that begins as a metric": "out.write(b'METRIC loss='); [out.write(b'1' * 2**20) for _ in range(100)]",
    "empty lines": "for _ in range(size // 2**20): out.write(b'\\n' * 2**20)",
    "bars": "for _ in range(size // 2**20): out.write(b'\\r 50%|#####     | 5/10 [00:01<00:01]' * 2**15)",
    "colours": "for _ in range(size // 2**20): out.write(b'\\x1b[32m\\x1b[0m' * 2**17)",
    "bytes of all kinds": "import random; [out.write(random.Random(i).randbytes(2**20)) for i in range(size >> 20)]",
    "nothing but NUL": "for _ in range(size // 2**20): out.write(bytes(2**20))",
    "a hole": "out.flush(); os.ftruncate(1, size)",
}


@pytest.mark.parametrize("what", SPEW)
def test_metrics_before_and_after_very_much_output_arrive_in_little_memory(
    project: Project, quiet_peak_mib: float, what: str
) -> None:
    size = scaled(2**30)
    project.write("sweep.yaml", SWEEP)
    project.write(
        "run.py",
        f"""
        import os, sys
        out, size = sys.stdout.buffer, {size}
        out.write(b"METRIC first=1\\n")
        {SPEW[what]}
        out.write(b"\\nMETRIC loss=2\\n")
        """,
    )

    peak_mib, row = run_measured(project)

    assert (row["state"], row["first"], row["loss"]) == ("finished", 1.0, 2.0)
    assert peak_mib - quiet_peak_mib < MAX_GROWTH_MIB


MANY = {
    "a hundred thousand lines": (100_000, "METRIC epoch={i} loss={i}"),
    "millions of lines": (scaled(3_000_000), "METRIC epoch={i} loss={i}"),
    "lines with many names": (scaled(50_000), "METRIC " + " ".join(f"m{k}={{i}}" for k in range(50)) + " loss={i}"),
    "lines whose names take turns": (scaled(500_000), "METRIC m{k}=1 loss={i}"),
    "lines of names that are never the same": (scaled(500_000), "METRIC name_{i}=1 loss={i}"),
}


@pytest.mark.parametrize("what", MANY)
def test_very_many_metrics_arrive_in_little_memory_the_last_of_them_in_the_row(
    project: Project, quiet_peak_mib: float, what: str
) -> None:
    n_lines, line = MANY[what]
    project.write("sweep.yaml", SWEEP)
    project.write(
        "run.py",
        f"""
        import sys
        for i in range({n_lines}):
            k = i % 400
            sys.stdout.write(f"{line}\\n")
        """,
    )

    peak_mib, row = run_measured(project)
    history = (next(project.sweep_dir.glob("runs/*/metrics.csv"))).read_text().splitlines()

    assert (row["state"], row["loss"]) == ("finished", n_lines - 1)
    assert str(float(n_lines - 1)) in history[-1].split(",")
    assert peak_mib - quiet_peak_mib < MAX_GROWTH_MIB


def test_the_other_runs_come_and_go_while_one_prints_without_an_end(project: Project) -> None:
    n_others = 20
    project.write("sweep.yaml", SWEEP.replace("x: [0]", f"x: {list(range(n_others + 1))}"))
    project.write(
        "run.py",
        f"""
        import pathlib, sys, time
        x = int(sys.argv[1].partition("=")[2])
        print("METRIC loss=1", flush=True)
        until = time.monotonic() + {DEADLINE_S // 2}
        while x == 0 and len(list(pathlib.Path().glob("done-*"))) < {n_others}:
            for _ in range(10):
                sys.stdout.write("y\\n" * 2**18)
            time.sleep(0.01)  # so that the disk is not filled
            assert time.monotonic() < until, "the others do not come"
        pathlib.Path(f"done-{{x}}").touch()
        print("METRIC loss=2")
        """,
    )

    result = project.run("--keep-going")
    rows = project.rows()

    assert result.returncode == 0, result.stdout[-2000:]
    assert sorted(rows.x) == list(range(n_others + 1))
    assert set(rows.loss) == {2.0}
    assert list(rows.x)[-1] == 0  # the others have their rows before it has ended


TERMINALS = {
    "a bar of tqdm, then a metric": (b" 50%|#####     | 5/10 [00:01<00:01,  4.90it/s]\rMETRIC loss=2\n", 2.0),
    "a metric within a bar": (
        " 50%|█████     | 5/10 [00:01<00:01]METRIC loss=2\r100%|██████████| 10/10\n".encode(),
        2.0,
    ),
    "colours": (b"\x1b[1m\x1b[32mMETRIC\x1b[0m \x1b[3mloss=2\x1b[0m\x1b[K\n", 2.0),
    "a moving cursor": (b"\x1b[2K\x1b[1A\rMETRIC loss=2\x1b[?25h\r\n", 2.0),
    "no last line end": (b"METRIC loss=1\nMETRIC loss=2", 2.0),
    "line ends of all kinds": (b"METRIC loss=1\r\nMETRIC loss=3\rMETRIC loss=2\n\r", 2.0),
    "bytes that are no text": (b"\xff\xfe\x00METRIC\n\xed\xa0\x80 METRIC loss=2\n\xf0\x9f\n", 2.0),
    "a nan at last": (b"METRIC loss=2\nMETRIC other=nan\n", 2.0),
}


@pytest.mark.parametrize("what", TERMINALS)
def test_a_metric_among_what_terminals_get_is_in_the_row(project: Project, what: str) -> None:
    output, loss = TERMINALS[what]
    project.write("sweep.yaml", SWEEP)
    project.write("run.py", f"import sys; sys.stdout.buffer.write({output!r})")

    result = project.run()
    (row,) = project.rows().to_dict("records")

    assert result.returncode == 0, result.stderr
    assert (row["state"], row["loss"]) == ("finished", loss)
    assert (next(project.sweep_dir.glob("runs/*/stdout.log"))).read_bytes() == output


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_pattern_finds_its_numbers_among_bars_and_garbage(project: Project, stream: str) -> None:
    project.write("sweep.yaml", SWEEP + "    metrics: {loss: 'loss is (\\S+)', acc: 'acc: ([0-9.,]+)%'}\n")
    project.write(
        "run.py",
        f"""
        import sys
        out = sys.{stream}.buffer
        for i in range(10_000):
            out.write(b"\\r %d%%|## | \\xff \\x1b[32mloss is\\x1b[0m %d\\x1b[K" % (i // 100, i))
        out.write(b"\\nloss is 0x1\\nacc: 1,234.5%\\n" + b"x" * 2**20 + b" loss is 5\\n")
        """,
    )

    result = project.run()
    (row,) = project.rows().to_dict("records")

    assert result.returncode == 0, result.stderr
    assert (row["state"], row["loss"], row["acc"]) == ("finished", 9999.0, 1234.5)
    assert "1 METRIC lines not understood" in row["reason"]


# what a run does to its own folder

BEFORE = """
import os, pathlib, shutil, sys
x = int(sys.argv[1].partition("=")[2])
folder = pathlib.Path(os.environ["SWEEPLINE_RUN_DIR"])
outside = pathlib.Path("outside").resolve()
out, err = folder / "stdout.log", folder / "stderr.log"
print("METRIC loss=1", flush=True)
if x == 1:
"""
DEEDS = {
    "deletes its output": "out.unlink(); err.unlink()",
    "empties its output": "os.truncate(out, 0)",
    "replaces its output by an empty file": "out.unlink(); out.touch()",
    "replaces its output by a folder": "out.unlink(); out.mkdir(); err.unlink(); err.mkdir()",
    "replaces its output by a pipe": "out.unlink(); os.mkfifo(out)",
    "replaces its errors by a pipe and fails": "err.unlink(); os.mkfifo(err); sys.exit(3)",
    "replaces its errors by a folder and fails": "err.unlink(); err.mkdir(); sys.exit(3)",
    "replaces its output by a link to nothing": "out.unlink(); out.symlink_to('/nonexistent/x')",
    "replaces its output by a link to itself": "out.unlink(); out.symlink_to(out)",
    "replaces its output by a link to a device": "out.unlink(); out.symlink_to('/dev/zero')",
    "replaces its output by a link to a file": "out.unlink(); out.symlink_to(outside / 'precious')",
    "makes its output unreadable": "out.chmod(0); err.chmod(0); sys.exit(3)",
    "makes its folder unreadable": "folder.chmod(0)",
    "makes its folder unreadable and fails": "folder.chmod(0); sys.exit(3)",
    "makes its folder unwritable": "folder.chmod(0o500)",
    "deletes its folder": "shutil.rmtree(folder)",
    "renames its folder": "folder.rename(outside / 'moved')",
    "replaces its folder by a link": "shutil.rmtree(folder); folder.symlink_to(outside)",
    "replaces its folder by a file": "shutil.rmtree(folder); folder.write_text('x')",
    "deletes everything in its folder": "[path.unlink() for path in folder.iterdir()]",
    "plants metrics.csv as a link to nothing": "(folder / 'metrics.csv').symlink_to('/nonexistent/x')",
    "plants metrics.csv as a folder": "(folder / 'metrics.csv').mkdir()",
    "plants metrics.csv.tmp as a pipe": "os.mkfifo(folder / 'metrics.csv.tmp')",
    "plants metrics.csv.tmp as a folder": "(folder / 'metrics.csv.tmp').mkdir()",
    "plants metrics.csv.tmp as a link to a file": "(folder / 'metrics.csv.tmp').symlink_to(outside / 'precious')",
    "writes garbage into metrics.csv": "(folder / 'metrics.csv').write_bytes(os.urandom(2**20))",
    "writes garbage into exit.json": "(folder / 'exit.json').write_bytes(os.urandom(2**20))",
    "plants exit.json as a folder": "(folder / 'exit.json').mkdir()",
    "plants exit.json as a link": "(folder / 'exit.json').symlink_to(outside / 'precious')",
    "removes the room of its end": "(folder / '.exit.json').unlink()",
    "replaces the room of its end by a link": (
        "(folder / '.exit.json').unlink(); (folder / '.exit.json').symlink_to(outside / 'precious')"
    ),
    "replaces the room of its end by a pipe": "(folder / '.exit.json').unlink(); os.mkfifo(folder / '.exit.json')",
    "plants a folder of W&B that is garbage": (
        "(folder / 'wandb/run-1').mkdir(parents=True); (folder / 'wandb/run-1/run-1.wandb').write_bytes(b'x' * 99);"
        " os.truncate(out, 0)"
    ),
    "plants a folder of W&B that is a pipe": (
        "(folder / 'wandb/run-1').mkdir(parents=True); os.mkfifo(folder / 'wandb/run-1/run-1.wandb');"
        " os.truncate(out, 0)"
    ),
    "plants a file where W&B's folder is": "(folder / 'wandb').write_text('x'); os.truncate(out, 0)",
}
NO_PRIVILEGES = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]


def run_in_reach(project: Project) -> subprocess.CompletedProcess[str]:
    """Run a sweep as somebody whom permissions hold back; fail when it hangs."""
    prefix = NO_PRIVILEGES if os.geteuid() == 0 else []
    process = subprocess.Popen(
        [*prefix, sys.executable, "-m", "sweepline.cli.main", "run", "--keep-going"],
        cwd=project.path,
        env=project.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        out, err = process.communicate(timeout=HANG_S)
    except subprocess.TimeoutExpired:
        for pid in project.survivors():
            os.kill(pid, signal.SIGKILL)
        process.communicate()
        pytest.fail("the sweep hangs")
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def mend(project: Project) -> None:
    """Let pytest remove what a run has made unreadable."""
    for path in [project.sweep_dir / "runs", *(project.sweep_dir / "runs").iterdir()]:
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o700)


def check_rows(project: Project, result: subprocess.CompletedProcess[str]) -> None:
    """Check that every run has its row, and that nothing else has suffered."""
    mend(project)
    rows = project.rows().set_index("x")
    assert "Traceback" not in result.stdout + result.stderr, result.stderr[-3000:]
    assert result.returncode in (0, 1), result.stderr[-3000:]
    assert sorted(rows.index) == [0, 1, 2]
    assert [rows.state[0], rows.state[2]] == ["finished", "finished"]
    assert [rows.loss[0], rows.loss[2]] == [1.0, 1.0]
    assert (project.path / "outside" / "precious").read_text() == "METRIC loss=7\n"
    assert project.survivors() == []


@pytest.mark.parametrize("deed", DEEDS)
def test_a_run_that_harms_its_own_folder_gets_a_row_and_harms_nobody_else(project: Project, deed: str) -> None:
    project.write("sweep.yaml", SWEEP.replace("[0]", "[0, 1, 2]").replace("max_concurrent: 2", "max_concurrent: 1"))
    project.write("outside/precious", "METRIC loss=7\n")
    project.write("run.py", f"{BEFORE}    {DEEDS[deed]}\n")

    result = run_in_reach(project)

    check_rows(project, result)
    assert {path.name for path in (project.path / "outside").iterdir()} <= {"precious", "moved"}


CONFIGS = {
    "malformed": "config.write_text('{[: x')",
    "not UTF-8": "config.write_bytes(b'\\xff\\xfe')",
    "empty": "config.write_text('')",
    "a list": "config.write_text('[1, 2]')",
    "huge": "config.touch(); os.truncate(config, 2**30)",
    "dense": "config.write_text('a: [' + 'x,' * 500_000 + ']')",
    "deep": "config.write_text('[' * 200_000)",
    "a bomb": (
        "config.write_text('a0: &a0 [x, x]\\n' + ''.join(f'a{i}: &a{i} [*a{i-1}, *a{i-1}]\\n' for i in range(1, 80)))"
    ),
    "a tag": "config.write_text('x: !!python/object/apply:os.system [touch hacked]')",
    "a folder": "config.mkdir()",
    "a pipe": "os.mkfifo(config)",
    "a device": "config.symlink_to('/dev/zero')",
    "missing": "pass",
    "unreadable": "config.write_text('x: 1'); config.chmod(0)",
}


@pytest.mark.parametrize("what", CONFIGS)
def test_a_run_whose_effective_config_is_no_proof_fails_with_a_sentence(project: Project, what: str) -> None:
    project.write(
        "sweep.yaml",
        SWEEP.replace("run.py", "train_single.py")
        .replace("[0]", "[0, 1, 2]")
        .replace("max_concurrent: 2", "max_concurrent: 1"),
    )
    project.write("outside/precious", "METRIC loss=7\n")
    project.write(
        "train_single.py",
        f"""
        import os, pathlib, sys
        x = [word for word in sys.argv if word.startswith("x=")][0].removeprefix("x=")
        folder = pathlib.Path(os.environ["SWEEPLINE_RUN_DIR"])
        config = folder / "config.yaml"
        print("METRIC loss=1", flush=True)
        if x == "1":
            {CONFIGS[what]}
            (folder / "config.sha256").write_text("x")
        """,
    )

    result = run_in_reach(project)

    check_rows(project, result)
    row = project.rows().set_index("x").loc[1]
    assert row.state == "failed"
    assert row.reason.startswith("override not applied")
    assert len(row.reason) < 1000
    assert list(project.path.rglob("hacked")) == []


@pytest.mark.parametrize("code", ["", "[]", "{}", '{"attempt": 1}', "x" * 1000, '{"attempt": "1", "exit_code": "0"}'])
def test_a_forged_end_of_a_run_that_the_sweep_did_not_see_is_not_believed(project: Project, code: str) -> None:
    project.write("sweep.yaml", SWEEP)
    project.write("run.py", "print('METRIC loss=1')")
    project.run()
    journal = project.sweep_dir / "events.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    started = next(i for i, line in enumerate(lines) if json.loads(line)["ev"] == "run_start")
    journal.write_text("".join(lines[: started + 1]))
    next((project.sweep_dir / "runs").glob("*/exit.json")).write_text(code)

    result = project.run()

    assert "Traceback" not in result.stderr
    assert result.returncode == 0, result.stderr
    assert list(project.rows().attempt) == [2]


def test_a_run_that_deletes_the_table_and_the_locks_is_told_of_and_nothing_is_lost(project: Project) -> None:
    project.write("sweep.yaml", SWEEP.replace("[0]", "[0, 1, 2]").replace("max_concurrent: 2", "max_concurrent: 1"))
    project.write("outside/precious", "METRIC loss=7\n")
    after_a_row = (
        "while (folder.parents[1] / 'runs.csv').read_text().count(chr(10)) < 2: pass"  # else nobody could tell
    )
    deed = "[(folder.parents[1] / n).unlink() for n in ('runs.csv', 'plan.json')]"
    project.write("run.py", f"{BEFORE}    {after_a_row}\n    {deed}\n")

    result = run_in_reach(project)

    check_rows(project, result)
    assert "removed while the sweep runs; rebuilt" in result.stdout
