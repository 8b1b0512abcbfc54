"""The real W&B client of whole sweeps against a stand-in on the loopback interface, and TensorBoard on what they leave.

This proves what the client sends, online and by ``wandb sync``. It does not prove what W&B shows.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from filelock import FileLock

from sweepline.contract.wandbserver import find_server_fault
from tests.conftest import DEADLINE_S, Project, wait_until
from tests.wandbserver import FAKE_KEY, Begin, Fault, SentRun, closed_port, wandb_server

pytestmark = pytest.mark.sweep
pytest.importorskip("wandb")

CONFIG = """
    epochs: 3
    batch_size: 50
    data: {name: digits, limit: 100}
    model: {width: 4}
    tensorboard: true
    checkpoint: {interval_s: 0}
    wandb: {project: digits}
"""
ACCIDENTS = """
    program: train_single.py
    config: config.yaml
    name: accidents
    method: grid
    metric: {name: epoch_loss, goal: minimize}
    parameters:
      learner.step_size: [0.1, 0.01]
      learner.opt: {value: adam}
    seeds: [0, 1]
    retry: 1
    max_concurrent: 2
    devices: cpu
    logging: {wandb: {tags: [digits, two words]}}
"""
SCRIPT = """
    program: script.py
    name: script
    method: grid
    metric: {name: loss, goal: minimize}
    command: ['${interpreter}', '${program}']
    parameters:
      lr: [0.5, 0.25]
      optimizer: {parameters: {momentum: {value: 0.9}}}
    seeds: [0, 1]
    retry: 1
    max_concurrent: 2
    devices: cpu
    logging: {wandb: {project: digits, tags: [plain]}}
"""


@dataclass(frozen=True)
class Swept:
    """A sweep that has ended: where, what the server was sent, what the table says, and what was printed last."""

    folder: Path
    sent: dict[str, SentRun]
    stdout: str

    @property
    def sweep_dir(self) -> Path:
        return Project(self.folder).sweep_dir

    @property
    def rows(self) -> pd.DataFrame:
        return Project(self.folder).rows()

    def attempts(self, name: str) -> list[SentRun]:
        """Return the W&B runs of this name, in the order of their ids, whose last part is the try."""
        return [run for _, run in sorted(self.sent.items()) if run.name == name]


def once(
    factory: pytest.TempPathFactory, name: str, make: Callable[[Project], tuple[dict[str, SentRun], str]]
) -> Swept:
    """Return what ``make`` does in a fresh project; the test workers share it, so that it is done once."""
    own = factory.getbasetemp()
    folder = (own.parent if own.name.startswith("popen-") else own) / f"wandb {name}"
    record = folder / "sent.json"
    with FileLock(f"{folder}.lock"):
        if not record.exists():
            folder.mkdir()
            project = Project(folder)
            try:
                sent, stdout = make(project)
            finally:
                for pid in project.survivors():
                    os.kill(pid, signal.SIGKILL)
            record.write_text(json.dumps([{k: asdict(run) for k, run in sent.items()}, stdout]))
    sent_runs, stdout = json.loads(record.read_text())
    return Swept(folder, {k: SentRun.from_json(run) for k, run in sent_runs.items()}, stdout)


def sync_as_told(project: Project, stdout: str, url: str) -> None:
    """Run the command that the summary of a sweep ends with."""
    command = stdout.partition("upload: ")[2].splitlines()[0]
    subprocess.run(
        f"PATH={Path(sys.executable).parent}:$PATH; {command}",
        shell=True,
        cwd=project.path,
        env=project.environment({"WANDB_BASE_URL": url, "WANDB_API_KEY": FAKE_KEY, "WANDB_ERROR_REPORTING": "false"}),
        capture_output=True,
        timeout=DEADLINE_S,
        check=True,
    )


# Our trainer: four runs, of which one fails once, one fails always, and one is interrupted and resumed


def sweep_with_accidents(project: Project) -> str:
    """Start the sweep, stop it once all but the run that waits have ended, start it again; return what it prints."""
    project.asset("accident_trainer.py", to="train_single.py")
    project.write("config.yaml", CONFIG)
    project.write("sweep.yaml", ACCIDENTS)
    process = project.start("run")
    wait_until(lambda: list(project.path.glob("outputs/*/runs.csv")), "there is a table")
    wait_until(lambda: sorted(project.rows().attempt) == [1, 2, 2], "the others have ended")
    wait_until((project.path / "waiting").exists, "it has trained two epochs")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=DEADLINE_S)
    return project.run().stdout


def accidents_online(project: Project) -> tuple[dict[str, SentRun], str]:
    with wandb_server() as server:
        project.environ.update(WANDB_BASE_URL=server.url, WANDB_API_KEY=FAKE_KEY)
        stdout = sweep_with_accidents(project)
        return server.runs, stdout


def accidents_synced(project: Project) -> tuple[dict[str, SentRun], str]:
    stdout = sweep_with_accidents(project)
    with wandb_server() as server:
        sync_as_told(project, stdout, server.url)
        return server.runs, stdout


@pytest.fixture(params=["online", "synced"])
def accidents(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Swept:
    """The sweep of our trainer, sent while it ran or afterwards."""
    make = {"online": accidents_online, "synced": accidents_synced}[request.param]
    return once(tmp_path_factory, request.param, make)


def test_every_attempt_is_one_wandb_run_and_a_resumed_run_is_still_the_same(accidents: Swept) -> None:
    assert sorted(run.name for run in accidents.sent.values()) == [
        *("lr0.01-s0", "lr0.01-s1", "lr0.01-s1"),
        *("lr0.1-s0", "lr0.1-s1", "lr0.1-s1"),
    ]


def test_all_wandb_runs_of_a_sweep_are_one_group_of_one_project_and_job_type(accidents: Swept) -> None:
    found = {(run.project, run.group, run.job_type) for run in accidents.sent.values()}
    assert found == {("digits", "accidents", "sweep")}


def test_the_last_part_of_a_wandb_id_is_the_try(accidents: Swept) -> None:
    tries = {wandb_id: wandb_id.rsplit("-", 1)[-1] for wandb_id in accidents.sent}
    assert sorted(tries.values()) == ["1", "1", "1", "1", "2", "2"]


def test_attempts_that_failed_are_tagged_so_and_no_others(accidents: Swept) -> None:
    own, failed = ("digits", "two words"), ("digits", "two words", "failed")
    assert {name: [run.tags for run in accidents.attempts(name)] for name in ("lr0.1-s0", "lr0.1-s1")} == {
        "lr0.1-s0": [own],
        "lr0.1-s1": [failed, own],
    }
    assert [run.tags for run in accidents.attempts("lr0.01-s0")] == [own]
    assert [run.tags for run in accidents.attempts("lr0.01-s1")] == [failed, failed]


def test_wandb_is_told_the_exit_code_of_every_attempt(accidents: Swept) -> None:
    names = ("lr0.1-s0", "lr0.1-s1", "lr0.01-s0", "lr0.01-s1")
    assert {name: [run.exit_codes for run in accidents.attempts(name)] for name in names} == {
        "lr0.1-s0": [[0]],
        "lr0.1-s1": [[1], [0]],
        "lr0.01-s0": [[143, 0]],
        "lr0.01-s1": [[1], [1]],
    }


def test_only_the_run_that_was_interrupted_is_marked_as_preempted(accidents: Swept) -> None:
    assert {run.name for run in accidents.sent.values() if run.is_preempting} == {"lr0.01-s0"}


def test_the_config_has_every_swept_parameter_and_the_seed_with_their_types(accidents: Swept) -> None:
    found = [
        (run.values["learner"]["step_size"], run.values["learner"]["opt"], run.values["seed"])
        for run in accidents.sent.values()
    ]
    expected = [(0.01, "adam", 0), (0.01, "adam", 1), (0.01, "adam", 1), (0.1, "adam", 0)] + [(0.1, "adam", 1)] * 2
    assert sorted(found) == expected


def test_the_history_has_each_epoch_once_also_of_runs_that_went_on(accidents: Swept) -> None:
    names = ("lr0.1-s0", "lr0.1-s1", "lr0.01-s0", "lr0.01-s1")
    epochs = {name: [[row["epoch"] for row in run.rows] for run in accidents.attempts(name)] for name in names}
    assert epochs == {
        "lr0.1-s0": [[1, 2, 3]],
        "lr0.1-s1": [[1, 2], [1, 2, 3]],
        "lr0.01-s0": [[1, 2, 3]],
        "lr0.01-s1": [[1, 2], [1, 2]],
    }


def test_the_summary_has_the_result_that_the_table_has(accidents: Swept) -> None:
    rows = accidents.rows.query("state == 'finished'").set_index("run_name")
    sent = {name: accidents.attempts(name)[-1].summary["epoch_loss"] for name in rows.index}
    assert sent == dict(rows.epoch_loss)


def test_without_a_key_the_summary_counts_wandb_runs_and_says_how_to_upload_them(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    swept = once(tmp_path_factory, "synced", accidents_synced)
    runs = "outputs/accidents/runs"
    patterns = f"{runs}/*/wandb/offline-run-* {runs}/*/attempts/*/wandb/offline-run-*"
    assert f"W&B     6 offline runs; upload: wandb sync {patterns}\n" in swept.stdout


# Servers that do not answer as they should


FAULTY_TRAINER = """
    import json, os, sys
    from pathlib import Path
    from sweepline.training.commandline import leave, main

    if __name__ == "__main__":
        project = next(word for word in sys.argv if word.startswith("wandb.project=")).partition("=")[2]
        os.environ["WANDB_BASE_URL"] = json.loads(Path("servers.json").read_text())[project]
        leave(main(default_config=Path(__file__).parent / "config.yaml"))
"""
FAULTS: dict[str, tuple[Fault, Begin]] = {
    "hangs": ("hang", "at once"),
    "says-500": ("500", "at once"),
    "says-429": ("429", "at once"),
    "hangs-when-connected": ("hang", "as the client connects"),
    "hangs-later": ("hang", "after the run has begun"),
    "says-500-later": ("500", "after the run has begun"),
    "says-429-later": ("429", "after the run has begun"),
}
LATER = [name for name in FAULTS if name.endswith("later")]
FAULTY = f"""
    program: train_single.py
    config: config.yaml
    name: faulty
    method: grid
    metric: {{name: epoch_loss, goal: minimize}}
    parameters:
      wandb.project: [refuses, {", ".join(FAULTS)}]
    seeds: [0]
    max_concurrent: 4
    devices: cpu
"""
MOST_S = 15  # 5 s, and as much again twice over for a machine with other work to do


def faulty_servers(project: Project) -> tuple[dict[str, SentRun], str]:
    project.write("train_single.py", FAULTY_TRAINER)
    project.write("config.yaml", CONFIG)
    project.write("sweep.yaml", FAULTY)
    project.environ["WANDB_API_KEY"] = FAKE_KEY
    with ExitStack() as servers:
        urls = {name: servers.enter_context(wandb_server(fault=f, begin=b)).url for name, (f, b) in FAULTS.items()}
        urls["refuses"] = servers.enter_context(closed_port())
        project.write("servers.json", json.dumps(urls))
        stdout = project.run().stdout
    with wandb_server() as server:
        sync_as_told(project, stdout, server.url)
        return server.runs, stdout


@pytest.fixture
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Swept:
    """A sweep of our trainer whose runs meet a server each, uploaded afterwards to one that works."""
    return once(tmp_path_factory, "faulty", faulty_servers)


def test_no_server_costs_our_trainer_a_run(faulty: Swept) -> None:
    assert dict(faulty.rows.set_index("wandb.project").state) == dict.fromkeys(["refuses", *FAULTS], "finished")


def test_no_server_costs_our_trainer_more_than_a_few_seconds(faulty: Swept) -> None:
    assert faulty.rows.duration_s.max() < MOST_S


def test_what_a_server_did_not_take_is_whole_after_wandb_sync(faulty: Swept) -> None:
    found = {run.project: ([row["epoch"] for row in run.rows], run.exit_codes) for run in faulty.sent.values()}
    assert found == dict.fromkeys(["refuses", *FAULTS], ([1, 2, 3], [0]))


@pytest.mark.parametrize(
    ("server", "words"),
    [
        ("refuses", "W&B cannot be reached (Connection refused), the run is kept offline"),
        ("hangs", "W&B cannot be reached (no answer within 3 s), the run is kept offline"),
        ("says-500", "W&B cannot be reached (HTTP 500), the run is kept offline"),
        ("says-429", "W&B cannot be reached (HTTP 429), the run is kept offline"),
        ("hangs-when-connected", "W&B cannot be reached (CommError), the run is kept offline"),
        *((name, "W&B has not taken everything in time; what is missing: wandb sync ") for name in LATER),
    ],
)
def test_our_trainer_says_what_is_with_the_server(faulty: Swept, server: str, words: str) -> None:
    run_id = faulty.rows.set_index("wandb.project").run_id[server]
    assert words in (faulty.sweep_dir / "runs" / run_id / "stderr.log").read_text()


@pytest.mark.parametrize(
    ("fault", "found"), [("500", "HTTP 500"), ("429", "HTTP 429"), ("hang", "no answer within 0.2 s")]
)
def test_a_server_that_is_overloaded_broken_or_silent_is_told(fault: Fault, found: str) -> None:
    with wandb_server(fault=fault) as server:
        assert find_server_fault({"WANDB_BASE_URL": server.url}, timeout_s=0.2) == found


def test_a_server_that_refuses_connections_is_told() -> None:
    with closed_port() as url:
        assert find_server_fault({"WANDB_BASE_URL": url}, timeout_s=5) == "Connection refused"


def test_a_server_that_answers_has_no_fault_and_is_sent_no_key() -> None:
    with wandb_server() as server:
        assert find_server_fault({"WANDB_BASE_URL": f"{server.url}/", "WANDB_API_KEY": FAKE_KEY}, timeout_s=5) is None
        assert server.authorizations == {None}


@pytest.mark.parametrize("url", ["http://user:canary@127.0.0.1:port", "no address"], ids=repr)
def test_an_address_that_cannot_be_asked_is_left_to_the_client(url: str) -> None:
    assert find_server_fault({"WANDB_BASE_URL": url}, timeout_s=5) is None


# A script of a user's own, which knows nothing of sweeps


def script_online(project: Project) -> tuple[dict[str, SentRun], str]:
    project.asset("accident_script.py", to="script.py")
    project.write("sweep.yaml", SCRIPT)
    with wandb_server() as server:
        stdout = project.run(WANDB_BASE_URL=server.url, WANDB_API_KEY=FAKE_KEY).stdout
        return server.runs, stdout


@pytest.fixture
def script(tmp_path_factory: pytest.TempPathFactory) -> Swept:
    """A sweep of a plain script: four runs, of which one fails, and again when it is tried again."""
    return once(tmp_path_factory, "script", script_online)


def test_every_attempt_of_a_script_is_one_wandb_run_of_the_group(script: Swept) -> None:
    found = {(run.project, run.group, run.job_type, run.tags) for run in script.sent.values()}
    assert found == {("digits", "script", "sweep", ("plain",))}
    assert sorted(run.name or "" for run in script.sent.values()) == [
        *("lr0.25-s0", "lr0.25-s1", "lr0.25-s1"),
        *("lr0.5-s0", "lr0.5-s1"),
    ]


def test_the_config_of_a_script_has_every_swept_parameter_beside_its_own(script: Swept) -> None:
    found = [run.values for run in script.sent.values()]
    assert {values["lr"] for values in found} == {0.25, 0.5}
    assert {(values["optimizer"]["momentum"], values["epochs"]) for values in found} == {(0.9, 3)}


def test_a_script_that_failed_is_told_by_its_exit_code(script: Swept) -> None:
    assert [run.exit_codes for run in script.attempts("lr0.25-s1")] == [[1], [1]]
    assert [run.exit_codes for run in script.attempts("lr0.5-s1")] == [[0]]


def test_the_history_and_summary_of_a_script_are_what_it_logged(script: Swept) -> None:
    (run,) = script.attempts("lr0.5-s0")
    assert ([row["loss"] for row in run.rows], run.summary["loss"]) == ([0.5, 1.0, 1.5], 1.5)


ONE_RUN = SCRIPT.replace("[0.5, 0.25]", "[0.5]").replace("seeds: [0, 1]", "seeds: [0]")


def test_a_script_runs_offline_where_the_server_is_broken_and_is_whole_after_wandb_sync(project: Project) -> None:
    project.asset("accident_script.py", to="script.py")
    project.write("sweep.yaml", ONE_RUN)
    with wandb_server(fault="500") as broken:
        result = project.run(WANDB_BASE_URL=broken.url, WANDB_API_KEY=FAKE_KEY)
    assert list(project.rows().state) == ["finished"]
    assert "W&B cannot be reached (127.0.0.1: HTTP 500): runs that start now are kept offline" in result.stdout
    with wandb_server() as server:
        sync_as_told(project, result.stdout, server.url)
    (run,) = server.runs.values()
    assert (run.group, run.exit_codes, [row["loss"] for row in run.rows]) == ("script", [0], [0.5, 1.0, 1.5])


def test_a_script_finishes_with_a_server_that_hangs_in_the_time_that_the_user_gives_it(project: Project) -> None:
    project.asset("accident_script.py", to="script.py")
    project.write("sweep.yaml", ONE_RUN)
    with wandb_server(fault="hang", begin="after the run has begun") as server:
        project.run(WANDB_BASE_URL=server.url, WANDB_API_KEY=FAKE_KEY, WANDB_FINISH_TIMEOUT="1")
    assert list(project.rows().state) == ["finished"]
    assert project.rows().loss[0] == 1.5


# TensorBoard on the folder of the same sweep


@pytest.fixture
def tensorboard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of ``tensorboard --logdir outputs/<sweep>``, which has read what there is before it answers."""
    pytest.importorskip("tensorboard")
    logdir = once(tmp_path_factory, "online", accidents_online).sweep_dir
    options = ["--host", "127.0.0.1", "--port", "0", "--load_fast", "false"]
    process = subprocess.Popen(
        [sys.executable, "-m", "tensorboard.main", "--logdir", str(logdir), *options],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    url = next(found[1] for line in process.stderr if (found := re.search(r"TensorBoard .* at (http://\S+/)", line)))
    yield url
    process.terminate()
    process.communicate(timeout=DEADLINE_S)


def ask(url: str, asked: dict[str, Any] | None = None) -> Any:
    """Return what this machine's TensorBoard answers."""
    data = None if asked is None else json.dumps(asked).encode()
    request = urllib.request.Request(url, data=data, headers={"Content-Type": "application/json"})
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=DEADLINE_S) as answer:
        return json.loads(answer.read())


def test_tensorboard_lists_the_attempts_of_a_sweep_with_parameters_metrics_and_how_they_ended(tensorboard: str) -> None:
    hparams = f"{tensorboard}data/plugin/hparams"
    wait_until(lambda: len(ask(f"{tensorboard}data/runs")) == 7, "it has found every attempt")

    def describe() -> Any:
        return ask(f"{hparams}/experiment", {"experimentName": "", "includeMetrics": True})

    wait_until(
        lambda: {"seed", "learner.step_size"} <= {i["name"] for i in describe()["hparamInfos"] if i["differs"]},
        "it has read them",
    )
    experiment = describe()
    differing = {info["name"] for info in experiment["hparamInfos"] if info["differs"]}
    metrics = [{"metric": info["name"], "includeInResult": True} for info in experiment["metricInfos"]]
    params = [{"hparam": name, "includeInResult": True} for name in ("learner.step_size", "learner.opt", "seed")]
    states = [f"STATUS_{state}" for state in ("SUCCESS", "FAILURE", "UNKNOWN")]
    asked = {"allowedStatuses": states, "colParams": [*params, *metrics], "startIndex": 0, "sliceSize": 100}
    groups = ask(f"{hparams}/session_groups", {"experimentName": "", **asked})["sessionGroups"]
    found = sorted(
        (
            *(group["hparams"][column["hparam"]] for column in params),
            group["sessions"][0]["status"],
            *sorted(value["name"]["tag"] for value in group["metricValues"]),
        )
        for group in groups
    )
    names = ("epoch_accuracy", "epoch_loss")
    assert differing == {"learner.step_size", "seed"}
    assert found == [
        (0.01, "adam", 0, "STATUS_SUCCESS", *names),
        (0.01, "adam", 0, "STATUS_UNKNOWN", *names),
        (0.01, "adam", 1, "STATUS_FAILURE", *names),
        (0.01, "adam", 1, "STATUS_FAILURE", *names),
        (0.1, "adam", 0, "STATUS_SUCCESS", *names),
        (0.1, "adam", 1, "STATUS_FAILURE", *names),
        (0.1, "adam", 1, "STATUS_SUCCESS", *names),
    ]
