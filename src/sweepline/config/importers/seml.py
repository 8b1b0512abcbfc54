"""seml: a config of Sacred experiments for a cluster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sweepline.config.importers.base import (
    REPLACE_ME,
    Config,
    Imported,
    choice,
    integers,
    log_uniform,
    mapping,
    number,
    points,
    spaced,
    uniform,
)
from sweepline.errors import ConfigError

_BLOCKS = ("seml", "slurm", "fixed", "grid", "random")
_RANDOM_KEYS = ("samples", "seed")


def is_seml(value: Mapping[Any, Any]) -> bool:
    """Whether a file is a config of seml's."""
    has_space = any(isinstance(value.get(key), Mapping) for key in ("grid", "random", "fixed"))
    return has_space and (isinstance(value.get("seml"), Mapping) or isinstance(value.get("slurm"), (Mapping, list)))


def import_seml(config: Config) -> Imported:
    """Return the sweep of a config."""
    found = Imported()
    seml = config.block("seml")
    found.put("name", seml.get("name"))
    found.put("program", str(seml.get("executable") or REPLACE_ME))
    drawn = _flat(config.block("random"))
    found.put("method", "random" if drawn else "grid")
    found.put("command", ["${interpreter}", "${program}", "with", "${args_no_hyphens}"])
    if drawn:
        samples = config.block("random").get("samples")
        found.put("samples", int(number(samples, "random.samples")) if samples is not None else 10)
        found.put("seed", config.block("random").get("seed"))
    _parameters(found, config, drawn)
    found.note("metric", "seml keeps what the experiment returns: print it as METRIC, and name it in metric:")
    _leave_rest(found, config, seml)
    return found


def _parameters(found: Imported, config: Config, drawn: Mapping[str, Any]) -> None:
    parameters: dict[str, Any] = {key: {"value": value} for key, value in _flat(config.block("fixed")).items()}
    groups: dict[str, list[str]] = {}
    for key, spec in _flat(config.block("grid")).items():
        parameters[key] = _grid(key, mapping(spec))
        if mapping(spec).get("zip_id") is not None:
            groups.setdefault(str(spec["zip_id"]), []).append(key)
    for key, spec in drawn.items():
        parameters[key] = _random(key, mapping(spec))
        if "seed" in mapping(spec):
            found.note(f"random.{key}.seed", "has no counterpart: every parameter has a stream of its own")
    if drawn and config.block("grid"):
        found.note("grid", "beside random: its values are drawn too here, not combined with each sample")
    found.put("parameters", parameters)
    zipped = [names for names in groups.values() if len(names) > 1]
    if zipped and drawn:
        found.note("zip_id", "goes with grids alone here")
    elif zipped:
        found.put("zip", zipped)


def _flat(block: Mapping[Any, Any], prefix: str = "") -> dict[str, Any]:
    """Return the parameters of a block by dotted names: a mapping with a type is one."""
    found: dict[str, Any] = {}
    for key, value in block.items():
        name = f"{prefix}{key}"
        if not prefix and key in _RANDOM_KEYS and not isinstance(value, Mapping):
            found |= {name: value} if key == "seed" and "samples" not in block else {}
        elif isinstance(value, Mapping) and value and "type" not in value:
            found |= _flat(value, f"{name}.")
        else:
            found[name] = value
    return found


def _grid(name: str, spec: Mapping[Any, Any]) -> dict[str, Any]:
    kind = spec.get("type")
    if kind in ("choice", "parameter_collection"):
        return choice(spec.get("options", []))
    low, high = number(spec.get("min"), f"{name}.min"), number(spec.get("max"), f"{name}.max")
    if kind == "range":
        step = number(spec.get("step", 1), f"{name}.step")
        return choice([value for value in points(low, high, step) if value < high])
    if kind in ("uniform", "loguniform"):
        n = int(number(spec.get("num"), f"{name}.num"))
        return choice(spaced(float(low), float(high), n, is_log=kind == "loguniform"))
    raise ConfigError(f"grid.{name}: unknown type {kind!r}; there are choice, range, uniform and loguniform")


def _random(name: str, spec: Mapping[Any, Any]) -> dict[str, Any]:
    kind = spec.get("type")
    if kind == "choice":
        return choice(spec.get("options", []))
    if kind == "randint":
        return integers(spec.get("min"), int(number(spec.get("max"), name)) - 1)
    if kind in ("uniform", "loguniform"):
        return (log_uniform if kind == "loguniform" else uniform)(spec.get("min"), spec.get("max"))
    raise ConfigError(f"random.{name}: unknown type {kind!r}; there are choice, randint, uniform and loguniform")


def _leave_rest(found: Imported, config: Config, seml: Mapping[Any, Any]) -> None:
    if config.value.get("slurm"):
        found.note("slurm", "runs are processes of this machine")
    for key in seml:
        if key not in ("name", "executable", "output_dir", "description"):
            found.note(f"seml.{key}", "has no counterpart here")
    for key, value in config.value.items():
        if key not in _BLOCKS and isinstance(value, Mapping):
            found.note(str(key), "a configuration of its own beside the shared one: import it as a file of its own")
