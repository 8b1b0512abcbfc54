"""The grid: combinations by index, constraints by table, equal ones merged. Never a list of combinations in memory.

A combination is handled as its indexes, one into each axis, because a million dicts of values would not fit:
constraints are asked once for each value of the axes that they name, and equal combinations take one bit each.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from sweepline.contract.values import same_value
from sweepline.errors import ConfigError
from sweepline.space.constraints import Constraint
from sweepline.space.parameters import Parameter
from sweepline.space.samplers.base import EnumeratedSampler, Tally

Digits = tuple[int, ...]
"""A combination as one index into each axis."""

_MAX_BITMAP_BITS = 2**28
_MAX_AXIS_HELD = 10_000


class Grid:
    """The product of the parameters' values, the last parameter varying fastest.

    Raises:
        ConfigError: a parameter has no grid (continuous, weighted).
    """

    def __init__(self, parameters: Mapping[str, Parameter], constraints: Sequence[Constraint]) -> None:
        self.names = tuple(parameters)
        self._axes: list[Sequence[Any]] = []
        for name, parameter in parameters.items():
            values = parameter.grid
            if values is None:
                raise ConfigError(f"{name} has no finite list of values")
            self._axes.append(values)
        self._walked = tuple(len(axis) for axis in self._axes)
        self._axis_of = {name: i for i, name in enumerate(self.names)}
        self._constraints = [self._compile(constraint) for constraint in constraints]
        self._can_merge = any(constraint.assign for constraint in constraints)

    def __len__(self) -> int:
        return math.prod(self._walked)

    @property
    def n_combinations(self) -> int:
        """The size of the product; unlike ``len`` it may exceed what an index holds."""
        return math.prod(self._walked)

    def params(self, digits: Digits) -> dict[str, Any]:
        """Return the parameter values of one combination."""
        return {name: axis[digit] for name, axis, digit in zip(self.names, self._axes, digits, strict=True)}

    def combination(self, index: int) -> dict[str, Any]:
        """Return combination ``index`` of the bare product, before constraints."""
        if not 0 <= index < self.n_combinations:
            raise IndexError(f"combination {index} of {self.n_combinations}")
        digits = []
        for size in reversed(self._walked):
            index, digit = divmod(index, size)
            digits.append(digit)
        return self.params(tuple(reversed(digits)))

    def walk(self, tally: Tally) -> Iterator[Digits]:
        """Yield the combinations that remain after constraints, equal ones once, counting into ``tally``."""
        seen = self._new_seen() if self._can_merge else None
        for walked in _walk_digits(self._walked):
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
            return self._compile_exclude(constraint)
        assign = {self._axis_of[name]: self._digit(self._axis_of[name], v) for name, v in constraint.assign.items()}
        tests = []
        for condition in constraint.when:
            axis = self._axis_of[condition.name]
            tests.append((axis, _TruthTable(condition.holds, self._axes, axis)))

        def apply(digits: Digits) -> Digits | None:
            for axis, table in tests:
                if not table[digits[axis]]:
                    return digits
            if constraint.skip:
                return None
            changed = list(digits)
            for axis, digit in assign.items():
                changed[axis] = digit
            return tuple(changed)

        return apply

    def _compile_exclude(self, constraint: Constraint) -> Callable[[Digits], Digits | None]:
        expression = constraint.exclude
        assert expression is not None
        used = [(name, self._axis_of[name]) for name in expression.names]
        known: dict[Digits, bool] = {}

        def apply(digits: Digits) -> Digits | None:
            key = tuple(digits[axis] for _, axis in used)
            excluded = known.get(key)
            if excluded is None:
                excluded = expression({name: self._axes[axis][digits[axis]] for name, axis in used})
                if len(known) < 100_000:
                    known[key] = excluded
            return None if excluded else digits

        return apply

    def _new_seen(self) -> Callable[[Digits], bool]:
        """Return a function that says whether a combination is met for the first time."""
        sizes = [len(axis) for axis in self._axes]
        strides = [math.prod(sizes[i + 1 :]) for i in range(len(sizes))]
        n_bits = math.prod(sizes)
        if n_bits > _MAX_BITMAP_BITS:
            met: set[int] = set()

            def is_new_in_set(digits: Digits) -> bool:
                before = len(met)
                met.add(sum(map(int.__mul__, digits, strides)))
                return len(met) > before

            return is_new_in_set
        bitmap = bytearray(n_bits // 8 + 1)

        def is_new(digits: Digits) -> bool:
            index = sum(map(int.__mul__, digits, strides))
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
        """Walk indexes alone."""
        for _ in self.grid.walk(tally):
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
