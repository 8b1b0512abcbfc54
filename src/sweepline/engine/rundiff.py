"""What is different between two runs: parameters, environment, and the code itself where it was kept."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweepline.analysis.differences import differing
from sweepline.contract.runfolder import COMMAND, PROVENANCE, read_start_line
from sweepline.contract.text import display_path
from sweepline.engine.codestore import CodeStore
from sweepline.engine.provenance import flat_provenance, read_provenance
from sweepline.engine.recorded import RecordedSweep, open_recorded
from sweepline.errors import ConfigError, RecordError, did_you_mean
from sweepline.programs.sourcecode import changed_files
from sweepline.recording.events import RunRecord

# Told to each run anew, so that they always differ and mean nothing.
_OWN_VARIABLES = ("SWEEPLINE_RUN_ID", "SWEEPLINE_RUN_DIR", "WANDB_NAME", "WANDB_SWEEP_PARAM_PATH", "MASTER_PORT")


@dataclass(frozen=True, slots=True)
class FoundRun:
    """A run with the sweep that it belongs to."""

    sweep: RecordedSweep
    record: RunRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class RunDifference:
    """What differs, by name: the values of the first and of the second run, None where one lacks it.

    ``files`` are the files of the program that differ, ``patch`` says how, line by line; empty where their content was
    not kept, as ``code_note`` tells.
    """

    parameters: Mapping[str, tuple[Any, Any]]
    environment: Mapping[str, tuple[Any, Any]]
    files: Sequence[str]
    patch: Sequence[str]
    code_note: str = ""


SWEEP_FILES = (".yaml", ".yml")


def find_run(word: str, sweep: Path) -> FoundRun:
    """Return the run that a word names: its folder, or the id (or its beginning) or the name of a run of ``sweep``.

    Raises:
        SweeplineError: there is none, or more than one.
    """
    path = Path(word)
    if path.parent.name == "runs" and path.is_dir():
        found = open_recorded(path.resolve().parent.parent)
        record = found.records.get(path.resolve().name)
        if record is None:
            raise ConfigError(f"{word}: its sweep's journal knows no such run")
        return FoundRun(found, record)
    found = open_recorded(sweep)
    records = found.records.values()
    matching = [r for r in records if word in (r.run_id, r.name)] or [r for r in records if r.run_id.startswith(word)]
    if not matching or not word:
        names = [name for r in records for name in (r.name, r.run_id)]
        hint = did_you_mean(word, names) or "; name a run by its id, its name or its folder"
        if path.suffix in SWEEP_FILES and path.is_file():
            hint = f"; it is a file: a sweep other than ./sweep.yaml is named by --sweep {word}"
        raise ConfigError(f"{word}: no such run in {display_path(found.folder.path)}{hint}")
    if len(matching) > 1:
        some = ", ".join(f"{r.run_id} ({r.name})" for r in matching[:3])
        raise ConfigError(f"{word}: {len(matching)} runs are meant, such as {some}; name one by its whole id")
    return FoundRun(found, matching[0])


def compare_two(first: FoundRun, second: FoundRun) -> RunDifference:
    """Return what differs between two runs."""
    parameters, environment = (
        _pair(describe(first), describe(second)) for describe in (_parameters_of, _environment_of)
    )
    files, patch, note = _compare_code(first, second)
    return RunDifference(parameters=parameters, environment=environment, files=files, patch=patch, code_note=note)


def _pair(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    return {name: (first.get(name), second.get(name)) for name in differing([first, second])}


def _parameters_of(run: FoundRun) -> dict[str, Any]:
    seed = {} if run.record.seed is None else {"seed": run.record.seed}
    return {**run.record.params, **seed}


def _environment_of(run: FoundRun) -> dict[str, Any]:
    """Return where a run was started and with which variables, as far as its folder and its journal tell."""
    record, plan = run.record, run.sweep.plan
    told = provenance_of(run) or {name: plan[name] for name in ("python", "platform", "git_commit") if plan.get(name)}
    own = {"device": record.device, "host": record.outcome.host if record.outcome else ""}
    return {**{name: value for name, value in own.items() if value}, **told, **_variables_of(run)}


def provenance_of(run: FoundRun) -> dict[str, Any]:
    """Return where a run comes from, by dotted name; empty where an older version has started it."""
    started = read_start_line(run.sweep.folder.run_dir(run.record.run_id)) or {}
    return flat_provenance(read_provenance(run.sweep.folder.path, str(started.get(PROVENANCE) or "")))


def _variables_of(run: FoundRun) -> dict[str, str]:
    try:
        text = (run.sweep.folder.run_dir(run.record.run_id) / COMMAND).read_text(errors="surrogateescape")
        words = shlex.split(text.splitlines()[0])
    except (OSError, ValueError, IndexError):
        return {}
    found: dict[str, str] = {}
    for word in words[words.index("&&") + 1 :] if "&&" in words else ():
        name, equals, value = word.partition("=")
        if not equals or not name.isidentifier():
            break
        if name not in _OWN_VARIABLES:
            found[name] = value
    return found


def _compare_code(first: FoundRun, second: FoundRun) -> tuple[list[str], list[str], str]:
    states = first.record.code, second.record.code
    if states[0] == states[1]:
        return [], [], ""
    files = changed_files(*(run.sweep.codes.get(run.record.code, {}) for run in (first, second)))
    try:
        before, after = (_relative(CodeStore(r.sweep.folder.path).read(r.record.code)) for r in (first, second))
    except RecordError:
        return files, [], "their content was not kept (code: live, or it is gone)"
    return files, list(_patch(before, after, states)), ""


def _relative(contents: Mapping[Path, bytes]) -> dict[str, str]:
    """Return texts by their paths below the folder that all have in common, so that a folder may have been moved."""
    folders = [path.parent.parts for path in contents]
    common = 0
    while folders and all(len(parts) > common and parts[common] == folders[0][common] for parts in folders):
        common += 1
    return {"/".join(path.parts[common:]): text.decode("utf-8", "replace") for path, text in contents.items()}


def _patch(first: Mapping[str, str], second: Mapping[str, str], states: tuple[str, str]) -> Iterator[str]:
    for name in sorted(first.keys() | second.keys()):
        before, after = (side.get(name, "").splitlines() for side in (first, second))
        old, new = (f"{name} ({state})" for state in states)
        yield from difflib.unified_diff(before, after, old, new, lineterm="")
