"""The JSON schema of a sweep file, for editors: completion and red underlines while typing. Not used to check files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import models_json_schema

from sweepline.config.distributions import DISTRIBUTIONS
from sweepline.config.schema import FitsModel, OwnKeys, SweepModel


class ParameterModel(BaseModel):
    """One parameter: a value, a list of values, a range, a distribution, or nested parameters."""

    model_config = ConfigDict(extra="forbid")

    value: Any = Field(None, description="the one value that every run gets")
    values: list[Any] | dict[str, Any] | None = Field(
        None, description="the values to try; under each as a key, parameters that are there with it alone"
    )
    probabilities: list[float] | None = Field(None, description="random: of each value; they sum to 1")
    distribution: Literal[DISTRIBUTIONS] | None = Field(  # type: ignore[valid-type]
        None, description="how values are drawn; default: uniform between min and max, of integers where both are"
    )
    min: float | None = Field(None, description="the smallest value")
    max: float | None = Field(None, description="the largest value")
    q: float | None = Field(None, description="quantized distributions: the step to which values are rounded")
    mu: float | None = Field(None, description="normal distributions: the mean (of the logarithm for log_normal)")
    sigma: float | None = Field(None, description="normal distributions: the standard deviation")
    a: float | None = Field(None, description="beta: the first shape parameter")
    b: float | None = Field(None, description="beta: the second shape parameter")
    parameters: dict[str, Any] | None = Field(None, description="nested parameters; their names are joined by dots")
    when: dict[str, Any] | str | None = Field(None, description="the parameter is there only where this holds")
    expr: str | None = Field(None, description="the value is computed of other parameters")
    fits: FitsModel | None = Field(None, description="the value is a batch size, found by trying what fits")
    pass_: bool = Field(True, alias="pass", description="false: the program is not handed this parameter")


def json_schema() -> dict[str, Any]:
    """Return the JSON schema (2020-12) of a sweep file."""
    _, definitions = models_json_schema(
        [(SweepModel, "validation"), (OwnKeys, "validation"), (ParameterModel, "validation")],
        ref_template="#/$defs/{model}",
    )
    schema = definitions["$defs"].pop("SweepModel")
    schema["properties"]["x-sweepline"] = {"$ref": "#/$defs/OwnKeys"}
    schema["anyOf"] = [{"required": ["parameters"]}, {"required": ["runs"]}, {"required": ["x-sweepline"]}]
    schema["properties"]["parameters"] |= {"type": "object", "additionalProperties": _PARAMETER}
    _describe(schema["properties"], _KEYS)
    for name, descriptions in _KEYS_OF_PARTS.items():
        _describe(definitions["$defs"][name]["properties"], descriptions)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, **definitions}


_PARAMETER = {
    "anyOf": [
        {"type": ["string", "number", "boolean"]},
        {"type": "array", "minItems": 1},
        {"$ref": "#/$defs/ParameterModel"},
    ]
}

_OWN_KEYS = {
    "constraints": "rules that change combinations (set, unset) or drop them (skip, exclude)",
    "seeds": "the seeds that every combination runs with; default: one, of repeats",
    "max_concurrent": "at most so many runs at a time; default: one per slot, on CPUs half the cores",
    "devices": "auto, cpu, or GPUs by index or UUID; a text with commas is a slot of several GPUs",
    "runs_per_device": "how many runs may share a GPU; auto: as many as fit, by the memory that runs were seen to take",
    "threads": "CPU threads of a run; auto: the cores shared among the slots",
    "retry": "further attempts of a failed run, in one start",
    "logging": "records beside the journal",
}
_KEYS = _OWN_KEYS | {
    "method": "how combinations are chosen: all of them, draws, proposals of a model, or of a scheduler of your own",
    "program": "the script that is started",
    "command": "the words that start a run, with macros such as ${program} and ${args}",
    "metric": "the objective",
    "parameters": "what is varied: a value, a list of values, or a mapping for each name",
    "name": "the sweep's name, and that of its folder; default: the file's, of sweep.yaml the experiment folder's",
    "project": "W&B: the project of all runs",
    "entity": "W&B: the user or team that the project belongs to",
    "description": "a text for people",
    "run_cap": "at most so many combinations",
    "x-sweepline": "the keys of sweepline, in a file that W&B shall accept too",
}
_OBJECTIVE = {"name": "of a metric that runs print", "goal": "whether less or more of it is better"}
_KEYS_OF_PARTS = {
    "OwnKeys": _OWN_KEYS,
    "ArgumentsModel": {"style": "the parser whose way of writing values is taken"},
    "LoggingModel": {"local": "the table", "wandb": "tracking of runs"},
    "LocalLoggingModel": {"metrics": "metrics that have a column from the start"},
    "MetricModel": _OBJECTIVE,
    "SeveralModel": _OBJECTIVE,
    "WandbModel": {
        "project": "of all runs",
        "entity": "the user or team that the project belongs to",
        "tags": "of all runs",
        "mode": "auto: online where there is a key, else offline",
    },
}
"""What the models do not say of a key themselves."""


def _describe(properties: dict[str, Any], descriptions: Mapping[str, str]) -> None:
    """Add descriptions to keys that have none."""
    for name, text in descriptions.items():
        properties[name].setdefault("description", text)
