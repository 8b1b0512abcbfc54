"""The public names: what the page on them shows is what they do, and nothing heavy is imported before it is used."""

from __future__ import annotations

import doctest
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import sweepline
from sweepline.errors import ConfigError
from tests.conftest import REPOSITORY, Project, wait_until

SWEEP = {"name": "s", "program": "t.py", "metric": {"name": "loss"}, "parameters": {"x": [3, 1, 2]}, "start": "cold"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a program that prints its parameter."""
    (tmp_path / "t.py").write_text("import sys\nprint('METRIC epoch=1 loss=' + sys.argv[1].split('=')[1])\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("folder")
def test_the_page_shows_what_happens() -> None:
    failed, n_tried = doctest.testfile(
        str(REPOSITORY / "docs" / "python-api.md"),
        module_relative=False,
        optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE,
    )
    assert (failed, n_tried > 10) == (0, True)


def test_the_public_names_are_these_and_each_is_there() -> None:
    assert set(sweepline.__all__) == {
        *(
            "compare",
            "run_sweep",
            "load_sweep",
            "load_runs",
            "load_history",
            "log_metrics",
            "State",
            "SweepResult",
            "StopRequests",
        ),
        *("chart", "differing", "fold_seeds", "golden_middle", "noise", "smooth", "subsample", "temperature"),
        *("SweeplineError", "ConfigError", "RecordError", "SweepLockedError", "ExecutorUnavailableError"),
    }
    assert all(getattr(sweepline, name) is not None for name in sweepline.__all__)
    assert set(dir(sweepline)) == {*sweepline.__all__, "__version__"}
    with pytest.raises(AttributeError, match="no attribute 'run_swep'"):
        sweepline.run_swep  # noqa: B018


def test_importing_the_package_imports_nothing_else_of_it() -> None:
    code = "import sys, sweepline; print([name for name in sys.modules if name.startswith('sweepline.')])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_a_sweep_from_a_mapping_is_found_again_by_its_name(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = sweepline.run_sweep(SWEEP)
    capsys.readouterr()
    again = sweepline.run_sweep(SWEEP)
    assert (first.best, again.best, first.path) == ({"x": 1}, {"x": 1}, folder / "outputs" / "s")
    assert "started" not in capsys.readouterr().out


@pytest.mark.usefixtures("folder")
def test_a_table_alone_says_what_the_folder_says_as_far_as_it_can() -> None:
    sweep = SWEEP | {"parameters": {"x": [1], "name": ["007", "plain"], "rate": [0.5], "none": [None]}}
    result = sweepline.run_sweep(sweep)
    whole, alone = sweepline.load_runs(result.path), sweepline.load_runs(result.csv_path)
    assert list(whole.columns) == list(alone.columns)
    for name in ("x", "name", "rate", "loss", "state"):
        assert list(whole[name]) == list(alone[name])


@pytest.mark.usefixtures("folder")
def test_the_history_of_a_run_without_a_file_of_it_is_read_from_its_output() -> None:
    result = sweepline.run_sweep(SWEEP)
    before = sweepline.load_history(result.path)
    for path in result.path.glob("runs/*/metrics.csv"):
        path.unlink()
    pd.testing.assert_frame_equal(sweepline.load_history(result.path), before)
    assert list(before.loss) == [3.0, 1.0, 2.0]


def test_a_sweep_in_a_thread_can_be_asked_to_stop(folder: Path) -> None:
    (folder / "t.py").write_text("import time\nprint('METRIC loss=1', flush=True)\ntime.sleep(600)\n")
    stop, results = sweepline.StopRequests(), []
    thread = threading.Thread(target=lambda: results.append(sweepline.run_sweep(SWEEP | {"grace": "1s"}, stop=stop)))
    thread.start()
    wait_until(lambda: list(folder.glob("outputs/s/runs/*/stdout.log")), "a run is under way")
    stop.request()
    thread.join()
    assert (results[0].signal, results[0].is_complete) == (2, False)
    assert {record.state for record in results[0].records} == {sweepline.State.INTERRUPTED}


@pytest.mark.parametrize(
    ("source", "options", "sentence"),
    [
        ({"program": "t.py"}, {}, "needs a 'name'"),
        (SWEEP, {"max_concurent": 2}, "no such option: max_concurent"),
        ("none.yaml", {}, "none.yaml"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_mistakes_are_sentences(source: object, options: dict[str, object], sentence: str) -> None:
    with pytest.raises(sweepline.ConfigError, match=sentence):
        sweepline.run_sweep(source, **options)  # type: ignore[arg-type]


def test_a_folder_without_a_sweep_is_said(project: Project) -> None:
    with pytest.raises(sweepline.SweeplineError, match=r"no sweep has been run here|sweep.yaml"):
        sweepline.load_runs(project.path)


@pytest.mark.usefixtures("folder")
def test_a_start_that_fails_half_way_leaves_nothing_held() -> None:
    sweepline.run_sweep(SWEEP)
    shell = SWEEP | {"command": ["/bin/sh", "-c", "echo METRIC loss=1"], "start": "warm"}
    with pytest.raises(sweepline.ConfigError, match="start: warm needs a Python program"):
        sweepline.run_sweep(shell)
    assert sweepline.run_sweep(shell | {"start": "cold"}).is_complete


@pytest.mark.usefixtures("folder")
def test_a_request_to_stop_that_comes_late_does_nothing() -> None:
    stop = sweepline.StopRequests()
    assert sweepline.run_sweep(SWEEP, stop=stop).is_complete
    stop.request()


@pytest.mark.parametrize("devices", [[], "", 3.5, True, {"a"}, b"cpu", [None], -1])
def test_devices_that_are_none_are_refused_before_anything_starts(folder: Path, devices: Any) -> None:
    with pytest.raises(ConfigError, match=r"devices: .* names no devices"):
        sweepline.run_sweep({"name": "none", "program": "t.py", "parameters": {"x": [1]}}, devices=devices)
    assert not (folder / "outputs").exists()
