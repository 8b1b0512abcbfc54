"""What a run is told about Weights & Biases: its group, its id, its mode, and its parameters as a file."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import yaml

from sweepline.contract.wandbkey import has_wandb_key
from sweepline.programs.wandb import WandbSettings, wandb_environment, wandb_limits, wandb_mode, write_wandb_params
from sweepline.recording.events import RUN_END, RUN_START
from sweepline.runs import Run, State
from tests.fakes import fold

RUN = Run(run_id="a" * 12, name="adam-lr0.001-s0", params={"lr": 0.001}, seed=0, index=0)
KEY_LINES = "machine api.wandb.ai\n  login user\n  password 0123456789\n"


def environment_of(
    run: Run = RUN, *, settings: WandbSettings | None = None, n_tries: int = 0, **inherited: str
) -> dict[str, str]:
    return wandb_environment(
        run,
        settings=settings,
        sweep="toys",
        sweep_token="f00d",
        n_tries=n_tries,
        run_dir=Path("/runs/a"),
        inherited=inherited,
    )


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder without accounts."""
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


# the environment of a run


def test_a_run_is_grouped_by_its_sweep_and_named_by_its_values() -> None:
    assert environment_of() == {
        "WANDB_RUN_GROUP": "toys",
        "WANDB_NAME": "adam-lr0.001-s0",
        "WANDB_RUN_ID": "f00d-aaaaaaaaaaaa-1",
        "WANDB_JOB_TYPE": "sweep",
        "WANDB_RESUME": "allow",
        "WANDB_DIR": "/runs/a",
    }


@pytest.mark.parametrize(
    ("settings", "name", "value"),
    [
        (WandbSettings(group="mine"), "WANDB_RUN_GROUP", "mine"),
        (WandbSettings(name="night"), "WANDB_NAME", "night-adam-lr0.001-s0"),
        (WandbSettings(tags=("mnist", "small cnn")), "WANDB_TAGS", "mnist,small cnn"),
        (WandbSettings(project="digits"), "WANDB_PROJECT", "digits"),
        (WandbSettings(entity="lab"), "WANDB_ENTITY", "lab"),
    ],
)
def test_settings_of_the_sweep_file_arrive(settings: WandbSettings, name: str, value: str) -> None:
    assert environment_of(settings=settings)[name] == value


@pytest.mark.parametrize("name", ["WANDB_RUN_GROUP", "WANDB_JOB_TYPE"])
def test_a_group_and_a_job_type_of_the_users_own_environment_stay(name: str) -> None:
    assert environment_of(**{name: "mine"})[name] == "mine"


def test_a_group_of_the_sweep_file_wins_over_the_environment() -> None:
    found = environment_of(settings=WandbSettings(group="of the file"), WANDB_RUN_GROUP="of the environment")
    assert found["WANDB_RUN_GROUP"] == "of the file"


@pytest.mark.parametrize("name", ["WANDB_NAME", "WANDB_RUN_ID", "WANDB_DIR"])
def test_what_tells_runs_apart_is_the_runs_own_whatever_the_environment_holds(name: str) -> None:
    assert environment_of(**{name: "the same for all"})[name] == environment_of()[name]


@pytest.mark.parametrize("name", ["WANDB_TAGS", "WANDB_PROJECT", "WANDB_ENTITY"])
def test_what_the_sweep_file_does_not_set_is_left_to_wandb(name: str) -> None:
    assert name not in environment_of(settings=WandbSettings())


def tries_after(*states: State) -> int:
    """Return the tries that a journal tells of a run whose attempts ended so."""
    start = {"ev": RUN_START, "run": "a", "name": "", "params": {}, "seed": 0, "device": "cpu", "started_at": ""}
    end = {"ev": RUN_END, "run": "a", "duration_s": 1.0, "exit_code": None, "reason": "", "metrics": {}}
    pairs = ((start | {"attempt": n}, end | {"state": state}) for n, state in enumerate(states, 1))
    return fold(event for pair in pairs for event in pair)["a"].n_tries


def test_a_run_goes_on_under_the_same_id_after_an_interruption() -> None:
    n_tries = tries_after(State.INTERRUPTED, State.INTERRUPTED)
    assert environment_of(n_tries=n_tries)["WANDB_RUN_ID"] == environment_of()["WANDB_RUN_ID"]


def test_a_retry_has_an_id_of_its_own() -> None:
    ids = {environment_of(n_tries=tries_after(*[State.FAILED] * n))["WANDB_RUN_ID"] for n in (1, 2, 3)}
    assert len(ids | {environment_of()["WANDB_RUN_ID"]}) == 4


def test_every_run_has_an_id_of_its_own() -> None:
    other = Run(run_id="b" * 12, name=RUN.name, params={}, seed=1, index=1)
    assert environment_of(other)["WANDB_RUN_ID"] != environment_of()["WANDB_RUN_ID"]


def test_no_key_is_in_the_environment_that_is_written_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "canary-8d1f")
    assert "canary-8d1f" not in json.dumps(environment_of())


# the mode


def test_scripts_go_offline_where_there_is_no_key() -> None:
    assert wandb_mode(None, {}) == {"WANDB_MODE": "offline"}


@pytest.mark.parametrize("environ", [{"WANDB_API_KEY": "0123"}, {"WANDB_MODE": "online"}, {"WANDB_MODE": "disabled"}])
def test_the_mode_is_left_alone_where_the_user_has_a_key_or_chose_one(environ: dict[str, str]) -> None:
    assert wandb_mode(None, environ) == {}


@pytest.mark.parametrize("mode", ["online", "offline", "disabled"])
def test_a_mode_of_the_sweep_file_wins(mode: Any) -> None:
    assert wandb_mode(WandbSettings(mode=mode), {"WANDB_MODE": "shared", "WANDB_API_KEY": "0123"}) == {
        "WANDB_MODE": mode
    }


def test_scripts_do_not_wait_without_end_for_a_server_that_has_gone() -> None:
    assert wandb_limits({}) == {"WANDB_FINISH_TIMEOUT": "300", "WANDB_ERROR_REPORTING": "false"}


@pytest.mark.parametrize("name", ["WANDB_FINISH_TIMEOUT", "WANDB_ERROR_REPORTING"])
def test_a_limit_that_the_user_has_set_is_left_alone(name: str) -> None:
    assert name not in wandb_limits({name: "0"})


# the key


def test_a_key_in_the_netrc_file_of_the_home_folder_is_found(home: Path) -> None:
    (home / ".netrc").write_text(KEY_LINES)
    assert has_wandb_key({})


def test_a_key_in_the_file_that_netrc_names_is_found(home: Path) -> None:
    (home / "elsewhere").write_text(KEY_LINES)
    assert has_wandb_key({"NETRC": str(home / "elsewhere")})


def test_a_key_of_a_server_of_ones_own_is_found(home: Path) -> None:
    (home / ".netrc").write_text(KEY_LINES.replace("api.wandb.ai", "wandb.lab.example"))
    assert has_wandb_key({"WANDB_BASE_URL": "https://wandb.lab.example:8443/"})


def test_a_key_of_another_server_is_none(home: Path) -> None:
    (home / ".netrc").write_text(KEY_LINES.replace("api.wandb.ai", "github.com"))
    assert not has_wandb_key({})


def test_an_empty_key_is_none() -> None:
    assert not has_wandb_key({"WANDB_API_KEY": ""})


@pytest.mark.parametrize("content", [b"", b"machine", b"nonsense \0", "# café\n".encode("latin-1")], ids=repr)
def test_a_netrc_file_that_tells_no_key_is_none_and_no_obstacle(home: Path, content: bytes) -> None:
    (home / ".netrc").write_bytes(content)
    assert not has_wandb_key({})


def test_a_netrc_that_is_a_folder_is_no_obstacle(home: Path) -> None:
    assert not has_wandb_key({"NETRC": str(home)})


# the parameters as a file


def read_params(run_dir: Path, arguments: dict[str, Any]) -> dict[str, Any]:
    """Write the file and read it as W&B does."""
    variables = write_wandb_params(run_dir, arguments)
    document: dict[str, Any] = yaml.safe_load(Path(variables["WANDB_SWEEP_PARAM_PATH"]).read_bytes())
    return document


def test_the_file_lies_in_the_run_folder(tmp_path: Path) -> None:
    assert write_wandb_params(tmp_path, {}) == {"WANDB_SWEEP_PARAM_PATH": str(tmp_path / "overrides.yaml")}


@pytest.mark.parametrize(
    "value",
    [
        1e-05,
        1e22,
        -0.0,
        5e-324,
        0.1 + 0.2,
        math.inf,
        math.nan,
        3,
        True,
        None,
        "1e-05",
        "true",
        "",
        "~",
        "a: b # c\n",
        "ünï 😀",
        [1, 2.5],
        {"lr": 1e-05, "name": "sgd"},
    ],
    ids=repr,
)
def test_a_parameter_is_read_back_with_its_type(tmp_path: Path, value: Any) -> None:
    assert repr(read_params(tmp_path, {"lr": value})["lr"]) == repr({"value": value})


def test_the_file_names_its_format_and_every_parameter(tmp_path: Path) -> None:
    assert read_params(tmp_path, {"b": 1, "a.c": 2}) == {"wandb_version": 1, "b": {"value": 1}, "a.c": {"value": 2}}
