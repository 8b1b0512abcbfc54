"""Determined: an experiment's config, its hyperparameters and its searcher."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sweepline.config.importers.base import (
    DEFAULT_SAMPLES,
    REPLACE_ME,
    Config,
    Imported,
    choice,
    integers,
    log_uniform,
    number,
    spaced,
    uniform,
)
from sweepline.config.importers.words import command_words
from sweepline.errors import ConfigError

_KNOWN = (
    "name",
    "description",
    "hyperparameters",
    "searcher",
    "entrypoint",
    "resources",
    "max_restarts",
    "project",
    "workspace",
)
_SEARCHER = (
    "name",
    "metric",
    "smaller_is_better",
    "max_trials",
    "max_concurrent_trials",
    "divisor",
    "max_length",
    "mode",
    "source_trial_id",
)


def is_determined(value: Mapping[Any, Any]) -> bool:
    """Whether a file is an experiment of Determined's."""
    return isinstance(value.get("hyperparameters"), Mapping) and isinstance(value.get("searcher"), Mapping)


def import_determined(config: Config) -> Imported:
    """Return the sweep of an experiment."""
    found = Imported()
    searcher = config.block("searcher")
    name = str(searcher.get("name", "random"))
    is_grid = name == "grid"
    found.put("name", config.value.get("name"))
    _command(found, config.value.get("entrypoint"))
    found.put("method", "grid" if name in ("grid", "single") else "random")
    is_less = searcher.get("smaller_is_better", True)
    found.put(
        "metric",
        {"name": str(searcher.get("metric", "validation_loss")), "goal": "minimize" if is_less else "maximize"},
    )
    if found.keys["method"] == "random":
        found.put("samples", int(number(searcher.get("max_trials", DEFAULT_SAMPLES), "searcher.max_trials")))
    found.put("max_concurrent", searcher.get("max_concurrent_trials") or None)
    if "asha" in name or "adaptive" in name:
        found.put("early_terminate", {"type": "asha", "factor": number(searcher.get("divisor", 4), "searcher.divisor")})
        found.note(
            "searcher", f"{name} is asha here, by points of the metric; max_length and the brackets are not read"
        )
    found.put("retry", config.value.get("max_restarts") or None)
    found.put("parameters", dict(_parameters(found, config.block("hyperparameters"), (), is_grid=is_grid)))
    found.note(
        "metrics", f"are not reported to a master: print METRIC {found.keys['metric']['name']}=0.5 in the script"
    )
    _leave_rest(found, config, searcher)
    return found


def _command(found: Imported, entrypoint: Any) -> None:
    text = " ".join(map(str, entrypoint)) if isinstance(entrypoint, list) else str(entrypoint or "")
    program, words = command_words(text)
    if not program or ":" in program:
        found.put("program", REPLACE_ME)
        found.note(
            "entrypoint", f"{text or 'it'} is no script: replace {REPLACE_ME} by one that trains and reads --NAME=VALUE"
        )
        return
    found.put("program", program)
    if words != ["${interpreter}", "${program}"]:
        found.put("command", [*words, "${args}"])
    found.note("hyperparameters", "are not handed over by Determined's context: the script gets --NAME=VALUE")


def _parameters(
    found: Imported, block: Mapping[Any, Any], path: tuple[str, ...], *, is_grid: bool
) -> list[tuple[str, Any]]:
    """Return the parameters of a block, nested ones with dotted names."""
    parameters: list[tuple[str, Any]] = []
    for key, spec in block.items():
        here = (*path, str(key))
        if isinstance(spec, Mapping) and "type" not in spec:
            parameters += _parameters(found, spec, here, is_grid=is_grid)
        else:
            parameters.append((".".join(here), _parameter(found, ".".join(here), spec, is_grid=is_grid)))
    return parameters


def _parameter(found: Imported, name: str, spec: Any, *, is_grid: bool) -> dict[str, Any]:
    if not isinstance(spec, Mapping):
        return {"value": spec}
    kind = spec.get("type")
    if kind == "const":
        return {"value": spec.get("val")}
    if kind == "categorical":
        return choice(spec.get("vals", []))
    low, high = number(spec.get("minval"), f"{name}.minval"), number(spec.get("maxval"), f"{name}.maxval")
    if kind == "log":
        base = float(number(spec.get("base", 10.0), f"{name}.base"))
        low, high = base**low, base**high
    count = spec.get("count")
    if is_grid and count:
        return choice(_grid(low, high, int(number(count, f"{name}.count")), str(kind)))
    if count:
        found.note(f"{name}.count", "is for grids, and this draws")
    if kind == "int":
        return integers(low, high)
    if kind in ("double", "log"):
        return (log_uniform if kind == "log" else uniform)(low, high)
    raise ConfigError(
        f"hyperparameters.{name}: unknown type {kind!r}; there are const, categorical, int, double and log"
    )


def _grid(low: float, high: float, count: int, kind: str) -> list[Any]:
    if kind == "int":
        n = min(count, int(high) - int(low) + 1)
        return sorted({round(value) for value in spaced(int(low), int(high), n)})
    return spaced(float(low), float(high), count, is_log=kind == "log")


def _leave_rest(found: Imported, config: Config, searcher: Mapping[Any, Any]) -> None:
    resources = config.block("resources")
    n_slots = resources.get("slots_per_trial")
    if isinstance(n_slots, int) and n_slots > 1:
        found.note("resources.slots_per_trial", f'for {n_slots} GPUs a run write devices: ["0,1", "2,3"] or alike')
    found.leave(resources, ("slots_per_trial",), at="resources.")
    found.leave(searcher, _SEARCHER, at="searcher.")
    found.leave(config.value, _KNOWN)
