"""A group of keys of a config, and what each key says of itself: to people, and to whoever compares configs.

Nothing here needs torch, so that a typing error in a config costs a tenth of a second.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo

Positive = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0.0, lt=1.0)]
Factor = Annotated[float, Field(gt=0.0, le=1.0)]
# What a key changes of the numbers of a given step: them; only which batch size is found, and them by it; or nothing.
Affects = Literal["result", "memory", "nothing"]
# Keys that act through one number alone, which stands for them wherever results are compared.
Through = Literal["step_size", "target"]
# What of a key set-ups have in common that need the same memory: its value, or only whether it is set.
Memory = Literal["value", "whether"]


class Settings(BaseModel):
    """Keys that belong together: typed, unknown ones refused, unchanging once they are read."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class ModelSettings(Settings):
    """The keys of a model, beside its name."""

    @property
    def size_word(self) -> str:
        """A word for the size of the model, for the names of folders and files."""
        raise NotImplementedError

    def n_parameters(self, input_shape: tuple[int, ...], n_classes: int) -> int | None:
        """Return how many weights and biases there are for such inputs; None where that is not declared."""
        return None


def key(
    default: Any,
    description: str,
    *,
    affects: Affects = "result",
    through: Through | None = None,
    memory: Memory | None = None,
    omit_default: bool = False,
    choices: tuple[str, ...] | None = None,
    **bounds: Any,
) -> Any:
    """Return a key's default with what it says of itself; ``bounds`` are those of :func:`pydantic.Field`.

    With ``omit_default`` its default is as if there were no such key, so that older checkpoints and sizes stay known.
    ``choices`` are the names that it takes, beside those of a user's own, as ``file.py:Name``.
    """
    marks: dict[str, Any] = {
        "affects": affects,
        "through": through,
        "memory": memory,
        "omit_default": omit_default or None,
        "anyOf": choices and [{"enum": list(choices)}, {"pattern": ":"}],
    }
    extra = {name: value for name, value in marks.items() if value is not None}
    if default == {}:
        return Field(default_factory=dict, description=description, json_schema_extra=extra, **bounds)
    return Field(default, description=description, json_schema_extra=extra, **bounds)


def keys_of(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Yield every key by dotted name, in the order of the config."""
    for name, field in model.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, BaseModel):
            yield from keys_of(section, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", field


def values_of(settings: BaseModel) -> dict[str, Any]:
    """Return every key's value by dotted name, as it is in JSON; a mapping that a key takes is one value."""
    tree = settings.model_dump(mode="json")
    values = {}
    for name, _ in keys_of(type(settings)):
        node: Any = tree
        for part in name.split("."):
            node = node[part]
        values[name] = node
    return values


def default_of(field: FieldInfo) -> Any:
    """Return a key's default."""
    return {} if field.default_factory is dict else field.default


def counts(field: FieldInfo, value: Any) -> bool:
    """Whether a key's value, as it is in JSON, is part of what configs are compared by."""
    default = default_of(field)
    return mark_of(field, "omit_default") is None or value != (list(default) if default == () else default)


def mark_of(field: FieldInfo, mark: Literal["affects", "through", "memory", "omit_default"]) -> Any:
    """Return what a key says of itself, None where it says nothing."""
    extra = field.json_schema_extra
    return extra.get(mark) if isinstance(extra, dict) else None
