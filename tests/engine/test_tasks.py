"""What a run is started with: its variables, its own folder, and a line that repeats it by hand."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from sweepline.config.sweepfile import load_sweep
from sweepline.engine.tasks import TaskBuilder
from sweepline.executors.local.ports import FIRST_PORT, N_PORTS, Ports
from sweepline.executors.local.slots import Slot
from sweepline.programs.macros import RUN_VARIABLES
from sweepline.runs import Run

ECHO = "import json, os, sys; json.dump([sys.argv[1:], dict(os.environ)], open(os.environ['RESULT'], 'w'))\n"


def run_of(**params: Any) -> Run:
    return Run(run_id="0123456789ab", name="x1", params=params, seed=None, index=0)


def launcher_of(folder: Path, text: str = "", *, inherited: Mapping[str, str] = {}, n_slots: int = 1) -> TaskBuilder:
    (folder / "t.py").write_text(ECHO)
    (folder / "sweep.yaml").write_text(f"program: t.py\nparameters: {{x: [1, 2]}}\n{text}")
    settings = load_sweep(folder / "sweep.yaml")
    return TaskBuilder(
        settings=settings,
        runs_dir=folder / "runs",
        sweep_token="abc",
        threads=settings.threads if isinstance(settings.threads, int) else 2,
        n_slots=n_slots,
        inherited=inherited,
    )


CPU, GPU = Slot(0, ""), Slot(1, "0,1")


def test_a_run_is_told_the_folder_that_it_is_in(tmp_path: Path) -> None:
    launcher = launcher_of(tmp_path, inherited={"PWD": "/elsewhere"})

    assert launcher.environment(run_of(x=1), CPU)["PWD"] == str(tmp_path)


def test_every_variable_that_a_macro_takes_for_the_run_s_own_is_one(tmp_path: Path) -> None:
    launcher = launcher_of(tmp_path, "command: ['${interpreter}', '${program}', '${envvar:WANDB_SWEEP_PARAM_PATH}']\n")
    environment = launcher.environment(Run(**{**vars_of(run_of(x=1)), "seed": 3}), CPU)

    assert set(environment) >= RUN_VARIABLES


@pytest.mark.parametrize(
    ("text", "is_written"), [("print(1)", False), ("import wandb", True), ("from lightning import WandbLogger", True)]
)
def test_a_program_that_may_ask_wandb_for_its_parameters_finds_them(
    tmp_path: Path, text: str, is_written: bool
) -> None:
    launcher, run = launcher_of(tmp_path), run_of(x=1)
    (tmp_path / "t.py").write_text(text)
    run_dir = launcher.runs_dir / run.run_id
    run_dir.mkdir(parents=True)

    task = launcher.prepare(run, CPU, run_dir, attempt=1, n_tries=0, start={})

    assert (run_dir / "overrides.yaml").exists() == is_written
    assert ("WANDB_SWEEP_PARAM_PATH" in task.environ) == is_written


def vars_of(run: Run) -> dict[str, Any]:
    return {name: getattr(run, name) for name in Run.__slots__}


@pytest.mark.parametrize(
    ("slot", "text", "n_slots", "told"),
    [
        (CPU, "", 4, "4"),
        (GPU, "", 4, "1"),
        (GPU, "runs_per_device: 3\n", 6, "3"),
        (GPU, "runs_per_device: auto\n", 6, "1"),
        (CPU, "runs_per_device: auto\n", 4, "4"),
    ],
)
def test_a_run_is_told_how_many_may_share_its_device(
    tmp_path: Path, slot: Slot, text: str, n_slots: int, told: str
) -> None:
    launcher = launcher_of(tmp_path, text, n_slots=n_slots)

    assert launcher.environment(run_of(x=1), slot)["SWEEPLINE_RUNS_PER_DEVICE"] == told


@pytest.mark.parametrize(
    ("text", "inherited", "set_by_sweep", "n_notes"),
    [
        ("", {}, {"OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2"}, 0),
        ("", {"OMP_NUM_THREADS": "8"}, {}, 0),
        ("", {"MKL_NUM_THREADS": "8"}, {"OMP_NUM_THREADS": "2"}, 0),
        ("threads: 3\n", {"OMP_NUM_THREADS": "8"}, {"OMP_NUM_THREADS": "3", "MKL_NUM_THREADS": "3"}, 1),
        ("threads: 3\n", {"OMP_NUM_THREADS": "3"}, {"OMP_NUM_THREADS": "3", "MKL_NUM_THREADS": "3"}, 0),
    ],
)
def test_thread_counts_that_the_user_has_set_stay_unless_the_file_says_otherwise(
    tmp_path: Path, text: str, inherited: dict[str, str], set_by_sweep: dict[str, str], n_notes: int
) -> None:
    launcher = launcher_of(tmp_path, text, inherited=inherited)

    environment = launcher.environment(run_of(x=1), CPU)

    assert {name: environment[name] for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS") if name in environment} == (
        set_by_sweep
    )
    assert len(launcher.notes([CPU])) == n_notes


@pytest.mark.parametrize(
    ("slots", "inherited", "begins"),
    [
        ([CPU, CPU], {"MASTER_PORT": "29500"}, "MASTER_PORT=29500 of the environment is the same for all runs"),
        ([Slot(0, "0")], {"CUDA_DEVICE_ORDER": "FASTEST_FIRST"}, "CUDA_DEVICE_ORDER=FASTEST_FIRST is replaced"),
    ],
)
def test_a_variable_that_cannot_stay_or_makes_runs_meet_is_noted(
    tmp_path: Path, slots: list[Slot], inherited: dict[str, str], begins: str
) -> None:
    notes = launcher_of(tmp_path, inherited=inherited, n_slots=len(slots)).notes(slots)

    assert [note.startswith(begins) for note in notes] == [True], notes


def test_runs_at_one_time_have_ports_of_their_own() -> None:
    ports = Ports()

    assert len({ports.choose("same", slot) for slot in range(5)}) == 5


def test_a_run_whose_usual_ports_others_have_gets_one_that_nobody_has() -> None:
    ports = Ports()

    assert len({ports.choose("same", slot) for slot in range(200)}) == 200


def test_a_port_that_somebody_listens_on_is_not_given() -> None:
    first = Ports().choose("run", 0)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", first))
        taken.listen()
        second = Ports().choose("run", 0)

    assert first != second
    assert {FIRST_PORT <= port < FIRST_PORT + N_PORTS for port in (first, second)} == {True}


@pytest.mark.parametrize(
    ("text", "has_folder"),
    [
        ("", False),
        ("command: ['${interpreter}', '${program}', '--out=${run_dir}']\n", True),
        ("command: ['${interpreter}', '${program}', '--id=${run_id}']\n", False),
    ],
)
def test_a_folder_for_the_program_alone_is_made_when_it_is_named(tmp_path: Path, text: str, has_folder: bool) -> None:
    launcher, run = launcher_of(tmp_path, text), run_of(x=1)
    run_dir = launcher.runs_dir / run.run_id
    run_dir.mkdir(parents=True)

    task = launcher.prepare(run, CPU, run_dir, attempt=1, n_tries=0, start={})

    assert (run_dir / "files").is_dir() == has_folder
    assert (f"--out={run_dir / 'files'}" in task.argv) == has_folder


def test_the_run_s_own_names_stand_in_values_too(tmp_path: Path) -> None:
    launcher = launcher_of(tmp_path)
    run = run_of(out="${run_dir}/a", names=["${run_id}", {"n": "${run_name}", "other": "${envvar:HOME}"}], x=1)

    files = launcher.runs_dir / run.run_id / "files"
    assert launcher.expand(run).params == {
        "out": f"{files}/a",
        "names": [run.run_id, {"n": "x1", "other": "${envvar:HOME}"}],
        "x": 1,
    }


ITEMS = {
    "arguments": "['${interpreter}', '${program}', '${args}', '--out=${run_dir}', '${envvar:SWEEPLINE_RUN_ID}']",
    "a file of arguments": "['${interpreter}', '${program}', '${args_json_file}']",
    "W&B's file": "['${interpreter}', '${program}']",
}


@pytest.mark.parametrize("items", ITEMS.values(), ids=ITEMS)
def test_a_printed_line_gives_a_program_all_that_a_run_of_it_has(tmp_path: Path, items: str) -> None:
    folder = tmp_path / "a b's"
    folder.mkdir()
    launcher, run = launcher_of(folder, f"command: {items}\n"), run_of(x="it's $HOME, \\ é")
    result = tmp_path / "result.json"
    environ = {"PATH": "/usr/bin:/bin", "RESULT": str(result)}
    run_dir = launcher.runs_dir / run.run_id

    subprocess.run(["bash", "-c", launcher.command_line(run, CPU)], check=True, env=environ, cwd="/")
    by_hand = read_result(result)
    task = launcher.prepare(run, CPU, run_dir, attempt=1, n_tries=0, start={})
    subprocess.run(["bash", run_dir / "command.txt"], check=True, env=environ, cwd="/")

    assert by_hand[0] == read_result(result)[0] == task.argv[2:]
    for name in ("SWEEPLINE_RUN_DIR", "SWEEPLINE_RUN_ID", "SWEEPLINE_SWEEP", "MASTER_PORT", "PWD"):
        assert by_hand[1][name] == read_result(result)[1][name] == task.environ[name]
    paths = [path for path in (by_hand[0][-1:] or [by_hand[1].get("WANDB_SWEEP_PARAM_PATH", "")]) if "/" in path]
    assert all(Path(path).read_text() for path in paths)


def read_result(path: Path) -> Any:
    return json.loads(path.read_text())


def test_a_folder_whose_name_is_no_utf8_is_written_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "caf\udce9"
    folder.mkdir()
    launcher, run = launcher_of(folder), run_of(x="${run_dir}")
    run_dir = launcher.runs_dir / run.run_id
    run_dir.mkdir(parents=True)

    task = launcher.prepare(run, CPU, run_dir, attempt=1, n_tries=0, start={})

    assert b"caf\xe9" in (run_dir / "command.txt").read_bytes()
    assert task.argv[-1] == f"--x={run_dir}/files"
