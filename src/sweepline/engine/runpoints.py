"""The points of a run under way, few bytes each: there may be thousands of runs, and each may go on for days."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Collection, Iterator

from sweepline.contract.metrics import MetricPoint

MAX_HISTORY_VALUES = 10_000
MAX_HISTORY_KINDS = 100
_END = 1 << 63

_Entry = tuple[int, int, MetricPoint]
"""The number of a point among all, its number among its kind, and the point."""


class _Packed:
    """Entries by what their points tell: 40 bytes for a loss and an accuracy at a step, where objects take 600."""

    def __init__(self) -> None:
        self._kinds: dict[tuple[tuple[str, ...], tuple[str, ...]], tuple[array[int], array[float]]] = {}
        self._odd: list[_Entry] = []  # with numbers that fit into no machine word

    def add(self, order: int, number: int, point: MetricPoint) -> None:
        """Take an entry."""
        values, place = point.values.values(), point.place.values()
        is_odd = any(type(value) is not float for value in values) or any(
            type(value) is not int or not -_END <= value < _END for value in place
        )
        if is_odd:
            self._odd.append((order, number, point))
            return
        kind = (tuple(point.values), tuple(point.place))
        columns = self._kinds.get(kind)
        if columns is None:
            columns = self._kinds[kind] = (array("q"), array("d"))
        columns[0].extend((order, number, *place))
        columns[1].extend(values)

    def __iter__(self) -> Iterator[_Entry]:
        """Yield the entries, those of a kind together."""
        yield from self._odd
        for (names, places), (numbers, values) in self._kinds.items():
            width, n_values = 2 + len(places), len(names)
            for i in range(len(numbers) // width):
                order, number, *place = numbers[i * width : (i + 1) * width]
                told = values[i * n_values : (i + 1) * n_values]
                point = MetricPoint(dict(zip(names, told, strict=True)), dict(zip(places, place, strict=True)))
                yield order, number, point


class History:
    """A run's points. Where there are too many for memory, every second, fourth ... is kept, and always the last.

    Points with other names are thinned apart, so that a script that tells its metrics in turn keeps all of them. So are
    the ``reserved`` names, so that however many others stand beside them cost them nothing.
    """

    def __init__(self, reserved: Collection[str] = ()) -> None:
        self._reserved = frozenset(reserved)
        self._stride, self._own_stride = 1, 1  # of other names, of reserved ones
        self._kept = _Packed()
        self._n_others, self._n_own = 0, 0
        self._n_points = 0
        self._n_of_kind: Counter[tuple[str, ...]] = Counter()
        self._last: dict[tuple[str, ...], tuple[int, int, MetricPoint]] = {}

    @property
    def stride(self) -> int:
        """One of so many points is kept of the names that suffer most."""
        return max(self._stride, self._own_stride)

    def add(self, point: MetricPoint) -> None:
        """Take the next point."""
        kind = tuple(point.values)
        if kind not in self._last and len(self._last) >= MAX_HISTORY_KINDS:
            kind = ()
        number = self._n_of_kind[kind]
        entry = (self._n_points, number, point)
        self._n_points += 1
        self._n_of_kind[kind] = number + 1
        self._last[kind] = entry
        if number % self._stride == 0 or (self._reserved and number % self._own_stride == 0):
            self._keep(entry)
            if self._n_others > MAX_HISTORY_VALUES or self._n_own > MAX_HISTORY_VALUES:
                self._thin()

    def _keep(self, entry: tuple[int, int, MetricPoint]) -> None:
        """Keep of a point the names whose turn it is."""
        order, number, point = entry
        own = self._reserved & point.values.keys() if self._reserved else ()
        n_others = len(point.values) - len(own)
        has_others, has_own = number % self._stride == 0, number % self._own_stride == 0
        if (n_others and not has_others) or (own and not has_own):
            wanted = {k: v for k, v in point.values.items() if (has_own if k in own else has_others)}
            if not wanted:
                return
            point = MetricPoint(wanted, point.place)
        self._kept.add(order, number, point)
        self._n_others += n_others if has_others else 0
        self._n_own += len(own) if has_own else 0

    def _thin(self) -> None:
        """Halve what is kept until there is room again."""
        goal = MAX_HISTORY_VALUES // 2
        is_many, is_many_own = self._n_others > MAX_HISTORY_VALUES, self._n_own > MAX_HISTORY_VALUES
        while (is_many and self._n_others > goal) or (is_many_own and self._n_own > goal):
            if self.stride >= self._n_points:
                return
            self._stride *= 2 if is_many and self._n_others > goal else 1
            self._own_stride *= 2 if is_many_own and self._n_own > goal else 1
            entries, self._kept, self._n_others, self._n_own = self._kept, _Packed(), 0, 0
            for entry in entries:
                self._keep(entry)

    @property
    def points(self) -> list[MetricPoint]:
        """The points that are kept, in their order."""
        found = {entry[0]: entry[2] for entry in self._kept}
        found.update((entry[0], entry[2]) for entry in self._last.values())
        return [found[order] for order in sorted(found)]
