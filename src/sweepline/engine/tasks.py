"""From a run and a slot to what is started: argument list, environment, and the files that tell a person about it."""

from __future__ import annotations

import functools
import os
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sweepline.config.settings import SweepSettings
from sweepline.contract import variables as names
from sweepline.contract.runfolder import COMMAND, OUTPUT_FOLDER, OVERRIDES, PROVENANCE, format_start
from sweepline.contract.yamlfile import read_yaml
from sweepline.engine.wandbfallback import OfflineFallback
from sweepline.executors.base import Task
from sweepline.executors.local.keeper import startup
from sweepline.executors.local.ports import Ports
from sweepline.executors.local.slots import THREAD_VARIABLES, Slot, device_environment, slot_cpus
from sweepline.programs.brought import find_brought
from sweepline.programs.interpreter import editable_roots, find_interpreter
from sweepline.programs.macros import ENVVAR, expand_run_macros, names_run_dir
from sweepline.programs.sourcecode import SourceCode
from sweepline.programs.surroundings import quote_variable
from sweepline.programs.wandb import (
    PARAMS_PATH,
    RUN_ID,
    WANDB_FLUSH,
    WANDB_FLUSH_S,
    wandb_environment,
    write_wandb_params,
)
from sweepline.runs import Run
from sweepline.space.parameters import values_as_listed

_MAX_VALUES_LOOKED_AT = 1000

# mallopt(3): memory freed between two training steps is kept instead of given back and faulted in again.
_MALLOC_TUNED = {
    "MALLOC_TRIM_THRESHOLD_": str(512 << 20),
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TOP_PAD_": str(64 << 20),
}
_STARTUP = str(Path(startup.__file__).resolve().parent)
# What a command names of the user's own: scripts, and the configs that it hands them.
_SOURCE_SUFFIXES = (".py", ".sh", ".bash", ".jl", ".R", ".pl", ".rb", ".js", ".lua", ".yaml", ".yml", ".toml")
_SHOWN = (
    "CUDA_DEVICE_ORDER",
    "CUDA_VISIBLE_DEVICES",
    "HIP_VISIBLE_DEVICES",
    "ROCR_VISIBLE_DEVICES",
    "OMP_NUM_THREADS",
    names.SEED,
    names.DATA,
    "WANDB_RUN_GROUP",
    "WANDB_NAME",
    "WANDB_MODE",
    "WANDB_SWEEP_PARAM_PATH",
)
_SHOWN_TO_OTHERS = (
    "MASTER_PORT",
    names.SWEEP,
    names.RUN_ID,
    names.RUN_DIR,
    names.RUNS_PER_DEVICE,
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
    if environ.get(names.DATA):
        environ[names.DATA] = str(Path(environ[names.DATA]).expanduser().resolve())
    return environ


def _command_of(settings: SweepSettings) -> tuple[list[str], tuple[int, int] | None]:
    """Return the command without parameters, and where in it an interpreter with its options begins and ends."""
    command = settings.command
    argv = command.build({}, None, device="cpu", run_dir=settings.sweep_dir, reveal=False)
    return argv, find_interpreter(argv, working_dir=command.working_dir)


def source_of(settings: SweepSettings) -> SourceCode:
    """Return the code that the runs of a sweep execute, as far as it is the user's own."""
    command = settings.command
    argv, found = _command_of(settings)
    words = argv[found[1] :] if found else argv
    named = [command.working_dir / word for word in argv if Path(word).suffix in _SOURCE_SUFFIXES]
    programs = [*([command.program_path] if command.program_path else []), *filter(Path.is_file, named)]
    programs += [path for path in _files_brought(settings) if path not in programs]
    programs = [path / "__main__.py" if path.is_dir() else path for path in programs]
    roots = [*(path.parent for path in programs[:1]), command.working_dir, command.working_dir / "src"]
    roots += [Path(part) for part in settings.surroundings.env.get("PYTHONPATH", "").split(os.pathsep) if part]
    if found:
        roots += editable_roots(argv[found[0]])
    return SourceCode(programs, roots=roots, module=words[1] if words[:1] == ["-m"] and len(words) > 1 else None)


def _files_brought(settings: SweepSettings) -> Iterator[Path]:
    """Yield the files of the user's own that our trainer is told of."""
    command = settings.command
    if not command.proves_overrides:
        return
    values: list[Any] = [read_yaml(path).value for path in command.config_files]
    for parameter in settings.space.parameters.values():
        values += [*values_as_listed(parameter)[:_MAX_VALUES_LOOKED_AT]]
    folders = [folder for config in command.config_files[:1] for folder in config.parents]
    yield from find_brought([values, list(settings.space.listed)], [*folders, command.working_dir])


def interpreter_of(settings: SweepSettings) -> str:
    """Return the Python that runs use, ours where the program is not run by one."""
    argv, found = _command_of(settings)
    return (shutil.which(argv[found[0]]) or argv[found[0]]) if found else sys.executable


@dataclass(frozen=True, kw_only=True)
class TaskBuilder:
    """Everything about starting runs that is the same for a whole sweep."""

    settings: SweepSettings
    runs_dir: Path
    sweep_token: str
    threads: int
    n_slots: int = 1
    code: Path | None = None
    """The manifest of the code that runs are served with; None where they read the program's files themselves."""
    provenance: str = ""
    """The name of the file that tells where the runs of this start come from."""
    inherited: Mapping[str, str] = field(default_factory=inherited_environment, repr=False)
    ports: Ports = field(default_factory=Ports, repr=False, compare=False)
    wandb_fallback: OfflineFallback = field(default_factory=OfflineFallback, repr=False, compare=False)

    @functools.cached_property
    def _fixed(self) -> dict[str, str]:
        """The variables that are the same for every run."""
        command = self.settings.command
        surroundings = self.settings.surroundings
        variables = _python_variables({**self.inherited, **surroundings.env}) | {
            names.SWEEP: self.settings.name,
            "PWD": str(command.working_dir),
        }
        if self.code is not None:
            variables[names.CODE] = str(self.code.resolve())
        if names.DATA in self.inherited:
            variables[names.DATA] = self.inherited[names.DATA]
        is_judged = bool(self.settings.early_stop) or self.settings.scheduler is not None
        if is_judged and not command.proves_overrides and WANDB_FLUSH not in self.inherited:
            variables[WANDB_FLUSH] = WANDB_FLUSH_S
        return variables | command.wandb_variables(self.settings.wandb, self.inherited)

    @functools.cached_property
    def _malloc(self) -> dict[str, str]:
        """The variables that make a run keep freed memory; what the user has set himself stays."""
        if self.settings.malloc == "system":
            return {}
        return {name: value for name, value in _MALLOC_TUNED.items() if name not in self.inherited}

    @functools.cached_property
    def _kept(self) -> frozenset[str]:
        """The thread counts that the user has set himself and the sweep file does not; all follow OMP_NUM_THREADS."""
        if isinstance(self.settings.threads, int):
            return frozenset()
        if self.inherited.get("OMP_NUM_THREADS"):
            return frozenset(THREAD_VARIABLES)
        return frozenset(name for name in THREAD_VARIABLES if self.inherited.get(name))

    @functools.cached_property
    def uses_wandb(self) -> bool:
        """Whether the program may ask W&B for its parameters."""
        return self.settings.command.may_ask_wandb(lambda: source_of(self.settings).mentions(b"wandb"))

    def describe_environment(self, slots: Sequence[Slot]) -> dict[str, Any]:
        """Return what is the same for all runs: variables that are set, with values, and names of those inherited.

        Values that are inherited may be secrets. What differs between runs stands in their ``command.txt``.
        """
        one, other = (
            self.environment(Run(run_id=name, name=name, params={}, seed=None, index=0), slot, reveal=False)
            for name, slot in (("a", slots[0]), ("b", slots[-1]))
        )
        common = {name: value for name, value in one.items() if other.get(name) == value}
        return {"set": common, "inherited": sorted(self.inherited.keys() - one.keys())}

    def notes(self, slots: Sequence[Slot]) -> list[str]:
        """Return what is worth saying about variables that the user has set."""
        found = []
        count, inherited = str(self.threads), self.inherited
        lost = [f"{name}={inherited[name]}" for name in THREAD_VARIABLES if inherited.get(name, count) != count]
        if isinstance(self.settings.threads, int) and lost:
            found.append(f"threads: {count} of the sweep file replaces {', '.join(lost)} of the environment")
        if "MASTER_PORT" in inherited and self.n_slots > 1:
            port = inherited["MASTER_PORT"]
            found.append(
                f"MASTER_PORT={port} of the environment is the same for all runs: unset it to give each its own"
            )
        order = inherited.get("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
        if order != "PCI_BUS_ID" and any(slot.visible[:1].isdigit() for slot in slots):
            found.append(f"CUDA_DEVICE_ORDER={order} is replaced by PCI_BUS_ID: GPU numbers are those of nvidia-smi")
        return found

    def n_sharing(self, slot: Slot) -> int:
        """Return how many runs share a slot's GPU, or this machine's memory on a CPU.

        One where as many share it as fit: what a run takes of a GPU decides how many do, not the other way round, and
        all runs are told the same.
        """
        if slot.scheduler:
            return 1
        if not slot.is_gpu:
            return self.n_slots
        return self.settings.runs_per_device if isinstance(self.settings.runs_per_device, int) else 1

    def environment(self, run: Run, slot: Slot, *, n_tries: int = 0, reveal: bool = True) -> dict[str, str]:
        """Return the variables that the sweep sets for a run; everything else is inherited.

        Without ``reveal`` what the sweep file takes from the environment stays unread, as it may be a secret.
        """
        settings, run_dir = self.settings, self.runs_dir / run.run_id
        placing = device_environment(slot, self.threads, self.inherited)
        variables = {name: value for name, value in placing.items() if name not in self._kept} | self._fixed
        if slot.device_arg == "cpu":
            variables |= self._malloc
        variables[names.RUN_DIR] = str(run_dir)
        variables[names.RUN_ID] = run.run_id
        variables[names.RUNS_PER_DEVICE] = str(self.n_sharing(slot))
        if slot.host:
            variables[names.NODE] = slot.host
        if run.seed is not None:
            variables[names.SEED] = str(run.seed)
        if self.uses_wandb:
            variables[PARAMS_PATH] = str(run_dir / OVERRIDES)
        if settings.command.takes_port and "MASTER_PORT" not in self.inherited:
            variables["MASTER_PORT"] = str(self.ports.choose(run.run_id, slot.index))
        if settings.surroundings.has_own_folder:
            variables["PWD"] = str(self._start_folder(run))
        variables |= wandb_environment(
            run,
            settings=settings.wandb,
            sweep=settings.name,
            sweep_token=self.sweep_token,
            n_tries=n_tries,
            run_dir=run_dir,
            inherited=self.inherited,
        )
        return {**variables, **self._own_variables(run, variables, reveal=reveal)}

    def _own_variables(self, run: Run, variables: Mapping[str, str], *, reveal: bool) -> dict[str, str]:
        """Return the variables that the sweep file sets; one that all Pythons of runs need stays at the front."""
        of_run = self._own_names(run) | self._readable(variables)
        found = self.settings.surroundings.variables(run.params, run.seed, of_run, reveal=reveal)
        if "PYTHONPATH" in found:
            found |= {k: v for k, v in _python_variables({"PYTHONPATH": found["PYTHONPATH"]}).items() if k in found}
        return found

    def _readable(self, variables: Mapping[str, str], *, reveal: bool = False) -> dict[str, str]:
        """Return what ``${envvar:X}`` stands for; what the sweep file sets may be a secret."""
        own = {} if reveal else self.settings.surroundings.env
        return {f"{ENVVAR}{name}": value for name, value in variables.items() if name not in own}

    def _start_folder(self, run: Run) -> Path:
        """Return where a run starts."""
        if self.settings.surroundings.has_own_folder:
            return self.runs_dir / run.run_id / OUTPUT_FOLDER
        return self.settings.command.working_dir

    def expand(self, run: Run) -> Run:
        """Return a run with its own folder, id and name in place of their macros in its values."""
        params = {name: expand_run_macros(value, self._own_names(run)) for name, value in run.params.items()}
        return run if params == run.params else replace(run, params=params)

    def _own_names(self, run: Run) -> dict[str, str]:
        files = self.runs_dir / run.run_id / OUTPUT_FOLDER
        return {"run_dir": str(files), "run_id": run.run_id, "run_name": run.name}

    def command_line(self, run: Run, slot: Slot) -> str:
        """Return one line that starts the run by hand from any folder, without secrets.

        The line of another program makes the run's folder first, and the file of its arguments where it reads one.
        """
        expanded, command = self.expand(run), self.settings.command
        variables = self.environment(run, slot)
        run_dir = self.runs_dir / run.run_id
        steps = command.steps_by_hand(run_dir, expanded.params, expanded.seed)
        if steps is None:
            return self._format(expanded, self._argv(expanded, slot, variables, reveal=False), variables)
        variables.pop(PARAMS_PATH, None)
        if any(shlex.quote(str(run_dir / OVERRIDES)) in step for step in steps):
            variables[PARAMS_PATH] = str(run_dir / OVERRIDES)
        folder = run_dir / OUTPUT_FOLDER if self._names_run_dir(run) else run_dir
        line = self._format(expanded, self._argv(expanded, slot, variables, reveal=False), variables)
        return " && ".join([f"mkdir -p {shlex.quote(str(folder))}", *steps, line])

    def words(self, run: Run, slot: Slot) -> list[str]:
        """Return the argument list of a run, without secrets; nothing is made for it, no port is chosen."""
        return self._argv(self.expand(run), slot, {}, reveal=False)

    def prepare(
        self, run: Run, slot: Slot, run_dir: Path, *, attempt: int, n_tries: int, start: Mapping[str, Any]
    ) -> Task:
        """Write the run's files and return its task.

        ``run_dir`` exists; ``start`` is how the journal tells of this start, from which a lost one can be made anew.
        """
        settings, command = self.settings, self.settings.command
        if self._names_run_dir(run):
            (run_dir / OUTPUT_FOLDER).mkdir(exist_ok=True)
        run = self.expand(run)
        variables = self.environment(run, slot, n_tries=n_tries)
        if self.uses_wandb:
            variables |= self.wandb_fallback.mode({**self.inherited, **variables})
        if PARAMS_PATH in variables:
            write_wandb_params(run_dir, command.arguments(run.params, run.seed))
        command.write_inputs(run_dir, run.params, run.seed, slot.device_arg)
        argv, masked = (self._argv(run, slot, variables, reveal=reveal) for reveal in (True, False))
        shown = self._format(run, masked, variables)
        told = {**start, RUN_ID: variables[RUN_ID], PROVENANCE: self.provenance}
        _write(run_dir / COMMAND, f"{shown}\n{format_start(told)}")
        left_out = {PARAMS_PATH, *settings.surroundings.unset}
        return Task(
            run_id=run.run_id,
            attempt=attempt,
            argv=argv,
            environ={**{name: v for name, v in self.inherited.items() if name not in left_out}, **variables},
            working_dir=self._start_folder(run),
            run_dir=run_dir,
            timeout_s=settings.timeout_s,
            stall_s=settings.stall_s,
            grace_s=settings.grace_s,
            interpreter=find_interpreter(argv, working_dir=command.working_dir),
            cpus=slot_cpus(slot, self.threads) if settings.pin else (),
            masked_argv=masked if masked != argv else None,
            masked_environ=self._masked(run, variables),
        )

    def _masked(self, run: Run, variables: Mapping[str, str]) -> dict[str, str]:
        """Return the variables that hold what the sweep file takes from the environment, with its macros."""
        own = self._own_variables(run, variables, reveal=False)
        return {name: text for name, text in own.items() if text != variables[name]}

    def asked(self, run: Run, slot: Slot) -> Mapping[str, Any]:
        """Return what the effective config of an expanded run has to show, by name."""
        return self.settings.command.asked(run.params, run.seed, slot.device_arg)

    def _names_run_dir(self, run: Run) -> bool:
        settings = self.settings
        return settings.command.names_run_dir or settings.surroundings.names_run_dir or names_run_dir(run.params)

    def _argv(self, run: Run, slot: Slot, variables: Mapping[str, str], *, reveal: bool) -> list[str]:
        return self.settings.command.build(
            run.params,
            run.seed,
            device=slot.device_arg,
            run_dir=self.runs_dir / run.run_id,
            of_run=self._own_names(run) | self._readable(variables, reveal=reveal),
            reveal=reveal,
        )

    def _format(self, run: Run, argv: Sequence[str], variables: Mapping[str, str]) -> str:
        command = self.settings.command
        # Our trainer started by hand without these has a folder of its own and leaves the recorded run as it is.
        shown = _SHOWN if command.proves_overrides else (*_SHOWN, *_SHOWN_TO_OTHERS)
        prefix = [f"{name}={shlex.quote(variables[name])}" for name in shown if name in variables]
        own = self._own_variables(run, variables, reveal=False)
        prefix += [quote_variable(name, text) for name, text in own.items()]
        if self.settings.surroundings.unset:
            prefix += ["env", *(f"-u {name}" for name in self.settings.surroundings.unset)]
        words = [shlex.quote(word) for word in argv]
        return f"cd {shlex.quote(str(self._start_folder(run)))} && {' '.join([*prefix, *words])}"


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", errors="surrogateescape")  # a folder's name need not be UTF-8
