"""The grid: combinations by index, constraints by table, equal ones merged. Never a list of combinations in memory.

A combination is handled as its indexes, one into each axis, because a million dicts of values would not fit:
constraints are asked once for each value of the axes that they name, and equal combinations take one bit each.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from sweepline.contract.values import same_value
from sweepline.errors import ConfigError
from sweepline.space.constraints import Constraint
from sweepline.space.dependent import Computed, Conditional, Dependencies
from sweepline.space.parameters import Parameter, values_as_listed
from sweepline.space.samplers.base import EnumeratedSampler, Tally

Digits = tuple[int, ...]
"""A combination as one index into each axis."""

_ABSENT, _COMPUTED, _N_SPECIAL = -1, -2, 2
"""Stand for an index where a conditional parameter is absent, or computed."""

_MAX_DECIDING = 2**20
_MAX_BITMAP_BITS = 2**28
_MAX_AXIS_HELD = 10_000


class Grid:
    """The product of the parameters' values, the last parameter varying fastest.

    Parameters that are ``zipped`` go through their values together. One that follows from others comes behind them; a
    conditional one is walked only where it is there, and merging knows it as absent elsewhere.

    Raises:
        ConfigError: a parameter has no grid (continuous, weighted), or parameters follow from each other.
    """

    def __init__(
        self,
        parameters: Mapping[str, Parameter],
        constraints: Sequence[Constraint],
        zipped: Sequence[Sequence[str]] = (),
    ) -> None:
        self._dependencies = Dependencies(parameters)
        group_of = {name: tuple(group) for group in zipped for name in group}
        units = list(dict.fromkeys(group_of.get(name, (name,)) for name in parameters))
        if self._dependencies:
            units = self._dependencies.arrange(units)
        self._units = [unit for unit in units if unit[0] not in self._dependencies.computed]
        self._parameters = parameters
        self.names = tuple(name for unit in self._units for name in unit)
        self._axes: list[Sequence[Any]] = []
        for name in self.names:
            values = parameters[name].grid
            if values is None:
                raise ConfigError(f"{name} has no finite list of values")
            self._axes.append(values)
        self._axis_of = {name: i for i, name in enumerate(self.names)}
        self._alternatives: dict[int, list[Digits]] = {}
        self._rows = [self._rows_of(unit) for unit in self._units]
        self._walked = tuple(len(axis) for axis in self._axes)
        self._constraints = [self._compile(constraint) for constraint in constraints]
        self._can_merge = any(constraint.assign for constraint in constraints)

    def __len__(self) -> int:
        return self.n_combinations

    @property
    def computes(self) -> bool:
        """Whether any parameter is computed of others."""
        return bool(self._dependencies)

    @functools.cached_property
    def n_combinations(self) -> int:
        """The size of the product; unlike ``len`` it may exceed what an index holds.

        Where what is there depends on more than a million combinations of others, it is the size without conditions.
        """
        dependencies, axes = self._dependencies, self._axis_of
        n_deciding = math.prod(len(self._axes[axes[name]]) for name in dependencies.deciding & set(self.names))
        if not dependencies.conditional or n_deciding > _MAX_DECIDING:
            return math.prod(map(len, self._rows))
        return self._count(0, {})

    def params(self, digits: Digits) -> dict[str, Any]:
        """Return the parameter values of one combination."""
        if not self._dependencies:
            return {name: axis[digit] for name, axis, digit in zip(self.names, self._axes, digits, strict=True)}
        return self._dependencies.complete(lambda name, _: self._value(name, digits))

    def _value(self, name: str, digits: Digits) -> Any:
        axis = self._axis_of[name]
        return self._axes[axis][digits[axis]]

    def combination(self, index: int) -> dict[str, Any]:
        """Return combination ``index`` of the bare product, before constraints and conditions."""
        if not 0 <= index < math.prod(map(len, self._rows)):
            raise IndexError(f"combination {index} of {self.n_combinations}")
        digits: list[int] = []
        for rows in reversed(self._rows):
            index, row = divmod(index, len(rows))
            digits[:0] = rows[row]
        return self.params(tuple(digits))

    def walk(self, tally: Tally) -> Iterator[Digits]:
        """Yield the combinations that remain after constraints, equal ones once, counting into ``tally``."""
        seen = self._new_seen() if self._can_merge else None
        for walked in self._walk_product():
            tally.n_walked += 1
            digits: Digits | None = walked
            for apply in self._constraints:
                digits = apply(digits)  # type: ignore[arg-type]  # the loop ends at None
                if digits is None:
                    tally.n_skipped += 1
                    break
            if digits is None:
                continue
            if seen is not None and not seen(digits):
                tally.n_merged += 1
                continue
            yield digits

    def _rows_of(self, unit: tuple[str, ...]) -> Sequence[Digits]:
        """Return what a parameter, or several that are zipped, go through: rows of one index into each axis, once."""
        if len(unit) == 1:
            return _Singles(len(self._axes[self._axis_of[unit[0]]]))
        listed = [values_as_listed(self._parameters[name]) for name in unit]
        rows = [
            tuple(self._digit(self._axis_of[name], value) for name, value in zip(unit, values, strict=True))
            for values in zip(*listed, strict=True)
        ]
        return list(dict.fromkeys(rows))

    def _walk_product(self) -> Iterator[Digits]:
        if self._dependencies.conditional:
            return self._walk_tree(0, (), {})
        if all(len(unit) == 1 for unit in self._units):
            return _walk_digits(self._walked)
        numbers = _walk_digits([len(rows) for rows in self._rows])
        return (tuple(d for rows, i in zip(self._rows, row, strict=True) for d in rows[i]) for row in numbers)

    def _walk_tree(self, position: int, digits: Digits, params: dict[str, Any]) -> Iterator[Digits]:
        """Yield the combinations that begin with ``digits``, which are ``params``."""
        if position == len(self._units):
            yield digits
            return
        for row, beside in self._rows_here(position, params):
            yield from self._walk_tree(position + 1, (*digits, *row), {**params, **beside})

    def _rows_here(self, position: int, params: dict[str, Any]) -> Iterator[tuple[Digits, dict[str, Any]]]:
        """Yield the rows of a unit that there are beside ``params``, with the values that they stand for."""
        unit = self._units[position]
        parameter: Parameter | None = self._parameters[unit[0]]
        rows: Iterable[Digits] = self._rows[position]
        if isinstance(parameter, Conditional):
            self._dependencies.compute_again(params)
            parameter = parameter.choose(params)
            if parameter is None or isinstance(parameter, Computed):
                yield (_ABSENT if parameter is None else _COMPUTED,), {}
                return
            rows = self._rows_of_alternative(unit[0], parameter)
        axes = [self._axes[self._axis_of[name]] for name in unit]
        for row in rows:
            yield row, {name: values[digit] for name, values, digit in zip(unit, axes, row, strict=True)}

    def _rows_of_alternative(self, name: str, parameter: Parameter) -> Sequence[Digits]:
        rows = self._alternatives.get(id(parameter))
        if rows is None:
            axis = self._axis_of[name]
            rows = self._alternatives[id(parameter)] = [(self._digit(axis, value),) for value in parameter.grid or ()]
        return rows

    def _count(self, position: int, params: dict[str, Any]) -> int:
        """Count what :meth:`_walk_tree` would yield, going into those parameters alone that decide on others."""
        if position == len(self._units):
            return 1
        rows = self._rows_here(position, params)
        if self._dependencies.deciding.isdisjoint(self._units[position]):
            return sum(1 for _ in rows) * self._count(position + 1, params)
        return sum(self._count(position + 1, {**params, **beside}) for _, beside in rows)

    def _digit(self, axis: int, value: Any) -> int:
        """Return the index of ``value`` on an axis, lengthening the axis for a value that it does not walk."""
        values = self._axes[axis]
        if isinstance(values, range):
            is_there = isinstance(value, (int, float)) and not isinstance(value, bool) and value in values
            if is_there:
                return values.index(int(value))
        else:
            for i, known in enumerate(values):
                if same_value(known, value):
                    return i
        self._axes[axis] = _LongerAxis(values, value)
        return len(values)

    def _compile(self, constraint: Constraint) -> Callable[[Digits], Digits | None]:
        if constraint.exclude is not None:
            is_excluded = self._memoized(constraint.exclude.names, constraint.exclude)
            return lambda digits: None if is_excluded(digits) else digits
        assign = {self._axis_of[name]: self._digit(self._axis_of[name], v) for name, v in constraint.assign.items()}
        holds = self._compile_when(constraint)

        def apply(digits: Digits) -> Digits | None:
            if not holds(digits):
                return digits
            if constraint.skip:
                return None
            changed = list(digits)
            for axis, digit in assign.items():
                if changed[axis] != _ABSENT:
                    changed[axis] = digit
            return tuple(changed)

        return apply

    def _compile_when(self, constraint: Constraint) -> Callable[[Digits], bool]:
        if self._dependencies:
            names = [condition.name for condition in constraint.when]
            return self._memoized(names, lambda params: all(c.holds_in(params) for c in constraint.when))
        tests = []
        for condition in constraint.when:
            axis = self._axis_of[condition.name]
            tests.append((axis, _TruthTable(condition.holds, self._axes, axis)))
        return lambda digits: all(table[digits[axis]] for axis, table in tests)

    def _memoized(self, names: Iterable[str], test: Callable[[Mapping[str, Any]], bool]) -> Callable[[Digits], bool]:
        """Return a test of combinations that asks once for what it reads of them."""
        axes = [self._axis_of[name] for name in self._dependencies.sources(names)]
        known: dict[Digits, bool] = {}

        def ask(digits: Digits) -> bool:
            key = tuple(digits[axis] for axis in axes)
            answer = known.get(key)
            if answer is None:
                answer = test(self.params(digits))
                if len(known) < 100_000:
                    known[key] = answer
            return answer

        return ask

    def _new_seen(self) -> Callable[[Digits], bool]:
        """Return a function that says whether a combination is met for the first time."""
        n_special = [_N_SPECIAL if name in self._dependencies.conditional else 0 for name in self.names]
        sizes = [len(axis) + n for axis, n in zip(self._axes, n_special, strict=True)]
        strides = [math.prod(sizes[i + 1 :]) for i in range(len(sizes))]
        first = sum(map(int.__mul__, n_special, strides))
        n_bits = math.prod(sizes)
        if n_bits > _MAX_BITMAP_BITS:
            met: set[int] = set()

            def is_new_in_set(digits: Digits) -> bool:
                before = len(met)
                met.add(sum(map(int.__mul__, digits, strides), first))
                return len(met) > before

            return is_new_in_set
        bitmap = bytearray(n_bits // 8 + 1)

        def is_new(digits: Digits) -> bool:
            index = sum(map(int.__mul__, digits, strides), first)
            byte, bit = index >> 3, 1 << (index & 7)
            if bitmap[byte] & bit:
                return False
            bitmap[byte] |= bit
            return True

        return is_new


class GridSampler(EnumeratedSampler):
    """Proposes every combination of a grid, the last parameter varying fastest."""

    def __init__(self, grid: Grid) -> None:
        super().__init__()
        self.grid = grid

    def walk(self, tally: Tally) -> Iterator[dict[str, Any]]:
        """Yield what remains after constraints."""
        return map(self.grid.params, self.grid.walk(tally))

    def count(self, tally: Tally) -> Iterator[None]:
        """Walk indexes alone, unless something is computed, which may fail."""
        walked = self.grid.walk(tally)
        for _ in map(self.grid.params, walked) if self.grid.computes else walked:
            yield


def _walk_digits(sizes: Sequence[int]) -> Iterator[Digits]:
    """Yield all combinations of indexes, the last fastest; ``itertools.product`` alone would hold a long axis."""
    long = next((i for i, size in enumerate(sizes) if size > _MAX_AXIS_HELD), None)
    if long is None:
        yield from itertools.product(*map(range, sizes))
        return
    for head in _walk_digits(sizes[:long]):
        for digit in range(sizes[long]):
            for rest in _walk_digits(sizes[long + 1 :]):
                yield (*head, digit, *rest)


class _Singles(Sequence[Digits]):
    """The rows of a parameter that stands alone: (0,), (1,), ..., none of them held."""

    def __init__(self, n: int) -> None:
        self._n = n

    def __len__(self) -> int:
        return self._n

    def __getitem__(self, index: Any) -> Any:
        return (range(self._n)[index],)


class _LongerAxis(Sequence[Any]):
    """An axis with one more value, which the walk itself does not visit."""

    def __init__(self, values: Sequence[Any], extra: Any) -> None:
        self._values, self._extra = values, extra

    def __len__(self) -> int:
        return len(self._values) + 1

    def __getitem__(self, index: Any) -> Any:
        return self._extra if index == len(self._values) else self._values[index]


class _TruthTable(dict[int, bool]):
    """A condition's answer per index of an axis, asked once each."""

    def __init__(self, holds: Callable[[Any], bool], axes: Sequence[Sequence[Any]], axis: int) -> None:
        super().__init__()
        self._holds, self._axes, self._axis = holds, axes, axis

    def __missing__(self, digit: int) -> bool:
        answer = self[digit] = self._holds(self._axes[self._axis][digit])
        return answer
