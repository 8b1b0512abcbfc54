"""Guild AI: the operations of a guild.yml, with their flags."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from sweepline.config.importers.base import (
    DEFAULT_SAMPLES,
    REPLACE_ME,
    Config,
    Imported,
    choice,
    log_uniform,
    mapping,
    number,
    points,
    spaced,
    uniform,
)
from sweepline.config.importers.words import command_words
from sweepline.contract.yamlfile import parse_yaml
from sweepline.errors import ConfigError

_FUNCTION = re.compile(r"(range|linspace|logspace|uniform|loguniform|)\[([^\]]*)\]")
_TRAINING_WORDS = ("train", "fit", "search", "run")
_KNOWN = (
    "main",
    "flags",
    "exec",
    "description",
    "flags-dest",
    "flags-import",
    "objective",
    "minimize",
    "maximize",
    "output-scalars",
    "default",
)


def is_guild(value: Any) -> bool:
    """Whether a file is a guild.yml: models or operations with flags."""
    return any(True for _ in _operations(value))


def _operations(value: Any) -> Iterator[tuple[str, Mapping[Any, Any]]]:
    """Yield the operations of a file, in each of its forms."""
    for block in value if isinstance(value, list) else [value]:
        keys = mapping(block)
        for name, operation in mapping(keys.get("operations")).items():
            yield str(name), mapping(operation)
        if "operations" not in keys:
            yield from (
                (str(k), v)
                for k, v in keys.items()
                if isinstance(v, Mapping) and ("main" in v or "exec" in v) and _is_operation(v)
            )


def _is_operation(operation: Mapping[Any, Any]) -> bool:
    return (
        bool({"flags", "flags-import", "flags-dest", "output-scalars", "objective"} & operation.keys())
        or len(operation) == 1
    )


def import_guild(config: Config) -> Imported:
    """Return the sweep of the file's training operation."""
    operations = dict(_operations(config.value))
    name = next((one for word in _TRAINING_WORDS for one in operations if word in one), next(iter(operations)))
    operation = operations[name]
    found = Imported()
    found.put("name", name)
    parameters = {
        str(key): _flag(found, str(key), spec)
        for key, spec in mapping(operation.get("flags")).items()
        if not str(key).startswith("$")
    }
    _command(found, operation)
    is_drawn = any("distribution" in spec for spec in parameters.values())
    found.put("method", "random" if is_drawn else "grid")
    _metric(found, operation)
    if is_drawn:
        found.put("samples", DEFAULT_SAMPLES)
        found.note("max-trials", f"is said when Guild is run: {DEFAULT_SAMPLES} stand here in samples")
    found.put("parameters", parameters)
    found.put("metrics", _scalars(found, operation.get("output-scalars")))
    for other in operations:
        if other != name:
            found.note(other, f"another operation: this file has {name}")
    found.leave(operation, _KNOWN, at=f"{name}.")
    return found


def _command(found: Imported, operation: Mapping[Any, Any]) -> None:
    destination = str(operation.get("flags-dest", "args"))
    text = str(operation.get("exec") or operation.get("main") or "")
    if operation.get("exec"):
        program, words = command_words(re.sub(r"\$\{flag_args\}", "", text))
        found.put("program", program or REPLACE_ME)
        found.put("command", [*words, "${args}"])
        return
    first, *rest = text.split()
    program = first if first.endswith(".py") else f"{first.replace('.', '/')}.py"
    found.put("program", program)
    if rest:
        found.put("command", ["${interpreter}", "${program}", *rest, "${args}"])
    if destination.startswith("globals"):
        found.note("flags-dest", "globals: the script has to read --NAME=VALUE, as nobody sets its constants")
    elif destination.startswith("config"):
        found.note("flags-dest", f"{destination}: no config file is written; the script has to read --NAME=VALUE")
    found.note("main", f"{first} is taken as the file {program}") if not first.endswith(".py") else None


def _flag(found: Imported, name: str, spec: Any) -> dict[str, Any]:
    """Return a flag: a value, a list, ``uniform[0:1]``, or a mapping with a default and choices."""
    if isinstance(spec, list):
        return choice(spec)
    if not isinstance(spec, Mapping):
        return _written(name, spec)
    choices = [mapping(one).get("value", one) if isinstance(one, Mapping) else one for one in spec.get("choices") or []]
    if "arg-name" in spec:
        found.note(f"flags.{name}.arg-name", f"name the parameter {spec['arg-name']} instead")
    default = spec.get("default")
    if isinstance(default, list):
        return choice(default)
    low, high = spec.get("min"), spec.get("max")
    if low is not None and high is not None:
        return (log_uniform if spec.get("distribution") == "log-uniform" else uniform)(low, high)
    return choice(choices) if choices and default is None else _written(name, default)


def _written(name: str, value: Any) -> dict[str, Any]:
    match = _FUNCTION.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        return {"value": value}
    parts = [parse_yaml(part, name).value for part in match[2].split(":")]
    numbers = [number(part, name) for part in parts[: 3 if match[1] not in ("uniform", "loguniform", "") else 2]]
    if len(numbers) < 2:
        raise ConfigError(f"flags.{name}: {value!r} needs two bounds, as {match[1]}[0:1]")
    if match[1] in ("uniform", ""):
        return uniform(*numbers[:2])
    if match[1] == "loguniform":
        return log_uniform(*numbers[:2])
    if match[1] == "range":
        return choice(points(numbers[0], numbers[1], numbers[2] if len(numbers) > 2 else 1))
    n = int(numbers[2]) if len(numbers) > 2 else 5
    if match[1] == "logspace":
        return choice(spaced(10.0 ** numbers[0], 10.0 ** numbers[1], n, is_log=True))
    return choice(spaced(numbers[0], numbers[1], n))


def _metric(found: Imported, operation: Mapping[Any, Any]) -> None:
    objective = operation.get("objective")
    told = mapping(objective)
    if operation.get("maximize") or told.get("maximize"):
        found.put("metric", {"name": str(operation.get("maximize") or told["maximize"]), "goal": "maximize"})
    elif operation.get("minimize") or told.get("minimize") or isinstance(objective, str):
        name = str(operation.get("minimize") or told.get("minimize") or objective)
        found.put("metric", {"name": name.lstrip("-"), "goal": "maximize" if name.startswith("-") else "minimize"})
    else:
        found.note("objective", "there is none: Guild minimizes loss; name the metric in metric:")


def _scalars(found: Imported, scalars: Any) -> dict[str, str]:
    r"""Return the expressions of ``output-scalars``: ``\value`` is the number, without one ``NAME: NUMBER`` is read."""
    patterns: dict[str, str] = {}
    for one in scalars if isinstance(scalars, list) else [scalars]:
        if isinstance(one, str):
            found.note("output-scalars", f"{one!r} names no metric by itself: add it to metrics:")
            continue
        for name, pattern in mapping(one).items():
            text = _expression(str(name), str(pattern))
            if re.compile(text.replace("{number}", "")).groups == 1:
                patterns[str(name)] = text
            else:
                found.note(f"output-scalars.{name}", "needs one group for the number, as 'loss: {number}'")
    if not patterns and scalars is None and "metric" in found.keys:
        name = found.keys["metric"]["name"]
        patterns[name] = rf"(?m)^{re.escape(name)}:\s+({{number}})"  # what Guild reads by default
    return patterns


def _expression(name: str, pattern: str) -> str:
    """Return a pattern of Guild's with the number, or of ``step`` the step, as its only group."""
    step, number_ = (r"(\d+)", "{number}") if name == "step" else (r"\d+", "({number})")
    text = re.sub(r"\(\\value\)|\\value", lambda _m: number_, pattern)
    return re.sub(r"\(\\step\)|\\step", lambda _m: step, text)
