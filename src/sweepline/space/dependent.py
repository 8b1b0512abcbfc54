"""Parameters that follow from others: computed ones, and those that are there only for some values of others."""

from __future__ import annotations

import graphlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from sweepline.errors import ConfigError
from sweepline.runs import canonical_json
from sweepline.space.constraints import Condition
from sweepline.space.expressions import ABSENT, Expression
from sweepline.space.parameters import Parameter, WeightedCategorical, unique_values

Clause = Condition | Expression
Choose = Callable[[str, Parameter], Any]


class Formula(Protocol):
    """How a value follows from those of other parameters."""

    @property
    def names(self) -> tuple[str, ...]:
        """The other parameters."""

    def value(self, params: Mapping[str, Any]) -> Any:
        """Return it; :data:`ABSENT` where it needs a parameter that is absent."""


@dataclass(frozen=True, slots=True)
class Fits:
    """A batch size that is measured, once for the values of the parameters ``names``, as ``options`` say.

    ``table`` has what was measured, by :meth:`key`; where nothing was yet it is ``first``.
    """

    first: int
    options: Mapping[str, Any]
    names: tuple[str, ...] = ()
    table: Mapping[str, int] = field(default_factory=dict)

    def key(self, params: Mapping[str, Any]) -> str:
        """Return the values that it depends on as a text; those of absent parameters as null."""
        return canonical_json([params.get(name) for name in self.names])

    def value(self, params: Mapping[str, Any]) -> int:
        """See :meth:`Formula.value`."""
        return self.table.get(self.key(params), self.first)


@dataclass(frozen=True, slots=True)
class Computed:
    """What an expression over other parameters comes to. It is absent where it needs one that is."""

    expression: Formula
    is_finite = True
    grid: Sequence[Any] = ()

    def at(self, quantile: float) -> Any:
        """Refuse: nothing is drawn."""
        raise TypeError("a computed parameter follows from others")

    def quantile(self, value: Any) -> float | None:
        """Refuse: nothing is drawn."""
        raise TypeError("a computed parameter follows from others")


@dataclass(frozen=True, slots=True)
class Alternative:
    """A parameter as it is where all clauses hold."""

    when: tuple[Clause, ...]
    parameter: Parameter

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters that the clauses read."""
        return tuple(name for clause in self.when for name in _names(clause))

    def holds(self, params: Mapping[str, Any]) -> bool:
        """Whether they do; a condition on a parameter that is absent does not."""
        return all(
            clause(params) if isinstance(clause, Expression) else clause.holds_in(params) for clause in self.when
        )


@dataclass(frozen=True, slots=True)
class Conditional:
    """A parameter that is as the first of its alternatives that holds; absent where none does."""

    alternatives: tuple[Alternative, ...]

    @property
    def is_finite(self) -> bool:
        """Whether all alternatives are."""
        return all(alternative.parameter.is_finite for alternative in self.alternatives)

    @property
    def grid(self) -> Sequence[Any] | None:
        """The values of all alternatives, each once; None where one has no grid."""
        grids = [alternative.parameter.grid for alternative in self.alternatives]
        return None if None in grids else unique_values([value for grid in grids for value in grid or ()])

    def at(self, quantile: float) -> Any:
        """Refuse: which alternative is drawn from follows from others."""
        raise TypeError("a conditional parameter follows from others")

    def quantile(self, value: Any) -> float | None:
        """Refuse: which alternative is drawn from follows from others."""
        raise TypeError("a conditional parameter follows from others")

    def choose(self, params: Mapping[str, Any]) -> Parameter | None:
        """Return what the parameter is, given those that it depends on; None: absent."""
        return next((a.parameter for a in self.alternatives if a.holds(params)), None)


ONLY_LISTED: Final = Conditional(())
"""A parameter that no combination has but those that are written down one by one."""


class Dependencies:
    """Which parameters of a space follow from which, and what follows.

    Raises:
        ConfigError: parameters follow from each other.
    """

    def __init__(self, parameters: Mapping[str, Parameter]) -> None:
        self.parameters = parameters
        self.computed = {name for name, p in parameters.items() if isinstance(p, Computed)}
        self.conditional = {name for name, p in parameters.items() if isinstance(p, Conditional)}
        self._read = {name: names_read(parameter) for name, parameter in parameters.items()}
        self.order = self.arrange([(name,) for name in parameters]) if self else [(name,) for name in parameters]

    def __bool__(self) -> bool:
        return bool(self.computed or self.conditional)

    def arrange(self, units: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
        """Return groups of parameters with every one behind those that it follows from, else in the order given."""
        unit_of = {name: unit for unit in units for name in unit}
        sorter: graphlib.TopologicalSorter[tuple[str, ...]] = graphlib.TopologicalSorter()
        for unit in units:
            sorter.add(unit, *(unit_of[other] for name in unit for other in self._read[name] if other in unit_of))
        try:
            sorter.prepare()
        except graphlib.CycleError as error:
            names = [name for unit in error.args[1][1:] for name in unit]
            raise ConfigError(f"{', '.join(names)}: each follows from the other; one must stand by itself") from None
        place = {unit: i for i, unit in enumerate(units)}
        arranged: list[tuple[str, ...]] = []
        ready = list(sorter.get_ready())
        while ready:
            unit = min(ready, key=place.__getitem__)
            ready.remove(unit)
            arranged.append(unit)
            sorter.done(unit)
            ready += sorter.get_ready()
        return arranged

    def sources(self, names: Iterable[str]) -> list[str]:
        """Return the parameters that are no computed ones of all that ``names`` follow from, they themselves too."""
        found: dict[str, None] = {}
        left = list(names)
        while left:
            name = left.pop()
            if name not in found and name in self._read:
                found[name] = None
                left += self._read[name]
        return [name for name in found if name not in self.computed]

    @property
    def followed(self) -> set[str]:
        """The parameters whose values, where they are there, all follow from those of others."""
        found = set(self.computed)
        for name in self.conditional:
            parameter = self.parameters[name]
            assert isinstance(parameter, Conditional)
            if all(isinstance(alternative.parameter, Computed) for alternative in parameter.alternatives):
                found.add(name)
        return found

    @property
    def deciding(self) -> set[str]:
        """The parameters that decide, by themselves or through computed ones, which others are there."""
        read = {other for name in self.conditional for other in self._read[name]}
        return {name for other in read for name in [other, *self.sources([other])]}

    def complete(self, choose: Choose, given: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return one combination.

        Args:
            choose: is asked for the value of each parameter that is not computed, with what it is in this combination;
                :data:`ABSENT` leaves it out.
            given: parameters that are there whatever others are.
        """
        params = dict(given or {})
        for (name,) in self.order:
            parameter = self._chosen(name, params)
            if parameter is None:
                continue
            value = _compute(name, parameter, params) if isinstance(parameter, Computed) else choose(name, parameter)
            if value is not ABSENT:
                params[name] = value
        return params

    def compute_again(self, params: dict[str, Any]) -> None:
        """Bring computed parameters up to date, in place."""
        for (name,) in self.order:
            parameter = self._chosen(name, params)
            if isinstance(parameter, Computed):
                value = _compute(name, parameter, params)
                params.pop(name, None)
                if value is not ABSENT:
                    params[name] = value

    def complete_listed(self, listed: Mapping[str, Any]) -> dict[str, Any]:
        """Return a combination that is written down, with what is constant or computed beside it.

        A parameter that varies and is not written down is absent.
        """

        def choose(name: str, parameter: Parameter) -> Any:
            if name in listed:
                return listed[name]
            grid = parameter.grid
            return grid[0] if grid is not None and len(grid) == 1 else ABSENT

        beside = {n: v for n, v in listed.items() if self.parameters.get(n, ONLY_LISTED) == ONLY_LISTED}
        return self.complete(choose, beside)

    def _chosen(self, name: str, params: Mapping[str, Any]) -> Parameter | None:
        parameter = self.parameters[name]
        if not isinstance(parameter, Conditional):
            return parameter
        try:
            return parameter.choose(params)
        except ConfigError as error:
            raise ConfigError(f"parameter {name}: when: {error}") from None


def _compute(name: str, parameter: Computed, params: Mapping[str, Any]) -> Any:
    try:
        return parameter.expression.value(params)
    except ConfigError as error:
        raise ConfigError(f"parameter {name}: {error}") from None


def fits_of(parameter: Parameter) -> Fits | None:
    """Return how a parameter is measured; None for any other."""
    is_measured = isinstance(parameter, Computed) and isinstance(parameter.expression, Fits)
    return parameter.expression if is_measured else None  # type: ignore[attr-defined]


def find_fits(parameters: Mapping[str, Parameter]) -> tuple[str, Fits] | None:
    """Return the one parameter of a space that is measured: its name, and how."""
    return next(((name, fits) for name, parameter in parameters.items() if (fits := fits_of(parameter))), None)


def listed_values(parameter: Parameter) -> list[Any]:
    """Return the values that a parameter may have as far as they are listed, whatever decides among them."""
    if isinstance(parameter, Conditional):
        return [value for alternative in parameter.alternatives for value in listed_values(alternative.parameter)]
    if isinstance(parameter, WeightedCategorical):
        return list(parameter.values)
    return list(parameter.grid or ())


def names_read(parameter: Parameter) -> tuple[str, ...]:
    """Return the other parameters that a parameter follows from."""
    if isinstance(parameter, Computed):
        return parameter.expression.names
    if isinstance(parameter, Conditional):
        read = [n for a in parameter.alternatives for n in (*a.names, *names_read(a.parameter))]
        return tuple(dict.fromkeys(read))
    return ()


def _names(clause: Clause) -> tuple[str, ...]:
    return clause.names if isinstance(clause, Expression) else (clause.name,)
