"""Which runs the words of a comparison name: folders, sweeps, tables, seeds of one setting, parts of one run.

What a run measured is read in ``engine/histories.py``.
"""

from __future__ import annotations

import os
from array import array
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sweepline.analysis.goals import guess_goal
from sweepline.analysis.ranking import without_seed
from sweepline.analysis.series import STEP, RunHistory, Series, Side, counts_anew, join_runs
from sweepline.contract.text import display_path
from sweepline.contract.values import parse_value, same_value
from sweepline.engine.histories import is_run_folder, read_log_folder, read_run_folder, read_wandb_files
from sweepline.engine.outcome import reader_of
from sweepline.engine.recorded import RecordedSweep, open_recorded
from sweepline.engine.tensorboardlog import find_event_files, find_logs_below
from sweepline.errors import ConfigError, RecordError, SweeplineError, did_you_mean
from sweepline.recording.cells import read_cell, read_rows
from sweepline.recording.columns import FIXED_COLUMNS
from sweepline.recording.events import RunRecord
from sweepline.recording.folders import CSV, FROZEN
from sweepline.recording.journal import JOURNAL
from sweepline.runs import Objective, State, canonical_json, run_name_of

_SEEDS, _PARTS, _SELECTED = ",", "+", "@"
_MAX_NAMES_SHOWN = 8


@dataclass(frozen=True, slots=True)
class _Piece:
    """A run by its parts, or a sweep or table and which of its runs are meant: terms like ``lr=0.1``."""

    paths: Sequence[Path]
    terms: Sequence[str] = ()


@dataclass(slots=True)
class _Context:
    """What is the same for all words. ``named`` holds the folders that have a word of their own."""

    merges: bool
    metrics: Collection[str]
    named: Collection[Path] = ()
    notes: list[str] = field(default_factory=list)
    sweeps: dict[Path, RecordedSweep] = field(default_factory=dict)

    def open_sweep(self, path: Path) -> RecordedSweep:
        """Return a sweep with its records, read once."""
        key = path.resolve()
        if key not in self.sweeps:
            self.sweeps[key] = open_recorded(path)
        return self.sweeps[key]


def read_sides(
    words: Sequence[str], *, logdir: Path | None = None, merges: bool = True, metrics: Collection[str] = ()
) -> tuple[list[list[Side]], list[str]]:
    """Return for each word the sides that it names, and what their reader should know.

    A word is the folder or the file of a run (a run folder of a sweep or of our trainer, a TensorBoard log, a W&B
    run), or a sweep by its folder, its file or its ``runs.csv``. ``A,B,C`` are runs of one setting, one for each seed.
    ``A+B`` is one run in two parts. ``SWEEP@lr=0.1,opt=adam`` are the runs of a sweep that have these parameters,
    ``SWEEP@NAME`` is the one of that name or id. A sweep stands for each of its configurations that finished, its
    seeds folded.

    Args:
        words: as they were written.
        logdir: where the names are looked for; the working directory by default.
        merges: whether ``NAME_2``, ``NAME_3`` ... beside a run ``NAME`` are read as its continuations, where their
            steps go on and no word names them.
        metrics: names that are metrics where a table alone does not tell.

    Raises:
        SweeplineError: a word names nothing, or what it names cannot be read.
    """
    if logdir is not None and not logdir.is_dir():
        raise ConfigError(f"--logdir {display_path(logdir)}: no such folder")
    parsed = [_parse(word, logdir or Path()) for word in words]
    named = {path.resolve() for pieces in parsed for piece in pieces for path in piece.paths}
    context = _Context(merges, metrics, named)
    return [_load_word(word, pieces, context) for word, pieces in zip(words, parsed, strict=True)], context.notes


def tell_apart(sides: Sequence[tuple[str, Side]]) -> list[Side]:
    """Return sides that have labels of their own; where one is the same for two, it has the side's word with it."""
    n_of_label = Counter(side.label for _, side in sides)
    return [
        replace(side, label=f"{side.label} ({word})") if n_of_label[side.label] > 1 else side for word, side in sides
    ]


def _parse(word: str, base: Path) -> list[_Piece]:
    """Return what a word is made of; a name that is there as it stands is one, whatever signs are in it."""
    if word and _exists(base / word):
        return [_Piece([base / word])]
    pieces: list[_Piece] = []
    for text in word.split(_SEEDS):
        before, has_terms, term = _split_selection(text, base)
        if has_terms:
            pieces.append(_Piece([base / before], [term]))
        elif pieces and pieces[-1].terms and not _exists(base / text):
            pieces[-1] = _Piece(pieces[-1].paths, [*pieces[-1].terms, text])
        elif text and _exists(base / text):
            pieces.append(_Piece([base / text]))
        else:
            parts = text.split(_PARTS)
            for part in parts:
                if not part or not _exists(base / part):
                    raise ConfigError(_describe_missing(part, word, base))
            pieces.append(_Piece([base / part for part in parts]))
    return pieces


def _split_selection(text: str, base: Path) -> tuple[str, bool, str]:
    """Return what stands before and after the first ``@`` behind a name that is there."""
    at = text.find(_SELECTED)
    while at > 0:
        if _exists(base / text[:at]):
            return text[:at], True, text[at + 1 :]
        at = text.find(_SELECTED, at + 1)
    return text, False, ""


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name too long, or with a null in it
        return False


def _describe_missing(name: str, word: str, base: Path) -> str:
    folder = (base / name).parent if name else base
    try:
        beside = [entry.name for entry in os.scandir(folder)]
    except (OSError, ValueError):
        beside = []
    inside = "" if name == word else f" in {word!r}"
    return f"{name!r}{inside}: no such run in {display_path(folder)}{did_you_mean(Path(name).name, beside)}"


def _load_word(word: str, pieces: Sequence[_Piece], context: _Context) -> list[Side]:
    loaded = [_load_piece(piece, context) for piece in pieces]
    if len(loaded) == 1:
        return loaded[0]
    several = next((piece for piece, sides in zip(pieces, loaded, strict=True) if len(sides) > 1), None)
    if several is not None:
        path = display_path(several.paths[0])
        raise ConfigError(f"{word}: {path} has several configurations; choose one, as in {path}{_SELECTED}NAME=VALUE")
    runs = [run for sides in loaded for run in sides[0].runs]
    labels = [sides[0].label for sides in loaded]
    label = _common_beginning(labels) or labels[0]
    return [Side(label=f"{label} ({len(runs)} runs)", runs=runs)]


def _common_beginning(labels: Sequence[str]) -> str:
    """Return what labels begin with alike, without what stands before a seed."""
    n = next(
        (i for i, letters in enumerate(zip(*labels, strict=False)) if len(set(letters)) > 1), min(map(len, labels))
    )
    return labels[0][:n].rstrip("_-.= s")


def _load_piece(piece: _Piece, context: _Context) -> list[Side]:
    path = piece.paths[0]
    if len(piece.paths) == 1 and _is_sweep(path):
        return _load_sweep(context.open_sweep(path.parent if path.name == CSV else path), piece.terms, context)
    table = path / CSV if (path / CSV).is_file() else path
    if len(piece.paths) == 1 and table.suffix == ".csv":
        return _load_table(table, piece.terms, context)
    if piece.terms:
        raise ConfigError(
            f"{display_path(path)}: is one run; {_SELECTED}{piece.terms[0]} chooses among those of a sweep"
        )
    runs = [_load_run(part, context) for part in piece.paths]
    whole = runs[0]
    for run in runs[1:]:
        whole = _join(whole, run, context)
    if len(runs) == 1 and context.merges:
        whole = _add_continuations(whole, path, context)
    return [Side(label=whole.name, runs=[whole])]


def _is_sweep(path: Path) -> bool:
    if path.is_dir():
        return (path / JOURNAL).exists() or (path / FROZEN).exists()
    return path.suffix in (".yaml", ".yml") or (path.name == CSV and (path.parent / JOURNAL).exists())


def _join(whole: RunHistory, run: RunHistory, context: _Context) -> RunHistory:
    bounds, end = run.bounds(STEP), whole.bounds(STEP)
    if bounds is None or end is None:
        how = "after its last point: one of them tells no steps"
    elif counts_anew(whole, run):
        how = f"after its step {end[1]:,.0f}: it counts its own from {bounds[0]:,.0f} again"
    else:
        how = f"from step {bounds[0]:,.0f} on"
    context.notes.append(f"{run.name} is read as the continuation of {whole.name}, {how}")
    return join_runs(whole, run)


def _add_continuations(whole: RunHistory, path: Path, context: _Context) -> RunHistory:
    """Return a run with those beside it that go on from where it ended."""
    path, n = path.resolve(), 2
    while path.is_dir() and (beside := path.with_name(f"{path.name}_{n}")).is_dir():
        n += 1
        if beside.resolve() in context.named:
            context.notes.append(f"{beside.name} is compared by itself, not read as the continuation of {path.name}")
            break
        try:
            run = _load_run(beside, context)
        except SweeplineError as error:
            context.notes.append(f"{beside.name} is not read as the continuation of {path.name}: {error}")
            break
        if counts_anew(whole, run):
            context.notes.append(
                f"{beside.name} is not read as the continuation of {path.name}: its steps do not go on; if it is one: "
                f"{path.name}{_PARTS}{beside.name}"
            )
            break
        whole = _join(whole, run, context)
    return whole


def _load_run(path: Path, context: _Context) -> RunHistory:
    """Return the run of a folder or a file."""
    if path.is_dir() and is_run_folder(path) and not find_event_files(path):
        sweep_dir = path.resolve().parent.parent
        if not (sweep_dir / JOURNAL).exists():
            return read_run_folder(path)
        found = context.open_sweep(sweep_dir)
        record = found.records.get(path.resolve().name)
        return read_run_folder(path) if record is None else _read_recorded(found, record)
    if find_event_files(path):
        return read_log_folder(path)
    files = wandb_files_in(path)
    if files:
        runs = sorted({file.stem for file in files})
        if len(runs) > 1:
            raise ConfigError(
                f"{display_path(path)}: holds {len(runs)} W&B runs ({_some(runs)}); name the folder of one"
            )
        return replace(read_wandb_files(files), name=path.resolve().name)
    if not os.access(path, os.R_OK):
        raise ConfigError(f"{display_path(path)}: cannot be read: permission denied")
    below = [folder.name for folder in find_logs_below(path)] if path.is_dir() else []
    if below:
        raise ConfigError(f"{display_path(path)}: holds no event file itself, but logs below: {_some(below)}; name one")
    raise ConfigError(
        f"{display_path(path)}: is neither a run (no {', '.join(('metrics.csv', 'stdout.log'))}, TensorBoard or W&B "
        "file) nor a sweep"
    )


def wandb_files_in(path: Path) -> list[Path]:
    """Return the files of the W&B runs in a folder, in the order in which they were begun."""
    if path.is_file():
        return [path] if path.suffix == ".wandb" else []
    found = {file.resolve() for below in ("", "*run-*/", "wandb/*run-*/") for file in path.glob(f"{below}run-*.wandb")}
    return sorted(found, key=lambda file: (file.parent.name.partition("run-")[2], str(file)))


def _some(names: Sequence[str]) -> str:
    more = len(names) - _MAX_NAMES_SHOWN
    return ", ".join([*names[:_MAX_NAMES_SHOWN], *([f"{more} more"] if more > 0 else [])])


def _read_recorded(found: RecordedSweep, record: RunRecord) -> RunHistory:
    reader = None if found.settings is None else reader_of(found.settings)
    told = found.plan.get("objective") or {}
    objective = Objective(name=told["name"], goal=told.get("goal", "minimize")) if "name" in told else None
    return read_run_folder(found.folder.run_dir(record.run_id), record=record, reader=reader, objective=objective)


def _load_sweep(found: RecordedSweep, terms: Sequence[str], context: _Context) -> list[Side]:
    """Return a side for each configuration of a sweep, as it was last started, that is meant and finished."""
    belonging = [record for record in found.records.values() if record.belongs]
    latest = next((record.identity for record in reversed(belonging)), "")
    meant = [
        record
        for record in found.records.values()
        if (record.identity == latest and record.belongs) or record.run_id in terms
        if _is_meant({**record.params, "seed": record.seed}, (record.run_id, record.name), terms)
    ]
    label = display_path(found.folder.path)
    if not meant:
        _raise_none_meant(label, terms, {name: None for record in belonging for name in record.params})
    ended = [record for record in meant if record.has_result]
    if not ended:
        raise ConfigError(f"{label}: none of the {len(meant)} runs that are meant has finished")
    if len(ended) < len(meant):
        states = Counter(record.state.value for record in meant if not record.has_result)
        told = ", ".join(f"{n} {state}" for state, n in states.items())
        context.notes.append(f"{label}: {len(meant) - len(ended)} runs without a result are left out ({told})")
    groups: dict[str, list[RunRecord]] = {}
    for record in ended:
        groups.setdefault(f"{record.identity} {canonical_json(without_seed(record.params))}", []).append(record)
    names = {name: None for record in belonging for name in without_seed(record.params)}
    swept = [name for name in names if len({canonical_json(record.params.get(name)) for record in belonging}) > 1]
    is_named = any("=" not in term for term in terms)
    return [
        Side(
            label=_label_of(records, swept, found, is_named=is_named),
            runs=[_read_recorded(found, record) for record in records],
        )
        for records in groups.values()
    ]


def _label_of(records: Sequence[RunRecord], swept: Sequence[str], found: RecordedSweep, *, is_named: bool) -> str:
    """Return a configuration's swept values; a run's name where that was asked for, the sweep's where nothing is."""
    if is_named and len(records) == 1:
        return records[0].name
    return run_name_of(records[0].params, swept, None) if swept else found.folder.path.name


def _is_meant(params: Mapping[str, Any], names: Collection[str], terms: Sequence[str]) -> bool:
    """Whether all terms hold of a run: a parameter's value, or its name or id."""
    for term in terms:
        name, has_value, value = term.partition("=")
        if has_value and name in params:
            if not same_value(parse_value(value), params[name]):
                return False
        elif term not in names:
            return False
    return True


def _raise_none_meant(label: str, terms: Sequence[str], known: Collection[str]) -> None:
    unknown = next((name for name, equals, _ in (t.partition("=") for t in terms) if equals and name not in known), "")
    hint = did_you_mean(unknown, known) if unknown else ""
    raise ConfigError(
        f"{label}: no run has {_SELECTED}{_SEEDS.join(terms)}{hint or '; its parameters are ' + _some(list(known))}"
    )


def _load_table(path: Path, terms: Sequence[str], context: _Context) -> list[Side]:
    """Return a side for each configuration in a ``runs.csv`` that has no sweep beside it: results alone, no points.

    Runs whose names differ in nothing but their seed are of one configuration.
    """
    try:
        header, rows = read_rows(path.read_bytes())
    except (OSError, ValueError) as error:
        raise RecordError(f"{display_path(path)}: cannot be read: {error}") from None
    if not {"run_id", "run_name", "state", "seed"} <= set(header):
        raise ConfigError(
            f"{display_path(path)}: is no runs.csv of a sweep: it has no columns run_id, run_name, state, seed"
        )
    values = [{name: read_cell(cell) for name, cell in row.items()} for row in rows]
    columns = [name for name in header if name not in FIXED_COLUMNS]
    metrics = [name for name in columns if name in context.metrics or guess_goal(name) is not None]
    params = [name for name in columns if name not in metrics]
    meant = [row for row in values if _is_meant(row, (str(row["run_id"]), str(row["run_name"])), terms)]
    if not meant:
        _raise_none_meant(display_path(path), terms, params)
    ended = [row for row in meant if row["state"] == State.FINISHED.value]
    if not ended:
        raise ConfigError(f"{display_path(path)}: none of the {len(meant)} runs that are meant has finished")
    groups: dict[str, list[RunHistory]] = {}
    for row in ended:
        label = str(row["run_name"]).removesuffix(f"-s{row['seed']}")
        run = _read_row(row, params, metrics)
        groups.setdefault(label, []).append(replace(run, origin=f"{path.resolve()} {row['run_id']}"))
    context.notes.append(
        f"{display_path(path)} alone: results without their points; metrics are {_some(metrics) or 'none'} by their "
        "names (others with --metrics)"
    )
    return [Side(label=label, runs=runs) for label, runs in groups.items()]


def _read_row(row: Mapping[str, Any], params: Sequence[str], metrics: Sequence[str]) -> RunHistory:
    numbers = {name: row[name] for name in metrics if isinstance(row[name], (int, float))}
    seed = row["seed"]
    return RunHistory(
        name=str(row["run_name"]),
        source="a row",
        series={name: Series(array("d", [value])) for name, value in numbers.items()},
        params={name: row[name] for name in params},
        seed=seed if isinstance(seed, int) else None,
        duration_s=row["duration_s"] if isinstance(row.get("duration_s"), float) else None,
    )
