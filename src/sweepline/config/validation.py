"""Checks a sweep file against the schema: pydantic's findings as sentences, W&B's leniency where W&B is lenient."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from sweepline.config.faults import Faults, describe_detail
from sweepline.config.placemodels import MoreMemoryModel, MoreTimeModel, PilotModel, RayModel, SlurmModel
from sweepline.config.schema import (
    PATTERNS,
    SEVERAL,
    WANDB_ONLY_KEYS,
    AlignModel,
    ArgumentsModel,
    KeepModel,
    LoggingModel,
    OwnKeys,
    SchedulerModel,
    SeveralModel,
    StabilityModel,
    StopSweepModel,
    StudyModel,
    StudyOption,
    SweepModel,
    WandbModel,
)
from sweepline.contract.yamlfile import KeyPath
from sweepline.errors import did_you_mean
from sweepline.programs.arguments import format_python

OWN_BLOCK = "x-sweepline"
GOALS = ("minimize", "maximize")
_LENIENT_KEYS = ("metric", "early_terminate", "name", "project", "entity", "description")


def validate(raw: Mapping[Any, Any], faults: Faults) -> SweepModel | None:
    """Return the file's values as a model; None when ``faults`` has errors that say why not."""
    own = raw.get(OWN_BLOCK) or {}
    if not isinstance(own, Mapping):
        faults.error((OWN_BLOCK,), "must be a mapping of sweepline's keys")
        own = {}
    merged = {str(key): value for key, value in raw.items() if key != OWN_BLOCK}
    _tell_unknown_keys(merged, own, faults)
    own = {key: value for key, value in own.items() if key in OwnKeys.model_fields}
    merged |= own
    for key in ("name", "project", "entity"):
        if isinstance(merged.get(key), (int, float)):
            merged[key] = format_python(merged[key])
    _mend_goals(merged, faults)
    try:
        return SweepModel.model_validate(merged)
    except ValidationError as error:
        _report(error, own, faults)
        for key in {str(detail["loc"][0]) for detail in error.errors() if detail["loc"]} & set(_LENIENT_KEYS):
            del merged[key]
    try:
        return None if faults.errors else SweepModel.model_validate(merged)
    except ValidationError:
        return None


def _tell_unknown_keys(merged: Mapping[str, Any], own: Mapping[Any, Any], faults: Faults) -> None:
    """Say which keys have no effect here: unknown ones, with the nearest that is known, and those for W&B's server."""
    for key in map(str, own):
        if key not in OwnKeys.model_fields:
            faults.warn((OWN_BLOCK, key), f"unknown key, ignored{did_you_mean(key, OwnKeys.model_fields)}")
    for key in merged:
        if key in WANDB_ONLY_KEYS and key != "description":
            faults.note((key,), "is for W&B's server alone and has no effect here")
        elif key not in SweepModel.model_fields and not key.startswith(("x-", "$")) and key not in WANDB_ONLY_KEYS:
            faults.warn((key,), f"unknown key, ignored{did_you_mean(key, SweepModel.model_fields)}")


def _mend_goals(merged: dict[str, Any], faults: Faults) -> None:
    """Read misspelled goals as the nearest ones, and say so."""
    if "metric" in merged:
        merged["metric"] = _mend_goal(merged["metric"], ("metric",), faults)
    if isinstance(merged.get("metrics"), list):
        merged["metrics"] = [_mend_goal(one, ("metrics", i), faults) for i, one in enumerate(merged["metrics"])]


def _mend_goal(metric: Any, key: KeyPath, faults: Faults) -> Any:
    if not isinstance(metric, Mapping) or "goal" not in metric:
        return metric
    goal = str(metric["goal"]).strip().lower()
    if goal not in GOALS:
        near = difflib.get_close_matches(goal, GOALS, n=1)
        read_as = near[0] if near else GOALS[0]
        faults.warn(
            (*key, "goal"), f"unknown goal {metric['goal']!r}, read as {read_as}; there are {' and '.join(GOALS)}"
        )
        goal = read_as
    return {**metric, "goal": goal}


def _report(error: ValidationError, own: Mapping[Any, Any], faults: Faults) -> None:
    for detail in error.errors():
        loc = tuple(part for part in detail["loc"] if isinstance(part, (str, int)))
        if len(loc) > 1 and loc[0] == "metrics" and loc[1] in (PATTERNS, SEVERAL):
            loc = (loc[0], *loc[2:])
        key: KeyPath = (OWN_BLOCK, *loc) if loc and loc[0] in own else loc
        sentence = _sentence(detail)
        if loc and loc[0] in _LENIENT_KEYS:
            faults.warn(key, f"{sentence}; ignored")
        else:
            faults.error(key, sentence)


def _sentence(detail: Any) -> str:
    kind, value, loc = detail["type"], detail.get("input"), detail["loc"]
    if kind == "extra_forbidden":
        models: dict[str, type[BaseModel]] = {
            "wandb": WandbModel,
            "arguments": ArgumentsModel,
            "align": AlignModel,
            "keep": KeepModel,
            "stability": StabilityModel,
            "options": StudyOption,
            "study": StudyModel,
            SEVERAL: SeveralModel,
            "scheduler": SchedulerModel,
            "stop_sweep": StopSweepModel,
            "on_oom": MoreMemoryModel,
            "on_timeout": MoreTimeModel,
            "slurm": SlurmModel,
            "pilot": PilotModel,
            "ray": RayModel,
        }
        fields = next((model for name, model in models.items() if name in loc), LoggingModel).model_fields
        names = tuple(field.alias or name for name, field in fields.items())
        return describe_detail(detail, ("csv_path", "metrics") if "local" in loc else names)
    if kind == "tuple_type" and loc[-1] == "seeds" and isinstance(value, int):
        return f"is a list, as [0, 1]; repeats: {value} gives each combination so many seeds of its own choice"
    return describe_detail(detail)
