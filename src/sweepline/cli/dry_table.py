"""What ``--dry-run`` shows a person of the runs to come: what they differ in, what they share, and their command."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sweepline.contract.text import display_path, one_line
from sweepline.display.formats import MAX_DIGITS
from sweepline.display.tables import fit_table
from sweepline.display.widths import GAP, shorten, shorten_apart, width_of
from sweepline.engine.preparation import PreparedSweep
from sweepline.runs import Run
from sweepline.space.parameters import Constant, Parameter

_MAX_CELL = 40
_INDENT = 2
_ABSENT = object()


def render_runs(prepared: PreparedSweep, runs: Sequence[Run], width: int | None) -> list[str]:
    """Return a table of what varies, a row per run; without that, the names of the runs."""
    names = _varying(prepared, runs)
    has_seeds = _have_seeds(prepared)
    header = ["run", *names, *(["seed"] if has_seeds else [])]
    rows = [[run.run_id, *_row(run, names), *([str(run.seed)] if has_seeds else [])] for run in runs]
    return fit_table([header, *_shortened(rows)], width, n_text=1)


def render_constants(prepared: PreparedSweep, runs: Sequence[Run], width: int | None) -> list[str]:
    """Return a table of what all runs share."""
    varying = set(_varying(prepared, runs))
    shared = {name: value for name, value in runs[0].params.items() if name not in varying} if runs else {}
    if runs and runs[0].seed is not None and "seed" not in runs[0].params and not _have_seeds(prepared):
        shared["seed"] = runs[0].seed
    pairs = [(name, format_value(value)) for name, value in shared.items()]
    room = max((width_of(name) for name, _ in pairs), default=0)
    lines = [f"{' ' * _INDENT}{name.ljust(room)}  {value}" for name, value in pairs]
    return lines if width is None else [shorten(line, width) for line in lines]


def render_command(prepared: PreparedSweep, runs: Sequence[Run], width: int | None) -> list[str]:
    """Return the command that all runs share, a mark for what differs, broken between its words as a shell reads it."""
    words = _template(prepared, runs)
    folder = prepared.settings.command.working_dir
    if folder.resolve() != Path.cwd().resolve():
        words = ["cd", shlex.quote(display_path(folder)), "&&", *words]
    return _break_words(words, width)


def format_value(value: Any) -> str:
    """Return a value for one cell: floats to six digits, where they have many more."""
    if value is _ABSENT:
        return "-"
    if isinstance(value, float) and len(repr(value)) > MAX_DIGITS:
        return f"{value:.6g}"
    return "null" if value is None else one_line(str(value))


def _have_seeds(prepared: PreparedSweep) -> bool:
    """Whether every combination runs with several seeds."""
    return prepared.plan.n_seeds > 1


def _row(run: Run, names: Sequence[str]) -> Iterator[str]:
    yield from (format_value(run.params.get(name, _ABSENT)) for name in names)


def _shortened(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    columns = [shorten_apart(column, _MAX_CELL) for column in zip(*rows, strict=True)]
    return [list(row) for row in zip(*columns, strict=True)]


def _varying(prepared: PreparedSweep, runs: Sequence[Run]) -> list[str]:
    """Return the names of the parameters that vary over the whole plan, and of those that differ in these runs."""
    space = prepared.plan.space
    swept = set(space.swept)
    shown = dict.fromkeys(name for run in runs for name in run.params)
    return [name for name in shown if _is_varying(name, swept, space.parameters, runs)]


def _is_varying(name: str, swept: set[str], parameters: Mapping[str, Parameter], runs: Sequence[Run]) -> bool:
    values = {repr(run.params.get(name, _ABSENT)) for run in runs}
    if len(values) > 1 or name not in parameters:
        return True
    parameter = parameters[name]
    has_one_value = isinstance(parameter, Constant) or (parameter.grid is not None and len(parameter.grid) == 1)
    return name in swept and not has_one_value


def _template(prepared: PreparedSweep, runs: Sequence[Run]) -> list[str]:
    """Return the words of the first run's command, with what differs in any other masked.

    The runs shown may all have the first value of a parameter that changes slowly: the first run is tried with another
    value of each as well.
    """
    first, slot = runs[0], prepared.slots.all[0]
    changed = [
        replace(first, params={**first.params, name: _another(first.params[name])})
        for name in _varying(prepared, runs)
        if name in first.params
    ]
    if first.seed is not None and _have_seeds(prepared):
        changed.append(replace(first, seed=first.seed + 1))
    others = [prepared.tasks.words(run, slot) for run in (*runs[1:], *changed)]
    words, folder = prepared.tasks.words(first, slot), prepared.settings.command.working_dir
    return mask_differences(words, others, show=lambda word: one_line(shlex.quote(_relative(word, folder))))


def _another(value: Any) -> Any:
    """Return a value of the same kind that is not the same."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return value + 1
    if isinstance(value, list):
        return [*value, *value] or [0]
    if isinstance(value, Mapping):
        return {key: _another(item) for key, item in value.items()}
    return f"{value}_"


def mask_differences(
    words: Sequence[str], others: Sequence[Sequence[str]], *, show: Callable[[str], str] = shlex.quote
) -> list[str]:
    """Return words with a mark in place of what others have there; a word that others lack stands in brackets."""
    shown, gaps = [show(word) for word in words], set()
    for other in others:
        for kind, i, end, j, j_end in difflib.SequenceMatcher(None, words, other, autojunk=False).get_opcodes():
            if kind == "replace" and end - i == j_end - j:
                shown[i:end] = [_masked(word) for word in words[i:end]]
            elif kind != "equal":
                shown[i:end] = [f"[{word.strip('[]')}]" for word in shown[i:end]]
                gaps |= {i} if kind == "insert" else set()
    return [word for i, one in enumerate([*shown, ""]) for word in ([GAP] if i in gaps else []) + [one] if word]


def _masked(word: str) -> str:
    key, sign, _ = word.partition("=")
    return f"{key}={GAP}" if sign else GAP


def _relative(word: str, folder: Path) -> str:
    """Return a path below the folder in which runs start as it is named there."""
    path = Path(word)
    return str(path.relative_to(folder)) if path.is_absolute() and path.is_relative_to(folder) else word


def _break_words(words: Sequence[str], width: int | None) -> list[str]:
    """Return words as indented lines, each but the last ending in a backslash."""
    lines, line = [], " " * _INDENT
    for word in words:
        if width is not None and line.strip() and width_of(f"{line}{word} \\") > width:
            lines.append(f"{line}\\")
            line = " " * 2 * _INDENT
        line += f"{word} "
    return [*lines, line.rstrip()]
