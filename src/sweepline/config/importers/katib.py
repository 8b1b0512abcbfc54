"""Katib: an Experiment of Kubernetes (kubeflow.org)."""

from __future__ import annotations

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
from sweepline.config.importers.words import needs_shell
from sweepline.contract.yamlfile import parse_yaml
from sweepline.errors import ConfigError
from sweepline.programs.surroundings import looks_secret

_BAYES = {"tpe": "tpe", "multivariate-tpe": "tpe", "bayesianoptimization": "gp", "cmaes": "cma", "sobol": "qmc"}
_PLACE = re.compile(r"\$\{trialParameters\.([^}]+)\}")
_PYTHON = re.compile(r"(?:.*/)?python[\d.]*")
_SPEC = [
    "objective",
    "algorithm",
    "parallelTrialCount",
    "maxTrialCount",
    "maxFailedTrialCount",
    "parameters",
    "trialTemplate",
    "earlyStopping",
    "metricsCollectorSpec",
    "resumePolicy",
]


def is_katib(value: Mapping[Any, Any]) -> bool:
    """Whether a file is a Katib Experiment."""
    return value.get("kind") == "Experiment" and "kubeflow.org" in str(value.get("apiVersion", ""))


def import_katib(config: Config) -> Imported:
    """Return the sweep of an Experiment."""
    found = Imported()
    spec = config.block("spec")
    found.put("name", mapping(config.value.get("metadata")).get("name"))
    parameters = {str(one.get("name")): _parameter(one) for one in map(mapping, spec.get("parameters") or [])}
    _command(found, mapping(spec.get("trialTemplate")), list(parameters))
    _method(found, mapping(spec.get("algorithm")), parameters)
    objective = mapping(spec.get("objective"))
    name = str(objective.get("objectiveMetricName", "objective"))
    found.put("metric", {"name": name, "goal": str(objective.get("type", "minimize"))})
    if isinstance(objective.get("goal"), (int, float)):
        found.put("stop_sweep", {"target": objective["goal"]})
    if found.keys["method"] != "grid":
        found.put("samples", spec.get("maxTrialCount") or DEFAULT_SAMPLES)
    found.put("max_concurrent", spec.get("parallelTrialCount"))
    _stopping(found, mapping(spec.get("earlyStopping")))
    found.put("parameters", parameters)
    _metrics(found, spec, [name, *map(str, objective.get("additionalMetricNames") or [])])
    if "maxFailedTrialCount" in spec:
        found.note("maxFailedTrialCount", "has no counterpart: failed runs are recorded, and the sweep goes on")
    found.leave(spec, _SPEC, at="spec.")
    return found


def _parameter(spec: Mapping[Any, Any]) -> dict[str, Any]:
    kind, space = spec.get("parameterType"), mapping(spec.get("feasibleSpace"))
    if kind in ("categorical", "discrete"):
        values = [str(value) for value in space.get("list") or []]
        return choice(
            parse_yaml(value, "a value").value if kind == "discrete" else _as_meant(value) for value in values
        )
    low, high, step = space.get("min"), space.get("max"), space.get("step")
    is_log = str(space.get("distribution", "")).lower() in ("loguniform", "lognormal")
    if kind == "int":
        return log_integers(low, high) if is_log else integers(low, high, step=step)
    if kind == "double":
        if step is not None and not is_log:
            name = str(spec.get("name"))
            return choice(map(float, points(number(low, name), number(high, name), number(step, name))))
        return log_uniform(low, high) if is_log else uniform(low, high)
    raise ConfigError(
        f"parameters: {spec.get('name')}: unknown parameterType {kind!r}; double, int, discrete, categorical"
    )


def _as_meant(text: str) -> Any:
    """Return a number where a text is one: Katib writes all values as text."""
    try:
        return number(text, "a value")
    except ConfigError:
        return text


def _command(found: Imported, template: Mapping[Any, Any], names: list[str]) -> None:
    """Carry over the command of the trial's container, with places for parameters by their own names."""
    container = _container(template.get("trialSpec"))
    words = [str(word) for word in [*(container.get("command") or []), *(container.get("args") or [])]]
    references = {
        str(one.get("name")): str(one.get("reference")) for one in map(mapping, template.get("trialParameters") or [])
    }
    words = [_PLACE.sub(lambda m: f"${{{references.get(m[1], m[1])}}}", word) for word in words]
    if not words:
        found.put("program", REPLACE_ME)
        found.note("trialTemplate", f"names no command: replace {REPLACE_ME} by the script, which gets --NAME=VALUE")
        return
    at = 1 if _PYTHON.fullmatch(words[0]) and len(words) > 1 and not words[1].startswith("-") else None
    if at is not None:
        found.put("program", words[at])
        words = ["${interpreter}", "${program}", *words[at + 1 :]]
    found.put("command", words)
    if any(needs_shell(word) for word in words):
        found.note(
            "trialTemplate.command", "has words for a shell, and none reads a command here: put them into a script"
        )
    missing = [name for name in names if not any(f"${{{name}}}" in word for word in words)]
    if missing:
        found.note("trialTemplate.command", f"hands over no {', '.join(missing)}")
    variables = {str(one["name"]): one["value"] for one in map(mapping, container.get("env") or []) if "value" in one}
    found.put("env", {name: value for name, value in variables.items() if not looks_secret(name)})
    named = [str(mapping(one).get("name")) for one in container.get("env") or []]
    left = [name for name in named if name not in found.keys.get("env", {})]
    if left:
        sentence = f"{', '.join(left)}: export it where the sweep is started, which its runs inherit"
        found.note("trialTemplate.env", sentence)
    for key in ("image", "resources", "volumeMounts"):
        if key in container:
            found.note(f"trialTemplate.{key}", "is of the container: runs are processes of this machine")


def _container(node: Any) -> Mapping[Any, Any]:
    """Return the first container of a trial's spec, however deep it is."""
    if isinstance(node, Mapping):
        containers = node.get("containers")
        if isinstance(containers, list) and containers:
            return mapping(containers[0])
        found = (inner for value in node.values() if (inner := _container(value)))
        return next(found, {})
    if isinstance(node, list):
        return next((inner for value in node if (inner := _container(value))), {})
    return {}


def _method(found: Imported, algorithm: Mapping[Any, Any], parameters: Mapping[str, Any]) -> None:
    name = str(algorithm.get("algorithmName", "random"))
    settings = {
        str(one.get("name")): one.get("value") for one in map(mapping, algorithm.get("algorithmSettings") or [])
    }
    if name in _BAYES:
        found.put("method", "bayes")
        found.put("sampler", _BAYES[name])
    elif name == "grid" and all(
        "values" in spec or spec.get("distribution") == "int_uniform" for spec in parameters.values()
    ):
        found.put("method", "grid")
    else:
        found.put("method", "random")
        if name == "hyperband":
            found.put("early_terminate", {"type": "asha", "factor": number(settings.get("eta", 3), "eta")})
        if name != "random":
            found.note("algorithm", f"{name} is {'random with asha' if name == 'hyperband' else 'random'} here")
    for key in settings:
        if not (name == "hyperband" and key == "eta"):
            found.note(f"algorithmSettings.{key}", "has no counterpart here")


def _stopping(found: Imported, stopping: Mapping[Any, Any]) -> None:
    if stopping.get("algorithmName") == "medianstop":
        settings = {
            str(one.get("name")): one.get("value") for one in map(mapping, stopping.get("algorithmSettings") or [])
        }
        rule = {"type": "median", "warmup": int(number(settings.get("start_step", 4), "start_step"))}
        found.put(
            "early_terminate",
            {**rule, "min_runs": int(number(settings.get("min_trials_required", 3), "min_trials_required"))},
        )
    elif stopping:
        found.note("earlyStopping", f"{stopping.get('algorithmName')} is not here")


def _metrics(found: Imported, spec: Mapping[Any, Any], names: list[str]) -> None:
    """Read metrics from the output as Katib's collector does: ``name=value``."""
    collector = mapping(spec.get("metricsCollectorSpec"))
    kind = str(mapping(collector.get("collector")).get("kind", "StdOut"))
    if "metricsFormat" in str(collector.get("source", "")):
        found.note("metricsCollectorSpec", "its metricsFormat is not read: NAME=NUMBER is looked for; see metrics:")
    path = str(mapping(mapping(collector.get("source")).get("fileSystemPath")).get("path", ""))
    if kind == "TensorFlowEvent":
        found.put("metrics_from", ["tensorboard"])
        found.note(
            "metricsCollectorSpec", f"event files are read in a run's own folder: write them there, not to {path}"
        )
        return
    if kind not in ("StdOut", "File"):
        found.note("metricsCollectorSpec", f"{kind} is not read: metrics are looked for in the output, as NAME=NUMBER")
    if kind == "File":
        found.note("metricsCollectorSpec", f"{path or 'its file'} is not read: print its lines, or see metrics_from")
    found.put("metrics", {name: rf"(?<![\w-]){re.escape(name)}\s*=\s*({{number}})" for name in dict.fromkeys(names)})
