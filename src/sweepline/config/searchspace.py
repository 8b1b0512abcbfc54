"""Reads what a sweep file searches: parameters, what ``--set`` fixes of them, constraints, lists, seeds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sweepline.config.commandfile import is_native, spread
from sweepline.config.earlystopping import has_halving
from sweepline.config.faults import Faults
from sweepline.config.fixing import FixedValues
from sweepline.config.parameters import NamedParameter, parameter_names, read_parameters
from sweepline.config.schema import SweepModel
from sweepline.contract.values import flatten, is_number
from sweepline.contract.yamlfile import KeyPath
from sweepline.errors import ConfigError, did_you_mean
from sweepline.programs.base import Command
from sweepline.programs.native import NativeCommand
from sweepline.runs import Objective
from sweepline.space.constraints import Constraint, parse_constraint
from sweepline.space.dependent import (
    ONLY_LISTED,
    Computed,
    Conditional,
    Dependencies,
    fits_of,
    listed_values,
    names_read,
)
from sweepline.space.parameters import Categorical, Constant, IntUniform, Parameter, values_as_listed
from sweepline.space.plan import SearchSpace
from sweepline.space.samplers.grid import Grid
from sweepline.space.samplers.random import draw_seeds

MAX_VALUES_COMPARED = 1000
MAX_REPEATS = 10_000


class SpaceReader:
    """Turns a validated model into a search space; all faults into one place."""

    def __init__(self, model: SweepModel, faults: Faults, fixed: Sequence[str]) -> None:
        self.model, self.faults = model, faults
        self.fixed = FixedValues(fixed, faults)
        self._of_file = self._read_parameters()
        self._zipped = self._read_zip()
        self._listed = self._read_listed()
        self._check_names()
        self._of_file = self._with_set_ups()
        self._of_file = self._from_large_to_small()
        self.parameters = self._with_fixed()
        """Those that a start searches: the file's, and what ``--set`` fixes or adds."""

    def read(
        self, constraints: Sequence[Constraint], command: Command, identity: str, objectives: Sequence[Objective]
    ) -> tuple[SearchSpace, SearchSpace]:
        """Return what the file itself searches, and what this start does, of it or beside it, by ``--set``."""
        space = self._space(constraints, command, identity, objectives)
        whole = self._whole(space)
        return whole, replace(self.fixed.pick_seed(space), named_by=self._naming(whole, space))

    def _read_parameters(self) -> list[NamedParameter]:
        faults = self.faults
        for key, _, word in faults.document.word_booleans:
            if key[:1] == ("parameters",):
                faults.warn(key, f"{word} is read as a boolean; quote it if the word is meant")
        odd: dict[KeyPath, list[str]] = {}
        for key, text, value in faults.document.odd_numbers:
            odd.setdefault(key[:2], []).append(f"{text} is read as {value}")
        for key, texts in odd.items():
            faults.warn(key, f"{', '.join(texts)}; quote what is meant as text")
        found = read_parameters(self.model.parameters, faults, ("parameters",))
        counts = Counter(parameter.name for parameter in found)
        for name in (name for name, n in counts.items() if n > 1):
            faults.error(
                ("parameters",), f"{name} stands twice: both nested and dotted, or with and without when; keep one"
            )
        return found

    def _check_names(self) -> None:
        """Refuse a parameter that follows from one that there is not."""
        known = [parameter.name for parameter in self._of_file]
        measured = [named for named in self._of_file if fits_of(named.parameter)]
        for named in measured[1:]:
            self.faults.error(spread(named.path), f"fits: {measured[0].name} is measured already; one can be")
        for named in self._of_file:
            if isinstance(named.parameter, Conditional) and any(
                fits_of(a.parameter) for a in named.parameter.alternatives
            ):
                self.faults.error(spread(named.path), "fits: a size that is measured takes no condition")
            unknown = [name for name in names_read(named.parameter) if name not in known]
            if unknown:
                hint = did_you_mean(unknown[0], known) or f"; there are {', '.join(known)}"
                self.faults.error(spread(named.path), f"depends on unknown parameter {unknown[0]!r}{hint}")

    def _from_large_to_small(self) -> list[NamedParameter]:
        """Return the parameters, the one whose stability is watched from its largest value down."""
        wanted, faults = self.model.stability, self.faults
        if wanted is None:
            return self._of_file
        found = list(self._of_file)
        at = next((i for i, named in enumerate(found) if named.name == wanted.parameter), None)
        values = values_as_listed(found[at].parameter) if at is not None else ()
        if at is None:
            hint = did_you_mean(wanted.parameter, [named.name for named in found])
            faults.error(("stability", "parameter"), f"unknown parameter {wanted.parameter!r}{hint}")
        elif self.model.method != "grid" or not values or not all(map(is_number, values)) or self._zipped_with(at):
            faults.error(("stability",), f"needs method: grid, and a list of numbers for {wanted.parameter}")
        else:
            found[at] = replace(found[at], parameter=Categorical(tuple(sorted(values, reverse=True))))
        return found

    def _zipped_with(self, at: int) -> bool:
        return any(self._of_file[at].name in group for group in self._zipped)

    def _with_set_ups(self) -> list[NamedParameter]:
        """Return the parameters, a size that is measured with those on which memory may depend where none are named."""
        found = list(self._of_file)
        for i, named in enumerate(found):
            fits = fits_of(named.parameter)
            if fits is not None and fits.options.get("per") is None:
                found[i] = replace(named, parameter=Computed(replace(fits, names=tuple(self._deciding_memory()))))
        return found

    def _deciding_memory(self) -> Iterator[str]:
        """Yield the parameters that vary, but for fractions such as step sizes, and the seed."""
        for named in self._of_file:
            is_fixed = isinstance(named.parameter, (Constant, Computed)) or named.name == "seed"
            if not is_fixed and not all(isinstance(value, float) for value in listed_values(named.parameter)):
                yield named.name

    def _read_zip(self) -> list[tuple[str, ...]]:
        """Return the groups of parameters that go through their values together."""
        raw, faults = self.model.zip, self.faults
        groups = [raw] if any(isinstance(item, str) for item in raw) else raw
        by_name = {parameter.name: parameter.parameter for parameter in self._of_file}
        found: list[tuple[str, ...]] = []
        for group in groups:
            with faults.at(("zip",)):
                if not isinstance(group, list) or len(group) < 2 or not all(isinstance(item, str) for item in group):
                    raise ConfigError(f"names two parameters or more, as [a, b], or several such lists; got {group!r}")
                for name in group:
                    if name not in by_name:
                        raise ConfigError(f"unknown parameter {name!r}{did_you_mean(name, by_name)}")
                    if name in (known for other in found for known in other) or group.count(name) > 1:
                        raise ConfigError(f"{name} is named twice")
                    if not isinstance(by_name[name], (Categorical, IntUniform)):
                        raise ConfigError(f"{name} needs a list of values, and no condition")
                lengths = {name: len(values_as_listed(by_name[name])) for name in group}
                if len(set(lengths.values())) > 1:
                    told = ", ".join(f"{name} {n}" for name, n in lengths.items())
                    raise ConfigError(f"needs lists of one length, got {told}")
                found.append(tuple(group))
        return found

    def _read_listed(self) -> list[dict[str, Any]]:
        """Return the combinations of ``runs``, without those that have a fault; what only they have is a parameter."""
        found: list[dict[str, Any]] = []
        nested = {parameter.path[0] for parameter in self._of_file if len(parameter.path) > 1}
        for raw in self.model.runs:
            flat = {k: v for k, v in raw.items() if not (k in nested and isinstance(v, Mapping))}
            for key in raw.keys() - flat.keys():
                flat |= {f"{key}.{name}": value for name, value in flatten(raw[key]).items()}
            found.append({str(name): value for name, value in flat.items()})
        known = [parameter.name for parameter in self._of_file]
        n_with_seed = sum("seed" in listed for listed in found)
        for i, listed in enumerate(found):
            for name in listed:
                if name not in known and (hint := did_you_mean(name, known)):
                    self.faults.note(("runs", i), f"{name} stands in runs alone{hint}")
        if n_with_seed and (n_with_seed < len(found) or ("seed" not in known and self._has_product)):
            self.faults.error(("runs",), "seed: name it in every run and in parameters, or use seeds")
        beside = dict.fromkeys(name for listed in found for name in listed if name not in known)
        self._of_file += [NamedParameter((name,), ONLY_LISTED) for name in beside]
        return found

    @property
    def _has_product(self) -> bool:
        kinds = [parameter.parameter for parameter in self._of_file]
        return any(not isinstance(kind, (Constant, Computed)) and kind != ONLY_LISTED for kind in kinds)

    def _check_listed(self, space: SearchSpace) -> None:
        """Refuse what a listed run names and cannot have; say what it does not name."""
        dependencies = Dependencies(space.parameters)
        for i, listed in enumerate(space.listed):
            with self.faults.at(("runs", i)):
                params = dependencies.complete_listed(listed)
                for name in listed:
                    if isinstance(space.parameters[name], Computed):
                        raise ConfigError(f"{name} is computed; name what it is computed of")
                    if name not in params:
                        raise ConfigError(f"{name} is not there: it depends on what this run has otherwise; leave it")
                missing = [
                    name
                    for name, parameter in space.parameters.items()
                    if name not in params and not isinstance(parameter, (Computed, Conditional))
                ]
                if missing:
                    self.faults.note(("runs", i), f"names no {', '.join(missing)}, which this run is not handed")

    def _with_fixed(self) -> list[NamedParameter]:
        """Return the parameters of this start."""
        may_add = not is_native(self.model)
        found = self.fixed.apply(self._of_file, self._zipped, is_told=may_add, may_add_seed=not self._repeats_seeds)
        has_own_space = self.model.scheduler is not None and bool(self.model.scheduler.search_space)
        if not found and not has_own_space and not self.faults.errors:
            self.faults.error(("parameters",), "is empty; name at least one parameter, or list runs")
        return found

    def _whole(self, space: SearchSpace) -> SearchSpace:
        """Return the space that the file describes by itself; ``space`` where only ``--set`` makes one of it."""
        of_file = self._of_file
        names = [parameter.name for parameter in of_file]
        is_open = self.model.method == "grid" and any(p.parameter.grid is None for p in of_file)
        if (
            not self.fixed.values
            or not of_file
            or is_open
            or any(set(constraint.names) - set(names) for constraint in space.constraints)
        ):
            return space
        parameters = {parameter.name: parameter.parameter for parameter in of_file}
        order = [n for n in space.grid_order if n in parameters]
        return replace(space, parameters=parameters, grid_order=order, zipped=self._zipped, listed=self._listed)

    @property
    def _repeats_seeds(self) -> bool:
        """Whether runs get their seeds beside the parameters."""
        return self.model.seeds is not None or self.model.repeats > 1 or is_native(self.model)

    def _naming(self, whole: SearchSpace, space: SearchSpace) -> tuple[str, ...]:
        """Return the parameters that name runs: those which vary in the file, and those set to what it does not say."""
        own = whole.parameters
        beside = [
            name
            for name, parameter in space.parameters.items()
            if isinstance(parameter, Constant) and (name not in own or isinstance(own[name], Constant))
        ]
        return (*whole.swept, *(name for name in beside if own.get(name) != space.parameters[name]))

    def constraints(self) -> list[Constraint]:
        """Return the constraints."""
        parameters = self.parameters
        known = [*(parameter.name for parameter in parameters), *parameter_names(self.model.parameters)]
        dependencies = self._dependencies()
        constraints: list[Constraint] = []
        for i, raw in enumerate(self.model.constraints):
            key: KeyPath = ("constraints", i)
            with self.faults.at(key):
                constraint = parse_constraint(raw, known)
                unknown = [name for name in constraint.names if name not in known]
                if unknown:
                    hint = did_you_mean(unknown[0], known) or f"; there are {', '.join(dict.fromkeys(known))}"
                    raise ConfigError(f"constraint on unknown parameter {unknown[0]!r}{hint}")
                for name in constraint.assign:
                    if name in dependencies.computed or _may_be_computed(dependencies.parameters.get(name)):
                        raise ConfigError(f"{name} is computed; set what it is computed of")
                    if name in dependencies.deciding:
                        raise ConfigError(
                            f"sets {name}, on which depends what other parameters there are; use skip or exclude"
                        )
                self._check_occurs(constraint, constraints, parameters, key)
                constraints.append(constraint)
        return [*constraints, *self.fixed.constraints(parameters)]

    def _dependencies(self) -> Dependencies:
        """Return what follows from what; nothing where the file has a fault in it."""
        with self.faults.at(("parameters",)):
            return Dependencies({parameter.name: parameter.parameter for parameter in self.parameters})
        return Dependencies({})

    def _check_occurs(
        self, constraint: Constraint, earlier: Sequence[Constraint], parameters: Sequence[NamedParameter], key: KeyPath
    ) -> None:
        """Warn of a condition on a value that its parameter never takes."""
        for condition in constraint.when:
            parameter = next((p.parameter for p in parameters if p.name == condition.name), None)
            values = None if parameter is None or names_read(parameter) else parameter.grid
            if values is None or len(values) > MAX_VALUES_COMPARED:
                continue
            listed = [run[condition.name] for run in self._listed if condition.name in run]
            occurring = [*values, *listed, *(r.assign[condition.name] for r in earlier if condition.name in r.assign)]
            if not any(condition.holds(value) for value in occurring):
                hint = did_you_mean(str(condition.wanted), map(str, occurring))
                self.faults.warn(key, f"never applies: {condition.name} takes no such value{hint}")

    def _space(
        self, constraints: Sequence[Constraint], command: Command, identity: str, objectives: Sequence[Objective]
    ) -> SearchSpace:
        model, parameters = self.model, self.parameters
        limits = [limit for limit in (model.samples, model.run_cap) if limit is not None]
        space = SearchSpace(
            parameters={parameter.name: parameter.parameter for parameter in parameters},
            constraints=tuple(constraints),
            method=model.method,
            sampler=model.sampler or ("mfgp" if has_halving(model.early_terminate) and len(objectives) == 1 else "tpe"),
            objectives=objectives,
            sampler_seed=model.seed,
            limit=min(limits, default=None),
            seeds=self._seeds(command),
            identity=identity,
            grid_order=self._grid_order(),
            zipped=self._zipped_still(),
            listed=self.fixed.pick_listed(self._listed, has_product=self._has_product),
        )
        if not self.faults.errors:
            self._check_listed(space)
        if model.method == "grid" and space.has_product:
            self._check_grid(parameters, space)
        return space

    def _grid_order(self) -> list[str]:
        """Return the names as a grid takes them, the last varying fastest: sorted, the one that is watched first.

        So runs of other configurations go on while it is not known yet whether a smaller value is needed.
        """
        watched = self.model.stability.parameter if self.model.stability else None
        ordered = sorted(self.parameters, key=lambda p: (p.name != watched, [part.encode() for part in p.path]))
        return [parameter.name for parameter in ordered]

    def _zipped_still(self) -> list[tuple[str, ...]]:
        """Return the groups of ``zip`` without what is constant in this start."""
        varying = {p.name for p in self.parameters if not isinstance(p.parameter, Constant)}
        left = [tuple(name for name in group if name in varying) for group in self._zipped]
        return [group for group in left if len(group) > 1]

    def _check_grid(self, parameters: Sequence[NamedParameter], space: SearchSpace) -> None:
        for parameter in parameters:
            with self.faults.at(spread(parameter.path)):
                if parameter.parameter.grid is None:
                    raise ConfigError(
                        "a grid needs a list, this is a distribution; use values or q_uniform, or method: random"
                    )
        if self.faults.errors:
            return
        n_combinations = Grid(space.parameters, (), space.zipped).n_combinations + len(space.listed)
        n_planned = n_combinations if space.limit is None else min(n_combinations, space.limit)
        if n_planned > self.model.grid_limit:
            self.faults.error(
                ("method",),
                f"the grid has {n_combinations:,} combinations (limit {self.model.grid_limit:,}); "
                "use method: random with samples, set run_cap, or raise grid_limit",
            )

    def _seeds(self, command: Command) -> tuple[int | None, ...]:
        model = self.model
        if "seed" in model.parameters and (model.seeds is not None or model.repeats > 1):
            self.faults.error(("parameters", "seed"), "is a parameter here: leave out seeds and repeats")
        if model.seeds is not None:
            if not model.seeds:
                self.faults.error(("seeds",), "is empty; list at least one seed, or leave the key out")
            if model.repeats not in (1, len(model.seeds)):
                self.faults.error(
                    ("repeats",), f"is {model.repeats}, but seeds lists {len(model.seeds)}; keep one of them"
                )
            return tuple(dict.fromkeys(model.seeds))
        if model.repeats > MAX_REPEATS:
            self.faults.error(("repeats",), f"{model.repeats:,} are more than {MAX_REPEATS:,}; lower it")
            return (None,)
        if model.repeats > 1 or isinstance(command, NativeCommand):
            return draw_seeds(model.seed, model.repeats)
        return (None,)


def _may_be_computed(parameter: Parameter | None) -> bool:
    return isinstance(parameter, Conditional) and any(isinstance(a.parameter, Computed) for a in parameter.alternatives)
