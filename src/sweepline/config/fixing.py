"""What ``--set`` fixes of what a sweep file searches, of it or beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sweepline.config.faults import Faults
from sweepline.config.parameters import NamedParameter
from sweepline.contract.values import parse_override, same_value
from sweepline.errors import did_you_mean
from sweepline.programs.arguments import format_python
from sweepline.runs import canonical_json
from sweepline.space.constraints import Constraint
from sweepline.space.dependent import ONLY_LISTED, Alternative, Computed, Conditional, fits_of
from sweepline.space.expressions import parse_expression
from sweepline.space.parameters import Categorical, Constant, Parameter, values_as_listed
from sweepline.space.plan import SearchSpace


class FixedValues:
    """The values of ``--set``, by name; of a name that is given twice the last one.

    ``texts`` are ``name=value`` each.
    """

    def __init__(self, texts: Sequence[str], faults: Faults) -> None:
        self.faults = faults
        self.values: dict[str, Any] = dict(map(parse_override, texts))
        self._texts = {parse_override(text)[0]: text for text in texts}

    def apply(
        self, of_file: Sequence[NamedParameter], zipped: Sequence[Sequence[str]], *, is_told: bool, may_add_seed: bool
    ) -> list[NamedParameter]:
        """Return the parameters with those fixed that are named, and those added that the file does not have.

        Args:
            of_file: the file's.
            zipped: groups of names that go through their values together.
            is_told: whether it is worth a note that one is added.
            may_add_seed: whether a seed can be a parameter; it is none where the file repeats runs by seeds.
        """
        found = self._pick_zipped(of_file, zipped)
        for name, value in self.values.items():
            at = next((i for i, parameter in enumerate(found) if parameter.name == name), None)
            if at is not None:
                found[at] = _fixed(found[at], value)
            elif name != "seed" or may_add_seed:
                if found and is_told:
                    hint = did_you_mean(name, [parameter.name for parameter in found])
                    self.faults.note((), f"--set {self._texts[name]}: no such parameter in the file; it is added{hint}")
                found.append(NamedParameter((name,), Constant(value)))
        return found

    def _pick_zipped(self, of_file: Sequence[NamedParameter], zipped: Sequence[Sequence[str]]) -> list[NamedParameter]:
        """Return the parameters with the values alone that go with those which are picked of a zipped list."""
        by_name = {parameter.name: parameter.parameter for parameter in of_file}
        changed: dict[str, Parameter] = {}
        for group in zipped:
            listed = {name: values_as_listed(by_name[name]) for name in group}
            picked = {name: self.values[name] for name in group if name in self.values}
            rows = [
                i
                for i in range(len(listed[group[0]]))
                if all(same_value(value, listed[name][i]) for name, value in picked.items())
            ]
            if picked and rows:
                left = {name: tuple(listed[name][i] for i in rows) for name in group}
                changed |= {n: Constant(v[0]) if len(v) == 1 else Categorical(v) for n, v in left.items()}
        return [replace(p, parameter=changed[p.name]) if p.name in changed else p for p in of_file]

    def pick_listed(self, listed: Sequence[Mapping[str, Any]], *, has_product: bool) -> list[dict[str, Any]]:
        """Return the combinations of ``runs`` that equal what is fixed; where none does, all with that in place.

        Beside a product that has it none are changed.
        """
        equal = [
            dict(run)
            for run in listed
            if all(name not in run or same_value(run[name], value) for name, value in self.values.items())
        ]
        named = {name for run in listed for name in run}
        if equal or has_product or not self.values.keys() & named:
            return equal
        found = [{name: self.values.get(name, value) for name, value in run.items()} for run in listed]
        return list({canonical_json(run): run for run in found}.values())

    def constraints(self, parameters: Sequence[NamedParameter]) -> Iterator[Constraint]:
        """Yield constraints that drop the combinations which do not have what is fixed, where others decide it."""
        following = {p.name for p in parameters if isinstance(p.parameter, (Computed, Conditional))}
        for name, value in self.values.items():
            if name in following and isinstance(value, (str, int, float)):
                others = parse_expression(f"params[{name!r}] != {value!r}")
                yield Constraint(text=f"--set {name}={format_python(value)}", exclude=others)

    def pick_seed(self, space: SearchSpace) -> SearchSpace:
        """Return the space with the one seed that is fixed where seeds are no parameter."""
        if "seed" not in self.values or "seed" in space.parameters:
            return space
        seed = self.values["seed"]
        if isinstance(seed, bool) or not isinstance(seed, int):
            self.faults.error((), f"--set seed={format_python(seed)}: a seed is a whole number")
            return space
        return replace(space, seeds=(seed,))


def _fixed(named: NamedParameter, value: Any) -> NamedParameter:
    """Return a parameter with one value.

    A conditional one keeps its conditions, those alone under which it takes this value where there are such. One that
    is computed stays so: which combinations are meant is told by a constraint.
    """
    parameter = named.parameter
    if parameter == ONLY_LISTED or (isinstance(parameter, Computed) and fits_of(parameter) is None):
        return named
    if not isinstance(parameter, Conditional):
        return replace(named, parameter=Constant(value))
    taking = [a for a in parameter.alternatives if _takes(a.parameter, value)]
    alternatives = tuple(
        a if isinstance(a.parameter, Computed) else Alternative(a.when, Constant(value))
        for a in taking or parameter.alternatives
    )
    return replace(named, parameter=Conditional(alternatives))


def _takes(parameter: Parameter, value: Any) -> bool:
    """Whether a parameter takes a value, as far as that can be told."""
    return (
        isinstance(parameter, Computed)
        or parameter.grid is None
        or any(same_value(value, own) for own in parameter.grid)
    )
