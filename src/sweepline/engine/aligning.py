"""Champions and candidates by name: runs, frozen configs, presets, W&B runs, any YAML or JSON; as flat keys."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sweepline.analysis.alignment import ALIGNED, AlignedKey, align, waiver_of
from sweepline.config.settings import SweepSettings
from sweepline.contract.configfile import read_chain
from sweepline.contract.runfolder import EFFECTIVE_CONFIG
from sweepline.contract.text import display_path
from sweepline.contract.values import flatten, format_value
from sweepline.contract.yamlfile import read_yaml
from sweepline.engine.histories import read_wandb_files
from sweepline.engine.rundiff import FoundRun, find_run, provenance_of
from sweepline.engine.sides import wandb_files_in
from sweepline.errors import ConfigError, did_you_mean
from sweepline.space.parameters import Constant

PRESETS = "presets"
_FROZEN_MARK = "_frozen_config_version"
_ENVIRONMENT = ("torch", "numpy", "python")
_SUFFIXES = (".yaml", ".yml", ".json")


@dataclass(frozen=True, slots=True, kw_only=True)
class AlignSide:
    """A configuration as flat keys.

    ``path`` is the config that our trainer reads, None for another program's. ``built`` and ``environment`` are what
    is known beyond the keys; ``is_partial`` tells that it asks for nothing that it does not name.
    """

    label: str
    keys: Mapping[str, Any]
    path: Path | None = None
    is_frozen: bool = False
    built: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    is_partial: bool = False
    fault: str = ""
    run: FoundRun | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Waivers:
    """What may differ, by key with the reason, and how a champion's keys are called here."""

    waived: Mapping[str, str] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)


def find_side(word: str, *, sweep: Path, presets: Sequence[Path], is_built: bool) -> AlignSide:
    """Return the configuration that a word names.

    Args:
        word: a file, a run's folder, the id or name of a run of ``sweep``, a W&B run's folder, or a preset's name.
        sweep: where names of runs are looked for.
        presets: folders in which presets are looked for.
        is_built: whether objects are built of a config of our trainer, which takes seconds.

    Raises:
        SweeplineError: it names nothing, or what it names cannot be read.
    """
    path = Path(word)
    if path.is_file() and path.suffix in _SUFFIXES:
        return _of_file(path, label=display_path(path), is_built=is_built)
    for folder in presets:
        preset = folder / f"{word}.yaml"
        if preset.is_file():
            return _of_file(preset, label=word, is_built=is_built)
    for folder in (path.parent, *(preset.parent for preset in presets)):  # beside the presets, as config.yaml in cfg
        if (folder / path.name).is_file() and path.suffix in _SUFFIXES and folder != path.parent:
            return _of_file(folder / path.name, label=display_path(folder / path.name), is_built=is_built)
    if path.exists() and not (path.parent.name == "runs" and path.is_dir()):
        return _of_wandb(path) or _of_folder(path, is_built=is_built)
    try:
        found = find_run(word, sweep)
    except ConfigError as error:
        known = sorted({preset.stem for folder in presets for preset in folder.glob("*.yaml")})
        raise ConfigError(
            f"{word}: neither a config file nor a run's folder, nor a preset ({', '.join(known) or 'there are none'}), "
            f"nor a run{did_you_mean(word, known) or f': {error}'}"
        ) from None
    return _of_run(found, is_built=is_built)


def _of_file(path: Path, *, label: str, is_built: bool) -> AlignSide:
    try:
        value = json.loads(path.read_text(encoding="utf-8")) if path.suffix == ".json" else read_yaml(path).value
    except (OSError, ValueError) as error:
        raise ConfigError(f"{display_path(path)}: cannot be read: {error}") from None
    if not isinstance(value, Mapping):
        raise ConfigError(f"{display_path(path)}: a configuration is a mapping of keys, got {type(value).__name__}")
    is_frozen = _FROZEN_MARK in value
    side = _of_trainer(path, label=label, is_frozen=is_frozen, is_built=is_built)
    if side is None:
        return AlignSide(label=label, keys=flatten(_unwrapped(value)))
    if path.parent.name != PRESETS:
        return side
    named = {key for _, document in read_chain(path) for key in flatten(document.value or {})}
    built = {name: value for name, value in side.built.items() if name.startswith(("optimizer", "step_size "))}
    keys = {key: value for key, value in side.keys.items() if key in named}
    return AlignSide(label=label, keys=keys, path=path, built=built, is_partial=True)


def _unwrapped(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return a foreign config with W&B's ``{value: ...}`` around each key taken off, and without its notes."""
    return {
        str(key): item["value"] if isinstance(item, Mapping) and "value" in item and len(item) <= 2 else item
        for key, item in value.items()
        if not str(key).startswith("_")
    }


def _of_trainer(
    path: Path, *, label: str, is_frozen: bool, is_built: bool, overrides: Sequence[str] = ()
) -> AlignSide | None:
    """Return a config as our trainer understands it; None where it has keys that are not the trainer's."""
    source = "--frozen-config" if is_frozen else "--config"
    words = [source, str(path), "--describe", "built" if is_built else "keys", "--", *overrides]
    done = subprocess.run(
        [sys.executable, "-m", "sweepline.training", *words], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        if "unknown key" in done.stderr:
            return None
        raise ConfigError(*(line.removeprefix("train_single: ") for line in done.stderr.splitlines()[-3:] if line))
    told = json.loads(done.stdout)
    return AlignSide(
        label=label,
        keys=told["keys"],
        path=path,
        is_frozen=is_frozen,
        built=told.get("built", {}),
        environment=told.get("environment", {}),
        fault=told.get("fault", ""),
    )


def trainer_accepts(side: AlignSide, values: Mapping[str, Any]) -> str:
    """Return why a config with other values cannot be trained; empty where it can."""
    assert side.path is not None
    overrides = [f"{name}={format_value(value)}" for name, value in values.items()]
    try:
        _of_trainer(side.path, label=side.label, is_frozen=side.is_frozen, is_built=False, overrides=overrides)
    except ConfigError as error:
        return str(error)
    return ""


def _of_run(found: FoundRun, *, is_built: bool) -> AlignSide:
    """Return the effective config of a run that wrote one down, else its parameters; with where it ran."""
    run_dir = found.sweep.folder.run_dir(found.record.run_id)
    label = f"{found.record.name} ({found.record.run_id})"
    environment = _environment_of(found)
    if (run_dir / EFFECTIVE_CONFIG).is_file():
        side = _of_file(run_dir / EFFECTIVE_CONFIG, label=label, is_built=is_built)
        keys, path, built, fault = side.keys, side.path, side.built, side.fault
    else:
        seed = {} if found.record.seed is None else {"seed": found.record.seed}
        keys, path, built, fault = {**flatten(dict(found.record.params)), **seed}, None, {}, ""
    return AlignSide(label=label, keys=keys, path=path, built=built, environment=environment, fault=fault, run=found)


def _environment_of(found: FoundRun) -> dict[str, Any]:
    told = provenance_of(found)
    packages = {
        name: str(told[f"package {name}"]).partition(" ")[0] for name in _ENVIRONMENT if f"package {name}" in told
    }
    device = "cpu" if found.record.device == "cpu" else "cuda"
    return {**packages, "device": device} if told else {}


def _of_folder(path: Path, *, is_built: bool) -> AlignSide:
    config = path / EFFECTIVE_CONFIG
    if not config.is_file():
        raise ConfigError(f"{display_path(path)}: holds no {EFFECTIVE_CONFIG}, and no W&B run")
    return _of_file(config, label=display_path(path), is_built=is_built)


def _of_wandb(path: Path) -> AlignSide | None:
    """Return the config of a W&B run; None where there is none."""
    files = wandb_files_in(path)
    if not files:
        return None
    run = read_wandb_files(files)
    return AlignSide(label=run.name, keys=run.params)


def load_waivers(path: Path | None, excepted: Sequence[str] = ()) -> Waivers:
    """Return the waivers of a file, ``waive: {key: reason}`` and ``names: {champion's key: key}``, and those excepted.

    Raises:
        ConfigError: it cannot be read, or gives no reason.
    """
    value: Any = {} if path is None else read_yaml(path).value
    unknown = sorted(set(value) - {"waive", "names"}) if isinstance(value, Mapping) else ["?"]
    parts = [value.get(name) or {} for name in ("waive", "names")] if not unknown else []
    if unknown or not all(isinstance(part, Mapping) for part in parts):
        unknown = unknown or ["a list or a word where a mapping belongs"]
        raise ConfigError(f"{path}: waivers are 'waive:' with a reason for each key, and 'names:'; got {unknown[0]}")
    waived = flatten(value.get("waive") or {})
    blank = next((key for key, reason in waived.items() if not isinstance(reason, str) or not reason.strip()), None)
    if blank is not None:
        raise ConfigError(f"{path}: waive: {blank} needs a reason, for whoever reads this later")
    return Waivers(waived={**waived, **dict.fromkeys(excepted, "excepted")}, names=flatten(value.get("names") or {}))


def align_sides(champion: AlignSide, here: AlignSide, waivers: Waivers) -> list[AlignedKey]:
    """Return how a configuration stands to the champion: keys, what is built of them, environment.

    Raises:
        ConfigError: a waiver names no key.
    """
    keys = {waivers.names.get(name, name): value for name, value in champion.keys.items()}
    known = [*keys, *here.keys, *(f"built.{name}" for name in {**champion.built, **here.built})]
    known += [f"environment.{name}" for name in {**champion.environment, **here.environment}]
    sections = {name.rpartition(".")[0] for name in known}
    for name in waivers.waived:
        if name.rstrip(".") not in {*known, *sections, "built", "environment"}:
            raise ConfigError(f"{name}: no such key may differ{did_you_mean(name, [*known, *sections])}")
    waived = {**_derived(waivers.waived), **waivers.waived}
    found = align(keys, here.keys, waived=waivers.waived, is_partial=champion.is_partial)
    for name, one, other in (
        ("built", champion.built, here.built),
        ("environment", champion.environment, here.environment),
    ):
        if one and other:
            sides = [{f"{name}.{key}": value for key, value in side.items()} for side in (one, other)]
            shared = {key: value for key, value in sides[1].items() if name == "built" or key in sides[0]}
            found += align(sides[0], shared, waived=waived, is_partial=True)
    return found


def _derived(waived: Mapping[str, str]) -> dict[str, str]:
    """Return what is waived with a key because it follows from it: the optimizer that is built, and its rates."""
    found: dict[str, str] = {}
    for key, reason in waived.items():
        section = key.partition(".")[0]
        if section in ("learner", "schedule", "epochs", "batch_size", "batch_size_config"):
            found["built.step_size of epoch"] = reason
        if section == "learner":
            found["built.optimizer"] = reason
        if section in ("data", "model"):
            found |= {"built.parameters": reason, "built.examples": reason}
    return found


def check_alignment(settings: SweepSettings) -> None:
    """Make sure that all runs of a sweep are trained as the champion was that its file names.

    Raises:
        ConfigError: with every key that is not, and is not excepted.
    """
    wanted, config = settings.align, next(iter(settings.command.config_files), None)
    if wanted is None:
        return
    if config is None:
        raise ConfigError(f"{display_path(settings.path)}: align needs config, the file that is compared")
    folder = settings.experiment_dir
    places = [path / PRESETS for path in (folder, folder / "cfg")]
    named = (path / wanted.champion for path in (settings.path.parent, folder))
    word = next((str(path) for path in named if path.exists()), wanted.champion)
    champion = find_side(word, sweep=settings.path, presets=places, is_built=False)
    fixed = {name: p.value for name, p in settings.space.parameters.items() if isinstance(p, Constant)}
    overrides = [f"{name}={format_value(value)}" for name, value in fixed.items()]
    here = _of_trainer(config, label=display_path(config), is_frozen=False, is_built=False, overrides=overrides)
    if here is None:
        raise ConfigError(f"{display_path(config)}: align: it is no config of the trainer")
    path = settings.path.parent / wanted.waivers if wanted.waivers else None
    waivers = load_waivers(path, wanted.excepted)
    found = align_sides(champion, here, waivers)
    swept = [name for name in settings.space.swept if waiver_of(name, waivers.waived) is None]
    faults = [
        f"align: {key.key} is {format_value(key.here)}, the champion's is {format_value(key.champion)}; use that, or "
        f"except {key.key}"
        for key in found
        if key.state not in ALIGNED and key.key not in (*swept, "seed")
    ]
    faults += [f"align: {name} is swept, so that runs differ from the champion; except it" for name in swept]
    if faults:
        raise ConfigError(*(f"{display_path(settings.path)}: {fault}" for fault in faults))
