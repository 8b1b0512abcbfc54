"""What a script takes is found in its text, whichever parser reads it; nothing of it is executed."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from sweepline.errors import ConfigError
from sweepline.programs.inspection.facts import UNKNOWN, Flag, Interface
from sweepline.programs.inspection.script import inspect_script


def interface_of(folder: Path, text: str, **others: str) -> Interface:
    """Return what a script is found to take; ``others`` are modules beside it."""
    for name, other in others.items():
        (folder / f"{name}.py").write_text(textwrap.dedent(other))
    path = folder / "train.py"
    path.write_text(f"raise SystemExit('was executed')\n{textwrap.dedent(text)}")
    found = inspect_script(path).interface
    assert found is not None
    return found


def flags_of(folder: Path, text: str, **others: str) -> dict[str, Flag]:
    return {flag.name: flag for flag in interface_of(folder, text, **others).flags}


ARGPARSE = """
    import argparse
    OPTIMIZERS = ["sgd", "adam"]
    parser = argparse.ArgumentParser()
    parser.add_argument("data", help="folder")
    parser.add_argument("-b", "--batch-size", default=2 ** 6, type=int)
    parser.add_argument("--lr", "--learning-rate", default=1, type=float, dest="step")
    parser.add_argument("--opt", choices=OPTIMIZERS, default=OPTIMIZERS[0])
    parser.add_argument("--wd", type=float, required=True)
    parser.add_argument("--sizes", type=int, nargs="+", default=[8, 16])
    parser.add_argument("--no-cuda", action="store_true")
    parser.add_argument("--amp", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--pin", type=lambda text: text == "yes", default=True)
    parser.add_argument("-j", type=int, default=4)
    group = parser.add_argument_group("model")
    group.add_argument("--width", type=int, default=10)
    parser.add_argument("--version", action="version", version="1")
    parser.set_defaults(width=12)
"""


def test_argparse_tells_names_types_and_defaults(tmp_path: Path) -> None:
    found = flags_of(tmp_path, ARGPARSE)

    assert {name: (flag.kind, flag.default) for name, flag in found.items()} == {
        "data": ("str", None),
        "batch-size": ("int", 64),
        "lr": ("float", 1.0),
        "opt": ("str", UNKNOWN),
        "wd": ("float", None),
        "sizes": ("list", [8, 16]),
        "no-cuda": ("bool", False),
        "amp": ("bool", True),
        "pin": ("bool", True),
        "j": ("int", 4),
        "width": ("int", 12),
    }


def test_argparse_tells_what_is_required_positional_or_short(tmp_path: Path) -> None:
    found = flags_of(tmp_path, ARGPARSE)

    assert [name for name, flag in found.items() if flag.is_required] == ["data", "wd"]
    assert [name for name, flag in found.items() if flag.is_positional] == ["data"]
    assert found["j"].short_only == "-j"
    assert found["opt"].choices == ["sgd", "adam"]


def test_argparse_tells_how_each_boolean_is_written(tmp_path: Path) -> None:
    found = flags_of(tmp_path, ARGPARSE)

    assert [found[name].boolean for name in ("no-cuda", "amp", "pin")] == ["flag", "no_flag", "text"]


def test_flags_of_a_module_beside_the_script_count_where_it_is_used(tmp_path: Path) -> None:
    options = """
        import argparse
        class BaseOptions:
            def build(self, parser):
                parser.add_argument("--lr", type=float, default=0.1)
        class TrainOptions(BaseOptions):
            def extend(self, parser):
                parser.add_argument("--epochs", type=int, default=3)
        def of_another_program(parser):
            parser.add_argument("--beam", type=int, default=5)
        if __name__ == "__main__":
            argparse.ArgumentParser().add_argument("--self-test")
    """
    found = flags_of(tmp_path, "from options import TrainOptions\nTrainOptions()\n", options=options)

    assert sorted(found) == ["epochs", "lr"]


def test_the_training_subcommand_is_taken_and_the_others_are_named(tmp_path: Path) -> None:
    text = """
        import argparse
        commands = argparse.ArgumentParser().add_subparsers()
        evaluating = commands.add_parser("eval")
        evaluating.add_argument("--split", default="test")
        training = commands.add_parser("train")
        training.add_argument("--lr", type=float, default=0.1)
    """
    found = interface_of(tmp_path, text)

    assert ([flag.name for flag in found.flags], found.before) == (["lr"], ["train"])
    assert found.notes == ["its subcommands are eval, train; this file runs train"]


def test_names_that_are_computed_are_counted(tmp_path: Path) -> None:
    text = """
        import argparse
        parser = argparse.ArgumentParser()
        parser.add_argument("--lr", type=float, default=0.1)
        for name in open("names"):
            parser.add_argument("--" + name)
    """
    assert "1 calls of add_argument have names that are computed" in interface_of(tmp_path, text).notes[0]


CLICK = """
    import click
    @click.command()
    @click.option("--lr", default=0.1, help="step size")
    @click.option("--batch", "batch_size", type=click.IntRange(1), default=32)
    @click.option("--arch", type=click.Choice(["small", "large"]), default="small")
    @click.option("--shuffle/--no-shuffle", default=True)
    @click.option("--layer", multiple=True, type=int)
    @click.argument("data")
    def main(**kw): ...
"""
TYPER = """
    from typing import Annotated
    import typer
    app = typer.Typer()
    @app.command()
    def train(
        data: str, batch_size: int = 32, lr: Annotated[float, typer.Option(help="step")] = 0.1, fast: bool = False
    ): ...
"""
TYRO = """
    from dataclasses import dataclass, field
    from typing import Literal
    import tyro
    @dataclass
    class Optim:
        lr: float = 1e-3
        betas: tuple[float, float] = (0.9, 0.99)
    @dataclass
    class Args:
        seed: int
        optim: Optim = field(default_factory=Optim)
        opt: Literal["sgd", "adam"] = "adam"
        cuda: bool = True
        sizes: list[int] = field(default_factory=lambda: [1, 2])
        dropout: float | None = None
    args = tyro.cli(Args)
"""
ABSL = """
    from absl import app, flags
    flags.DEFINE_float("lr", 1, "step size")
    flags.DEFINE_integer("steps", 10, "how many")
    flags.DEFINE_enum("opt", "sgd", ["sgd", "adam"], "optimizer")
    flags.DEFINE_bool("fast", False, "speed")
    flags.DEFINE_string("data", None, "folder")
    flags.mark_flag_as_required("data")
"""
FIRE = """
    import fire
    def train(data: str, lr: float = 3e-4, steps: int = 8 * 10, fast=False): ...
    if __name__ == "__main__":
        fire.Fire(train)
"""
HUGGINGFACE = """
    from dataclasses import dataclass, field
    from typing import Optional
    from transformers import HfArgumentParser, TrainingArguments
    @dataclass
    class ModelArguments:
        name: str = field(metadata={"help": "checkpoint", "choices": ["a", "b"]})
        dropout: Optional[float] = field(default=0.1)
    parser = HfArgumentParser((ModelArguments, TrainingArguments))
"""
LIGHTNING = """
    from lightning.pytorch.cli import LightningCLI
    class Model:
        def __init__(self, width: int = 64, lr=1e-3): ...
    class Data:
        def __init__(self, batch_size: int = 32): ...
    LightningCLI(Model, Data)
"""
JSONARGPARSE = """
    from jsonargparse import CLI
    def main(steps: int, lr: float = 0.1): ...
    CLI(main)
"""
PYRALLIS = """
    from dataclasses import dataclass
    import pyrallis
    @dataclass
    class Config:
        lr: float = 0.1
    @pyrallis.wrap()
    def main(cfg: Config): ...
"""
CONFIGURATOR = """
    lr, steps = 6e-4, 10
    compile = True
    _private = 3
    exec(open("configurator.py").read())
    after = 5
"""
WANDB = """
    import wandb
    defaults = dict(lr=0.1, steps=5)
    run = wandb.init(config=defaults)
    config = wandb.config
    print(config.lr, config["width"])
"""
ENVIRONMENT = """
    import os
    lr = float(os.environ.get("LR", "0.1"))
    steps = int(os.getenv("STEPS", 10))
"""


@pytest.mark.parametrize(
    ("text", "parser", "style", "kinds"),
    [
        pytest.param(
            CLICK,
            "click",
            "click",
            {"lr": "float", "batch": "int", "arch": "str", "shuffle": "bool", "layer": "list", "data": "str"},
            id="click",
        ),
        pytest.param(
            TYPER, "typer", "typer", {"data": "str", "batch_size": "int", "lr": "float", "fast": "bool"}, id="typer"
        ),
        pytest.param(
            TYRO,
            "tyro",
            "tyro",
            {
                "seed": "int",
                "optim.lr": "float",
                "optim.betas": "list",
                "opt": "str",
                "cuda": "bool",
                "sizes": "list",
                "dropout": "float",
            },
            id="tyro",
        ),
        pytest.param(
            ABSL,
            "absl",
            "absl",
            {"lr": "float", "steps": "int", "opt": "str", "fast": "bool", "data": "str"},
            id="absl",
        ),
        pytest.param(FIRE, "fire", "fire", {"data": "str", "lr": "float", "steps": "int", "fast": "bool"}, id="fire"),
        pytest.param(JSONARGPARSE, "jsonargparse", "argparse", {"steps": "int", "lr": "float"}, id="jsonargparse"),
        pytest.param(PYRALLIS, "a dataclass", "argparse", {"lr": "float"}, id="pyrallis"),
        pytest.param(WANDB, "wandb.config", None, {"lr": "float", "steps": "int", "width": "unknown"}, id="wandb"),
        pytest.param(ENVIRONMENT, "environment variables", None, {"LR": "float", "STEPS": "int"}, id="environment"),
        pytest.param(
            CONFIGURATOR,
            "a configurator (--key=value)",
            None,
            {"lr": "float", "steps": "int", "compile": "bool"},
            id="configurator",
        ),
    ],
)
def test_each_parser_tells_its_flags(
    tmp_path: Path, text: str, parser: str, style: str | None, kinds: dict[str, str]
) -> None:
    found = interface_of(tmp_path, text)

    assert (found.parser, found.style.get("style")) == (parser, style)
    assert {flag.name: flag.kind for flag in found.flags} == kinds


@pytest.mark.parametrize(
    ("text", "required"),
    [
        (CLICK, ["data"]),
        (TYPER, ["data"]),
        (TYRO, ["seed"]),
        (ABSL, ["data"]),
        (FIRE, ["data"]),
        (JSONARGPARSE, ["steps"]),
    ],
    ids=["click", "typer", "tyro", "absl", "fire", "jsonargparse"],
)
def test_what_has_no_default_is_required(tmp_path: Path, text: str, required: list[str]) -> None:
    assert [flag.name for flag in interface_of(tmp_path, text).flags if flag.is_required] == required


def test_a_dataclass_beside_training_arguments_tells_its_flags(tmp_path: Path) -> None:
    found = interface_of(tmp_path, HUGGINGFACE)
    flags = {flag.name: flag for flag in found.flags}

    assert (flags["name"].choices, flags["name"].is_required, flags["dropout"].kind) == (["a", "b"], True, "float")
    assert flags["learning_rate"].default == 5e-5
    assert found.after == ["--output_dir=${run_dir}"]


def test_lightnings_command_line_takes_what_model_and_data_are_made_with(tmp_path: Path) -> None:
    found = interface_of(tmp_path, LIGHTNING)

    assert [flag.name for flag in found.flags][:3] == ["model.width", "model.lr", "data.batch_size"]
    assert found.before == ["fit"]


def test_hydra_takes_the_keys_of_its_config_and_of_its_groups(tmp_path: Path) -> None:
    (tmp_path / "conf" / "model").mkdir(parents=True)
    (tmp_path / "conf" / "config.yaml").write_text(
        "defaults:\n  - model: small\n  - _self_\nlr: 1e-3\nout: ${lr}\ndata: ???\nshape: ???\n"
    )
    (tmp_path / "conf" / "model" / "small.yaml").write_text("_target_: models.Small\nwidth: 8\n")
    (tmp_path / "conf" / "model" / "large.yaml").write_text("width: 64\n")
    text = """
        import hydra
        @hydra.main(version_base=None, config_path="conf", config_name="config")
        def main(cfg):
            cfg.shape = 3
    """
    found = interface_of(tmp_path, text)
    flags = {flag.name: flag for flag in found.flags}

    assert list(flags) == ["model", "model.width", "lr", "data"]
    assert (flags["model"].choices, flags["model"].default) == (["large", "small"], "small")
    assert (flags["lr"].kind, flags["data"].is_required) == ("float", True)
    assert found.args_macro == "${args_no_hyphens}"


def test_a_script_of_a_package_is_run_as_a_module(tmp_path: Path) -> None:
    package = tmp_path / "pkg"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "train.py").write_text("from . import data\nimport argparse\n")

    assert inspect_script(package / "train.py").module == "pkg.train"


def test_variables_of_the_system_are_no_settings(tmp_path: Path) -> None:
    text = """
        import os
        rank = int(os.environ.get("LOCAL_RANK", 0))
        host = os.environ.get("MASTER_PORT", 29500)
        lr = float(os.environ.get("LR", 0.1))
    """
    assert list(flags_of(tmp_path, text)) == ["LR"]


def test_constants_that_nothing_changes_are_no_flags(tmp_path: Path) -> None:
    path = tmp_path / "train.py"
    path.write_text("lr = 0.1\nsteps = 5 * 2\nname = 'x'\n")
    found = inspect_script(path)

    assert found.interface is None
    assert [(flag.name, flag.default) for flag in found.constants] == [("lr", 0.1), ("steps", 10)]


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("train.sh", b"python train.py\n", "is no Python script"),
        ("train.py", b"def (:\n", "train.py:1: is no Python that this version reads"),
        ("missing.py", None, "cannot be read: No such file"),
    ],
)
def test_what_is_no_python_is_refused(tmp_path: Path, name: str, content: bytes | None, sentence: str) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(ConfigError, match=sentence):
        inspect_script(path)
