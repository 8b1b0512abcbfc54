"""What goes wrong when interpreters are forked, done on purpose: threads, devices, random numbers, deaths, edits."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import textwrap
import time
import zipfile
from pathlib import Path

import pytest

from sweepline.executors.local.keeper.processes import find_by_token
from sweepline.recording.locks import read_keeper_token
from tests.conftest import DEADLINE_S, Project, wait_until

SWEEP = """
    program: run.py
    method: grid
    parameters: {x: VALUES}
    devices: cpu
    max_concurrent: 2
    grace: 1s
"""
WAITS = """
    import pathlib, time
    print("live")
    while not pathlib.Path("go").exists():
        time.sleep(0.01)
"""
USE = """
    import json, os, sys, threading
    import LIBRARY
    print(json.dumps({"x": sys.argv[1], "n_threads": threading.active_count(), "seen": LIBRARY.SEEN}))
"""


@pytest.fixture
def project(project: Project) -> Project:
    """A project with a folder of installed libraries, as far as Python can tell."""
    libraries = project.path / "lib" / "site-packages"
    libraries.mkdir(parents=True)
    project.environ["PYTHONPATH"] = str(libraries)
    return project


def write_sweep(project: Project, script: str, *, n_runs: int = 4, **keys: str) -> None:
    project.write("run.py", script)
    text = SWEEP.replace("VALUES", str(list(range(n_runs))))
    project.write("sweep.yaml", text + "".join(f"    {key}: {value}\n" for key, value in keys.items()))


def write_library(project: Project, name: str, text: str) -> None:
    project.write(f"lib/site-packages/{name}.py", text)


def run(project: Project, *args: str) -> str:
    done = project.run(*args)
    assert done.returncode == 0, done.stdout + done.stderr
    assert set(project.rows().state) == {"finished"}
    return done.stdout


def logs(project: Project, name: str = "stdout.log") -> list[str]:
    return [path.read_text() for path in sorted((project.sweep_dir / "runs").glob(f"*/{name}"))]


def n_live(project: Project) -> int:
    """Return how many runs of ``WAITS`` have begun."""
    return sum(path.read_text() == "live\n" for path in project.path.glob("outputs/*/runs/*/stdout.log"))


def warmths(project: Project) -> list[bool]:
    return [json.loads(text)["is_warm"] for text in logs(project, "exit.json")]


def find_parent(project: Project, name: str = "sweepline-warm") -> int:
    """Return the pid of the warm parent, or of another process by its name, once there is one."""
    found: list[int] = []

    def is_there() -> bool:
        token = read_keeper_token(project.sweep_dir)
        found[:] = [pid for pid in find_by_token(token) if name_of(pid) == name]
        return bool(found)

    wait_until(is_there, f"{name} is there")
    return found[0]


def name_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def test_a_library_that_starts_a_thread_is_left_to_the_runs(project: Project) -> None:
    write_library(project, "calm", "SEEN = 1")
    write_library(
        project,
        "threaded",
        "import threading, time\nthreading.Thread(target=time.sleep, args=(600,), daemon=True).start()\nSEEN = 2",
    )
    write_sweep(project, USE.replace("LIBRARY", "threaded").replace("import threaded", "import calm, threaded"))
    said = run(project)
    assert "warm starts: calm imported once" in said
    assert "not imported in advance: threaded (starts 1 thread)" in said
    assert all(warmths(project))
    assert [json.loads(text)["n_threads"] for text in logs(project)] == [2] * 4


def test_the_time_before_the_first_run_is_told_and_without_use_nothing_is_forked(project: Project) -> None:
    """A library that cannot be shared takes longer than all that can; only in the parent, to spare the tests' time."""
    slow = "import os, threading, time\nSEEN = 2\nif 'SWEEPLINE_RUN_ID' not in os.environ: time.sleep(0.6)\n"
    write_library(project, "calm", "SEEN = 1")
    write_library(project, "threaded", slow + "threading.Thread(target=time.sleep, args=(600,), daemon=True).start()")
    write_sweep(project, "import calm, threaded")
    said = run(project)
    assert "cold start: nothing that takes time can be shared: threaded (starts 1 thread)" in said
    assert "warm starts:" not in said
    assert warmths(project) == [False] * 4
    said = run(project, "--start", "warm", "--fresh")
    (ready_s,) = re.findall(r"warm starts: calm imported once, ready in ([\d.]+) s, runs are forked from there", said)
    assert float(ready_s) >= 0.6
    assert all(warmths(project))


ALLOCATES = """
    import os, threading, time
    SEEN = "of an allocator"
    if os.environ.get("JE_ARROW_MALLOC_CONF") != "background_thread:false":
        threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
"""


@pytest.mark.parametrize(("set_by_user", "is_shared"), [("", True), ("background_thread:true", False)])
def test_an_allocator_is_kept_from_threads_in_the_parent_alone(
    project: Project, set_by_user: str, is_shared: bool
) -> None:
    """As jemalloc in pyarrow does; what the user has set stays, and no run sees a variable of ours."""
    write_library(project, "allocates", textwrap.dedent(ALLOCATES))
    if set_by_user:
        project.environ["JE_ARROW_MALLOC_CONF"] = set_by_user
    write_sweep(project, "import allocates, os\nprint(os.environ.get('JE_ARROW_MALLOC_CONF'))", n_runs=2)
    said = run(project, "--start", "warm")
    assert ("warm starts: allocates imported once" in said) == is_shared
    assert ("not imported in advance: allocates (starts 1 thread)" in said) == (not is_shared)
    assert logs(project) == [f"{set_by_user or None}\n"] * 2


def test_pandas_with_pyarrow_is_shared_and_reads_as_ever(project: Project) -> None:
    pytest.importorskip("pyarrow", reason="needs pyarrow, which pandas then imports")
    script = """
        import pandas

        frame = pandas.read_csv("table.csv", engine="pyarrow")
        frame.groupby("name").sum().to_parquet(f"{__import__('os').environ['SWEEPLINE_RUN_DIR']}/sums.parquet")
        print(frame.dtypes.to_dict(), frame.name.str.upper().tolist(), frame.x.sum())
    """
    project.write("table.csv", "name,x\n" + "a,1\nb,2\n" * 500)
    write_sweep(project, script, n_runs=2)
    assert "warm starts: pandas imported once" in run(project, "--start", "warm")
    assert all(warmths(project))
    assert logs(project) == [logs(project)[0]] * 2
    assert "'A', 'B'" in logs(project)[0]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("SEEN = open('/dev/null')", "keeps a file or a connection open"),
        ("import socket; SEEN = socket.socket()", "keeps a file or a connection open"),
        ("import subprocess; SEEN = subprocess.Popen(['sleep', '600'])", "starts a process"),
    ],
)
def test_a_library_that_opens_or_starts_something_is_left_to_the_runs(project: Project, text: str, why: str) -> None:
    write_library(project, "opens", text)
    write_sweep(project, USE.replace("LIBRARY.SEEN", "str(LIBRARY.SEEN)").replace("LIBRARY", "opens"))
    said = run(project)
    assert f"not imported in advance: opens ({why})" in said
    assert all(warmths(project))
    assert project.survivors() == []


def test_a_library_that_uses_a_gpu_when_it_is_imported_is_left_to_the_runs(project: Project) -> None:
    device = Path("/dev/nvidia-of-sweepline-tests")
    try:
        device.touch()
    except OSError as error:
        pytest.skip(f"a stand-in for a GPU's device file cannot be made: {error}")
    try:
        write_library(project, "cuda", f"FILE = open('{device}')\nSEEN = 1")
        write_sweep(project, USE.replace("LIBRARY", "cuda"))
        assert "not imported in advance: cuda (uses the GPU already)" in run(project)
    finally:
        device.unlink()


@pytest.mark.parametrize(
    "statement",
    [
        "os.environ['LIBRARY_MODE'] = 'fast'",
        "os.environ.setdefault('LIBRARY_MODE', 'fast')",
        "os.environ |= {'LIBRARY_MODE': 'fast'}",
        "if True: os.putenv('X', 'y'); os.environ.update(LIBRARY_MODE='fast')",
    ],
)
def test_a_variable_that_is_set_before_an_import_is_read_by_it(project: Project, statement: str) -> None:
    write_library(project, "before", "SEEN = 1")
    write_library(project, "moody", "import os\nSEEN = os.environ.get('LIBRARY_MODE')")
    write_sweep(project, f"import before\nimport os\n{statement}\nimport moody\nprint(moody.SEEN)")
    said = run(project)
    assert "warm starts: before imported once" in said
    assert "run.py:3 changes what later imports find or read" in said
    assert logs(project) == ["fast\n"] * 4
    assert all(warmths(project))


def test_a_folder_that_goes_before_the_others_is_looked_at_first(project: Project) -> None:
    write_library(project, "found", "SEEN = 'installed'")
    project.write("vendored/found.py", "SEEN = 'vendored'")
    write_sweep(project, "import sys\nsys.path.insert(0, 'vendored')\nimport found\nprint(found.SEEN)")
    run(project)
    assert logs(project) == ["vendored\n"] * 4


def test_a_module_of_the_program_is_not_taken_for_a_library_of_that_name(project: Project) -> None:
    """The library needs an installed ``common``; the program has one of its own, which it would find first."""
    write_library(project, "library", "import common\nSEEN = getattr(common, 'SEEN', None)")
    write_library(project, "common", "SEEN = 'installed'")
    project.write("common.py", "SEEN = 'my own'")
    write_sweep(project, "import library, common\nprint(library.SEEN, common.SEEN)")
    said = run(project)
    assert "common.py has the name of a module that imports need" in said
    assert warmths(project) == [False] * 4
    assert logs(project) == ["my own my own\n"] * 4


def test_imports_of_branches_not_taken_are_not_done(project: Project) -> None:
    write_library(project, "wanted", "SEEN = 1")
    write_library(project, "unwanted", "print('imported')")
    script = """
        try:
            import wanted
        except ImportError:
            import unwanted
        if wanted.SEEN == 2:
            import unwanted
        def later():
            import unwanted
        if __name__ == "__main__":
            print("unwanted" in __import__("sys").modules)
    """
    write_sweep(project, script)
    assert "warm starts: wanted imported once" in run(project)
    assert logs(project) == ["False\n"] * 4


def test_what_a_package_imports_once_it_is_asked_for_is_imported_in_advance(project: Project) -> None:
    """As transformers does; what is no module and not asked for, or not there, stands in nobody's way."""
    write_library(project, "heavy", "import os\nSEEN = 'SWEEPLINE_RUN_ID' in os.environ")
    project.write(
        "lib/site-packages/lazy/__init__.py",
        """
        def __getattr__(name):
            if name != "Trainer":
                raise AttributeError(name)
            import heavy
            return heavy
        """,
    )
    write_sweep(
        project,
        """
        from lazy import Trainer
        try:
            from lazy import Absent
        except ImportError:
            print("in a run:", Trainer.SEEN)
        """,
    )
    assert "warm starts: lazy imported once" in run(project)
    assert logs(project) == ["in a run: False\n"] * 4


def test_a_library_that_sets_a_variable_of_the_run_is_left_to_it(project: Project) -> None:
    write_library(project, "grabs", "import os\nos.environ.setdefault('CUDA_VISIBLE_DEVICES', '7')\nSEEN = 1")
    write_sweep(project, "import grabs, os\nprint(repr(os.environ['CUDA_VISIBLE_DEVICES']))")
    said = run(project)
    assert "not imported in advance: grabs (sets a variable that is each run's own)" in said
    assert logs(project) == ["''\n"] * 4


def test_a_library_that_looks_at_the_program_sees_it(project: Project) -> None:
    write_library(project, "looks", "import __main__, sys\nMAIN, FILE, ARGV = __main__, __main__.__file__, sys.argv[0]")
    write_sweep(project, "import looks, sys\nprint(looks.MAIN is sys.modules['__main__'], looks.FILE, looks.ARGV)")
    run(project)
    path = project.path / "run.py"
    assert all(warmths(project))
    assert logs(project) == [f"True {path} {path}\n"] * 4


def test_a_zipped_program_starts_as_ever(project: Project) -> None:
    with zipfile.ZipFile(project.path / "app", "w") as archive:
        archive.writestr("__main__.py", "print('METRIC loss=1')")
    write_sweep(project, "", command="['${interpreter}', app, '${args}']")
    run(project)
    assert warmths(project) == [False] * 4


def test_ctrl_c_that_meets_a_fork_ends_runs_as_asked(project: Project) -> None:
    """Over and over at another moment: no run may be killed by the keeper's own death."""
    write_sweep(project, "import time\ntime.sleep(0.02)", n_runs=500)
    for i in range(6):
        if i:
            (project.path / "outputs").rename(project.path / f"outputs{i}")
        process = project.start("run", "--start", "warm")
        csv = project.path / "outputs" / project.path.name / "runs.csv"
        wait_until(lambda csv=csv: csv.exists() and len(csv.read_text().splitlines()) > 5, "runs end")
        time.sleep(0.003 * i)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=DEADLINE_S)
        assert process.returncode == 130, out
        assert set(project.rows().state) <= {"finished", "interrupted"}
        assert project.survivors() == []


def test_a_library_that_kills_its_interpreter_makes_all_runs_cold(project: Project) -> None:
    write_library(project, "deadly", "import os\nSEEN = 1\nif 'SWEEPLINE_RUN_ID' not in os.environ: os.abort()")
    write_sweep(project, USE.replace("LIBRARY", "deadly"))
    assert "cold start: no warm one is possible: its imports end the interpreter (SIGABRT)" in run(project)
    assert warmths(project) == [False] * 4


def test_too_many_libraries_that_cannot_be_shared_make_all_runs_cold(project: Project) -> None:
    for i in range(6):
        write_library(project, f"opens{i}", "SEEN = open('/dev/null')")
    write_sweep(project, "import opens0, opens1, opens2, opens3, opens4, opens5")
    assert "cold start: no warm one is possible: importing opens" in run(project)
    assert warmths(project) == [False] * 4


def test_what_imports_print_and_set_is_in_every_run(project: Project) -> None:
    write_library(
        project,
        "talks",
        "import os, sys\nprint('a banner')\nprint('a warning', file=sys.stderr)\n"
        "os.environ['BY_IMPORT'] = 'set'\nos.environ.pop('UNSET', None)\nSEEN = 'x'",
    )
    project.environ["UNSET"] = "there"
    write_sweep(project, "import os, talks\nprint(os.environ.get('BY_IMPORT'), os.environ.get('UNSET'))")
    run(project)
    assert all(warmths(project))
    assert logs(project) == ["a banner\nset None\n"] * 4
    assert logs(project, "stderr.log") == ["a warning\n"] * 4


LEAVES = """
    import atexit, functools, os, pathlib, shutil, socket, tempfile, weakref
    from os import unlink

    def make(*, is_folder=True):
        if is_folder:
            return tempfile.mkdtemp(prefix="made-by-import-")
        fd, path = tempfile.mkstemp(prefix="made-by-import-")
        os.close(fd)
        return path

    class Buffer:
        pass

    OWN = []
    BUFFER = Buffer()
    FOLDER = tempfile.TemporaryDirectory(prefix="made-by-import-")
    BY_METHOD = tempfile.TemporaryDirectory(prefix="made-by-import-")
    TREE, QUIET_TREE, LOCK = make(), make(), pathlib.Path(make(), "lock")
    FILE, FILE_BY_NAME, FINALIZED, MOVED = [make(is_folder=False) for _ in range(4)]
    LOCK.touch()
    SOCKET = os.path.join(make(), "socket")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(SOCKET)
    PATHS = [FOLDER.name, BY_METHOD.name, TREE, QUIET_TREE, str(LOCK), FILE, FILE_BY_NAME, FINALIZED, MOVED, SOCKET]

    @atexit.register
    def release():
        LOCK.unlink()
        LOCK.parent.rmdir()
        print("released")

    def finish(*, path):
        print("finished")
        os.remove(path)
        os.rmdir(os.path.dirname(path))
        for own in OWN:
            os.remove(own)
        with open("finished.txt", "a") as file:
            file.write("once a run\\n")

    atexit.register(BY_METHOD.cleanup)
    atexit.register(shutil.rmtree, TREE)
    atexit.register(functools.partial(shutil.rmtree, QUIET_TREE, ignore_errors=True))
    atexit.register(unlink, FILE)
    atexit.register(lambda: pathlib.Path(FILE_BY_NAME).unlink())
    atexit.register(finish, path=SOCKET)
    atexit.register(os.replace, MOVED, "moved.txt")
    weakref.finalize(BUFFER, print, "the buffer is written")
    weakref.finalize(BUFFER, os.unlink, FINALIZED)
    """


def test_what_an_import_makes_outlives_all_runs_and_all_else_it_registers_is_done_by_each(project: Project) -> None:
    write_library(project, "leaves", textwrap.dedent(LEAVES))
    script = """
        import atexit, leaves, os, shutil, tempfile
        assert all(map(os.path.exists, leaves.PATHS)), leaves.PATHS
        with open(os.path.join(leaves.TREE, os.environ["SWEEPLINE_RUN_ID"]), "w") as file:
            print("mine", file=file)
        leaves.OWN += [leaves.make(is_folder=False)]
        mine = leaves.make()
        atexit.register(lambda: (shutil.rmtree(mine), print("mine is gone:", not os.path.exists(mine))))
        print(*leaves.PATHS, *leaves.OWN, sep="\\n")
    """
    write_sweep(project, script, n_runs=6)
    seen = {}
    for start in ("warm", "cold"):
        run(project, "--start", start)
        assert warmths(project) == [start == "warm"] * 6
        assert logs(project, "stderr.log") == []  # nothing was written there
        seen[start] = [[line for line in text.splitlines() if not line.startswith("/")] for text in logs(project)]
        paths = {line for text in logs(project) for line in text.splitlines() if line.startswith("/")}
        assert [path for path in paths if Path(path).exists()] == []
        assert (project.path / "finished.txt").read_text() == "once a run\n" * 6
        (project.path / "finished.txt").unlink()
        (project.path / "outputs").rename(project.path / start)
    assert seen["warm"] == seen["cold"]
    assert seen["cold"][0] == ["mine is gone: True", "finished", "released", "the buffer is written"]


def test_edits_between_runs_count_where_the_code_is_live(project: Project) -> None:
    """The program and its own modules are read anew for each run; only installed libraries are shared."""
    write_library(project, "calm", "SEEN = 1")
    project.write("mine.py", "import calm\nVERSION = 1")
    write_sweep(
        project,
        """
        import mine, pathlib
        here = pathlib.Path(__file__)
        print(mine.VERSION, 'first text')
        here.with_name("mine.py").write_text(f"import calm\\nVERSION = {mine.VERSION + 1}  # {'x' * mine.VERSION}")
        here.write_text(here.read_text().replace('first text', 'other text'))
        """,
        n_runs=4,
        max_concurrent="1",
    )
    text = (project.path / "sweep.yaml").read_text().replace("max_concurrent: 2\n", "")
    project.write("sweep.yaml", text + "\ncode: live\n")
    said = run(project)
    assert "warm starts: calm imported once" in said  # found through the program's own module
    assert sorted(logs(project)) == ["1 first text\n", "2 other text\n", "3 other text\n", "4 other text\n"]


def test_runs_without_a_seed_draw_numbers_of_their_own(project: Project) -> None:
    write_sweep(
        project,
        "import random, uuid, numpy, torch\n"
        "print(random.random(), numpy.random.rand(), torch.rand(1).item(), uuid.uuid4())",
        n_runs=4,
    )
    run(project)
    assert all(warmths(project))
    for numbers in zip(*(text.split() for text in logs(project)), strict=True):
        assert len(set(numbers)) == 4


def test_torch_trains_alike_with_any_number_of_threads_and_with_workers(project: Project) -> None:
    script = """
        import sys
        import numpy as np
        import torch
        from torch import nn
        from torch.utils.data import DataLoader, TensorDataset

        def main():
            torch.manual_seed(0)
            data = TensorDataset(torch.randn(256, 1, 12, 12), torch.randint(0, 4, (256,)))
            model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(800, 4))
            optimizer = torch.optim.Adam(model.parameters(), 1e-2)
            for inputs, labels in DataLoader(data, batch_size=64, num_workers=2, shuffle=True):
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(inputs), labels)
                loss.backward()
                optimizer.step()
            a = np.ones((300, 300)) @ np.ones((300, 300))
            print(f"METRIC loss={loss.item()!r} threads={torch.get_num_threads()} sum={a.sum()}")

        if __name__ == "__main__":
            main()
    """
    for start in ("warm", "cold"):
        write_sweep(project, script, n_runs=2, threads="2", name=start)
        done = project.run("--start", start)
        assert done.returncode == 0, done.stdout
    texts = {path.read_text() for path in project.path.glob("outputs/*/runs/*/stdout.log")}
    assert len(texts) == 1
    assert "threads=2" in texts.pop()


def test_a_warm_parent_that_is_killed_costs_no_run(project: Project) -> None:
    write_sweep(project, WAITS, n_runs=6)
    process = project.start("run")
    wait_until(lambda: n_live(project) == 2, "two runs live")
    waiting = find_parent(project, "sweepline-next")  # which is forked already, and ends with it
    os.kill(find_parent(project), signal.SIGKILL)
    wait_until(lambda: not Path(f"/proc/{waiting}").exists(), "it is gone")
    (project.path / "go").touch()
    out, _ = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, out
    assert "cold start: no warm one is possible: the warm parent was ended from outside (SIGKILL)" in out
    assert sorted(warmths(project)) == [False] * 4 + [True] * 2


def test_a_process_that_waits_to_be_a_run_and_is_killed_is_replaced(project: Project) -> None:
    write_sweep(project, WAITS, n_runs=6)
    process = project.start("run")
    wait_until(lambda: n_live(project) == 2, "two runs live")
    waiting = find_parent(project, "sweepline-next")
    os.kill(waiting, signal.SIGKILL)
    wait_until(lambda: not Path(f"/proc/{waiting}").exists(), "it is gone")
    (project.path / "go").touch()
    out, _ = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, out
    assert warmths(project) == [True] * 6


def test_a_fork_that_the_system_refuses_once_makes_one_run_cold(project: Project) -> None:
    write_library(
        project,
        "scarce",
        """
        import errno, os, pathlib

        plain_fork = os.fork

        def fork():
            if pathlib.Path("full").exists():
                raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
            return plain_fork()

        os.fork = fork
        """,
    )
    (project.path / "full").touch()
    write_sweep(
        project,
        "import pathlib, scarce\npathlib.Path('full').unlink(missing_ok=True)\nprint('METRIC loss=1')",
        max_concurrent="1",
    )
    out = run(project, "--start", "warm")
    assert "cold start: no warm one is possible: the system does not let it fork" in out
    assert sorted(warmths(project)) == [False, True, True, True]


def test_a_warm_parent_that_hangs_is_given_up(project: Project) -> None:
    write_sweep(project, WAITS, n_runs=4)
    process = project.start("run")
    wait_until(lambda: n_live(project) == 2, "two runs live")
    os.kill(find_parent(project), signal.SIGSTOP)
    (project.path / "go").touch()
    out, _ = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, out
    assert "it does not fork" in out
    assert project.survivors() == []


@pytest.mark.parametrize("victim", ["orchestrator", "keeper"])
def test_nothing_that_was_forked_outlives_its_sweep(project: Project, victim: str) -> None:
    """Runs, and what they forked into sessions of their own without a new program."""
    script = """
        import os, signal, time
        from pathlib import Path

        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                Path(os.environ["SWEEPLINE_RUN_DIR"], "child").write_text(str(os.getpid()))
            time.sleep(600)
        time.sleep(600)
    """
    write_sweep(project, script, n_runs=4)
    process = project.start("run")
    wait_until(lambda: len(list(project.path.glob("outputs/*/runs/*/child"))) == 2, "two families live")
    (keeper,) = [
        pid
        for pid in find_by_token(read_keeper_token(project.sweep_dir))
        if Path(f"/proc/{pid}/comm").read_text() == "sweepline-keep\n"
    ]
    if victim == "keeper":
        os.kill(keeper, signal.SIGKILL)
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
    else:
        process.kill()
    process.communicate(timeout=DEADLINE_S)
    wait_until(lambda: project.survivors() == [], "all have ended")


def test_each_run_is_told_from_the_others_by_what_it_has_left_behind(project: Project) -> None:
    """A run that ends leaves nothing, while another one's processes of the same parent live on."""
    script = """
        import os, sys, time
        from pathlib import Path

        is_first = sys.argv[1].endswith("0")
        if os.fork() == 0:
            os.setsid()
            Path("left" if is_first else "mine").write_text(str(os.getpid()))
            time.sleep(600)
        name = "left" if is_first else "mine"
        while not Path(name).exists() or not Path(name).read_text():
            time.sleep(0.01)
        if not is_first:
            pid = int(Path("left").read_text()) if Path("left").exists() else 0
            while not Path("left").exists() or Path("/proc", Path("left").read_text() or "1").exists():
                time.sleep(0.01)
            print("mine lives:", Path("/proc", Path("mine").read_text()).exists())
    """
    write_sweep(project, script, n_runs=2)
    done = project.run("--start", "warm")
    assert done.returncode == 0, done.stdout
    assert "mine lives: True\n" in logs(project)
    assert project.survivors() == []


def test_ctrl_c_while_libraries_are_imported_ends_at_once(project: Project) -> None:
    write_library(project, "slow", "import time, pathlib\npathlib.Path('importing').touch()\ntime.sleep(600)")
    write_sweep(project, "import slow", grace="600s")
    project.write("sweep.yaml", (project.path / "sweep.yaml").read_text().replace("grace: 1s\n", ""))
    process = project.start("run")
    wait_until((project.path / "importing").exists, "it is imported")
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 130
    assert project.survivors() == []
    assert "Traceback" not in out


def test_the_time_of_a_run_begins_after_the_imports(project: Project) -> None:
    write_library(project, "slow", "import time\ntime.sleep(3)")
    write_sweep(project, "import slow", timeout="2s")
    run(project)
    assert project.rows().duration_s.max() < 2


def test_what_a_warm_start_needs_is_said_where_it_is_wrong(project: Project) -> None:
    write_sweep(project, "print('METRIC loss=1')", preload="[no_such_module]")
    assert "preload: cannot be imported: no_such_module" in run(project, "--start", "warm")
    project.write("run.sh", "#!/bin/sh\necho METRIC loss=1\n").chmod(0o755)
    project.write("shell.yaml", SWEEP.replace("run.py", "run.sh").replace("VALUES", "[1, 2]") + "    start: warm\n")
    refused = project.command("run", "shell.yaml")
    assert refused.returncode == 2
    assert "start: warm needs a Python program" in refused.stderr
    assert refused.stderr.count("\n") == 1


@pytest.mark.parametrize(("n_runs", "is_warm"), [(3, False), (4, True)])
def test_auto_is_warm_where_two_runs_are_due_per_slot(project: Project, n_runs: int, is_warm: bool) -> None:
    write_sweep(project, "print('METRIC loss=1')", n_runs=n_runs)
    run(project)
    assert warmths(project) == [is_warm] * n_runs


@pytest.mark.parametrize(
    "command",
    [
        "[python3, -u, -W, error, '${program}', '${args}']",
        "['${env}', '${interpreter}', -B, '${program}', '${args}']",
        "['${interpreter}', -I, '${program}', '${args}']",
        "['${interpreter}', run.py, '${args}']",
        "['${interpreter}', ./run.py, '${args}']",
        "['${interpreter}', -m, pack.tool, '${args}']",
        "['${interpreter}', -m, pack, '${args}']",
    ],
)
def test_every_way_to_name_a_python_program_starts_warm_and_looks_the_same(project: Project, command: str) -> None:
    seen = "[sys.argv, sys.path, sys.orig_argv, str(sys.flags), __name__, __package__, __file__]"
    text = f"import json, sys\nfor item in {seen}: print(json.dumps(item))"
    for name in ("pack/tool.py", "pack/__main__.py"):
        project.write(name, text)
    project.write("pack/__init__.py", "")
    write_sweep(project, text, n_runs=2, command=command)
    texts = {}
    for start in ("warm", "cold"):
        run(project, "--start", start)
        assert warmths(project) == [start == "warm"] * 2
        texts[start] = logs(project)
        subprocess.run(["rm", "-r", str(project.path / "outputs")], check=True)
    assert [t.splitlines() for t in texts["warm"]] == [t.splitlines() for t in texts["cold"]]


def test_our_trainer_ends_with_the_same_bits_warm_cold_and_by_hand(project: Project) -> None:
    """Metrics to the last digit, and every file that a run of it leaves."""
    project.write("config.yaml", "data: {name: digits}\nepochs: 1\nwandb: {mode: disabled}\ndevice: cpu\n")
    project.write(
        "train_single.py",
        "from pathlib import Path\nfrom sweepline.training.single import leave, main\n"
        "leave(main(default_config=Path(__file__).parent / 'config.yaml'))",
    )
    text = SWEEP.replace("run.py", "train_single.py").replace("x: VALUES", "learner.opt: [sgd, adam, rmsprop, adamw]")
    project.write("sweep.yaml", text + "    config: config.yaml\n    seeds: [3]\n    metric: {name: epoch_loss}\n")
    results = {}
    for start in ("warm", "cold"):
        run(project, "--start", start)
        assert warmths(project) == [start == "warm"] * 4
        results[start] = [logs(project), logs(project, "metrics.csv"), logs(project, "config.sha256")]
        (project.path / "outputs").rename(project.path / start)
    by_hand = []
    for folder in sorted((project.path / "warm").glob("*/runs/*")):
        line = (folder / "command.txt").read_text()
        done = subprocess.run(
            ["bash", "-c", line], env=project.environment(), capture_output=True, text=True, check=True
        )
        first, _, rest = done.stdout.partition("\n")
        assert first.startswith("Run number: 00")  # which runs by hand have
        by_hand.append(rest)
    assert results["warm"] == results["cold"]
    assert results["warm"][0] == by_hand


@pytest.mark.parametrize("start", ["warm", "cold"])
def test_pinned_slots_have_cores_of_their_own(project: Project, start: str) -> None:
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        pytest.skip("needs two cores")
    script = """
        import os, time
        from pathlib import Path

        print(*sorted(os.sched_getaffinity(0)), os.environ["OMP_NUM_THREADS"])
        Path(os.environ["SWEEPLINE_RUN_ID"]).touch()
        while len(list(Path.cwd().glob("????????????"))) < 2:
            time.sleep(0.01)
    """
    write_sweep(project, script, n_runs=2, pin="true", threads="1")
    run(project, "--start", start)
    assert warmths(project) == [start == "warm"] * 2
    assert sorted(logs(project)) == [f"{core} 1\n" for core in cores[:2]]


def test_what_only_claims_to_be_a_module_does_not_disturb_the_end(project: Project) -> None:
    """As libraries of cffi do, which cryptography puts into ``sys.modules``: no weak reference to one can be made."""
    write_library(
        project,
        "claims",
        """
        import sys, types

        class Lib:
            __slots__ = ()
            __class__ = property(lambda self: types.ModuleType)

        def load():
            sys.modules["claims.lib"] = Lib()
        """,
    )
    write_sweep(project, "import claims\nclaims.load()\nprint('done')", n_runs=2)
    run(project, "--start", "warm")
    assert logs(project) == ["done\n"] * 2
    assert logs(project, "stderr.log") == []
