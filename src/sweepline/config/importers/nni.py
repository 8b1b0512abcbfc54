"""NNI: an experiment's config with its search space, or a search space alone (JSON)."""

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
    mapping,
    normal,
    number,
    uniform,
)
from sweepline.config.importers.words import command_words
from sweepline.contract.yamlfile import read_yaml
from sweepline.errors import ConfigError

_TUNERS = {"tpe": "tpe", "smac": "tpe", "gp": "gp", "metis": "gp", "bohb": "tpe"}
_STOPPERS = {"medianstop": "median", "curvefitting": "median"}
_KNOWN = [
    "experimentname",
    "trialcommand",
    "trialcodedirectory",
    "searchspacefile",
    "searchspace",
    "searchspacepath",
    "trialconcurrency",
    "maxtrialnumber",
    "maxtrialnum",
    "maxtrialduration",
    "trialgpunumber",
    "tuner",
    "assessor",
    "trial",
    "trainingservice",
    "trainingserviceplatform",
    "experimentworkingdirectory",
    "useannotation",
    "authorname",
    "loglevel",
    "debug",
]


def is_nni(value: Mapping[Any, Any]) -> bool:
    """Whether a file is an experiment of NNI's, or a search space."""
    is_space = bool(value) and all(isinstance(spec, Mapping) and "_type" in spec for spec in value.values())
    keys = set(map(str, value))
    return (
        is_space
        or bool({"trialCommand", "trial_command"} & keys)
        or {"trial", "tuner"} <= keys
        or "searchSpacePath" in keys
    )


def import_nni(config: Config) -> Imported:
    """Return the sweep of an experiment."""
    found = Imported()
    if all(isinstance(spec, Mapping) and "_type" in spec for spec in config.value.values()):
        keys: dict[str, Any] = {"searchspace": config.value}
    else:
        keys = {str(key).replace("_", "").lower(): value for key, value in config.value.items()}
    trial = mapping(keys.get("trial"))
    _command(found, str(keys.get("trialcommand") or trial.get("command") or ""))
    tuner = mapping(keys.get("tuner"))
    arguments = mapping(tuner.get("classArgs") or tuner.get("class_args"))
    space = _space(config, keys)
    parameters = {str(name): _parameter(found, str(name), mapping(spec)) for name, spec in space.items()}
    name = str(tuner.get("name") or tuner.get("builtinTunerName") or "TPE").lower()
    _method(found, name, parameters)
    goal = str(arguments.get("optimize_mode") or "maximize")
    found.put("metric", {"name": "default", "goal": goal})
    found.note(
        "nni.report_final_result",
        "is not read: print the result, as METRIC default=0.9; or name in metrics_from the file that has it",
    )
    found.note("nni.get_next_parameter", "is not served: the script is handed --NAME=VALUE, which it has to read")
    if found.keys["method"] != "grid":
        found.put(
            "samples",
            int(number(keys.get("maxtrialnumber") or keys.get("maxtrialnum") or DEFAULT_SAMPLES, "maxTrialNumber")),
        )
    found.put("max_concurrent", keys.get("trialconcurrency"))
    found.put("timeout", keys.get("maxtrialduration"))
    _stopping(found, mapping(keys.get("assessor")))
    found.put("parameters", parameters)
    _leave_rest(found, keys)
    if keys.get("searchspace") is not config.value:
        found.leave({key: None for key in config.value if str(key).replace("_", "").lower() not in _KNOWN}, ())
    return found


def _command(found: Imported, command: str) -> None:
    program, words = command_words(command)
    found.put("program", program or REPLACE_ME)
    if not program:
        found.note("trialCommand", f"there is none: replace {REPLACE_ME} by the script")
    elif words != ["${interpreter}", "${program}"]:
        found.put("command", [*words, "${args}"])


def _space(config: Config, keys: Mapping[str, Any]) -> Mapping[Any, Any]:
    """Return the search space, which may be a file of its own beside the config.

    Raises:
        ConfigError: there is none.
    """
    space = mapping(keys.get("searchspace"))
    named = keys.get("searchspacefile") or keys.get("searchspacepath")
    if not space and isinstance(named, str):
        space = mapping(read_yaml(config.path.parent / named).value)
    if not space:
        raise ConfigError(
            f"{config.path.name}: searchSpace: there is no search space in it, and it names no file with one"
        )
    return space


def _parameter(found: Imported, name: str, spec: Mapping[Any, Any]) -> dict[str, Any]:
    kind, values = str(spec.get("_type")), spec.get("_value")
    args = values if isinstance(values, list) else []
    if kind == "choice":
        return _choice(found, name, args)
    wanted = {"randint": 2, "uniform": 2, "loguniform": 2, "quniform": 3, "qloguniform": 3}
    wanted |= {"normal": 2, "lognormal": 2, "qnormal": 3, "qlognormal": 3}
    if len(args) != wanted.get(kind):
        raise ConfigError(f"{name}: _type {kind!r} with _value {values!r} is none of NNI's")
    if kind == "randint":
        return integers(args[0], int(number(args[1], name)) - 1)
    q = args[2] if len(args) == 3 else None
    if kind.endswith("loguniform"):
        return log_uniform(args[0], args[1], q=q)
    if kind.endswith("uniform"):
        return uniform(args[0], args[1], q=q)
    return normal(args[0], args[1], q=q, is_log="log" in kind)


def _choice(found: Imported, name: str, values: list[Any]) -> dict[str, Any]:
    """Return a choice; one whose items have parameters of their own keeps them as conditional ones."""
    if not any(isinstance(value, Mapping) and "_name" in value for value in values):
        return choice(values)
    below: dict[str, Any] = {}
    for value in values:
        own = {str(k): _parameter(found, str(k), mapping(v)) for k, v in mapping(value).items() if k != "_name"}
        below[str(mapping(value).get("_name", value))] = {"parameters": own} if own else None
    found.note(name, "its choices have parameters of their own, which are handed over without the name of the choice")
    return {"values": below}


def _method(found: Imported, name: str, parameters: Mapping[str, Any]) -> None:
    if name in ("gridsearch", "grid"):
        found.put("method", "grid" if all("values" in spec for spec in parameters.values()) else "random")
        if found.keys["method"] == "random":
            found.note(
                "tuner", "GridSearch over ranges has no counterpart: they are drawn from; list values for a grid"
            )
    elif name in ("random", "batch"):
        found.put("method", "random")
    else:
        found.put("method", "bayes")
        found.put("sampler", _TUNERS.get(name))
        if name not in _TUNERS:
            found.note("tuner", f"{name} is not here: tpe proposes")


def _stopping(found: Imported, assessor: Mapping[Any, Any]) -> None:
    name = str(assessor.get("name") or assessor.get("builtinAssessorName") or "").lower()
    if not name:
        return
    arguments = mapping(assessor.get("classArgs"))
    rule = _STOPPERS.get(name)
    if rule is not None:
        found.put("early_terminate", {"type": rule, "warmup": int(arguments.get("start_step") or 1)})
    if name != "medianstop":
        found.note("assessor", f"{name} is not here{'; median stands for it' if rule else ''}")


def _leave_rest(found: Imported, keys: Mapping[str, Any]) -> None:
    service = mapping(keys.get("trainingservice"))
    platform = str(service.get("platform") or keys.get("trainingserviceplatform") or "local")
    if platform != "local":
        found.note("trainingService", f"{platform}: runs are started on this machine")
    n_each = service.get("maxTrialNumberPerGpu")
    found.put("runs_per_device", n_each if isinstance(n_each, int) and n_each > 1 else None)
    if keys.get("trialcodedirectory") not in (None, ".", "./"):
        found.note("trialCodeDirectory", "paths are relative to the sweep file: keep it in that folder")
    n_gpus = keys.get("trialgpunumber") or mapping(keys.get("trial")).get("gpuNum")
    if isinstance(n_gpus, int) and n_gpus > 1:
        found.note("trialGpuNumber", f'for {n_gpus} GPUs a run write devices: ["0,1", "2,3"] or alike')
    if keys.get("useannotation"):
        found.note("useAnnotation", "search spaces in comments of the script are not read")
