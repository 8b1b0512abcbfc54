"""Azure ML: a sweep job of the command line's version 2."""

from __future__ import annotations

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
    log_uniform,
    mapping,
    normal,
    number,
    uniform,
)
from sweepline.config.importers.words import command_words, needs_shell
from sweepline.errors import ConfigError

_PLACE = re.compile(r"\$\{\{\s*search_space\.([\w.-]+)\s*\}\}")
_INPUT = re.compile(r"\$\{\{\s*inputs\.([\w.-]+)\s*\}\}")
_OUTPUT = re.compile(r"\$\{\{\s*outputs\.[\w.-]+\s*\}\}")
_KNOWN = [
    "$schema",
    "type",
    "name",
    "display_name",
    "experiment_name",
    "description",
    "sampling_algorithm",
    "search_space",
    "objective",
    "limits",
    "early_termination",
    "trial",
    "inputs",
    "tags",
    "properties",
    "compute",
]


def is_azureml(value: Mapping[Any, Any]) -> bool:
    """Whether a file is a sweep job of Azure ML's."""
    return isinstance(value.get("search_space"), Mapping) and (
        "sampling_algorithm" in value or value.get("type") == "sweep"
    )


def import_azureml(config: Config) -> Imported:
    """Return the sweep of a sweep job."""
    found = Imported()
    found.put("name", config.value.get("display_name") or config.value.get("experiment_name"))
    trial = config.block("trial")
    _command(found, trial, config.block("inputs"))
    sampling = config.value.get("sampling_algorithm", "random")
    kind = str(mapping(sampling).get("type") or sampling)
    found.put("method", {"grid": "grid", "bayesian": "bayes"}.get(kind, "random"))
    found.put("seed", mapping(sampling).get("seed"))
    if mapping(sampling).get("rule") == "sobol":
        found.note("sampling_algorithm.rule", "sobol: take method: bayes with sampler: qmc, which spreads evenly too")
    objective = config.block("objective")
    name = str(objective.get("primary_metric", "objective"))
    found.put("metric", {"name": name, "goal": str(objective.get("goal", "minimize")).lower()})
    found.note(
        "objective",
        f"is not read from MLflow: print METRIC {name}=0.5 in the script, or say in metrics: how it is printed",
    )
    _limits(found, config.block("limits"))
    _stopping(found, config.block("early_termination"))
    found.put(
        "parameters",
        {str(key): _parameter(str(key), mapping(spec)) for key, spec in config.block("search_space").items()},
    )
    for key in ("environment", "compute", "resources", "distribution"):
        if key in trial or key in config.value:
            found.note(key, "is of the cloud: runs are processes of this machine")
    found.leave(config.value, _KNOWN)
    return found


def _command(found: Imported, trial: Mapping[Any, Any], inputs: Mapping[Any, Any]) -> None:
    text = " ".join(str(trial.get("command", "")).split())
    text = _PLACE.sub(r"${\1}", text)
    text = _INPUT.sub(lambda m: _input(found, m[1], inputs), text)
    text = _OUTPUT.sub("${run_dir}", text)
    if needs_shell(text):
        found.note("trial.command", "has words for a shell, and none reads a command here: put them into a script")
    program, words = command_words(text)
    code = str(trial.get("code", ".")).strip("/").removeprefix("./")
    if program and code not in ("", "."):
        program = f"{code}/{program}"
        found.note("trial.code", f"runs start in the folder of the sweep file, not in {code}/")
    found.put("program", program or REPLACE_ME)
    found.put("command", words)


def _input(found: Imported, name: str, inputs: Mapping[Any, Any]) -> str:
    given = inputs.get(name)
    value = mapping(given).get("path", given) if isinstance(given, Mapping) else given
    if value is None or str(value).startswith("azureml:"):
        found.note(f"inputs.{name}", f"{value or 'it'} is of the cloud: replace {REPLACE_ME} by a path of this machine")
        return REPLACE_ME
    return str(value)


def _limits(found: Imported, limits: Mapping[Any, Any]) -> None:
    if found.keys["method"] != "grid":
        found.put("samples", limits.get("max_total_trials") or DEFAULT_SAMPLES)
    elif limits.get("max_total_trials"):
        found.put("run_cap", limits["max_total_trials"])
    found.put("max_concurrent", limits.get("max_concurrent_trials"))
    found.put("timeout", limits.get("trial_timeout"))
    if limits.get("timeout"):
        found.note(
            "limits.timeout",
            "of the whole sweep has no counterpart: stop it with Ctrl-C, it goes on when started again",
        )


def _stopping(found: Imported, policy: Mapping[Any, Any]) -> None:
    kind, delay = str(policy.get("type", "")), max(1, int(policy.get("delay_evaluation") or 1))
    if kind == "median_stopping":
        found.put("early_terminate", {"type": "median", "warmup": delay})
    elif kind == "truncation_selection":
        kept = 100 - float(number(policy.get("truncation_percentage", 10), "truncation_percentage"))
        found.put("early_terminate", {"type": "percentile", "percentile": kept, "warmup": delay})
    elif kind:
        found.note("early_termination", f"{kind} is not here; median, percentile and asha are (docs/search.md)")
    if policy.get("evaluation_interval", 1) != 1:
        found.note("early_termination.evaluation_interval", "has no counterpart: every point is looked at")


def _parameter(name: str, spec: Mapping[Any, Any]) -> dict[str, Any]:
    kind = spec.get("type")
    low, high, q = spec.get("min_value"), spec.get("max_value"), spec.get("q")
    if kind == "choice":
        return choice(spec.get("values", []))
    if kind == "randint":
        return integers(0, int(number(spec.get("upper"), f"{name}.upper")) - 1)
    if kind in ("uniform", "quniform"):
        return uniform(low, high, q=q)
    if kind in ("loguniform", "qloguniform"):  # its bounds are exponents of e
        return log_uniform(math.exp(number(low, name)), math.exp(number(high, name)), q=q)
    if kind in ("normal", "qnormal", "lognormal", "qlognormal"):
        return normal(spec.get("mu"), spec.get("sigma"), q=q, is_log="log" in str(kind))
    raise ConfigError(f"search_space.{name}: unknown type {kind!r}")
