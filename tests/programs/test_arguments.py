"""How parsers are handed null, lists and booleans, and that a user whose parser refuses them is told of it."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sweepline.config.sweepfile import load_sweep
from sweepline.errors import ConfigError
from sweepline.programs.arguments import STYLES, choose_style
from sweepline.programs.command import ProgramCommand
from sweepline.programs.usage import find_usage_hint

VALUES: dict[str, Any] = {
    "depth": None,
    "layers": [-1e-05, 6],
    "on": True,
    "off": False,
    "id": "007",
    "opt": {"lr": 0.1, "beta_1": None},
}


@pytest.mark.parametrize(
    ("style", "words"),
    [
        ("argparse", ["--layers", "-0.00001", "6", "--on", "--no-off", "--id=007", "--opt.lr=0.1"]),
        ("tyro", ["--layers", "-0.00001", "6", "--on", "--no-off", "--id=007", "--opt.lr=0.1"]),
        ("click", ["--layers=-1e-05", "--layers=6", "--on", "--no-off", "--id=007", "--opt.lr=0.1"]),
        ("absl", ["--layers=-1e-05,6", "--on=True", "--off=False", "--id=007", "--opt.lr=0.1"]),
        (
            "fire",
            [
                *["--depth=None", "--layers=[-1e-05, 6]", "--on=True", "--off=False"],
                *["--id='007'", "--opt={'lr': 0.1, 'beta_1': None}"],
            ],
        ),
    ],
)
def test_a_style_writes_as_its_parser_reads(style: str, words: list[str]) -> None:
    assert STYLES[style].words(VALUES) == words


def test_typer_s_options_have_hyphens() -> None:
    assert STYLES["typer"].words({"batch_size": 1, "use_amp": False}) == ["--batch-size=1", "--no-use-amp"]


@pytest.mark.parametrize(
    ("changes", "value", "words"),
    [
        ({"booleans": "flag"}, False, []),
        ({"booleans": "flag"}, True, ["--x"]),
        ({"booleans": "text"}, False, ["--x=False"]),
        ({"nulls": "text"}, None, ["--x=None"]),
        ({"lists": "comma"}, [1, "a"], ["--x=1,a"]),
        ({"lists": "repeat"}, ["-1", 2], ["--x=-1", "--x=2"]),
        ({"lists": "text"}, [1], ["--x=[1]"]),
        ({}, [], ["--x"]),
    ],
)
def test_a_single_rule_of_a_style_can_be_changed(changes: dict[str, str], value: Any, words: list[str]) -> None:
    assert choose_style("argparse", changes).words({"x": value}) == words


@pytest.mark.parametrize(("style", "value"), [("argparse", ["-x"]), ("absl", ["a,b"]), ("absl", ['"'])])
def test_an_item_that_would_be_read_as_something_else_is_refused(style: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=r"^x: "):
        STYLES[style].words({"x": value})


def test_argparse_reads_what_was_meant() -> None:
    program = """import argparse
parser = argparse.ArgumentParser()
parser.add_argument("--depth", type=int, default=3)
parser.add_argument("--layers", type=float, nargs="*")
parser.add_argument("--on", action=argparse.BooleanOptionalAction, default=False)
parser.add_argument("--off", action=argparse.BooleanOptionalAction, default=True)
parser.add_argument("--id")
parser.add_argument("--opt.lr", type=float)
print(vars(parser.parse_args()))"""
    argv = [sys.executable, "-c", program, *STYLES["argparse"].words(VALUES)]

    out = subprocess.run(argv, capture_output=True, check=True, text=True).stdout

    expected = {"depth": 3, "layers": [-1e-05, 6.0], "on": True, "off": False, "id": "007", "opt.lr": 0.1}
    assert ast.literal_eval(out) == expected


def load(folder: Path, text: str, program: str = "") -> ProgramCommand:
    (folder / "t.py").write_text(program)
    (folder / "sweep.yaml").write_text(f"program: t.py\nmetric: {{name: x}}\nname: s\n{text}")
    return load_sweep(folder / "sweep.yaml", is_strict=True).command


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("arguments: click\n", ["--a=1", "--a=2"]),
        ("x-sweepline: {arguments: {style: argparse, lists: comma}}\n", ["--a=1,2"]),
        ("", ["--a=[1, 2]"]),
    ],
)
def test_a_sweep_file_names_the_style(tmp_path: Path, text: str, words: list[str]) -> None:
    command = load(tmp_path, f"parameters: {{a: {{value: [1, 2]}}}}\n{text}")

    assert command.build({"a": [1, 2]}, None, device="cpu", run_dir=tmp_path)[2:] == words


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("arguments: argpars\n", r"sweep.yaml:5: arguments\.?\w*: unknown value 'argpars'; did you mean 'argparse'\?"),
        ("arguments: {bools: flag}\n", r"sweep.yaml:5: arguments.bools: unknown key; did you mean 'booleans'\?"),
        ("arguments: absl\n", "sweep.yaml:4: parameters.a: a: a list whose items hold commas"),
        (
            "command: ['${args_append_hydra}']\n",
            r"sweep.yaml:4: parameters.b: .*the text '\?\?\?' means a missing value",
        ),
    ],
)
def test_what_cannot_be_written_is_refused_with_its_line(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        load(tmp_path, f'parameters: {{a: {{value: ["x,y"]}}, b: ["???", ok]}}\n{text}')


def test_a_program_that_imports_hydra_gets_values_in_its_grammar(tmp_path: Path) -> None:
    items = "['${program}', '${args_no_hyphens}', 'x=${k}', 'hydra.run.dir=${run_dir}']"
    command = load(
        tmp_path,
        f"parameters: {{k: ['null', 'a,b']}}\ncommand: {items}\n",
        program="import os\nfrom hydra import main\n",
    )

    argv = command.build({"k": "null"}, None, device="cpu", run_dir=tmp_path, of_run={"run_dir": "/r/files"})

    assert argv[1:] == ["k='null'", "x='null'", "hydra.run.dir=/r/files"]


COMPLAINTS = {
    "argparse": "t.py: error: argument --depth: invalid int value: 'None'",
    "click": "Error: Invalid value for '--depth': 'None' is not a valid integer.",
    "typer": "╭─ Error ──────────╮",
    "tyro": "│ For full helptext, see t.py --help │",
    "absl": "FATAL Flags parsing error: flag --depth=None: invalid literal",
    "fire": "ERROR: Could not consume arg: --depth=None",
}


@pytest.mark.parametrize("style", COMPLAINTS)
def test_a_parser_s_complaint_names_the_style_that_helps(tmp_path: Path, style: str) -> None:
    command = ProgramCommand(program="t.py", program_path=None, working_dir=tmp_path, words=["${args}"])

    hint = find_usage_hint(["usage: t.py", COMPLAINTS[style]], {"depth": None}, command) or ""

    assert f"arguments: {style} in the sweep file" in hint


@pytest.mark.parametrize(
    ("lines", "params", "style"),
    [
        (["ValueError: argument --depth"], {"depth": None}, "wandb"),
        ([COMPLAINTS["argparse"]], {"depth": 3}, "wandb"),
        ([COMPLAINTS["argparse"]], {"depth": None}, "argparse"),
    ],
    ids=["another failure", "nothing that styles differ in", "the style is named already"],
)
def test_other_failures_get_no_hint(tmp_path: Path, lines: list[str], params: dict[str, Any], style: str) -> None:
    command = ProgramCommand(
        program="t.py", program_path=None, working_dir=tmp_path, words=["${args}"], style=STYLES[style]
    )

    assert find_usage_hint(lines, params, command) is None
