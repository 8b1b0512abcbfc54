"""Reads a sweep file into frozen settings: one pass that collects every fault, one ConfigError with all of them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from sweepline.config.commandfile import CommandReader
from sweepline.config.earlystopping import Rule, read_early_stopping
from sweepline.config.faults import Faults
from sweepline.config.metricsfrom import read_metrics_from
from sweepline.config.naming import find_experiment_dir, name_sweep
from sweepline.config.objectives import read_objectives, read_patterns, several_of
from sweepline.config.parameters import read_parameters
from sweepline.config.placeoptions import pilot_options, ray_options, slurm_options
from sweepline.config.scheduler import read_scheduler, with_scheduler
from sweepline.config.schema import (
    AlignModel,
    KeepModel,
    StopSweepModel,
    SweepModel,
    WandbModel,
)
from sweepline.config.searchspace import SpaceReader
from sweepline.config.settings import SweepSettings, with_known_sizes, with_race
from sweepline.config.surroundings import read_surroundings
from sweepline.config.validation import validate
from sweepline.contract.runfolder import RECORDED
from sweepline.contract.text import display_path
from sweepline.contract.yamlfile import parse_yaml, read_yaml
from sweepline.errors import ConfigError, did_you_mean
from sweepline.programs.base import Command
from sweepline.programs.native import NATIVE_PROGRAM, NativeCommand
from sweepline.programs.wandb import WandbSettings

HOOKS = ("prepare", "on_failure", "on_end")
"""Keys with commands around a sweep."""


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
    if not isinstance(document.value, Mapping) or "parameters" not in document.value:
        from sweepline.config.importers.registry import refuse_other_tools

        refuse_other_tools(document.value, document.path)
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


def load_command(
    words: Sequence[str], *, name: str, parameters: Mapping[str, Any], folder: Path, **keys: Any
) -> SweepSettings:
    """Return a command with places for parameters, such as ``${lr}``, as a sweep without a file.

    Args:
        words: the command; see :func:`escape_macros` for what is no place.
        name: of the sweep, and of its folder in ``outputs``.
        parameters: as a sweep file has them.
        folder: from where paths are looked for.
        keys: others of a sweep file.

    Raises:
        ConfigError: the command cannot be started, or a key is wrong.
    """
    sweep = {
        "name": name,
        "command": list(words),
        "method": "grid",
        "parameters": parameters,
        "report": "never",
        **keys,
    }
    return load_sweep(folder / f"{name}.yaml", text=yaml.safe_dump(sweep, sort_keys=False))


def escape_macros(word: str) -> str:
    """Return a word of a command so that it arrives as it is."""
    return word.replace("${", "$${")


class _Reader:
    """Turns a validated model into settings; one method per concern, all faults into one place."""

    def __init__(
        self, path: Path, model: SweepModel, faults: Faults, fixed: Sequence[str], *, text: str | None
    ) -> None:
        self.path, self.model, self.faults, self.fixed = path, with_scheduler(model, faults), faults, fixed
        self.source = path.read_bytes() if text is None else text.encode()
        items = [str(item) for item in model.command or ()]
        self.experiment_dir = find_experiment_dir(path, model.program or NATIVE_PROGRAM, items)

    def read(self) -> SweepSettings:
        searched = SpaceReader(self.model, self.faults, self.fixed)
        reader = CommandReader(self.path, self.experiment_dir, self.model, self.faults)
        command, identity = reader.read(searched.parameters)
        constraints = searched.constraints()
        reader.check(command, searched.parameters, constraints)
        objectives = read_objectives(self.model, self.faults)
        whole, space = searched.read(constraints, command, identity, objectives)
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
            surroundings=read_surroundings(
                model, self.faults, (self.path.parent, self.experiment_dir), list(whole.parameters)
            ),
            objectives=objectives,
            patterns=read_patterns(self.model, self.faults),
            hooks={name: words for name in HOOKS if (words := getattr(model, name)) is not None},
            metrics_from=read_metrics_from(self.model, self.faults),
            logged_metrics=local.metrics,
            csv_path=None if self.faults.errors or not local.csv_path else self._resolve(local.csv_path),
            wandb=self._wandb(),
            executor=model.executor,
            slurm=slurm_options(model.slurm, self.faults, grace_s=model.grace),
            pilot=pilot_options(model.pilot),
            ray=ray_options(model.ray),
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
            stability=model.stability,
            scheduler=read_scheduler(
                model,
                self.faults,
                name=self._name(),
                objectives=objectives,
                folders=(self.path.parent, self.experiment_dir, Path.cwd()),
                working_dir=self.experiment_dir.resolve(),
            ),
            early_stop=self._early_stop(),
            resumable=self._resumable(command),
            stop_sweep=self._stop_sweep(),
            race=model.race,
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
        if model.race is not None:
            with self.faults.at(("race",)):
                settings = with_race(settings, model.race)
            self.faults.raise_if_any()
        settings = with_known_sizes(settings)
        return replace(settings, warnings=tuple(dict.fromkeys(self.faults.warnings)))

    def _align(self, command: Command) -> AlignModel | None:
        wanted = self.model.align
        if wanted is not None and not isinstance(command, NativeCommand):
            self.faults.error(("align",), f"needs {NATIVE_PROGRAM}, which tells what a config comes to")
        return wanted

    def _early_stop(self) -> tuple[Rule, ...]:
        rules = read_early_stopping(self.model.early_terminate, self.faults)
        if rules and self.model.metric is None:
            is_several = bool(several_of(self.model))
            why = "several metrics do not say which run is worse" if is_several else "needs metric, to judge runs by"
            self.faults.warn(("early_terminate",), f"{why}; ignored")
            return ()
        for total in (getattr(rule, "total", None) for rule in rules):
            if isinstance(total, str) and total not in self.model.parameters:
                hint = did_you_mean(total, map(str, self.model.parameters))
                self.faults.error(("early_terminate", "total"), f"names no parameter: {total!r}{hint}")
        return rules

    def _resumable(self, command: Command) -> bool:
        wanted, is_study = self.model.resumable, self._has_study
        if wanted and is_study:
            self.faults.error(
                ("resumable",), "goes with our own samplers: a study is told once of each run, when that has ended"
            )
        return isinstance(command, NativeCommand) and not is_study if wanted is None else wanted

    @property
    def _has_study(self) -> bool:
        """Whether a study in a process of its own proposes what is run."""
        scheduler = self.model.scheduler
        if scheduler is None or scheduler.engine == "wandb":
            return False
        return scheduler.engine == "ax" or bool(scheduler.source)

    def _stop_sweep(self) -> StopSweepModel | None:
        wanted = self.model.stop_sweep
        if wanted is not None and self.model.metric is None:
            why = (
                "several metrics name no one result"
                if several_of(self.model)
                else "needs metric, which says what is better"
            )
            self.faults.error(("stop_sweep",), why)
        return wanted

    def _keep(self) -> KeepModel | None:
        keep = self.model.keep
        if keep is None:
            return None
        if self.model.metric is None and not several_of(self.model):
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
        if model.method == "bayes" and model.metric is None and not several_of(self.model):
            key = "method" if model.scheduler is None else "scheduler"
            what = "bayes" if model.scheduler is None else "it"
            faults.error((key,), f"{what} needs metric: {{name: ..., goal: minimize}}, which it is to improve")
        if model.sampler in ("cma", "mfgp") and len(several_of(self.model)) > 1:
            faults.error(("sampler",), f"{model.sampler} takes one objective; take tpe or gp")
        if model.sampler is not None and model.method != "bayes":
            faults.error(("sampler",), f"{model.sampler} goes with method: bayes, this is {model.method}")
