"""Reads a sweep file into frozen settings: one pass that collects every fault, one ConfigError with all of them."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from sweepline.config.commandfile import CommandReader, is_native, spread
from sweepline.config.faults import Faults
from sweepline.config.naming import find_experiment_dir, name_sweep
from sweepline.config.parameters import NamedParameter, parameter_names, read_parameters
from sweepline.config.schema import AlignModel, KeepModel, SweepModel, WandbModel
from sweepline.config.validation import validate
from sweepline.contract.runfolder import RECORDED
from sweepline.contract.text import display_path
from sweepline.contract.values import parse_override
from sweepline.contract.yamlfile import KeyPath, parse_yaml, read_yaml
from sweepline.errors import ConfigError, did_you_mean
from sweepline.programs.arguments import format_python
from sweepline.programs.base import Command
from sweepline.programs.native import NATIVE_PROGRAM, NativeCommand
from sweepline.programs.wandb import WandbSettings
from sweepline.runs import Objective
from sweepline.space.constraints import Constraint, parse_constraint
from sweepline.space.parameters import Constant
from sweepline.space.plan import SearchSpace
from sweepline.space.samplers.grid import Grid
from sweepline.space.samplers.random import draw_seeds

MAX_VALUES_COMPARED = 1000

MAX_REPEATS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepSettings:
    """A checked sweep file. Paths are absolute, times in seconds."""

    path: Path
    experiment_dir: Path
    name: str
    source: bytes
    whole: SearchSpace
    """What the file itself searches; ``space`` is what this start searches of it, or beside it, by ``--set``."""
    space: SearchSpace
    command: Command
    objective: Objective | None
    patterns: Mapping[str, re.Pattern[str]]
    logged_metrics: Sequence[str]
    csv_path: Path | None
    wandb: WandbSettings | None
    max_concurrent: int | None
    devices: str | Sequence[int | str]
    runs_per_device: int
    threads: str | int
    malloc: str
    pin: bool
    start: str
    preload: Sequence[str] | None
    retry: int
    on_oom: str
    timeout_s: float | None
    stall_s: float | None
    grace_s: float
    gpu_free_mib: int | None
    code: str
    align: AlignModel | None
    keep: KeepModel | None
    report: str
    records_dir: Path | None = None
    """Where everything is written; None: below the experiment's outputs, under the sweep's name."""
    warnings: Sequence[str] = field(default=())

    @property
    def needs_limit(self) -> bool:
        """Whether the search never ends by itself and the file does not bound it."""
        return self.space.method != "grid" and self.space.limit is None

    @property
    def reserved_metrics(self) -> list[str]:
        """The metrics that are named in the file, which are kept however many others a run prints."""
        named = [*self.logged_metrics, *self.patterns, *([self.objective.name] if self.objective else [])]
        return list(dict.fromkeys(named))

    @property
    def table_label(self) -> str:
        """What the table's column ``sweep`` says: the name, in a table elsewhere with that of the folder before it."""
        is_outside = self.csv_path is not None and not self.csv_path.is_relative_to(self.experiment_dir.resolve())
        return f"{self.experiment_dir.resolve().name}/{self.name}" if is_outside else self.name

    @property
    def sweep_dir(self) -> Path:
        """The folder of everything this sweep writes."""
        return self.records_dir or self.experiment_dir / "outputs" / self.name


def load_sweep(
    path: Path, *, text: str | None = None, fixed: Sequence[str] = (), is_strict: bool = False
) -> SweepSettings:
    """Read and check a sweep file.

    Args:
        path: the sweep file.
        text: what it holds; with it the file need not be there, but its folder, to which other paths are relative.
        fixed: ``key=value`` texts; each fixes a parameter for every run.
        is_strict: treat W&B's warnings as errors.

    Raises:
        ConfigError: with every fault of the file, each naming file, line and key.
    """
    document = read_yaml(path) if text is None else parse_yaml(text, display_path(path))
    if document.value is None:
        raise ConfigError(f"{document.path}: the file is empty; it needs at least 'parameters:'")
    if not isinstance(document.value, Mapping):
        raise ConfigError(f"{document.path}:1: a sweep file is a mapping of keys, got {type(document.value).__name__}")
    faults = Faults(document, is_strict=is_strict)
    for key, _ in document.duplicates:
        faults.warn(key, "is written twice; this last one wins")
    model = validate(document.value, faults)
    if model is None:
        raw = document.value.get("parameters")
        if isinstance(raw, Mapping):
            read_parameters(raw, faults, ("parameters",))
    faults.raise_if_any()
    assert model is not None
    return _Reader(Path(os.path.normpath(path.absolute())), model, faults, fixed, text=text).read()


class _Reader:
    """Turns a validated model into settings; one method per concern, all faults into one place."""

    def __init__(
        self, path: Path, model: SweepModel, faults: Faults, fixed: Sequence[str], *, text: str | None
    ) -> None:
        self.path, self.model, self.faults, self.fixed = path, model, faults, fixed
        self.source = path.read_bytes() if text is None else text.encode()
        items = [str(item) for item in model.command or ()]
        self.experiment_dir = find_experiment_dir(path, model.program or NATIVE_PROGRAM, items)

    def read(self) -> SweepSettings:
        of_file = self._parameters()
        parameters = self._fix(of_file)
        reader = CommandReader(self.path, self.experiment_dir, self.model, self.faults)
        command, identity = reader.read(parameters)
        constraints = self._constraints(parameters)
        reader.check(command, parameters, constraints)
        space = self._space(parameters, constraints, command, identity)
        whole = self._whole(of_file, space)
        space = replace(self._pick_seed(space, command), named_by=self._naming(whole, space))
        model, local = self.model, self.model.logging.local
        if local.csv_path and (not local.csv_path.endswith(".csv") or "\0" in local.csv_path):
            self.faults.error(("logging", "local", "csv_path"), f"must name a .csv file, got {local.csv_path!r}")
        if model.on_oom != "fail" and not isinstance(command, NativeCommand):
            self.faults.error(
                ("on_oom",), f"{model.on_oom} needs train_single.py, which knows smaller batches; use retry"
            )
        settings = SweepSettings(
            path=self.path,
            experiment_dir=self.experiment_dir,
            name=self._name(),
            source=self.source,
            whole=whole,
            space=space,
            command=command,
            objective=self._objective(),
            patterns=self._patterns(),
            logged_metrics=local.metrics,
            csv_path=None if self.faults.errors or not local.csv_path else self._resolve(local.csv_path),
            wandb=self._wandb(),
            max_concurrent=model.max_concurrent,
            devices=model.devices,
            runs_per_device=model.runs_per_device,
            threads=model.threads,
            malloc=model.malloc,
            pin=model.pin,
            start=model.start,
            code=model.code,
            align=self._align(command),
            keep=self._keep(),
            report=model.report,
            preload=model.preload,
            retry=model.retry,
            on_oom=model.on_oom,
            timeout_s=model.timeout,
            stall_s=model.stall_timeout,
            gpu_free_mib=model.gpu_free_mib,
            grace_s=model.grace,
        )
        self._notes()
        self.faults.raise_if_any()
        return replace(settings, warnings=tuple(dict.fromkeys(self.faults.warnings)))

    def _align(self, command: Command) -> AlignModel | None:
        wanted = self.model.align
        if wanted is not None and not isinstance(command, NativeCommand):
            self.faults.error(("align",), f"needs {NATIVE_PROGRAM}, which tells what a config comes to")
        return wanted

    def _keep(self) -> KeepModel | None:
        keep = self.model.keep
        if keep is None:
            return None
        if self.model.metric is None:
            self.faults.error(("keep", "best"), "needs metric, which says what is best")
        for name in keep.files:
            path = PurePosixPath(name)
            if "**" in name:
                self.faults.error(("keep", "files"), f"{name!r}: write the folders, as files/*/*.pt; ** is not taken")
            elif not name.strip("/.") or path.is_absolute() or ".." in path.parts or path.parts[0] in RECORDED:
                self.faults.error(
                    ("keep", "files"), f"{name!r} must be a file or folder in a run's folder, not its records"
                )
        return keep

    def _resolve(self, path: str) -> Path:
        return (self.experiment_dir / path).resolve()

    def _parameters(self) -> list[NamedParameter]:
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
            faults.error(("parameters",), f"{name} stands both nested and dotted; keep one")
        return found

    def _fix(self, of_file: Sequence[NamedParameter]) -> list[NamedParameter]:
        """Return the parameters with those fixed that ``--set`` names; a seed that the file repeats is no parameter."""
        found, faults = list(of_file), self.faults
        for text in self.fixed:
            name, value = parse_override(text)
            replaced = [i for i, parameter in enumerate(found) if parameter.name == name]
            if replaced:
                found[replaced[0]] = NamedParameter(found[replaced[0]].path, Constant(value))
            elif name != "seed" or not self._repeats_seeds:
                if found and not is_native(self.model):
                    hint = did_you_mean(name, [parameter.name for parameter in found])
                    faults.note((), f"--set {text}: no such parameter in the file; it is added{hint}")
                found.append(NamedParameter((name,), Constant(value)))
        if not found and not faults.errors:
            faults.error(("parameters",), "is empty; name at least one parameter")
        return found

    def _whole(self, of_file: Sequence[NamedParameter], space: SearchSpace) -> SearchSpace:
        """Return the space that the file describes by itself; ``space`` where only ``--set`` makes one of it."""
        names = [parameter.name for parameter in of_file]
        is_open = self.model.method == "grid" and any(p.parameter.grid is None for p in of_file)
        if (
            not self.fixed
            or not of_file
            or is_open
            or any(set(constraint.names) - set(names) for constraint in space.constraints)
        ):
            return space
        parameters = {parameter.name: parameter.parameter for parameter in of_file}
        return replace(space, parameters=parameters, grid_order=[n for n in space.grid_order if n in parameters])

    @property
    def _repeats_seeds(self) -> bool:
        """Whether runs get their seeds beside the parameters."""
        return self.model.seeds is not None or self.model.repeats > 1 or is_native(self.model)

    def _pick_seed(self, space: SearchSpace, command: Command) -> SearchSpace:
        """Return the space with the one seed that ``--set seed=N`` picks where seeds are no parameter."""
        picked = [value for name, value in map(parse_override, self.fixed) if name == "seed"]
        if not picked or "seed" in space.parameters:
            return space
        if isinstance(picked[-1], bool) or not isinstance(picked[-1], int):
            self.faults.error((), f"--set seed={format_python(picked[-1])}: a seed is a whole number")
            return space
        return replace(space, seeds=(picked[-1],))

    def _naming(self, whole: SearchSpace, space: SearchSpace) -> tuple[str, ...]:
        """Return the parameters that name runs: those which vary in the file, and those set to what it does not say."""
        own = whole.parameters
        beside = [
            name
            for name, parameter in space.parameters.items()
            if isinstance(parameter, Constant) and (name not in own or isinstance(own[name], Constant))
        ]
        return (*whole.swept, *(name for name in beside if own.get(name) != space.parameters[name]))

    def _constraints(self, parameters: Sequence[NamedParameter]) -> list[Constraint]:
        known = [*(parameter.name for parameter in parameters), *parameter_names(self.model.parameters)]
        constraints: list[Constraint] = []
        for i, raw in enumerate(self.model.constraints):
            key: KeyPath = ("constraints", i)
            with self.faults.at(key):
                constraint = parse_constraint(raw, known)
                unknown = [name for name in constraint.names if name not in known]
                if unknown:
                    hint = did_you_mean(unknown[0], known) or f"; there are {', '.join(dict.fromkeys(known))}"
                    raise ConfigError(f"constraint on unknown parameter {unknown[0]!r}{hint}")
                self._check_occurs(constraint, constraints, parameters, key)
                constraints.append(constraint)
        return constraints

    def _check_occurs(
        self, constraint: Constraint, earlier: Sequence[Constraint], parameters: Sequence[NamedParameter], key: KeyPath
    ) -> None:
        """Warn of a condition on a value that its parameter never takes."""
        for condition in constraint.when:
            values = next((p.parameter.grid for p in parameters if p.name == condition.name), None)
            if values is None or len(values) > MAX_VALUES_COMPARED:
                continue
            occurring = [*values, *(r.assign[condition.name] for r in earlier if condition.name in r.assign)]
            if not any(condition.holds(value) for value in occurring):
                hint = did_you_mean(str(condition.wanted), map(str, occurring))
                self.faults.warn(key, f"never applies: {condition.name} takes no such value{hint}")

    def _space(
        self, parameters: Sequence[NamedParameter], constraints: Sequence[Constraint], command: Command, identity: str
    ) -> SearchSpace:
        model = self.model
        limits = [limit for limit in (model.samples, model.run_cap) if limit is not None]
        space = SearchSpace(
            parameters={parameter.name: parameter.parameter for parameter in parameters},
            constraints=tuple(constraints),
            method="grid" if model.method == "grid" else "random",
            sampler_seed=model.seed,
            limit=min(limits, default=None),
            seeds=self._seeds(command),
            identity=identity,
            grid_order=[p.name for p in sorted(parameters, key=lambda p: [part.encode() for part in p.path])],
        )
        if model.method == "grid":
            self._check_grid(parameters, space)
        return space

    def _check_grid(self, parameters: Sequence[NamedParameter], space: SearchSpace) -> None:
        for parameter in parameters:
            with self.faults.at(spread(parameter.path)):
                if parameter.parameter.grid is None:
                    raise ConfigError(
                        "a grid needs a list, this is a distribution; use values or q_uniform, or method: random"
                    )
        if self.faults.errors:
            return
        n_combinations = Grid(space.parameters, ()).n_combinations
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

    def _objective(self) -> Objective | None:
        metric = self.model.metric
        if metric is not None:
            return Objective(name=metric.name, goal=metric.goal, summary=metric.summary)
        if "metric" not in self.faults.document.value:
            self.faults.warn((), "no metric: the best run cannot be told; add metric: {name: ..., goal: minimize}")
        return None

    def _patterns(self) -> dict[str, re.Pattern[str]]:
        patterns = {}
        for name, text in self.model.metrics.items():
            try:
                patterns[name] = re.compile(text)
            except re.error as error:
                self.faults.error(("metrics", name), f"{text!r} is no regular expression: {error}")
                continue
            if patterns[name].groups != 1:
                self.faults.error(
                    ("metrics", name), f"{text!r} needs one group for the number, as in 'Accuracy: (\\d+)/'"
                )
        return patterns

    def _wandb(self) -> WandbSettings | None:
        model, wandb = self.model, self.model.logging.wandb
        if wandb is None and not (model.project or model.entity):
            return None
        found = WandbSettings(**(wandb or WandbModel()).model_dump())
        return replace(found, project=found.project or model.project, entity=found.entity or model.entity)

    def _name(self) -> str:
        name, note = name_sweep(self.path, self.experiment_dir, self.model.name)
        if note:
            self.faults.note((), note)
        return name

    def _notes(self) -> None:
        model, faults = self.model, self.faults
        if model.method == "bayes":
            faults.note(("method",), "bayes is not built yet: it plans and runs as random draws")
        early = model.early_terminate
        if early is not None:
            numbers = {key for key, value in early.items() if isinstance(value, int) and not isinstance(value, bool)}
            has_bands = "min_iter" in numbers or {"max_iter", "s"} <= numbers
            if early.get("type") == "hyperband" and has_bands:
                faults.note(("early_terminate",), "is read but not acted on yet: every run goes to its end")
            else:
                faults.warn(
                    ("early_terminate",), "needs type: hyperband with min_iter, or with max_iter and s; ignored"
                )
