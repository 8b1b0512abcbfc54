"""A sweep file as W&B takes it: its schema knows no key of ours, no short form, and no condition on parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from sweepline.config.schema import OwnKeys
from sweepline.config.sweepfile import load_sweep
from sweepline.config.validation import OWN_BLOCK
from sweepline.contract.text import display_path
from sweepline.contract.yamlfile import read_yaml
from sweepline.programs.arguments import STYLES, ArgumentStyle, choose_style
from sweepline.programs.macros import CONFIG_FILE, MACROS_OF_THE_COMMAND
from sweepline.programs.native import NATIVE_PROGRAM

_WANDB_KEYS = (
    *("program", "command", "method", "metric", "parameters", "name", "description", "project", "entity", "run_cap"),
    *("early_terminate", "controller", "image_uri", "job", "scheduler", "apiVersion", "kind"),
)
_DEFAULT_COMMAND = ["${env}", "${interpreter}", "${program}", "${args}"]
_OWN_TITLE = "Keys of sweepline's alone:"
_OURS_ALONE = ("seed", "run_dir", "run_id", "run_name", CONFIG_FILE)
_WHY_NOT = {
    "constraints": "W&B knows none: its agents run what is skipped here, and change nothing of a combination",
    "zip": "W&B knows none: it combines all of these values",
    "runs": "W&B runs no listed combinations",
    "race": "W&B adds no seeds at the end",
    "keep": "W&B deletes no checkpoints",
    "stop_sweep": "W&B goes on until run_cap, or until it is stopped",
    "stability": "W&B leaves no combination out",
    "metrics": "W&B reads no output: the script has to call wandb.log",
    "metrics_from": "W&B reads no files of a run: the script has to call wandb.log",
    "env": "W&B's agent sets no variables: export them where it is started",
    "cwd": "W&B's agent starts all runs where it was started: they write over each other's relative files",
    "prepare": "W&B runs nothing before the first run: run it yourself",
    "on_failure": "W&B starts no command for a failed run: see its alerts",
    "on_end": "W&B starts no command at the end: see its automations",
}


def export_wandb(path: Path, *, has_own_keys: bool = False) -> tuple[str, list[str]]:
    """Return the text of a file for W&B, and sentences about what that file cannot say.

    Raises:
        ConfigError: the sweep file has a fault.
    """
    objective = load_sweep(path).objective
    document = read_yaml(path).value
    exporter = _Exporter(document, goal=None if objective is None else objective.goal)
    found = exporter.export()
    head = [f"# Exported by `sweepline export --wandb` from {display_path(path)}."]
    text = _dump(found)
    if exporter.own:
        block = _dump({OWN_BLOCK: exporter.own})
        commented = [_OWN_TITLE, *block.splitlines()]
        text += block if has_own_keys else "".join(f"# {line}\n" for line in commented)
    return "\n".join([*head, *(f"# {note}" for note in exporter.notes)]) + "\n" + text, exporter.notes


def _dump(value: Any) -> str:
    return yaml.safe_dump(value, sort_keys=False, default_flow_style=None, width=110, allow_unicode=True)


class _Exporter:
    """Turns one file's keys into W&B's; what it cannot say is in ``notes``, keys of ours alone in ``own``."""

    def __init__(self, document: Mapping[Any, Any], *, goal: str | None) -> None:
        self.goal = goal
        own = document.get(OWN_BLOCK)
        self.keys = {str(k): v for k, v in document.items() if k != OWN_BLOCK} | (
            dict(own) if isinstance(own, Mapping) else {}
        )
        self.own = {k: v for k, v in self.keys.items() if k in OwnKeys.model_fields}
        self.notes: list[str] = []

    def export(self) -> dict[str, Any]:
        """Return the file's keys as W&B has them."""
        found: dict[str, Any] = {
            "program": self.keys.get("program", NATIVE_PROGRAM),
            "method": self.keys.get("method", "grid"),
        }
        for key in ("name", "description", "project", "entity", "scheduler", "controller", "image_uri", "job"):
            if self.keys.get(key) is not None:
                found[key] = self.keys[key]
        found |= self._logging() | self._metric()
        cap = self.keys.get("run_cap", self.keys.get("samples"))
        found |= {"run_cap": cap} if isinstance(cap, int) else {}
        found |= self._early_terminate()
        parameters = dict(self._parameters(self.keys.get("parameters") or {}))
        found["parameters"] = parameters | self._seeds(parameters)
        command = self._command(found["parameters"])
        found |= {"command": command} if command is not None else {}
        self._tell_rest()
        return found

    def _logging(self) -> dict[str, Any]:
        logging = self.keys.get("logging")
        wandb = logging.get("wandb") if isinstance(logging, Mapping) else None
        told = wandb if isinstance(wandb, Mapping) else {}
        return {key: told[key] for key in ("project", "entity") if told.get(key) and not self.keys.get(key)}

    def _metric(self) -> dict[str, Any]:
        several = self.keys.get("metrics")
        metric = self.keys.get("metric")
        if metric is None and isinstance(several, list) and several:
            metric = several[0]
            self.notes.append(f"metrics: W&B's own methods take one objective: {metric.get('name')}, the first")
        if not isinstance(metric, Mapping):
            return {}
        told = {"name": metric["name"], "goal": self.goal or "minimize"}
        summary = metric.get("summary")
        if summary and summary != "last":
            self.notes.append(f"metric.summary: {summary}: W&B takes what the script puts into its summary")
        return {"metric": told}

    def _early_terminate(self) -> dict[str, Any]:
        rules = self.keys.get("early_terminate")
        told = rules if isinstance(rules, list) else [rules] if rules else []
        hyperband = next((rule for rule in told if isinstance(rule, Mapping) and rule.get("type") == "hyperband"), None)
        if hyperband is not None:
            return {"early_terminate": dict(hyperband)}
        asha = next((rule for rule in told if isinstance(rule, Mapping) and rule.get("type") == "asha"), None)
        if asha is not None and asha.get("by", "points") == "points" and float(asha.get("min", 1)).is_integer():
            self.notes.append("early_terminate: asha is W&B's hyperband, which is as near as it has")
            return {
                "early_terminate": {
                    "type": "hyperband",
                    "min_iter": int(asha.get("min", 1)),
                    "eta": asha.get("factor", 3),
                }
            }
        if told:
            self.notes.append("early_terminate: W&B has hyperband alone, so that it ends no run early")
        return {}

    def _parameters(self, raw: Mapping[Any, Any]) -> Iterator[tuple[str, Any]]:
        for key, spec in raw.items():
            found = list(self._parameter(str(key), spec))
            yield from found

    def _parameter(self, name: str, spec: Any) -> Iterator[tuple[str, Any]]:
        """Yield a parameter in W&B's form, and those that stand under its choices."""
        if not isinstance(spec, Mapping):
            yield name, {"values": spec} if isinstance(spec, list) else {"value": spec}
            return
        if "parameters" in spec:
            yield name, {"parameters": dict(self._parameters(spec["parameters"]))}
            return
        own = [key for key in ("when", "expr", "fits", "pass") if key in spec]
        if "expr" in own or "fits" in own:
            self.notes.append(
                f"parameters.{name}: {own[-1]} is computed here, and W&B computes nothing: it is left out"
            )
            return
        if own:
            self.notes.append(f"parameters.{name}: W&B knows no {' and no '.join(own)}: every run is handed it")
        plain = {key: value for key, value in spec.items() if key not in own}
        yield from self._with_choices(name, plain)

    def _with_choices(self, name: str, spec: dict[str, Any]) -> Iterator[tuple[str, Any]]:
        values = spec.get("values")
        below: dict[str, Any] = {}
        items: list[tuple[Any, Any]] = list(values.items()) if isinstance(values, Mapping) else []
        if isinstance(values, list):
            pairs = [
                (v["value"], v) if isinstance(v, Mapping) and set(v) == {"value", "parameters"} else (v, None)
                for v in values
            ]
            items = pairs if any(inner is not None for _, inner in pairs) else []
        if not items:
            is_listed = "values" in spec or "value" in spec
            yield name, {k: v for k, v in spec.items() if not (is_listed and k == "distribution")}
            return
        for _, inner in items:
            for key, one in self._parameters((inner or {}).get("parameters") or {}):
                below[key] = _joined(below[key], one) if key in below else one
        self.notes.append(
            f"parameters.{name}: a choice has no parameters of its own in W&B: every run is handed {', '.join(below)}"
        )
        yield name, {**spec, "values": [value for value, _ in items]}
        yield from below.items()

    def _seeds(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        seeds, repeats = self.keys.get("seeds"), self.keys.get("repeats")
        if isinstance(seeds, list) and "seed" not in parameters:
            self.own.pop("seeds", None)
            return {"seed": {"values": seeds}}
        if isinstance(repeats, int) and repeats > 1:
            self.notes.append(f"repeats: W&B repeats nothing: list seeds, as seeds: [0, 1], for {repeats} runs each")
        return {}

    def _command(self, parameters: Mapping[str, Any]) -> list[Any] | None:
        """Return the command for W&B's agent, which knows its own macros alone."""
        given = self.keys.get("command")
        words = list(given) if isinstance(given, list) else None
        style, told = self._style()
        if style is not None:
            words = self._styled(words or list(_DEFAULT_COMMAND), style, told, parameters)
        if words is None:
            return None
        kept = [word for word in words if not self._is_dropped(str(word), parameters)]
        return kept if kept != _DEFAULT_COMMAND or given is not None else None

    def _style(self) -> tuple[ArgumentStyle | None, str]:
        told = self.keys.get("arguments")
        named = told.get("style", "wandb") if isinstance(told, Mapping) else told
        if named is None or str(named) not in STYLES:
            return None, ""
        changes = {key: value for key, value in told.items() if key != "style"} if isinstance(told, Mapping) else {}
        return choose_style(str(named), changes), str(named)

    def _styled(self, words: list[Any], style: ArgumentStyle, name: str, parameters: Mapping[str, Any]) -> list[Any]:
        """Return words whose macro writes values as the parser wants, as far as W&B has one."""
        values = [value for spec in parameters.values() for value in _values_of(spec)]
        has_booleans = any(isinstance(value, bool) for value in values)
        if has_booleans and style.booleans in ("flag", "no_flag"):
            words = ["${args_no_boolean_flags}" if word == "${args}" else word for word in words]
            if style.booleans == "no_flag":
                self.notes.append(f"arguments: {name}: W&B leaves a false boolean out, and writes no --no-NAME")
        if any(isinstance(value, list) for value in values) and style.lists != "text":
            self.notes.append(f"arguments: {name}: W&B writes a list as --k=[5, 6], which its parser refuses")
        if any(value is None for value in values) and style.nulls == "omit":
            self.notes.append(f"arguments: {name}: W&B writes null as --k=None and leaves none out")
        if style.has_hyphens and any("_" in key for key in parameters):
            self.notes.append(
                f"arguments: {name}: W&B writes names as they are, with _: rename the parameters with hyphens"
            )
        return words

    def _is_dropped(self, word: str, parameters: Mapping[str, Any]) -> bool:
        """Whether a word of the command has a macro that W&B would drop or leave as it stands."""
        names = [name for name in (*_OURS_ALONE, *parameters) if f"${{{name}}}" in word]
        if names and names[0] not in MACROS_OF_THE_COMMAND:
            self.notes.append(f"command: {word}: W&B knows no ${{{names[0]}}}: the word is left out")
        return bool(names)

    def _tell_rest(self) -> None:
        for key in self.own:
            if key in _WHY_NOT and not (key == "metrics" and isinstance(self.own[key], list)):
                self.notes.append(f"{key}: {_WHY_NOT[key]}")
        for key in self.keys:
            if key not in _WANDB_KEYS and key not in OwnKeys.model_fields and not key.startswith(("x-", "$")):
                self.notes.append(f"{key}: is no key of W&B's, and left out")


def _joined(one: Any, other: Any) -> Any:
    """Return the values of a parameter that stands under two choices as one list; a range stays as it is."""
    values = [*_values_of(one), *_values_of(other)]
    if not values:
        return one
    unique: list[Any] = []
    for value in values:
        if not any(value == known and type(value) is type(known) for known in unique):
            unique.append(value)
    return {"values": unique}


def _values_of(spec: Any) -> list[Any]:
    if not isinstance(spec, Mapping):
        return []
    listed = spec.get("values")
    return list(listed) if isinstance(listed, list) else [spec["value"]] if "value" in spec else []
