"""Commands that other tools write as one text, as the words of a sweep file's command."""

from __future__ import annotations

import re
import shlex

_PYTHON = re.compile(r"(?:.*/)?python[\d.]*")
_SHELL = re.compile(r"&&|\|\||[|;<>`]|\$\(")


def command_words(text: str) -> tuple[str, list[str]]:
    """Return the program of a command, and its words with macros for Python and for the program.

    A command whose program cannot be told has ``""`` for it; its words are as they stand.
    """
    try:
        words = shlex.split(text.replace("\\\n", " "))
    except ValueError:
        return "", [text]
    if not words or needs_shell(text):
        return "", words
    at = 1 if _PYTHON.fullmatch(words[0]) else 0
    if at and len(words) > 2 and words[1] == "-m":
        return words[2], ["${interpreter}", "-m", "${program}", *words[3:]]
    if at and len(words) > 1 and not words[1].startswith("-"):
        return words[1], ["${interpreter}", "${program}", *words[2:]]
    return (words[0], ["${program}", *words[1:]]) if not at else ("", words)


def needs_shell(text: str) -> bool:
    """Whether a command has what only a shell understands."""
    return _SHELL.search(text.replace("${{", "").replace("}}", "")) is not None
