"""The scripts of ``sweepline completion``, made from the parsers of all commands. Names of runs are asked for live."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from sweepline.cli.commands import COMMANDS, load
from sweepline.cli.manual import build_parser

RUN_METAVAR = "RUN"
"""Arguments that are shown by this name take the name or the id of a run."""
_ASK_RUNS = "sweepline completion --runs 2>/dev/null"


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionWords:
    """An option: its flags, and what may follow it."""

    flags: tuple[str, ...]
    about: str
    values: tuple[str, ...] = ()
    takes_value: bool = False
    takes_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandWords:
    """A command: its options, the words that may stand in it, and whether a run may."""

    name: str
    about: str
    options: tuple[OptionWords, ...] = ()
    values: tuple[str, ...] = ()
    takes_run: bool = False


def describe_all() -> list[CommandWords]:
    """Return what may be typed after ``sweepline``."""
    return [_describe(name) for name in COMMANDS]


def _describe(name: str) -> CommandWords:
    command = load(name)
    parser = build_parser(name, command)
    actions = [] if parser is None else [action for action in parser._actions if action.help != argparse.SUPPRESS]
    named = [action for action in actions if not action.option_strings]
    return CommandWords(
        name=name,
        about=command.HELP,
        options=tuple(_describe_option(action) for action in actions if action.option_strings),
        values=tuple(str(value) for action in named for value in action.choices or ()),
        takes_run=any(_takes_run(action) for action in named),
    )


def _describe_option(action: argparse.Action) -> OptionWords:
    return OptionWords(
        flags=tuple(action.option_strings),
        about=" ".join((action.help or "").split()).replace("%%", "%"),
        values=tuple(map(str, action.choices or ())),
        takes_value=action.nargs != 0,
        takes_run=_takes_run(action),
    )


def _takes_run(action: argparse.Action) -> bool:
    return isinstance(action.metavar, str) and RUN_METAVAR in action.metavar.split("|")


_BASH = """\
# bash completion of sweepline
_sweepline_offer() {{
    local word
    while IFS= read -r word; do
        [[ $word == "$current"* ]] && COMPREPLY+=("$word")
    done
}}
_sweepline() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD-1]}}
    if [[ $current == = ]]; then current=; elif [[ $previous == = ]]; then previous=${{COMP_WORDS[COMP_CWORD-2]}}; fi
    COMPREPLY=()
    if [[ $COMP_CWORD -eq 1 ]]; then
        _sweepline_offer <<< {commands}
        return
    fi
    case "${{COMP_WORDS[1]}} $previous" in
{after_option}
    esac
    case "${{COMP_WORDS[1]}} $current" in
{in_command}
    esac
}}
complete -o default -F _sweepline sweepline
"""


def write_bash(commands: Sequence[CommandWords]) -> str:
    """Return the script for bash."""
    after_option, in_command = [], []
    for command in commands:
        for option in command.options:
            pattern = "|".join(f'"{command.name} {flag}"' for flag in option.flags)
            if option.takes_value:
                after_option.append(f"        {pattern}) {_offer_bash(option.values, option.takes_run)}return ;;")
        flags = [flag for option in command.options for flag in option.flags]
        in_command.append(f'        "{command.name} -"*) {_offer_bash(flags, False)};;')
        in_command.append(f'        "{command.name} "*) {_offer_bash(command.values, command.takes_run)};;')
    names = _ansi_lines(command.name for command in commands)
    return _BASH.format(commands=names, after_option="\n".join(after_option), in_command="\n".join(in_command))


def _offer_bash(words: Sequence[str], takes_run: bool) -> str:
    offered = f"_sweepline_offer <<< {_ansi_lines(words)}; " if words else ""
    return offered + (f"_sweepline_offer < <({_ASK_RUNS}); " if takes_run else "")


def _ansi_lines(words: Iterable[str]) -> str:
    return "$'" + "\\n".join(words) + "'"


_ZSH = """\
#compdef sweepline
_sweepline() {{
    local -a offered
    if (( CURRENT == 2 )); then
        offered=({commands})
        _describe command offered
        return
    fi
    case "$words[2] $words[CURRENT-1]" in
{after_option}
    esac
    if [[ $PREFIX == -* ]]; then
        case $words[2] in
{options}
        esac
        _describe -o option offered
        return
    fi
    case $words[2] in
{positional}
    esac
    _files
}}
if [[ $funcstack[1] == _sweepline ]]; then _sweepline "$@"; else compdef _sweepline sweepline; fi
"""


def write_zsh(commands: Sequence[CommandWords]) -> str:
    """Return the script for zsh."""
    after_option, options, positional = [], [], []
    for command in commands:
        for option in command.options:
            pattern = "|".join(f"{command.name} {flag}".replace(" ", "\\ ") for flag in option.flags)
            if option.takes_value:
                offered = _offer_zsh(option.values, option.takes_run)
                files = "" if option.values else "_files; "
                after_option.append(f"        ({pattern}) {offered}{files}return ;;")
        shown = [_pair_zsh(flag, option.about) for option in command.options for flag in option.flags]
        options.append(f"            ({command.name}) offered=({' '.join(shown)}) ;;")
        offered = _offer_zsh(command.values, command.takes_run)
        if offered:
            positional.append(f"        ({command.name}) {offered};;")
    return _ZSH.format(
        commands=" ".join(_pair_zsh(command.name, command.about) for command in commands),
        after_option="\n".join(after_option),
        options="\n".join(options),
        positional="\n".join(positional),
    )


def _pair_zsh(word: str, about: str) -> str:
    return shlex.quote(f"{word}:{about}")


def _offer_zsh(words: Sequence[str], takes_run: bool) -> str:
    offered = f"compadd -- {shlex.join(words)}; " if words else ""
    return offered + (f'compadd -- ${{(f)"$({_ASK_RUNS})"}}; ' if takes_run else "")


def write_fish(commands: Sequence[CommandWords]) -> str:
    """Return the script for fish."""
    lines = ["# fish completion of sweepline"]
    for command in commands:
        lines.append(
            f"complete -c sweepline -n __fish_use_subcommand -f -a {command.name} -d {_quote_fish(command.about)}"
        )
        within = f"complete -c sweepline -n '__fish_seen_subcommand_from {command.name}'"
        for option in command.options:
            names = " ".join(f"-l {f[2:]}" if f.startswith("--") else f"-s {f[1:]}" for f in option.flags)
            value = f" {_value_fish(option)}" if option.takes_value else ""
            lines.append(f"{within} {names}{value} -d {_quote_fish(option.about)}")
        if command.values:
            lines.append(f"{within} -f -a {_quote_fish(' '.join(command.values))}")
        if command.takes_run:
            lines.append(f"{within} -a '({_ASK_RUNS})'")
    return "\n".join(lines) + "\n"


def _value_fish(option: OptionWords) -> str:
    if option.values:
        return f"-x -a {_quote_fish(' '.join(option.values))}"
    return f"-r -a '({_ASK_RUNS})'" if option.takes_run else "-r"


def _quote_fish(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


SCRIPTS: dict[str, Callable[[Sequence[CommandWords]], str]] = {
    "bash": write_bash,
    "zsh": write_zsh,
    "fish": write_fish,
}
