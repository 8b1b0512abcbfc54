"""The batch size that fits a program: real processes that really run out of memory, or do something else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sweepline.config.schema import FitsModel
from sweepline.config.sweepfile import load_sweep
from sweepline.engine.batchsize import finder
from sweepline.engine.batchsize.finder import FoundSize, find_batch_size
from sweepline.engine.batchsize.records import take_in_sizes
from sweepline.engine.preparation import prepare_sweep
from sweepline.engine.state import SweepOptions
from sweepline.errors import ConfigError, SweeplineError
from sweepline.fits.memorymodel import predict_largest
from sweepline.fits.search import NothingFitsError, search_by_memory
from tests.conftest import Project

# Takes so many KiB an example, all of them written to, beside what Python needs itself.
PROGRAM = """
import sys, time
size = next(int(word.split("=")[1]) for word in sys.argv if word.startswith("--batch-size="))
print("a banner, version 2.0", flush=True)
held = []
for step in range(1, 50):
    held = []
    held.append(bytearray(b"x") * (size * {kib} * 1024))
    print(f"METRIC step={{step}} loss=1.0", flush=True)
    time.sleep(0.01)
"""


def sweep(tmp_path: Path, source: str, options: str = "{}", more: str = "") -> Any:
    (tmp_path / "train.py").write_text(source)
    text = (
        "program: train.py\nname: s\nmethod: grid\nmetric: {name: loss}\ncode: live\nstart: cold\n"
        f"parameters:\n  batch-size: {{fits: {options}}}\n{more}"
    )
    (tmp_path / "s.yaml").write_text(text)
    return load_sweep(tmp_path / "s.yaml")


def find(tmp_path: Path, source: str, said: list[str] | None = None, **options: Any) -> FoundSize:
    fits = FitsModel.model_validate({"lines": 2, "memory_gib": 0.125, "timeout": 20, **options})
    tell = (said if said is not None else []).append
    return find_batch_size(sweep(tmp_path, source), parameter="batch-size", fits=fits, base={}, tell=tell)


def test_the_largest_size_is_found_from_what_sizes_take_with_hardly_one_that_fails(tmp_path: Path) -> None:
    """128 MiB hold 128 such examples less what Python itself takes, about ten MiB."""
    found = find(tmp_path, PROGRAM.format(kib=1024), first=8)
    sizes = {probe["batch_size"]: probe["status"] for probe in found.probes}
    assert 60 <= found.largest <= 125
    assert found.batch_size == found.largest // 2
    assert sizes[found.largest] == sizes[found.batch_size] == "ok"
    assert list(sizes.values()).count("out of memory") <= 1
    assert [probe["batch_size"] for probe in found.probes if probe["is_confirmation"]] == [found.largest]


def test_it_is_found_once(tmp_path: Path) -> None:
    first = find(tmp_path, PROGRAM.format(kib=1024), first=64)
    said: list[str] = []
    again = find(tmp_path, PROGRAM.format(kib=1024), said, first=64, safety_factor=0.8)
    assert (again.is_reused, again.largest, again.batch_size) == (True, first.largest, int(first.largest * 0.8))
    assert "found on" in "".join(said)
    assert not find(tmp_path, PROGRAM.format(kib=1024), first=64, memory_gib=0.1).is_reused


def test_where_the_first_size_does_not_fit_smaller_ones_are_tried(tmp_path: Path) -> None:
    found = find(tmp_path, PROGRAM.format(kib=8192), first=64)
    assert 8 <= found.largest <= 15
    nothing = PROGRAM.format(kib=1024).replace("held = []\nfor", "held = bytearray(b'x') * (1 << 30)\nfor")
    with pytest.raises(NothingFitsError):
        find(tmp_path, nothing, first=4)


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("raise SystemExit('no option of this name')", "no option of this name"),
        ("import nowhere_at_all", "No module named 'nowhere_at_all'"),
        ("1 / 0", "ZeroDivisionError"),
    ],
)
def test_what_fails_for_another_reason_ends_the_search_with_it(tmp_path: Path, source: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        find(tmp_path, source)


@pytest.mark.parametrize(
    "death",
    [
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
        "raise RuntimeError('CUDA out of memory. Tried to allocate 2 GiB')",
        "import sys; sys.exit('RESOURCE_EXHAUSTED: OOM when allocating tensor')",
        "import sys; print('terminate called after throwing std::bad_alloc', file=sys.stderr); sys.exit(1)",
        "raise MemoryError",
    ],
)
def test_every_kind_of_out_of_memory_is_one(tmp_path: Path, death: str) -> None:
    source = PROGRAM.format(kib=1).replace("held = []\nfor", f"if size > 20:\n    {death}\nfor", 1)
    found = find(tmp_path, source, first=8, max=200)
    assert 16 <= found.largest <= 20


def test_a_program_that_says_nothing_is_judged_by_its_end_or_by_time(tmp_path: Path) -> None:
    ends = "import sys; size = int(sys.argv[1].split('=')[1]); held = bytearray(b'x') * (size << 20)"
    assert 60 <= find(tmp_path, ends, first=32).largest <= 127
    silent = f"{ends}\nimport time; time.sleep(60)"
    assert find(tmp_path, silent, first=4, max=4, seconds="0.5s").largest == 4
    with pytest.raises(SweeplineError, match=r"it ran 1 s .* printed no line that counts: use fits: {seconds: 20}"):
        find(tmp_path, silent, first=8, timeout=1)


def test_which_lines_count_can_be_said(tmp_path: Path) -> None:
    source = "import time\nfor i in range(200):\n    print(f'loading 0.5 {i}', flush=True); time.sleep(0.02)\n"
    source += "print('it 1 loss 2.5\\nit 2 loss 2.4', flush=True); time.sleep(60)"
    said: list[str] = []
    found = find(tmp_path, source, said, first=2, max=2, lines=1, progress="^it ")
    assert found.probes[0]["n_lines"] == 2
    assert found.probes[0]["seconds"] > 3


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    source = PROGRAM.format(kib=1).replace(
        "held = []\nfor", "import subprocess; subprocess.Popen(['sleep', '987'])\nheld = []\nfor", 1
    )
    find(tmp_path, source, first=2, max=2)
    commands = [p.read_bytes() for p in Path("/proc").glob("[0-9]*/cmdline") if os.access(p, os.R_OK)]
    assert b"sleep\x00987\x00" not in commands


def test_runs_at_the_same_time_share_what_is_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finder, "free_bytes", lambda: 400 << 20)
    settings = sweep(tmp_path, PROGRAM.format(kib=1024), more="devices: cpu\nmax_concurrent: 3\n")
    fits = FitsModel.model_validate({"lines": 2, "timeout": 20, "first": 16})
    limits = {}
    for is_shared in (True, False):
        found = find_batch_size(
            settings, parameter="batch-size", fits=fits, base={}, is_shared=is_shared, tell=[].append
        )
        limits[is_shared] = found.limit_bytes
        peaks = {probe["batch_size"]: probe["peak_bytes"] for probe in found.probes}
        assert peaks[found.largest] <= found.limit_bytes
    assert limits == {True: 120 << 20, False: 360 << 20}


def test_what_runs_with_more_than_its_share_does_not_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finder, "free_bytes", lambda: 100 << 20)
    settings = sweep(tmp_path, PROGRAM.format(kib=1024), more="devices: cpu\n")
    fits = FitsModel.model_validate({"lines": 2, "timeout": 20, "first": 128, "max": 128})
    said: list[str] = []
    found = find_batch_size(settings, parameter="batch-size", fits=fits, base={}, tell=said.append)
    assert found.largest < 90
    assert "out of memory: it took 1" in "".join(said)


def test_files_that_are_mapped_are_nobodys_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finder, "free_bytes", lambda: 100 << 20)
    (tmp_path / "data").write_bytes(b"x" * (200 << 20))
    reading = f"import mmap; file = open({str(tmp_path / 'data')!r}, 'rb')\n"
    reading += "data = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ); sum(data[::4096])"
    source = PROGRAM.format(kib=1024).replace("held = []\nfor", f"{reading}\nheld = []\nfor", 1)
    settings = sweep(tmp_path, source, more="devices: cpu\n")
    fits = FitsModel.model_validate({"lines": 2, "timeout": 20, "first": 16, "max": 16})
    found = find_batch_size(settings, parameter="batch-size", fits=fits, base={}, tell=[].append)
    assert found.largest == 16
    assert found.probes[0]["peak_bytes"] < 60 << 20


def test_more_runs_at_a_time_are_measured_for_anew(tmp_path: Path) -> None:
    source = PROGRAM.format(kib=64)
    for n, expected in ((1, True), (1, False), (4, True)):
        settings = sweep(tmp_path, source, options="{lines: 1, first: 2, max: 4}", more="devices: cpu\n")
        options = SweepOptions(max_concurrent=n)
        assert (finder.count_unmeasured(prepare_sweep(settings, options))[1] > 0) == expected
        measured = finder.measure_batch_size(settings, options, [].append)
        assert finder.count_unmeasured(prepare_sweep(measured, options)) == ("batch-size", 0)


def test_a_sweep_measures_once_for_each_set_up_and_keeps_the_size(project: Project) -> None:
    project.write("train.py", PROGRAM.format(kib=256).replace("size *", "size * int(sys.argv[2].split('=')[1]) *", 1))
    project.write(
        "sweep.yaml",
        "program: train.py\nname: s\nmethod: grid\nmetric: {name: loss}\nstart: cold\ndevices: cpu\n"
        "command: ['${interpreter}', '${program}', '--batch-size=${batch}', '--width=${width}', '--lr=${lr}']\n"
        "parameters:\n  batch: {fits: {memory_gib: 0.125, lines: 2, first: 16, safety_factor: 0.5}}\n"
        "  width: [2, 8]\n  lr: [0.1, 0.2]\n",
    )
    dry = project.run("--dry-run")
    assert "batch is measured for 2 set-ups" in dry.stdout
    assert "--batch-size=<measured first>" in dry.stdout
    assert "paste" not in dry.stdout
    told = json.loads(project.run("--dry-run", "--json").stdout)
    assert {run["parameters"]["batch"] for run in told} == {"<measured first>"}
    first = project.run()
    assert first.returncode == 0, first.stderr
    rows = project.rows()
    assert list(rows.groupby("width").batch.nunique()) == [1, 1]
    narrow, wide = rows.groupby("width").batch.first()
    assert narrow > 2.5 * wide
    again = project.run()
    assert "Trying" not in again.stderr
    assert "4 finished" in again.stdout
    assert "4 of them have ended" in project.run("--dry-run").stdout


def test_the_command_takes_any_command_with_a_place_for_a_number(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(PROGRAM.format(kib=1024))
    argv = [
        sys.executable,
        "-m",
        "sweepline.cli.main",
        "batch-size",
        "--memory-gib",
        "0.125",
        "--lines",
        "2",
        "--first",
        "32",
    ]
    by_flag = [*argv, "--flag", "batch-size", "--json", "--", sys.executable, "train.py", "--lr=0.1"]
    done = subprocess.run(by_flag, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert 60 <= told["largest"] <= 125
    assert "Trying batch_size=32 ... ok" in done.stderr
    by_place = [*argv, "--", sys.executable, "train.py", "--batch-size=${batch_size}"]
    done = subprocess.run(by_place, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "largest that fits" in done.stdout
    nowhere = subprocess.run(
        [*argv, "--", "python", "train.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert nowhere.returncode == 2
    assert "say where python takes the size" in nowhere.stderr


PEAKS = {"even": lambda n: 100 + 3 * n, "square": lambda n: 100 + n * n // 50, "flat": lambda _: 100}


@pytest.mark.parametrize("kind", PEAKS)
@pytest.mark.parametrize("first", [1, 8, 100])
@pytest.mark.parametrize("limit", [150, 1000, 5003])
def test_a_size_that_is_returned_has_run_and_is_near_the_limit(kind: str, first: int, limit: int) -> None:
    need, peaks, tried = PEAKS[kind], {}, []

    def try_size(size: int, _: bool) -> bool:
        tried.append(size)
        peaks[size] = need(size)
        if need(size) > limit:
            del peaks[size]
        return need(size) <= limit

    found = search_by_memory(try_size, peaks, first=first, cap=10_000, limit=limit, granularity=1, max_trials=30)
    largest = max(size for size in range(1, 10_001) if need(size) <= limit)
    assert need(found.batch_size) <= limit
    assert found.batch_size >= 0.8 * largest
    if kind == "even" and first < largest / 2:
        assert sum(need(size) > limit for size in tried) <= 1


def test_the_model_says_nothing_of_sizes_that_need_the_same() -> None:
    assert predict_largest({8: 100, 16: 101}, 1000) is None
    assert predict_largest({8: 100}, 1000) is None
    assert predict_largest({8: 100, 16: 200, 15: 199}, 1000) == 80


def test_a_banner_is_no_progress(tmp_path: Path) -> None:
    banner = "".join(f"print('library_{name} {i}.{i}', flush=True)\n" for i, name in enumerate("abcdef"))
    source = f"import sys, time\n{banner}time.sleep(0.3)\nsize = int(sys.argv[1].split('=')[1])\n"
    source += "held = bytearray(b'x') * (size << 20)\nfor i in range(9):\n"
    source += "    print(f'step {i} loss {1 / (i + 1)}', flush=True)\n    time.sleep(0.02)\n"
    assert find(tmp_path, source, first=32, max=4096).largest <= 127


def test_an_edited_program_is_tried_anew(tmp_path: Path) -> None:
    first = find(tmp_path, PROGRAM.format(kib=1024), first=64)
    again = find(tmp_path, PROGRAM.format(kib=2048), first=64)
    assert not again.is_reused
    assert again.largest < first.largest


def test_a_sweep_measures_anew_what_is_asked_for_otherwise(project: Project) -> None:
    project.write("train.py", PROGRAM.format(kib=4))
    text = (
        "program: train.py\nname: s\nmethod: grid\nmetric: {name: loss}\nstart: cold\ndevices: cpu\n"
        "parameters:\n  batch-size: {fits: {memory_gib: 0.125, lines: 1, first: 4, max: 16, safety_factor: 1.0}}\n"
    )
    for factor, size in (("1.0", 16), ("0.5", 8)):
        project.write("sweep.yaml", text.replace("1.0", factor))
        assert project.run().returncode == 0
        rows = project.rows()
        assert rows[rows.in_sweep == "yes"]["batch-size"].tolist() == [size]


def test_a_size_that_does_not_run_for_longer_gives_way_to_one_little_smaller() -> None:
    peaks: dict[int, int] = {}

    def try_size(size: int, is_confirmation: bool) -> bool:
        peaks[size] = 100 + size
        return size <= (120 if is_confirmation else 128)

    found = search_by_memory(try_size, peaks, first=64, cap=10_000, limit=229, granularity=4)
    assert 108 <= found.batch_size <= 120


def test_sizes_that_another_machine_has_measured_are_taken_in_and_those_known_here_stay(tmp_path: Path) -> None:
    for name, sizes, records in (("here", {"a": 8}, {"1": 8}), ("there", {"a": 9, "b": 16}, {"1": 9, "2": 16})):
        folder = tmp_path / name / "batch_size"
        folder.mkdir(parents=True)
        told = {key: {"batch_size": size} for key, size in records.items()}
        (folder / "batch_sizes.json").write_text(json.dumps({"records": told}))
        (folder / "measured.json").write_text(json.dumps({"per": ["width"], "program": "p", "sizes": sizes}))
    take_in_sizes(tmp_path / "here", tmp_path / "there")
    kept = json.loads((tmp_path / "here" / "batch_size" / "batch_sizes.json").read_text())["records"]
    measured = json.loads((tmp_path / "here" / "batch_size" / "measured.json").read_text())
    assert {key: record["batch_size"] for key, record in kept.items()} == {"1": 8, "2": 16}
    assert measured == {"per": ["width"], "program": "p", "sizes": {"a": 8, "b": 16}}


def test_a_probe_finds_nothing_of_an_earlier_search_in_its_folder(tmp_path: Path) -> None:
    """A program that goes on from its checkpoint prints what it had before, and takes no step."""
    source = (
        "import os, sys\nfrom pathlib import Path\nsize = int(sys.argv[1].split('=')[1])\n"
        "kept = Path(os.environ['SWEEPLINE_RUN_DIR']) / 'ckpt'\nassert not kept.exists(), 'an old checkpoint'\n"
        "kept.touch()\nfor i in range(9):\n    print(f'METRIC step={i} loss=1', flush=True)\n"
    )
    for edited in ("", "# edited\n"):
        assert find(tmp_path, source + edited, first=2, max=4).largest == 4


def test_the_lines_of_a_traceback_are_no_progress(tmp_path: Path) -> None:
    """Frames of one file, numbered, in a folder of a version: they look like lines of training."""
    (tmp_path / "lib3.11").mkdir()
    deep = "def f(n):\n    if n == 0:\n        raise RuntimeError('no rule for this size')\n    f(n - 1)\n"
    (tmp_path / "lib3.11" / "deep.py").write_text(deep + "".join(f"\ndef g{i}():\n    f({i})\n" for i in range(4)))
    source = (
        "import sys, time, traceback\nsys.path.insert(0, 'lib3.11')\nimport deep\n"
        "for each in (deep.g0, deep.g1, deep.g2, deep.g3):\n    try:\n        each()\n"
        "    except RuntimeError:\n        traceback.print_exc()\nsys.stderr.flush()\ntime.sleep(1)\n"
        "sys.exit('done for')\n"
    )
    with pytest.raises(ConfigError, match="no rule for this size"):
        find(tmp_path, source, lines=3, first=2, max=4)
