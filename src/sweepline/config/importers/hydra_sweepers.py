"""Hydra's sweepers: Optuna, Ax, Nevergrad and the basic one, in an app's config or in ``conf/hydra/sweeper/``."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Mapping
from typing import Any

from sweepline.config.importers.base import (
    DEFAULT_SAMPLES,
    REPLACE_ME,
    Config,
    Imported,
    choice,
    integers,
    log_integers,
    log_uniform,
    mapping,
    number,
    points,
    uniform,
)
from sweepline.contract.yamlfile import parse_yaml
from sweepline.errors import ConfigError

_CALL = re.compile(r"\s*(choice|range|interval|glob|shuffle|sort|int|float|str|tag)\s*\((.*)\)\s*", re.DOTALL)
_SAMPLERS = {"tpe": "tpe", "gp": "gp", "cmaes": "cma", "qmc": "qmc"}
_KNOWN = (
    "_target_",
    "sampler",
    "direction",
    "study_name",
    "storage",
    "n_trials",
    "n_jobs",
    "max_failure_rate",
    "params",
    "search_space",
    "defaults",
)
_SCRIPTS = re.compile(rb"@hydra\.main\(|hydra_main\(")


def is_hydra_sweeper(value: Mapping[Any, Any]) -> bool:
    """Whether a file configures a sweeper of Hydra's."""
    return bool(_sweeper(value))


def _sweeper(value: Mapping[Any, Any]) -> Mapping[Any, Any]:
    nested = mapping(mapping(value.get("hydra")).get("sweeper"))
    is_own = "sweeper" in str(value.get("_target_", "")) or (
        "params" in value and ("sampler" in value or "n_trials" in value)
    )
    return nested or (value if is_own else {})


def import_hydra(config: Config) -> Imported:
    """Return the sweep of a Hydra app."""
    sweeper = _sweeper(config.value)
    found = Imported()
    is_optuna = "n_trials" in sweeper or "sampler" in sweeper or "search_space" in sweeper or "direction" in sweeper
    parameters = _ax(sweeper) or _parametrization(sweeper) or {}
    for name, spec in mapping(sweeper.get("search_space")).items():
        parameters[str(name)] = _old_form(str(name), mapping(spec))
    for name, spec in mapping(sweeper.get("params")).items():
        parameters[str(name).lstrip("+~")] = _override(str(name), spec, has_last=is_optuna)
    _program(found, config)
    _method(found, sweeper, parameters, is_optuna=is_optuna)
    found.put("command", ["${interpreter}", "${program}", "${args_no_hyphens}", "hydra.run.dir=${run_dir}"])
    found.put("parameters", parameters)
    _leave_rest(found, sweeper)
    return found


def _program(found: Imported, config: Config) -> None:
    """Find the app whose config this is: a script above its folder that has Hydra's decorator."""
    for folder in (config.path.absolute().parent, *list(config.path.absolute().parents)[1:4]):
        scripts = [path for path in sorted(folder.glob("*.py")) if _SCRIPTS.search(path.read_bytes())]
        if scripts:
            found.put("program", str(scripts[0]))
            return
    found.put("program", REPLACE_ME)
    found.note("program", f"the file names no program: replace {REPLACE_ME} by the script with @hydra.main")


def _method(found: Imported, sweeper: Mapping[Any, Any], parameters: Mapping[str, Any], *, is_optuna: bool) -> None:
    is_listed = all("values" in spec or "value" in spec for spec in parameters.values())
    if not is_optuna and is_listed:
        found.put("method", "grid")
        return
    sampler = (
        str(mapping(sweeper.get("sampler")).get("_target_", "tpe")).rpartition(".")[2].removesuffix("Sampler").lower()
    )
    if sampler in ("random", "grid"):
        found.put("method", sampler)
    else:
        found.put("method", "bayes")
        found.put("sampler", _SAMPLERS.get(sampler))
        if sampler not in _SAMPLERS:
            found.note("sampler", f"{sampler} is not here: tpe proposes")
    directions = sweeper.get("direction", "minimize")
    many = directions if isinstance(directions, list) else [directions]
    if len(many) > 1:
        found.put("metrics", [{"name": f"objective_{i}", "goal": str(goal)} for i, goal in enumerate(many)])
    else:
        found.put("metric", {"name": "objective", "goal": str(many[0])})
    found.note("direction", "the result is what the function returns; here it has to be printed: METRIC objective=0.5")
    if found.keys["method"] != "grid":
        found.put("samples", int(number(sweeper.get("n_trials", DEFAULT_SAMPLES), "n_trials")))
    found.put(
        "max_concurrent",
        sweeper.get("n_jobs") if isinstance(sweeper.get("n_jobs"), int) and sweeper["n_jobs"] > 0 else None,
    )
    seed = mapping(sweeper.get("sampler")).get("seed")
    found.put("seed", seed if isinstance(seed, int) else None)


def _leave_rest(found: Imported, sweeper: Mapping[Any, Any]) -> None:
    for key in ("storage", "study_name"):
        if sweeper.get(key):
            found.note(
                key, "is not needed: runs are recorded in outputs/, and a sweep goes on when it is started again"
            )
    if sweeper.get("max_failure_rate"):
        found.note("max_failure_rate", "has no counterpart: failed runs are recorded, and the sweep goes on")
    rest = {
        key: one
        for key, one in sweeper.items()
        if key not in (*_KNOWN, "ax_config", "optim", "parametrization", "max_batch_size")
    }
    found.leave(rest, (), at="hydra.sweeper.")
    for key in mapping(sweeper.get("sampler")):
        if key not in ("_target_", "seed"):
            found.note(f"sampler.{key}", "has no counterpart here")


def _override(name: str, spec: Any, *, has_last: bool = False) -> dict[str, Any]:
    """Return a parameter of Hydra's grammar: ``choice(1, 2)``, ``range(1, 5)``, ``interval(0, 1)``, ``a,b``.

    With ``has_last``, as for Optuna, the end of a range is part of it.
    """
    if not isinstance(spec, str):
        return choice(spec) if isinstance(spec, list) else {"value": spec}
    match = _CALL.fullmatch(spec)
    if match is None:
        values = [_scalar(part) for part in _split(spec)]
        return choice(values) if len(values) > 1 else {"value": values[0]}
    kind, inner = match[1], match[2]
    parts = _split(inner)
    if kind in ("shuffle", "sort", "int", "float", "str"):
        return _cast(kind, _override(name, inner, has_last=has_last))
    if kind == "tag":
        return _tagged(name, parts, has_last=has_last)
    if kind == "choice":
        return choice(_scalar(part) for part in parts)
    if kind == "glob":
        raise ConfigError(f"{name}: glob(...) depends on files; list the choices, as [a, b]")
    return _ranged(kind, parts, has_last=has_last)


def _tagged(name: str, parts: list[str], *, has_last: bool) -> dict[str, Any]:
    """Return ``tag(log, interval(1e-5, 1e-1))``, and ``tag(int, ...)`` as well."""
    tags = {part.strip() for part in parts[:-1]}
    inner = _override(name, parts[-1], has_last=has_last)
    if "min" not in inner:
        return inner
    is_int = "int" in tags or inner["distribution"] == "int_uniform"
    if "log" in tags:
        return (log_integers if is_int else log_uniform)(inner["min"], inner["max"])
    return integers(inner["min"], inner["max"]) if is_int else inner


def _cast(kind: str, inner: dict[str, Any]) -> dict[str, Any]:
    if kind == "int" and "min" in inner:
        return integers(inner["min"], inner["max"])
    cast = {"int": int, "float": float, "str": str}.get(kind)
    return {key: [cast(one) for one in value] if cast and key == "values" else value for key, value in inner.items()}


def _ranged(kind: str, parts: list[str], *, has_last: bool) -> dict[str, Any]:
    named = dict(part.split("=", 1) for part in parts if "=" in part)
    named = {key.strip(): value for key, value in named.items()}
    plain = [_scalar(part) for part in parts if "=" not in part]
    if kind == "interval":
        start = named.get("start", plain[0] if plain else None)
        end = named.get("end", plain[1] if len(plain) > 1 else None)
        return uniform(start, end)
    if len(plain) == 1 and "stop" not in named:
        plain = [0, *plain]
    start = number(named.get("start", plain[0] if plain else 0), "start")
    stop = number(named.get("stop", plain[1] if len(plain) > 1 else None), "stop")
    step = number(named.get("step", plain[2] if len(plain) > 2 else 1), "step")
    if has_last and step == 1 and isinstance(start, int) and isinstance(stop, int):
        return integers(start, stop)
    return choice(
        [value for value in points(start, stop, step) if has_last or (value < stop if step > 0 else value > stop)]
    )


def _split(text: str) -> list[str]:
    """Split at commas that no bracket or quote encloses."""
    parts, depth, quote, last = [], 0, "", 0
    for i, char in enumerate(text):
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char in "([{":
            depth += 1
        elif char in ")]}":
            depth -= 1
        elif char == "," and depth == 0:
            parts.append(text[last:i])
            last = i + 1
    return [part.strip() for part in [*parts, text[last:]] if part.strip()]


def _scalar(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return parse_yaml(text, "a value").value


def _old_form(name: str, spec: Mapping[Any, Any]) -> dict[str, Any]:
    """Return a parameter of ``search_space``, as the sweeper had it before Hydra 1.2."""
    kind = spec.get("type")
    if kind == "categorical":
        return choice(spec.get("choices", []))
    low, high, step, is_log = spec.get("low"), spec.get("high"), spec.get("step"), bool(spec.get("log"))
    if kind == "int":
        return log_integers(low, high) if is_log else integers(low, high, step=step)
    if kind == "float":
        return log_uniform(low, high) if is_log else uniform(low, high, q=step)
    raise ConfigError(f"search_space.{name}: type must be categorical, int or float, got {kind!r}")


def _ax(sweeper: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the parameters of the Ax sweeper."""
    found: dict[str, Any] = {}
    for name, raw in mapping(mapping(sweeper.get("ax_config")).get("params")).items():
        spec = mapping(raw)
        bounds = spec.get("bounds") or [None, None]
        if spec.get("type") == "range":
            is_int = all(isinstance(bound, int) for bound in bounds)
            build = (
                (log_integers if is_int else log_uniform) if spec.get("log_scale") else integers if is_int else uniform
            )
            found[str(name)] = build(*bounds)
        else:
            found[str(name)] = choice(spec["values"]) if "values" in spec else {"value": spec.get("value")}
    return found


def _parametrization(sweeper: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the parameters of the Nevergrad sweeper."""
    found: dict[str, Any] = {}
    for name, spec in mapping(sweeper.get("parametrization")).items():
        if isinstance(spec, Mapping):
            low, high = spec.get("lower", -math.inf), spec.get("upper", math.inf)
            is_int, is_log = bool(spec.get("integer")), bool(spec.get("log"))
            build = (log_integers if is_int else log_uniform) if is_log else integers if is_int else uniform
            found[str(name)] = build(low, high)
        else:
            found[str(name)] = _override(str(name), spec)
    return found
