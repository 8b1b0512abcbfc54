"""The lines of a draft about where runs start, what they write, and which variables they are told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sweepline.config.drafting.ownfolder import RUN_DIR, OwnFolder
from sweepline.config.drafting.proposals import Proposal
from sweepline.config.drafting.yamltext import commented, format_value
from sweepline.programs.inspection.environment import PARSER
from sweepline.programs.inspection.facts import UNKNOWN, Flag, ScriptFacts, Told
from sweepline.programs.surroundings import looks_secret

_MAX_NAMED = 3
_STORES = {
    "trackio": ("TRACKIO_DIR", RUN_DIR),
    "mlflow": ("MLFLOW_TRACKING_URI", f"sqlite:///{RUN_DIR}/mlflow.db"),
}
"""Which variable puts what a tracker keeps into a run's own folder."""


def metrics_from_lines(facts: ScriptFacts, objective: Told | None, folder: OwnFolder) -> Iterator[str]:
    """Yield which files the objective is read from; files that hold others as a comment."""
    chosen = [] if objective is None or not folder.can_read(objective) else sources_of(objective, folder)
    if chosen:
        yield commented(f"metrics_from: {format_value(chosen)}", "read when a run has ended, from its own folder")
        return
    if any(told.example == "Trainer" for told in facts.told):
        state = {"json": {"path": "**/trainer_state.json", "at": "log_history"}}
        yield commented(f"# metrics_from: {format_value([state])}", "every value with its step, where a checkpoint is")
        return
    others = [source for told in facts.told if folder.can_read(told) for source in sources_of(told, folder)]
    if others:
        unique = [source for i, source in enumerate(others) if source not in others[:i]]
        yield commented(f"# metrics_from: {format_value(unique[:_MAX_NAMED])}", "more of its metrics are there")


def sources_of(told: Told, folder: OwnFolder) -> list[Any]:
    """Return where a sweep file says that a metric is; nothing for what needs no word."""
    if told.source in _STORES:
        return [told.source]
    if told.source == "tensorboard":
        place = told.file
        return ["tensorboard"] if place is None or not place.path else [{"tensorboard": folder.path_of(place)}]
    if told.source in ("csv", "json") and told.file is not None:
        return [{told.source: folder.path_of(told.file)}]
    return []


def folder_lines(facts: ScriptFacts, folder: OwnFolder) -> Iterator[str]:
    """Yield ``cwd: run``, or as a comment where something relative would no longer be found."""
    if folder.starts_there:
        what = _named([place.path for place in folder.written])
        kept = f"{_named([flag.name for flag, _ in folder.made_absolute])} has an absolute path therefore"
        loss = kept if folder.made_absolute else "relative paths of its input would be looked for there"
        yield commented("cwd: run", f"each run writes {what} to its own folder; {loss}")
    elif folder.missed and folder.written:
        what, read = (_named([f"{p.path} ({p.where})" for p in places]) for places in (folder.written, folder.missed))
        yield commented("# cwd: run", f"each run would write {what} to its own folder, and look for {read} there")
    elif facts.module and folder.written and not folder.is_there:
        yield f"# Note: all runs write to {_named([place.path for place in folder.written])}; give each its own."


def variable_lines(facts: ScriptFacts, parser: str, swept: Sequence[Proposal], objective: Told | None) -> Iterator[str]:
    """Yield ``env:``, with what is swept where the script takes its settings from there; the rest as comments."""
    chosen = {proposal.flag.name for proposal in swept} if parser == PARSER else set()
    live = [f"  {name}: {format_value(f'${{{name}}}')}" for name in chosen_in_order(facts.variables, chosen)]
    if objective is not None and objective.source in _STORES:
        variable, value = _STORES[objective.source]
        live.append(f"  {variable}: {format_value(value)}")
    rest = [flag for flag in facts.variables if flag.name not in chosen]
    if live:
        yield "env:"
        yield from live
        yield from (_variable(flag, "  # ") for flag in rest)
    elif rest:
        yield "# env:   # variables that it reads; runs inherit them, and can be told others"
        yield from (_variable(flag, "#   ") for flag in rest)


def chosen_in_order(variables: Sequence[Flag], chosen: set[str]) -> list[str]:
    """Return the names that are chosen, in the script's order."""
    return [flag.name for flag in variables if flag.name in chosen]


def _variable(flag: Flag, start: str) -> str:
    if looks_secret(flag.name):
        return commented(f"{start}{flag.name}: {format_value(f'${{envvar:{flag.name}}}')}", f"a secret; {flag.where}")
    is_known = flag.default is not None and flag.default is not UNKNOWN
    value = format_value(flag.default) if is_known else "REPLACE_ME"
    return commented(f"{start}{flag.name}: {value}", f"{'it has to be there; ' * flag.is_required}{flag.where}")


def preparation_lines(facts: ScriptFacts) -> Iterator[str]:
    """Yield what may have to run once before the first run, as a comment."""
    for name in facts.preparations[:1]:
        words = [f"./{name}"] if name.endswith(".sh") else ["python", name]
        yield commented(f"# prepare: {format_value(words)}", "once, before the first run of a start")


def _named(names: Sequence[str]) -> str:
    unique = list(dict.fromkeys(names))
    more = f" and {len(unique) - _MAX_NAMED} more" if len(unique) > _MAX_NAMED else ""
    return ", ".join(unique[:_MAX_NAMED]) + more
