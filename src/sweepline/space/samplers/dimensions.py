"""How the parameters of a search space stand in Optuna, and as points of a Gaussian process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sweepline.contract.values import is_number
from sweepline.runs import Params, canonical_json
from sweepline.space.dependent import Conditional, Dependencies
from sweepline.space.expressions import ABSENT
from sweepline.space.parameters import BELOW_ONE, Categorical, Constant, IntUniform, Parameter, values_as_listed

_MIN_ORDERED = 3  # values of a list of numbers from which on their order tells something
_MAX_STEPS = 1000  # of a whole number, up to which they are told apart


class Dimensions:
    """How parameters stand in Optuna. ``assigned`` are those that constraints set to whatever they like."""

    def __init__(
        self, parameters: Mapping[str, Parameter], zipped: Sequence[Sequence[str]], *, assigned: set[str]
    ) -> None:
        self._parameters, self._assigned = parameters, assigned
        self._group_of = {name: tuple(group) for group in zipped for name in group}

    def suggest(self, trial: Any, name: str, parameter: Parameter) -> Any:
        """Return the value of a parameter in a combination, as a trial suggests it."""
        found = self._dimension(name, parameter)
        if found is None:
            return parameter.at(0.0)
        key, bounds, at, _ = found
        if hasattr(bounds, "choices"):
            return at(trial.suggest_categorical(key, bounds.choices))
        is_place = isinstance(bounds.low, int)
        return at((trial.suggest_int if is_place else trial.suggest_float)(key, bounds.low, bounds.high))

    def raw_of(self, params: Params, dependencies: Dependencies) -> tuple[dict[str, Any] | None, dict[str, Any]]:
        """Return where a combination stands, and in what; None where a value is no longer one of its parameter's."""
        raw: dict[str, Any] = {}
        distributions: dict[str, Any] = {}
        is_outside = False

        def note(name: str, parameter: Parameter) -> Any:
            nonlocal is_outside
            value, found = params.get(name, ABSENT), self._dimension(name, parameter)
            place = found[3](value) if found is not None and value is not ABSENT else None
            if found is not None and place is not None:
                raw[found[0]], distributions[found[0]] = place, found[1]
            elif found is not None and name not in self._assigned:
                is_outside = True
            return value

        dependencies.complete(note)
        return (None if is_outside else raw), distributions

    def _dimension(self, name: str, parameter: Parameter) -> _Dimension | None:
        """Return a parameter's name and distribution in Optuna, and how values follow and are found; None: constant."""
        import optuna.distributions as dist

        group = self._group_of.get(name)
        if group is not None:
            rows = values_as_listed(parameter)
            return ("+".join(group), dist.CategoricalDistribution(range(len(rows))), rows.__getitem__, _place_in(rows))
        key, own = name, self._parameters[name]
        if isinstance(own, Conditional):
            key = f"{name}#{next(i for i, a in enumerate(own.alternatives) if a.parameter is parameter)}"
        if isinstance(parameter, IntUniform):
            whole = dist.IntDistribution(parameter.min, parameter.max)
            return key, whole, int, lambda value: None if parameter.quantile(value) is None else int(value)
        values = parameter.grid if isinstance(parameter, (Categorical, Constant)) else None
        if values is not None and len(values) < 2:
            return None
        if values is None or len(values) < len(parameter.values):  # type: ignore[attr-defined]
            quantile: Any = dist.FloatDistribution(0.0, 1.0)
            return key, quantile, lambda place: parameter.at(min(place, BELOW_ONE)), parameter.quantile
        if len(values) >= _MIN_ORDERED and all(map(is_number, values)):
            values = sorted(values)
            return key, dist.IntDistribution(0, len(values) - 1), values.__getitem__, _place_in(values)
        return key, dist.CategoricalDistribution(range(len(values))), values.__getitem__, _place_in(values)


@dataclass(frozen=True)
class ChosenTrial:
    """Stands for a trial of Optuna whose values are known: numbers from 0 to 1, or one for each category."""

    parts: Mapping[str, Sequence[float]]

    def suggest_categorical(self, key: str, choices: Sequence[Any]) -> Any:
        """Return the category whose number is the greatest."""
        part = self.parts.get(key, (1.0,))
        return choices[max(range(len(part)), key=part.__getitem__)]

    def suggest_int(self, key: str, low: int, high: int) -> int:
        """Return a whole number."""
        return low + round(self.suggest_float(key, 0.0, 1.0) * (high - low))

    def suggest_float(self, key: str, low: float, high: float) -> float:
        """Return a number; of a parameter that nothing known has had the one in the middle."""
        return low + self.parts.get(key, (0.5,))[0] * (high - low)


def axis_of(distribution: Any) -> Any:
    """Return how a parameter stands in a point, given how it stands in Optuna."""
    from sweepline.space.samplers import gaussian

    if hasattr(distribution, "choices"):
        return gaussian.Axis(len(distribution.choices), is_category=True)
    n = distribution.high - distribution.low + 1 if isinstance(distribution.low, int) else None
    return gaussian.Axis(n if n is not None and n <= _MAX_STEPS else None)


def point_of(raw: Mapping[str, Any], distributions: Mapping[str, Any]) -> tuple[float, ...]:
    """Return where a combination stands for a process; a parameter that is absent in it stands in the middle."""
    found: list[float] = []
    for key, distribution in distributions.items():
        if hasattr(distribution, "choices"):
            found += [float(key in raw and raw[key] == choice) for choice in distribution.choices]
        else:
            width = distribution.high - distribution.low
            found.append((raw[key] - distribution.low) / width if key in raw and width else 0.5)
    return tuple(found)


def split_point(point: Sequence[float], axes: Sequence[Any]) -> Iterator[Sequence[float]]:
    """Yield the numbers of a point that belong to each axis."""
    start = 0
    for axis in axes:
        yield point[start : start + axis.width]
        start += axis.width


_Dimension = tuple[str, Any, Callable[[Any], Any], Callable[[Any], Any]]


def _place_in(values: Sequence[Any]) -> Callable[[Any], int | None]:
    places = {canonical_json(value): place for place, value in reversed(list(enumerate(values)))}
    return lambda value: places.get(canonical_json(value))
