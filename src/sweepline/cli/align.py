"""``sweepline align``: whether configurations are trained as a champion was, key by key, and what differences give."""

from __future__ import annotations

import argparse
import functools
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml

from sweepline.analysis.alignment import ALIGNED, AlignedKey, Alignment
from sweepline.cli.asjson import add_json, print_json
from sweepline.contract.configfile import experiment_dir
from sweepline.contract.text import display_path, printable
from sweepline.contract.values import format_value
from sweepline.display.formats import align_columns
from sweepline.engine.aligning import AlignSide, align_sides, find_side, load_waivers
from sweepline.errors import ConfigError

HELP = "whether configs or runs are trained as a champion was, key by key (--ablate: what each difference gives)"
DESCRIPTION = (
    "Says key by key whether configs or runs are trained as a champion was: what matches, what differs, what is "
    "missing, what is waived. With --ablate it trains the way from here to the champion and says what each difference "
    "gives."
)
EXAMPLES = (
    ("sweepline align champion.yaml", "./config.yaml beside the champion"),
    (
        "sweepline align champion.yaml cfg/mine.yaml --except seed,device --json",
        "another config, two keys left out, as JSON",
    ),
    ("sweepline align champion.yaml --write aligned.yaml", "write a config that matches the champion"),
    (
        "sweepline align champion.yaml --ablate --seeds 0,1,2 -n",
        "the steps of the way and their price, before they are trained",
    ),
)
EXIT_CODES = {
    0: "all keys match or are waived",
    1: "some do not",
    2: "something cannot be read",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    sides = "a config, a frozen config, a preset, a run (id, name or folder), a W&B run, any YAML or JSON"
    parser.add_argument("champion", metavar="CHAMPION", help=f"what is the measure: {sides}")
    parser.add_argument("others", nargs="*", metavar="CONFIG|RUN", help="what is measured (default: config.yaml)")
    parser.add_argument("--sweep", type=Path, default=Path("sweep.yaml"), help="where names of runs are looked for")
    parser.add_argument(
        "--except", dest="excepted", action="append", default=[], metavar="KEY,KEY", help="they may differ"
    )
    parser.add_argument("--waivers", type=Path, metavar="FILE", help="waive: {key: reason}; names: {its key: ours}")
    parser.add_argument("--all", action="store_true", help="show keys that match too")
    parser.add_argument("--no-build", action="store_true", help="compare keys alone: no optimizer is built, in 0.5 s")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write a config that matches the champion")
    parser.add_argument("--ablate", action="store_true", help="train the way from here to the champion, key by key")
    group = parser.add_argument_group("with --ablate")
    group.add_argument("--metric", help="what is compared (default: that of the sweep, else valid_loss)")
    group.add_argument("--goal", choices=["minimize", "maximize"], help="default: as the metric's name tells")
    group.add_argument("--seeds", default="0,1,2", metavar="N,N", help="runs of each configuration (default: 0,1,2)")
    group.add_argument(
        "--order", action="append", default=[], metavar="KEY,KEY", help="keys of a step together; may be repeated"
    )
    group.add_argument("--greedy", action="store_true", help="at each step the key that gives most: k (k + 1) / 2 + 1")
    group.add_argument("--set", dest="fixed", action="append", default=[], metavar="KEY=VALUE", help="for every run")
    group.add_argument("-n", "--dry-run", action="store_true", help="print the steps and their price, and end")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Print how configurations stand to the champion; return 0 when all keys match or are waived, else 1.

    Raises:
        SweeplineError: something cannot be read.
    """
    if args.greedy and not args.ablate:
        raise ConfigError("--greedy is of --ablate, which trains the way; give both")
    excepted = [key for text in args.excepted for key in text.split(",") if key]
    words = args.others or [_default_config(args.sweep)]
    folders = dict.fromkeys(path / "presets" for path in _config_folders(args.sweep))
    with ThreadPoolExecutor(2) as pool:  # each may be a process of its own that builds what its config says
        find = functools.partial(
            find_side, sweep=args.sweep, presets=[*folders], is_built=not (args.no_build or args.ablate)
        )
        champion, *others = pool.map(find, [args.champion, *words])
    if args.ablate:
        from sweepline.cli.ablate import run_ablation

        return run_ablation(champion, others, args, load_waivers(args.waivers, excepted))
    waivers = load_waivers(args.waivers, excepted)
    found = [(side, align_sides(champion, side, waivers)) for side in others]
    is_aligned = all(key.state in ALIGNED for _, keys in found for key in keys)
    if args.json:
        told = [{"label": side.label, "keys": keys} for side, keys in found]
        print_json({"champion": champion.label, "is_aligned": is_aligned, "configs": told})
    else:
        for side, keys in found:
            for line in _lines(champion, side, keys, shows_all=args.all):
                print(printable(line))
    if args.write is not None:
        _write(args.write, *found[0])
    return 0 if is_aligned else 1


def _config_folders(sweep: Path) -> list[Path]:
    here = sweep.parent if sweep.suffix else sweep
    return [here, here / "cfg", experiment_dir(sweep) / "cfg"]


def _default_config(sweep: Path) -> str:
    for folder in _config_folders(sweep):
        if (folder / "config.yaml").is_file():
            return str(folder / "config.yaml")
    raise ConfigError("name what is compared with the champion: there is no config.yaml here")


def _lines(champion: AlignSide, side: AlignSide, keys: Sequence[AlignedKey], *, shows_all: bool) -> Iterator[str]:
    shown = [key for key in keys if shows_all or key.state != Alignment.MATCH]
    if shown:
        head = ["key", f"champion: {champion.label}", f"here: {side.label}", ""]
        rows = [[key.key, *_values(key), f"{key.state.value}{f' ({key.note})' if key.note else ''}"] for key in shown]
        yield from align_columns([head, *rows])
    counted = Counter(key.state for key in keys)
    yield f"{side.label}: " + ", ".join(f"{counted[state]} {state.value}" for state in Alignment if counted[state])
    for fault in dict.fromkeys(filter(None, (champion.fault, side.fault))):
        yield f"  no model was built, the optimizer alone is compared: {fault}"
    if champion.is_partial:
        yield f"  {champion.label} is a preset: what it does not name is not compared"


def _values(key: AlignedKey) -> list[str]:
    missing = {Alignment.MISSING_HERE: 1, Alignment.MISSING_IN_CHAMPION: 0}.get(key.state)
    return ["-" if i == missing else format_value(value) for i, value in enumerate((key.champion, key.here))]


def _write(path: Path, side: AlignSide, keys: Sequence[AlignedKey]) -> None:
    """Write a config that inherits from a side and has the champion's values, every digit of them."""
    if path.exists():
        raise ConfigError(f"--write {display_path(path)}: it is there already; name a file that is not")
    if side.path is None:
        raise ConfigError(f"--write: {side.label} is no config of train_single.py, which alone can inherit")
    wanted = {
        key.key: key.champion
        for key in keys
        if key.state in (Alignment.ROUNDED, Alignment.MISMATCH) and not key.key.startswith(("built.", "environment."))
    }
    tree: dict[str, Any] = {} if side.is_frozen else {"base": os.path.relpath(side.path, path.parent)}
    tree |= dict(side.keys) | wanted if side.is_frozen else wanted
    path.write_text(yaml.safe_dump(tree, sort_keys=False), encoding="utf-8")
    print(f"written: {display_path(path)}")
