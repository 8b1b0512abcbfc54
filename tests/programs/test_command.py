"""The argument list of a run: macros, Python's spelling, typed overrides; every value stays one argument."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from sweepline.config.sweepfile import load_sweep
from sweepline.contract.values import parse_override
from sweepline.programs.arguments import format_python
from sweepline.programs.command import ProgramCommand
from sweepline.programs.location import missing_program
from sweepline.programs.macros import check_macros
from sweepline.programs.native import NativeCommand

PARAMS: dict[str, Any] = {"lr": 1e-05, "opt": "adam", "flag": True, "off": False, "none": None, "layers": [1, 2]}
HOSTILE: dict[str, str] = {
    "spaces": "a b  c",
    "quote": "it's",
    "double quotes": 'say "x"',
    "command substitution": "$(touch made)",
    "backticks": "`touch made`",
    "variable": "$HOME",
    "macro": "${program}",
    "hyphen first": "-rf",
    "two hyphens": "--flag=1",
    "separator": "a; b && c | d > e",
    "glob": "*",
    "newline": "a\nb",
    "tab": "a\tb",
    "empty": "",
    "unicode": "é火😀",
    "backslash": "a\\b",
    "equals sign": "a=b=c",
    "at sign": "@file",
}
ECHO = "import json, sys; print(json.dumps(sys.argv[1:]))"
BUILTINS = ["${env}", "${interpreter}", "${program}", "${args_json_file}"]


def command_of(*items: str, **more: Any) -> ProgramCommand:
    return ProgramCommand(program="train.py", program_path=None, working_dir=Path(), words=items, **more)


def build(
    items: Sequence[str],
    params: Mapping[str, Any] = PARAMS,
    seed: int | None = None,
    *,
    reveal: bool = True,
    **more: Any,
) -> list[str]:
    """Return the argument list of a command of another program."""
    return command_of(*items, **more).build(params, seed, device="cpu", run_dir=Path("run"), reveal=reveal)


@pytest.mark.parametrize(
    ("item", "argv"),
    [
        (
            "${args}",
            ["--lr=1e-05", "--opt=adam", "--flag=True", "--off=False", "--none=None", "--layers=[1, 2]"],
        ),
        (
            "${args_no_hyphens}",
            ["lr=1e-05", "opt=adam", "flag=True", "off=False", "none=None", "layers=[1, 2]"],
        ),
        ("${args_no_boolean_flags}", ["--lr=1e-05", "--opt=adam", "--flag", "--none=None", "--layers=[1, 2]"]),
        (
            "${args_no_equals}",
            [
                *["--lr", "1e-05", "--opt", "adam", "--flag", "True", "--off", "False"],
                *["--none", "None", "--layers", "[1, 2]"],
            ],
        ),
        (
            "${args_append_hydra}",
            ["+lr=1e-05", "+opt=adam", "+flag=true", "+off=false", "+none=null", "+layers=[1,2]"],
        ),
        (
            "${args_override_hydra}",
            ["++lr=1e-05", "++opt=adam", "++flag=true", "++off=false", "++none=null", "++layers=[1,2]"],
        ),
        (
            "${args_json}",
            ['{"lr": 1e-05, "opt": "adam", "flag": true, "off": false, "none": null, "layers": [1, 2]}'],
        ),
        ("${args_json_file}", ["run/args.json"]),
        ("${env}", ["/usr/bin/env"]),
        ("${interpreter}", [sys.executable]),
        ("${program}", ["train.py"]),
        ("--config=x", ["--config=x"]),
        ("", [""]),
    ],
)
def test_a_macro_expands_as_in_wandb(item: str, argv: list[str]) -> None:
    assert build([item]) == argv


def test_a_program_that_was_found_is_given_by_its_path(tmp_path: Path) -> None:
    command = ProgramCommand(program="t.py", program_path=tmp_path / "t.py", working_dir=tmp_path, words=["${program}"])

    assert command.build({}, None, device="cpu", run_dir=tmp_path) == [str(tmp_path / "t.py")]


@pytest.mark.parametrize("item", ["${args}", "${args_no_hyphens}", "${args_no_boolean_flags}", "${args_no_equals}"])
def test_no_parameters_make_no_arguments(item: str) -> None:
    assert build(["x", item, "y"], {}) == ["x", "y"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "True"),
        (None, "None"),
        (1e-05, "1e-05"),
        (0.0001, "0.0001"),
        (-0.0, "-0.0"),
        (1e16, "1e+16"),
        (10**20, "1" + "0" * 20),
        ([1, 2], "[1, 2]"),
        (["a", None], "['a', None]"),
        ({"lr": 0.1}, "{'lr': 0.1}"),
        ("a b", "a b"),
        ("True", "True"),
        ("", ""),
    ],
)
def test_a_value_has_python_s_spelling(value: Any, text: str) -> None:
    assert format_python(value) == text


@pytest.mark.parametrize(
    ("item", "argument"),
    [
        ("${lr}", "1e-05"),
        ("${opt}", "adam"),
        ("${none}", "None"),
        ("${layers}", "[1, 2]"),
        ("--opt=${opt}", "--opt=adam"),
        ("out/${opt}_${lr}", "out/adam_1e-05"),
        ("${opt}${opt}", "adamadam"),
        ("$opt", "$opt"),
        ("{opt}", "{opt}"),
        ("${opt", "${opt"),
    ],
)
def test_a_parameter_macro_stands_whole_or_embedded(item: str, argument: str) -> None:
    assert build([item]) == [argument]


@pytest.mark.parametrize(("name", "value"), [("opt.lr", 0.1), ("a-b", 2), ("weird name", "x")])
def test_a_parameter_macro_takes_any_name(name: str, value: Any) -> None:
    assert build([f"${{{name}}}"], {name: value}) == [str(value)]


def test_an_empty_value_stays_an_argument() -> None:
    assert build(["x", "${opt}", "y"], {"opt": ""}) == ["x", "", "y"]


@pytest.mark.parametrize("macro", BUILTINS)
def test_a_parameter_does_not_take_the_name_of_a_macro(macro: str) -> None:
    name = macro.strip("${}")

    assert build([macro], {name: "CartPole-v1"}) == build([macro], {})


@pytest.mark.parametrize("macro", ["${env}", "${interpreter}", "${program}", "${args}", "${args_json}"])
def test_a_macro_within_other_text_stays_as_it_is(macro: str) -> None:
    assert build([f"x {macro}"]) == [f"x {macro}"]


@pytest.mark.parametrize(
    ("item", "argument"), [("${envvar:DATA_DIR}", "/my data"), ("--data=${envvar:DATA_DIR}/x", "--data=/my data/x")]
)
def test_an_environment_variable_stands_whole_or_embedded(
    monkeypatch: pytest.MonkeyPatch, item: str, argument: str
) -> None:
    monkeypatch.setenv("DATA_DIR", "/my data")

    assert build([item]) == [argument]


@pytest.mark.parametrize("item", ["${envvar:TOKEN}", "--token=${envvar:TOKEN}"])
def test_an_environment_variable_is_not_shown_unless_revealed(monkeypatch: pytest.MonkeyPatch, item: str) -> None:
    monkeypatch.setenv("TOKEN", "secret")

    assert build([item], reveal=False) == [item]


def test_an_environment_variable_that_is_not_set_is_empty_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TOKEN", raising=False)

    assert build(["--token=${envvar:TOKEN}"]) == ["--token="]


def test_what_an_environment_variable_holds_is_not_expanded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATA_DIR", "${opt}")

    assert build(["${envvar:DATA_DIR}"]) == ["${opt}"]


@pytest.mark.parametrize(("items", "argv"), [(["x", "${foo}", "y"], ["x", "y"]), (["x${foo}"], ["x${foo}"])])
def test_an_unknown_macro_is_dropped_whole_and_kept_embedded(items: list[str], argv: list[str]) -> None:
    assert build(items) == argv


@pytest.mark.parametrize(
    ("items", "sentences"),
    [
        (["${args}", "${lr}", "x${lr}"], []),
        (["x${env}"], [(0, "${env} stands for a whole item only; inside one it stays as it is")]),
        (["x", "${arsg}"], [(1, "unknown macro ${arsg}: the item is dropped; did you mean 'args'?")]),
        (["x${zzzzz}"], [(0, "unknown macro ${zzzzz}: it stays as it is")]),
        (["${envvar:NOWHERE}"], [(0, "environment variable NOWHERE is not set; it is passed as empty text")]),
    ],
)
def test_a_macro_that_means_nothing_is_noticed(
    monkeypatch: pytest.MonkeyPatch, items: list[str], sentences: list[tuple[int, str]]
) -> None:
    monkeypatch.delenv("NOWHERE", raising=False)

    assert list(check_macros(items, ["lr"])) == sentences


PATHS = {"opt.lr": ("opt", "lr"), "opt.deep.x": ("opt", "deep", "x"), "b": ("b",), "dotted.name": ("dotted.name",)}
NESTED: dict[str, Any] = {"opt.lr": 0.1, "b": 3, "opt.deep.x": True, "dotted.name": "y"}


@pytest.mark.parametrize(
    ("item", "argv"),
    [
        ("${args}", ["--opt={'lr': 0.1, 'deep': {'x': True}}", "--b=3", "--dotted.name=y"]),
        ("${args_no_hyphens}", ["opt={'lr': 0.1, 'deep': {'x': True}}", "b=3", "dotted.name=y"]),
        ("${args_json}", ['{"opt": {"lr": 0.1, "deep": {"x": true}}, "b": 3, "dotted.name": "y"}']),
        ("${opt.lr}", ["0.1"]),
        ("${opt}", ["{'lr': 0.1, 'deep': {'x': True}}"]),
        ("${dotted.name}", ["y"]),
    ],
)
def test_nested_parameters_are_one_mapping_for_other_programs(item: str, argv: list[str]) -> None:
    assert build([item], NESTED, paths=PATHS) == argv


@pytest.mark.parametrize(
    ("passes_seed", "seed", "params", "argv"),
    [
        (True, 7, {"a": 1}, ["--a=1", "--seed=7"]),
        (False, 7, {"a": 1}, ["--a=1"]),
        (True, None, {"a": 1}, ["--a=1"]),
        (True, 7, {"seed": 3}, ["--seed=3"]),
    ],
)
def test_another_program_is_given_a_seed_where_the_file_asks_for_seeds(
    passes_seed: bool, seed: int | None, params: dict[str, Any], argv: list[str]
) -> None:
    assert build(["${args}"], params, seed, passes_seed=passes_seed) == argv


def test_the_seed_is_a_macro_too() -> None:
    assert build(["--random-state=${seed}"], {}, 7) == ["--random-state=7"]


@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE)
def test_a_value_arrives_as_one_argument(tmp_path: Path, value: str) -> None:
    argv = build(["${interpreter}", "-c", ECHO, "${args}", "${x}", "at ${x}"], {"x": value})

    out = subprocess.run(argv, capture_output=True, cwd=tmp_path, check=True, text=True).stdout

    assert json.loads(out) == [f"--x={value}", value, f"at {value}"]


@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE)
def test_a_value_without_equals_sign_stays_one_argument(value: str) -> None:
    assert build(["${args_no_equals}"], {"x": value}) == ["--x", value]


@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE)
def test_a_parameter_name_with_hostile_signs_stays_one_argument(value: str) -> None:
    assert build(["${args}"], {value: 1}) == [f"--{value}=1"]


def native(params: Mapping[str, Any], seed: int | None = None, **more: Any) -> list[str]:
    """Return the argument list for our own trainer."""
    command = NativeCommand(program="train_single.py", program_path=None, working_dir=Path(), **more)
    return command.build(params, seed, device="cpu", run_dir=Path("run"))


def test_our_trainer_takes_dotted_overrides_after_two_hyphens() -> None:
    argv = native({"learner.opt": "adam", "learner.step_size": 1e-4}, 3, config=Path("/exp/config.yaml"))

    assert argv == [
        *[sys.executable, "train_single.py", "--config", "/exp/config.yaml", "--"],
        *["device=cpu", "learner.opt=adam", "learner.step_size=0.0001", "seed=3"],
    ]


def test_our_trainer_without_a_config_is_told_none() -> None:
    assert native({}) == [sys.executable, "train_single.py", "--", "device=cpu"]


@pytest.mark.parametrize("name", ["device", "seed"])
def test_a_parameter_goes_before_what_the_sweep_would_say(name: str) -> None:
    assert [word for word in native({name: 5}, 3) if word.startswith(f"{name}=")] == [f"{name}=5"]


def test_policy_is_handed_to_our_trainer_unless_it_is_swept() -> None:
    argv = native({"threads": 2}, policy={"threads": 4, "wandb.mode": "offline"})

    assert argv[3:] == ["device=cpu", "wandb.mode=offline", "threads=2"]


@pytest.mark.parametrize(
    "value",
    [*HOSTILE.values(), 1e-4, -0.0, True, None, [1, 2], "true", "1e-4", "null", {"a": [None, "1"]}, 10**30],
    ids=repr,
)
def test_a_value_reaches_our_trainer_with_its_type(value: Any) -> None:
    name, got = parse_override(native({"x": value})[-1])

    assert (name, repr(got)) == ("x", repr(value))


def command_in_file(folder: Path, text: str) -> ProgramCommand:
    (folder / "train.py").touch()
    (folder / "sweep.yaml").write_text(f"program: train.py\nparameters: {{a: [1]}}\n{text}")
    return load_sweep(folder / "sweep.yaml").command


def test_items_of_a_command_need_not_be_text(tmp_path: Path) -> None:
    command = command_in_file(tmp_path, "command: [run, 1, 1e-5, true, null, 0.10]\n")

    assert command.items == ["run", "1", "1e-05", "True", "None", "0.1"]


def test_a_script_without_a_command_gets_our_own_interpreter_and_all_arguments(tmp_path: Path) -> None:
    command = command_in_file(tmp_path, "")

    assert command.build({"a": 1}, None, device="cpu", run_dir=tmp_path) == [
        sys.executable,
        str(tmp_path / "train.py"),
        "--a=1",
    ]


def test_a_program_that_is_executable_itself_needs_no_interpreter(tmp_path: Path) -> None:
    (tmp_path / "train.sh").write_text("#!/bin/sh\n")
    (tmp_path / "train.sh").chmod(0o755)
    (tmp_path / "sweep.yaml").write_text("program: train.sh\nparameters: {a: [1]}\n")

    command = load_sweep(tmp_path / "sweep.yaml").command

    assert command.build({"a": 1}, None, device="cpu", run_dir=tmp_path) == [str(tmp_path / "train.sh"), "--a=1"]


def test_only_a_command_with_its_macro_needs_the_file_of_arguments() -> None:
    assert (command_of("${args}").uses_args_file, command_of("--f=${args_json_file}").uses_args_file) == (False, True)


@pytest.mark.parametrize(
    ("items", "sentence"),
    [
        (["${interpreter}", "${program}"], "program 'train.py' not found"),
        (["no-such-executable", "x"], "command: 'no-such-executable' not found"),
        (["${env}", "A=1", "no-such-executable"], "command: 'no-such-executable' not found"),
        ([], "command is empty"),
        (["${interpreter}", "-m", "package"], None),
        (["${env}", "A=1", "${interpreter}"], None),
    ],
)
def test_a_command_that_cannot_start_is_told_in_advance(items: list[str], sentence: str | None) -> None:
    assert missing_program(command_of(*items)) == sentence


def test_a_program_that_is_not_executable_is_told_in_advance(tmp_path: Path) -> None:
    (tmp_path / "run.sh").touch(mode=0o644)
    command = ProgramCommand(program="x", program_path=None, working_dir=tmp_path, words=["./run.sh"])

    sentence = (
        f"command: './run.sh' is there but not executable: chmod +x {tmp_path / 'run.sh'}, or write bash before it"
    )
    assert missing_program(command) == sentence
