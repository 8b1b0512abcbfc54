"""From a run and a slot to what is started: argument list, environment, and the files that tell a person about it."""

from __future__ import annotations

import functools
import json
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sweepline.config.command import ARGS_JSON_FILE
from sweepline.config.interpreter import find_interpreter
from sweepline.config.sweepfile import SweepSettings
from sweepline.devices import Slot, device_environment, slot_cpus
from sweepline.executors.base import Task
from sweepline.runs import Run
from sweepline.sourcecode import SourceCode
from sweepline.tracking import wandb_environment, wandb_mode, write_wandb_params
from sweepline.values import format_value

DATA_VARIABLE = "SWEEPLINE_DATA"
# mallopt(3): memory freed between two training steps is kept instead of given back and faulted in again.
_MALLOC_TUNED = {
    "MALLOC_TRIM_THRESHOLD_": str(512 << 20),
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TOP_PAD_": str(64 << 20),
}
_STARTUP = str(Path(__file__).resolve().parent / "keeper" / "startup")
_SOURCE_SUFFIXES = (".py", ".sh", ".bash", ".jl", ".R", ".pl", ".rb", ".js", ".lua")
_SHOWN = (
    "CUDA_DEVICE_ORDER",
    "CUDA_VISIBLE_DEVICES",
    "OMP_NUM_THREADS",
    "SWEEPLINE_SEED",
    DATA_VARIABLE,
    "WANDB_RUN_GROUP",
    "WANDB_NAME",
    "WANDB_MODE",
    "WANDB_SWEEP_PARAM_PATH",
)


def _python_variables(inherited: Mapping[str, str]) -> dict[str, str]:
    """Return what makes every Python of a run, whichever it is, write out each line as it is printed, in one write."""
    before = inherited.get("PYTHONPATH", "")
    variables = {"PYTHONUNBUFFERED": "1"}  # for where the other does nothing: python -S
    if os.pathsep not in _STARTUP and _STARTUP not in before.split(os.pathsep):
        variables["PYTHONPATH"] = os.pathsep.join(filter(None, (_STARTUP, before)))
    return variables


def inherited_environment() -> dict[str, str]:
    """Return this process's environment, the data folder absolute: runs may start in another directory."""
    environ = dict(os.environ)
    if environ.get(DATA_VARIABLE):
        environ[DATA_VARIABLE] = str(Path(environ[DATA_VARIABLE]).expanduser().resolve())
    return environ


def source_of(settings: SweepSettings) -> SourceCode:
    """Return the code that the runs of a sweep execute, as far as it is the user's own."""
    command = settings.command
    argv = command.build({}, None, device="cpu", run_dir=settings.sweep_dir, reveal=False)
    found = find_interpreter(argv, working_dir=command.working_dir)
    words = argv[found[1] :] if found else argv
    named = [command.working_dir / word for word in argv if Path(word).suffix in _SOURCE_SUFFIXES]
    programs = [*([command.program_path] if command.program_path else []), *filter(Path.is_file, named)]
    roots = [*(path.parent for path in programs[:1]), command.working_dir, command.working_dir / "src"]
    return SourceCode(programs, roots=roots, module=words[1] if words[:1] == ["-m"] and len(words) > 1 else None)


@dataclass(frozen=True, kw_only=True)
class Launcher:
    """Everything about starting runs that is the same for a whole sweep."""

    settings: SweepSettings
    runs_dir: Path
    sweep_token: str
    threads: int
    inherited: Mapping[str, str] = field(default_factory=inherited_environment, repr=False)

    @functools.cached_property
    def _fixed(self) -> dict[str, str]:
        """The variables that are the same for every run."""
        variables = _python_variables(self.inherited) | {"SWEEPLINE_SWEEP": self.settings.name}
        if DATA_VARIABLE in self.inherited:
            variables[DATA_VARIABLE] = self.inherited[DATA_VARIABLE]
        if not self.settings.command.is_native:
            variables |= wandb_mode(self.settings.wandb, self.inherited)
        return variables

    @functools.cached_property
    def _malloc(self) -> dict[str, str]:
        """The variables that make a run keep freed memory; what the user has set himself stays."""
        if self.settings.malloc == "system":
            return {}
        return {name: value for name, value in _MALLOC_TUNED.items() if name not in self.inherited}

    def environment(self, run: Run, slot: Slot, *, n_tries: int = 0) -> dict[str, str]:
        """Return the variables that the sweep sets for a run; everything else is inherited."""
        settings, run_dir = self.settings, self.runs_dir / run.run_id
        variables = device_environment(slot, self.threads) | self._fixed
        if not slot.is_gpu:
            variables |= self._malloc
        variables["SWEEPLINE_RUN_DIR"] = str(run_dir)
        variables["SWEEPLINE_RUN_ID"] = run.run_id
        if run.seed is not None:
            variables["SWEEPLINE_SEED"] = str(run.seed)
        return variables | wandb_environment(
            run,
            settings=settings.wandb,
            sweep=settings.name,
            sweep_token=self.sweep_token,
            n_tries=n_tries,
            run_dir=run_dir,
        )

    def command_line(self, run: Run, slot: Slot) -> str:
        """Return one line that starts the run by hand from any folder, without secrets."""
        return self._format(self._argv(run, slot, reveal=False), self.environment(run, slot))

    def prepare(self, run: Run, slot: Slot, run_dir: Path, *, attempt: int, n_tries: int, start_line: str = "") -> Task:
        """Write the run's files and return its task.

        ``run_dir`` exists; ``start_line`` is a comment on top of ``overrides.yaml``, from which a lost journal can be
        made anew.
        """
        settings, command = self.settings, self.settings.command
        variables = self.environment(run, slot, n_tries=n_tries)
        arguments = command.arguments(run.params, run.seed)
        if not command.is_native:
            variables |= write_wandb_params(run_dir, arguments)
            if command.uses_args_file:
                (run_dir / ARGS_JSON_FILE).write_text(json.dumps(arguments), encoding="utf-8")
        overrides = command.overrides(run.params, run.seed, slot.told) if command.is_native else run.params
        (run_dir / "overrides.yaml").write_text(
            start_line + "".join(f"{format_value(name)}: {format_value(value)}\n" for name, value in overrides.items()),
            encoding="utf-8",
            errors="surrogateescape",
        )
        (run_dir / "command.txt").write_text(
            self._format(self._argv(run, slot, reveal=False), variables) + "\n",
            encoding="utf-8",
            errors="surrogateescape",
        )
        self._write_environment(run_dir, variables)
        argv = self._argv(run, slot, reveal=True)
        return Task(
            run_id=run.run_id,
            attempt=attempt,
            argv=argv,
            environ={**self.inherited, **variables},
            working_dir=command.working_dir,
            run_dir=run_dir,
            timeout_s=settings.timeout_s,
            stall_s=settings.stall_s,
            grace_s=settings.grace_s,
            interpreter=find_interpreter(argv, working_dir=command.working_dir),
            cpus=slot_cpus(slot, self.threads) if settings.pin else (),
        )

    def _argv(self, run: Run, slot: Slot, *, reveal: bool) -> list[str]:
        run_dir = self.runs_dir / run.run_id
        return self.settings.command.build(run.params, run.seed, device=slot.told, run_dir=run_dir, reveal=reveal)

    def _format(self, argv: Sequence[str], variables: Mapping[str, str]) -> str:
        prefix = [f"{name}={shlex.quote(variables[name])}" for name in _SHOWN if name in variables]
        words = [shlex.quote(word) for word in argv]
        return f"cd {shlex.quote(str(self.settings.command.working_dir))} && {' '.join([*prefix, *words])}"

    def _write_environment(self, run_dir: Path, variables: Mapping[str, str]) -> None:
        """Write what was set, with values, and what was inherited, by name only: values may be secrets."""
        names = sorted(self.inherited.keys() - variables.keys())
        text = json.dumps({"set": dict(variables), "inherited": names}, separators=(",\n ", ": "))
        (run_dir / "env.json").write_text(text + "\n", encoding="utf-8")
