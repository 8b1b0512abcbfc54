"""The text of a first sweep file: what was found in a script, what is proposed, and what else could be swept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sweepline.config.drafting.objective import choose_objective, describe_source, explain_choice, is_read_back
from sweepline.config.drafting.proposals import Proposal, choose_swept, propose
from sweepline.config.drafting.yamltext import format_value, quote_pattern
from sweepline.programs.inspection.facts import UNKNOWN, Flag, Interface, ScriptFacts, Told
from sweepline.programs.inspection.metricwords import goal_of

REPLACE_ME = "REPLACE_ME"
_WIDTH = 44
_OUTPUT_NAMES = (
    "output_dir",
    "out_dir",
    "save_dir",
    "log_dir",
    "logdir",
    "outdir",
    "output",
    "checkpoint_dir",
    "default_root_dir",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A sweep file that was written for a script, and what to say of it."""

    text: str
    swept: Sequence[Proposal]
    required: Sequence[Flag]
    objective: Told | None
    told: Sequence[Told]
    interface: Interface


def draft_sweep(program: str, facts: ScriptFacts, interface: Interface) -> Draft | None:
    """Return a sweep file for a program; None where it has nothing that a number could be proposed for."""
    flags = [flag for flag in interface.flags if not flag.is_positional]
    proposals = propose(flags)
    swept = choose_swept(proposals, flags)
    if not swept:
        return None
    chosen = [proposal.flag.name for proposal in swept]
    required = [flag for flag in interface.flags if flag.is_required and flag.name not in chosen]
    objective = choose_objective(facts.told)
    writer = _Writer(program, facts, interface, swept, required, objective)
    lines = [
        *writer.head(),
        *writer.command(),
        "parameters:",
        *writer.parameters(),
        *writer.others(proposals),
        *writer.metrics(),
    ]
    return Draft(
        text="\n".join(lines) + "\n",
        swept=swept,
        required=required,
        objective=objective,
        told=facts.told,
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
        yield _commented(line, explain_choice(objective))
        if not is_read_back(objective):
            name = objective.name.replace(" ", "_")
            yield f'# Note: to be compared, it has to be printed: print(f"METRIC {name}={{value}}").'

    def command(self) -> Iterator[str]:
        style = self.interface.style
        words = self._words()
        if words is not None:
            yield _commented(f"command: {format_value(words)}", self._why_command())
        if style and any("${args}" in word for word in words or ["${args}"]):
            name = style["style"] if len(style) == 1 else dict(style)
            yield _commented(f"arguments: {format_value(name)}", _why_style(style))

    def _words(self) -> list[str] | None:
        """Return the command, or None where the usual one does."""
        interface = self.interface
        positional = [REPLACE_ME for flag in self.required if flag.is_positional]
        values = self._values()
        start = ["${interpreter}", *(["-m"] if self.facts.module else []), "${program}"]
        if interface.parser == "environment variables":
            return ["env", *(f"{p.flag.name}=${{{p.flag.name}}}" for p in self.swept), *start]
        words = [*start, *interface.before, *positional, *values, *interface.after, *self._own_folder()]
        return None if words == ["${interpreter}", "${program}", "${args}"] else words

    def _values(self) -> list[str]:
        """Return the words that hand over the values: a macro, or each by itself where one has a short name alone."""
        if any(proposal.flag.short_only for proposal in self.swept):
            named = [(p.flag.short_only or f"--{p.flag.name}", p.flag.name) for p in self.swept]
            return [word for option, name in named for word in (option, f"${{{name}}}")]
        return [self.interface.args_macro] if self.interface.args_macro else []

    def _own_folder(self) -> list[str]:
        """Return a word that gives each run an output folder of its own, where the script has a flag for one."""
        if self.interface.after or self.interface.args_macro != "${args}":
            return []
        flag = next(
            (
                f
                for f in self.interface.flags
                if f.key in _OUTPUT_NAMES and f.kind == "str" and not f.is_positional and not f.short_only
            ),
            None,
        )
        return [f"--{self._option(flag)}=${{run_dir}}"] if flag is not None else []

    def _option(self, flag: Flag) -> str:
        return flag.name.replace("_", "-") if self.interface.style.get("style") == "typer" else flag.name

    def _why_command(self) -> str:
        interface = self.interface
        if interface.parser == "wandb.config":
            return "values reach it through wandb.config"
        if interface.parser == "environment variables":
            return "it reads them from its environment"
        reasons = [f"{REPLACE_ME}: it wants {flag.name}" for flag in self.required if flag.is_positional]
        reasons += [f"{interface.before[0]} is its subcommand"] if interface.before else []
        reasons += ["Hydra's overrides"] if interface.parser == "Hydra" else []
        has_folder = interface.after or self._own_folder()
        return "; ".join([*reasons, *(["each run writes to a folder of its own"] if has_folder else [])])

    def parameters(self) -> Iterator[str]:
        for flag in self.required:
            if flag.is_positional or self._is_given(flag):
                continue
            value = flag.choices[0] if flag.choices else REPLACE_ME
            yield _commented(
                f"  {format_value(flag.name)}: {{value: {format_value(value)}}}", f"required: replace it{_told(flag)}"
            )
        for proposal in self.swept:
            flag = proposal.flag
            default = "" if flag.default is None else f"default {_format_default(flag)}; "
            line = f"  {format_value(flag.name)}: {format_value(list(proposal.values))}"
            yield _commented(line, f"guessed: {proposal.why}, {default}{_place(flag)}")

    def _is_given(self, flag: Flag) -> bool:
        return any(word.startswith(f"--{self._option(flag)}=") for word in (*self.interface.after, *self._own_folder()))

    def others(self, proposals: Sequence[Proposal]) -> Iterator[str]:
        """Yield what else could be swept, as comments that become parameters without their ``#``."""
        chosen = {proposal.flag.name for proposal in self.swept} | {flag.name for flag in self.required}
        more = [proposal for proposal in proposals if proposal.flag.name not in chosen]
        proposed = {proposal.flag.name for proposal in more}
        if more:
            yield "  # likely to matter too:"
            yield from (
                _commented(
                    f"  # {format_value(p.flag.name)}: {format_value(list(p.values))}", f"{p.why}{_told(p.flag)}"
                )
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
        patterns = [told for told in self.facts.told if told.pattern]
        if patterns:
            yield "metrics:   # what is printed, and the expression that finds its number"
            for told in patterns:
                example = f': "{told.example}"' if told.example else ""
                yield _commented(
                    f"  {format_value(told.name)}: {quote_pattern(told.pattern)}", f"{told.where}{example}"
                )
        others = [told for told in self.facts.told if not told.pattern and told is not self.objective]
        for told in others:
            yield f"# also told: {told.name} ({describe_source(told)})"


def _commented(line: str, comment: str) -> str:
    return f"{line:{_WIDTH}} # {comment}".rstrip() if comment else line


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
    return _commented(line, "; ".join(filter(None, [kind, default, short, flag.help, flag.where])))


def _why_style(style: dict[str, str] | Any) -> str:
    booleans = style.get("booleans")
    said = {
        "flag": "a true one is --k, a false one is left out, as store_true wants",
        "text": "booleans are written as --k=True and --k=False",
        "no_flag": "--k or --no-k",
    }
    return said.get(booleans or "", "how its parser reads null, lists and booleans")
