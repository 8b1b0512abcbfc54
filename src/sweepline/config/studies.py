"""Studies: sweep files in ``cfg/studies`` that are run by name, with options of their own."""

from __future__ import annotations

import copy
import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from sweepline.config.faults import describe_detail
from sweepline.config.naming import folder_name
from sweepline.config.schema import StudyModel, StudyOption
from sweepline.contract.text import display_path
from sweepline.contract.values import is_number, parse_override, parse_value
from sweepline.contract.yamlfile import read_yaml
from sweepline.errors import ConfigError, did_you_mean
from sweepline.runs import canonical_json

FOLDER = Path("cfg") / "studies"
_MAX_POINTS = 1000
_WORD = re.compile(r"(?!(?:true|false|null|yes|no|on|off|nan|inf)$)[a-zA-Z]+")  # text that nothing else reads as
_MAX_KEPT_BYTES = 71


@dataclass(frozen=True, slots=True)
class Study:
    """A sweep file and what it says of itself."""

    name: str
    path: Path
    model: StudyModel


def find_studies(folder: Path) -> list[Study]:
    """Return the studies of an experiment's folder, else of the experiments one level below it, by name.

    Raises:
        ConfigError: a file in ``cfg/studies`` cannot be read.
    """
    for pattern in (f"{FOLDER}/*.yaml", f"*/{FOLDER}/*.yaml"):
        found = [study for path in sorted(folder.glob(pattern)) if (study := read_study(path)) is not None]
        if found:
            return sorted(found, key=lambda study: study.name)
    return []


def load_study(
    name: str, folder: Path, options: Sequence[str] = (), overrides: Sequence[str] = ()
) -> tuple[Study, str]:
    """Return a study and the text of its sweep file, changed as is asked.

    What is changed is a study of its own, with a name that says so, and so keeps its runs beside those of others.

    Args:
        name: of the study.
        folder: the experiment.
        options: of the study's own, as ``--batch-size 256 --eta-range 10``.
        overrides: ``key=value`` texts, each the value of a parameter for all runs, or a list in place of the values
            that it goes through; also ``seeds`` and ``stability.depth``.

    Raises:
        ConfigError: there is no such study or option, an option's value is none, or a parameter is given twice.
    """
    study = _find(name, folder)
    if not options and not overrides:
        return study, study.path.read_text(encoding="utf-8")
    tree = copy.deepcopy(read_yaml(study.path).value)
    tree.setdefault("parameters", {})
    changes: list[tuple[str, Any]] = []
    pairs = _pairs(study, options)
    _check_once(study, pairs, [parse_override(override)[0] for override in overrides])
    for word, text in pairs:
        _change(tree["parameters"], study.model.options[word], word, text)
        changes.append((word, parse_value(text)))
    for key, value in map(parse_override, overrides):
        _override(tree, key, value)
        changes.append((key, value))
    tree["name"] = _name(str(tree.get("name") or name), sorted(dict(changes).items()))
    return study, yaml.dump(tree, Dumper=_Dumper, sort_keys=False)


def _name(study: str, changes: Sequence[tuple[str, Any]]) -> str:
    """Return a name for a study that is changed: it tells of the changes, and other changes have another one.

    Numbers and plain words stand for themselves; with anything else, or if it were too long, it ends in a digest.
    """
    label = "_".join([study, *(f"{key}_{value}" for key, value in changes)])
    is_plain = all(is_number(value) or (isinstance(value, str) and _WORD.fullmatch(value)) for _, value in changes)
    if is_plain and folder_name(label) == label:
        return label
    digest = hashlib.sha256(canonical_json([study, *map(list, changes)]).encode("utf-8", "replace")).hexdigest()[:8]
    kept = label.encode("utf-8", "replace")[:_MAX_KEPT_BYTES].decode(errors="ignore")
    return f"{folder_name(kept)}_{digest}"


def _override(tree: dict[str, Any], key: str, value: Any) -> None:
    """Change a sweep file as ``-o key=value`` asks."""
    parameters, stability = tree["parameters"], tree.get("stability")
    if key in ("seed", "seeds") and key not in parameters:
        tree["seeds"] = value if isinstance(value, list) else [value]
        tree.pop("repeats", None)
    elif key == "stability.depth" and isinstance(stability, dict):
        stability["depth"] = value
    elif isinstance(value, list) and _goes_through_plain_values(parameters, key):
        _replace(parameters, key, {"values": value})
    else:
        _replace(parameters, key, {"value": value})
        if isinstance(stability, dict) and stability.get("parameter") == key:
            del tree["stability"]  # one value has none below it


def _goes_through_plain_values(parameters: Mapping[Any, Any], name: str) -> bool:
    """Whether a parameter has several values, none of them a list itself."""
    spec = _spec_of(parameters, name)
    values = spec.get("values") if isinstance(spec, Mapping) else spec
    return isinstance(values, list) and not any(isinstance(value, list) for value in values)


class _Dumper(yaml.SafeDumper):
    """Quotes every text, so that none becomes a number."""


_Dumper.add_representer(str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"'))


def _replace(parameters: dict[Any, Any], name: str, spec: Mapping[str, Any]) -> None:
    """Give a parameter other values, where it stands, under the conditions that it has."""
    head, _, rest = name.partition(".")
    nested = parameters.get(head)
    if rest and name not in parameters and isinstance(nested, Mapping) and isinstance(nested.get("parameters"), dict):
        _replace(nested["parameters"], rest, spec)
        return
    before = parameters.get(name)
    kept = {key: before[key] for key in ("when", "pass") if key in before} if isinstance(before, Mapping) else {}
    parameters[name] = {**spec, **kept}


def _spec_of(parameters: Mapping[Any, Any], name: str) -> Any:
    head, _, rest = name.partition(".")
    nested = parameters.get(head)
    if rest and name not in parameters and isinstance(nested, Mapping) and isinstance(nested.get("parameters"), dict):
        return _spec_of(nested["parameters"], rest)
    return parameters.get(name)


def read_study(path: Path) -> Study | None:
    """Return the study that a file is, None where it is no study.

    Raises:
        ConfigError: it cannot be read.
    """
    value = read_yaml(path).value
    raw = value.get("study") if isinstance(value, Mapping) else None
    if raw is None:
        return None
    try:
        return Study(path.stem, path, StudyModel.model_validate(raw))
    except ValidationError as error:
        detail = error.errors()[0]
        key = ".".join(map(str, ("study", *detail["loc"])))
        model = StudyOption if "options" in detail["loc"][:-1] else StudyModel
        sentence = describe_detail(detail, tuple(model.model_fields))
        raise ConfigError(f"{display_path(path)}: {key}: {sentence}") from None


def _pairs(study: Study, words: Sequence[str]) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    left = list(words)
    while left:
        name, equals, value = left.pop(0).partition("=")
        name = name.removeprefix("--")
        if name not in study.model.options:
            raise ConfigError(_no_option(study, f"--{name}"))
        if not equals and not left:
            raise ConfigError(f"study {study.name}: --{name} needs a value")
        pairs.append((name, value if equals else left.pop(0)))
    return pairs


def _check_once(study: Study, pairs: Sequence[tuple[str, str]], fixed: Sequence[str]) -> None:
    """Refuse a parameter that two options decide, or an option and an override.

    Raises:
        ConfigError: there is one.
    """
    by_target: dict[str, str] = {}
    for word, _ in pairs:
        option = study.model.options[word]
        target = option.set or option.decades or option.points or ""
        key = next((key for key in fixed if f"{target}.".startswith(f"{key}.") or key.startswith(f"{target}.")), None)
        other = by_target.get(target) or (f"-o {key}" if key is not None else None)
        if other is not None:
            raise ConfigError(f"study {study.name}: --{word} and {other} both decide {target}; give one of them")
        by_target[target] = f"--{word}"


def _find(name: str, folder: Path) -> Study:
    """Return a study by its name.

    Raises:
        ConfigError: there is none, or none was named.
    """
    found = {study.name: study for study in find_studies(folder)}
    if name in found:
        return found[name]
    there_are = f"; there are {', '.join(found)}" if found else f" in {display_path(folder / FOLDER)}"
    if not name:
        raise ConfigError(f"--study: name one{there_are}" if found else f"--study: there is no study{there_are}")
    raise ConfigError(f"no study {name!r}{did_you_mean(name, found) or there_are}")


def describe_unknown(name: str, folder: Path, option: str, known: Sequence[str]) -> str:
    """Return a sentence on an option that a study does not have; ``known`` are those that every sweep has.

    Raises:
        ConfigError: there is no such study.
    """
    return _no_option(_find(name, folder), option, known)


def _no_option(study: Study, option: str, known: Sequence[str] = ()) -> str:
    own = [f"--{name}" for name in study.model.options]
    hint = did_you_mean(option, [*own, *known])
    has = f"{study.name} has {', '.join(own)}" if own else f"{study.name} has none of its own"
    return f"study {study.name}: no option {option}{f'{hint} ({has})' if hint else f'; {has}'}"


def _change(parameters: dict[Any, Any], option: StudyOption, word: str, text: str) -> None:
    """Change the parameters as an option asks."""
    value = parse_value(text)
    if option.set is not None:
        _replace(parameters, option.set, {"value": value})
        return
    target = option.decades or option.points or ""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _MAX_POINTS:
        raise ConfigError(f"--{word}: needs a whole number from 1 to {_MAX_POINTS}, got {text!r}")
    if option.decades is not None:
        _replace(parameters, target, {"values": [float(f"1e{k}") for k in range(-value, value + 1)]})
        return
    spec = _spec_of(parameters, target)
    values = spec.get("values") if isinstance(spec, Mapping) else spec
    numbers = [number for number in values if is_number(number) and number > 0] if isinstance(values, list) else []
    if len(numbers) < 2 or value < 2:
        raise ConfigError(f"--{word}: needs two points or more, and positive values of {target} in the file")
    low, high = min(numbers), max(numbers)
    ratio = math.log(high / low) / (value - 1)
    points = [float(f"{low * math.exp(ratio * i):.6g}") for i in range(value)]
    _replace(parameters, target, {"values": points})
