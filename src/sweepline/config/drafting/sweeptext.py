"""The text of a first sweep file: what was found in a script, what is proposed, and what else could be swept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweepline.config.drafting.objective import choose_objective, describe_source, explain_choice
from sweepline.config.drafting.ownfolder import OwnFolder, plan_own_folder
from sweepline.config.drafting.proposals import Proposal, choose_swept, propose
from sweepline.config.drafting.surroundings import (
    folder_lines,
    metrics_from_lines,
    preparation_lines,
    variable_lines,
)
from sweepline.config.drafting.yamltext import commented, format_value, quote_pattern
from sweepline.programs.inspection.environment import PARSER as ENVIRONMENT
from sweepline.programs.inspection.facts import UNKNOWN, Flag, Interface, ScriptFacts, Told
from sweepline.programs.inspection.metricwords import goal_of

REPLACE_ME = "REPLACE_ME"


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A sweep file that was written for a script, and what to say of it."""

    text: str
    swept: Sequence[Proposal]
    required: Sequence[Flag]
    objective: Told | None
    is_read: bool
    """Whether the sweep sees the objective."""
    interface: Interface


def draft_sweep(program: str, facts: ScriptFacts, interface: Interface, start: Path) -> Draft | None:
    """Return a sweep file for a program; None where it has nothing that a number could be proposed for.

    Args:
        program: what the file calls it.
        facts: what is known of it.
        interface: what it takes.
        start: where runs start.
    """
    flags = [flag for flag in interface.flags if not flag.is_positional]
    proposals = propose(flags)
    swept = choose_swept(proposals, flags)
    if not swept:
        return None
    chosen = [proposal.flag.name for proposal in swept]
    required = [flag for flag in interface.flags if flag.is_required and flag.name not in chosen]
    folder = plan_own_folder(facts, interface, start)
    objective = choose_objective(facts.told, folder.can_read)
    writer = _Writer(program, facts, interface, swept, required, objective, folder)
    lines = [
        *writer.head(),
        *metrics_from_lines(facts, objective, folder),
        *writer.command(),
        *variable_lines(facts, interface.parser, swept, objective),
        *folder_lines(facts, folder),
        *preparation_lines(facts),
        "parameters:",
        *writer.parameters(),
        *writer.others(proposals),
        *writer.metrics(),
    ]
    return Draft(
        text="\n".join(lines) + "\n",
        swept=swept,
        required=[flag for flag in required if not writer.is_given(flag)],
        objective=objective,
        is_read=objective is not None and folder.can_read(objective),
        interface=interface,
    )


@dataclass(frozen=True, slots=True)
class _Writer:
    program: str
    facts: ScriptFacts
    interface: Interface
    swept: Sequence[Proposal]
    required: Sequence[Flag]
    objective: Told | None
    folder: OwnFolder

    def head(self) -> Iterator[str]:
        yield f"# A first sweep of {self.program}, drafted by `sweepline init` from its text alone."
        yield "# Look over what is marked as guessed, then see `sweepline run -n`. Every key: docs/sweep-file.md."
        n = len(self.interface.flags)
        yield f"# Found: {n} flag{'s' * (n != 1)}, read by {self.interface.parser}."
        for note in self.interface.notes:
            yield f"# Note: {note}."
        yield f"program: {format_value(self.facts.module or self.program)}"
        yield "method: grid"
        yield from self._metric()

    def _metric(self) -> Iterator[str]:
        objective = self.objective
        if objective is None:
            yield '# metric: {name: accuracy, goal: maximize}   # none was found: print("METRIC accuracy=0.9")'
            return
        line = f"metric: {{name: {format_value(objective.name)}, goal: {goal_of(objective.name)}}}"
        yield commented(line, explain_choice(objective))
        if not self.folder.can_read(objective):
            name = objective.name.replace(" ", "_")
            yield f'# Note: to be compared, it has to be printed: print(f"METRIC {name}={{value}}").'

    def command(self) -> Iterator[str]:
        style = self.interface.style
        words = self._words()
        if words is not None:
            yield commented(f"command: {format_value(words)}", self._why_command())
        if style and any("${args}" in word for word in words or ["${args}"]):
            name = style["style"] if len(style) == 1 else dict(style)
            yield commented(f"arguments: {format_value(name)}", _why_style(style))

    def _words(self) -> list[str] | None:
        """Return the command, or None where the usual one does."""
        interface = self.interface
        positional = [REPLACE_ME for flag in self.required if flag.is_positional]
        values = self._values()
        start = ["${interpreter}", *(["-m"] if self.facts.module else []), "${program}"]
        words = [*start, *interface.before, *positional, *values, *interface.after, *self._given()]
        return None if words == ["${interpreter}", "${program}", "${args}"] else words

    def _values(self) -> list[str]:
        """Return the words that hand over the values: a macro, or each by itself where one has a short name alone."""
        flags = [*(f for f in self.required if not f.is_positional), *(proposal.flag for proposal in self.swept)]
        if any(flag.short_only for flag in flags):
            named = [(flag.short_only or f"--{flag.name}", flag.name) for flag in flags]
            return [word for option, name in named for word in (option, f"${{{name}}}")]
        return [self.interface.args_macro] if self.interface.args_macro else []

    def _given(self) -> list[str]:
        """Return the words of flags that are the same for all runs: its output folder, absolute paths of its data."""
        pairs = [*self.folder.given, *self.folder.made_absolute]
        return [word for flag, value in pairs for word in self._handed(flag, value)]

    def _handed(self, flag: Flag, value: str) -> list[str]:
        return [flag.short_only, value] if flag.short_only else [f"--{self._option(flag)}={value}"]

    def _option(self, flag: Flag) -> str:
        return flag.name.replace("_", "-") if self.interface.style.get("style") == "typer" else flag.name

    def _why_command(self) -> str:
        interface = self.interface
        if interface.parser == "wandb.config":
            return "values reach it through wandb.config"
        if interface.parser == ENVIRONMENT:
            return "it reads them from its environment"
        reasons = [f"{REPLACE_ME}: it wants {flag.name}" for flag in self.required if flag.is_positional]
        reasons += [f"{interface.before[0]} is its subcommand"] if interface.before else []
        reasons += ["Hydra's overrides"] if interface.parser == "Hydra" else []
        has_folder = self.folder.by_command or self.folder.given
        return "; ".join([*reasons, *(["each run writes to a folder of its own"] if has_folder else [])])

    def parameters(self) -> Iterator[str]:
        for flag in self.required:
            if flag.is_positional or self.is_given(flag):
                continue
            value = flag.choices[0] if flag.choices else REPLACE_ME
            yield commented(
                f"  {format_value(flag.name)}: {{value: {format_value(value)}}}", f"required: replace it{_told(flag)}"
            )
        for proposal in self.swept:
            flag = proposal.flag
            default = "" if flag.default is None else f"default {_format_default(flag)}; "
            line = f"  {format_value(flag.name)}: {format_value(list(proposal.values))}"
            yield commented(line, f"guessed: {proposal.why}, {default}{_place(flag)}")

    def is_given(self, flag: Flag) -> bool:
        """Whether the command sets a flag."""
        is_set = any(one.name == flag.name for one, _ in (*self.folder.given, *self.folder.made_absolute))
        return is_set or any(word.startswith(f"--{self._option(flag)}=") for word in self.interface.after)

    def others(self, proposals: Sequence[Proposal]) -> Iterator[str]:
        """Yield what else could be swept, as comments that become parameters without their ``#``."""
        chosen = {proposal.flag.name for proposal in self.swept} | {flag.name for flag in self.required}
        more = [proposal for proposal in proposals if proposal.flag.name not in chosen]
        proposed = {proposal.flag.name for proposal in more}
        if more:
            yield "  # likely to matter too:"
            yield from (
                commented(f"  # {format_value(p.flag.name)}: {format_value(list(p.values))}", f"{p.why}{_told(p.flag)}")
                for p in more
            )
        rest = [flag for flag in self.interface.flags if flag.name not in chosen | proposed and not flag.is_positional]
        if rest:
            yield "  # its other flags, with their defaults:"
            yield from (_other(flag) for flag in rest)
        if any(flag.name == "seed" and flag.kind in ("int", "unknown") for flag in rest):
            yield "# seeds: [0, 1, 2]   # several runs of each combination, handed over as --seed"

    def metrics(self) -> Iterator[str]:
        """Yield the expressions that find what is printed."""
        if self.facts.expressions:
            yield "metrics:   # what is printed, and the expression that finds its numbers"
            for one in self.facts.expressions:
                example = f': "{one.example}"' if one.example else ""
                line = f"  {format_value(one.key)}: {quote_pattern(one.pattern)}"
                yield commented(line, f"{one.where}{example}".removeprefix(": "))
        others = [told for told in self.facts.told if not told.pattern and told is not self.objective]
        for told in others:
            yield f"# also told: {told.name} ({describe_source(told)})"


def _place(flag: Flag) -> str:
    return flag.where or "its text"


def _told(flag: Flag) -> str:
    return "".join(f"; {part}" for part in (flag.help, _place(flag)) if part)


def _format_default(flag: Flag) -> str:
    return "computed" if flag.default is UNKNOWN else format_value(flag.default)


def _other(flag: Flag) -> str:
    name = format_value(flag.name)
    if flag.kind == "bool":
        line = f"  # {name}: [true, false]"
    elif flag.choices:
        line = f"  # {name}: {format_value(list(flag.choices)[:8])}"
    else:
        known: Any = flag.default if flag.default is not UNKNOWN and flag.default is not None else ...
        line = f"  # {name}: " + ("[]" if known is ... else f"[{format_value(known)}]")
    kind = {"unknown": "", "list": f"list of {flag.item_kind}" if flag.item_kind else "list"}.get(flag.kind, flag.kind)
    default = "default computed" if flag.default is UNKNOWN else "no default" if flag.default is None else ""
    if flag.kind == "bool" and not default:
        default = f"default {format_value(flag.default)}"
    short = f"{flag.short_only}, which ${{args}} does not write" if flag.short_only else ""
    return commented(line, "; ".join(filter(None, [kind, default, short, flag.help, flag.where])))


def _why_style(style: dict[str, str] | Any) -> str:
    booleans = style.get("booleans")
    said = {
        "flag": "a true one is --k, a false one is left out, as store_true wants",
        "text": "booleans are written as --k=True and --k=False",
        "no_flag": "--k or --no-k",
    }
    return said.get(booleans or "", "how its parser reads null, lists and booleans")
