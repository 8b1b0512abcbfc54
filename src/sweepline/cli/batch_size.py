"""``sweepline batch-size``: which size fits, and for our trainer which is efficient; or which fits any program."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from sweepline.cli.asjson import add_json, print_json
from sweepline.cli.durations import duration
from sweepline.cli.manual import new_parser
from sweepline.cli.progress import write_progress
from sweepline.config.faults import describe_detail
from sweepline.config.schema import FitsModel
from sweepline.config.settings import SweepSettings
from sweepline.config.sweepfile import escape_macros, load_command
from sweepline.contract.text import display_path
from sweepline.engine.batchsize.finder import find_batch_size
from sweepline.engine.batchsize.probe import OOM
from sweepline.engine.batchsize.records import FOLDER, RECORDS
from sweepline.engine.state import SweepOptions
from sweepline.errors import ConfigError
from sweepline.reports.batch_size import write_plots

HELP = "the batch size that fits: of our trainer (-- key=value ...), of any program (--flag NAME -- PROGRAM ...)"
DESCRIPTION = (
    "Finds the largest batch size that fits, by starting the program with one size after another, each in a process "
    "of its own. With --flag NAME, or ${batch_size} in the command, that is any program. Without, it is the built-in "
    "trainer, for which it also says which size is efficient, what to use and why, with a plot."
)
EXAMPLES = (
    (
        "sweepline batch-size --flag batch_size -- python train.py --epochs 1",
        "the largest size of any program that takes --batch_size=N",
    ),
    ("sweepline batch-size --flag batch_size= --json -- python train_hydra.py", "the same of a Hydra program, as JSON"),
    ("sweepline batch-size -- model.width=64", "of the built-in trainer, with one key of its config given"),
    ("sweepline batch-size --history outputs/experimentruns", "only draw what was measured before"),
)
EXIT_CODES = {
    0: "a size was found",
    2: "no size runs, or nothing could start",
}
HISTORY = "--history"
NO_PLOT = "--no-plot"
PARAMETER = "batch_size"
_DURATIONS = ("seconds", "timeout")
_METAVARS = {"progress": "REGEX", "mode": "MODE"}
PLACE = f"${{{PARAMETER}}}"
NOTES = (
    "The program is started as it is, in this folder, with one size after another, and ended once it has printed what "
    "is asked for. What it writes to a fixed path, such as checkpoints, it writes over: $SWEEPLINE_RUN_DIR is a folder "
    f"of each try's own. The size goes to the option that --flag names, or where {PLACE} stands in the command."
)


def run_with_words(argv: Sequence[str]) -> int:
    """Try sizes, or with ``--history FOLDER`` only draw what is known; return the exit code.

    Raises:
        SweeplineError: there is nothing to draw, or no size runs.
    """
    if argv[:1] == [HISTORY]:
        if len(argv) != 2:
            raise ConfigError(f"{HISTORY} takes the folder of an experiment, which holds batch_size_tuning.json")
        _draw(Path(argv[1]), None)
        return 0
    at = argv.index("--") if "--" in argv else len(argv)
    own, program = list(argv[:at]), list(argv[at + 1 :])
    if any(word.partition("=")[0] == "--flag" for word in own) or any(PLACE in word for word in program):
        return _find_for_program(build_parser().parse_args(own), program)
    if program and not all("=" in word for word in program):
        raise ConfigError(
            f"batch-size: say where {program[0]} takes the size: --flag batch_size -- {program[0]} ..., or {PLACE} in "
            "the command"
        )
    return _find_for_trainer(argv)


def _find_for_trainer(argv: Sequence[str]) -> int:
    wants_plot = NO_PLOT not in argv
    words = [word for word in argv if word != NO_PLOT]
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "answer.json"
        program = [sys.executable, "-m", "sweepline.training.batchsize", "--answer", str(answer)]
        code = subprocess.run([*program, *words], check=False).returncode
        if code != 0 or not answer.exists():
            return code
        told = json.loads(answer.read_text(encoding="utf-8"))
    experiment_dir = Path(told["experiment_dir"])
    print(f"{'recorded':18} {display_path(experiment_dir / 'batch_size_tuning.json')}, run {told['run_number']}")
    if wants_plot:
        _draw(experiment_dir, told["run_number"])
    return 0


def _find_for_program(args: argparse.Namespace, words: list[str]) -> int:
    if not words:
        raise ConfigError("batch-size: name the program after --, as in --flag batch_size -- python train.py")
    given = {name: getattr(args, name) for name in FitsModel.model_fields if getattr(args, name, None) is not None}
    try:
        fits = FitsModel.model_validate(given)
    except ValidationError as error:
        detail = error.errors()[0]
        name = str(detail["loc"][0]).replace("_", "-") if detail["loc"] else ""
        raise ConfigError(f"--{name}: {describe_detail(detail)}") from None
    settings = _settings_of(words, args.flag)
    found = find_batch_size(
        settings,
        parameter=PARAMETER,
        fits=fits,
        base={},
        options=SweepOptions(devices=args.devices),
        is_again=args.again,
        write_option=_write_option,
        tell=write_progress,
    )
    n_oom = sum(probe["status"] == OOM for probe in found.probes)
    if args.json:
        print_json(found)
        return 0
    how = [f"{len(found.probes)} probes", f"{n_oom} out of memory"]
    how += [f"limit {found.limit_bytes / 2**20:,.0f} MiB"] if found.limit_bytes else []
    told = "; ".join(filter(None, (found.remark, ", ".join(how))))
    print(f"largest that {found.verb}  {found.largest} ({told})")
    print(f"batch size         {found.batch_size} (safety factor {found.safety_factor})")
    print(f"recorded           {display_path(settings.sweep_dir / FOLDER / RECORDS)}; --again tries anew")
    return 0


def _write_option(name: str, value: str) -> str:
    return f"--{name.replace('_', '-')} {value}"


def _settings_of(words: Sequence[str], flag: str | None) -> SweepSettings:
    """Return the command as a sweep of one parameter, the size."""
    command = [PLACE.join(map(escape_macros, word.split(PLACE))) for word in words]
    if flag is not None:
        name = flag.lstrip("-")
        command.append(f"{name}{PLACE}" if name.endswith("=") else f"--{name}={PLACE}")
    parameters = {PARAMETER: {"value": 1}}
    return load_command(command, name=FOLDER, parameters=parameters, folder=Path.cwd(), metric={"name": "loss"})


def print_program_help() -> int:
    """Say what is taken without a program: the words are then our trainer's."""
    print("Without a program, for the built-in trainer:\n", flush=True)
    return _find_for_trainer(["--help"])


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of what stands before ``--``."""
    usage = "sweepline batch-size --flag NAME [options] -- PROGRAM ..."
    parser = new_parser("batch-size", sys.modules[__name__], usage=usage)
    parser.add_argument(
        "--flag", metavar="NAME", help="the option that takes the size: batch_size, or batch_size= (Hydra)"
    )
    for name, field in FitsModel.model_fields.items():
        if name != "per":
            told = (
                ""
                if field.default is None
                else f" (default: {f'{field.default:g} s' if name in _DURATIONS else field.default})"
            )
            parser.add_argument(
                f"--{name.replace('_', '-')}",
                type=_kind_of(name, field),
                metavar="TIME" if name in _DURATIONS else _METAVARS.get(name, "N"),
                help=f"{field.description}{told}",
            )
    parser.add_argument("--devices", metavar="D", help="auto, cpu, or GPUs such as 0")
    parser.add_argument("--again", action="store_true", help="try although the size was found before")
    add_json(parser)
    return parser


def _kind_of(name: str, field: FieldInfo) -> Callable[[str], Any]:
    """Return what reads the word of an option."""
    if name in _DURATIONS:
        return duration
    return float if name in ("safety_factor", "memory_gib") else int if "int" in str(field.annotation) else str


def _draw(experiment_dir: Path, number: int | None) -> None:
    for path in write_plots(experiment_dir, number=number):
        print(f"{'plot':18} {display_path(path)}")
