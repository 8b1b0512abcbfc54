"""Ray Tune: experiments as YAML, as RLlib's tuned examples are written."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from typing import Any

from sweepline.config.importers.base import (
    REPLACE_ME,
    Config,
    Imported,
    choice,
    integers,
    log_integers,
    log_uniform,
    mapping,
    normal,
    number,
    uniform,
)
from sweepline.errors import ConfigError

_DRAW = re.compile(
    r"(?:ray\.)?(?:tune\.)?(choice|grid_search|uniform|quniform|loguniform|qloguniform|randint|lograndint|qrandint|randn|sample_from)\((.*)\)",
    re.DOTALL,
)
_RESULTS = "metrics_from: [{json: '**/result.json'}], where the script writes Ray's result.json into its run's folder"
_SPACES = ("config", "param_space")
_KNOWN = (
    "run",
    "stop",
    "num_samples",
    "env",
    "metric",
    "mode",
    "max_failures",
    "local_dir",
    "storage_path",
    "resources_per_trial",
    *_SPACES,
)


def is_raytune(value: Mapping[Any, Any]) -> bool:
    """Whether a file holds an experiment of Ray Tune's."""
    return bool(_experiments(value))


def _experiments(value: Mapping[Any, Any]) -> dict[str, Mapping[Any, Any]]:
    if _is_experiment(value):
        return {"": value}
    return {str(name): one for name, one in value.items() if isinstance(one, Mapping) and _is_experiment(one)}


def _is_experiment(one: Mapping[Any, Any]) -> bool:
    has_space = any(isinstance(one.get(key), Mapping) for key in _SPACES)
    return has_space and bool({"run", "num_samples", "stop", "trainable"} & one.keys())


def import_raytune(config: Config) -> Imported:
    """Return the sweep of the file's first experiment."""
    experiments = _experiments(config.value)
    name, experiment = next(iter(experiments.items()))
    found = Imported()
    found.put("name", name)
    run = str(experiment.get("run") or experiment.get("trainable") or "")
    found.put("program", run if run.endswith(".py") else REPLACE_ME)
    if not run.endswith(".py"):
        found.note("run", f"{run or 'it'} is no script: replace {REPLACE_ME} by one that trains and reads --NAME=VALUE")
    space = next(mapping(experiment[key]) for key in _SPACES if key in experiment)
    parameters = dict(_parameters(found, space, ()))
    if experiment.get("env"):
        parameters.setdefault("env", {"value": experiment["env"]})
    _method(found, experiment, parameters)
    found.put(
        "metric",
        {"name": str(experiment["metric"]), "goal": {"max": "maximize"}.get(str(experiment.get("mode")), "minimize")}
        if "metric" in experiment
        else None,
    )
    if "metric" not in experiment:
        found.note("metric", "the file names none: add metric: {name: ..., goal: ...}, and print it as METRIC name=0.5")
    if "metric" in experiment:
        found.note("metric", f"print it as METRIC {experiment['metric']}=0.5, or have it read: {_RESULTS}")
    found.put(
        "retry",
        experiment.get("max_failures")
        if isinstance(experiment.get("max_failures"), int) and experiment["max_failures"] > 0
        else None,
    )
    found.put("parameters", parameters)
    if experiment.get("stop"):
        found.note("stop", "ends a trial by its results: give the script a flag for how long it trains")
    if experiment.get("resources_per_trial"):
        found.note("resources_per_trial", "see devices, runs_per_device and threads")
    for other in list(experiments)[1:]:
        found.note(other, "another experiment: this file has the first")
    found.leave(experiment, _KNOWN)
    return found


def _parameters(found: Imported, space: Mapping[Any, Any], path: tuple[str, ...]) -> list[tuple[str, Any]]:
    parameters: list[tuple[str, Any]] = []
    for key, spec in space.items():
        here = (*path, str(key))
        name = ".".join(here)
        if isinstance(spec, Mapping) and set(spec) == {"grid_search"}:
            parameters.append((name, choice(spec["grid_search"])))
        elif isinstance(spec, Mapping) and spec:
            parameters += _parameters(found, spec, here)
        elif isinstance(spec, str) and (match := _DRAW.fullmatch(spec.strip())):
            parameters.append((name, _drawn(found, name, match[1], match[2])))
        else:
            parameters.append((name, {"value": spec}))
    return parameters


def _drawn(found: Imported, name: str, kind: str, inner: str) -> dict[str, Any]:
    """Return ``tune.loguniform(1e-4, 1e-1)`` and its like."""
    if kind == "sample_from":
        found.note(
            name, f"sample_from({inner}) is a program: replace {REPLACE_ME}, or write expr: with the other parameters"
        )
        return {"value": REPLACE_ME}
    try:
        args = list(ast.literal_eval(f"({inner},)"))
    except (SyntaxError, ValueError):
        raise ConfigError(f"{name}: {kind}({inner}) holds more than numbers and texts") from None
    if kind in ("choice", "grid_search"):
        return choice(args[0])
    if kind == "randn":
        return normal(*(args or [0.0, 1.0]))
    if kind in ("randint", "lograndint", "qrandint"):
        last = int(number(args[1], name)) - 1
        return (
            log_integers(args[0], last)
            if kind == "lograndint"
            else integers(args[0], last, step=args[2] if kind == "qrandint" else None)
        )
    q = args[2] if kind.startswith("q") else None
    return (log_uniform if "log" in kind else uniform)(args[0], args[1], q=q)


def _method(found: Imported, experiment: Mapping[Any, Any], parameters: Mapping[str, Any]) -> None:
    n = experiment.get("num_samples", 1)
    if any("distribution" in spec for spec in parameters.values()):
        found.put("method", "random")
        found.put("samples", n if isinstance(n, int) and n > 0 else 20)
        if any("values" in spec for spec in parameters.values()):
            found.note(
                "grid_search",
                "beside drawn parameters: its values are drawn too here, not all combined with each sample",
            )
        return
    found.put("method", "grid")
    found.put("repeats", n if isinstance(n, int) and n > 1 else None)
