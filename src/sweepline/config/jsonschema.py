"""The JSON schema of a sweep file, for editors: completion and red underlines while typing. Not used to check files."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import models_json_schema

from sweepline.config.distributions import DISTRIBUTIONS
from sweepline.config.schema import FitsModel, OwnKeys, SweepModel


class ParameterModel(BaseModel):
    """One parameter: a value, a list of values, a range, a distribution, or nested parameters."""

    model_config = ConfigDict(extra="forbid")

    value: Any = None
    values: list[Any] | dict[str, Any] | None = None
    probabilities: list[float] | None = None
    distribution: Literal[DISTRIBUTIONS] | None = None  # type: ignore[valid-type]
    min: float | None = None
    max: float | None = None
    q: float | None = None
    mu: float | None = None
    sigma: float | None = None
    a: float | None = None
    b: float | None = None
    parameters: dict[str, Any] | None = None
    when: dict[str, Any] | str | None = None
    expr: str | None = None
    fits: FitsModel | None = None
    pass_: bool = Field(True, alias="pass")


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
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, **definitions}


_PARAMETER = {
    "anyOf": [
        {"type": ["string", "number", "boolean"]},
        {"type": "array", "minItems": 1},
        {"$ref": "#/$defs/ParameterModel"},
    ]
}
