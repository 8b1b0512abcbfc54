"""Whether two folders are of the same sweep, as their plans tell it, and where its files are on either machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from sweepline.analysis.differences import differing
from sweepline.contract.text import display_path, name_some
from sweepline.engine.recorded import RecordedSweep
from sweepline.engine.scheduler.client import LOG as STUDY_LOG
from sweepline.errors import ConfigError
from sweepline.programs.sourcecode import changed_files

_TOLD_APART = ("method", "constraints", "seeds", "sampler_seed", "limit", "objectives")
_MAX_VALUE = 80


def check_same(ours: RecordedSweep, theirs: RecordedSweep) -> None:
    """Make sure that a folder is of our sweep: the same search of the same program, its results read alike.

    Raises:
        ConfigError: it is not; says in what it differs.
    """
    for found in (ours, theirs):
        if (found.folder.path / STUDY_LOG).exists():
            raise ConfigError(
                f"{display_path(found.folder.path)}: a study of your own (scheduler:) knows the runs that it has "
                "proposed, and no others: its folders cannot be merged"
            )
        if not found.plan.get("search"):
            raise ConfigError(
                f"{display_path(found.folder.path)}: plan.json is missing or damaged, so that nobody can tell which "
                "sweep it is: sweepline repair writes it anew"
            )
    told = list(_differences(ours.plan, theirs.plan))
    if told:
        raise ConfigError(
            f"{display_path(theirs.folder.path)} is not the same sweep as {display_path(ours.folder.path)}: "
            f"{'; '.join(told)}"
        )


def _differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> Iterator[str]:
    """Yield what makes two plans those of different sweeps."""
    if ours.get("sweep") != theirs.get("sweep"):
        yield f"its name is {theirs.get('sweep')!r}, not {ours.get('sweep')!r}"
        return
    if ours["search"] != theirs["search"]:
        told = [*_values(ours, theirs)]
        yield from told or [_program(ours, theirs)]
    elif ours.get("reading") != theirs.get("reading"):
        told = [text for text in _values(ours, theirs) if text.startswith("objectives")]
        yield from told or ["what is read out of a run's output (metrics, metrics_from) is not the same"]


def _values(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> Iterator[str]:
    sides = [
        {f"parameters.{name}": text for name, text in plan.get("parameters", {}).items()}
        | {name: plan.get(name) for name in _TOLD_APART}
        for plan in (theirs, ours)
    ]
    for name in differing(sides):
        there, here = (_short(side.get(name)) for side in sides)
        yield f"{name} is {there} there and {here} here"


def _short(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= _MAX_VALUE else text[: _MAX_VALUE - 1] + "…"


def _program(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
    """Return what of the program makes runs other runs: its config files, else what the sweep file says of it."""
    sides = [{Path(path).name: told for path, told in plan.get("inputs", {}).items()} for plan in (ours, theirs)]
    own = {Path(str(plan.get("sweep_file"))).name for plan in (ours, theirs)}
    files = [name for name in differing(sides) if name not in own and Path(name).suffix != ".py"]
    if files:
        return f"{name_some(files)} of the program is not the same"
    if ours.get("sweepline") != theirs.get("sweepline"):
        return f"it was run by sweepline {theirs.get('sweepline')}, this one by {ours.get('sweepline')}"
    return "its program, the command, its arguments or their env are not the same"


def describe_code(ours: RecordedSweep, theirs: RecordedSweep) -> str | None:
    """Return a sentence where the program itself is another one: its results are of the sweep all the same."""
    sides = [found.plan.get("code") or {} for found in (ours, theirs)]
    files = changed_files(*sides) if all(sides) else []
    if not files:
        return None
    return f"the program is not the same there ({name_some(files)}): the column code tells results apart"


def place_of(ours: RecordedSweep, theirs: RecordedSweep) -> Callable[[Path], Path]:
    """Return what turns a path of the machine on which theirs was run into that of the same file here.

    What both have in common behind a folder of each machine tells which: ``/home/a/repo/exp`` and ``/data/repo/exp``
    are the same repository. Paths outside it stay as they are.
    """
    here = _experiment_here(ours) or _experiment_then(ours)
    there = _experiment_then(theirs)
    if here is None or there is None or here == there:
        return lambda path: path
    n = 0
    while n < min(len(here.parts), len(there.parts)) - 1 and here.parts[-1 - n] == there.parts[-1 - n]:
        n += 1
    top = there.parents[n - 2] if n > 1 else there
    beside = here.parents[n - 2] if n > 1 else here
    return lambda path: beside / path.relative_to(top) if path.is_relative_to(top) else path


def _experiment_here(found: RecordedSweep) -> Path | None:
    """Return the folder that the paths of a sweep file are relative to, where the file lies; None where it does not."""
    told = Path(str(found.plan.get("sweep_file") or ""))
    n_up = sum(part == ".." for part in told.parts)
    if not n_up or not (found.folder.path / told).is_file():
        return None
    return Path(found.folder.path.resolve(), *[".."] * n_up).resolve()


def _experiment_then(found: RecordedSweep) -> Path | None:
    """Return that folder where the sweep was started last, whatever machine that was."""
    told = Path(str(found.plan.get("sweep_file") or ""))
    below = tuple(part for part in told.parts if part != "..")
    path = next((Path(name) for name in found.plan.get("inputs", {})), None)
    if path is None or not below or path.parts[-len(below) :] != below:
        return None
    return path.parents[len(below) - 1]
